//! The task of one target: it waits for changes, applies them when they are due, and tries again what failed.

mod notes;
mod orders;
mod recall;
mod reminders;
mod retries;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tracing::error;

use self::recall::Recall;
use self::reminders::Step;
use self::retries::Retries;
pub(super) use self::retries::Troubles;
use super::applier::{Applier, Attempt};
use super::desk::Desk;
use super::drift::DriftWatch;
use super::gate::Gate;
use super::lock::Lock;
use super::render::Waiting;
use super::schedule::Schedule;
use super::state::Phase;
use crate::apply::reload::Outcome;
use crate::apply::{Drifted, Wrong};
use crate::registry::Asked;
use crate::store::Reader;

/// How often a process that is not running is looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long a target waits for answers before the log says what for.
const SAY_WAITING: Duration = Duration::from_secs(5);
/// The longest pause before another try of an apply, whatever `retry` says: a disk that has room again, or that may be
/// written again, is found within that time. Where only the operator can help no pause is shorter than the longest.
const LONGEST: Duration = Duration::from_secs(30);
/// How often the log says that a target is still paused.
const SAY_PAUSED: Duration = Duration::from_secs(600);
/// How often the log is told of what lasts and only a change can mend.
const REMIND: Duration = Duration::from_secs(60);
/// How much a pause before another try is shortened at random.
pub const RETRY_JITTER: f64 = 0.2;

/// One target at work. It owns its files, its owed reload and its retry times.
pub struct Task {
    applier: Applier,
    reader: Reader,
    schedule: Schedule,
    /// Tries of a whole apply that failed before the files were replaced.
    apply: Retries,
    /// Tries of a reload that is owed. They go on whatever becomes of the next apply.
    reload: Retries,
    /// Where the operator sees the state, and says what to do.
    desk: Arc<Desk>,
    /// Nothing is applied, and no reload is tried, until the operator says so.
    paused: bool,
    /// When the log says so again.
    say_paused: Option<Instant>,
    drift: DriftWatch,
    /// What the last render lacked. While it lacks something, all that counts is whether another render may come further.
    waiting: Option<Waiting>,
    /// When the log says what is waited for.
    say_waiting: Option<Instant>,
    /// Why the newest answers are not in the files, where the last apply failed and nothing was refused.
    failed: Option<String>,
    /// When the log is told again of what lasts and is not tried by itself, and whether that is a reload.
    remind: Option<(Instant, Step)>,
    /// The newest revision that the files show.
    revision: u64,
    /// Saved answers for files that are missing.
    recall: Recall,
    /// What is due and may end in a reload waits here.
    gate: Gate,
    /// Cancelled where another task of the target follows this one.
    succeeded: CancellationToken,
    /// The last reload found no process, which is looked for past the gate.
    is_absent: bool,
    /// What somebody else did to the files, which is to be put right, and when that was seen.
    repair: Option<(Instant, Vec<Drifted>)>,
}

impl Task {
    /// A task that has applied nothing yet. It goes on with what stands on the desk, so the one before has ended.
    pub fn new(mut applier: Applier, reader: Reader, desk: Arc<Desk>) -> Self {
        applier.continue_journal(desk.state().borrow().journal.clone());
        let mut troubles = Troubles::default();
        if let Some((legacy, inherited)) = desk.take_legacy() {
            applier.inherit(legacy);
            troubles = inherited;
        }
        let target = applier.target();
        let paused = desk.paused().is_some();
        let recall = Recall::new(&applier, &desk.state().borrow());
        Self {
            schedule: Schedule::new(target),
            drift: DriftWatch::new(target),
            gate: Gate::new(target),
            succeeded: CancellationToken::new(),
            is_absent: false,
            repair: None,
            apply: Retries::with((target.retry.0.min(LONGEST), target.retry.1.min(LONGEST)), troubles.apply),
            reload: Retries::with(target.retry, troubles.reload),
            remind: None,
            desk,
            paused,
            say_paused: paused.then(|| Instant::now() + SAY_PAUSED),
            waiting: Some(Waiting::default()),
            say_waiting: Some(Instant::now() + SAY_WAITING),
            failed: None,
            revision: 0,
            recall,
            applier,
            reader,
        }
    }

    /// Has what may end in a reload wait for the lock of a fleet, at the place that the task before had in its line.
    #[must_use]
    pub fn locked_by(mut self, lock: Option<Lock>) -> Self {
        self.gate = self.gate.locked_by(lock, self.desk.take_place());
        self
    }

    /// Another task of the target comes where this is cancelled before the end, and goes on at the place in the line of the
    /// lock.
    #[must_use]
    pub fn succeeded_after(mut self, succeeded: CancellationToken) -> Self {
        self.succeeded = succeeded;
        self
    }

