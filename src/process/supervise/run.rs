//! One run of a supervised program: started, told, ended.

use std::ffi::OsString;
use std::io;
use std::process::Stdio;

use nix::sys::signal::Signal;
use nix::unistd::geteuid;
use rustix::process::{Pid, kill_process};
use tokio::process::{Child, Command};
use tracing::debug;

use super::environment::{Identity, identity, variables};
use super::group::Group;
use super::{launch, stray};
use crate::config::Process;
use crate::process::children::{self, Ours};
use crate::process::{BootTime, End};

/// Whether our own program can stand in for another. That of the unit tests cannot.
const STANDS_IN: bool = !cfg!(test);

/// A program under way. Dropped, it is killed.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    _ours: Ours,
    pub(super) pid: i32,
    /// Its process group; none where `/proc` did not show it.
    pub(super) group: Option<Group>,
    /// Just before it was started.
    pub(super) begun: BootTime,
}

impl Running {
    /// Starts the program, as the leader of a process group of its own, with our output and without input.
    pub(super) fn start(process: &Process) -> io::Result<Self> {
        let begun = BootTime::now();
        let identity = identity(process)?;
        // Whoever is root still may look up the groups of another user, and have them.
        let nobody_else = Identity::default();
        let (at_once, later) = if geteuid().is_root() { (&nobody_else, &identity) } else { (&identity, &nobody_else) };
        let mut seen = variables(process, &identity, std::env::vars_os());
        seen.push((stray::NAME.into(), process.name.as_ref().into()));
        let bound = launch::arguments(process.stop_signal, later, &process.arguments);
        let stood_in = if STANDS_IN {
            start(process, at_once, &seen, "/proc/self/exe".into(), &bound)
        } else {
            Err(io::ErrorKind::Unsupported.into())
        };
        let (child, pid, ours) = match stood_in {
            Ok(started) => started,
            Err(error) => {
                debug!(%error, "starting a program without a bond to our own life");
                let (program, arguments) =
                    process.arguments.split_first().ok_or_else(|| io::Error::other("there is no program"))?;
                start(process, &identity, &seen, program.clone(), arguments)?
            }
        };
        Ok(Self { child, _ours: ours, pid, group: Group::of(pid), begun })
    }

    /// Waits until it ends. Safe to cancel.
    pub(super) async fn ended(&mut self) -> End {
        End::of(self.child.wait().await)
    }

    /// Sends it a signal. Its number is its own as long as nobody waited for its end, and nobody else does.
    pub(super) fn send(&self, signal: Signal) -> io::Result<()> {
        let pid = self.child.id().and(Pid::from_raw(self.pid)).ok_or(io::ErrorKind::NotFound)?;
        let number = rustix::process::Signal::from_named_raw(signal as i32).ok_or(io::ErrorKind::Unsupported)?;
        Ok(kill_process(pid, number)?)
    }
}

/// As root with another user, and no more groups than one.
fn start(
    process: &Process,
    identity: &Identity,
    variables: &[(OsString, OsString)],
    program: OsString,
    arguments: &[OsString],
) -> io::Result<(Child, i32, Ours)> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .process_group(0)
        .kill_on_drop(true);
    if let Some(folder) = &process.working_dir {
        // Of one that is not there the system says no more than that something is not.
        if !folder.is_dir() {
            let why = format!("there is no folder `{}`, its `working_dir`", folder.display());
            return Err(io::Error::new(io::ErrorKind::NotADirectory, why));
        }
        command.current_dir(folder);
    }
    if let Some(gid) = identity.gid {
        command.gid(gid);
    }
    if let Some(uid) = identity.uid {
        command.uid(uid);
    }
    children::spawn(&mut command)
}
