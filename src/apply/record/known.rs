//! What is known of every target, as it stands in memory. The files of the state folder follow it.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::file::{self, Earlier, Record};
use super::health::Health;
use super::items;
use crate::apply::standing::Standing;

/// What is known of all targets, by their names.
#[derive(Debug, Default)]
pub(super) struct AllKnown(Mutex<HashMap<String, Known>>);

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
    /// The files of items that were written, where that is known.
    pub(super) items: Option<items::Items>,
    /// Their file says something else.
    pub(super) are_items_unwritten: bool,
}

impl AllKnown {
    /// A panic elsewhere leaves whole values behind: every change under the lock is one step.
    pub(super) fn all(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes everything that was not written while the disk did not answer.
    pub(super) fn catch_up(&self, folder: &Path, health: &Health) {
        let unwritten: Vec<_> = {
            let all = self.all();
            let of = |(target, known): (&String, &Known)| {
                let items = known.items.clone().filter(|_| known.are_items_unwritten);
                (target.clone(), known.unwritten(target), items)
            };
            all.iter().map(of).filter(|(_, record, items)| record.is_some() || items.is_some()).collect()
        };
        let mut failed = None;
        for (target, record, items) in unwritten {
            let written = record.map(|record| file::write(&record_of(folder, &target), &record).map(|()| record));
            let kept = items.map(|items| items::write(&items::place(folder, &target), &items).map(|()| items));
            let mut all = self.all();
            let Some(known) = all.get_mut(&target) else { continue };
            match written.transpose() {
                Ok(record) => known.written = record.or(known.written.take()),
                Err(error) => failed = Some(error),
            }
            match kept.transpose() {
                Ok(items) => known.are_items_unwritten &= items.is_none() || known.items != items,
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) => health.degrade(&error),
            None => health.recover(),
        }
    }
}

impl Known {
    /// The record that its file does not hold yet, as far as that is known.
    pub(super) fn unwritten(&self, target: &str) -> Option<Record> {
        let record = Record::of(target, self.standing.as_ref()?, &self.earlier);
        (self.written.as_ref() != Some(&record)).then_some(record)
    }
}

/// Where the record of a target is.
pub(super) fn record_of(folder: &Path, target: &str) -> PathBuf {
    folder.join(format!("{}.json", file::encode(target)))
}
