//! What is known of every target, as it stands in memory. The files of the state folder follow it.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::file::{self, Earlier, Record};
use super::health::Health;
use super::items::{self, Items};
use super::key::Key;
use super::lock::Seat;
use crate::apply::standing::Standing;

/// What is known, and the folder that is to say the same. What touches the folder runs on the thread of its disk.
#[derive(Debug)]
pub(super) struct Book {
    pub(super) folder: PathBuf,
    pub(super) health: Health,
    /// The lock of the folder.
    pub(super) seat: Arc<Seat>,
    all: Mutex<All>,
}

/// What is known of all targets, by their names.
#[derive(Debug, Default)]
pub(super) struct All {
    pub(super) key: Key,
    pub(super) targets: HashMap<String, Known>,
}

/// What is known of one target.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// None when nothing is.
    pub(super) standing: Option<Standing>,
    /// The version to go back to.
    pub(super) earlier: Earlier,
    /// The contents of it that are held in memory, by destination.
    pub(super) held: BTreeMap<String, Arc<File>>,
    /// What the file says, where that is known.
    pub(super) written: Option<Record>,
    /// The files of items that were written, as far as that is known.
    pub(super) items: Items,
    /// What their file says of an earlier life is among them.
    pub(super) are_items_read: bool,
    /// Their file says something else.
    pub(super) are_items_unwritten: bool,
}

impl Book {
    /// Of a folder that was not looked at yet.
    pub(super) fn new(folder: &Path) -> Self {
        let (health, seat) = (Health::new(folder), Arc::default());
        Self { folder: folder.to_owned(), health, seat, all: Mutex::default() }
    }

    /// A panic elsewhere leaves whole values behind: every change under the lock is one step.
    pub(super) fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the folder what is needed before anything is written there. What is new or lost in it is made, locked and
    /// keyed, and one that is back is brought up to date.
    pub(super) fn tend(&self) -> io::Result<()> {
        file::prepare(&self.folder)?;
        self.seat.keep(&self.folder)?;
        let ours = self.all().key;
        let (key, was_there) = file::key(&self.folder, ours)?;
        {
            let mut all = self.all();
            if ours.0.is_none() {
                all.take_key(key);
            }
            if !was_there {
                all.targets.values_mut().for_each(Known::lose_files);
            }
        }
        if was_there && !self.health.is_degraded() { Ok(()) } else { self.write_all() }
    }

    /// Writes everything that was not written while the folder could not be used.
    pub(super) fn catch_up(&self) {
        if let Err(error) = self.tend() {
            self.health.degrade(&error);
        }
    }

    /// Writes what the files of a target do not say yet.
    pub(super) fn write(&self, target: &str) -> io::Result<()> {
        self.tend()?;
        self.write_record(target).and(self.write_items(target))
    }

    /// Reads which files of items of a target an earlier life has written, unless that is known.
    pub(super) fn read_items(&self, target: &str) -> io::Result<()> {
        if self.all().targets.get(target).is_none_or(|known| known.are_items_read) {
            return Ok(());
        }
        let read = items::read(&items::place(&self.folder, target), target)?;
        if let Some(known) = self.all().targets.get_mut(target)
            && !std::mem::replace(&mut known.are_items_read, true)
        {
            for (path, mut ours) in read {
                known.items.entry(path).or_default().append(&mut ours);
            }
        }
        Ok(())
    }

    /// Everything, and only then the folder can be used again.
    fn write_all(&self) -> io::Result<()> {
        let probe = self.folder.join("probe");
        file::replace(&probe, b"\n")?;
        fs::remove_file(&probe)?;
        let targets: Vec<_> = self.all().targets.keys().cloned().collect();
        for target in targets {
            self.write_record(&target)?;
            self.write_items(&target)?;
        }
        self.health.recover();
        Ok(())
    }

    fn write_record(&self, target: &str) -> io::Result<()> {
        let unwritten = self.all().targets.get(target).and_then(|known| known.unwritten(target));
        let Some(record) = unwritten else { return Ok(()) };
        let written = file::write(&record_of(&self.folder, target), &record);
        if let Some(known) = self.all().targets.get_mut(target) {
            known.written = written.is_ok().then_some(record);
        }
        written
    }

    fn write_items(&self, target: &str) -> io::Result<()> {
        if self.all().targets.get(target).is_none_or(|known| !known.are_items_unwritten) {
            return Ok(());
        }
        self.read_items(target)?;
        let Some(items) = self.all().targets.get(target).map(|known| known.items.clone()) else { return Ok(()) };
        items::write(&items::place(&self.folder, target), &items)?;
        if let Some(known) = self.all().targets.get_mut(target) {
            known.are_items_unwritten = known.items != items;
        }
        Ok(())
    }
}

impl All {
    /// The key is known from now on, and what was kept before is keyed with it.
    fn take_key(&mut self, key: [u8; 32]) {
        self.key = Key(Some(key));
        let key = self.key;
        for known in self.targets.values_mut() {
            if let Some(standing) = &mut known.standing {
                standing.each_hash(|hash| key.apply_to(hash));
            }
            known.earlier.values_mut().flatten().for_each(|saved| key.apply_to(&mut saved.hash));
            for ours in known.items.values_mut() {
                *ours = std::mem::take(ours).into_iter().map(|mut hash| (key.apply_to(&mut hash), hash).1).collect();
            }
        }
    }
}

impl Known {
    /// The record that its file does not hold yet, as far as that is known.
    pub(super) fn unwritten(&self, target: &str) -> Option<Record> {
        let record = Record::of(target, self.standing.as_ref()?, &self.earlier);
        (self.written.as_ref() != Some(&record)).then_some(record)
    }

    /// Its files are gone, and are to be written anew.
    fn lose_files(&mut self) {
        self.written = None;
        self.are_items_unwritten |= !self.items.is_empty();
    }
}

/// Where the record of a target is.
pub(super) fn record_of(folder: &Path, target: &str) -> PathBuf {
    folder.join(format!("{}.json", file::encode(target)))
}
