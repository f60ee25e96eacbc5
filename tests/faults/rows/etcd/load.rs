//! Much, and often.

use std::fmt::Write as _;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::begin;
use super::scene_at;
use crate::pace;
use crate::strain::{Strain, environment_of_the_unit, most_memory};
use crate::support::etcd::Etcd;
use crate::support::etcd_client::put;
use crate::support::liveconf::{Job, start};
use crate::support::poll_until;

/// What the program may take beside six times what it holds.
const MEMORY: u64 = 64 << 20;

/// Reads keys of any size: each with its length.
fn lengths(etcd: &Etcd) -> Job {
    Job::new(&format!(
        "registries: {{main: {{etcd: {{endpoints: {}, prefix: ''}}}}}}
targets:
  lengths:
    templates:
      - content: |
          {{% for entry in prefix(path=\"p\") %}}
          {{{{ entry.key }}}} {{{{ entry.value | length }}}}
          {{% endfor %}}
        dest: lengths
",
        etcd.endpoints_yaml()
    ))
}

/// A value of 10 MB, and an answer of 116 MB, are refused within 5 s, with the limit, and the file stays; one transaction of
/// 16 MB, and the 116 MB where the limit is higher, are rendered; memory stays within 64 MiB and six times what is held.
#[test]
fn row_17_etcd_values_of_many_megabytes() {
    let etcd = Etcd::with(&["--max-request-bytes=33554432", "--quota-backend-bytes=2147483648"]);
    let client = etcd.client();
    client.put("p/a", "x");
    let job = lengths(&etcd);
    let mut daemon = job.start(&["run"]);
    job.wait_for("lengths", "a 1\n");

    let written = Instant::now();
    client.put("p/a", vec![b'x'; 10_000_000]);
    let line = daemon.wait_for_log("limit");
    println!("after {:?}: {line}", written.elapsed());
    assert!(written.elapsed() <= Duration::from_secs(5) && line.contains("p/a"), "{line}");
    assert_eq!(job.read("lengths").unwrap(), "a 1\n");
    client.put("p/a", "xyz");
    job.wait_for("lengths", "a 3\n");

    // One frame of 16 MB.
    let megabyte = vec![b'x'; 1 << 20];
    client.txn((0..16).map(|number| put(&format!("p/b{number:02}"), &megabyte)).collect());
    let mut expected = String::from("a 3\n");
    (0..16).for_each(|number| writeln!(expected, "b{number:02} {}", 1 << 20).unwrap());
    job.wait_for("lengths", &expected);

    // More than one answer may have.
    let before = job.read("lengths").unwrap();
    let half = vec![b'x'; 512 << 10];
    for number in 0..200 {
        client.put(&format!("p/c{number:03}"), &half);
        writeln!(expected, "c{number:03} {}", 512 << 10).unwrap();
    }
    let written = Instant::now();
    println!("{}", daemon.wait_for_log("raise `limits.response`"));
    assert!(written.elapsed() <= Duration::from_secs(5), "{:?}", written.elapsed());
    let shown = job.read("lengths").unwrap();
    assert!(shown.starts_with(&before) && expected.starts_with(&shown), "{shown}");
    let held = (16 << 20) + 200 * (512 << 10);
    let took = most_memory(&daemon);
    println!("{} MiB for {} MiB", took >> 20, held >> 20);
    assert!(took <= MEMORY + 6 * held, "{took} bytes for {held}");

    // With a higher limit all of it is read at once.
    daemon.stop();
    let config = job.read("liveconf.yaml").unwrap();
    job.write("liveconf.yaml", format!("{config}limits: {{response: 256MiB}}\n"));
    let daemon = job.start(&["run"]);
    job.wait_for("lengths", &expected);
    let took = most_memory(&daemon);
    println!("{} MiB after a start", took >> 20);
    assert!(took <= MEMORY + 6 * held, "{took} bytes for {held}");
    daemon.stop();
}

/// 100,000 keys (30,000 in the short run, beside other tests) with 200 bytes each, of which 1 % change each second: 99 of 100
/// changes are in the file within 5 s (15 s in the short run), there is at most one reload a second, and memory, with the
/// environment of the unit in `examples/systemd`, stays within 64 MiB and six times what is held and rendered.
#[test]
fn row_18_etcd_a_hundred_thousand_keys_that_change() {
    const LINE: usize = "000000=value-\n".len() + 194;
    let keys: usize = pace::either(30_000, 100_000);
    let churn = keys / 100;
    let etcd = Etcd::with(&["--max-txn-ops=2000"]);
    let client = etcd.client();
    let entry = |key: usize, value: u64| put(&format!("p/{key:06}"), format!("value-{value:0194}"));
    for page in 0..keys / 1000 {
        client.txn((0..1000).map(|key| entry(page * 1000 + key, 0)).collect());
    }
    let job = Job::new(&format!(
        "registries: {{main: {{etcd: {{endpoints: {}, prefix: ''}}}}}}
targets:
  all:
    templates:
      - content: |
          {{% for entry in prefix(path=\"p\") %}}
          {{{{ entry.key }}}}={{{{ entry.value }}}}
          {{% endfor %}}
        dest: all
    reload: {{shell: 'echo >> reloads'}}
",
        etcd.endpoints_yaml()
    ));
    let mut command = job.command(&["run"]);
    command.envs(environment_of_the_unit());
    let daemon = start(command);
    // All lines are equally long, so none but the one that is asked for is read.
    let shown = |key: usize| -> Option<u64> {
        let mut line = [0; LINE];
        let file = File::open(job.folder().path("all")).ok()?;
        file.read_exact_at(&mut line, (key * LINE) as u64).ok()?;
        std::str::from_utf8(&line).ok()?.trim_end().rsplit_once('-')?.1.parse().ok()
    };
    poll_until(Duration::from_secs(60), || shown(keys - 1).ok_or_else(|| "nothing is shown".to_owned()));
    let began = Instant::now();
    let seconds = pace::either(12, 600);
    let (mut delays, mut waiting) = (Vec::new(), Vec::new());
    for second in 1..=seconds {
        // Others each second; the last of them tells when they are all there.
        let first = usize::try_from(second).unwrap() * churn % keys;
        client.txn((first..first + churn).map(|key| entry(key, second)).collect());
        waiting.push((Instant::now(), first + churn - 1, second));
        while began.elapsed() < Duration::from_secs(second) {
            waiting.retain(|(written, key, value)| {
                let is_there = shown(*key).is_some_and(|shown| shown >= *value);
                if is_there {
                    delays.push(written.elapsed());
                }
                !is_there
            });
            thread::sleep(Duration::from_millis(50));
        }
    }
    for (written, key, value) in waiting {
        poll_until(Duration::from_secs(30), || match shown(key) {
            Some(shown) if shown >= value => Ok(()),
            shown => Err(format!("key {key} should show {value}, but shows {shown:?}")),
        });
        delays.push(written.elapsed());
    }
    delays.sort();
    let worst = delays[(delays.len() * 99).div_ceil(100) - 1];
    let reloads = job.read("reloads").unwrap().lines().count() as u64;
    let held = (keys * (8 + 200) + keys * LINE) as u64;
    let took = most_memory(&daemon);
    println!("p99 {worst:?}, {reloads} reloads in {:?}, {} MiB for {} KiB", began.elapsed(), took >> 20, held >> 10);
    assert!(worst <= Duration::from_secs(pace::either(15, 5)), "{delays:?}");
    assert!(reloads <= began.elapsed().as_secs() + 2, "{reloads} reloads");
    assert!(took <= MEMORY + 6 * held, "{took} bytes for {held}");
    daemon.stop();
}

/// Keys are written hundreds of times a second, as often as one client can: they are shown again and again meanwhile, with at most one reload a second, and 3 s
/// after the last write the program has it.
#[test]
fn row_19_one_key_is_written_without_a_pause() {
    let etcd = Etcd::start();
    let client = etcd.client();
    let scene = scene_at(&etcd.endpoints());
    let daemon = begin(&scene, &client);
    let reader = scene.forward_reader();
    let strain = Strain::begin(&daemon);
    let (reloads, began) = (scene.reloads(), Instant::now());
    let over = Arc::new(AtomicBool::new(false));
    let writing = thread::spawn({
        let (client, over) = (etcd.client(), Arc::clone(&over));
        move || {
            let mut number = 1;
            while !over.load(Ordering::Relaxed) {
                number += 1;
                // The whole of a generation is one transaction, so that the reader can tell.
                super::write(&client, number);
                thread::sleep(Duration::from_micros(500));
            }
            number
        }
    });
    thread::sleep(pace::either(Duration::from_secs(10), Duration::from_secs(300)));
    over.store(true, Ordering::Relaxed);
    let last = writing.join().unwrap();
    let stopped = Instant::now();
    scene.wait_for_within(Duration::from_secs(10), last);
    let (after, lasted) = (stopped.elapsed(), began.elapsed());
    let more = (scene.reloads() - reloads) as u64;
    let seen = reader.stop();
    println!("{} writes a second, {more} reloads, the last after {after:?}, {seen:?}", last / lasted.as_secs());
    // Beside other tests etcd takes fewer.
    assert!(last / lasted.as_secs() >= pace::either(50, 200), "too few writes: {last}");
    // The whole of an apply may have just begun, and one more must wait for its end and the pause between reloads.
    assert!(after <= Duration::from_secs(3), "{after:?}");
    assert!(more <= lasted.as_secs() + 2, "{more} reloads in {lasted:?}");
    seen.assert_always_whole();
    assert!(seen.longest <= Duration::from_secs(4), "starved for {:?}", seen.longest);
    strain.assert_few_lines(&daemon);
    daemon.stop();
}
