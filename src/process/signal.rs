//! Finds the process that a pid file names, and signals it and no other (FAULTS R-7).
//!
//! A pid file outlives its process, and the number in it may by now be an innocent one's. A process that started after
//! its pid file was written is not the one that wrote it.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, getpid, kill_process, pidfd_open, pidfd_send_signal, test_kill_process};

use super::BootTime;
use super::wall_clock::stamped;

/// What the clocks of process start and file modification may differ by.
const SLACK: Duration = Duration::from_secs(2);

/// Bytes of a process name that the kernel keeps.
const NAME_LENGTH: usize = 15;

/// A process that a pid file names, verified.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    /// None where the kernel has no pidfds or a sandbox forbids them.
    handle: Option<OwnedFd>,
    started: BootTime,
}

/// Why there is no process to signal.
#[derive(Debug, thiserror::Error)]
pub enum Absent {
    /// There is no pid file.
    #[error("there is no pid file `{}`", .0.display())]
    NoPidFile(PathBuf),
    /// The pid file names no process that may be signalled.
    #[error("pid file `{}` holds no process id", .0.display())]
    NoPid(PathBuf),
    /// The process has ended.
    #[error("process {pid} of pid file `{}` has ended", .path.display())]
    Ended {
        /// The pid file.
        path: PathBuf,
        /// The number in it.
        pid: i32,
    },
    /// There is no run of the program that we supervise.
    #[error("its process is not running")]
    NotStarted,
    /// The process that we supervise has ended.
    #[error("its process {0} has ended")]
    Gone(i32),
    /// The number belongs to another process now.
    #[error("pid file `{}` is stale: process {pid} is `{name}`, which started after the file was written", .path.display())]
    Reused {
        /// The pid file.
        path: PathBuf,
        /// The number in it.
        pid: i32,
        /// The name of the process that has it now.
        name: String,
    },
}

/// Why a signal was not sent.
#[derive(Debug, thiserror::Error)]
pub enum SignalError {
    /// There is no process.
    #[error(transparent)]
    Absent(#[from] Absent),
    /// The pid file cannot be read.
    #[error("cannot read pid file `{}`: {source}", .path.display())]
    Unreadable {
        /// The pid file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The process cannot be looked at, so nobody knows whose the number is.
    #[error(
        "cannot verify process {pid}: {source}; if `/proc` hides it (`hidepid`, `ProtectProc`), let liveconf see it"
    )]
    Hidden {
        /// The number in the pid file.
        pid: i32,
        /// What the system said.
        source: io::Error,
    },
    /// The system refused the signal.
    #[error("process {pid} cannot be sent {signal}: {source}")]
    Refused {
        /// The process.
        pid: i32,
        /// The signal.
        signal: Signal,
        /// What the system said.
        source: io::Error,
    },
}

/// The process that the pid file at `path` names, if it is the one that the file was written for.
pub fn find(path: &Path) -> Result<Process, SignalError> {
    let (text, written) = read(path)?;
    let number = text.lines().next().unwrap_or_default().trim();
    // 0 and below are groups, 1 is the init of the system or container; and never ourselves.
    let pid = number.parse().ok().filter(|number| *number > 1).and_then(Pid::from_raw).filter(|pid| *pid != getpid());
    let pid = pid.ok_or_else(|| Absent::NoPid(path.to_owned()))?;
    let number = pid.as_raw_pid();
    let ended = || Absent::Ended { path: path.to_owned(), pid: number };
    // The handle is taken before the process is looked at: a signal through it reaches the process that had the number
    // at this moment, or none.
    let handle = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(handle) => Some(handle),
        Err(Errno::NOSYS | Errno::PERM) => None,
        // INVAL and NOENT: the number of a thread, not of a process.
        Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => return Err(ended().into()),
        Err(error) => return Err(SignalError::Hidden { pid: number, source: error.into() }),
    };
    let seen = match Stat::read(number) {
        Ok(seen) if seen.ended => return Err(ended().into()),
        Ok(seen) => seen,
        Err(_) if test_kill_process(pid) == Err(Errno::SRCH) => return Err(ended().into()),
        Err(source) => return Err(SignalError::Hidden { pid: number, source }),
    };
    if is_reused(&seen, written, path) {
        return Err(Absent::Reused { path: path.to_owned(), pid: number, name: seen.name }.into());
    }
    Ok(Process { pid, handle, started: seen.started })
}

/// The process that we supervise with this id, which began then.
pub fn supervised(pid: i32, begun: BootTime) -> Result<Process, SignalError> {
    match (Pid::from_raw(pid), Stat::read(pid)) {
        (Some(pid), Ok(seen)) if !seen.ended => Ok(Process { pid, handle: None, started: begun }),
        _ => Err(Absent::Gone(pid).into()),
    }
}

