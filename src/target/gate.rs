//! What an apply that is due waits for before its render, so that its reload does no harm: that few enough old workers
//! are left, and that few enough others of a fleet are at their reload.
//!
//! The gate is asked when something is due that may end in a reload, and again whenever it says so; meanwhile the task goes
//! on with all else, and what is applied in the end is the newest.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::lock::{Lock, Standing, Taking};
use super::state::{Delay, Delayed, LockSeen};
use crate::apply::confirm::Workers;
use crate::config::{ConfirmKind, OldWorkers, Target};
use crate::log::{Line, Repeats, rounded};

/// How often it is looked whether old workers have ended.
const LOOK: Duration = Duration::from_millis(250);

/// Nothing is said of what waits no longer than this: most workers end as soon as they are old, and most locks are free.
const SAY: Duration = Duration::from_secs(2);

/// How long a place in a line may take to be given back before the program ends.
const SHUT: Duration = Duration::from_secs(3);

/// The gate of one target.
#[derive(Debug)]
pub(super) struct Gate {
    name: String,
    /// The rule, and the pid file of the master.
    old_workers: Option<(OldWorkers, PathBuf)>,
    /// So few old workers were left that what is due may go as far as they are concerned.
    is_past_workers: bool,
    lock: Option<Lock>,
    /// The lock, once it was asked for, until what was due is done.
    taking: Option<Taking>,
    /// A lock that is being given back.
    leaving: Option<JoinHandle<()>>,
    waiting: Option<Waiting>,
    /// How the registry of the lock stands, once it was asked for.
    seen: Option<LockSeen>,
    /// What was said of a lock that was done without.
    repeats: Repeats,
}

/// Something is due and waits.
#[derive(Debug)]
struct Waiting {
    since: Instant,
    shown: Delayed,
    /// When the gate is to be asked again, if nothing else comes.
    again: Instant,
    /// The log was told.
    is_said: bool,
}

/// What a gate leaves to the next one of its target: the place that it has in the line of its lock. Dropped, that is given
/// back.
#[derive(Debug)]
pub(super) struct Place {
    lock: Lock,
    taking: Taking,
    waiting: Option<Waiting>,
}

/// What keeps the gate closed.
struct Hindrance {
    by: Delay,
    /// When it is passed whatever is; none for without limit.
    until: Option<Instant>,
}

impl Gate {
    /// The gate of a target for which nothing is due yet.
    pub(super) fn new(target: &Target) -> Self {
        let old_workers = target.confirm.as_ref().and_then(|confirm| match confirm.kind {
            ConfirmKind::Nginx { old_workers: Some(rule), .. } => Some((rule, confirm.pid_file.clone()?)),
            _ => None,
        });
        let (name, repeats) = (target.name.to_string(), Repeats::default());
        let (lock, taking, leaving, waiting, seen) = (None, None, None, None, None);
        Self { name, old_workers, is_past_workers: false, lock, taking, leaving, waiting, seen, repeats }
    }

    /// The same with the lock of a fleet. The place that the gate before had in its line is kept; one in another line is
    /// given back.
    pub(super) fn locked_by(self, lock: Option<Lock>, place: Option<Place>) -> Self {
        let mut gate = Self { lock, ..self };
        if let Some(Place { lock: before, taking, waiting }) = place {
            if gate.lock.as_ref().is_some_and(|lock| lock.is(&before)) {
                (gate.taking, gate.waiting) = (Some(taking), waiting);
            } else {
                gate.leaving = Some(taking.release());
            }
        }
        gate
    }

    /// Ends, and leaves the place to the next gate of the target.
    pub(super) fn hand_over(&mut self) -> Option<Place> {
        let (lock, taking) = (self.lock.clone()?, self.taking.take()?);
        Some(Place { lock, taking, waiting: self.waiting.take() })
    }

    /// Whether there is anything to wait for at all.
    pub(super) fn is_open_to_all(&self) -> bool {
        self.old_workers.is_none() && self.lock.is_none()
    }

    /// Whether something waits.
    pub(super) fn is_closed(&self) -> bool {
        self.waiting.is_some()
    }

    /// What waits, for the operator.
    pub(super) fn delayed(&self) -> Option<&Delayed> {
        self.waiting.as_ref().map(|waiting| &waiting.shown)
    }

    /// How the registry of the lock stands, once it was asked for.
    pub(super) fn seen(&self) -> Option<&LockSeen> {
        self.seen.as_ref()
    }

