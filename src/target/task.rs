//! The task of one target: it waits for changes, applies them when they are due, and tries again what failed.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::applier::{Applied, Applier, Attempt, Failure, Retry};
use super::render::Waiting;
use super::schedule::Schedule;
use super::state::State;
use crate::apply::reload::Outcome;
use crate::backoff::Backoff;
use crate::config::Reload;
use crate::log::{Line, Repeats};
use crate::registry::Asked;
use crate::store::Reader;

/// How often a process that is not running is looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long a target waits for answers before the log says what for.
const SAY_WAITING: Duration = Duration::from_secs(5);
/// The least pause before another try where only the operator can help.
const SELDOM: Duration = Duration::from_secs(30);
/// How much a pause before another try is shortened at random.
pub const RETRY_JITTER: f64 = 0.2;

/// One target at work. It owns its files, its owed reload and its retry times.
pub struct Task {
    applier: Applier,
    reader: Reader,
    schedule: Schedule,
    backoff: Backoff,
    repeats: Repeats,
    state: watch::Sender<State>,
    /// Answers without which there is nothing to apply. While there are some, their arrival is all that counts.
    waiting: Option<Waiting>,
    /// What is tried again, and when.
    retry: Option<(Instant, Again)>,
    /// When the log says what is waited for.
    say_waiting: Option<Instant>,
    /// The newest revision that the files show.
    revision: u64,
}

/// What is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    /// The whole apply.
    Apply,
    /// The reload of files that are in place.
    Reload,
}

impl Task {
    /// A task that has applied nothing yet.
    pub fn new(applier: Applier, reader: Reader) -> Self {
        let target = applier.target();
        let (first, longest) = target.retry;
        Self {
            schedule: Schedule::new(target),
            backoff: Backoff::new(first, longest, RETRY_JITTER),
            repeats: Repeats::default(),
            state: watch::Sender::new(State::Waiting(BTreeSet::new())),
            waiting: Some(Waiting::default()),
            retry: None,
            say_waiting: Some(Instant::now() + SAY_WAITING),
            revision: 0,
            applier,
            reader,
        }
    }

    /// What the target says of itself, now and later.
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Works until `stop`, and then until the transaction that is under way has ended.
    pub async fn run(mut self, stop: CancellationToken) {
        self.apply(&stop).await;
        while !stop.is_cancelled() {
            let due = [self.schedule.due(), self.retry.map(|(at, _)| at), self.say_waiting].into_iter().flatten().min();
            tokio::select! {
                () = stop.cancelled() => return,
                changes = self.reader.changed() => {
                    if self.waiting.is_none() {
                        self.schedule.changed(changes, false);
                    }
                }
                () = until(due) => {}
            }
            self.act(Instant::now(), &stop).await;
        }
    }

    /// Does what is due.
    async fn act(&mut self, now: Instant, stop: &CancellationToken) {
        let reached = |at: Instant| at <= now;
        if let Some(waiting) = &self.waiting {
            if waiting.is_over(&self.reader.view()) {
                self.apply(stop).await;
            } else if self.say_waiting.is_some_and(reached) {
                self.write_waiting();
            }
            return;
        }
        if self.schedule.due().is_some_and(reached) {
            self.apply(stop).await;
        } else if let Some((at, again)) = self.retry
            && reached(at)
        {
            match again {
                Again::Apply => self.apply(stop).await,
                Again::Reload => self.reload().await,
            }
        }
    }

    /// One whole apply, and again at once while the answers that it missed have arrived meanwhile.
    async fn apply(&mut self, stop: &CancellationToken) {
        loop {
            self.schedule.begun();
            self.retry = None;
            let attempt = self.applier.attempt(&self.reader, stop).await;
            let changes = self.reader.take_changes();
            let Attempt::Waiting(waiting) = attempt else {
                self.waiting = None;
                self.say_waiting = None;
                if let Some(changes) = changes {
                    self.schedule.changed(changes, true);
                }
                return self.note(attempt);
            };
            let over = waiting.is_over(&self.reader.view());
            self.say_waiting.get_or_insert_with(|| Instant::now() + SAY_WAITING);
            self.state.send_replace(State::Waiting(waiting.missing.clone()));
            self.waiting = Some(waiting);
            if !over || stop.is_cancelled() {
                return;
            }
        }
    }

