//! Drift: whether the files of a target are still what was put there (SEMANTICS 10).
//!
//! Whoever edits a file moves its change time, which nobody can set back; so a file that looks as it did when it was
//! last found right is not read again.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, Metadata as Seen};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::destination::Destination;
use super::error::ApplyError;
use super::metadata::Metadata;
use super::record::hash;
use super::{Hashes, Places};
use crate::config::{Target, Template, Writes};

/// Looks at the destinations of a target again and again.
#[derive(Debug, Default)]
pub struct Inspection {
    /// Where the files were put.
    places: Places,
    /// How those looked that were found right, by destination.
    right: HashMap<PathBuf, Print>,
}

/// What the metadata of a destination say, of the name and of the file behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Print([Inode; 2]);

/// Device, inode, size, mode, user, group, and the times of the last write and the last change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Inode(u64, u64, u64, u32, u32, u32, [i64; 4]);

/// A destination that is not what was put there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drifted {
    /// Its configured path.
    pub file: PathBuf,
    /// What is wrong with it.
    pub wrong: Wrong,
}

/// What is wrong with a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// It is gone.
    Gone,
    /// It holds something else.
    Edited,
    /// Its owner or mode are not those that are configured.
    Metadata,
    /// It is not what could be put right, for this reason: a folder, a symlink that leads elsewhere than before, or
    /// something that we may not look at.
    Unfit(String),
}

impl fmt::Display for Drifted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match &self.wrong {
            Wrong::Gone => write!(f, "`{file}` is gone"),
            Wrong::Edited => write!(f, "`{file}` was edited"),
            Wrong::Metadata => write!(f, "`{file}` has another owner or mode"),
            Wrong::Unfit(why) => f.write_str(why),
        }
    }
}

impl Inspection {
    /// Looks after files that were put in these places.
    pub fn new(places: Places) -> Self {
        Self { places, right: HashMap::new() }
    }

    /// The destinations of `target` that are not what `put` says, or not as they are configured. Blocks on the disk.
    pub fn look(&mut self, target: &Target, put: &Hashes) -> Vec<Drifted> {
        let mut drifted = Vec::new();
        for template in &target.templates {
            // One that was removed on the way back is whoever's it is now, and so is one whose item is gone.
            let Some(hash) = put.get(&template.dest).filter(|_| template.writes != Writes::Kept) else { continue };
            match self.inspect(template, hash) {
                Ok(None) => {}
                Ok(Some(wrong)) => drifted.push(Drifted { file: template.dest.clone(), wrong }),
                Err(error) => {
                    drifted.push(Drifted { file: template.dest.clone(), wrong: Wrong::Unfit(error.to_string()) });
                }
            }
        }
        drifted
    }

    fn inspect(&mut self, template: &Template, put: &str) -> Result<Option<Wrong>, ApplyError> {
        // Before the file is read, so that what changes meanwhile is seen the next time.
        let print = match Print::of(&template.dest) {
            Ok(print) => Some(print),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(ApplyError::write(template, "look at the file", error)),
        };
        if print.is_some() && self.right.get(&template.dest) == print.as_ref() {
            return Ok(None);
        }
        if print.is_none() && !template.dest.is_symlink() {
            // Before it is resolved, which may make folders.
            return Ok(Some(Wrong::Gone));
        }
        let destination = Destination::resolve(template)?;
        let place = destination.path();
        if let Some(before) = self.places.get(&template.dest).filter(|before| **before != place) {
            let why = format!("it leads to `{}` now, and led to `{}`", place.display(), before.display());
            return Err(ApplyError::unfit(template, why, "remove the symlink, and the file comes back"));
        }
        let (Some(existing), Some(print)) = (&destination.existing, print) else { return Ok(Some(Wrong::Gone)) };
        let Some(file) = &existing.file else {
            return Err(ApplyError::write(template, "read the file", io::Error::from(io::ErrorKind::PermissionDenied)));
        };
        let found = hash(file).map_err(|error| ApplyError::write(template, "read the file", error))?;
        if found != put {
            return Ok(Some(Wrong::Edited));
        }
        if Metadata::of(template, Some(&existing.stat))?.is_wrong(&existing.stat) {
            return Ok(Some(Wrong::Metadata));
        }
        self.right.insert(template.dest.clone(), print);
        Ok(None)
    }
}

impl Print {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self([Inode::of(&fs::symlink_metadata(path)?), Inode::of(&fs::metadata(path)?)]))
    }
}

impl Inode {
    fn of(seen: &Seen) -> Self {
        let times = [seen.mtime(), seen.mtime_nsec(), seen.ctime(), seen.ctime_nsec()];
        Self(seen.dev(), seen.ino(), seen.size(), seen.mode(), seen.uid(), seen.gid(), times)
    }
}
