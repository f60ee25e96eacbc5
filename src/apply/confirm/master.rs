//! Looks at a master and its workers, as `/proc` shows them to everybody.

use std::io;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::{Instant, sleep};

use super::Verdict;
use super::generation::{Generations, Habits, Look, Worker};
use crate::config::Confirm;
use crate::process::signal::{Absent, Process, SignalError, find, supervised};
use crate::process::supervise::Handle;
use crate::process::tree::{self, Child};
use crate::process::{BootTime, Context};

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
    /// What a child of a master of this name is.
    pub(super) role: fn(&Child, &str) -> Role,
}

/// What a child of a master is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It serves.
    Worker,
    /// It serves no new connections.
    Leaving,
    /// It has not said yet what it is.
    Unnamed,
    /// Something else.
    Other,
}

/// What says which process is the master.
#[derive(Debug, Clone, Copy)]
pub(super) enum Named<'a> {
    /// The file that it writes.
    PidFile(&'a Path),
    /// We run it.
    Ours(&'a Handle),
}

impl<'a> Named<'a> {
    /// What says it for a target, if anything does. A pid file that is given goes before.
    pub(super) fn of(confirm: &'a Confirm, context: &'a Context) -> Option<Self> {
        let ours = || context.process.as_ref().map(Self::Ours);
        confirm.pid_file.as_deref().map(Self::PidFile).or_else(ours)
    }

    /// The process.
    pub(super) fn find(self) -> Result<Process, SignalError> {
        match self {
            Self::PidFile(path) => find(path),
            Self::Ours(process) => {
                let run = process.current().ok_or(Absent::NotStarted)?;
                supervised(run.pid, run.begun)
            }
        }
    }
}

/// Why a process was not seen.
#[derive(Debug)]
pub(super) enum Missed {
    /// There is none.
    Absent(String),
    /// We may not look.
    Hidden(String),
}

/// Looks at a master.
pub(super) fn look(program: &Program, named: Named<'_>) -> Result<Look, Missed> {
    let at = BootTime::now();
    let process = named.find().map_err(|error| match error {
        SignalError::Absent(absent) => Missed::Absent(absent.to_string()),
        error => Missed::Hidden(error.to_string()),
    })?;
    let pid = process.id();
    let read = || -> io::Result<Look> {
        // Before the workers: one that is done has started all that it starts.
        let idle = tree::waits_for(pid, program.signals)?;
        let (name, faults) = (tree::name(pid)?, tree::faults(pid)?);
        let (mut workers, mut unnamed) = (Vec::new(), Vec::new());
        for child in tree::children(pid)? {
            let worker = |leaving| Worker { pid: child.pid, started: child.started, leaving };
            match (program.role)(&child, &name) {
                Role::Worker => workers.push(worker(false)),
                Role::Leaving => workers.push(worker(true)),
                Role::Unnamed => unnamed.push(child.pid),
                Role::Other => {}
            }
        }
        Ok(Look { at, pid, started: process.started(), workers, unnamed, idle, faults })
    };
    read().map_err(|error| {
        if tree::name(pid).is_err() {
            return Missed::Absent(match named {
                Named::PidFile(path) => format!("process {pid} of pid file `{}` has ended", path.display()),
                Named::Ours(_) => format!("its process {pid} has ended"),
            });
        }
        Missed::Hidden(format!("cannot look at process {pid} and its children in `/proc`: {error}"))
    })
}

/// Looks at a master that is about to be told, once it is done with what it was told before: at the latest after
/// `within`. What it does until then would look like what it is told now, and HAProxy drops a signal that comes while it
/// loads.
pub(super) async fn look_idle(program: &Program, confirm: &Confirm, context: &Context) -> Result<Look, Missed> {
    let Some(named) = Named::of(confirm, context) else {
        return Err(Missed::Absent("no pid file is given".to_owned()));
    };
    let deadline = Instant::now() + confirm.within;
    loop {
        let look = look(program, named)?;
        if look.idle && look.unnamed.is_empty() || Instant::now() >= deadline {
            return Ok(look);
        }
        sleep(confirm.interval).await;
    }
}

/// Looks again and again until there is a verdict, at the latest at `deadline`.
pub(super) async fn confirmed(
    program: &Program,
    named: Named<'_>,
    mut generations: Generations,
    (deadline, within, interval): (Instant, Duration, Duration),
) -> Verdict {
    let mut absent_since = None;
    let mut was_late = false;
    loop {
        let now = Instant::now();
        match look(program, named) {
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
            // We may have been stopped until now.
            if was_late || !generations.just_came() {
                return generations.over(within);
            }
            was_late = true;
        }
        sleep(interval).await;
    }
}
