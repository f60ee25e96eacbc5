//! Follows all that is wanted of one Consul and publishes it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::RandomState;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::client::Client;
use super::config::Config;
use super::cursor::{Cursor, jittered};
use super::failure::Failure;
use super::request::Request;
use super::session::Session;
use super::token::Token;
use crate::log::{Repeats, listed};
use crate::registry::{Feed, Outage, Watch};

/// The most entries whose names are kept so that each is told once.
const MOST_TOLD: usize = 1000;

/// A watch of one Consul; what is in it outlives an outage.
pub(super) struct ConsulWatch {
    pub(super) config: Arc<Config>,
    /// How far each read has come.
    pub(super) cursors: BTreeMap<Request, Cursor>,
    /// For prints of bodies.
    pub(super) hasher: RandomState,
    /// When it was last said that an index did not go on.
    pub(super) doubted: Option<Instant>,
    /// One for each connection that may be open.
    places: Arc<Semaphore>,
    /// When Consul wants to be asked again.
    not_before: Option<Instant>,
    /// That Consul takes fewer connections than we may open, which each connection learns anew.
    pub(super) narrowness: Repeats,
    /// Scouts that are refused, and what was said of that.
    pub(super) blindness: HashMap<Request, String>,
    /// Entries of which it was said that they cannot be read.
    told: HashSet<String>,
}

impl ConsulWatch {
    pub(super) fn new(config: Arc<Config>) -> Self {
        Self {
            places: Arc::new(Semaphore::new(config.max_connections.min(Semaphore::MAX_PERMITS))),
            config,
            cursors: BTreeMap::new(),
            hasher: RandomState::new(),
            doubted: None,
            not_before: None,
            narrowness: Repeats::default(),
            blindness: HashMap::new(),
            told: HashSet::new(),
        }
    }

    async fn follow(&mut self, feed: &mut Feed) -> Outage {
        if let Some(at) = self.not_before.take() {
            sleep_until(at).await;
        }
        let address = self.config.address.clone();
        let away = |failure: Failure| Outage(format!("`{address}`: {failure}"));
        let mut token = match Token::open(&self.config).await {
            Ok(token) => token,
            Err(outage) => return outage,
        };
        let client = match Client::new(&self.config, token.follow(), self.places.clone(), feed.limits()) {
            Ok(client) => client,
            Err(reason) => return Outage(format!("`{address}`: {reason}")),
        };
        if let Err(failure) = client.probe().await {
            self.rest(&failure);
            return away(failure);
        }
        let mut changes = token.follow();
        // Each goes on across the loop: what it has begun to read must not be dropped.
        let registry = feed.registry().clone();
        let mut keeping = std::pin::pin!(token.keep(&registry));
        let mut probing = std::pin::pin!(client.watch_over());
        let mut session = Session::new(self, client.clone(), feed);
        let mut result = session.replan(feed).await;
        let failure = loop {
            if let Err(failure) = result {
                break failure;
            }
            let wake = session.send();
            let widens = client.widens_at();
            result = tokio::select! {
                biased;
                () = feed.changed() => session.replan(feed).await,
                joined = session.joined() => session.settle(joined, feed),
                failure = &mut probing => Err(failure),
                Ok(()) = changes.changed() => { session.read_anew(); Ok(()) }
                () = &mut keeping => Ok(()),
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => Ok(()),
                () = sleep_until(widens.unwrap_or_else(Instant::now)), if widens.is_some() => session.replan(feed).await,
            };
        };
        drop(session);
        self.rest(&failure);
        away(failure)
    }

    /// Gives Consul the pause that it asked for.
    fn rest(&mut self, failure: &Failure) {
        if let Failure::Busy { after: Some(after), .. } = failure {
            self.not_before = Some(Instant::now() + jittered(*after));
        }
    }

    /// Says, where that is new, that a scout is refused, so that changes are found late.
    pub(super) fn tell_blindness(&mut self, registry: &str, scout: &Request, failure: &Failure) {
        // The datacenter of a scout is that of the questions that it is for.
        let is_computed = scout.datacenter() != self.config.datacenter.as_deref();
        let reason = scout.explain(failure, is_computed, &self.config);
        if self.blindness.get(scout) != Some(&reason) {
            self.blindness.insert(scout.clone(), reason.clone());
            let interval = humantime::format_duration(self.config.clocks.resweep_interval);
            warn!(registry, read = scout.name(), "changes are found only within {interval}: {reason}");
        }
    }

    /// Names entries that cannot be read, each once.
    pub(super) fn tell(&mut self, registry: &str, left_out: &[String]) {
        let room = MOST_TOLD.saturating_sub(self.told.len());
        let new: Vec<&String> = left_out.iter().filter(|entry| !self.told.contains(*entry)).take(room).collect();
        if !new.is_empty() {
            warn!(registry, count = new.len(), first = listed(&new), "left out entries that cannot be read");
            self.told.extend(new.into_iter().cloned());
        }
    }
}

impl Watch for ConsulWatch {
    fn run<'a>(&'a mut self, feed: &'a mut Feed) -> BoxFuture<'a, Outage> {
        self.follow(feed).boxed()
    }
}
