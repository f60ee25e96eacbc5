//! History that is gone when it is needed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{begin, scene_at};
use crate::pace;
use crate::scene::{KEYS, Scene};
use crate::strain::{self, Strain};
use crate::support::etcd::Etcd;
use crate::support::etcd_client::{Client, delete, put};
use crate::support::liveconf::Job;
use crate::support::poll_until;
use crate::support::proxy::{Link, Proxy};

/// Writes 40 MB of changes and deletions and forgets what was before: the last generation.
fn move_on(client: &Client) -> u64 {
    const LAST: u64 = 1001;
    // With the first change the keys of generation 1 go, so that there is never a state without a whole generation.
    let mut deletions: Vec<_> = Scene::generation(1).map(|(key, _)| delete(&key)).collect();
    let mut revision = 0;
    for number in 2..=LAST {
        // Long enough that not all of it can wait on the way.
        let value = format!("{number:01000}");
        let puts = (0..KEYS).map(|key| put(&format!("app/other-{key:02}"), &value));
        revision = client.txn(deletions.drain(..).chain(puts).collect());
    }
    client.compact(revision);
    LAST
}

/// liveconf is stopped while 40 MB of changes and deletions are written and compacted: 5 s after it goes on the file is
/// that of the newest state, what was deleted is gone, and the log has at most 10 more lines.
#[test]
fn row_20_compaction_while_liveconf_stands_still() {
    let etcd = Etcd::start();
    let client = etcd.client();
    let scene = scene_at(&etcd.endpoints());
    let mut daemon = begin(&scene, &client);
    let reader = scene.forward_reader();
    let lines = daemon.log().len();
    daemon.signal(Signal::SIGSTOP);
    poll_until(Duration::from_secs(5), || match strain::state(daemon.id()) {
        'T' => Ok(()),
        state => Err(format!("liveconf is in state {state}")),
    });
    let last = move_on(&client);
    daemon.signal(Signal::SIGCONT);
    scene.wait_for_within(Duration::from_secs(5), last);
    reader.stop().assert_always_whole();
    let more = daemon.log().split_off(lines);
    assert!(more.len() <= 10, "{more:#?}");
    daemon.stop();
}

/// Nothing comes from etcd for a while, and what the stream should have given next is compacted by then: 5 s after the
/// connection is well the file is that of the newest state, what was deleted is gone, and the log has at most 10 more
/// lines.
#[test]
fn row_20_compaction_while_nothing_comes() {
    let etcd = Etcd::start();
    let client = etcd.client();
    let proxy = Proxy::start(etcd.port_of(0));
    // With the clocks of production, so that the connection outlives the silence.
    let scene = Scene::new(&format!("etcd: {{endpoints: [{}], prefix: ''}}", proxy.endpoint()), "");
    let daemon = begin(&scene, &client);
    let reader = scene.forward_reader();
    let lines = daemon.log().len();
    proxy.set(Link { loses_responses: true, ..Link::default() });
    let last = move_on(&client);
    proxy.set(Link::default());
    scene.wait_for_within(Duration::from_secs(5), last);
    reader.stop().assert_always_whole();
    let more = daemon.log().split_off(lines);
    assert!(more.iter().any(|line| line.contains("events were compacted")), "nothing was missing: {more:#?}");
    assert!(more.len() <= 10, "{more:#?}");
    daemon.stop();
}

/// etcd is compacted after a write every 100 ms while many pages of keys are read, each of which takes longer than that:
/// they are read within 30 s, and followed.
#[test]
fn row_21_compaction_all_the_while() {
    let etcd = Etcd::start();
    let client = etcd.client();
    let keys = pace::either(30_000, 100_000);
    for page in 0..keys / 100 {
        client.txn((0..100).map(|number| put(&format!("p/{page:04}{number:02}"), "value")).collect());
    }
    let proxy = Proxy::with(etcd.port_of(0), Link { delay: Duration::from_millis(150), ..Link::default() });
    let job = Job::new(&format!(
        "registries: {{main: {{etcd: {{endpoints: [{}], prefix: ''}}}}}}
targets:
  count:
    templates: [{{content: '{{{{ prefix(path=\"p\") | length }}}}', dest: count}}]
",
        proxy.endpoint()
    ));
    let over = Arc::new(AtomicBool::new(false));
    let compacting = thread::spawn({
        let (client, over) = (etcd.client(), Arc::clone(&over));
        move || {
            let mut times = 0;
            while !over.load(Ordering::Relaxed) {
                let revision = client.put("clock", "x");
                client.compact(revision);
                times += 1;
                thread::sleep(Duration::from_millis(100));
            }
            times
        }
    });
    let began = Instant::now();
    let daemon = job.start(&["run", "--log-level", "debug"]);
    let strain = Strain::begin(&daemon);
    job.wait_for_within(Duration::from_secs(30), "count", &keys.to_string());
    println!("{keys} keys after {:?}", began.elapsed());
    let again = daemon.logged("compacted while reading, beginning again").len();
    assert!(again > 0, "no page was missed: {:#?}", daemon.log());
    client.put("p/more", "value");
    job.wait_for_within(Duration::from_secs(10), "count", &(keys + 1).to_string());
    over.store(true, Ordering::Relaxed);
    println!("{} compactions, begun again {again} times", compacting.join().unwrap());
    strain.assert_few_lines(&daemon);
    daemon.stop();
}
