//! One read: waited for, sent, judged and read. It runs in a task of its own.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderValue;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};

use super::catalog;
use super::client::{Client, Reply};
use super::config::Config;
use super::failure::{Failure, Good, judge};
use super::nothing::{self, Names};
use super::request::{Ask, Contents, Request};
use crate::config::Limits;
use crate::registry::{UnknownService, limit};

/// What all reads of a connection have in common.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) client: Arc<Client>,
    pub(super) config: Arc<Config>,
    pub(super) token: watch::Receiver<Option<HeaderValue>>,
    pub(super) registry: Arc<str>,
    pub(super) limits: Limits,
    /// For prints that nobody else can foresee.
    pub(super) hasher: RandomState,
    /// The names of services, for hints.
    pub(super) names: Names,
    /// Rings when Consul, which was asked too much of, serves again; for one read at a time.
    pub(super) served: Arc<Notify>,
}

/// What ends a pause before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// Nothing.
    Over,
    /// Another token.
    Token,
    /// That Consul serves others again.
    Served,
}

/// What to read, and after which pause.
pub(super) struct Fetch {
    pub(super) request: Request,
    pub(super) ask: Ask,
    /// The print of the body before: one that is the same is not read again.
    pub(super) print: Option<u64>,
    pub(super) pause: Duration,
    pub(super) until: Until,
    /// Whether a query wants what is there, and not only a scout when it changes.
    pub(super) asked: bool,
    /// Whether it has never been answered: then a service that nobody registered may be misspelt.
    pub(super) first: bool,
}

/// What came of it.
pub(super) struct Fetched {
    pub(super) ask: Ask,
    /// From sending to the end.
    pub(super) took: Duration,
    /// Of that, moving and reading the body.
    pub(super) cost: Duration,
    pub(super) result: Result<(Good, Body), Failure>,
}

/// The body of a successful answer.
pub(super) enum Body {
    /// As it was.
    Same,
    New {
        print: u64,
        reading: Reading,
    },
}

/// What is in a body.
pub(super) struct Reading {
    pub(super) contents: Contents,
    /// What could not be read, named.
    pub(super) left_out: Vec<String>,
    /// The service that was read is in no catalog.
    pub(super) unknown: Option<UnknownService>,
}

impl Fetch {
    pub(super) async fn run(self, mut context: Context) -> Fetched {
        let before_poll = context.config.clocks.before_poll;
        let pause = if matches!(self.ask, Ask::Above(_)) { self.pause.max(before_poll) } else { self.pause };
        if !pause.is_zero() {
            context.token.borrow_and_update();
            tokio::select! {
                () = sleep(pause) => {}
                Ok(()) = context.token.changed(), if self.until == Until::Token => {}
                () = context.served.notified(), if self.until == Until::Served => {}
            }
        }
        let fetched = self.read(self.ask, &context).await;
        if self.found_nothing(&fetched) { self.make_sure(fetched, &context).await } else { fetched }
    }

    /// Whether it found nothing that a query asks for.
    fn found_nothing(&self, fetched: &Fetched) -> bool {
        let Ok((good, Body::New { reading, .. })) = &fetched.result else { return false };
        self.asked && !good.filtered && nothing::is_nothing(&self.request, &reading.contents)
    }

    /// Makes sure that what was not found is not there, or gives why that cannot be known.
    async fn make_sure(&self, fetched: Fetched, context: &Context) -> Fetched {
        let failed = |failure| Fetched { result: Err(failure), ..fetched };
        if !context.config.allow_filtered
            && let Err(failure) = nothing::may_look(&self.request, context).await
        {
            return failed(failure);
        }
        // The right to look may have come just now, and a server that has yet to catch up says nothing, too.
        let mut again = self.read(Ask::Consistent, context).await;
        if self.found_nothing(&again)
            && let Ok((_, Body::New { reading, .. })) = &mut again.result
        {
            match nothing::unknown(&self.request, self.first, context).await {
                Ok(unknown) => reading.unknown = unknown,
                Err(failure) => return failed(failure),
            }
        }
        again
    }

    async fn read(&self, ask: Ask, context: &Context) -> Fetched {
        let start = Instant::now();
        let mut cost = Duration::ZERO;
        let result = self.try_read(ask, context, &mut cost).await;
        Fetched { ask, took: start.elapsed(), cost, result }
    }

    async fn try_read(&self, ask: Ask, context: &Context, cost: &mut Duration) -> Result<(Good, Body), Failure> {
        let (good, reply) = send(&self.request, ask, context).await?;
        let start = Instant::now();
        let print = context.hasher.hash_one((good.missing, &reply.body));
        if self.print == Some(print) {
            *cost = reply.transfer;
            return Ok((good, Body::Same));
        }
        let mut reading = parse(&self.request, good, &reply, context)?;
        if let Contents::Node(Some(found)) = &mut reading.contents
            && found.node.datacenter.is_empty()
        {
            found.node.datacenter = own_datacenter(&found.node.name, context).await?;
        }
        *cost = reply.transfer + start.elapsed();
        Ok((good, Body::New { print, reading }))
    }
}

/// Sends a read; gives its answer and what the head says of it.
pub(super) async fn send(request: &Request, ask: Ask, context: &Context) -> Result<(Good, Reply), Failure> {
    let Context { client, config, .. } = context;
    let reply = client.get(&request.target(ask, config), Request::patience(ask, config)).await?;
    let good = judge(reply.status, &reply.headers, &reply.body, request.form())?;
    Ok((good, reply))
}

/// The datacenter of a node of the agent's own, which not every read says.
async fn own_datacenter(node: &str, context: &Context) -> Result<String, Failure> {
    let request = Request::Node { name: node.to_owned(), datacenter: None };
    let (_, reply) = send(&request, Ask::Now, context).await?;
    catalog::datacenter(&reply.body).map_err(|error| unreadable(&error))
}

/// What serde says may hold values.
fn unreadable(error: &serde_json::Error) -> Failure {
    let place = format!("line {}, column {}", error.line(), error.column());
    Failure::Unreadable(format!("the answer is no JSON as Consul gives it, at {place}"))
}

/// What is in a good answer.
pub(super) fn parse(request: &Request, good: Good, reply: &Reply, context: &Context) -> Result<Reading, Failure> {
    let mut left_out = Vec::new();
    let contents = request.read(&reply.body, good.missing, &context.config.prefix, &context.registry, &mut left_out);
    let contents = contents.map_err(|error| unreadable(&error))?;
    let count = match &contents {
        Contents::Below(keys) => keys.len(),
        Contents::Names(names) => names.len(),
        _ => 0,
    };
    if limit::are_many(count, &context.limits) {
        return Err(Failure::TooLarge(limit::keys(count, &context.limits)));
    }
    Ok(Reading { contents, left_out, unknown: None })
}
