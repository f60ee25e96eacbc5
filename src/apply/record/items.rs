//! Which files of items (`for_each`) we have written, so that those whose item is gone can be told from anybody else's.
//!
//! One small file per target says so. A file is listed before it is written, and until the process runs without it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use super::{Records, file};

impl Records {
    /// The files of items of `target` that we may have written.
    pub fn items(&self, target: &str) -> BTreeSet<PathBuf> {
        self.change_items(target, |_| {})
    }

    /// Notes that these files of items of `target` are about to be written.
    pub fn add_items(&self, target: &str, files: impl IntoIterator<Item = PathBuf>) {
        self.change_items(target, |items| items.extend(files));
    }

    /// Notes that of the files of items of `target` only these are left.
    pub fn keep_items(&self, target: &str, files: BTreeSet<PathBuf>) {
        self.change_items(target, |items| *items = files);
    }

    fn change_items(&self, target: &str, change: impl FnOnce(&mut BTreeSet<PathBuf>)) -> BTreeSet<PathBuf> {
        let path = self.folder.join(format!("{}.items", file::encode(target)));
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
fn read(path: &Path, target: &str) -> BTreeSet<PathBuf> {
    let read = fs::read(path).and_then(|bytes| Ok(serde_json::from_slice(&bytes)?));
    read.unwrap_or_else(|error| {
        if error.kind() != io::ErrorKind::NotFound {
            let file = path.display();
            tracing::warn!(target, %file, %error, "cannot read which files were written: those of items that are gone stay");
        }
        BTreeSet::new()
    })
}

fn write(path: &Path, items: &BTreeSet<PathBuf>) -> io::Result<()> {
    if items.is_empty() {
        return match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    file::replace(path, &serde_json::to_vec(items)?)
}
