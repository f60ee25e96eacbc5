//! The files of the state folder: what a record says, and how it is read and replaced.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest as _, Sha256};

use super::key::Key;
use crate::apply::refused::Refused;
use crate::apply::standing::{Bad, Keyed, Standing};

/// The version of the files that this program writes and understands. It becomes another one only when a program that
/// ignores the keys that it does not know would be misled by what the others say.
const VERSION: u32 = 1;

/// Bytes of a record that are read: far more than thousands of destinations need.
const LIMIT: u64 = 16 << 20;

/// Bytes of an encoded target name, so that the file name stays within 255.
const NAME: usize = 200;

/// A record as it is written. A key that a later version adds is ignored; a later version number is not understood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    version: u32,
    /// The target, for people.
    target: String,
    /// Whether the process runs the confirmed files and they are in place.
    settled: bool,
    /// Keyed hashes of the confirmed files, by destination.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    hashes: Keyed,
    /// No process has confirmed any yet: they are those of the files that were there before the first commit.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    found: bool,
    /// Those of the files that the process refused last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bad: Option<Keyed>,
    /// A keyed hash of how these were looked at, and the process told of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    terms: Option<String>,
    /// Who refused them, when and why. A form that is not understood says nothing, and spoils nothing.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "if_understood")]
    refused: Option<Refused>,
    /// The version to go back to.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) earlier: Earlier,
}

/// The version to go back to, by destination; none where there was no file.
pub(super) type Earlier = BTreeMap<String, Option<Saved>>;

/// A file of the version to go back to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::apply) struct Saved {
    /// The keyed hash of its content.
    pub(super) hash: String,
    /// Its permission bits.
    pub(in crate::apply) mode: u32,
    /// Its user.
    pub(in crate::apply) user: u32,
    /// Its group.
    pub(in crate::apply) group: u32,
    /// Whether the content is in the state folder.
    pub(super) kept: bool,
}

impl Record {
    /// What is known of a target.
    pub(super) fn of(target: &str, standing: &Standing, earlier: &Earlier) -> Self {
        Self {
            version: VERSION,
            target: target.to_owned(),
            settled: standing.is_settled(),
            hashes: standing.confirmed().cloned().unwrap_or_default(),
            found: standing.is_found(),
            bad: standing.bad().map(|bad| bad.files.clone()),
            terms: standing.bad().and_then(|bad| bad.terms.clone()),
            refused: standing.bad().and_then(|bad| bad.refused.clone()),
            earlier: earlier.clone(),
        }
    }

    /// What it says.
    pub(super) fn standing(&self) -> Standing {
        let bad = self.bad.clone();
        let bad = bad.map(|files| Bad { files, terms: self.terms.clone(), refused: self.refused.clone() });
        let standing = if self.settled {
            Standing::settled(self.hashes.clone(), bad)
        } else {
            Standing::unsettled(Some(self.hashes.clone()).filter(|hashes| !hashes.is_empty()), bad)
        };
        standing.found(self.found)
    }
}

fn if_understood<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Refused>, D::Error> {
    let written = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(written).ok())
}

/// Reads the record of a target. Whatever cannot be understood counts as unsettled, which costs a reload at most; none
/// when there is no file.
pub(super) fn read(path: &Path, target: &str) -> Option<(Standing, Option<Record>)> {
    match read_file(path) {
        Ok(record) if record.version == VERSION && record.target == target => Some((record.standing(), Some(record))),
        Ok(record) => {
            tracing::warn!(
                target,
                file = %path.display(),
                version = record.version,
                "the record of the target is not for this version: its process will be reloaded once"
            );
            Some((Standing::unsettled(None, None), None))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            tracing::warn!(
                target,
                file = %path.display(),
                %error,
                "cannot read the record of the target: its process will be reloaded once"
            );
            Some((Standing::unsettled(None, None), None))
        }
    }
}

fn read_file(path: &Path) -> io::Result<Record> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other("it belongs to another user"));
    }
    let mut bytes = Vec::new();
    file.take(LIMIT).read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// Replaces the record at `path`. One that cannot be replaced is emptied, which even a full disk allows, so that it does
/// not tell of an older state; the room that this makes may be all that was missing.
pub(super) fn write(path: &Path, record: &Record) -> io::Result<()> {
    let bytes = serde_json::to_vec(record)?;
    replace(path, &bytes).or_else(|error| {
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        // Where not even this works there is nothing left to do; the failure itself is told.
        options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(path).map_err(|_| error)?;
        replace(path, &bytes)
    })
}

/// Makes the folder, and refuses one in which others could exchange our files.
pub(super) fn prepare(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mode = fs::metadata(folder)?.mode();
    if mode & 0o002 != 0 && mode & 0o1000 == 0 {
        return Err(io::Error::other("everybody can write to it"));
    }
    Ok(())
}

/// The key in `folder`, and whether it was there. Where there is none, or another than is known, the known one or a new
/// one becomes it.
pub(super) fn key(folder: &Path, known: Key) -> io::Result<([u8; 32], bool)> {
    let path = folder.join("key");
    match fs::read(&path) {
        Ok(bytes) => {
            if let Ok(key) = bytes.try_into()
                && known.0.is_none_or(|known| known == key)
            {
                return Ok((key, true));
            }
            tracing::warn!(file = %path.display(), "the key of the records is damaged and replaced");
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let key = known.0.unwrap_or_else(rand::random);
    replace(&path, &key)?;
    Ok((key, false))
}

/// Replaces a file of the state folder, 0600, without waiting for the disk.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    fill(path, |file| file.write_all(bytes).map(|()| true))
}

/// Puts a file of the state folder in place, 0600, once `content` has filled it and agrees; without waiting for the disk.
pub(super) fn fill(path: &Path, content: impl FnOnce(&mut File) -> io::Result<bool>) -> io::Result<()> {
    let new = path.with_extension("new");
    let write = || {
        // What an earlier life left under this name may be anything.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        if !content(&mut file)? {
            return fs::remove_file(&new);
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "what is in the state folder is no destination: it needs neither fsync nor metadata"
        )]
        fs::rename(&new, path)
    };
    write().inspect_err(|_| {
        let _ = fs::remove_file(&new);
    })
}

/// A target name as a file name: what is not a letter, a digit, `-` or `_` becomes `%XX`; a name that is too long ends
/// in its hash.
pub(super) fn encode(target: &str) -> String {
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
mod tests {
    use super::*;

    #[test]
    fn target_names_are_safe_and_distinct_file_names() {
        assert_eq!(encode("web-1_A"), "web-1_A");
        assert_eq!(encode("../a b"), "%2E%2E%2Fa%20b");
        assert_eq!(encode("ü"), "%C3%BC");
        let long = "/".repeat(300);
        assert_eq!(encode(&long).len(), NAME);
        assert_ne!(encode(&long), encode(&"/".repeat(301)));
    }
}
