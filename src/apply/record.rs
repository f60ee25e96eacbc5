//! Remembers which targets are settled and which owe their process a reload (SEMANTICS 7).
//!
//! One small file per target in the state folder says `unsettled`, or which hashes the process has confirmed. It is
//! replaced by a rename and not synced: a power cut restarts the process too. Whatever cannot be understood counts as
//! unsettled, which costs a reload at most. A folder that cannot be written degrades to what is held in memory.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Hashes;
use crate::protection::Protection;

/// The version of the files that this program writes and understands.
const VERSION: u32 = 1;

/// Bytes of a record that are read: far more than thousands of destinations need.
const LIMIT: u64 = 16 << 20;

/// Bytes of an encoded target name, so that the file name stays within 255.
const NAME: usize = 200;

/// The records of all targets, shared between their tasks.
#[derive(Debug)]
pub struct Records {
    folder: PathBuf,
    /// Mixed into every hash that is written, so that a record tells nothing about a secret file to whoever has the
    /// record alone.
    key: [u8; 32],
    known: Mutex<HashMap<String, Known>>,
    /// What the process of a target refused last. It is not tried again until the data change.
    refused: Mutex<HashMap<String, Hashes>>,
    is_degraded: AtomicBool,
}

/// Holds the state folder for this process, until it is dropped.
#[derive(Debug)]
pub struct Lock {
    /// None when the folder cannot be written, and so not be locked.
    _file: Option<File>,
}

/// Another process of ours works on the same targets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "another liveconf{} works with the state folder `{}`",
    .pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(),
    .folder.display()
)]
pub struct Held {
    /// Its pid, when it has written it already.
    pub pid: Option<u32>,
    /// The folder.
    pub folder: PathBuf,
}

/// What a target's record says about a render.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owed {
    /// The process has confirmed exactly these files.
    Settled,
    /// Nothing is known and every destination already holds its render: it is settled from now on, without a reload.
    Adopt,
    /// The process is to be told, once the files are in place.
    Owed,
}

/// What is known of one target.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    state: State,
    /// The file says the same.
    is_written: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Unsettled,
    Settled(BTreeMap<String, String>),
}

/// A record as it is written. A key that a later version adds is ignored; a later version number is not understood.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    version: u32,
    /// The target, for people.
    target: String,
    settled: bool,
    /// Keyed hashes by destination.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    hashes: BTreeMap<String, String>,
}

impl Records {
    /// Opens the records in `folder`, which is made with mode 0700 if it is missing. One that cannot be used is told in
    /// a warning, and everything is then remembered for the life of this process only.
    pub fn open(folder: &Path) -> Self {
        let mut records = Self {
            folder: folder.to_owned(),
            key: rand::random(),
            known: Mutex::default(),
            refused: Mutex::default(),
            is_degraded: AtomicBool::new(false),
        };
        match prepare(folder).and_then(|()| key(folder, records.key)) {
            Ok(key) => records.key = key,
            Err(error) => records.degrade(&error),
        }
        records
    }

    /// Takes the state folder for this process. A folder that cannot be written cannot be locked either, and is nobody's.
    pub fn lock(&self) -> Result<Lock, Held> {
        let path = self.folder.join("lock");
        let options = || -> io::Result<File> {
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
                .open(&path)
        };
        let mut file = match options() {
            Ok(file) => file,
            Err(error) => {
                self.degrade(&error);
                return Ok(Lock { _file: None });
            }
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(Held { pid: holder(&path), folder: self.folder.clone() }),
            Err(error) => {
                self.degrade(&error.into());
                return Ok(Lock { _file: None });
            }
        }
        let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        if let Err(error) = written {
            self.degrade(&error);
        }
        Ok(Lock { _file: Some(file) })
    }

    /// What is owed to the process of `target`, whose destinations are to hold `hashes`; `unchanged` says that they all
    /// hold them already.
    pub fn owed(&self, target: &str, hashes: &Hashes, unchanged: bool) -> Owed {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains_key(target)
            && !Protection::Owed.is_off()
            && let Some(state) = self.read(target)
        {
            known.insert(target.to_owned(), Known { state, is_written: true });
        }
        match known.get(target).map(|known| &known.state) {
            Some(State::Settled(settled)) if *settled == self.keyed(hashes) => Owed::Settled,
            // Where nothing can be remembered a reload too many is better than one too few.
            None if unchanged && !self.is_degraded.load(Ordering::Relaxed) => Owed::Adopt,
            _ => Owed::Owed,
        }
    }

