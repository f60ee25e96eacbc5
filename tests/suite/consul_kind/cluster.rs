//! All servers of a cluster die and come back: nobody may see part of the keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use liveconf::registry::Data;

use super::follow_at;
use crate::support::consul::Consul;
use crate::support::consul_client::{Client, put};
use crate::support::follower::{Follower, key, prefix};
use crate::support::poll_until;

const KEYS: usize = 1000;

/// Reads as a client does that asks in the default mode and without an index, all the time, and counts how often it
/// saw part of the keys. If it never did, the run would prove nothing.
fn control(client: &Client, partial: &AtomicUsize, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        let is_partial = match client.request("GET", "/v1/kv/app/?keys", "") {
            Ok((200, body)) => String::from_utf8_lossy(&body).matches("key-").count() < KEYS,
            Ok((404, _)) => true,
            _ => {
                thread::sleep(Duration::from_millis(2));
                false
            }
        };
        partial.fetch_add(is_partial.into(), Ordering::Relaxed);
    }
}

/// Restarts a cluster at least `least` times, and until the control has seen part of the keys, but no more than `most`
/// times.
fn restart_a_cluster(least: usize, most: usize) {
    let mut consul = Consul::cluster(3);
    for page in (0..KEYS).step_by(50) {
        consul.client().txn((page..page + 50).map(|number| put(&format!("app/key-{number}"), "value")).collect());
    }
    let follow = |index: usize| follow_at(&consul.url_of(index), "", [prefix("app"), key("round")]);
    let followers: Vec<Follower> = (0..3).map(follow).collect();
    for follower in &followers {
        follower.answer(&prefix("app"));
    }
    let (partial, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let controls: Vec<_> = (0..3)
        .map(|index| {
            let (client, partial, over) = (consul.client_of(index), Arc::clone(&partial), Arc::clone(&over));
            thread::spawn(move || control(&client, &partial, &over))
        })
        .collect();
    let mut rounds = 0;
    while rounds < least || (partial.load(Ordering::Relaxed) == 0 && rounds < most) {
        rounds += 1;
        consul.kill_all();
        consul.restart_all();
        poll_until(Duration::from_secs(30), || consul.client().try_put("round", rounds.to_string()));
        for follower in &followers {
            follower.expect(&key("round"), &rounds.to_string());
        }
    }
    over.store(true, Ordering::Relaxed);
    for control in controls {
        control.join().unwrap();
    }
    let partial = partial.load(Ordering::Relaxed);
    println!("{rounds} restarts of a cluster: the control saw part of the keys {partial} times");
    for follower in &followers {
        let seen = follower.seen();
        let sizes = seen.publications.iter().flatten().filter_map(|reply| match &reply.result.as_ref().ok()?.data {
            Data::Prefix(entries) => Some(entries.len()),
            _ => None,
        });
        assert!(sizes.clone().all(|size| size == KEYS), "{:?}", sizes.collect::<Vec<_>>());
    }
    assert!(partial > 0, "the control never saw part of the keys: this proves nothing");
}

#[test]
fn a_cluster_that_starts_again_never_shows_part_of_its_keys() {
    restart_a_cluster(2, 20);
}

#[test]
#[ignore = "takes two minutes; cargo test --test suite -- --ignored starts_again_twenty"]
fn a_cluster_that_starts_again_twenty_times_never_shows_part_of_its_keys() {
    restart_a_cluster(20, 20);
}
