//! What an apply or a reload came to: the phase that the operator sees, the log, and the next try.

use std::time::{Instant, SystemTime};

use tracing::{error, info, warn};

use super::reminders::Step;
use super::{LONGEST, LOOK_AGAIN, REMIND, Task};
use crate::apply::reload::Outcome;
use crate::config::Reload;
use crate::log::{Line, rounded};
use crate::target::applier::{Applied, Attempt, Failure, Retry, Way};
use crate::target::render::Waiting;
use crate::target::state::Phase;

impl Task {
    pub(super) fn note(&mut self, attempt: Attempt) {
        match attempt {
            Attempt::Waiting(_) => {}
            Attempt::Stopped => self.stay(),
            Attempt::Held => {
                self.enter(Phase::Held);
                self.pay_soon();
            }
            Attempt::Failed(failure) => self.note_failure(&failure),
            Attempt::Applied(Applied { revision, reload, changed, drifted }) => {
                self.revision = revision;
                self.drift.replaced(&drifted, &self.applier.target().name, Instant::now());
                if !changed.is_empty() {
                    self.reload.renew();
                }
                self.recall.end(&self.applier);
                self.drift.written();
                let is_taken = matches!(reload, None | Some(Outcome::Taken));
                if let Some(lasted) = self.apply.succeeded().filter(|_| is_taken) {
                    info!(target = self.name(), "well again after {}", rounded(lasted));
                }
                match reload {
                    Some(outcome) => self.note_reload(&outcome),
                    None => self.note_settled(),
                }
            }
        }
    }

    pub(super) fn note_reload(&mut self, outcome: &Outcome) {
        let at = Instant::now();
        self.is_absent = matches!(outcome, Outcome::NotRunning(_));
        let reloads = self.applier.target().reload != Reload::None;
        let at_runtime = match &self.applier.journal().way {
            Some(Way::Runtime(count)) => Some(*count),
            Some(Way::Reload(_)) | None => None,
        };
        if reloads && at_runtime.is_none() && !matches!(outcome, Outcome::NotRunning(_)) {
            self.schedule.reloaded(at);
        }
        let (reason, pause) = match outcome {
            Outcome::Taken => {
                let after = self.reload.succeeded().map(|lasted| format!(", which was owed for {}", rounded(lasted)));
                if let Some(count) = at_runtime {
                    info!(target = self.name(), servers = count, "changed without a reload");
                } else if reloads {
                    info!(target = self.name(), "reloaded{}", after.unwrap_or_default());
                }
                return self.note_settled();
            }
            Outcome::NotRunning(reason) => (reason, Some(LOOK_AGAIN)),
            Outcome::Failed(reason) => (reason, Some(self.reload.backoff.next_pause())),
            // The files are older than the registry. What is left to do about it is tried again.
            Outcome::Rejected(reason) => (reason, self.applier.owes().then(|| self.reload.backoff.next_pause())),
        };
        self.reload.at = pause.map(|pause| at + pause);
        self.enter(match (outcome, pause) {
            (Outcome::Rejected(_), None) => Phase::Rejected(reason.clone()),
            _ => Phase::Owed(reason.clone()),
        });
        self.remind = pause.is_none().then_some((at + REMIND, Step::Reload));
        if !self.reload.tells(outcome, reason, at) {
            return;
        }
        let target = self.name();
        match outcome {
            Outcome::NotRunning(_) => warn!(target, "not running, the reload is owed: {reason}"),
            Outcome::Rejected(_) => error!(target, "{reason}"),
            _ => error!(target, "reload failed and is tried again: {reason}"),
        }
    }

