//! Tells the workers of a new generation from those of the old one, and from one that was started anew after a crash.

use std::time::Duration;

use super::Verdict;
use crate::process::BootTime;

/// A worker that lives for so long has come up. nginx tells its old workers to go 100 ms after it started the new ones.
const UP: Duration = Duration::from_millis(150);

/// For so long at least nginx lets old and new workers stand side by side: 100 ms, less what the kernel rounds.
const OVERLAP: Duration = Duration::from_millis(90);

/// A program that starts has at least as many page faults. HAProxy 2.6 has 2,200, and a few when it drops a signal.
const START: u64 = 200;

/// What the kernel rounds the start of a process down by, at most.
const ROUNDED: Duration = Duration::from_millis(10);

/// How a program treats its workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Habits {
    /// Its name, for messages.
    pub(super) name: &'static str,
    /// It starts a worker that crashed anew, with the configuration that it has.
    pub(super) respawns: bool,
    /// It reads its files as a program that starts anew, under the same pid.
    pub(super) execs: bool,
}

/// A master and its workers at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Look {
    /// When it was looked.
    pub(super) at: BootTime,
    /// The master.
    pub(super) pid: i32,
    /// When the master started.
    pub(super) started: BootTime,
    /// Its workers.
    pub(super) workers: Vec<Worker>,
    /// Children that have not said yet what they are.
    pub(super) unnamed: Vec<i32>,
    /// It is done with all that it was told.
    pub(super) idle: bool,
    /// How much it has done, in page faults.
    pub(super) faults: u64,
}

/// One worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Worker {
    /// Its id.
    pub(super) pid: i32,
    /// When it started.
    pub(super) started: BootTime,
    /// It only serves connections that it has, and then ends.
    pub(super) leaving: bool,
}

/// What was seen of the generations of workers since the reload.
#[derive(Debug)]
pub(super) struct Generations {
    habits: Habits,
    /// Before the reload; none where there was no master, or it could not be seen.
    before: Option<Look>,
    /// When it was looked before the reload.
    since: BootTime,
    /// When the files were in place: a master that started later has read them.
    committed: BootTime,
    /// The master has been told when the reload returns. A command may leave that for later.
    by_signal: bool,
    last: Option<Look>,
    /// A new generation was started: the master has taken the files.
    is_new: bool,
    /// All new workers that were seen last were seen for the first time.
    just_came: bool,
}

impl Generations {
    /// Nothing was seen yet. `since` is the moment of the look before the reload, which gave `before`.
    pub(super) fn new(
        habits: Habits,
        before: Option<Look>,
        since: BootTime,
        committed: Option<BootTime>,
        by_signal: bool,
    ) -> Self {
        let committed = committed.unwrap_or(since);
        Self { habits, before, since, committed, by_signal, last: None, is_new: false, just_came: false }
    }

    /// Takes one more look into account; the verdict, once there is one.
    pub(super) fn see(&mut self, look: Look) -> Option<Verdict> {
        let is_restarted = look.started > self.committed;
        let new: Vec<&Worker> = look.workers.iter().filter(|worker| self.is_of_new(&look, worker)).collect();
        self.is_new |= !new.is_empty() && (is_restarted || !self.habits.respawns || self.is_generation(&look, &new));
        let was_there =
            |worker: &&&Worker| self.last.iter().flat_map(|last| &last.workers).any(|other| other.pid == worker.pid);
        let is_up = |worker: &&Worker| look.at.since(worker.started) >= UP;
        self.just_came = !new.is_empty() && !new.iter().any(|worker| was_there(&worker));
        let verdict = if self.is_new && new.iter().filter(was_there).any(is_up) {
            Some(Verdict::Confirmed)
        } else if self.by_signal && !is_restarted && new.is_empty() && self.has_refused(&look) {
            Some(self.kept())
        } else {
            None
        };
        self.last = Some(look);
        verdict
    }

    /// Whether another look may tell more than this one: all new workers were seen for the first time.
    pub(super) fn just_came(&self) -> bool {
        self.just_came
    }

