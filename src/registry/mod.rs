//! Registries: where the data comes from.
//!
//! A registry answers one question again and again: *what is there now?* A [`Query`] is one question, an
//! [`Answer`] the whole current reply. [`Registry`] says which queries a kind supports and opens a [`Watch`];
//! a watch follows all the queries that are wanted of it and publishes whole answers, those that belong to one
//! state of the registry in one step, until it cannot go on. Retry, back-off, logging and "an outage keeps the
//! last answer" live once, around every kind, in the `driver`.
//!
//! # How to add a kind
//!
//! One file beside this one with a [`Registry`] and a [`Watch`], one line in [`KINDS`], one line in the contract
//! test that every kind with keys and services passes.

mod answer;
pub mod clock;
pub mod driver;
pub(crate) mod document;
pub(crate) mod instance;
pub(crate) mod keyspace;
pub(crate) mod limit;
pub mod line;
mod path;
mod query;
mod query_log;
mod shown;
#[cfg(test)]
pub(crate) mod recorder;

#[cfg(feature = "consul")]
pub mod consul;
#[cfg(feature = "dns")]
pub mod dns;
#[cfg(feature = "etcd")]
pub mod etcd;
pub mod file;
pub mod local;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

pub use answer::{
    Answer, Beside, Data, Entry, Instance, Names, Node, NodeServices, ServiceName, Status, Text, UnknownService,
};
pub use path::{Path, PathError};
pub use query::{Asked, LookupQuery, NodeQuery, Query, RecordType, ServiceQuery, StatusFilter};
pub use shown::{Aside, COMPUTED, Computed, FilePath};

use crate::config::{Limits, Section};

/// One kind of registry: its name in the configuration and how to read its section.
#[derive(Debug)]
pub struct Kind {
    /// The key in the configuration (`registries: {NAME: {KIND: ...}}`) and before the colon of `--registry`.
    pub name: &'static str,
    /// Reads the section of one registry; what is wrong with it becomes problems of the section. No I/O.
    pub decode: fn(&mut Section<'_>) -> Option<Arc<dyn Registry>>,
    /// The section that `--registry KIND:ADDRESS` stands for, as YAML.
    pub from_address: fn(&str) -> String,
}

/// Every kind that this build knows.
pub const KINDS: &[Kind] = &[
    file::KIND,
    #[cfg(feature = "consul")]
    consul::KIND,
    #[cfg(feature = "etcd")]
    etcd::KIND,
    #[cfg(feature = "dns")]
    dns::KIND,
];

/// A registry as it is configured: immutable, without a connection.
pub trait Registry: Send + Sync + fmt::Debug {
    /// Whether this kind can answer `query`; if not, what it cannot do, as a fragment that reads after
    /// "registry `NAME` (KIND) ", such as "has no `near=`".
    fn supports(&self, query: &Query) -> Result<(), String>;

    /// Whether there will be an answer to this very question, for a kind whose answers are given beforehand; if not why,
    /// as [`Registry::supports`] says it.
    fn knows(&self, query: &Query) -> Result<(), String> {
        let _ = query;
        Ok(())
    }

    /// Whether it is there for names and nothing else. Such a registry does not stand beside the others where a template
    /// does not say which one it asks.
    fn answers_lookups(&self) -> bool {
        false
    }

    /// A question to find out whether it answers at all, whatever it says. None where no question is right for all.
    fn probe(&self) -> Option<Query> {
        Path::parse("liveconf/probe").ok().map(Query::Exists)
    }

    /// A watch that is not connected yet. No I/O.
    fn watch(&self) -> Box<dyn Watch>;

    /// The same for a command that ends soon, where a registry goes on with questions that nobody waits for any more.
    fn brief(&self) -> Option<Arc<dyn Registry>> {
        None
    }

    /// Whether an answer that lacks much may be a fault of the registry, so that guards look at it. A file is what
    /// somebody made of it.
    fn is_guarded(&self) -> bool {
        true
    }

    /// Asks what we may read of a query, where the answer to it may be less for want of a right: a sentence for the log
    /// line about an answer that is held back, without a value or a secret. None where that is no question.
    fn rights(&self, query: &Query, name: &Arc<str>) -> Option<BoxFuture<'static, String>> {
        let (_, _) = (query, name);
        None
    }

    /// The longest pause between tries to reach it.
    fn longest_pause(&self) -> Duration {
        Duration::from_secs(10)
    }

