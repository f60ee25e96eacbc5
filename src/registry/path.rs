//! Paths of keys.

use std::fmt;
use std::sync::Arc;

use super::{Aside, COMPUTED};

/// The path of a key or folder: segments joined by `/`, without a leading, trailing or doubled `/`.
/// The root is the empty path. Matching is by whole segments: `app` never covers `apple`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path {
    text: Arc<str>,
    /// What is shown of it, where that is another text.
    shown: Aside<Option<Arc<str>>>,
}

/// The most bytes of a path.
const LONGEST: usize = 4096;

/// Why a text is no path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A `.` or `..` segment.
    #[error("a path has no `.` or `..` segments")]
    Dots,
    /// More bytes than any name has a use for.
    #[error("a path has at most {LONGEST} bytes")]
    Long,
    /// A control character.
    #[error("a path has no control characters")]
    Control,
}

impl Path {
    /// Reads a path; `/app/db`, `app/db/` and `app//db` are one.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text.chars().any(char::is_control) {
            return Err(PathError::Control);
        }
        if text.len() > LONGEST {
            return Err(PathError::Long);
        }
        let mut clean = String::with_capacity(text.len());
        for segment in text.split('/').filter(|segment| !segment.is_empty()) {
            if segment == "." || segment == ".." {
                return Err(PathError::Dots);
            }
            if !clean.is_empty() {
                clean.push('/');
            }
            clean.push_str(segment);
        }
        Ok(Self { text: clean.into(), shown: Aside(None) })
    }

    /// The root: the folder of everything.
    pub fn root() -> Self {
        Self { text: "".into(), shown: Aside(None) }
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.text.is_empty()
    }

    /// The path as text, such as `app/db`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The same path, of which only those segments are shown that `may_be_shown`.
    #[must_use]
    pub fn showing(self, mut may_be_shown: impl FnMut(&str) -> bool) -> Self {
        if self.segments().all(&mut may_be_shown) {
            return self;
        }
        let shown = self.segments().map(|segment| if may_be_shown(segment) { segment } else { COMPUTED });
        let shown = shown.collect::<Vec<_>>().join("/");
        Self { shown: Aside(Some(shown.into())), ..self }
    }

    /// The path as it may stand in a message.
    pub fn shown(&self) -> &str {
        self.shown.0.as_deref().unwrap_or(&self.text)
    }

    /// The segments, in order.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.text.split('/').filter(|segment| !segment.is_empty())
    }

    /// What `path` is called below this folder: `db/host` for `app/db/host` below `app`; nothing for a path that
    /// is not below it, and for the path itself.
    pub fn relative<'a>(&self, path: &'a str) -> Option<&'a str> {
        if self.is_root() {
            return (!path.is_empty()).then_some(path);
        }
        path.strip_prefix(&*self.text)?.strip_prefix('/').filter(|rest| !rest.is_empty())
    }
}

/// The whole path, for whoever asks for it; in messages [`Path::shown`] stands.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.shown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_path_are_one() {
        for text in ["/app/db", "app/db/", "app//db", "app/db"] {
            assert_eq!(Path::parse(text).unwrap().as_str(), "app/db");
        }
        assert!(Path::parse("/").unwrap().is_root());
        assert_eq!(Path::parse("a/../b"), Err(PathError::Dots));
        assert_eq!(Path::parse("a\nb"), Err(PathError::Control));
        assert!(Path::parse(&"a".repeat(LONGEST)).is_ok());
        assert_eq!(Path::parse(&"a".repeat(LONGEST + 1)), Err(PathError::Long));
    }

    #[test]
    fn what_was_computed_is_not_shown_and_changes_nothing_else() {
        let path = Path::parse("app/hunter2/db").unwrap();
        let computed = path.clone().showing(|segment| segment != "hunter2");
        assert_eq!((computed.shown(), computed.as_str()), ("app/[computed]/db", "app/hunter2/db"));
        assert_eq!(computed, path);
        assert!(!format!("{computed:?}").contains("hunter2"));
        assert_eq!(path.clone().showing(|_| true).shown(), "app/hunter2/db");
    }

    #[test]
    fn a_folder_covers_whole_segments_only() {
        let app = Path::parse("app").unwrap();
        assert_eq!(app.relative("app/db/host"), Some("db/host"));
        assert_eq!(app.relative("apple"), None);
        assert_eq!(app.relative("app"), None);
        assert_eq!(Path::root().relative("apple"), Some("apple"));
    }
}