/// Whether the process with this id surely started after `moment`; false where that cannot be told.
pub fn started_after(pid: i32, moment: BootTime) -> bool {
    pid > 0 && Stat::read(pid).is_ok_and(|seen| !seen.ended && seen.started > moment)
}

impl Process {
    /// Its id.
    pub fn id(&self) -> i32 {
        self.pid.as_raw_pid()
    }

    /// When it started, to the hundredth of a second, rounded down.
    pub fn started(&self) -> BootTime {
        self.started
    }

    /// Whether it surely started after `moment`. The kernel tells its start to the hundredth of a second, rounded down.
    pub fn started_after(&self, moment: BootTime) -> bool {
        self.started > moment
    }

    /// Sends `signal` to it.
    pub fn send(&self, path: &Path, signal: Signal) -> Result<(), SignalError> {
        let pid = self.id();
        let refused = |source| SignalError::Refused { pid, signal, source };
        let number = rustix::process::Signal::from_named_raw(signal as i32)
            .ok_or_else(|| refused(io::Error::from(io::ErrorKind::Unsupported)))?;
        let through_handle = self.handle.as_ref().map(|handle| pidfd_send_signal(handle, number));
        let sent = match through_handle {
            // A sandbox may allow one call and forbid the other; a refusal that is meant is repeated by `kill`.
            None | Some(Err(Errno::NOSYS | Errno::PERM)) => self.kill(number),
            Some(sent) => sent,
        };
        match sent {
            Ok(()) => Ok(()),
            Err(Errno::SRCH) => Err(Absent::Ended { path: path.to_owned(), pid }.into()),
            Err(error) => Err(refused(error.into())),
        }
    }

    /// Signals by number, after another look at whose it is.
    fn kill(&self, number: rustix::process::Signal) -> Result<(), Errno> {
        match Stat::read(self.id()) {
            Ok(seen) if !seen.ended && seen.started == self.started => kill_process(self.pid, number),
            _ => Err(Errno::SRCH),
        }
    }
}

/// The beginning of the pid file and when it was written.
fn read(path: &Path) -> Result<(String, SystemTime), SignalError> {
    let open = || -> io::Result<(String, SystemTime)> {
        // Without `NONBLOCK` a FIFO at this place would hold us for ever.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
        let written = file.metadata()?.modified()?;
        let mut bytes = Vec::new();
        file.take(256).read_to_end(&mut bytes)?;
        Ok((String::from_utf8_lossy(&bytes).into_owned(), written))
    };
    open().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Absent::NoPidFile(path.to_owned()).into(),
        _ => SignalError::Unreadable { path: path.to_owned(), source },
    })
}

/// Whether the process started after the pid file was written. A step of the clock that came before our own start makes
/// them hard to compare, so a process of the file's own name (`nginx` for `nginx.pid`) is believed.
fn is_reused(seen: &Stat, written: SystemTime, path: &Path) -> bool {
    let written = stamped(written);
    let stem = path.file_stem().unwrap_or_default().as_encoded_bytes();
    let stem = &stem[..stem.len().min(NAME_LENGTH)];
    seen.started > written.after(SLACK) && stem != seen.name.as_bytes()
}

/// What `/proc/PID/stat` says (proc(5)).
pub(super) struct Stat {
    pub(super) name: String,
    pub(super) started: BootTime,
    /// It has ended and waits to be reaped.
    pub(super) ended: bool,
    /// How often it touched memory that it had to be given first.
    pub(super) faults: u64,
    /// Its parent.
    pub(super) parent: i32,
    /// Its process group.
    pub(super) group: i32,
    /// Its session.
    pub(super) session: i32,
}

impl Stat {
    pub(super) fn read(pid: i32) -> io::Result<Self> {
        let bytes = fs::read(format!("/proc/{pid}/stat"))?;
        Self::parse(&String::from_utf8_lossy(&bytes)).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// The name stands in parentheses and may itself hold some, so the last one ends it. Fields 3 (state), 4 (parent),
    /// 5 (process group), 6 (session), 10 (minor faults) and 22 (start time) count from 1.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.split_once('(')?;
        let (name, rest) = rest.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let ticks = fields.get(22 - 3)?.parse().ok()?;
        let faults = fields.get(10 - 3)?.parse().ok()?;
        let ended = matches!(*fields.first()?, "Z" | "X" | "x");
        let number = |field: usize| -> Option<i32> { fields.get(field - 3)?.parse().ok() };
        let (parent, group, session) = (number(4)?, number(5)?, number(6)?);
        Some(Self {
            name: name.to_owned(),
            started: BootTime::from_ticks(ticks),
            ended,
            faults,
            parent,
            group,
            session,
        })
    }
}

#[cfg(test)]
mod tests;
