//! One read: waited for, sent, judged and read. It runs in a task of its own.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderValue;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::client::Client;
use super::config::Config;
use super::failure::{Failure, Good, judge};
use super::request::{Ask, Contents, Request};

/// What all reads of a connection have in common.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) client: Arc<Client>,
    pub(super) config: Arc<Config>,
    pub(super) token: watch::Receiver<Option<HeaderValue>>,
    pub(super) registry: Arc<str>,
    /// For prints that nobody else can foresee.
    pub(super) hasher: RandomState,
}

/// What to read, and after which pause.
pub(super) struct Fetch {
    pub(super) request: Request,
    pub(super) ask: Ask,
    /// The print of the body before: one that is the same is not read again.
    pub(super) print: Option<u64>,
    pub(super) pause: Duration,
    /// Whether another token ends the pause.
    pub(super) denied: bool,
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
        contents: Contents,
        left_out: Vec<String>,
    },
}

impl Fetch {
    pub(super) async fn run(self, mut context: Context) -> Fetched {
        if !self.pause.is_zero() {
            context.token.borrow_and_update();
            tokio::select! {
                () = sleep(self.pause) => {}
                Ok(()) = context.token.changed(), if self.denied => {}
            }
        }
        let start = Instant::now();
        let mut cost = Duration::ZERO;
        let result = self.read(&context, &mut cost).await;
        Fetched { ask: self.ask, took: start.elapsed(), cost, result }
    }

    async fn read(&self, context: &Context, cost: &mut Duration) -> Result<(Good, Body), Failure> {
        let Context { client, config, .. } = context;
        let target = self.request.target(self.ask, config);
        let reply = client.get(&target, Request::patience(self.ask, config)).await?;
        let start = Instant::now();
        let good = judge(reply.status, &reply.headers, &reply.body, self.request.is_key_value())?;
        let print = context.hasher.hash_one((good.missing, &reply.body));
        if self.print == Some(print) {
            *cost = reply.transfer;
            return Ok((good, Body::Same));
        }
        let mut left_out = Vec::new();
        let contents = self
            .request
            .read(&reply.body, good.missing, &config.prefix, &context.registry, &mut left_out)
            // What serde says may hold values.
            .map_err(|error| {
                let place = format!("line {}, column {}", error.line(), error.column());
                Failure::Unreadable(format!("the answer is no JSON as Consul gives it, at {place}"))
            })?;
        *cost = reply.transfer + start.elapsed();
        Ok((good, Body::New { print, contents, left_out }))
    }
}
