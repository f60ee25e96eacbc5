//! The etcd registry by itself: what it publishes, beside real servers and beside proxies in front of them.

mod access;
mod answers;
mod faults;
mod links;
mod random;
mod rarities;
mod services;
mod transactions;

use liveconf::registry::Query;

use crate::support::etcd::Etcd;
use crate::support::follower::Follower;

/// Clocks that make a test short. What a test does not wait for is left as it is in production.
const FAST: &str = "audit_interval: 300ms, progress_interval: 300ms, dial_timeout: 1s, denied_interval: 300ms";

/// Follows these queries on a cluster, as an operator without special wishes would.
#[track_caller]
fn follow(etcd: &Etcd, queries: impl IntoIterator<Item = Query>) -> Follower {
    follow_with(etcd, "", queries)
}

/// The same with more settings.
#[track_caller]
fn follow_with(etcd: &Etcd, settings: &str, queries: impl IntoIterator<Item = Query>) -> Follower {
    Follower::start("etcd", &etcd.section_with(settings), queries)
}

/// The same through a link or a proxy.
#[track_caller]
fn follow_at(endpoint: &str, settings: &str, queries: impl IntoIterator<Item = Query>) -> Follower {
    Follower::start("etcd", &format!("{{endpoints: [{endpoint}], {settings}}}"), queries)
}
