//! One process for each state folder.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

/// Holds the state folder for this process, until it is dropped.
#[derive(Debug)]
pub struct Lock {
    /// None when the folder cannot be written, and so not be locked.
    _file: Option<File>,
}

/// Another process of ours works on the same targets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "another liveconf{} works with the state folder `{}`",
    .pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(),
    .folder.display()
)]
pub struct Held {
    /// Its pid, when it has written it already.
    pub pid: Option<u32>,
    /// The folder.
    pub folder: PathBuf,
}

impl Lock {
    /// Of a folder that could not be locked.
    pub(super) fn none() -> Self {
        Self { _file: None }
    }
}

/// Locks the folder; gives beside it what keeps the folder from being used as it should.
pub(super) fn lock(folder: &Path) -> Result<(Lock, Option<io::Error>), Held> {
    let path = folder.join("lock");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = match options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(&path) {
        Ok(file) => file,
        Err(error) => return Ok((Lock::none(), Some(error))),
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Err(Held { pid: holder(&path), folder: folder.to_owned() }),
        Err(error) => return Ok((Lock::none(), Some(error.into()))),
    }
    let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok((Lock { _file: Some(file) }, written.err()))
}

/// The pid that the holder of the lock has written, given a moment to do so.
fn holder(path: &Path) -> Option<u32> {
    for _ in 0..10 {
        if let Ok(pid) = fs::read_to_string(path).ok()?.trim().parse() {
            return Some(pid);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}
