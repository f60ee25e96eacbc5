//! Which files of items (`for_each`) we have written, so that those whose item is gone can be told from anybody else's.
//!
//! One small file per target says so, with a keyed hash of what was written. A file is listed before it is written, and
//! until the process runs without it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::key::Key;
use super::{Records, file, hash};
use crate::apply::Hashes;

/// The keyed hashes of what a file of ours may hold, by its configured path: until the process has confirmed the newest,
/// also those of before.
pub(super) type Items = BTreeMap<PathBuf, BTreeSet<String>>;

/// The files of items of one target that we may have written, as they are listed now.
#[derive(Debug, Default)]
pub struct Listed {
    key: Key,
    items: Items,
}

/// What is at the place of a listed file.
#[derive(Debug)]
pub enum Look {
    /// What we wrote.
    Ours,
    /// Nothing.
    Nothing,
    /// Something else.
    Other,
    /// Its folder is away; the file may be in it.
    Away,
}

impl Listed {
    /// Reads what the state folder lists of `target`, and touches nothing. Where there is no folder nothing is listed.
    pub fn read(folder: &Path, target: &str) -> io::Result<Self> {
        let found = |read: io::Result<Vec<u8>>| match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        };
        let (items, key) = (found(fs::read(place(folder, target)))?, found(fs::read(folder.join("key")))?);
        match (items, key.map(<[u8; 32]>::try_from)) {
            (Some(items), Some(Ok(key))) => Ok(Self { key: Key(Some(key)), items: serde_json::from_slice(&items)? }),
            // Without the key nothing is known again.
            _ => Ok(Self::default()),
        }
    }

    /// The configured paths of the files.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.items.keys().map(PathBuf::as_path)
    }

    /// Looks at what is there in the place of one of the files.
    pub fn look(&self, path: &Path) -> io::Result<Look> {
        let found = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(if path.parent().is_some_and(Path::is_dir) { Look::Nothing } else { Look::Away });
            }
            found => found?,
        };
        if !found.is_file() {
            return Ok(Look::Other);
        }
        let found = self.key.of(&hash(&File::open(path)?)?);
        let is_ours = self.items.get(path).is_some_and(|ours| ours.contains(&found));
        Ok(if is_ours { Look::Ours } else { Look::Other })
    }
}

impl Records {
    /// The files of items of `target` that we may have written.
    pub fn listed(&self, target: &str) -> Listed {
        self.change_items(target, |_, _| {})
    }

    /// Notes that these files of items of `target` are about to be written, with these hashes.
    pub fn add_items(&self, target: &str, files: Hashes) {
        let add = |items: &mut Items, key: Key| {
            for (path, hash) in files {
                items.entry(path).or_default().insert(key.of(&hash));
            }
        };
        self.change_items(target, add);
    }

    /// Notes that of the files of items of `target` these are there for good, with these hashes; of the others only those
    /// that `stay` are ours any longer.
    pub fn keep_items(&self, target: &str, there: &Hashes, stay: impl Fn(&Path) -> bool) {
        let keep = |items: &mut Items, key: Key| {
            items.retain(|path, ours| match there.get(path) {
                Some(hash) => {
                    let hash = key.of(hash);
                    ours.retain(|other| *other == hash);
                    !ours.is_empty()
                }
                None => stay(path),
            });
        };
        self.change_items(target, keep);
    }

    /// Notes that files are not ours any more.
    pub fn forget_items(&self, target: &str, files: &BTreeSet<PathBuf>) {
        if !files.is_empty() {
            self.change_items(target, |items, _| items.retain(|path, _| !files.contains(path)));
        }
    }

    /// What cannot be read now is read later, and then added to what is noted meanwhile.
    fn change_items(&self, target: &str, change: impl FnOnce(&mut Items, Key)) -> Listed {
        self.load(target);
        if self.book.all().targets.get(target).is_some_and(|known| !known.are_items_read) {
            let name = target.to_owned();
            self.try_on_disk(move |book| book.read_items(&name));
        }
        let (listed, is_unwritten) = {
            let mut all = self.book.all();
            let key = all.key;
            let known = all.targets.entry(target.to_owned()).or_default();
            let before = known.items.clone();
            change(&mut known.items, key);
            let is_other = known.items != before;
            known.are_items_unwritten |= is_other;
            (Listed { key, items: known.items.clone() }, is_other)
        };
        if is_unwritten {
            self.write(target);
        }
        listed
    }
}

/// The file of a target.
pub(super) fn place(folder: &Path, target: &str) -> PathBuf {
    folder.join(format!("{}.items", file::encode(target)))
}

/// What the file says. Where it says nothing that can be understood, nobody's file is removed.
pub(super) fn read(path: &Path, target: &str) -> io::Result<Items> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Items::new()),
        read => read?,
    };
    Ok(serde_json::from_slice(&bytes).unwrap_or_else(|error| {
        let file = path.display();
        tracing::warn!(target, %file, %error, "cannot read which files were written: those of items that are gone stay");
        Items::new()
    }))
}

/// Replaces that file.
pub(super) fn write(path: &Path, items: &Items) -> io::Result<()> {
    if items.is_empty() {
        return match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    file::replace(path, &serde_json::to_vec(items)?)
}
