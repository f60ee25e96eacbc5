//! A server that goes away and comes back.

use std::time::{Duration, Instant};

use super::{follow, follow_with};
use crate::support::consul::Consul;
use crate::support::consul_client::{Health, instance};
use crate::support::follower::{key, prefix, service};

#[test]
fn an_outage_keeps_answers_and_ends_by_itself() {
    let mut consul = Consul::start();
    let client = consul.client();
    client.put("a", "1");
    client.catalog_register(&instance("n2", "web", 80, Health::Passing));
    let follower = follow(&consul, [key("a"), service("web")]);
    follower.expect(&key("a"), "1");
    follower.expect(&service("web"), "web/web-1@10.0.0.1:80;");
    consul.kill(0);
    let outage = follower.outage("refused");
    assert!(outage.contains(&consul.address()), "{outage}");
    assert_eq!(follower.shown(&key("a")), "1");
    assert!(follower.seen().errors.is_empty());
    consul.restart(0);
    client.put("a", "2");
    let start = Instant::now();
    follower.expect_within(Duration::from_secs(15), &key("a"), "2");
    println!("after a restart of the server: {:?}", start.elapsed());
    client.catalog_register(&instance("n2", "web", 81, Health::Passing));
    follower.expect(&service("web"), "web/web-1@10.0.0.1:81;");
}

#[test]
fn a_restored_snapshot_is_seen_at_once() {
    let consul = Consul::start();
    let client = consul.client();
    client.put("a", "old");
    let snapshot = consul.snapshot();
    for round in 0..20 {
        client.put("a", round.to_string());
    }
    let follower = follow(&consul, [key("a"), prefix("")]);
    follower.expect(&key("a"), "19");
    let start = Instant::now();
    consul.restore(&snapshot);
    follower.expect_within(Duration::from_secs(65), &key("a"), "old");
    println!("after a restored snapshot: {:?}", start.elapsed());
    follower.expect(&prefix(""), "a(a)=old;");
    client.put("a", "new");
    follower.expect(&key("a"), "new");
    follower.assert_no_outage();
}

#[test]
fn a_stopped_server_is_found_and_followed_again() {
    let mut consul = Consul::start();
    let client = consul.client();
    client.put("a", "1");
    let follower = follow_with(&consul, "probe_interval: 1s, request_timeout: 1s", [key("a")]);
    follower.expect(&key("a"), "1");
    consul.pause(0);
    let start = Instant::now();
    let outage = follower.outage("no answer within 1s");
    println!("a stopped server was found after {:?}: {outage}", start.elapsed());
    consul.resume(0);
    client.put("a", "2");
    follower.expect(&key("a"), "2");
}
