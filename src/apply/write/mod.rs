//! The only file, with its child for mount points, that renames or writes a destination (FAULTS F-1).
//!
//! New content is written under a name of our own in the folder of the destination, from birth readable to us alone,
//! and takes the place of the old by a rename: whoever opens the destination finds the whole old or the whole new file.

mod in_place;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::destination::{Destination, Existing, Folder, same};
use super::metadata::narrow;

#[cfg(test)]
pub(super) use in_place::saved_path;
pub(super) use in_place::{finish_interrupted, overwrite, scratch};

/// What our own names have before the random part.
const MARK: &str = ".liveconf-";

/// Bytes of the name of a destination that go into ours, so that it stays within 255.
const BASE: usize = 220;

/// How often another name is tried when one is taken.
const TRIES: usize = 16;

/// Whether `name` is one that [`Temporary`] gives. It begins with a dot, so that no include pattern of a program
/// (`conf.d/*`) finds a file that is not finished.
pub(super) fn is_temporary(name: &OsStr) -> bool {
    let Some(name) = name.as_bytes().strip_prefix(b".") else { return false };
    let Some(start) = name.len().checked_sub(MARK.len() + 16) else { return false };
    name[start..].strip_prefix(MARK.as_bytes()).is_some_and(|random| random.iter().all(u8::is_ascii_hexdigit))
}

/// A name for a file of ours that belongs to the destination called `base`.
fn own_name(base: &OsStr, end: &str) -> OsString {
    let mut length = base.len().min(BASE);
    while base.to_str().is_some_and(|base| !base.is_char_boundary(length)) {
        length -= 1;
    }
    let name = [b".", &base.as_bytes()[..length], MARK.as_bytes(), end.as_bytes()].concat();
    OsString::from_vec(name)
}

/// A name of ours in a folder. What bears it is removed when this is dropped.
#[derive(Debug)]
struct Own {
    folder: Arc<Folder>,
    name: OsString,
    /// Nothing bears the name any more, or what bears it is to stay.
    released: bool,
}

impl Own {
    fn random(folder: &Arc<Folder>, base: &OsStr) -> Self {
        let name = own_name(base, &format!("{:016x}", rand::random::<u64>()));
        Self { folder: Arc::clone(folder), name, released: true }
    }

    fn path(&self) -> PathBuf {
        self.folder.path.join(&self.name)
    }

    /// Gives the file that bears the name another one, in the place of what bore that.
    fn rename(&mut self, to: &OsStr) -> Result<(), Errno> {
        #[expect(clippy::disallowed_methods, reason = "this is the file that renames destinations")]
        rustix::fs::renameat(&self.folder.handle, &self.name, &self.folder.handle, to)?;
        self.released = true;
        Ok(())
    }

    /// Gives somebody's file its own name back. Where yet another bears that by now, both stay.
    fn give_back(&mut self, to: &OsStr) -> Result<(), Errno> {
        self.released = true;
        let folder = &self.folder.handle;
        #[expect(clippy::disallowed_methods, reason = "this is the file that renames destinations")]
        match rustix::fs::renameat_with(folder, &self.name, folder, to, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {
                tracing::warn!(file = %self.path().display(), "the file was replaced twice: the first one stays here");
                Ok(())
            }
            // The file system knows no such rename.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => self.rename(to),
            given => given,
        }
    }

    /// Exchanges what bears the name and what bears the other.
    fn exchange(&self, with: &OsStr) -> Result<(), Errno> {
        let folder = &self.folder.handle;
        #[expect(clippy::disallowed_methods, reason = "this is the file that renames destinations")]
        rustix::fs::renameat_with(folder, &self.name, folder, with, RenameFlags::EXCHANGE)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if !self.released
            && let Err(error) = rustix::fs::unlinkat(&self.folder.handle, &self.name, AtFlags::empty())
        {
            tracing::warn!(file = %self.path().display(), %error, "cannot remove a temporary file");
        }
    }
}

/// A file beside a destination that nobody else knows of. It is locked while it is used, which tells a sweep that it is
/// no leftover, and removed when it is dropped.
#[derive(Debug)]
pub(super) struct Temporary {
    own: Own,
    file: File,
}