    pub(super) fn note_failure(&mut self, failure: &Failure) {
        let at = Instant::now();
        let pause = match failure.retry() {
            Retry::OnChange => None,
            Retry::Later => Some(self.apply.backoff.next_pause()),
            Retry::Seldom => Some(self.applier.target().retry.1.min(LONGEST)),
        };
        self.apply.at = pause.map(|pause| at + pause);
        let reason = failure.to_string();
        match self.apply.repeats.failed(at, &reason) {
            Line::First => error!(target = self.name(), "not applied: {reason}"),
            Line::Still(lasted) => error!(target = self.name(), "not applied for {}: {reason}", rounded(lasted)),
            Line::Silent => {}
        }
        self.remind = pause.is_none().then_some((at + REMIND, Step::Apply));
        self.failed = (!failure.is_refusal()).then(|| reason.clone());
        self.enter(if failure.is_refusal() { Phase::Rejected(reason) } else { Phase::Failed(reason) });
        self.pay_soon();
    }

    /// What is owed is paid although nothing new came into place: what an earlier life left to do, the task before, or a
    /// failure.
    pub(super) fn pay_soon(&mut self) {
        if self.applier.owes() {
            self.reload.at.get_or_insert_with(Instant::now);
        }
    }

    /// The process runs what is in place: what the newest answers say, unless that failed, was refused, or is not known.
    pub(super) fn note_settled(&mut self) {
        self.enter(match (&self.failed, self.applier.refusal(), &self.waiting) {
            (Some(reason), ..) => Phase::Failed(reason.clone()),
            (None, Some(refusal), _) => Phase::Rejected(refusal),
            // Files that were missing show saved answers, or those that are there are older.
            (None, None, Some(waiting)) => Phase::Waiting(waiting.missing.clone(), waiting.not_yet.clone()),
            (None, None, None) => Phase::Settled { revision: self.revision },
        });
    }

    /// Has come as far as before. What is held back by now, and what somebody did to the files, stands in the state too.
    pub(super) fn stay(&mut self) {
        let phase = self.desk.state().borrow().phase.clone();
        self.enter(phase);
    }

    pub(super) fn enter(&mut self, phase: Phase) {
        let held = self.applier.guard().map(|guard| guard.held()).unwrap_or_default();
        let (due, journal) = (self.due(), self.applier.journal().clone());
        let (earlier, drifted) = (self.recall.shown().clone(), self.drift.found().to_vec());
        let (delayed, lock) = (self.gate.delayed().cloned(), self.gate.seen().cloned());
        let refused = self.applier.refused_last().cloned();
        self.desk.lay_out(|state| {
            state.enter(phase);
            state.held = held;
            state.earlier = earlier;
            state.drifted = drifted;
            state.delayed = delayed;
            state.lock = lock;
            state.due = due;
            state.busy = None;
            state.refused = refused;
            state.journal = journal;
        });
    }

    /// Something is under way from now on, and not delayed any more.
    pub(super) fn begin(&self) {
        self.desk.lay_out(|state| {
            state.busy = Some(SystemTime::now());
            (state.delayed, state.lock) = (self.gate.delayed().cloned(), self.gate.seen().cloned());
        });
    }

    /// What is under way is the first apply, unless the render finds that it lacks something else.
    pub(super) fn begin_first(&self) {
        let view = self.reader.view();
        let is_answered = |waiting: &Waiting| {
            waiting.not_yet.is_none() && waiting.missing.iter().all(|asked| view.answer(asked).is_some())
        };
        if self.waiting.as_ref().is_some_and(is_answered)
            && matches!(self.desk.state().borrow().phase, Phase::Waiting(..))
        {
            self.desk.lay_out(|state| state.enter(Phase::Applying));
        }
    }

    /// Shows what waits at the gate, where that is news.
    pub(super) fn show_delay(&self) {
        let (delayed, lock) = (self.gate.delayed(), self.gate.seen());
        let is_news = {
            let state = self.desk.state();
            let state = state.borrow();
            state.delayed.as_ref() != delayed || state.lock.as_ref() != lock
        };
        if is_news {
            self.desk.lay_out(|state| (state.delayed, state.lock) = (delayed.cloned(), lock.cloned()));
        }
    }
}
