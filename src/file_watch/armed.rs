//! What is followed at a moment: paths, what they lead to, and the folders that are watched for them.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tokio::time::Instant;

use super::GRACE;
use super::inotify;
use super::route::{self, Print, Step};

/// How often the way to a file may change while its folders are being watched, before it is tried again later.
const MAX_ROUNDS: usize = 10;

/// Stands for a folder that is not watched; the kernel counts from 1.
const NO_FOLDER: i32 = 0;

/// A set of paths with the folders that are watched for them. A new one is made of it after each change.
#[derive(Debug, Default)]
pub(super) struct Armed {
    folders: HashMap<i32, Folder>,
    paths: BTreeMap<PathBuf, Followed>,
    /// Names that may not be at rest, and since when.
    pub(super) unsettled: Vec<((i32, OsString), Instant)>,
    /// Why not everything is watched, if so.
    pub(super) problem: Option<String>,
}

/// A followed path.
#[derive(Debug)]
struct Followed {
    /// The last step on its way: the file, or what is missing.
    end: Option<Step>,
    /// What it leads to.
    print: Print,
    /// Since when it leads to nothing, if it led to something before.
    away: Option<Instant>,
}

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    /// The names that are steps on the way to a followed path.
    names: Vec<OsString>,
    /// Whether the folder itself is followed.
    all: bool,
}

impl Armed {
    /// Watches the folders on the way to `paths` and no longer those of `before` that are not among them.
    pub(super) fn new(descriptor: Option<&OwnedFd>, paths: &[PathBuf], before: &Self) -> Self {
        let mut watched: Vec<i32> = before.folders.keys().copied().collect();
        let mut steps = all_steps(paths);
        let (mut armed, mut prints, mut stable) = (Self::default(), Vec::new(), false);
        for _ in 0..MAX_ROUNDS {
            armed = Self::default();
            let mut complete = true;
            if let Some(descriptor) = descriptor {
                for step in steps.iter().flatten() {
                    complete &= armed.watch(descriptor, step);
                }
            }
            watched.extend(armed.folders.keys());
            prints = route::prints(paths);
            // Only what was there to be watched, and leads the same way before and after, is watched for sure.
            let now = all_steps(paths);
            stable = complete && now == steps;
            if stable {
                break;
            }
            steps = now;
        }
        if !stable {
            // Tried again after the grace.
            armed.unsettled.push(((NO_FOLDER, OsString::new()), Instant::now()));
        }
        if let Some(descriptor) = descriptor {
            for folder in watched.into_iter().filter(|folder| !armed.folders.contains_key(folder)) {
                inotify::forget(descriptor, folder);
            }
        }
        for ((path, mut steps), print) in paths.iter().zip(steps).zip(prints) {
            armed.add(path, steps.pop(), print, before.paths.get(path));
        }
        armed.note_fresh(before);
        armed
    }

    /// Adds a path. One that led to something and now does not is unsettled: whoever took it away may be about to put
    /// something else there. If it at least leads further than before, he is at it.
    fn add(&mut self, path: &Path, end: Option<Step>, print: Print, before: Option<&Followed>) {
        let away = match (&print, before) {
            (Print::There { .. }, _) | (Print::Away(_), None) => None,
            (Print::Away(_), Some(before)) if matches!(before.print, Print::There { .. }) => Some(Instant::now()),
            (Print::Away(_), Some(before)) => {
                before.away.map(|since| if before.end == end { since } else { Instant::now() })
            }
        };
        if let (Some(since), Some(Step { folder, name: Some(name) })) = (away, &end) {
            let number = self.folders.iter().find(|(_, known)| known.path == *folder).map(|(number, _)| *number);
            self.unsettled.push(((number.unwrap_or(NO_FOLDER), name.clone()), since));
        }
        self.paths.insert(path.to_owned(), Followed { end, print, away });
    }

    /// Files whose writer may be at work, though the kernel did not tell: those that were not followed until now, and
    /// empty ones, as a file system may take milliseconds between cutting a file and telling of it.
    fn note_fresh(&mut self, before: &Self) {
        for (number, folder) in &self.folders {
            let known = before.folders.get(number).map_or(&[][..], |old| &old.names);
            for name in &folder.names {
                let Ok(metadata) = folder.path.join(name).symlink_metadata() else { continue };
                let suspect = metadata.is_file() && (metadata.len() == 0 || !known.contains(name));
                if suspect && route::is_younger(&metadata, GRACE) {
                    self.unsettled.push(((*number, name.clone()), Instant::now()));
                }
            }
        }
    }

    /// Whether the paths look the same as when this was made; `prints` are in the order of the paths.
    pub(super) fn looks_like(&self, prints: &[Print]) -> bool {
        self.paths.values().map(|path| &path.print).eq(prints)
    }

    /// Whether it matters what happens to a name. `matters` says so for names in a followed folder.
    pub(super) fn matters(&self, folder: i32, name: &OsStr, matters: fn(&OsStr) -> bool) -> bool {
        self.folders
            .get(&folder)
            .is_some_and(|folder| folder.names.iter().any(|known| known == name) || (folder.all && matters(name)))
    }

    /// Whether a new name is not about to be written: a symlink, or a further link to a file that was there before.
    pub(super) fn is_whole_when_created(&self, folder: i32, name: &OsStr) -> bool {
        let metadata = self.folders.get(&folder).map(|folder| folder.path.join(name).symlink_metadata());
        matches!(metadata, Some(Ok(metadata)) if !metadata.is_file() || metadata.nlink() > 1)
    }

    /// Whether a folder is watched.
    pub(super) fn knows(&self, folder: i32) -> bool {
        self.folders.contains_key(&folder)
    }

    /// Watches the folder of a step, unless it went away.
    fn watch(&mut self, descriptor: &OwnedFd, step: &Step) -> bool {
        match inotify::watch(descriptor, &step.folder) {
            Ok(Some(number)) => {
                let new = || Folder { path: step.folder.clone(), names: Vec::new(), all: false };
                let folder = self.folders.entry(number).or_insert_with(new);
                match &step.name {
                    Some(name) => folder.names.push(name.clone()),
                    None => folder.all = true,
                }
            }
            Ok(None) => return false,
            Err(error) => self.problem = Some(format!("cannot watch `{}`: {error}", step.folder.display())),
        }
        true
    }
}

fn all_steps(paths: &[PathBuf]) -> Vec<Vec<Step>> {
    paths.iter().map(|path| route::steps(path)).collect()
}
