//! What an apply that is due waits for before its render, so that its reload does no harm: that few enough old workers
//! are left.
//!
//! The gate is asked when something is due that may end in a reload, and again whenever it says so; meanwhile the task goes
//! on with all else, and what is applied in the end is the newest.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use tracing::{info, warn};

use super::state::{Delay, Delayed};
use crate::apply::confirm::Workers;
use crate::config::{ConfirmKind, OldWorkers, Target};
use crate::log::rounded;

/// How often it is looked whether old workers have ended.
const LOOK: Duration = Duration::from_millis(250);

/// Nothing is said of what waits no longer than this: most workers end as soon as they are old.
const SAY: Duration = Duration::from_secs(2);

/// The gate of one target.
#[derive(Debug)]
pub(super) struct Gate {
    name: String,
    /// The rule, and the pid file of the master.
    old_workers: Option<(OldWorkers, PathBuf)>,
    waiting: Option<Waiting>,
}

/// Something is due and waits.
#[derive(Debug)]
struct Waiting {
    since: Instant,
    shown: Delayed,
    /// When the gate is to be asked again.
    again: Instant,
    /// The log was told.
    is_said: bool,
}

impl Gate {
    /// The gate of a target for which nothing is due yet.
    pub(super) fn new(target: &Target) -> Self {
        let old_workers = target.confirm.as_ref().and_then(|confirm| match confirm.kind {
            ConfirmKind::Nginx { old_workers: Some(rule), .. } => Some((rule, confirm.pid_file.clone()?)),
            _ => None,
        });
        Self { name: target.name.to_string(), old_workers, waiting: None }
    }

    /// Whether there is anything to wait for at all.
    pub(super) fn is_open_to_all(&self) -> bool {
        self.old_workers.is_none()
    }

    /// Whether something waits.
    pub(super) fn is_closed(&self) -> bool {
        self.waiting.is_some()
    }

    /// What waits, for the operator.
    pub(super) fn delayed(&self) -> Option<&Delayed> {
        self.waiting.as_ref().map(|waiting| &waiting.shown)
    }

    /// Waits until the gate is to be asked again. Safe to cancel.
    pub(super) async fn changed(&mut self) {
        match &self.waiting {
            Some(waiting) => tokio::time::sleep_until(waiting.again.into()).await,
            None => std::future::pending().await,
        }
    }

    /// Whether what is due may go. What goes is begun at once, and then the gate is [closed](Self::close).
    pub(super) fn lets_pass(&mut self, now: Instant) -> bool {
        let passes = self.workers_let_pass(now);
        if passes {
            self.waiting = None;
        }
        passes
    }

    /// Nothing is due any more, or what was due is done.
    pub(super) fn close(&mut self) {
        self.waiting = None;
    }

    /// Whether so few old workers are left that there may be more.
    fn workers_let_pass(&mut self, now: Instant) -> bool {
        let Some((rule, pid_file)) = &self.old_workers else { return true };
        // A master that does not run, or may not be looked at, is found out by who tells it.
        let workers = Workers::of(pid_file).filter(|workers| workers.are_too_many(rule.most));
        let target = &*self.name;
        let waited = self.waiting.as_ref().map_or(Duration::ZERO, |waiting| now.duration_since(waiting.since));
        let is_said = self.waiting.as_ref().is_some_and(|waiting| waiting.is_said);
        let Some(workers) = workers else {
            if is_said {
                info!(target, "goes on after {}: old workers of nginx have ended", rounded(waited));
            }
            return true;
        };
        let by = Delay::OldWorkers { old: workers.old, most: rule.most };
        if rule.max_hold.is_some_and(|max_hold| waited >= max_hold) {
            warn!(target, "goes on after {}, though {by}", rounded(waited));
            return true;
        }
        let waiting = self.waiting.get_or_insert_with(|| Waiting {
            since: now,
            shown: Delayed {
                by: by.clone(),
                since: SystemTime::now(),
                until: rule.max_hold.and_then(|max_hold| now.checked_add(max_hold)),
            },
            again: now,
            is_said: false,
        });
        waiting.shown.by = by;
        waiting.again = now + LOOK;
        if !waiting.is_said && waited >= SAY {
            waiting.is_said = true;
            let by = &waiting.shown.by;
            warn!(
                target,
                "delayed: {by}; `worker_shutdown_timeout` in the configuration of nginx bounds how long they may stay"
            );
        }
        false
    }
}
