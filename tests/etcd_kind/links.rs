//! What a bad network does, which must tear nothing and must not make things worse.

use std::time::Duration;

use liveconf::registry::etcd::{Clocks, Config};
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
