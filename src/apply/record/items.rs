//! Which files of items (`for_each`) we have written, so that those whose item is gone can be told from anybody else's.
//!
//! One small file per target says so, with a keyed hash of what was written. A file is listed before it is written, and
//! until the process runs without it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use super::{Records, file, hash};
use crate::apply::Hashes;

/// The keyed hashes of what a file of ours may hold, by its configured path: until the process has confirmed the newest,
/// also those of before.
pub(super) type Items = BTreeMap<PathBuf, BTreeSet<String>>;

impl Records {
    /// The files of items of `target` that we may have written.
    pub fn items(&self, target: &str) -> BTreeSet<PathBuf> {
        self.change_items(target, |_| {}).into_keys().collect()
    }

    /// Whether a file of an item of `target` holds what we wrote.
    pub fn is_our_item(&self, target: &str, path: &Path) -> io::Result<bool> {
        let found = self.keyed_hash(&hash(&File::open(path)?)?);
        Ok(self.change_items(target, |_| {}).get(path).is_some_and(|ours| ours.contains(&found)))
    }

    /// Notes that these files of items of `target` are about to be written, with these hashes.
    pub fn add_items(&self, target: &str, files: Hashes) {
        let add = |items: &mut Items| {
            for (path, hash) in files {
                items.entry(path).or_default().insert(self.keyed_hash(&hash));
            }
        };
        self.change_items(target, add);
    }

    /// Notes that of the files of items of `target` these are there for good, with these hashes; of the others only those
    /// that `stay` are ours any longer.
    pub fn keep_items(&self, target: &str, there: &Hashes, stay: impl Fn(&Path) -> bool) {
        let keep = |items: &mut Items| {
            items.retain(|path, ours| match there.get(path) {
                Some(hash) => {
                    let hash = self.keyed_hash(hash);
                    ours.retain(|other| *other == hash);
                    !ours.is_empty()
                }
                None => stay(path),
            });
        };
        self.change_items(target, keep);
    }

    /// Notes that a file is not ours any more.
    pub fn forget_item(&self, target: &str, path: &Path) {
        self.change_items(target, |items| _ = items.remove(path));
    }

    fn change_items(&self, target: &str, change: impl FnOnce(&mut Items)) -> Items {
        let path = self.folder.join(format!("{}.items", file::encode(target)));
        let _under_way = self.work.begin();
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.load(&mut all, target);
        let before = known.items.take().unwrap_or_else(|| read(&path, target));
        let mut items = before.clone();
        change(&mut items);
        known.items = Some(items.clone());
        if items != before {
            self.used(write(&path, &items));
        }
        items
    }
}

/// What the file says. Where it says nothing that can be understood, nobody's file is removed.
fn read(path: &Path, target: &str) -> Items {
    let read = fs::read(path).and_then(|bytes| Ok(serde_json::from_slice(&bytes)?));
    read.unwrap_or_else(|error| {
        if error.kind() != io::ErrorKind::NotFound {
            let file = path.display();
            tracing::warn!(target, %file, %error, "cannot read which files were written: those of items that are gone stay");
        }
        Items::new()
    })
}

fn write(path: &Path, items: &Items) -> io::Result<()> {
    if items.is_empty() {
        return match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    file::replace(path, &serde_json::to_vec(items)?)
}