    /// Notes that the process of `target` refused these files.
    pub fn refuse(&self, target: &str, hashes: &Hashes) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.insert(target.to_owned(), hashes.clone());
    }

    /// Whether the process of `target` refused these very files last.
    pub fn is_refused(&self, target: &str, hashes: &Hashes) -> bool {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.get(target).is_some_and(|refused| refused == hashes)
    }

    /// Forgets what the process of `target` refused, so that it is tried again.
    pub fn forgive(&self, target: &str) {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).remove(target);
    }

    /// Marks `target` as unsettled: before its first commit, and before every reload. Costs nothing when it is marked.
    pub fn begin(&self, target: &str) {
        self.set(target, State::Unsettled);
    }

    /// Notes that the process of `target` has confirmed these files.
    pub fn settle(&self, target: &str, hashes: &Hashes) {
        self.set(target, State::Settled(self.keyed(hashes)));
    }

    fn set(&self, target: &str, state: State) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.get(target).is_some_and(|known| known.is_written && known.state == state) {
            return;
        }
        let written = self.write(target, &state).inspect_err(|_| self.spoil(target));
        known.insert(target.to_owned(), Known { state, is_written: written.is_ok() });
        match written {
            Ok(()) => self.recover(),
            Err(error) => self.degrade(&error),
        }
    }

    /// The state that the file of `target` tells; none when there is no file.
    fn read(&self, target: &str) -> Option<State> {
        let path = self.path(target);
        let read = || -> io::Result<Record> {
            let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
            let file = OpenOptions::new().read(true).custom_flags(flags).open(&path)?;
            if file.metadata()?.uid() != rustix::process::geteuid().as_raw() {
                return Err(io::Error::other("it belongs to another user"));
            }
            let mut bytes = Vec::new();
            file.take(LIMIT).read_to_end(&mut bytes)?;
            Ok(serde_json::from_slice(&bytes)?)
        };
        match read() {
            Ok(record) if record.version == VERSION && record.target == target => {
                Some(if record.settled { State::Settled(record.hashes) } else { State::Unsettled })
            }
            Ok(record) => {
                tracing::warn!(
                    target,
                    file = %path.display(),
                    version = record.version,
                    "the record of the target is not for this version: its process will be reloaded once"
                );
                Some(State::Unsettled)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(
                    target,
                    file = %path.display(),
                    %error,
                    "cannot read the record of the target: its process will be reloaded once"
                );
                Some(State::Unsettled)
            }
        }
    }

    fn write(&self, target: &str, state: &State) -> io::Result<()> {
        let (settled, hashes) = match state {
            State::Unsettled => (false, BTreeMap::new()),
            State::Settled(hashes) => (true, hashes.clone()),
        };
        let record = Record { version: VERSION, target: target.to_owned(), settled, hashes };
        replace(&self.path(target), &serde_json::to_vec(&record)?)
    }

    /// Empties the record, which even a full disk allows, so that it does not tell of an older state: it then counts as
    /// unsettled.
    fn spoil(&self, target: &str) {
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        // Where not even this works there is nothing left to do; the failure itself was told.
        let _ = options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(self.path(target));
    }

    fn path(&self, target: &str) -> PathBuf {
        self.folder.join(format!("{}.json", encode(target)))
    }

    fn keyed(&self, hashes: &Hashes) -> BTreeMap<String, String> {
        let keyed = |hash: &String| format!("{:x}", Sha256::new().chain_update(self.key).chain_update(hash).finalize());
        hashes.iter().map(|(path, hash)| (path.to_string_lossy().into_owned(), keyed(hash))).collect()
    }

    fn degrade(&self, error: &io::Error) {
        if !self.is_degraded.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                folder = %self.folder.display(),
                %error,
                "cannot use the state folder: after a restart processes may be reloaded without need"
            );
        }
    }

    fn recover(&self) {
        if self.is_degraded.swap(false, Ordering::Relaxed) {
            tracing::info!(folder = %self.folder.display(), "the state folder can be used again");
        }
    }
}

/// Makes the folder, and refuses one in which others could exchange our files.
fn prepare(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mode = fs::metadata(folder)?.mode();
    if mode & 0o002 != 0 && mode & 0o1000 == 0 {
        return Err(io::Error::other("everybody can write to it"));
    }
    Ok(())
}

/// The key in `folder`; where there is none, `new` becomes it.
fn key(folder: &Path, new: [u8; 32]) -> io::Result<[u8; 32]> {
    let path = folder.join("key");
    match fs::read(&path) {
        Ok(bytes) => {
            if let Ok(key) = bytes.try_into() {
                return Ok(key);
            }
            tracing::warn!(file = %path.display(), "the key of the records is damaged and replaced");
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    replace(&path, &new)?;
    Ok(new)
}

/// Replaces a file of the state folder, 0600, without waiting for the disk.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let write = || {
        // What an earlier life left under this name may be anything.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(bytes)?;
        #[expect(
            clippy::disallowed_methods,
            reason = "a record is no destination: it needs neither fsync nor metadata"
        )]
        fs::rename(&new, path)
    };
    write().inspect_err(|_| {
        let _ = fs::remove_file(&new);
    })
}

/// The pid that the holder of the lock has written, given a moment to do so.
fn holder(path: &Path) -> Option<u32> {
    for _ in 0..10 {
        if let Ok(pid) = fs::read_to_string(path).ok()?.trim().parse() {
            return Some(pid);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

/// A target name as a file name: what is not a letter, a digit, `-` or `_` becomes `%XX`; a name that is too long ends
/// in its hash.
fn encode(target: &str) -> String {
    let mut encoded = String::new();
    for byte in target.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => encoded.push(char::from(byte)),
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    if encoded.len() > NAME {
        let hash = format!("{:x}", Sha256::digest(target));
        encoded.truncate(NAME - hash.len());
        encoded.push_str(&hash);
    }
    encoded
}

#[cfg(test)]
mod tests;
