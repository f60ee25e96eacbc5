//! Writes into a file that cannot be replaced because it is a mount point (FAULTS F-7).
//!
//! A reader may see half a file, so this is done only when asked for. What the file held is saved first and comes back
//! on any error, and at the next start when we were killed on the way.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

use rustix::fs::{FallocateFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::{Before, Own, Placed, Temporary, copy, own_name, sync_folder, transfer};
use crate::apply::destination::{Destination, Folder};
use crate::apply::error::{ApplyError, Subject};

/// What a destination held, in a file of ours with a name that a later start finds.
#[derive(Debug)]
pub(super) struct Saved {
    own: Own,
    content: File,
    live: File,
}

impl Saved {
    /// Puts it back. When that fails as well the saved file stays.
    pub(super) fn restore(mut self) -> io::Result<()> {
        write_over(&self.live, &self.content).map_err(|error| {
            self.own.released = true;
            io::Error::new(error.kind(), format!("{error}; what it held is in `{}`", self.own.path().display()))
        })
    }

    /// The saved file itself.
    pub(super) fn into_parts(self) -> (Own, Option<File>) {
        (self.own, Some(self.content))
    }
}

/// The folder for the files that writing into `destination` needs: its own, or that for temporary files where its own
/// cannot be written to, as in a container whose root is read-only.
pub(in crate::apply) fn scratch(destination: &Destination) -> io::Result<Arc<Folder>> {
    match Temporary::create(&destination.folder, &destination.name) {
        Ok(_) => Ok(Arc::clone(&destination.folder)),
        Err(error) if is_closed(&error) => Ok(Arc::new(elsewhere()?)),
        Err(error) => Err(error),
    }
}

fn is_closed(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::ROFS | Errno::ACCESS | Errno::PERM))
}

fn elsewhere() -> io::Result<Folder> {
    Folder::open_real(std::fs::canonicalize(std::env::temp_dir())?)
}

/// Writes the content of `new` into the existing file at `destination`.
pub(in crate::apply) fn overwrite(
    new: &Temporary,
    destination: &Destination,
    subject: Subject<'_>,
) -> Result<Placed, ApplyError> {
    let failed = |step| move |error: io::Error| ApplyError::write(subject, step, error);
    let live = open(destination).map_err(failed("open the file to write into it"))?;
    refuse_if_full(&live, new).map_err(failed("make room in the file"))?;
    let saved = save(live, destination, &new.own.folder).map_err(failed("save what the file holds"))?;
    match write_over(&saved.live, &new.file) {
        Ok(()) => Ok(Placed {
            folder: Arc::clone(&destination.folder),
            name: destination.name.clone(),
            before: Before::Saved(saved),
        }),
        Err(error) => {
            let failure = ApplyError::write(subject, "write into the file", error);
            Err(match saved.restore() {
                Ok(()) => failure,
                Err(error) => failure.noting(&format!("its old content could not be put back either: {error}")),
            })
        }
    }
}

/// Puts back what a write held that was cut short by the end of its process. Says whether there was one.
pub(in crate::apply) fn finish_interrupted(destination: &Destination) -> io::Result<bool> {
    let here = Arc::clone(&destination.folder);
    let mut found = false;
    for folder in [Some(here), elsewhere().ok().map(Arc::new)].into_iter().flatten() {
        let own = Own { name: saved_name(destination), folder, released: true };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let content = match rustix::fs::openat(&own.folder.handle, &own.name, flags, Mode::empty()) {
            Ok(content) => File::from(content),
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(error.into()),
        };
        let stat = rustix::fs::fstat(&content)?;
        let is_ours = stat.st_uid == rustix::process::geteuid().as_raw() && stat.st_nlink == 1;
        if is_ours && rustix::fs::flock(&content, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let mut saved = Saved { own, content, live: open(destination)? };
            saved.own.released = false;
            saved.restore()?;
            found = true;
        }
    }
    Ok(found)
}

fn open(destination: &Destination) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    Ok(File::from(rustix::fs::openat(&destination.folder.handle, &destination.name, flags, Mode::empty())?))
}

/// Looks for room before anything is touched: on a full disk writing over a file would destroy it.
fn refuse_if_full(live: &File, new: &Temporary) -> io::Result<()> {
    let room = rustix::fs::fstatvfs(live)?;
    let blocks = if rustix::process::geteuid().is_root() { room.f_bfree } else { room.f_bavail };
    let size = new.file.metadata()?.len();
    if blocks.saturating_mul(room.f_frsize) < size {
        return Err(Errno::NOSPC.into());
    }
    let held = live.metadata()?.len();
    if size > held {
        match rustix::fs::fallocate(live, FallocateFlags::KEEP_SIZE, held, size - held) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Copies what the file holds to a name that tells what it is, once the copy is whole and on the disk.
fn save(live: File, destination: &Destination, scratch: &Arc<Folder>) -> io::Result<Saved> {
    let Temporary { mut own, file } = copy(&live, scratch, &destination.name)?;
    file.sync_all()?;
    let name = saved_name(destination);
    own.rename(&name)?;
    own = Own { name, folder: Arc::clone(scratch), released: false };
    sync_folder(scratch)?;
    Ok(Saved { own, content: file, live })
}

/// One name for each destination, wherever the saved file is kept.
fn saved_name(destination: &Destination) -> std::ffi::OsString {
    let hash = Sha256::digest(destination.path().as_os_str().as_bytes());
    let end = format!("saved-{:02x}{:02x}{:02x}{:02x}", hash[0], hash[1], hash[2], hash[3]);
    own_name(OsStr::new(&destination.name), &end)
}

/// Never shorter than the old content before the new one is there.
fn write_over(live: &File, from: &File) -> io::Result<()> {
    let length = transfer(from, live)?;
    live.set_len(length)?;
    live.sync_all()
}

/// Where what `destination` held is saved, for tests.
#[cfg(test)]
pub(in crate::apply) fn saved_path(destination: &Destination) -> std::path::PathBuf {
    destination.folder.path.join(saved_name(destination))
}