    /// The verdict when the time is over.
    pub(super) fn over(self, within: Duration) -> Verdict {
        let name = self.habits.name;
        let within = humantime::format_duration(within);
        let Some(last) = &self.last else {
            return Verdict::Unseen(format!("{name} could not be looked at within {within}"));
        };
        let had_workers = self.before.iter().any(|before| !before.workers.is_empty());
        let serves = last.workers.iter().any(|worker| !worker.leaving);
        if self.is_new {
            let reason = format!("{name} took the files, and its new workers end as soon as they have started");
            Verdict::Refused { reason, took: true }
        } else if last.workers.is_empty() && !had_workers {
            let reason = format!("process {} has no workers; is it the master of {name}?", last.pid);
            Verdict::Unseen(reason)
        } else if !last.idle {
            // It may yet take them, and nobody has refused anything.
            Verdict::Unseen(format!("{name} was still busy with the files after {within}"))
        } else if !self.has_begun(last) {
            Verdict::Unseen(format!("{name} has not begun to load the files that it was told of"))
        } else if !serves {
            Verdict::Refused { reason: format!("{name} has no workers left"), took: true }
        } else {
            self.kept()
        }
    }

    fn kept(&self) -> Verdict {
        let reason = format!("{} refused the files and kept its old workers; its own log says why", self.habits.name);
        Verdict::Refused { reason, took: false }
    }

    /// Whether these new workers came before the old ones went, and not each for one that crashed.
    fn is_generation(&self, look: &Look, new: &[&Worker]) -> bool {
        let (staying, lost) = self.left_and_lost(look);
        // At the last look some may have been there that had not said yet that they are workers.
        let (then, lost_then) = match &self.last {
            Some(seen) => (seen.at, self.left_and_lost(seen).1),
            None => (self.since, 0),
        };
        let new_then = new.iter().filter(|worker| worker.started.after(ROUNDED) <= then).count();
        // If it was not looked for so long, nobody knows; a generation is by far more likely than a crash just then.
        let may_have_overlapped = || new.iter().any(|worker| look.at.since(worker.started) >= OVERLAP);
        new.len() > lost
            || new_then > lost_then
            || staying.iter().any(|worker| worker.leaving)
            || (staying.is_empty() && lost > lost_then && may_have_overlapped())
    }

    /// Whether the master is done and has not started a generation. Looked at twice, since a signal is neither pending
    /// nor blocked for a moment while it is taken.
    fn has_refused(&self, look: &Look) -> bool {
        let had_workers = self.before.as_ref().is_some_and(|before| !before.workers.is_empty());
        let was_idle = self.last.as_ref().is_some_and(|last| last.idle);
        // A busy machine may let a new worker wait before it says that it is one.
        let is_named = |pid: &i32| self.before.iter().any(|before| before.unnamed.contains(pid));
        let all_named = look.unnamed.iter().all(is_named);
        !self.is_new && had_workers && was_idle && look.idle && all_named && self.has_begun(look)
    }

    /// Whether the master has done as much since the reload as it takes to read its files, as far as that can be told.
    fn has_begun(&self, look: &Look) -> bool {
        let before = self.before.as_ref().filter(|before| before.pid == look.pid);
        !self.habits.execs || before.is_none_or(|before| look.faults.saturating_sub(before.faults) >= START)
    }

    /// Whether a worker may be one of the new generation.
    fn is_of_new(&self, look: &Look, worker: &Worker) -> bool {
        let is_known = match &self.before {
            _ if look.started > self.committed => false,
            Some(before) if before.pid == look.pid => before.workers.iter().any(|other| other.pid == worker.pid),
            _ => worker.started.after(ROUNDED) < self.since,
        };
        !is_known && !worker.leaving
    }

    /// Of the workers that served before the reload, those that are still there, and how many serve no more.
    fn left_and_lost<'a>(&self, look: &'a Look) -> (Vec<&'a Worker>, usize) {
        let served = || self.before.iter().flat_map(|before| &before.workers).filter(|worker| !worker.leaving);
        let is_left = |worker: &&Worker| served().any(|other| other.pid == worker.pid);
        let left: Vec<&Worker> = look.workers.iter().filter(is_left).collect();
        let serving = left.iter().filter(|worker| !worker.leaving).count();
        (left, served().count() - serving)
    }
}

#[cfg(test)]
mod tests;
