//! Remembers where every target stands, and the version of its files to go back to (SEMANTICS 7).
//!
//! One small file per target in the state folder says `unsettled`, or which hashes the process has confirmed, and which
//! it refused. It is replaced by a rename and not synced: a power cut restarts the process too. Whatever cannot be
//! understood counts as unsettled, which costs a reload at most. A folder that cannot be written, or whose disk does not
//! answer, degrades to what is held in memory, and is brought up to date once it can be used again.
//!
//! That a hanging disk is gone on without is a choice between two evils. Servers that are gone get traffic for as long as
//! files and reloads wait; what a crash may lose meanwhile is little. The next start reloads whatever is not in place as
//! its record says, so a reload is lost only where the data went somewhere and back while the disk hung, and the end
//! came before the second reload.

mod contents;
mod disk;
mod file;
mod health;
mod items;
mod key;
mod known;
mod lock;

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use rustix::fs::Stat;
use sha2::{Digest as _, Sha256};

use super::Hashes;
use super::refused::Refused;
use super::standing::{Bad, Judgement, Keyed, Owed, Process, Standing, Version};
use crate::protection::Protection;
pub(super) use contents::hash;
use disk::Disk;
use file::Earlier;
pub(super) use file::Saved;
pub use items::{Listed, Look};
use key::Key;
use known::{Book, Known};
pub use lock::{Held, Lock};

/// How long it is waited for a state folder at the start: what is not known then costs a reload of every process.
const AT_THE_START: Duration = Duration::from_secs(5);

/// The records of all targets, shared between their tasks. Each target has one task at a time.
#[derive(Debug)]
pub struct Records {
    book: Arc<Book>,
    /// The folder could not be used at the start: the life before may have noted nothing of its last reload.
    is_doubted: AtomicBool,
    disk: Disk,
}

/// Whether a content is in the state folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// It was.
    Before,
    /// It is now.
    Now,
    /// It is not, or nobody knows.
    No,
}

/// A destination as it is now.
#[derive(Debug)]
pub struct Live<'a> {
    /// Its configured path.
    pub(super) destination: &'a Path,
    /// The file that is there, open unless we may not read it; none where there is no file.
    pub(super) file: Option<(Stat, Option<&'a File>)>,
    /// Its content is not to be written anywhere else.
    pub(super) is_private: bool,
}

/// Files that a process confirmed, on their way into the record.
#[derive(Debug)]
#[must_use = "they are the version to go back to once they are confirmed"]
pub struct Settling<'r> {
    records: &'r Records,
    target: &'r str,
    hashes: &'r Hashes,
    /// With the plain hashes of their contents.
    earlier: Earlier,
    /// There may be contents that nothing needs any more.
    is_to_prune: bool,
}

/// What there was at a destination in the version to go back to.
#[derive(Debug)]
pub(super) enum Before {
    /// What is there now: we did not touch it since.
    AsNow,
    /// No file.
    Nothing,
    /// This file.
    File(Saved),
}

impl Records {
    /// Opens the records in `folder`, which is made with mode 0700 if it is missing. One that cannot be used is told in
    /// a warning, and everything is then remembered for the life of this process only.
    pub fn open(folder: &Path) -> Self {
        Self::open_within(AT_THE_START, folder)
    }

    fn open_within(patience: Duration, folder: &Path) -> Self {
        let book = Arc::new(Book::new(folder));
        let (behind, judged) = (book.clone(), book.clone());
        let disk = Disk::new(move || behind.catch_up(), move || judged.health.is_degraded());
        let records = Self { book, is_doubted: AtomicBool::new(false), disk };
        // What comes too late is not lost: the key that it finds is taken then.
        let book = records.book.clone();
        if let Err(error) = records.disk.run_within(patience, move || book.tend()) {
            records.doubt(&error);
        }
        records
    }

    /// Takes the state folder for this process. A folder that cannot be written cannot be locked either, and is nobody's
    /// until it can.
    pub fn lock(&self) -> Result<Lock, Held> {
        let (lock, book) = (Lock::new(self.book.seat.clone()), self.book.clone());
        let locked = self.disk.run_within(AT_THE_START, move || Ok(book.seat.take(&book.folder)));
        if let Some(error) = locked.unwrap_or_else(|error| Ok(Some(error)))? {
            self.doubt(&error);
        }
        Ok(lock)
    }

    /// Since when the disk of the state folder does not answer, where it does not: then files and reloads go on without it.
    pub fn hangs(&self) -> Option<SystemTime> {
        self.disk.hangs()
    }

    /// What is to be done with a render of `target` that gives these hashes. `terms` say how the files are looked at, and
    /// the process told of them.
    pub fn judge(&self, target: &str, rendered: &Hashes, terms: &str) -> Judgement {
        self.change(target, |known, key| match &mut known.standing {
            Some(standing) => standing.judge(&keyed(key, rendered), &key.of(terms)),
            None => Judgement::Wanted,
        })
    }

