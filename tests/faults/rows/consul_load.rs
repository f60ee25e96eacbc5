//! Much, and often.

use std::fmt::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use super::consul_away::K1;
use crate::pace;
use crate::strain::{environment_of_the_unit, most_memory};
use crate::support::consul::Consul;
use crate::support::consul_client::{Client, put};
use crate::support::liveconf::{Job, start};
use crate::support::{SOON, poll_until};

/// What the program may take beside six times what it holds.
const MEMORY: u64 = 64 << 20;

/// A target that asks for everything below `p`, and shows this of each.
fn job(consul: &Consul, line: &str, target: &str) -> Job {
    Job::new(&format!(
        "registries:
  main: {{consul: {}}}
targets:
  all:
    templates:
      - content: |
          {{% for entry in prefix(path=\"p\") %}}
          {line}
          {{% endfor %}}
        dest: all
{target}",
        consul.section()
    ))
}

/// 40 values of 512 KiB are rendered; 200 of them make an answer beyond the limit, which is told within 5 s while the file stays;
/// without some of them it is rendered again, and memory stays within 64 MiB and six times what was read.
#[test]
fn row_17_consul_values_of_512_kib() {
    const VALUE: usize = 512 << 10;
    let consul = Consul::start();
    let client = consul.client();
    let value = vec![b'x'; VALUE];
    let fill = |numbers: std::ops::Range<u32>| numbers.for_each(|number| client.put(&format!("p/{number:03}"), &value));
    let expected = |count: u32| {
        (0..count).fold(String::new(), |mut text, number| {
            writeln!(text, "{number:03} {VALUE}").unwrap();
            text
        })
    };
    fill(0..40);
    let job = job(&consul, "{{ entry.key }} {{ entry.value | length }}", "");
    let daemon = job.start(&["run"]);
    job.wait_for("all", &expected(40));
    let held = 40 * VALUE as u64;
    let took = most_memory(&daemon);
    println!("{} MiB for {} MiB", took >> 20, held >> 20);
    assert!(took <= MEMORY + 6 * held, "{took} bytes for {held}");

    fill(40..200);
    let written = Instant::now();
    // Whoever reads all of it gets more than 64 MiB.
    assert!(client.call("GET", "/v1/kv/p/?recurse", "").len() > 64 << 20);
    poll_until(Duration::from_secs(5), || {
        let lines = daemon.logged("not answered");
        lines.iter().any(|line| line.contains("limits.response")).then_some(()).ok_or_else(|| format!("{lines:#?}"))
    });
    println!("told {:?} after", written.elapsed());
    // It may have been shown while it was little enough.
    let shown = job.read("all").unwrap();
    assert!(expected(100).starts_with(&shown) && shown.starts_with(&expected(40)), "{shown}");
    (30..200).for_each(|number| client.delete(&format!("p/{number:03}")));
    job.wait_for_within(K1, "all", &expected(30));
    let took = most_memory(&daemon);
    println!("{} MiB with a limit of 64", took >> 20);
    assert!(took <= MEMORY + 6 * (64 << 20), "{took} bytes");
    daemon.stop();
}

/// 100,000 keys (10,000 in the short run) of which 1 % change each second: 99 of 100 changes are in the file within 5 s, memory
/// stays, with the environment of the unit in `examples/systemd`, within 64 MiB and six times what is held and rendered, and
/// there is at most one reload a second. The one full run so far, of a debug build, took 166 MiB where that allows 144.
#[test]
fn row_18_consul_many_keys_that_change() {
    /// Changes that Consul takes in one transaction.
    const IN_ONE: usize = 64;
    let keys: usize = pace::either(10_000, 100_000);
    let consul = Consul::start();
    let client = consul.client();
    let set = |client: &Client, keys: std::ops::Range<usize>, value: u64| {
        for first in keys.clone().step_by(IN_ONE) {
            let page = first..(first + IN_ONE).min(keys.end);
            client.txn(page.map(|key| put(&format!("p/{key:06}"), format!("value-{value:010}"))).collect());
        }
    };
    set(&client, 0..keys, 0);
    let job = job(&consul, "{{ entry.key }}={{ entry.value }}", "    reload: {shell: 'echo >> reloads'}\n");
    let mut command = job.command(&["run"]);
    command.envs(environment_of_the_unit());
    let daemon = start(command);
    let shown = |key: usize| -> Option<u64> {
        let line = job.read("all")?.lines().nth(key)?.to_owned();
        line.rsplit_once('-')?.1.parse().ok()
    };
    poll_until(Duration::from_secs(60), || shown(keys - 1).ok_or_else(|| "nothing is shown".to_owned()));
    let began = Instant::now();
    let churn = keys / 100;
    let (mut delays, mut waiting) = (Vec::new(), Vec::new());
    for second in 1..=pace::either(15, 600) {
        // Others each second; the last of them tells when they are all there.
        let first = usize::try_from(second).unwrap() * churn % keys;
        set(&client, first..first + churn, second);
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
        poll_until(SOON, || match shown(key) {
            Some(shown) if shown >= value => Ok(()),
            shown => Err(format!("key {key} should show {value}, but shows {shown:?}")),
        });
        delays.push(written.elapsed());
    }
    delays.sort();
    let worst = delays[(delays.len() * 99).div_ceil(100) - 1];
    let reloads = job.read("reloads").unwrap().lines().count() as u64;
    // As Consul sends it, and as it is rendered.
    let held = (client.call("GET", "/v1/kv/p/?recurse", "").len() + job.read("all").unwrap().len()) as u64;
    let took = most_memory(&daemon);
    println!("p99 {worst:?}, {reloads} reloads in {:?}, {} MiB for {} MiB", began.elapsed(), took >> 20, held >> 20);
    assert!(worst <= Duration::from_secs(5), "{delays:?}");
    assert!(reloads <= began.elapsed().as_secs() + 2, "{reloads} reloads");
    assert!(took <= MEMORY + 6 * held, "{took} bytes for {held}");
    daemon.stop();
}