    /// Another try of a reload alone.
    async fn reload(&mut self) {
        self.retry = None;
        let outcome = self.applier.pay().await;
        self.note_reload(&outcome);
    }

    fn note(&mut self, attempt: Attempt) {
        match attempt {
            Attempt::Waiting(_) | Attempt::Stopped => {}
            Attempt::Failed(failure) => self.note_failure(&failure),
            Attempt::Applied(applied) => self.note_applied(&applied),
        }
    }

    fn note_applied(&mut self, applied: &Applied) {
        let Applied { changed, revision, reload } = applied;
        self.revision = *revision;
        if !changed.is_empty() {
            info!(target = self.name(), revision, "wrote {}", paths(changed));
        }
        match reload {
            Some(outcome) => self.note_reload(outcome),
            None => self.note_well(),
        }
    }

    fn note_reload(&mut self, outcome: &Outcome) {
        let at = Instant::now();
        if self.applier.target().reload != Reload::None && !matches!(outcome, Outcome::NotRunning(_)) {
            self.schedule.reloaded(at);
        }
        let (reason, again) = match outcome {
            Outcome::Taken => return self.note_well(),
            Outcome::NotRunning(reason) => (reason, Some(at + LOOK_AGAIN)),
            Outcome::Failed(reason) => (reason, Some(at + self.backoff.next_pause())),
            Outcome::Rejected(reason) => (reason, None),
        };
        self.retry = again.map(|at| (at, Again::Reload));
        self.state.send_replace(State::Owed(reason.clone()));
        let target = &*self.applier.target().name;
        match self.repeats.failed_anew(at, reason) {
            Line::Silent => {}
            Line::First | Line::Still(_) => match outcome {
                Outcome::NotRunning(_) => warn!(target, "reload is owed: {reason}"),
                Outcome::Rejected(_) => error!(target, "the process refused the new files: {reason}"),
                _ => error!(target, "reload failed, it will be tried again: {reason}"),
            },
        }
    }

    fn note_failure(&mut self, failure: &Failure) {
        let at = Instant::now();
        let reason = failure_text(failure);
        let pause = match failure.retry() {
            Retry::OnChange => None,
            Retry::Later => Some(self.backoff.next_pause()),
            Retry::Seldom => Some(self.backoff.next_pause().max(SELDOM)),
        };
        self.retry = pause.map(|pause| (at + pause, Again::Apply));
        if self.repeats.failed_anew(at, &reason) != Line::Silent {
            error!(target = self.name(), "the old files stay: {reason}");
        }
        self.state.send_replace(State::Failed(reason));
    }

    /// Files and process are true to the newest answers.
    fn note_well(&mut self) {
        self.backoff.reset();
        if let Some(lasted) = self.repeats.recovered(Instant::now()) {
            let lasted =
                humantime::format_duration(Duration::from_millis(lasted.as_millis().try_into().unwrap_or(u64::MAX)));
            info!(target = self.name(), "well again after {lasted}");
        }
        self.state.send_replace(State::Settled { revision: self.revision });
    }

    fn write_waiting(&mut self) {
        let missing = self.waiting.iter().flat_map(|waiting| &waiting.missing);
        let waiting: Vec<String> = missing.map(|asked| waiting_for(asked, &self.reader)).collect();
        warn!(target = self.name(), "still waits for {}", waiting.join("; "));
        self.say_waiting = Some(Instant::now() + Duration::from_secs(60));
    }

    fn name(&self) -> &str {
        &self.applier.target().name
    }
}

/// What is waited for and why it is not there, as far as that is known.
pub fn waiting_for(asked: &Asked, reader: &Reader) -> String {
    match reader.reason(asked) {
        Some(reason) => format!("{asked} ({reason})"),
        None => asked.to_string(),
    }
}

/// Paths for a log line.
pub fn paths(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// A failure with its causes, one line each where they bring their own lines.
pub fn failure_text(failure: &dyn std::error::Error) -> String {
    let mut text = failure.to_string();
    let mut cause = failure.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
