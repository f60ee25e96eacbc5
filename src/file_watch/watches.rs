//! The folders that the kernel watches for us, through the crate `notify`.

use std::collections::HashMap;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use notify::{Config, ErrorKind, INotifyWatcher, RecursiveMode, Watcher};

use super::told::{Folders, Told};

/// An inotify instance with the folders that it watches.
#[derive(Debug)]
pub(super) struct Watches {
    watcher: INotifyWatcher,
    told: Arc<Told>,
    /// A folder that is among them is not added again: that would wait until `notify` has read the events of a busy one.
    watched: HashMap<PathBuf, Watched>,
}

/// A watched folder.
#[derive(Debug)]
struct Watched {
    identity: Identity,
    since: u64,
}

/// Tells a folder from another in its place: device, inode, and when it was made, as inode numbers are used again.
#[derive(Debug, PartialEq, Eq)]
struct Identity(u64, u64, Option<SystemTime>);

impl Identity {
    /// Nothing if there is no such folder.
    fn of(folder: &Path) -> Option<Self> {
        let metadata = folder.symlink_metadata().ok().filter(Metadata::is_dir)?;
        Some(Self(metadata.dev(), metadata.ino(), metadata.created().ok()))
    }
}

impl Watches {
    /// Watches nothing yet; what happens is told to `told`.
    pub(super) fn open(told: Arc<Told>) -> notify::Result<Self> {
        let ear = told.clone();
        let mut watcher = INotifyWatcher::new(move |event| ear.hear(event), Config::default())?;
        if let Err(error) = watcher.configure(Config::default()) {
            // There was no thread left for it. Everything else that it can do, being dropped too, would panic.
            std::mem::forget(watcher);
            return Err(error);
        }
        Ok(Self { watcher, told, watched: HashMap::new() })
    }

    /// Watches a folder, and gives the turn since which it is watched, which is this one if it is so only now. Nothing if
    /// there is no such folder.
    pub(super) fn watch(&mut self, folder: &Path, turn: u64) -> notify::Result<Option<u64>> {
        for lost in self.told.take_lost() {
            self.forget(&lost);
        }
        let Some(identity) = Identity::of(folder) else { return Ok(None) };
        match self.watched.get(folder) {
            Some(known) if known.identity == identity => return Ok(Some(known.since)),
            Some(_) => self.forget(folder),
            None => {}
        }
        match self.watcher.watch(folder, RecursiveMode::NonRecursive) {
            Ok(()) => {}
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
        let is_same = Identity::of(folder).as_ref() == Some(&identity);
        self.watched.insert(folder.to_owned(), Watched { identity, since: turn });
        if !is_same {
            self.forget(folder);
        }
        Ok(is_same.then_some(turn))
    }

    /// Watches only these any longer.
    pub(super) fn keep(&mut self, folders: &Folders) {
        let others: Vec<_> = self.watched.keys().filter(|folder| !folders.contains_key(*folder)).cloned().collect();
        for folder in others {
            self.forget(&folder);
        }
    }

    /// Which of the watched folders is opened to hear whether everything is told.
    pub(super) fn any(&self) -> Option<PathBuf> {
        self.watched.keys().next().cloned()
    }

    fn forget(&mut self, folder: &Path) {
        self.watched.remove(folder);
        // Fails for a folder that is gone, whose watch is gone with it.
        let _ = self.watcher.unwatch(folder);
    }
}

fn is_missing(error: &notify::Error) -> bool {
    match &error.kind {
        ErrorKind::PathNotFound => true,
        ErrorKind::Io(error) => matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
        _ => false,
    }
}