    /// Somebody who is about to stand in a line, for kinds that have locks; else why there is none, as a fragment that reads
    /// after "registry `NAME` (KIND) ". No I/O.
    fn line(&self, place: &line::Place) -> Result<Box<dyn line::Line>, String> {
        let _ = place;
        Err("has no locks".to_owned())
    }

    /// The files that hold secrets of ours, which nobody else should read.
    fn secret_files(&self) -> Vec<PathBuf> {
        Vec::new()
    }
}

/// A connection to a registry that follows queries.
pub trait Watch: Send {
    /// Follows what `feed` wants and publishes to it; comes back only when it cannot go on. It is then called
    /// again after a pause, and keeps in `self` what must outlive an outage. The future may be dropped at any
    /// await.
    fn run<'a>(&'a mut self, feed: &'a mut Feed) -> BoxFuture<'a, Outage>;
}

/// Why a registry is away: a fragment that names the endpoint and what it said, never a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Outage(pub String);

/// Why one query has no new answer while the registry itself is well.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct QueryError {
    /// What the registry said: a fragment that never holds a value or a secret.
    pub reason: String,
    /// We are not allowed to ask this, which `optional=true` in a template turns into "not there".
    pub denied: bool,
}

impl QueryError {
    /// The registry cannot answer this query.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), denied: false }
    }

    /// We are not allowed to ask this query.
    pub fn denied(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), denied: true }
    }
}

/// The reply to one query within a [`Publication`].
#[derive(Debug, Clone)]
pub struct Reply {
    /// What was asked.
    pub query: Query,
    /// All that is there now, or why that is not known. An error never clears the answer before it.
    pub result: Result<Answer, QueryError>,
}

/// The queries that are wanted of a registry, each with a serial number. A query that is wanted under another number than
/// before is to be read again, in the way that shows the newest state for certain (a linearizable or consistent read,
/// never what is held), and answered even if nothing has changed. Either it was dropped and is wanted again, maybe
/// unseen by a watch that did not look in between, or somebody wants an answer confirmed.
pub type Wanted = Arc<BTreeMap<Query, u64>>;

/// Replies that describe one state of the registry and become visible in one step.
pub type Publication = Vec<Reply>;

/// Where a [`Feed`] publishes to. The store implements it; a test may.
pub trait Sink: Send + Sync {
    /// Makes all replies visible in one step. An answer that equals the one before wakes nobody. Each belongs to its
    /// query under the number that it has in `wanted`, which is what the watch saw when it last looked.
    fn publish(&self, registry: &str, publication: Publication, wanted: &Wanted);

    /// The registry answers: an outage, if there was one, is over.
    fn recovered(&self, registry: &str);
}

/// What a [`Watch`] sees of the rest of the program: the queries that are wanted, and where answers go.
pub struct Feed {
    registry: Arc<str>,
    wanted: tokio::sync::watch::Receiver<Wanted>,
    /// What the watch saw when it last looked: it cannot answer a question that was put since.
    seen: Wanted,
    sink: Arc<dyn Sink>,
    limits: Limits,
}

impl Feed {
    /// A feed for the registry called `registry`.
    pub fn new(registry: Arc<str>, wanted: tokio::sync::watch::Receiver<Wanted>, sink: Arc<dyn Sink>) -> Self {
        Self { registry, wanted, seen: Wanted::default(), sink, limits: Limits::default() }
    }

    /// The same feed, whose answers may be this large.
    #[must_use]
    pub fn within(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// How large answers may be.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The configured name of the registry, for log lines and for [`Instance::registry`].
    pub fn registry(&self) -> &Arc<str> {
        &self.registry
    }

    /// The queries that are wanted now; [`Feed::changed`] then waits for another set.
    pub fn wanted(&mut self) -> Wanted {
        self.seen = self.wanted.borrow_and_update().clone();
        self.seen.clone()
    }

    /// Waits until other queries are wanted than the last [`Feed::wanted`] gave. Safe to cancel.
    pub async fn changed(&mut self) {
        if self.wanted.changed().await.is_err() {
            // Nobody can want anything any more: the program is about to drop the watch.
            std::future::pending::<()>().await;
        }
    }

    /// Makes the replies visible in one step, and says that the registry answers.
    pub fn publish(&self, publication: Publication) {
        self.recovered();
        if !publication.is_empty() {
            self.sink.publish(&self.registry, publication, &self.seen);
        }
    }

    /// Says that the registry answers, though there is nothing new.
    pub fn recovered(&self) {
        self.sink.recovered(&self.registry);
    }
}