impl Temporary {
    /// Makes an empty one for the destination called `base`, with mode 0600.
    pub(super) fn create(folder: &Arc<Folder>, base: &OsStr) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for _ in 0..TRIES {
            let mut own = Own::random(folder, base);
            let file = match rustix::fs::openat(&folder.handle, &own.name, flags, Mode::RUSR | Mode::WUSR) {
                Err(Errno::EXIST) => continue,
                opened => File::from(opened?),
            };
            own.released = false;
            // A sweep may have found it between its birth and this lock, and is removing it.
            let is_swept = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK)
                || rustix::fs::fstat(&file)?.st_nlink == 0;
            if is_swept {
                own.released = true;
                continue;
            }
            return Ok(Self { own, file });
        }
        Err(io::Error::from(io::ErrorKind::AlreadyExists))
    }

    /// Its path.
    pub(super) fn path(&self) -> PathBuf {
        self.own.path()
    }

    /// The folder that it is in.
    pub(super) fn folder(&self) -> &Arc<Folder> {
        &self.own.folder
    }

    /// The open file.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Writes its content.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Writes what another file holds.
    pub(super) fn copy_of(&mut self, file: &File) -> io::Result<()> {
        transfer(file, &self.file).map(drop)
    }

    /// Brings content and metadata to the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Reads its content again and compares it with what was written.
    pub(super) fn verify(&self, bytes: &[u8]) -> io::Result<()> {
        if same(&self.file, bytes)? {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "it reads back otherwise than it was written"))
    }

    /// Puts it in the place of the destination. With `keep` the file that was there is kept, so that this can be taken
    /// back.
    pub(super) fn place(self, destination: &mut Destination, keep: bool) -> io::Result<Placed> {
        let Self { mut own, file } = self;
        let name = destination.name.clone();
        let before = match destination.existing.take() {
            None => {
                own.rename(&name)?;
                Before::Nothing
            }
            Some(_) if !keep => {
                own.rename(&name)?;
                Before::Lost
            }
            Some(existing) => match own.exchange(&name) {
                Ok(()) => Before::Kept(Kept::new(own, existing.file)),
                // Somebody removed it meanwhile.
                Err(Errno::NOENT) => {
                    own.rename(&name)?;
                    Before::Nothing
                }
                // The file system cannot exchange.
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {
                    let kept = Kept::another_name(destination, existing)?;
                    own.rename(&name)?;
                    Before::Kept(kept)
                }
                Err(error) => return Err(error.into()),
            },
        };
        drop(file);
        Ok(Placed { folder: Arc::clone(&destination.folder), name, before })
    }
}

