//! What a bad network does, which must tear nothing and must not make things worse.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use liveconf::config::Limits;
use liveconf::registry::Asked;
use liveconf::registry::driver::{Standing, drive};
use liveconf::store::Store;
use tokio::sync::watch;

use super::follow_at;
use crate::support::etcd::Etcd;
use crate::support::etcd_client::put;
use crate::support::follower::{key, prefix, registry};
use crate::support::proxy::{Link, Proxy};

#[test]
fn a_reading_that_takes_longer_than_the_proof_of_life_does_not_end_its_session() {
    let etcd = Etcd::start();
    let client = etcd.client();
    let large = "x".repeat(100 << 10);
    for number in 0..4 {
        client.put(&format!("/p/{number}"), &large);
        client.put(&format!("/q/{number}"), &large);
    }
    let link = Proxy::with(etcd.port_of(0), Link { bytes_per_second: 250_000, ..Link::default() });
    // A stream that is silent for 0.9 s is given up, and the reading takes 3 s.
    let queries = [prefix("p"), prefix("q"), key("k")];
    let follower = follow_at(&link.endpoint(), "progress_interval: 300ms", queries);
    let begun = Instant::now();
    follower.expect(&key("k"), "absent");
    assert!(begun.elapsed() > Duration::from_secs(2), "the reading took {:?} only", begun.elapsed());
    // It is asked for life and answers.
    thread::sleep(Duration::from_millis(1500));
    client.put("/k", "1");
    follower.expect(&key("k"), "1");
    follower.assert_no_outage();
    assert_eq!(etcd.calls(0, "Watch"), 1);
}

#[test]
fn a_transaction_over_several_ranges_stays_whole_on_a_far_and_narrow_link() {
    let etcd = Etcd::start();
    let client = etcd.client();
    let far = Link { delay: Duration::from_millis(100), bytes_per_second: 500_000, ..Link::default() };
    let link = Proxy::with(etcd.port_of(0), far);
    let names = ["a", "b", "c", "d"];
    let follower = follow_at(&link.endpoint(), "", names.map(key));
    follower.expect(&key("d"), "absent");
    let before = follower.published();
    for round in 0..3 {
        // Each takes 0.2 s to come.
        let value = format!("{round}").repeat(100_000);
        client.txn(names.map(|name| put(&format!("/{name}"), &value)).into());
    }
    follower.expect(&key("d"), &"2".repeat(100_000));
    for publication in follower.publications(before) {
        let mut values: Vec<&String> = publication.values().collect();
        values.dedup();
        assert_eq!((publication.len(), values.len()), (4, 1), "torn");
    }
    follower.assert_no_outage();
}

/// The log of a test that runs on one thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Keeps what this thread logs, down to the level of a daemon, for as long as the guard lives.
    fn keep(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::INFO)
            .with_ansi(false)
            .with_writer(move || log.clone());
        tracing::subscriber::set_default(subscriber.finish())
    }

    fn lines(&self) -> Vec<String> {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap().lines().map(str::to_owned).collect()
    }
}

/// Follows one key over links that are cut again and again, as the program does; how many sessions there were in six
/// seconds, and what was logged.
fn flap(links: usize) -> (u64, Vec<String>) {
    let etcd = Etcd::start();
    etcd.client().put("/a", "1");
    let brief = Link { lasts: Duration::from_millis(300), ..Link::default() };
    let links: Vec<_> = (0..links).map(|_| Proxy::with(etcd.port_of(0), brief)).collect();
    let endpoints: Vec<_> = links.iter().map(Proxy::endpoint).collect();
    let registry = registry("etcd", &format!("{{endpoints: [{}]}}", endpoints.join(", ")));
    let log = Log::default();
    let kept = log.keep();
    // All on this thread, since the log is kept of one thread only.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Store::new();
        let standing = watch::channel(Standing::Idle).0;
        let driving = tokio::spawn(drive("main".into(), registry, Limits::default(), store.clone(), standing));
        let reader = store.reader();
        let asked = Asked { registry: "main".into(), query: key("a") };
        while reader.view().answer(&asked).is_none() {
            reader.has_read(&reader.view(), [asked.clone()].into());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_secs(6)).await;
        driving.abort();
    });
    drop(kept);
    (etcd.calls(0, "Watch"), log.lines())
}

#[test]
fn a_member_that_answers_and_breaks_again_and_again_is_left_alone_for_a_while() {
    let (sessions, lines) = flap(1);
    println!("{sessions} sessions: {lines:#?}");
    assert!((3..=13).contains(&sessions), "{sessions} sessions: {lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("etcd::")), "the outage says it all: {lines:#?}");
}

#[test]
fn members_that_flap_are_not_logged_again_and_again() {
    let (sessions, lines) = flap(2);
    println!("{sessions} sessions: {lines:#?}");
    assert!(sessions >= 4, "{sessions} sessions: {lines:#?}");
    let lost = lines.iter().filter(|line| line.contains("etcd is lost")).count();
    assert_eq!(lost, 1, "{lines:#?}");
}
