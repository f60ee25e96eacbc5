//! Looks at a master and its workers, as `/proc` shows them to everybody.

use std::io;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::{Instant, sleep};

use super::Verdict;
use super::generation::{Generations, Habits, Look, Worker};
use crate::process::BootTime;
use crate::process::signal::{SignalError, find};
use crate::process::tree::{self, Child};

/// For how long there may be no process before it counts as gone: one that is replaced by a newer program, or started
/// anew, has no pid file for a moment.
pub(super) const GONE: Duration = Duration::from_secs(1);

/// A program that consists of a master and its workers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Program {
    /// How it treats its workers.
    pub(super) habits: Habits,
    /// The signals by which it is told to reload, and which it blocks while it does.
    pub(super) signals: &'static [Signal],
    /// Whether a child of a master of this name is a worker, and then whether it is leaving.
    pub(super) worker: fn(&Child, &str) -> Option<bool>,
}

/// Why a process was not seen.
#[derive(Debug)]
pub(super) enum Missed {
    /// There is none.
    Absent(String),
    /// We may not look.
    Hidden(String),
}

/// Looks at the master that a pid file names.
pub(super) fn look(program: &Program, pid_file: &Path) -> Result<Look, Missed> {
    let at = BootTime::now();
    let process = find(pid_file).map_err(|error| match error {
        SignalError::Absent(absent) => Missed::Absent(absent.to_string()),
        error => Missed::Hidden(error.to_string()),
    })?;
    let pid = process.id();
    let read = || -> io::Result<Look> {
        // Before the workers: one that is done has started all that it starts.
        let idle = tree::waits_for(pid, program.signals)?;
        let name = tree::name(pid)?;
        let worker = |child: Child| {
            let leaving = (program.worker)(&child, &name)?;
            Some(Worker { pid: child.pid, started: child.started, leaving })
        };
        let workers = tree::children(pid)?.into_iter().filter_map(worker).collect();
        Ok(Look { at, pid, started: process.started(), workers, idle })
    };
    read().map_err(|error| {
        if tree::name(pid).is_err() {
            return Missed::Absent(format!("process {pid} of pid file `{}` has ended", pid_file.display()));
        }
        Missed::Hidden(format!("cannot look at process {pid} and its children in `/proc`: {error}"))
    })
}

/// Looks again and again until there is a verdict, at the latest at `deadline`.
pub(super) async fn confirmed(
    program: &Program,
    pid_file: &Path,
    mut generations: Generations,
    (deadline, within, interval): (Instant, Duration, Duration),
) -> Verdict {
    let mut absent_since = None;
    loop {
        let now = Instant::now();
        match look(program, pid_file) {
            Ok(look) => {
                absent_since = None;
                if let Some(verdict) = generations.see(look) {
                    return verdict;
                }
            }
            Err(Missed::Absent(reason)) => {
                if *absent_since.get_or_insert(now) + GONE.min(within) <= now {
                    return Verdict::NotRunning(reason);
                }
            }
            Err(Missed::Hidden(reason)) if now >= deadline => return Verdict::Unseen(reason),
            Err(Missed::Hidden(_)) => {}
        }
        if now >= deadline && absent_since.is_none() {
            return generations.over(within);
        }
        sleep(interval).await;
    }
}