/// Takes the file at a destination away, and keeps it so that this can be taken back. Gives none when there is no file.
pub(super) fn remove(destination: &mut Destination) -> io::Result<Option<Placed>> {
    let Some(existing) = destination.existing.take() else { return Ok(None) };
    let (folder, name) = (Arc::clone(&destination.folder), destination.name.clone());
    let mut own = Own::random(&folder, &name);
    #[expect(clippy::disallowed_methods, reason = "this is the file that renames destinations")]
    match rustix::fs::renameat(&folder.handle, &name, &folder.handle, &own.name) {
        Ok(()) => own.released = false,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let taken = rustix::fs::statat(&folder.handle, &own.name, AtFlags::SYMLINK_NOFOLLOW);
    if !taken.is_ok_and(|taken| existing.is(&taken)) {
        own.give_back(&name)?;
        let file = destination.path();
        tracing::warn!(file = %file.display(), "its item is gone, and it stays: somebody changed it meanwhile");
        return Ok(None);
    }
    Ok(Some(Placed { folder, name, before: Before::Kept(Kept::new(own, existing.file)) }))
}

/// A destination that has its new content, with what is needed to take that back.
#[derive(Debug)]
#[must_use = "a placed file is finished or undone"]
pub(super) struct Placed {
    folder: Arc<Folder>,
    name: OsString,
    before: Before,
}

/// What was at a destination before.
#[derive(Debug)]
enum Before {
    Nothing,
    Lost,
    Kept(Kept),
    /// It was written into, and this is a copy of what it held.
    Saved(in_place::Saved),
}

impl Placed {
    /// The folder of the destination.
    pub(super) fn folder(&self) -> &Arc<Folder> {
        &self.folder
    }

    /// Puts back what was there before.
    pub(super) fn undo(self) -> io::Result<()> {
        match self.before {
            Before::Nothing => Ok(rustix::fs::unlinkat(&self.folder.handle, &self.name, AtFlags::empty())?),
            Before::Lost => Err(io::Error::other("the file that was there before is not kept")),
            Before::Kept(mut kept) => Ok(kept.own.rename(&self.name)?),
            Before::Saved(saved) => saved.restore(),
        }
    }

    /// Lets go of what was there before, or keeps it under the name `backup`.
    pub(super) fn finish(self, backup: Option<&OsStr>) -> io::Result<()> {
        let (mut own, old) = match (self.before, backup) {
            (Before::Kept(kept), Some(_)) => (kept.own, kept.file),
            (Before::Saved(saved), Some(_)) => saved.into_parts(),
            _ => return Ok(()),
        };
        if let Some(old) = &old {
            narrow(old, &rustix::fs::statat(&self.folder.handle, &self.name, AtFlags::SYMLINK_NOFOLLOW)?)?;
        }
        match backup {
            Some(backup) => Ok(own.rename(backup)?),
            None => Ok(()),
        }
    }
}

/// The file that was at a destination, under a name of ours.
#[derive(Debug)]
struct Kept {
    own: Own,
    file: Option<File>,
}

impl Kept {
    fn new(own: Own, file: Option<File>) -> Self {
        if let Some(file) = &file {
            // Told to a sweep like every other file of ours; a program that holds a lock on it does as well.
            let _ = rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive);
        }
        Self { own, file }
    }

    /// Gives the file at the destination a second name; where that is not allowed, its content.
    fn another_name(destination: &Destination, existing: Existing) -> io::Result<Self> {
        let folder = &destination.folder;
        let mut own = Own::random(folder, &destination.name);
        match rustix::fs::linkat(&folder.handle, &destination.name, &folder.handle, &own.name, AtFlags::empty()) {
            Ok(()) => {
                own.released = false;
                Ok(Self::new(own, existing.file))
            }
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::MLINK | Errno::NOSYS) => {
                let file = existing.file.ok_or_else(|| io::Error::from(io::ErrorKind::PermissionDenied))?;
                let copy = copy(&file, folder, &destination.name)?;
                std::os::unix::fs::fchown(&copy.file, Some(existing.stat.st_uid), Some(existing.stat.st_gid))?;
                copy.file.set_permissions(file.metadata()?.permissions())?;
                copy.sync()?;
                Ok(Self { own: copy.own, file: Some(copy.file) })
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// A copy of the content of `file` under a name of ours, 0600.
fn copy(file: &File, folder: &Arc<Folder>, base: &OsStr) -> io::Result<Temporary> {
    let copy = Temporary::create(folder, base)?;
    transfer(file, &copy.file)?;
    Ok(copy)
}

/// Writes all of `from` over the beginning of `to`, and says how many bytes that were.
fn transfer(from: &File, to: &File) -> io::Result<u64> {
    use std::os::unix::fs::FileExt as _;
    let mut buffer = vec![0; 1 << 17];
    let mut offset = 0;
    loop {
        let read = from.read_at(&mut buffer, offset)?;
        if read == 0 {
            return Ok(offset);
        }
        to.write_all_at(&buffer[..read], offset)?;
        offset += read as u64;
    }
}

/// Writes into a destination as a program without [`Protection::Staging`](crate::protection::Protection::Staging) would.
pub(super) fn truncate(destination: &Destination, bytes: &[u8]) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    File::from(rustix::fs::openat(&destination.folder.handle, &destination.name, flags, mode)?).write_all(bytes)
}

/// Makes the names in a folder last. A file system that cannot sync folders is not asked again.
pub(super) fn sync_folder(folder: &Folder) -> io::Result<()> {
    match rustix::fs::fsync(&folder.handle) {
        Ok(()) | Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_names_are_known_again_and_never_too_long() {
        for base in ["x", "nginx.conf", ".hidden", "ü€ name", &"é".repeat(127)] {
            let name = own_name(OsStr::new(base), "0123456789abcdef");
            assert!(name.len() <= 255, "{name:?}");
            assert!(name.to_str().is_some_and(|name| name.starts_with('.')), "{name:?}");
            assert!(is_temporary(&name), "{name:?}");
            assert!(!is_temporary(&own_name(OsStr::new(base), "saved-01234567")));
        }
        for other in ["x", ".x.liveconf-0123456789abcde", ".x.liveconf-0123456789abcdeg", "x.liveconf-0123456789abcdef"]
        {
            assert!(!is_temporary(OsStr::new(other)), "{other}");
        }
    }
}
