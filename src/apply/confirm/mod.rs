//! Confirm: whether a process runs the files that it was told to take. One kind, one file; the list of kinds is the
//! match in [`Before::look`].
//!
//! A signal that was delivered says nothing: nginx logs an error and goes on with the old files (FAULTS R-3). So the
//! process is looked at before the reload, and again after it until it shows what only a process does that has taken
//! the files, or until its time is over.

mod command;
mod generation;
mod haproxy;
mod http;
mod master;
mod nginx;
mod probe;
mod tcp;
#[cfg(test)]
mod tests;

use tokio::time::Instant;

use self::generation::{Generations, Look};
use self::haproxy::{HAPROXY, Processes};
use self::master::{Named, Program, look_idle};
pub use self::nginx::Workers;
use self::nginx::{ErrorLog, NGINX};
use crate::config::{Confirm, ConfirmKind};
use crate::process::signal::SignalError;
use crate::process::{BootTime, Context};

/// Whether the process runs the new files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It does.
    Confirmed,
    /// There is no process any more, for this reason: the reload stays owed.
    NotRunning(String),
    /// Nobody can tell, for this reason: we may not look at the process. That is no fault of the files, so the reload
    /// counts as failed.
    Unseen(String),
    /// The process is there and does not run the new files, or did not show it within its time: they are taken back.
    Refused {
        /// What was seen, and where to read on. No value of a registry is in it.
        reason: String,
        /// It may run some of what is new, so once the files are restored it is to be told again. False only where it
        /// surely kept all of the old.
        took: bool,
    },
}

/// What the process looked like just before its reload.
#[derive(Debug)]
pub struct Before {
    confirm: Confirm,
    at: BootTime,
    /// When the files were in place. A process that started later has read them, whatever was told to it.
    committed: Option<BootTime>,
    seen: Seen,
}

/// What was seen of it.
#[derive(Debug)]
enum Seen {
    /// Its master and workers; none where it did not run or could not be seen. Then the moment alone decides what is
    /// new.
    Master(&'static Program, Option<Look>, Option<ErrorLog>),
    /// What a master of HAProxy said; none as above.
    Processes(Option<Processes>),
    /// A probe asks only afterwards.
    Nothing,
}

impl Before {
    /// Looks at the process of a target that is about to be told. `committed` is the moment at which its files were all
    /// in place, when that was in this life of ours.
    pub async fn look(confirm: &Confirm, committed: Option<BootTime>, context: &Context) -> Self {
        let unseen = |why: &dyn std::fmt::Debug| {
            tracing::debug!(target = &*context.target, ?why, "the process was not seen before its reload");
        };
        let seen = match &confirm.kind {
            ConfirmKind::Nginx { error_log, .. } => {
                let look = look_idle(&NGINX, confirm, context).await.inspect_err(|missed| unseen(missed)).ok();
                Seen::Master(&NGINX, look, error_log.as_deref().map(ErrorLog::look))
            }
            ConfirmKind::Haproxy { socket: None } => {
                let look = look_idle(&HAPROXY, confirm, context).await.inspect_err(|missed| unseen(missed)).ok();
                Seen::Master(&HAPROXY, look, None)
            }
            ConfirmKind::Haproxy { socket: Some(socket) } => {
                let answer = haproxy::look(socket, confirm).await;
                Seen::Processes(answer.inspect_err(|error| unseen(error)).ok())
            }
            ConfirmKind::Http(_) | ConfirmKind::Tcp { .. } | ConfirmKind::Command(_) => Seen::Nothing,
        };
        let at = BootTime::now();
        Self { confirm: confirm.clone(), at, committed, seen }
    }

    /// There is nothing to look at: the process is to start, or has just started, with files that were in place at
    /// `committed`.
    pub fn nothing(confirm: &Confirm, committed: Option<BootTime>) -> Self {
        let seen = match &confirm.kind {
            ConfirmKind::Nginx { error_log, .. } => {
                Seen::Master(&NGINX, None, error_log.as_deref().map(ErrorLog::look))
            }
            ConfirmKind::Haproxy { socket: None } => Seen::Master(&HAPROXY, None, None),
            ConfirmKind::Haproxy { socket: Some(_) } => Seen::Processes(None),
            ConfirmKind::Http(_) | ConfirmKind::Tcp { .. } | ConfirmKind::Command(_) => Seen::Nothing,
        };
        Self { confirm: confirm.clone(), at: committed.unwrap_or_else(BootTime::now), committed, seen }
    }

    /// Waits until the process runs the new files, or surely does not; at most for the configured time.
    pub async fn confirmed(self, context: &Context) -> Verdict {
        let confirm = &self.confirm;
        let deadline = Instant::now() + confirm.within;
        match (&confirm.kind, self.seen) {
            (_, Seen::Master(program, before, log)) => {
                let Some(named) = Named::of(confirm, context) else {
                    return Verdict::Unseen("no pid file is configured".to_owned());
                };
                let generations =
                    Generations::new(program.habits, before, self.at, self.committed, confirm.told_at_once);
                let time = (deadline, confirm.within, confirm.interval);
                let verdict = master::confirmed(program, named, generations, time).await;
                explain(verdict, log.as_ref(), confirm.secret, context)
            }
            (ConfirmKind::Haproxy { socket: Some(socket) }, Seen::Processes(before)) => {
                haproxy::confirmed(socket, before.as_ref(), (self.at, self.committed), confirm, deadline).await
            }
            (kind, _) => {
                let (within, interval) = (confirm.within, confirm.interval);
                let verdict = match kind {
                    ConfirmKind::Http(http) => probe::until(within, interval, || http::attempt(http)).await,
                    ConfirmKind::Tcp { address, timeout } => {
                        probe::until(within, interval, || tcp::attempt(address, *timeout)).await
                    }
                    ConfirmKind::Command(command) => {
                        let invocation = command::invocation(command, confirm);
                        let attempt = || command::attempt(&invocation, confirm.secret, context);
                        probe::until(within, interval, attempt).await
                    }
                    ConfirmKind::Nginx { .. } | ConfirmKind::Haproxy { .. } => {
                        Verdict::Unseen("nothing was seen before the reload".to_owned())
                    }
                };
                unless_gone(verdict, Named::of(confirm, context))
            }
        }
    }
}

/// A process that is gone has not refused anything.
fn unless_gone(verdict: Verdict, named: Option<Named<'_>>) -> Verdict {
    match (verdict, named.map(Named::find)) {
        (Verdict::Refused { reason, .. }, Some(Err(SignalError::Absent(absent)))) => {
            Verdict::NotRunning(format!("{absent}; {reason}"))
        }
        (verdict, _) => verdict,
    }
}

/// Says where the reason of a refusal stands, and shows it at `debug`: it may repeat what stands in the files.
fn explain(verdict: Verdict, log: Option<&ErrorLog>, secret: bool, context: &Context) -> Verdict {
    let (Verdict::Refused { reason, took }, Some(log)) = (&verdict, log) else { return verdict };
    let path = log.path().display();
    let reason = match log.new_emergencies() {
        Ok(lines) if lines.is_empty() => format!("{reason}; `{path}` has nothing new"),
        Ok(lines) if secret => format!("{reason}; see the last {} lines with `[emerg]` in `{path}`", lines.len()),
        Ok(lines) => {
            tracing::debug!(target = &*context.target, "the error log says:\n{}", lines.join("\n"));
            format!("{reason}; see the last lines with `[emerg]` in `{path}`, or `--log-level debug`")
        }
        Err(error) => format!("{reason}; `{path}` cannot be read: {error}"),
    };
    Verdict::Refused { reason, took: *took }
}