    /// Waits until the gate is to be asked again. Safe to cancel.
    pub(super) async fn changed(&mut self) {
        let Some(waiting) = &self.waiting else { return std::future::pending().await };
        let further = async {
            match &mut self.taking {
                Some(taking) => taking.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = tokio::time::sleep_until(waiting.again.into()) => {}
            () = further => {}
        }
    }

    /// Whether what is due may go. What goes is begun at once, and when it is done the gate is [closed](Self::close).
    pub(super) fn lets_pass(&mut self, now: Instant) -> bool {
        if !self.is_past_workers {
            if let Some(hindrance) = self.too_many_workers(now)
                && !self.is_done_without(&hindrance, now)
            {
                return self.wait(hindrance, now);
            }
            // Nobody makes more of them while the lock is waited for.
            self.is_past_workers = true;
        }
        if let Some(hindrance) = self.others_first(now)
            && !self.is_done_without(&hindrance, now)
        {
            return self.wait(hindrance, now);
        }
        if let Some(waiting) = self.waiting.take().filter(|waiting| waiting.is_said) {
            info!(target = &*self.name, "goes on after {}", rounded(now.duration_since(waiting.since)));
        }
        true
    }

    /// Whether it was waited for long enough, which the log says.
    fn is_done_without(&mut self, Hindrance { by, until }: &Hindrance, now: Instant) -> bool {
        if until.is_none_or(|until| now < until) {
            return false;
        }
        let waited = self.waiting.as_mut().map_or(Duration::ZERO, |waiting| {
            waiting.is_said = false;
            now.duration_since(waiting.since)
        });
        let is_new = match by {
            Delay::OldWorkers { .. } => true,
            // Its reason may be another at every try.
            Delay::Lock { ahead, .. } => self.repeats.failed(now, &ahead.is_some().to_string()) != Line::Silent,
        };
        if is_new {
            warn!(target = &*self.name, "goes on after {}, though {by}", rounded(waited));
        }
        true
    }

    /// Has what is due wait, and says so.
    fn wait(&mut self, Hindrance { by, until }: Hindrance, now: Instant) -> bool {
        let waiting = self.waiting.get_or_insert_with(|| Waiting {
            since: now,
            shown: Delayed { by: by.clone(), since: SystemTime::now(), until },
            again: now,
            is_said: false,
        });
        // What it waits for now may be something else than before.
        waiting.is_said &= std::mem::discriminant(&waiting.shown.by) == std::mem::discriminant(&by);
        (waiting.shown.by, waiting.shown.until) = (by, until);
        waiting.again = until.map_or(now + LOOK, |until| until.min(now + LOOK));
        if !waiting.is_said && now.duration_since(waiting.since) >= SAY {
            waiting.is_said = true;
            let (target, by) = (&*self.name, &waiting.shown.by);
            match by {
                Delay::OldWorkers { .. } => {
                    let advice =
                        "`worker_shutdown_timeout` in the configuration of nginx bounds how long they may stay";
                    warn!(target, "delayed: {by}; {advice}");
                }
                Delay::Lock { ahead: None, .. } => warn!(target, "delayed: {by}"),
                Delay::Lock { .. } => info!(target, "delayed: {by}"),
            }
        }
        false
    }

    /// Nothing is due any more, or what was due is done: others may go.
    pub(super) fn close(&mut self) {
        self.waiting = None;
        self.is_past_workers = false;
        if let Some(seen) = &mut self.seen {
            seen.is_wanted = false;
        }
        if let Some(taking) = self.taking.take() {
            self.leaving = Some(taking.release());
        }
    }

    /// Closes it for good, and waits until the lock is given back.
    pub(super) async fn shut(&mut self) {
        self.close();
        if let Some(leaving) = self.leaving.take() {
            let _ = tokio::time::timeout(SHUT, leaving).await;
        }
    }

    /// Whether so many old workers are left that there may not be more.
    fn too_many_workers(&self, now: Instant) -> Option<Hindrance> {
        let (rule, pid_file) = self.old_workers.as_ref()?;
        // A master that does not run, or may not be looked at, is found out by who tells it.
        let workers = Workers::of(pid_file).filter(|workers| workers.are_too_many(rule.most))?;
        let since = self.waiting.as_ref().map_or(now, |waiting| waiting.since);
        let until = rule.max_hold.and_then(|max_hold| since.checked_add(max_hold));
        Some(Hindrance { by: Delay::OldWorkers { old: workers.old, most: rule.most }, until })
    }

    /// Whether others come first at the lock, or nobody knows. It is asked for from now on.
    fn others_first(&mut self, now: Instant) -> Option<Hindrance> {
        let lock = self.lock.as_ref()?;
        let taking = self.taking.get_or_insert_with(|| lock.take(&self.name));
        let rule = &lock.rule;
        let by =
            |ahead, reason| Delay::Lock { registry: rule.registry.clone(), path: rule.path.clone(), ahead, reason };
        let standing = taking.standing();
        let answers = match &standing {
            Standing::Held | Standing::Behind(_) => Some(Ok(())),
            Standing::Asking(_, Some(reason)) => Some(Err(reason.clone())),
            Standing::Asking(_, None) => None,
        };
        let was = self.seen.as_ref().filter(|seen| {
            let is_well = |answers: &Option<Result<(), String>>| answers.as_ref().map(Result::is_ok);
            seen.is_wanted && is_well(&seen.answers) == is_well(&answers)
        });
        let since = was.map_or_else(SystemTime::now, |seen| seen.since);
        let (registry, path) = (rule.registry.clone(), rule.path.clone());
        self.seen = Some(LockSeen { registry, path, is_wanted: true, since, answers });
        match standing {
            Standing::Held => {
                let _ = self.repeats.recovered(now);
                None
            }
            Standing::Behind(ahead) => {
                let until = rule.max_wait.and_then(|max_wait| taking.since.checked_add(max_wait));
                Some(Hindrance { by: by(Some(ahead), None), until })
            }
            Standing::Asking(since, reason) => {
                let until = rule.unavailable_after.and_then(|after| since.checked_add(after));
                Some(Hindrance { by: by(None, reason), until })
            }
        }
    }
}
