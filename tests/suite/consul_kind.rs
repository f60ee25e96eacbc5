//! The Consul registry by itself: what it publishes, beside real servers and beside one that says what it is told.

mod access;
mod cluster;
mod fake;
mod keys;
mod many;
mod odd_servers;
mod outages;
mod questions;
mod services;

use std::thread;
use std::time::Duration;

use liveconf::registry::Query;

use crate::support::consul::Consul;
use crate::support::follower::Follower;

/// Follows these queries on the first server, as an operator without special wishes would.
#[track_caller]
fn follow(consul: &Consul, queries: impl IntoIterator<Item = Query>) -> Follower {
    follow_with(consul, "", queries)
}

/// The same with more settings.
#[track_caller]
fn follow_with(consul: &Consul, settings: &str, queries: impl IntoIterator<Item = Query>) -> Follower {
    Follower::start("consul", &consul.section_with(settings), queries)
}

/// The same on a server that is none of ours.
#[track_caller]
fn follow_at(address: &str, settings: &str, queries: impl IntoIterator<Item = Query>) -> Follower {
    Follower::start("consul", &format!("{{address: '{address}', {settings}}}"), queries)
}

/// Connections to the first server, counted at its side. The kernel's table is not read in one instant, so a connection
/// may be counted beside the one that it replaces: it is looked at some times.
fn connections(consul: &Consul) -> usize {
    let look = |_| {
        thread::sleep(Duration::from_millis(5));
        consul.connections()
    };
    (0..5).map(look).min().unwrap_or_default()
}