    /// What is owed to the process of `target`, whose destinations are to hold `hashes`; `unchanged` says that they all
    /// hold them already.
    pub fn owed(&self, target: &str, hashes: &Hashes, unchanged: bool) -> Owed {
        // Where nothing can be remembered a reload too many is better than one too few.
        let is_forgetful = self.book.health.is_degraded();
        self.look(target, |known, key| match &known.standing {
            Some(standing) => standing.owed(&keyed(key, hashes)),
            None if unchanged && !is_forgetful => Owed::Adopt,
            None => Owed::Owed,
        })
    }

    /// Files of `target` are about to be replaced. What is there is kept where it is not known yet how to go back to it,
    /// and from the first commit on a crash leaves a reload owed. Costs nothing when all that was done before.
    pub fn before_commit(&self, target: &str, replaced: &[Live<'_>]) {
        let kept: Vec<_> = replaced.iter().filter_map(|live| self.keep_unknown(target, live)).collect();
        self.change(target, |known, key| {
            known.standing.get_or_insert_default();
            for (destination, saved, held) in kept {
                let saved = saved.map(|saved| saved.keyed(key));
                known.held.extend(held.map(|held| (destination.clone(), held)));
                known.earlier.insert(destination, saved);
            }
        });
    }

    /// Marks `target` as unsettled before a reload. Gives what its process ran until now.
    pub fn begin(&self, target: &str) -> Process {
        self.change(target, |known, _| known.standing.get_or_insert_default().begin())
    }

    /// Notes that the process of `target` runs again what it ran `before` the reload that began last.
    pub fn take_back(&self, target: &str, before: Process) {
        self.change(target, |known, _| known.standing.get_or_insert_default().take_back(before));
    }

    /// The process of `target` runs the files of these hashes, which are in place: they are to become the version to go
    /// back to.
    pub fn settling<'r>(&'r self, target: &'r str, hashes: &'r Hashes) -> Settling<'r> {
        Settling { records: self, target, hashes, earlier: Earlier::new(), is_to_prune: false }
    }

    /// Notes that the process of `target` refuses these files under these terms, as `refused` says; `took` and `before` as
    /// for `Standing::refuse`.
    pub fn refuse(&self, target: &str, files: (&Hashes, &str), refused: Refused, took: bool, before: Process) {
        let (hashes, terms) = files;
        self.change(target, |known, key| {
            let bad = Bad { files: keyed(key, hashes), terms: Some(key.of(terms)), refused: Some(refused) };
            known.standing.get_or_insert_default().refuse(bad, took, before);
        });
    }

    /// Who refused the files that the process of `target` refused last, when and why, where that is known.
    pub fn refused(&self, target: &str) -> Option<Refused> {
        self.look(target, |known, _| {
            known.standing.as_ref().and_then(Standing::bad).and_then(|bad| bad.refused.clone())
        })
    }

    /// Which files of `target` those are that come back.
    pub fn version(&self, target: &str) -> Version {
        self.look(target, |known, _| known.standing.as_ref().map_or(Version::Found, Standing::version))
    }

    /// Whether the process of `target` is known to have run without the files that were not there in the version to go
    /// back to.
    pub(super) fn ran_earlier(&self, target: &str) -> bool {
        self.look(target, |known, _| known.standing.as_ref().is_none_or(Standing::ran_earlier))
    }

    /// Notes that the files in place are not wanted, although the process was not told of them.
    pub fn go_back(&self, target: &str) {
        self.change(target, |known, _| known.standing.get_or_insert_default().go_back());
    }

    /// Notes that the version to go back to is in place, with these hashes. Whether the process is to be told of it.
    pub fn went_back(&self, target: &str, hashes: &Hashes) -> bool {
        self.change(target, |known, key| known.standing.get_or_insert_default().went_back(keyed(key, hashes)))
    }

    /// Whether these are the files that the process of `target` refused last.
    pub fn is_refused(&self, target: &str, hashes: &Hashes) -> bool {
        self.look(target, |known, key| {
            known.standing.as_ref().and_then(Standing::bad).is_some_and(|bad| bad.files == keyed(key, hashes))
        })
    }

    /// Forgets what the process of `target` refused, so that it is tried again.
    pub fn forgive(&self, target: &str) {
        self.change(target, |known, _| {
            if let Some(standing) = &mut known.standing {
                standing.forgive();
            }
        });
    }

    /// What there was at a destination of `target` in the version to go back to.
    pub(super) fn before(&self, target: &str, destination: &Path) -> Before {
        self.look(target, |known, _| match known.earlier.get(&text(destination)) {
            None => Before::AsNow,
            Some(None) => Before::Nothing,
            Some(Some(saved)) => Before::File(saved.clone()),
        })
    }

    /// Whether a file has the content of an earlier one.
    pub(super) fn is_same(&self, saved: &Saved, file: &File) -> io::Result<bool> {
        Ok(self.book.all().key.of(&hash(file)?) == saved.hash)
    }

    /// The content of an earlier file, or why it is not there any more.
    pub(super) fn content(&self, target: &str, destination: &Path, saved: &Saved) -> io::Result<Arc<File>> {
        if let Some(held) = self.look(target, |known, _| known.held.get(&text(destination)).cloned()) {
            return Ok(held);
        }
        if !saved.kept {
            return Err(io::Error::new(io::ErrorKind::NotFound, "it was not kept"));
        }
        let (folder, name, key) = (self.contents(target), saved.hash.clone(), self.book.all().key);
        self.disk.run(move || contents::open(&folder, &name, |hash| key.of(hash))).map(Arc::new)
    }

    /// Keeps what a file holds under its hash in the state folder, unless that is there.
    fn keep(&self, target: &str, hash: &str, file: Option<&File>) -> Kept {
        let (folder, hash, file) = (self.contents(target), hash.to_owned(), file.map(File::try_clone).transpose());
        let keep = move |book: &Book| {
            book.tend()?;
            let key = book.all().key;
            let name = key.of(&hash);
            if contents::holds(&folder, &name) {
                return Ok(Kept::Before);
            }
            let Some(file) = file? else { return Ok(Kept::No) };
            let kept = contents::keep(&folder, &name, &file, |hash| key.of(hash))?;
            Ok(if kept { Kept::Now } else { Kept::No })
        };
        self.try_on_disk(keep).unwrap_or(Kept::No)
    }

    /// Keeps what is at a destination if nobody could go back to it otherwise: its path, what it is, and its content
    /// where that is held in memory.
    fn keep_unknown(&self, target: &str, live: &Live<'_>) -> Option<(String, Option<Saved>, Option<Arc<File>>)> {
        let destination = text(live.destination);
        let (known, is_held) = self
            .look(target, |known, _| (known.earlier.get(&destination).cloned(), known.held.contains_key(&destination)));
        let known = match known {
            Some(None) => return None,
            Some(Some(saved)) if is_held || saved.kept && self.holds(target, &saved.hash) => return None,
            Some(Some(saved)) => Some(saved),
            None => None,
        };
        let Some((stat, file)) = &live.file else { return Some((destination, None, None)) };
        let hash = (*file).ok_or_else(|| io::Error::from(io::ErrorKind::PermissionDenied)).and_then(hash);
        // Something else than what is to be kept has come into its place: that is no version to go back to.
        if known.is_some_and(|saved| hash.as_ref().is_ok_and(|hash| self.book.all().key.of(hash) != saved.hash)) {
            return None;
        }
        let kept = match (&hash, file) {
            (Ok(hash), Some(file)) if !live.is_private => self.keep(target, hash, Some(file)) != Kept::No,
            _ => false,
        };
        let held = match (&hash, file) {
            (Ok(_), Some(file)) if !kept => contents::hold(file).map(|held| Some(Arc::new(held))),
            (Err(error), _) => Err(io::Error::new(error.kind(), error.to_string())),
            _ => Ok(None),
        };
        let held = held.unwrap_or_else(|error| {
            tracing::warn!(target, file = %live.destination.display(), %error, "the file is replaced, and not kept");
            None
        });
        Some((destination, Some(Saved::of(stat, hash.unwrap_or_default(), kept)), held))
    }

    /// Whether this content is in the state folder.
    fn holds(&self, target: &str, hash: &str) -> bool {
        let (folder, name) = (self.contents(target), hash.to_owned());
        self.try_on_disk(move |_| Ok(contents::holds(&folder, &name))).unwrap_or_default()
    }

    /// Does something in the state folder; none where it could not be done, which is told.
    fn try_on_disk<T: Send + 'static>(&self, work: impl FnOnce(&Book) -> io::Result<T> + Send + 'static) -> Option<T> {
        let book = self.book.clone();
        self.disk.run(move || work(&book)).inspect_err(|error| self.book.health.degrade(error)).ok()
    }

    /// Has the files of a target say what is known of it.
    fn write(&self, target: &str) {
        let target = target.to_owned();
        self.try_on_disk(move |book| book.write(&target));
    }

    /// The folder could not be used at the start.
    fn doubt(&self, error: &io::Error) {
        self.book.health.degrade(error);
        self.is_doubted.store(true, Ordering::Relaxed);
    }

    /// Looks at what is known of a target.
    fn look<T>(&self, target: &str, look: impl FnOnce(&Known, Key) -> T) -> T {
        self.load(target);
        let mut all = self.book.all();
        let key = all.key;
        look(all.targets.entry(target.to_owned()).or_default(), key)
    }

    /// Changes what is known of a target, and its record unless that says the same already. Nobody else is kept waiting
    /// while that is written.
    fn change<T>(&self, target: &str, change: impl FnOnce(&mut Known, Key) -> T) -> T {
        self.load(target);
        let (changed, is_unwritten) = {
            let mut all = self.book.all();
            let key = all.key;
            let known = all.targets.entry(target.to_owned()).or_default();
            (change(known, key), known.unwritten(target).is_some())
        };
        if is_unwritten {
            self.write(target);
        }
        changed
    }

    /// Reads the record of a target, once.
    fn load(&self, target: &str) {
        if self.book.all().targets.contains_key(target) {
            return;
        }
        let (path, name) = (known::record_of(&self.book.folder, target), target.to_owned());
        let read = self.disk.run(move || Ok(file::read(&path, &name))).unwrap_or_else(|error| {
            self.book.health.degrade(&error);
            // Nobody knows what it says.
            Some((Standing::unsettled(None, None), None))
        });
        let read = read.filter(|_| !Protection::Owed.is_off());
        let (mut standing, written) = read.map_or((None, None), |(standing, record)| (Some(standing), record));
        // Where nothing can be written the life before may have noted nothing of its last reload either.
        if self.is_doubted.load(Ordering::Relaxed) || self.book.health.is_degraded() {
            standing = standing.map(Standing::doubted);
        }
        let earlier = written.as_ref().map(|record| record.earlier.clone()).unwrap_or_default();
        let known = Known { standing, earlier, written, ..Known::default() };
        self.book.all().targets.entry(target.to_owned()).or_insert(known);
    }

    fn contents(&self, target: &str) -> PathBuf {
        self.book.folder.join(format!("{}.earlier", file::encode(target)))
    }
}

