//! Commit: every changed file takes its place, all or none while we live. What was there before is at hand until nothing
//! can be taken back any more.

use std::path::PathBuf;
use std::sync::Arc;

use super::destination::Folder;
use super::drift::Drifted;
use super::error::ApplyError;
use super::transaction::{Checked, File};
use super::write::{Placed, sync_folder};
use super::{Hashes, Places};
use crate::process::BootTime;

/// A target whose files are in place.
#[derive(Debug, Clone)]
pub struct Committed {
    changed: Vec<PathBuf>,
    hashes: Hashes,
    places: Places,
    drifted: Vec<Drifted>,
    at: BootTime,
}

/// A target whose files are in place for now: the old ones are kept beside them. Dropping it puts those back.
#[derive(Debug)]
pub struct Provisional {
    target: Arc<str>,
    committed: Committed,
    placed: Vec<(File, Placed)>,
}

impl Checked {
    /// Puts every changed file in the place of the old one. When one of them fails, those before it are put back. Blocks
    /// on the disk.
    pub fn commit(self) -> Result<Committed, ApplyError> {
        Ok(self.place(false)?.keep())
    }

    /// The same, and all of it can be taken back. Blocks on the disk.
    pub fn try_out(self) -> Result<Provisional, ApplyError> {
        self.place(true)
    }

    /// `keep_all` keeps what even the last file replaces; without it a failure cannot come after that one.
    fn place(self, keep_all: bool) -> Result<Provisional, ApplyError> {
        let (hashes, destinations, drifted) = (self.hashes(), self.places(), self.drifted());
        let (target, files) = self.into_parts();
        let mut files: Vec<File> = files.into_iter().filter(File::is_changed).collect();
        let changed = files.iter().map(|file| file.configured.clone()).collect();
        // Writing into a file fails more easily than a rename, and is taken back less surely.
        files.sort_by_key(|file| file.destination.is_mount_point);
        let last = files.len().saturating_sub(1);
        let mut placed: Vec<(File, Placed)> = Vec::with_capacity(files.len());
        for (index, mut file) in files.into_iter().enumerate() {
            let keep = keep_all || file.backup || index != last;
            match file.place(keep) {
                Ok(Some(done)) => placed.push((file, done)),
                Ok(None) => {}
                Err(error) => {
                    return Err(match undo(placed) {
                        Ok(()) => error,
                        Err(failures) => error.noting(&failures),
                    });
                }
            }
        }
        Ok(Provisional {
            target,
            committed: Committed { changed, hashes, places: destinations, drifted, at: BootTime::now() },
            placed,
        })
    }
}

impl Provisional {
    /// The hash of what each destination holds now.
    pub fn hashes(&self) -> &Hashes {
        &self.committed.hashes
    }

    /// Lets go of the old files or makes them backups, and makes the new names last. The new files are visible by now
    /// and the process is told of them whatever happens here, so that it never stays behind its files. Blocks on the
    /// disk.
    pub fn keep(mut self) -> Committed {
        finish(&self.target, std::mem::take(&mut self.placed));
        self.committed.clone()
    }

    /// Puts the old files back, with all that they had; those that were not there are removed. What could not be put
    /// back is told. Blocks on the disk.
    pub fn undo(mut self) -> Result<(), String> {
        undo(std::mem::take(&mut self.placed))
    }
}

impl Drop for Provisional {
    fn drop(&mut self) {
        if let Err(failures) = undo(std::mem::take(&mut self.placed)) {
            tracing::error!(target = &*self.target, "{failures}");
        }
    }
}

impl Committed {
    /// The configured paths of the files that changed.
    pub fn changed(&self) -> &[PathBuf] {
        &self.changed
    }

    /// The hash of what each destination holds now.
    pub fn hashes(&self) -> &Hashes {
        &self.hashes
    }

    /// Where each destination is, behind all symlinks.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// What somebody else had changed and was replaced, where it was known what was put there before.
    pub fn drifted(&self) -> &[Drifted] {
        &self.drifted
    }

    /// The moment at which the last file was in place: a process that started after it has read them all.
    pub fn at(&self) -> BootTime {
        self.at
    }
}

/// Puts back what is in place already, the last first.
fn undo(placed: Vec<(File, Placed)>) -> Result<(), String> {
    let mut failures = Vec::new();
    let mut folders = Folders::default();
    for (file, placed) in placed.into_iter().rev() {
        folders.add(&placed, &file);
        if let Err(failure) = placed.undo() {
            failures.push(format!("`{}` could not be put back: {failure}", file.configured.display()));
        }
    }
    if let Err((file, error)) = folders.sync() {
        failures.push(format!("`{}` is back, but may be lost in a power cut: {error}", file.display()));
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("; ")) }
}

fn finish(target: &str, placed: Vec<(File, Placed)>) {
    let mut folders = Folders::default();
    for (file, placed) in placed {
        folders.add(&placed, &file);
        // Of a file that is removed there is nothing to go on with.
        let backup = (file.backup && file.hash.is_some()).then(|| file.destination.backup_name());
        if let Err(error) = placed.finish(backup.as_deref()) {
            let path = file.configured.display();
            tracing::error!(target, file = %path, %error, "the file that was there before could not be kept as a backup");
        }
    }
    if let Err((file, error)) = folders.sync() {
        tracing::error!(target, file = %file.display(), %error, "the file is in place, but may be lost in a power cut");
    }
}

/// The folders of a transaction, each once, with a file for messages.
#[derive(Default)]
struct Folders(Vec<(Arc<Folder>, PathBuf)>);

impl Folders {
    fn add(&mut self, placed: &Placed, file: &File) {
        let folder = placed.folder();
        if !self.0.iter().any(|(other, _)| other.path == folder.path) {
            self.0.push((Arc::clone(folder), file.configured.clone()));
        }
    }

    /// Makes the names in them last; gives the first failure.
    fn sync(self) -> Result<(), (PathBuf, std::io::Error)> {
        let sync = |(folder, file): (Arc<Folder>, PathBuf)| sync_folder(&folder).map_err(|error| (file, error));
        let synced: Vec<_> = self.0.into_iter().map(sync).collect();
        synced.into_iter().collect()
    }
}
