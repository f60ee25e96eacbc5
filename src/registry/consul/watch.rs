//! Follows all that is wanted of one Consul and publishes it.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};
use std::hash::RandomState;
use std::sync::Arc;
use std::time::Duration;

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
    /// When it was last begun to name reads that are refused, and how many were since.
    refusals: Option<(Instant, usize)>,
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
            refusals: None,
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
        let client = match Client::new(&self.config, token.follow(), self.places.clone()) {
            Ok(client) => client,
            Err(reason) => return Outage(format!("`{address}`: {reason}")),
        };
        if let Err(failure) = client.probe().await {
            self.rest(&failure);
            return away(failure);
        }
        let mut changes = token.follow();
        // Each goes on across the loop: what it has begun to read must not be dropped.
        let mut keeping = std::pin::pin!(token.keep());
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
                Ok(()) = changes.changed() => { session.retry(); Ok(()) }
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

    /// Names a read that is refused, but no more of them in a minute than anybody wants to read.
    pub(super) fn tell_refusal(&mut self, registry: &str, request: &Request, reason: &str) {
        const MOST: usize = 10;
        const MINUTE: Duration = Duration::from_secs(60);
        let now = Instant::now();
        let (begin, lines) = self.refusals.get_or_insert((now, 0));
        if now - *begin >= MINUTE {
            (*begin, *lines) = (now, 0);
        }
        *lines += 1;
        match (*lines).cmp(&MOST) {
            Ordering::Less => {
                warn!(registry, read = request.name(), reason, "refused by Consul, the last answer stays");
            }
            Ordering::Equal => warn!(registry, reason, "refused by Consul, and others are not named for a minute"),
            Ordering::Greater => {}
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

/// The first of what there is to list, and how many more.
pub(super) fn listed(entries: &[impl AsRef<str>]) -> String {
    const MOST: usize = 10;
    let first: Vec<&str> = entries.iter().take(MOST).map(AsRef::as_ref).collect();
    match entries.len().saturating_sub(MOST) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

impl Watch for ConsulWatch {
    fn run<'a>(&'a mut self, feed: &'a mut Feed) -> BoxFuture<'a, Outage> {
        self.follow(feed).boxed()
    }
}
