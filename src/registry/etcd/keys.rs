//! From paths to etcd keys and back: the prefix of the registry, and ranges of keys.

use crate::registry::{Aside, Path};

/// A range of etcd keys. Equal ranges of several queries are read and watched once.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct KeyRange {
    /// The first key.
    pub(super) start: Vec<u8>,
    /// The key after the last; empty for one key, `\0` for all from the first on, as etcd has it.
    pub(super) end: Vec<u8>,
    /// What is shown in the place of the first key, where a template computed that from values.
    shown: Aside<Option<String>>,
}

impl KeyRange {
    /// One key.
    pub(super) fn key(key: Vec<u8>) -> Self {
        Self { start: key, end: Vec::new(), shown: Aside(None) }
    }

    /// All keys that begin with `prefix`; all keys there are if it is empty.
    pub(super) fn below(prefix: Vec<u8>) -> Self {
        let mut end = prefix.clone();
        while let Some(last) = end.pop() {
            if last < u8::MAX {
                end.push(last + 1);
                return Self { start: prefix, end, shown: Aside(None) };
            }
        }
        // No key is greater than all that begin so: up to the end of everything.
        let start = if prefix.is_empty() { vec![0] } else { prefix };
        Self { start, end: vec![0], shown: Aside(None) }
    }

    /// The same range, shown as that of the path is.
    fn of(self, path: &Path, prefix: &str, slash: &str) -> Self {
        let shown = path.shown();
        if shown == path.as_str() {
            self
        } else {
            Self { shown: Aside(Some(format!("{prefix}{shown}{slash}"))), ..self }
        }
    }
}

/// For people, with what is no text escaped.
impl std::fmt::Display for KeyRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let start = self.shown.0.clone().unwrap_or_else(|| self.start.escape_ascii().to_string());
        if self.end.is_empty() {
            write!(f, "key `{start}`")
        } else if self.end == [0] {
            write!(f, "all keys")
        } else {
            write!(f, "keys below `{start}`")
        }
    }
}

/// Why a key of etcd is left out of every answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    /// Not text.
    #[error("it is not UTF-8")]
    NotUtf8,
    /// `//`, or a `/` at an end: it would be read as the path of another key.
    #[error("it has an empty segment (`//`, or a `/` too many at its beginning or end)")]
    EmptySegment,
    /// What no path may hold.
    #[error("{0}")]
    Path(#[from] crate::registry::PathError),
}

/// Where the paths of a registry stand in etcd: `prefix` is put before each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    prefix: String,
}

impl Layout {
    /// Keys begin with `prefix`, which is empty or ends in `/`; one that does not is given it, so that `prefix:
    /// config` and the path `app` are the key `config/app`.
    pub(super) fn new(prefix: &str) -> Self {
        let mut prefix = prefix.to_owned();
        if !prefix.is_empty() && !prefix.ends_with('/') {
            prefix.push('/');
        }
        Self { prefix }
    }

    /// The key of a path; none for the root, which is a folder only.
    pub(super) fn key(&self, path: &Path) -> Option<KeyRange> {
        (!path.is_root())
            .then(|| KeyRange::key(format!("{}{path}", self.prefix).into_bytes()).of(path, &self.prefix, ""))
    }

    /// The keys below a folder: `/app/` to `/app0` for `app`, so that `/apple` is no part of it.
    pub(super) fn folder(&self, path: &Path) -> KeyRange {
        let slash = if path.is_root() { "" } else { "/" };
        KeyRange::below(format!("{}{path}{slash}", self.prefix).into_bytes()).of(path, &self.prefix, slash)
    }

    /// The path of a key that was found in one of our ranges.
    pub(super) fn path<'a>(&self, key: &'a [u8]) -> Result<&'a str, Unusable> {
        let key = std::str::from_utf8(key).map_err(|_| Unusable::NotUtf8)?;
        let path = key.strip_prefix(&self.prefix).unwrap_or(key);
        let parsed = Path::parse(path)?;
        if parsed.as_str() == path && !parsed.is_root() { Ok(path) } else { Err(Unusable::EmptySegment) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Path {
        Path::parse(text).unwrap()
    }

    fn range(start: &[u8], end: &[u8]) -> KeyRange {
        KeyRange { start: start.to_vec(), end: end.to_vec(), shown: Aside(None) }
    }

    #[test]
    fn ranges_end_after_the_last_key_that_begins_so() {
        for (prefix, start, end) in [
            (&b"/app/"[..], &b"/app/"[..], &b"/app0"[..]),
            (b"a\xff", b"a\xff", b"b"),
            (b"\xff\xff", b"\xff\xff", b"\0"),
            (b"", b"\0", b"\0"),
        ] {
            assert_eq!(KeyRange::below(prefix.to_vec()).to_string(), range(start, end).to_string());
            assert!(KeyRange::below(prefix.to_vec()) == range(start, end));
        }
    }

    #[test]
    fn paths_become_keys() {
        for (prefix, key, folder, everything) in [
            ("/", "/app/x", ("/app/x/", "/app/x0"), ("/", "0")),
            ("", "app/x", ("app/x/", "app/x0"), ("\0", "\0")),
            ("/config", "/config/app/x", ("/config/app/x/", "/config/app/x0"), ("/config/", "/config0")),
        ] {
            let layout = Layout::new(prefix);
            assert!(layout.key(&path("app/x")) == Some(range(key.as_bytes(), b"")));
            assert!(layout.folder(&path("app/x")) == range(folder.0.as_bytes(), folder.1.as_bytes()));
            assert!(layout.folder(&Path::root()) == range(everything.0.as_bytes(), everything.1.as_bytes()));
            assert!(layout.key(&Path::root()).is_none());
            assert_eq!(layout.path(key.as_bytes()), Ok("app/x"));
        }
    }

    #[test]
    fn keys_that_are_no_paths_are_told_apart() {
        let layout = Layout::new("/");
        for key in ["//app", "/app//x", "/app/", "/"] {
            assert_eq!(layout.path(key.as_bytes()), Err(Unusable::EmptySegment), "{key}");
        }
        assert_eq!(layout.path(b"/a\xff"), Err(Unusable::NotUtf8));
        assert!(matches!(layout.path(b"/a\n"), Err(Unusable::Path(_))));
        assert!(matches!(layout.path(b"/a/../b"), Err(Unusable::Path(_))));
        assert_eq!(Layout::new("").path(b"/app"), Err(Unusable::EmptySegment));
    }
}
