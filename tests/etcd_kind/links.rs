//! What a bad network does, which must tear nothing and must not make things worse.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use liveconf::registry::driver::drive;
use liveconf::registry::etcd::{Clocks, Config};
use liveconf::registry::{Asked, Registry};
use liveconf::store::Store;
use tokio::time::Instant;

use super::client::{Client, Operation, put};
use super::follower::{Follower, config, key, prefix};
use super::link::{Link, Quality};
use super::server::Server;

#[tokio::test]
async fn a_reading_that_takes_longer_than_the_proof_of_life_does_not_end_its_session() {
    let server = Server::start();
    let client = Client::new(&server.endpoint());
    let large = "x".repeat(100 << 10);
    for number in 0..4 {
        client.put(&format!("/p/{number}"), &large).await;
        client.put(&format!("/q/{number}"), &large).await;
    }
    let link = Link::start(server.client_port, Quality { bytes_per_second: 250_000, ..Quality::default() }).await;
    // A stream that is silent for 0.9 s is given up, and the reading takes 3 s.
    let clocks = Clocks { progress_interval: Duration::from_millis(300), ..Clocks::default() };
    let follower = Follower::start(Config { clocks, ..config(&link.endpoint) }, [prefix("p"), prefix("q"), key("k")]);
    let begun = Instant::now();
    follower.expect(&key("k"), "absent").await;
    assert!(begun.elapsed() > Duration::from_secs(2), "the reading took {:?} only", begun.elapsed());
    // It is asked for life and answers.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    client.put("/k", "1").await;
    follower.expect(&key("k"), "1").await;
    assert_eq!(follower.record.outages(), [""; 0]);
    assert_eq!(server.calls("Watch"), 1);
}

#[tokio::test]
async fn a_transaction_over_several_ranges_stays_whole_on_a_far_and_narrow_link() {
    let server = Server::start();
    let client = Client::new(&server.endpoint());
    let quality = Quality { delay: Duration::from_millis(100), bytes_per_second: 500_000, ..Quality::default() };
    let link = Link::start(server.client_port, quality).await;
    let names = ["a", "b", "c", "d"];
    let follower = Follower::start(config(&link.endpoint), names.map(key));
    follower.expect(&key("d"), "absent").await;
    let before = follower.record.publications(0).len();
    for round in 0..3 {
        // Each takes 0.2 s to come.
        let value = format!("{round}").repeat(100_000);
        client.transaction(names.map(|name| Operation::Put(put(&format!("/{name}"), &value)))).await;
    }
    follower.expect(&key("d"), &"2".repeat(100_000)).await;
    for publication in follower.record.publications(before) {
        let mut values: Vec<&String> = publication.values().collect();
        values.dedup();
        assert_eq!((publication.len(), values.len()), (4, 1), "torn");
    }
    assert_eq!(follower.record.outages(), [""; 0]);
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
async fn flap(links: usize) -> (u64, Vec<String>) {
    let server = Server::start();
    Client::new(&server.endpoint()).put("/a", "1").await;
    let mut endpoints = Vec::new();
    let mut kept = Vec::new();
    for _ in 0..links {
        let quality = Quality { cut_after: Duration::from_millis(300), ..Quality::default() };
        let link = Link::start(server.client_port, quality).await;
        endpoints.push(link.endpoint.clone());
        kept.push(link);
    }
    let registry: Arc<dyn Registry> = Arc::new(Config { endpoints, ..Config::default() }.build().unwrap());
    let log = Log::default();
    let guard = log.keep();
    let store = Store::new();
    let driving = tokio::spawn(drive("main".into(), registry, store.clone()));
    let reader = store.reader();
    let asked = Asked { registry: "main".into(), query: key("a") };
    while store.reader().view().answer(&asked).is_none() {
        reader.has_read(&reader.view(), [asked.clone()].into());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_secs(6)).await;
    driving.abort();
    drop(guard);
    (server.calls("Watch"), log.lines())
}

#[tokio::test]
async fn a_member_that_answers_and_breaks_again_and_again_is_left_alone_for_a_while() {
    let (sessions, lines) = flap(1).await;
    println!("{sessions} sessions: {lines:#?}");
    assert!((3..=13).contains(&sessions), "{sessions} sessions: {lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("etcd::")), "the outage says it all: {lines:#?}");
}

#[tokio::test]
async fn members_that_flap_are_not_logged_again_and_again() {
    let (sessions, lines) = flap(2).await;
    println!("{sessions} sessions: {lines:#?}");
    assert!(sessions >= 4, "{sessions} sessions: {lines:#?}");
    let lost = lines.iter().filter(|line| line.contains("etcd is lost")).count();
    assert_eq!(lost, 1, "{lines:#?}");
}
