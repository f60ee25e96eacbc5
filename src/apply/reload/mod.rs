//! Reload: how a process takes its new files. One kind, one file; the list of kinds is the match in [`reload`].

mod command;
pub mod haproxy;
mod http;
pub(super) mod process;
mod signal;
mod systemd;

use crate::config::{Reload, Target};
use crate::process::{BootTime, Context};

/// What became of a reload (SEMANTICS 7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The process has the new files. `confirm`, where it is given, then looks whether it runs with them.
    Taken,
    /// There is no process, for this reason: the reload stays owed and is looked at every second.
    NotRunning(String),
    /// It was not told, or could not do it, for this reason: the reload stays owed and is tried again.
    Failed(String),
    /// It is there and refuses these files, for this reason: they are not tried again.
    Rejected(String),
}

/// Tells the process of `target` to take its files. `committed` is the moment at which they were all in place, when
/// that was in this life of ours: a process that started after it has read them.
pub async fn reload(target: &Target, committed: Option<BootTime>, context: &Context) -> Outcome {
    match &target.reload {
        Reload::None => Outcome::Taken,
        Reload::Signal { signal, pid_file } => signal::reload(*signal, pid_file, committed),
        Reload::Systemd(unit) => systemd::reload(unit, committed, context).await,
        Reload::Haproxy(haproxy) => haproxy::reload(target, haproxy, committed, context).await,
        Reload::Http(request) => http::reload(target, request, context).await,
        Reload::Command(command) => command::reload(target, command, context).await,
        Reload::Process(how) => process::reload(*how, context).await,
    }
}
