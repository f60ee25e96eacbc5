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
mod known;
mod lock;

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
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
use health::Health;
pub use items::{Listed, Look};
use known::{AllKnown, Known};
pub use lock::{Held, Lock};

/// How long it is waited for a state folder at the start: what is not known then costs a reload of every process.
const AT_THE_START: Duration = Duration::from_secs(5);

/// The records of all targets, shared between their tasks. Each target has one task at a time.
#[derive(Debug)]
pub struct Records {
    folder: PathBuf,
    /// Mixed into every hash that is written, so that a record tells nothing about a secret file to whoever has the
    /// record alone.
    key: [u8; 32],
    known: Arc<AllKnown>,
    health: Arc<Health>,
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
    hashes: Keyed,
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
        let (health, known) = (Arc::new(Health::new(folder)), Arc::new(AllKnown::default()));
        let (at, is_well, all) = (folder.to_owned(), health.clone(), known.clone());
        let disk = Disk::new(move || all.catch_up(&at, &is_well));
        let mut records = Self { folder: folder.to_owned(), key: rand::random(), known, health, disk };
        let (at, new) = (folder.to_owned(), records.key);
        let prepare = move || file::prepare(&at).and_then(|()| file::key(&at, new));
        match records.disk.run_within(AT_THE_START, prepare) {
            Ok(key) => records.key = key,
            Err(error) => records.health.degrade(&error),
        }
        records
    }

    /// Takes the state folder for this process. A folder that cannot be written cannot be locked either, and is nobody's.
    pub fn lock(&self) -> Result<Lock, Held> {
        let folder = self.folder.clone();
        let locked = self.disk.run_within(AT_THE_START, move || Ok(lock::lock(&folder)));
        let (lock, error) = locked.unwrap_or_else(|error| Ok((Lock::none(), Some(error))))?;
        if let Some(error) = error {
            self.health.degrade(&error);
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
        let (rendered, terms) = (self.keyed(rendered), self.keyed_hash(terms));
        self.change(target, |known| match &mut known.standing {
            Some(standing) => standing.judge(&rendered, &terms),
            None => Judgement::Wanted,
        })
    }

    /// What is owed to the process of `target`, whose destinations are to hold `hashes`; `unchanged` says that they all
    /// hold them already.
    pub fn owed(&self, target: &str, hashes: &Hashes, unchanged: bool) -> Owed {
        let hashes = self.keyed(hashes);
        // Where nothing can be remembered a reload too many is better than one too few.
        let is_forgetful = self.health.is_degraded();
        self.look(target, |known| match &known.standing {
            Some(standing) => standing.owed(&hashes),
            None if unchanged && !is_forgetful => Owed::Adopt,
            None => Owed::Owed,
        })
    }

    /// Files of `target` are about to be replaced. What is there is kept where it is not known yet how to go back to it,
    /// and from the first commit on a crash leaves a reload owed. Costs nothing when all that was done before.
    pub fn before_commit(&self, target: &str, replaced: &[Live<'_>]) {
        let kept: Vec<_> = replaced.iter().filter_map(|live| self.keep_unknown(target, live)).collect();
        self.change(target, |known| {
            known.standing.get_or_insert_default();
            for (destination, saved, held) in kept {
                known.held.extend(held.map(|held| (destination.clone(), held)));
                known.earlier.insert(destination, saved);
            }
        });
    }

    /// Marks `target` as unsettled before a reload. Gives what its process ran until now.
    pub fn begin(&self, target: &str) -> Process {
        self.change(target, |known| known.standing.get_or_insert_default().begin())
    }

    /// Notes that the process of `target` runs again what it ran `before` the reload that began last.
    pub fn take_back(&self, target: &str, before: Process) {
        self.change(target, |known| known.standing.get_or_insert_default().take_back(before));
    }

    /// The process of `target` runs the files of these hashes, which are in place: they are to become the version to go
    /// back to.
    pub fn settling<'r>(&'r self, target: &'r str, hashes: &Hashes) -> Settling<'r> {
        Settling { records: self, target, hashes: self.keyed(hashes), earlier: Earlier::new(), is_to_prune: false }
    }

    /// Notes that the process of `target` refuses these files under these terms, as `refused` says; `took` and `before` as
    /// for `Standing::refuse`.
    pub fn refuse(&self, target: &str, files: (&Hashes, &str), refused: Refused, took: bool, before: Process) {
        let (hashes, terms) = files;
        let bad = Bad { files: self.keyed(hashes), terms: Some(self.keyed_hash(terms)), refused: Some(refused) };
        self.change(target, |known| known.standing.get_or_insert_default().refuse(bad, took, before));
    }

    /// Who refused the files that the process of `target` refused last, when and why, where that is known.
    pub fn refused(&self, target: &str) -> Option<Refused> {
        self.look(target, |known| known.standing.as_ref().and_then(Standing::bad).and_then(|bad| bad.refused.clone()))
    }

    /// Which files of `target` those are that come back.
    pub fn version(&self, target: &str) -> Version {
        self.look(target, |known| known.standing.as_ref().map_or(Version::Found, Standing::version))
    }

    /// Whether the process of `target` is known to have run without the files that were not there in the version to go
    /// back to.
    pub(super) fn ran_earlier(&self, target: &str) -> bool {
        self.look(target, |known| known.standing.as_ref().is_none_or(Standing::ran_earlier))
    }

    /// Notes that the files in place are not wanted, although the process was not told of them.
    pub fn go_back(&self, target: &str) {
        self.change(target, |known| known.standing.get_or_insert_default().go_back());
    }

    /// Notes that the version to go back to is in place, with these hashes. Whether the process is to be told of it.
    pub fn went_back(&self, target: &str, hashes: &Hashes) -> bool {
        let hashes = self.keyed(hashes);
        self.change(target, |known| known.standing.get_or_insert_default().went_back(hashes))
    }

    /// Whether these are the files that the process of `target` refused last.
    pub fn is_refused(&self, target: &str, hashes: &Hashes) -> bool {
        let hashes = self.keyed(hashes);
        self.look(target, |known| {
            known.standing.as_ref().and_then(Standing::bad).is_some_and(|bad| bad.files == hashes)
        })
    }

    /// Forgets what the process of `target` refused, so that it is tried again.
    pub fn forgive(&self, target: &str) {
        self.change(target, |known| {
            if let Some(standing) = &mut known.standing {
                standing.forgive();
            }
        });
    }

    /// What there was at a destination of `target` in the version to go back to.
    pub(super) fn before(&self, target: &str, destination: &Path) -> Before {
        self.look(target, |known| match known.earlier.get(&text(destination)) {
            None => Before::AsNow,
            Some(None) => Before::Nothing,
            Some(Some(saved)) => Before::File(saved.clone()),
        })
    }

    /// Whether a file has the content of an earlier one.
    pub(super) fn is_same(&self, saved: &Saved, file: &File) -> io::Result<bool> {
        Ok(self.keyed_hash(&hash(file)?) == saved.hash)
    }

    /// The content of an earlier file, or why it is not there any more.
    pub(super) fn content(&self, target: &str, destination: &Path, saved: &Saved) -> io::Result<Arc<File>> {
        if let Some(held) = self.look(target, |known| known.held.get(&text(destination)).cloned()) {
            return Ok(held);
        }
        if !saved.kept {
            return Err(io::Error::new(io::ErrorKind::NotFound, "it was not kept"));
        }
        let (folder, name, key) = (self.contents(target), saved.hash.clone(), self.key);
        self.disk.run(move || contents::open(&folder, &name, |hash| keyed_hash(key, hash))).map(Arc::new)
    }

    /// Keeps what a file holds under its hash in the state folder, unless that is there.
    fn keep(&self, target: &str, hash: &str, file: Option<&File>) -> Kept {
        let (folder, name, key) = (self.contents(target), hash.to_owned(), self.key);
        let file = file.map(File::try_clone).transpose();
        let keep = move || {
            if contents::holds(&folder, &name) {
                return Ok(Kept::Before);
            }
            let Some(file) = file? else { return Ok(Kept::No) };
            let kept = contents::keep(&folder, &name, &file, |hash| keyed_hash(key, hash))?;
            Ok(if kept { Kept::Now } else { Kept::No })
        };
        match self.disk.run(keep) {
            Ok(Kept::Before) => Kept::Before,
            other => self.health.used(other).unwrap_or(Kept::No),
        }
    }

    /// Keeps what is at a destination if nobody could go back to it otherwise: its path, what it is, and its content
    /// where that is held in memory.
    fn keep_unknown(&self, target: &str, live: &Live<'_>) -> Option<(String, Option<Saved>, Option<Arc<File>>)> {
        let destination = text(live.destination);
        let (known, is_held) = self
            .look(target, |known| (known.earlier.get(&destination).cloned(), known.held.contains_key(&destination)));
        let known = match known {
            Some(None) => return None,
            Some(Some(saved)) if is_held || saved.kept && self.holds(target, &saved.hash) => return None,
            Some(Some(saved)) => Some(saved),
            None => None,
        };
        let Some((stat, file)) = &live.file else { return Some((destination, None, None)) };
        let hash = (*file).ok_or_else(|| io::Error::from(io::ErrorKind::PermissionDenied)).and_then(hash);
        let hash = hash.map(|hash| self.keyed_hash(&hash));
        // Something else than what is to be kept has come into its place: that is no version to go back to.
        if known.is_some_and(|saved| hash.as_ref().is_ok_and(|hash| *hash != saved.hash)) {
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
        match self.disk.run(move || Ok(contents::holds(&folder, &name))) {
            Ok(holds) => holds,
            Err(error) => {
                self.health.degrade(&error);
                false
            }
        }
    }

    /// Looks at what is known of a target.
    fn look<T>(&self, target: &str, look: impl FnOnce(&Known) -> T) -> T {
        self.load(target);
        look(self.known.all().entry(target.to_owned()).or_default())
    }

    /// Changes what is known of a target, and its record unless that says the same already. Nobody else is kept waiting
    /// while that is written.
    fn change<T>(&self, target: &str, change: impl FnOnce(&mut Known) -> T) -> T {
        self.load(target);
        let (changed, unwritten) = {
            let mut all = self.known.all();
            let known = all.entry(target.to_owned()).or_default();
            (change(known), known.unwritten(target))
        };
        if let Some(record) = unwritten {
            let (path, copy) = (known::record_of(&self.folder, target), record.clone());
            let written = self.disk.run(move || file::write(&path, &copy));
            if let Some(known) = self.known.all().get_mut(target) {
                known.written = written.is_ok().then_some(record);
            }
            self.health.used(written);
        }
        changed
    }

    /// Reads the record of a target, once.
    fn load(&self, target: &str) {
        if self.known.all().contains_key(target) {
            return;
        }
        let (path, name) = (known::record_of(&self.folder, target), target.to_owned());
        let read = self.disk.run(move || Ok(file::read(&path, &name))).unwrap_or_else(|error| {
            self.health.degrade(&error);
            // Nobody knows what it says.
            Some((Standing::unsettled(None, None), None))
        });
        let read = read.filter(|_| !Protection::Owed.is_off());
        let (mut standing, written) = read.map_or((None, None), |(standing, record)| (Some(standing), record));
        // Where nothing can be written the life before may have noted nothing of its last reload either.
        if self.health.is_degraded() {
            standing = standing.map(Standing::doubted);
        }
        let earlier = written.as_ref().map(|record| record.earlier.clone()).unwrap_or_default();
        let known = Known { standing, earlier, written, ..Known::default() };
        self.known.all().entry(target.to_owned()).or_insert(known);
    }

    fn contents(&self, target: &str) -> PathBuf {
        self.folder.join(format!("{}.earlier", file::encode(target)))
    }

    fn keyed_hash(&self, hash: &str) -> String {
        keyed_hash(self.key, hash)
    }

    fn keyed(&self, hashes: &Hashes) -> Keyed {
        hashes.iter().map(|(path, hash)| (text(path), self.keyed_hash(hash))).collect()
    }
}

impl Settling<'_> {
    /// Keeps what is at one of the destinations, as far as it may and can be kept.
    pub fn keep(&mut self, live: &Live<'_>) {
        let (records, destination) = (self.records, text(live.destination));
        // What has become private was perhaps kept before.
        self.is_to_prune |= live.is_private;
        let (Some(hash), Some((stat, file))) = (self.hashes.get(&destination), &live.file) else { return };
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
        let needed: HashSet<String> =
            earlier.values().flatten().filter(|saved| saved.kept).map(|saved| saved.hash.clone()).collect();
        records.change(target, |known| {
            known.standing.get_or_insert_default().confirm(hashes);
            known.earlier = earlier;
            known.held.clear();
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

    fn of(stat: &Stat, hash: String, kept: bool) -> Self {
        Self { hash, mode: stat.st_mode & 0o7777, user: stat.st_uid, group: stat.st_gid, kept }
    }
}

/// A hash as it is written, so that it tells nothing to whoever has no key.
fn keyed_hash(key: [u8; 32], hash: &str) -> String {
    format!("{:x}", Sha256::new().chain_update(key).chain_update(hash).finalize())
}

/// A path as it is written in a record.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
