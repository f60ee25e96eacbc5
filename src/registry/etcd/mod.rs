//! The etcd v3 registry, over native gRPC.
//!
//! Every query is answered from ranges of keys; each range is read and watched once, however many queries need it.
//! One stream carries the watches of all ranges, another connection the reads. A session watches all ranges, reads
//! them at one revision and follows them from the next: events carry the data, no read follows a change. Every reconnect reads
//! everything again and compares, because a restored backup cannot be told by its revision alone; cheap audits
//! find events that etcd lost.
//!
//! Data flow: `session` drives `connection` (one member), `read` (ranges at one revision) and `stream` (the watch
//! stream) and puts what comes into `state`, which holds the ranges (`held`) and builds the `answers`. A `lock` has
//! a connection of its own.

mod answers;
mod config;
mod connection;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod held;
mod keys;
mod lock;
mod messages;
mod read;
mod session;
mod state;
mod stream;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use rand::seq::SliceRandom;

use self::answers::Answers;
use self::connection::Endpoint;
use self::session::End;
use self::state::State;
use super::line::{Line, Place};
use super::{Feed, Kind, Outage, Query, Registry, Watch};
use crate::backoff::Backoff;
use crate::log::{self, Repeats};

pub use self::config::{Clocks, Config, ConfigError, Format, Services};

/// This kind.
pub const KIND: Kind = Kind { name: "etcd", decode: config::decode, from_address };

/// A session that broke sooner than this counts as an attempt that failed, and one that is to be opened anew sooner is
/// followed by a pause, so that a member that answers and breaks again and again is left alone for a while.
const STEADY: Duration = Duration::from_secs(5);

/// The pauses before a session that follows a short one on a member that is well.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// An etcd cluster as it is configured.
#[derive(Debug)]
pub struct Etcd {
    config: Arc<Config>,
    endpoints: Arc<[Endpoint]>,
    answers: Arc<Answers>,
}

impl Registry for Etcd {
    fn supports(&self, query: &Query) -> Result<(), String> {
        self.answers.supports(query)
    }

    fn watch(&self) -> Box<dyn Watch> {
        let mut endpoints = self.endpoints.to_vec();
        // Many instances with one configuration spread over the members.
        endpoints.shuffle(&mut rand::rng());
        Box::new(EtcdWatch {
            config: self.config.clone(),
            endpoints,
            next: 0,
            answers: self.answers.clone(),
            state: None,
            renewals: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE, 0.5),
            losses: Repeats::default(),
        })
    }

    fn line(&self, place: &Place) -> Result<Box<dyn Line>, String> {
        // etcd lengthens what is shorter than one and a half times its election timeout, by default 1.5 s.
        const LEAST: u64 = 2;
        if place.ttl < Duration::from_secs(LEAST) {
            return Err(format!("needs a `ttl` of {LEAST}s or more"));
        }
        let mut endpoints = self.endpoints.to_vec();
        endpoints.shuffle(&mut rand::rng());
        let line = (self.answers.layout.folder(&place.line), place.line.clone());
        let seconds = i64::try_from(place.ttl.as_secs()).unwrap_or(i64::MAX);
        Ok(Box::new(lock::EtcdLine::new(self.config.clone(), endpoints, line, seconds, place.holder.clone())))
    }

    fn secret_files(&self) -> Vec<PathBuf> {
        [&self.config.password_file, &self.config.key_file].into_iter().flatten().cloned().collect()
    }
}

/// Follows one cluster, one member at a time.
struct EtcdWatch {
    config: Arc<Config>,
    endpoints: Vec<Endpoint>,
    /// The endpoint that is used or tried next.
    next: usize,
    answers: Arc<Answers>,
    /// None before the first run, which knows the name of the registry.
    state: Option<State>,
    /// The pauses before sessions that are opened anew.
    renewals: Backoff,
    /// What was said about members that were lost.
    losses: Repeats,
}

impl Watch for EtcdWatch {
    fn run<'a>(&'a mut self, feed: &'a mut Feed) -> BoxFuture<'a, Outage> {
        Box::pin(self.follow(feed))
    }
}

impl EtcdWatch {
    /// Goes from member to member; comes back when all of them failed in a row.
    async fn follow(&mut self, feed: &mut Feed) -> Outage {
        let state = self.state.get_or_insert_with(|| State::new(self.answers.clone(), feed.registry().clone()));
        let mut failures = Vec::new();
        while failures.len() < self.endpoints.len() {
            while feed.wanted().is_empty() {
                feed.changed().await;
            }
            let endpoint = &self.endpoints[self.next % self.endpoints.len()];
            let failure = match session::run(state, &self.config, endpoint, feed).await {
                End::Idle => continue,
                End::Renew(why, after) => {
                    tracing::debug!(registry = &**feed.registry(), %endpoint, %why, "etcd is connected to anew");
                    failures.clear();
                    if after >= STEADY {
                        self.renewals.reset();
                        continue;
                    }
                    tokio::time::sleep(self.renewals.next_pause()).await;
                    None
                }
                End::Broke(why, after) if after >= STEADY => {
                    failures.clear();
                    say_lost(&mut self.losses, feed, endpoint, &why);
                    None
                }
                End::Broke(why, _) => {
                    // That all members failed is said by who is told of the outage.
                    if failures.len() + 1 < self.endpoints.len() {
                        say_lost(&mut self.losses, feed, endpoint, &why);
                    }
                    Some(why)
                }
                End::Failed(why) => Some(why),
            };
            failures.extend(failure.map(|why| format!("`{endpoint}`: {why}")));
            self.next = (self.next + 1) % self.endpoints.len();
        }
        Outage(failures.join("; "))
    }
}

/// A member is lost and another try follows: at most one line a minute, for whatever reasons.
fn say_lost(losses: &mut Repeats, feed: &Feed, endpoint: &Endpoint, why: &str) {
    let registry = &**feed.registry();
    match losses.failed(Instant::now(), "lost") {
        log::Line::Silent => tracing::debug!(registry, %endpoint, %why, "etcd is lost, connecting anew"),
        log::Line::First | log::Line::Still(_) => {
            tracing::info!(registry, %endpoint, %why, "etcd is lost, connecting anew");
        }
    }
}

/// `--registry etcd:host:2379,other:2379`.
fn from_address(address: &str) -> String {
    let endpoints: Vec<String> = address.split(',').map(|endpoint| format!("{:?}", endpoint.trim())).collect();
    format!("{{endpoints: [{}]}}", endpoints.join(", "))
}
