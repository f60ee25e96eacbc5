//! What is the same around every kind: try again, back off, log, and let an outage keep the last answers.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use futures_util::FutureExt;
use tokio::sync::{Notify, watch};
use tracing::{info, warn};

use super::query_log::{GATHER, QueryLog, Remark};
use super::{Feed, Outage, Publication, Registry, Sink, Wanted, Watch};
use crate::backoff::Backoff;
use crate::config::Limits;
use crate::log::{Line, Repeats, listed, rounded};
use crate::secret::open_to_all;
use crate::store::Store;

/// The pauses between tries to reach a registry begin with this, and end with what the registry says. Half of each is
/// random: a fleet does not try in step, and a try costs a registry that is overloaded no more than eight a minute.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const JITTER: f64 = 0.5;

/// A registry that was followed for this long was well.
const STEADY: Duration = Duration::from_secs(5);

/// How a registry stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nobody asks it anything, and so it is not connected to.
    Idle,
    /// It has not answered yet, since then.
    Connecting(SystemTime),
    /// It answers, since then.
    Well(SystemTime),
    /// It has not answered since then, for this reason.
    Away(SystemTime, Outage),
}

/// Follows a registry for as long as the program runs, with answers that are no larger than `limits`, and says how it
/// stands. Nothing that the registry does ends it.
pub async fn drive(
    name: Arc<str>,
    registry: Arc<dyn Registry>,
    limits: Limits,
    store: Arc<Store>,
    standing: watch::Sender<Standing>,
) {
    let wanted = store.add_registry(&name);
    let health = Arc::new(Health {
        registry: name.clone(),
        store: store.clone(),
        standing,
        state: Mutex::default(),
        queries: Mutex::new((QueryLog::new(), wanted.clone())),
        unsaid: Notify::new(),
    });
    let mut feed = Feed::new(name.clone(), wanted, health.clone()).within(limits);
    for file in open_to_all(registry.secret_files()).await {
        // No error, since container platforms mount secrets so unless told otherwise.
        let file = file.display();
        warn!(registry = &*name, %file, "everybody on this machine may read this file, which holds a secret: chmod it 600");
    }
    let mut watch = registry.watch();
    let longest = registry.longest_pause();
    let mut backoff = Backoff::new(FIRST_PAUSE.min(longest), longest, JITTER);
    loop {
        // Nothing is connected to, and nothing can be away, before somebody asks.
        while feed.wanted().is_empty() {
            health.standing.send_replace(Standing::Idle);
            feed.changed().await;
        }
        health.standing.send_if_modified(|standing| {
            let was_idle = *standing == Standing::Idle;
            if was_idle {
                *standing = Standing::Connecting(SystemTime::now());
            }
            was_idle
        });
        let began = Instant::now();
        let run = AssertUnwindSafe(health.run(&mut *watch, &mut feed));
        let outage = run.catch_unwind().await.unwrap_or_else(|_panic| {
            watch = registry.watch();
            Outage("internal error: the watch panicked; please report this".to_owned())
        });
        health.failed(outage);
        // What answers and breaks again is no better than what does not answer.
        if began.elapsed() >= STEADY {
            backoff.reset();
        }
        tokio::time::sleep(backoff.next_pause()).await;
    }
}

/// Whether the registry answers, and what was said about it in the log.
struct Health {
    registry: Arc<str>,
    store: Arc<Store>,
    /// How it stands, for whoever asks.
    standing: watch::Sender<Standing>,
    state: Mutex<State>,
    /// What is said of single queries, and which are asked.
    queries: Mutex<(QueryLog, watch::Receiver<Wanted>)>,
    /// Rings when there is more to say of them.
    unsaid: Notify,
}

#[derive(Default)]
struct State {
    /// It has answered since it was last away.
    answers: bool,
    /// It has answered at all, so that there are answers which stay.
    has_answered: bool,
    outage: Option<Outage>,
    repeats: Repeats,
}

/// How often it is looked whether the log owes a line, such as one about an outage that the watch waits out by itself.
const LOOK: Duration = Duration::from_secs(15);

impl Health {
    /// Runs the watch until it gives up. What the log owes meanwhile is written.
    async fn run(&self, watch: &mut dyn Watch, feed: &mut Feed) -> Outage {
        let mut run = std::pin::pin!(watch.run(feed));
        let mut look = Instant::now() + LOOK;
        loop {
            tokio::select! {
                outage = &mut run => return outage,
                () = self.unsaid.notified() => look = look.min(Instant::now() + GATHER),
                () = tokio::time::sleep_until(look.into()) => {
                    look = Instant::now() + LOOK;
                    self.write_outage();
                    self.write_queries(&Publication::new());
                }
            }
        }
    }

    fn failed(&self, outage: Outage) {
        self.store.set_outage(&self.registry, Some(outage.to_string()));
        self.standing.send_modify(|standing| {
            let since = if let Standing::Away(since, _) = standing { *since } else { SystemTime::now() };
            *standing = Standing::Away(since, outage.clone());
        });
        let mut state = self.state();
        state.answers = false;
        state.outage = Some(outage);
        drop(state);
        self.write_outage();
    }

    fn write_outage(&self) {
        let mut state = self.state();
        let Some(Outage(reason)) = state.outage.clone() else { return };
        let registry = &*self.registry;
        let stay = if state.has_answered { "; the last answers stay" } else { "" };
        // One outage has many reasons, such as a reset and then refusals; it is told as one.
        match state.repeats.failed(Instant::now(), "away") {
            Line::First => warn!(registry, "registry does not answer: {reason}{stay}"),
            Line::Still(lasted) => warn!(registry, "registry has not answered for {}: {reason}{stay}", rounded(lasted)),
            Line::Silent => {}
        }
    }

    /// Says what is new of single queries.
    fn write_queries(&self, publication: &Publication) {
        let now = Instant::now();
        let remarks = {
            let mut queries = self.queries.lock().unwrap_or_else(PoisonError::into_inner);
            let (log, wanted) = &mut *queries;
            if wanted.has_changed().unwrap_or(false) {
                log.keep(&wanted.borrow_and_update());
            }
            log.note(publication, now);
            let remarks = log.due(now);
            if log.is_waiting() {
                self.unsaid.notify_one();
            }
            remarks
        };
        let registry = &*self.registry;
        for remark in remarks {
            match remark {
                Remark::NotAnswered { reason, queries, stays } => {
                    let stay = if stays { "; the last answer stays" } else { "" };
                    warn!(registry, query = listed(&queries), "not answered: {reason}{stay}");
                }
                Remark::AnsweredAgain { reason, lasted } => {
                    info!(registry, "answered again after {}; it was: {reason}", rounded(lasted));
                }
                Remark::NoSuchService { names } => warn!(registry, "no such service: {}", listed(&names)),
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Health {
    fn publish(&self, _registry: &str, publication: Publication, wanted: &Wanted) {
        self.write_queries(&publication);
        self.store.publish_as_of(&self.registry, publication, wanted);
    }

    fn recovered(&self, _registry: &str) {
        let mut state = self.state();
        if std::mem::replace(&mut state.answers, true) {
            return;
        }
        state.has_answered = true;
        state.outage = None;
        self.store.set_outage(&self.registry, None);
        self.standing.send_replace(Standing::Well(SystemTime::now()));
        if let Some(lasted) = state.repeats.recovered(Instant::now()) {
            info!(registry = &*self.registry, "registry answers again after {}", rounded(lasted));
        }
    }
}
