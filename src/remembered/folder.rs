//! The folder of saved answers. What is in it may be secret, and is only taken from files of our own.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Read as _, Write};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;

use crate::registry::file::Snapshot;

/// The bytes that are written and read at most of one registry, as of a static file.
const LIMIT: u64 = 64 << 20;

/// The bits of a mode that let others write, and the one that lets only owners remove and rename.
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// The folder of saved answers: one file a registry.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// The folder in this state folder.
    pub(super) fn new(state_dir: &Path) -> Self {
        Self { path: state_dir.join("answers") }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The file of a registry, whose name is one of a file as well.
    pub(super) fn file(&self, registry: &str) -> PathBuf {
        self.path.join(format!("{registry}.json"))
    }

    /// Makes the folder, for us alone; refuses one that others may have filled.
    pub(super) fn prepare(&self) -> io::Result<()> {
        if let Some(parent) = self.path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
            let mode = fs::metadata(parent)?.mode();
            if mode & OTHERS_WRITE != 0 && mode & STICKY == 0 {
                return Err(io::Error::other("everybody can write to the state folder"));
            }
        }
        match DirBuilder::new().mode(0o700).create(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let found = fs::symlink_metadata(&self.path)?;
        if !found.is_dir() {
            return Err(io::Error::other("it is no folder"));
        }
        refuse_stranger(found.uid())?;
        if found.mode() & 0o077 != 0 {
            fs::set_permissions(&self.path, Permissions::from_mode(0o700))?;
        }
        Ok(())
    }

    /// The text that is saved of a registry, if there is one.
    pub(super) fn read(&self, registry: &str) -> io::Result<Option<String>> {
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(self.file(registry)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        refuse_stranger(metadata.uid())?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        refuse_large(metadata.len())?;
        let mut text = String::new();
        file.take(LIMIT).read_to_string(&mut text)?;
        Ok(Some(text))
    }

    /// Replaces what is saved of a registry; how many bytes that takes. A crash leaves the old or the new, and what comes
    /// first to the disk.
    pub(super) fn write(&self, snapshot: &Snapshot) -> io::Result<u64> {
        // What is too large is rather not begun.
        refuse_large(snapshot.weight())?;
        self.prepare()?;
        let registry = &*snapshot.registry;
        let new = self.path.join(format!(".{registry}.new"));
        let write = || {
            // What an earlier life left under this name may be anything.
            remove(&new)?;
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
            let mut out = BufWriter::new(Counted { file: &file, bytes: 0 });
            snapshot.write(&mut out)?;
            out.flush()?;
            let bytes = out.get_ref().bytes;
            file.sync_data()?;
            #[expect(clippy::disallowed_methods, reason = "what is in the state folder is no destination")]
            fs::rename(&new, self.file(registry))?;
            Ok(bytes)
        };
        write().inspect_err(|_| {
            let _ = fs::remove_file(&new);
        })
    }

    /// Removes what is saved of a registry.
    pub(super) fn remove(&self, registry: &str) -> io::Result<()> {
        remove(&self.file(registry))
    }

    /// Removes the files of all other registries, and what a killed liveconf has left.
    pub(super) fn keep_only(&self, registries: &BTreeSet<Arc<str>>) -> io::Result<()> {
        self.prepare()?;
        let kept: BTreeSet<PathBuf> = registries.iter().map(|registry| self.file(registry)).collect();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let file = entry.path();
            // A folder is none of ours: we make none.
            if !kept.contains(&file) && !entry.file_type()?.is_dir() {
                fs::remove_file(&file)?;
                tracing::info!(file = %file.display(), "removed saved answers that are not remembered any more");
            }
        }
        Ok(())
    }
}

/// A file that is written, up to as much as is read again.
struct Counted<'a> {
    file: &'a File,
    bytes: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        refuse_large(self.bytes + piece.len() as u64)?;
        let written = self.file.write(piece)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn refuse_stranger(owner: u32) -> io::Result<()> {
    if owner == rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    Err(io::Error::other("it belongs to another user"))
}

fn refuse_large(bytes: u64) -> io::Result<()> {
    if bytes <= LIMIT {
        return Ok(());
    }
    Err(io::Error::other(format!("the answers take more than the {} MiB that are saved of a registry", LIMIT >> 20)))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