impl Settling<'_> {
    /// Keeps what is at one of the destinations, as far as it may and can be kept.
    pub fn keep(&mut self, live: &Live<'_>) {
        let (records, destination) = (self.records, text(live.destination));
        // What has become private was perhaps kept before.
        self.is_to_prune |= live.is_private;
        let (Some(hash), Some((stat, file))) = (self.hashes.get(live.destination), &live.file) else { return };
        // Somebody may have edited it since; then there is nothing to keep under this hash.
        let kept = if live.is_private { Kept::No } else { records.keep(self.target, hash, *file) };
        self.is_to_prune |= kept == Kept::Now;
        self.earlier.insert(destination, Some(Saved::of(stat, hash.clone(), kept != Kept::No)));
    }

    /// There is nothing to go back to.
    pub fn keep_nothing(&mut self) {
        (self.earlier, self.is_to_prune) = (Earlier::new(), false);
    }

    /// Notes that the process runs them.
    pub fn confirm(self) {
        let Self { records, target, hashes, earlier, is_to_prune } = self;
        let needed: HashSet<String> = records.change(target, |known, key| {
            known.standing.get_or_insert_default().confirm(keyed(key, hashes));
            known.earlier =
                earlier.into_iter().map(|(path, saved)| (path, saved.map(|saved| saved.keyed(key)))).collect();
            known.held.clear();
            known.earlier.values().flatten().filter(|saved| saved.kept).map(|saved| saved.hash.clone()).collect()
        });
        if is_to_prune {
            let folder = records.contents(target);
            if let Err(error) = records.disk.run(move || contents::prune(&folder, |name| needed.contains(name))) {
                tracing::debug!(target, %error, "cannot remove earlier versions from the state folder");
            }
        }
    }
}

impl Saved {
    /// Whether its content is in the state folder.
    pub(super) fn is_kept(&self) -> bool {
        self.kept
    }

    /// The same with its hash in the form in which it is kept.
    fn keyed(self, key: Key) -> Self {
        Self { hash: key.of(&self.hash), ..self }
    }

    fn of(stat: &Stat, hash: String, kept: bool) -> Self {
        Self { hash, mode: stat.st_mode & 0o7777, user: stat.st_uid, group: stat.st_gid, kept }
    }
}

/// A hash as it is written, so that it tells nothing to whoever has no key.
fn keyed_hash(key: [u8; 32], hash: &str) -> String {
    format!("{:x}", Sha256::new().chain_update(key).chain_update(hash).finalize())
}

/// Hashes in the form in which they are kept.
fn keyed(key: Key, hashes: &Hashes) -> Keyed {
    hashes.iter().map(|(path, hash)| (text(path), key.of(hash))).collect()
}

/// A path as it is written in a record.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
