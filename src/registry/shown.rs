//! What of a question may be shown.
//!
//! A question is part of log lines, and most of what it holds is written in a template or is the name of something in a
//! registry. But a template may compute an argument from values, such as `service(name=key(path="app/upstream"))`, and
//! a value is shown nowhere. So an argument carries what is shown in its place, which is no part of its identity: the
//! same question, written and computed, is one question.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::{Path as FsPath, PathBuf};

/// What stands in messages for what a template computed from values.
pub const COMPUTED: &str = "[computed]";

/// Something that rides along without being part of an identity: two of them are always equal.
#[derive(Debug, Clone, Copy, Default)]
pub struct Aside<T>(pub T);

impl<T> PartialEq for Aside<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> Eq for Aside<T> {}

impl<T> PartialOrd for Aside<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Aside<T> {
    fn cmp(&self, _: &Self) -> Ordering {
        Ordering::Equal
    }
}

impl<T> Hash for Aside<T> {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// The arguments of a question about a service that were computed from values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Computed {
    /// Its name.
    pub name: bool,
    /// Another one: a tag, a node to be near to, a datacenter or a filter.
    pub other: bool,
}

/// The absolute path of a local file.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FilePath {
    path: PathBuf,
    shown: Aside<Option<PathBuf>>,
}

impl FilePath {
    /// A path of which `shown` is what may be shown.
    pub fn computed(path: PathBuf, shown: PathBuf) -> Self {
        Self { path, shown: Aside(Some(shown)) }
    }

    /// The path.
    pub fn as_path(&self) -> &FsPath {
        &self.path
    }
}

impl<T: Into<PathBuf>> From<T> for FilePath {
    fn from(path: T) -> Self {
        Self { path: path.into(), shown: Aside(None) }
    }
}

/// What may be shown of it.
impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shown.0.as_ref().unwrap_or(&self.path).display().fmt(f)
    }
}

impl fmt::Debug for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}