    /// Works until `stop`, and then until the transaction that is under way has ended.
    pub async fn run(mut self, stop: CancellationToken) {
        self.work(&stop).await;
        if self.succeeded.is_cancelled() {
            self.desk.keep_place(self.gate.hand_over());
        }
        self.gate.shut().await;
        let troubles = Troubles { apply: self.apply.repeats, reload: self.reload.repeats };
        self.desk.bequeath(self.applier.into_legacy(), troubles);
    }

    async fn work(&mut self, stop: &CancellationToken) {
        let reader = Some(self.reader.id());
        self.desk.lay_out(|state| state.reader = reader);
        if !stop.is_cancelled() {
            self.answered(stop).await;
        }
        loop {
            self.heed(stop).await;
            if stop.is_cancelled() {
                return;
            }
            self.look_for_files().await;
            let hold = self.applier.guard().and_then(|guard| guard.due());
            let gated = self.gated().filter(|_| !self.gate.is_closed());
            let due = [gated, self.free(), self.drift.due()].into_iter().flatten().filter(|_| !self.paused).min();
            let leaving = self.applier.leaving_due().filter(|_| !self.paused);
            let remind = self.remind.map(|(at, _)| at);
            let due = [due, self.say_waiting, self.say_paused, remind, hold, leaving];
            let due = due.into_iter().flatten().min();
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.applier.pulse().asked() => continue,
                changes = self.reader.changed() => {
                    if self.waiting.is_none() {
                        self.schedule.changed(changes, false);
                        let due = self.due();
                        self.desk.lay_out(|state| state.due = due);
                    }
                }
                () = self.desk.called() => {}
                () = self.gate.changed() => {}
                () = until(due) => {}
            }
            self.act(Instant::now(), stop).await;
        }
    }

    /// Finds out whether the process has files to start with. What is there is left for now where nothing came, and nothing
    /// is saved, for as long as missing files wait for that.
    async fn look_for_files(&self) {
        let (is_known, waits) = {
            let state = self.desk.state();
            let state = state.borrow();
            (state.in_place, matches!(state.phase, Phase::Waiting(..)))
        };
        if !is_known && (!waits || self.recall.is_tried()) && matches!(self.applier.lacks_a_file().await, Ok(false)) {
            self.desk.lay_out(|state| state.in_place = true);
        }
    }

    /// Does what is due.
    async fn act(&mut self, now: Instant, stop: &CancellationToken) {
        if let Some(guard) = self.applier.guard() {
            // What then is read comes as a change, which ends the hold.
            guard.confirm(now, |due| self.reader.read_again(due));
        }
        let is_gated = !self.paused && self.gated().is_some_and(|due| due <= now);
        let passes = is_gated && self.gate.lets_pass(now);
        if self.waiting.as_ref().is_some_and(|waiting| waiting.is_over(&self.reader.view())) {
            self.answered(stop).await;
        } else if passes {
            self.pass(now, stop).await;
        } else if !self.paused && self.is_absent && self.reload.is_due(now) {
            self.pay().await;
        } else if !self.paused && self.recall.due().is_some_and(|due| due <= now) {
            self.recall(stop).await;
        } else if self.say_paused.is_some_and(|at| at <= now) {
            self.write_paused();
        } else if self.say_waiting.is_some_and(|at| at <= now) {
            self.write_waiting();
        } else if self.remind.is_some_and(|(at, _)| at <= now) {
            if let Some(line) = self.reminder(now) {
                error!(target = self.name(), "{line}");
            }
        } else if !self.paused && self.drift.due().is_some_and(|at| at <= now) {
            self.look_for_drift(now).await;
        } else if !self.paused && self.applier.leaving_due().is_some_and(|at| at <= now) {
            // What else is found is for the next look of that kind.
            let _ = self.applier.look_at_process().await;
            self.stay();
        }
        // What a stop came between may be due for the next task.
        if !stop.is_cancelled() && (!is_gated || passes) {
            self.gate.close();
        }
        self.show_delay();
    }

    /// Looks whether the process runs what its files say, and has it do so where that is wanted.
    async fn look_at_process(&mut self, now: Instant) {
        let Some(found) = self.applier.look_at_process().await else { return self.stay() };
        let name = self.applier.target().name.clone();
        if !self.drift.ran(&found, &name, now) {
            return self.stay();
        }
        self.begin();
        let is_right = self.applier.put_process_right().await;
        self.drift.written();
        if is_right {
            self.note_reload(&Outcome::Taken);
        } else {
            self.pay_soon();
            self.stay();
        }
    }

    /// Everything that the last render lacked is answered, or the first render is to find out what it lacks.
    async fn answered(&mut self, stop: &CancellationToken) {
        // A process cannot do without its files, and one that does not run yet does nobody harm.
        if self.paused
            || self.gate.is_open_to_all()
            || self.applier.process_waits()
            || matches!(self.applier.lacks_a_file().await, Ok(true))
        {
            return self.apply(stop).await;
        }
        loop {
            self.begin();
            let Some(waiting) = self.applier.look(&self.reader).await else {
                self.begin_first();
                self.waiting = None;
                self.say_waiting = None;
                self.apply.at = Some(Instant::now());
                return self.stay();
            };
            let _ = self.reader.take_changes();
            if !self.waits(waiting) || stop.is_cancelled() {
                return;
            }
        }
    }

    /// The last render lacked something. Whether all of that is there by now.
    fn waits(&mut self, waiting: Waiting) -> bool {
        let is_over = waiting.is_over(&self.reader.view());
        self.say_waiting.get_or_insert_with(|| Instant::now() + SAY_WAITING);
        self.enter(Phase::Waiting(waiting.missing.clone(), waiting.not_yet.clone()));
        self.waiting = Some(waiting);
        self.failed = None;
        self.pay_soon();
        is_over
    }

    /// Does what is due and was let through the gate.
    async fn pass(&mut self, now: Instant, stop: &CancellationToken) {
        let apply = self.schedule.due().is_some_and(|due| due <= now) || self.apply.is_due(now);
        if apply && self.waiting.is_none() {
            // It finds what somebody did to the files, too.
            self.repair = None;
            self.apply(stop).await;
        } else if let Some((_, drifted)) = self.repair.take() {
            self.repair(&drifted).await;
        } else if self.reload.is_due(now) {
            self.pay().await;
        }
    }

    /// Tries again what is owed.
    async fn pay(&mut self) {
        self.reload.at = None;
        // What was owed may have become needless by newer data.
        if self.applier.owes() {
            self.begin();
            let outcome = self.applier.pay().await;
            self.note_reload(&outcome);
        }
    }

    /// Looks whether somebody else changed the files, and puts them right where that is wanted.
    async fn look_for_drift(&mut self, now: Instant) {
        let drifted = match self.applier.inspect().await {
            Ok(drifted) => drifted,
            Err(failure) => return self.note_failure(&failure),
        };
        let name = self.applier.target().name.clone();
        if !self.drift.looked(&drifted, &name, now) {
            self.repair = None;
            return if drifted.is_empty() { self.look_at_process(now).await } else { self.stay() };
        }
        // Where only owner or mode are wrong nothing is reloaded.
        if self.gate.is_open_to_all() || drifted.iter().all(|drifted| drifted.wrong == Wrong::Metadata) {
            return self.repair(&drifted).await;
        }
        self.repair = Some((now, drifted));
        self.stay();
    }

    /// Puts in place again what was there.
    async fn repair(&mut self, drifted: &[Drifted]) {
        self.begin();
        let repaired = self.applier.repair(drifted).await;
        self.drift.written();
        match repaired {
            Ok(Some(outcome)) => self.note_reload(&outcome),
            Ok(None) => self.stay(),
            // The next apply finds the files other than they should be, and tries as long as that fails.
            Err(failure) => self.note_failure(&failure),
        }
    }

    /// One whole apply, and again at once while what it missed has arrived meanwhile. Paused, it only finds out what the
    /// templates ask, so that this is followed.
    async fn apply(&mut self, stop: &CancellationToken) {
        loop {
            self.schedule.begun();
            self.apply.at = None;
            self.begin();
            let attempt = if self.paused {
                self.applier.look(&self.reader).await.map_or(Attempt::Stopped, Attempt::Waiting)
            } else {
                self.begin_first();
                self.applier.attempt(&self.reader, stop).await
            };
            let changes = self.reader.take_changes();
            let Attempt::Waiting(waiting) = attempt else {
                self.waiting = None;
                self.say_waiting = None;
                self.failed = None;
                if let Some(changes) = changes {
                    self.schedule.changed(changes, true);
                }
                // Without the newest files it has to be those from before.
                if matches!(attempt, Attempt::Failed(_) | Attempt::Held) {
                    self.applier.start_process_as_it_is().await;
                }
                return self.note(attempt);
            };
            if !self.waits(waiting) || stop.is_cancelled() {
                return;
            }
        }
    }

    /// When something is to be applied or tried next. That it is looked for saved answers once is no try: mostly there is
    /// no need for them.
    fn due(&self) -> Option<Instant> {
        let recall = self.recall.due().filter(|_| self.recall.is_tried());
        [self.gated(), self.absent(), recall].into_iter().flatten().min()
    }

    /// When something is due next that goes through the gate, since it may end in a reload.
    fn gated(&self) -> Option<Instant> {
        let reload = self.reload.at.filter(|_| !self.is_absent);
        let repair = self.repair.as_ref().map(|(seen, _)| *seen);
        // While answers are missing another apply comes no further.
        let apply = [self.schedule.due(), self.apply.at].into_iter().flatten().min().filter(|_| self.waiting.is_none());
        [apply, reload, repair].into_iter().flatten().min()
    }

    /// When something is due next that does not.
    fn free(&self) -> Option<Instant> {
        [self.absent(), self.recall.due()].into_iter().flatten().min()
    }

    /// When it is looked again for a process that did not run.
    fn absent(&self) -> Option<Instant> {
        self.reload.at.filter(|_| self.is_absent)
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

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
