//! What goes wrong, and must do no harm.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{FAST, follow, follow_with};
use crate::support::etcd::Etcd;
use crate::support::etcd_client::put;
use crate::support::follower::{key, prefix};
use crate::support::poll_until;

#[test]
fn an_outage_names_the_endpoint_and_ends_by_itself() {
    let mut etcd = Etcd::start();
    etcd.client().put("/a", "1");
    let follower = follow(&etcd, [key("a")]);
    follower.expect(&key("a"), "1");
    etcd.kill(0);
    let outage = follower.outage("Connection refused");
    assert!(outage.contains(&etcd.endpoints()[0]), "{outage}");
    assert_eq!(follower.shown(&key("a")), "1", "an outage keeps the answer");
    etcd.restart(0);
    etcd.client().put("/a", "2");
    follower.expect(&key("a"), "2");
}

#[test]
fn what_is_compacted_during_a_disconnect_is_not_missed() {
    let etcd = Etcd::start();
    let client = etcd.client();
    for name in ["/p/a", "/p/b", "/p/c"] {
        client.put(name, "1");
    }
    let mut follower = follow(&etcd, [prefix("p")]);
    follower.expect(&prefix("p"), "a(p/a)=1;b(p/b)=1;c(p/c)=1;");
    follower.pause();
    client.delete("/p/a");
    client.put("/p/b", "2");
    let last = client.put("/p/d", "2");
    client.compact(last);
    follower.resume();
    follower.expect(&prefix("p"), "b(p/b)=2;c(p/c)=1;d(p/d)=2;");
    follower.assert_no_outage();
}

#[test]
fn steady_compaction_does_not_stop_a_large_reading() {
    let etcd = Etcd::start();
    let client = etcd.client();
    for page in 0..300 {
        client.txn((0..100).map(|number| put(&format!("/p/{page:03}{number:02}"), "value")).collect());
    }
    let over = Arc::new(AtomicBool::new(false));
    let compacting = thread::spawn({
        let (client, over) = (etcd.client(), Arc::clone(&over));
        move || {
            while !over.load(Ordering::Relaxed) {
                let revision = client.put("/clock", "x");
                client.compact(revision);
            }
        }
    });
    let begun = Instant::now();
    let follower = follow(&etcd, [prefix("p"), prefix("q"), key("r")]);
    follower.answer(&prefix("p"));
    println!("30,000 keys under compaction after every write: {:?}", begun.elapsed());
    client.put("/r", "1");
    follower.expect(&key("r"), "1");
    over.store(true, Ordering::Relaxed);
    compacting.join().unwrap();
}

#[test]
fn a_restored_backup_is_taken_as_the_truth() {
    let mut etcd = Etcd::start();
    let client = etcd.client();
    client.put("/a", "old");
    let snapshot = etcd.snapshot();
    for round in 0..10 {
        client.put("/a", format!("lost {round}"));
    }
    client.put("/b", "lost");
    let mut follower = follow(&etcd, [key("a"), key("b")]);
    follower.expect(&key("a"), "lost 9");
    follower.expect(&key("b"), "lost");
    etcd.kill(0);
    etcd.restore(&snapshot);
    follower.expect(&key("a"), "old");
    follower.expect(&key("b"), "absent");
    let client = etcd.client();
    client.put("/b", "new");
    follower.expect(&key("b"), "new");

    // A restore that has overtaken the old revision cannot be told by numbers.
    let before = client.put("/b", "newer");
    follower.expect(&key("b"), "newer");
    follower.pause();
    etcd.kill(0);
    etcd.restore(&snapshot);
    let client = etcd.client();
    while client.put("/unrelated", "x") <= before + 5 {}
    follower.resume();
    follower.expect(&key("a"), "old");
    follower.expect(&key("b"), "absent");
}

#[test]
fn a_member_that_dies_under_writes_loses_nothing() {
    let mut etcd = Etcd::cluster(3);
    let follower = follow_with(&etcd, FAST, [prefix("p"), key("last")]);
    follower.expect(&key("last"), "absent");
    let used = (0..3).find(|index| etcd.calls(*index, "Watch") > 0).unwrap();
    let writer = etcd.client_of((used + 1) % 3);
    let written = thread::spawn(move || {
        // While the cluster elects a leader writes are refused.
        let write = |key: &str, value: &str| {
            poll_until(Duration::from_secs(60), || {
                writer.try_txn(vec![put(key, value)]).map_err(|status| status.to_string())
            })
        };
        for round in 0..300 {
            write(&format!("/p/{}", round % 10), &round.to_string());
            thread::sleep(Duration::from_millis(5));
        }
        write("/last", "done");
    });
    follower.wait_for("written", |seen| seen.shown(&prefix("p")).contains("(p/9)").then_some(()));
    etcd.kill(used);
    written.join().unwrap();
    follower.expect(&key("last"), "done");
    let expected: Vec<String> = (0..10).map(|number| format!("{number}(p/{number})={};", 290 + number)).collect();
    follower.expect(&prefix("p"), &expected.concat());
    // Without the member that led, the others may need a moment to elect another.
    let outages = follower.seen().outages.clone();
    assert!(outages.iter().all(|outage| outage.contains("leader")), "{outages:?}");
}

#[test]
fn a_cluster_without_a_leader_is_an_outage() {
    let mut etcd = Etcd::cluster(3);
    etcd.client().put("/a", "1");
    let follower = follow_with(&etcd, FAST, [key("a")]);
    follower.expect(&key("a"), "1");
    etcd.kill(0);
    etcd.kill(1);
    let outage = follower.outage("no leader");
    for endpoint in etcd.endpoints() {
        assert!(outage.contains(&endpoint), "{outage}");
    }
    assert_eq!(follower.shown(&key("a")), "1");
}

#[test]
fn a_server_that_stands_still_is_found() {
    let mut etcd = Etcd::start();
    let client = etcd.client();
    let follower = follow_with(&etcd, FAST, [key("a")]);
    follower.expect(&key("a"), "absent");
    etcd.pause(0);
    let begun = Instant::now();
    follower.outage("within");
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    etcd.resume(0);
    client.put("/a", "1");
    follower.expect(&key("a"), "1");
}

#[test]
fn a_silent_stream_is_asked_and_kept() {
    let etcd = Etcd::start();
    // Three times 300 ms without an answer would end the stream; an audit would not be silence.
    let follower = follow_with(&etcd, "progress_interval: 300ms", [key("a"), key("b")]);
    follower.expect(&key("a"), "absent");
    // Three times that.
    thread::sleep(Duration::from_millis(2700));
    etcd.client().put("/a", "1");
    follower.expect(&key("a"), "1");
    assert_eq!(etcd.calls(0, "Watch"), 1);
}
