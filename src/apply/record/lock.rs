//! One process for each state folder.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

/// Holds the state folder for this process, until it is dropped.
#[derive(Debug)]
pub struct Lock(Arc<Seat>);

/// The lock of a state folder, while somebody wants it. One that could not be taken, or vanished with the folder, is
/// taken as soon as that can be.
#[derive(Debug, Default)]
pub(super) struct Seat(Mutex<Hold>);

#[derive(Debug, Default)]
struct Hold {
    is_wanted: bool,
    /// None where the folder cannot be written, and so not be locked.
    file: Option<File>,
    /// Its device and inode.
    held: Option<(u64, u64)>,
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
    /// From now on the folder is wanted.
    pub(super) fn new(seat: Arc<Seat>) -> Self {
        seat.wanted().is_wanted = true;
        Self(seat)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        *self.0.wanted() = Hold::default();
    }
}

impl Seat {
    /// Locks the folder; gives what keeps it from being used as it should.
    pub(super) fn take(&self, folder: &Path) -> Result<Option<io::Error>, Held> {
        let (file, error) = lock(folder)?;
        let held = file.as_ref().and_then(|file| file.metadata().ok()).map(|held| (held.dev(), held.ino()));
        let mut wanted = self.wanted();
        if wanted.is_wanted {
            (wanted.file, wanted.held) = (file, held);
        }
        Ok(error)
    }

    /// Locks the folder again where the lock is wanted and not there. A folder that cannot be locked may still be of use,
    /// but not one that another process has taken meanwhile.
    pub(super) fn keep(&self, folder: &Path) -> io::Result<()> {
        let (is_wanted, held) = {
            let wanted = self.wanted();
            (wanted.is_wanted, wanted.held)
        };
        let there = fs::symlink_metadata(folder.join("lock")).ok().map(|there| (there.dev(), there.ino()));
        if !is_wanted || held.is_some() && held == there {
            Ok(())
        } else {
            self.take(folder).map(drop).map_err(io::Error::other)
        }
    }

    fn wanted(&self) -> MutexGuard<'_, Hold> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Locks the folder; gives beside it what keeps the folder from being used as it should.
fn lock(folder: &Path) -> Result<(Option<File>, Option<io::Error>), Held> {
    let path = folder.join("lock");
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = match options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(&path) {
        Ok(file) => file,
        Err(error) => return Ok((None, Some(error))),
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Err(Held { pid: holder(&path), folder: folder.to_owned() }),
        Err(error) => return Ok((None, Some(error.into()))),
    }
    let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok((Some(file), written.err()))
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
