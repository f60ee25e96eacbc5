//! What goes wrong, and must do no harm.

use std::time::Duration;

use liveconf::registry::etcd::{Clocks, Config};
use nix::sys::signal::Signal;
use tokio::time::Instant;

use super::client::Client;
use super::follower::{Follower, config, fast, key, prefix};
use super::server::Server;

#[tokio::test]
async fn an_outage_names_the_endpoint_and_ends_by_itself() {
    let mut server = Server::start();
    let client = Client::new(&server.endpoint());
    client.put("/a", "1").await;
    let follower = Follower::start(config(&server.endpoint()), [key("a")]);
    follower.expect(&key("a"), "1").await;
    server.kill();
    let outage = follower.outage("Connection refused").await;
    assert!(outage.contains(&server.endpoint()), "{outage}");
    assert_eq!(follower.record.shown(&key("a")), "1", "an outage keeps the answer");
    server.restart();
    Client::new(&server.endpoint()).put("/a", "2").await;
    follower.expect(&key("a"), "2").await;
}

#[tokio::test]
async fn what_is_compacted_during_a_disconnect_is_not_missed() {
    let server = Server::start();
    let client = Client::new(&server.endpoint());
    for name in ["/p/a", "/p/b", "/p/c"] {
        client.put(name, "1").await;
    }
    let mut follower = Follower::start(config(&server.endpoint()), [prefix("p")]);
    follower.expect(&prefix("p"), "a(p/a)=1;b(p/b)=1;c(p/c)=1;").await;
    follower.pause().await;
    client.delete("/p/a").await;
    client.put("/p/b", "2").await;
    let last = client.put("/p/d", "2").await;
    client.compact(last).await;
    follower.resume();
    follower.expect(&prefix("p"), "b(p/b)=2;c(p/c)=1;d(p/d)=2;").await;
    assert_eq!(follower.record.outages(), [""; 0]);
}

#[tokio::test]
async fn steady_compaction_does_not_stop_a_large_reading() {
    let server = Server::start();
    let client = Client::new(&server.endpoint());
    for page in 0..300 {
        let keys = (0..100).map(|number| {
            super::client::Operation::Put(super::client::put(&format!("/p/{page:03}{number:02}"), "value"))
        });
        client.transaction(keys).await;
    }
    let compacting = tokio::spawn({
        let client = client.clone();
        async move {
            loop {
                let revision = client.put("/clock", "x").await;
                client.compact(revision).await;
            }
        }
    });
    let begun = Instant::now();
    let follower = Follower::start(config(&server.endpoint()), [prefix("p"), prefix("q"), key("r")]);
    let answered = follower.wait_for(|record| record.answer(&prefix("p"))).await;
    assert!(answered.is_some(), "{:?}", follower.record.outages());
    println!("30,000 keys under compaction after every write: {:?}", begun.elapsed());
    client.put("/r", "1").await;
    follower.expect(&key("r"), "1").await;
    compacting.abort();
}

#[tokio::test]
async fn a_restored_backup_is_taken_as_the_truth() {
    let mut server = Server::start();
    let client = Client::new(&server.endpoint());
    client.put("/a", "old").await;
    let snapshot = server.save();
    for round in 0..10 {
        client.put("/a", &format!("lost {round}")).await;
    }
    client.put("/b", "lost").await;
    let mut follower = Follower::start(config(&server.endpoint()), [key("a"), key("b")]);
    follower.expect(&key("a"), "lost 9").await;
    follower.expect(&key("b"), "lost").await;
    server.kill();
    server.restore(&snapshot);
    server.restart();
    follower.expect(&key("a"), "old").await;
    follower.expect(&key("b"), "absent").await;
    let client = Client::new(&server.endpoint());
    client.put("/b", "new").await;
    follower.expect(&key("b"), "new").await;

    // A restore that has overtaken the old revision cannot be told by numbers.
    let before = client.put("/b", "newer").await;
    follower.expect(&key("b"), "newer").await;
    follower.pause().await;
    server.kill();
    std::fs::remove_dir_all(server.folder().join("restored")).unwrap();
    server.restore(&snapshot);
    server.restart();
    let client = Client::new(&server.endpoint());
    while client.put("/unrelated", "x").await <= before + 5 {}
    follower.resume();
    follower.expect(&key("a"), "old").await;
    follower.expect(&key("b"), "absent").await;
}

