//! Paths of keys.

use std::fmt;
use std::sync::Arc;

/// The path of a key or folder: segments joined by `/`, without a leading, trailing or doubled `/`.
/// The root is the empty path. Matching is by whole segments: `app` never covers `apple`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path(Arc<str>);

/// Why a text is no path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A `.` or `..` segment.
    #[error("a path has no `.` or `..` segments")]
    Dots,
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
        Ok(Self(clean.into()))
    }

    /// The root: the folder of everything.
    pub fn root() -> Self {
        Self("".into())
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The path as text, such as `app/db`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The segments, in order.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|segment| !segment.is_empty())
    }

    /// What `path` is called below this folder: `db/host` for `app/db/host` below `app`; nothing for a path that
    /// is not below it, and for the path itself.
    pub fn relative<'a>(&self, path: &'a str) -> Option<&'a str> {
        if self.is_root() {
            return (!path.is_empty()).then_some(path);
        }
        path.strip_prefix(&*self.0)?.strip_prefix('/').filter(|rest| !rest.is_empty())
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0)
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