#[tokio::test]
async fn a_member_that_dies_under_writes_loses_nothing() {
    let mut servers = Server::cluster();
    let endpoints: Vec<String> = servers.iter().map(Server::endpoint).collect();
    let config = Config { endpoints: endpoints.clone(), clocks: fast(), ..Config::default() };
    let follower = Follower::start(config, [prefix("p"), key("last")]);
    follower.expect(&key("last"), "absent").await;
    let used = servers.iter().position(|server| server.calls("Watch") > 0).unwrap();
    let writer = Client::new(&endpoints[(used + 1) % 3]);
    let written = tokio::spawn(async move {
        for round in 0..300 {
            let value = round.to_string();
            // While the cluster elects a leader writes are refused.
            while writer.try_put(&format!("/p/{}", round % 10), &value).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        while writer.try_put("/last", "done").await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let begun = follower.wait_for(|record| record.shown(&prefix("p")).contains("(p/9)").then_some(())).await;
    assert!(begun.is_some(), "{} {:?}", follower.record.shown(&prefix("p")), follower.record.outages());
    servers[used].kill();
    written.await.unwrap();
    follower.expect(&key("last"), "done").await;
    let expected: Vec<String> = (0..10).map(|number| format!("{number}(p/{number})={};", 290 + number)).collect();
    follower.expect(&prefix("p"), &expected.concat()).await;
    // Without the member that led, the others may need a moment to elect another.
    assert!(
        follower.record.outages().iter().all(|outage| outage.contains("leader")),
        "{:?}",
        follower.record.outages()
    );
}

#[tokio::test]
async fn a_cluster_without_a_leader_is_an_outage() {
    let mut servers = Server::cluster();
    let endpoints: Vec<String> = servers.iter().map(Server::endpoint).collect();
    Client::new(&endpoints[0]).put("/a", "1").await;
    let follower = Follower::start(Config { endpoints, clocks: fast(), ..Config::default() }, [key("a")]);
    follower.expect(&key("a"), "1").await;
    servers[0].kill();
    servers[1].kill();
    let outage = follower.outage("no leader").await;
    for server in &servers {
        assert!(outage.contains(&server.endpoint()), "{outage}");
    }
    assert_eq!(follower.record.shown(&key("a")), "1");
}

#[tokio::test]
async fn a_server_that_stands_still_is_found() {
    let server = Server::start();
    let client = Client::new(&server.endpoint());
    let follower = Follower::start(Config { clocks: fast(), ..config(&server.endpoint()) }, [key("a")]);
    follower.expect(&key("a"), "absent").await;
    server.signal(Signal::SIGSTOP);
    let begun = Instant::now();
    follower.outage("within").await;
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    server.signal(Signal::SIGCONT);
    client.put("/a", "1").await;
    follower.expect(&key("a"), "1").await;
}

#[tokio::test]
async fn a_silent_stream_is_asked_and_kept() {
    let server = Server::start();
    let clocks = Clocks { audit_interval: Duration::from_secs(60), ..fast() };
    let client = Client::new(&server.endpoint());
    let follower = Follower::start(Config { clocks, ..config(&server.endpoint()) }, [key("a"), key("b")]);
    follower.expect(&key("a"), "absent").await;
    // Three times the silence that would end it without answers.
    tokio::time::sleep(Duration::from_millis(2700)).await;
    client.put("/a", "1").await;
    follower.expect(&key("a"), "1").await;
    assert_eq!(server.calls("Watch"), 1);
}
