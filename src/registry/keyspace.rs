//! Keys and values in the order of their paths, and the answers that follow from them.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::{Entry, Names, Path, Text};

/// Keys by their full paths. A path may be a key and a folder at once.
#[derive(Debug, Default)]
pub(crate) struct Keyspace {
    keys: BTreeMap<String, Text>,
}

impl Keyspace {
    /// Whether there is no key at all.
    #[cfg(feature = "consul")]
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether there is a key whose path begins with this text.
    #[cfg(feature = "consul")]
    pub(crate) fn has_any(&self, start: &str) -> bool {
        let mut keys = self.keys.range::<str, _>((Bound::Included(start), Bound::Unbounded));
        keys.next().is_some_and(|(path, _)| path.starts_with(start))
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Puts a value; gives back the one that it replaces.
    pub(crate) fn insert(&mut self, path: &Path, value: Text) -> Option<Text> {
        self.keys.insert(path.as_str().to_owned(), value)
    }

    /// The value of a key.
    pub(crate) fn key(&self, path: &Path) -> Option<&Text> {
        self.keys.get(path.as_str())
    }

    /// Whether there is a key or a folder of this name.
    pub(crate) fn exists(&self, path: &Path) -> bool {
        self.keys.contains_key(path.as_str()) || self.below(path).next().is_some()
    }

    /// All keys below a folder, sorted. Entries of the answer before that are still the same are shared with it, so
    /// that what was made of them for templates is not made again.
    pub(crate) fn prefix(&self, folder: &Path, before: &[Arc<Entry>]) -> Vec<Arc<Entry>> {
        let mut before = before.iter().peekable();
        self.below(folder)
            .map(|(key, path, value)| {
                while before.next_if(|entry| entry.path.as_str() < path).is_some() {}
                match before.next_if(|entry| entry.path == path) {
                    Some(entry) if entry.value == *value && entry.key == key => entry.clone(),
                    _ => Arc::new(Entry::new(key, path, value.clone())),
                }
            })
            .collect()
    }

    /// The direct names in a folder.
    pub(crate) fn listing(&self, folder: &Path) -> Names {
        names(self.below(folder).map(|(key, _, _)| key))
    }

    /// Keys below a folder: relative path, full path, value.
    fn below(&self, folder: &Path) -> impl Iterator<Item = (&str, &str, &Text)> {
        let start = if folder.is_root() { String::new() } else { format!("{folder}/") };
        self.keys
            .range::<str, _>((Bound::Included(start.as_str()), Bound::Unbounded))
            .map_while(move |(path, value)| Some((path.strip_prefix(&start)?, path.as_str(), value)))
    }
}

/// The direct names in a folder, from the keys below it in the order of their paths.
pub(crate) fn names<'a>(keys: impl IntoIterator<Item = &'a str>) -> Names {
    let mut names = Names::default();
    for key in keys {
        match key.split_once('/') {
            None => names.keys.push(key.to_owned()),
            Some((name, _)) if names.folders.last().is_none_or(|last| last != name) => {
                names.folders.push(name.to_owned());
            }
            Some(_) => {}
        }
    }
    // Full paths sort `a-b/x` before `a/x`; names alone sort the other way.
    names.keys.sort_unstable();
    names.folders.sort_unstable();
    names.folders.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Path {
        Path::parse(text).unwrap()
    }

    fn text(value: &str) -> Text {
        Text(value.to_owned().into())
    }

    fn keyspace(keys: &[&str]) -> Keyspace {
        let mut keyspace = Keyspace::default();
        for key in keys {
            keyspace.insert(&path(key), text(&format!("value of {key}")));
        }
        keyspace
    }

    #[test]
    fn a_folder_holds_what_is_below_it_and_nothing_else() {
        let keyspace = keyspace(&["app", "app-2/a", "app/db/host", "app/db", "app/db-2", "apple", "b"]);
        let keys = |folder: &str| -> Vec<String> {
            keyspace.prefix(&path(folder), &[]).iter().map(|entry| format!("{} = {}", entry.key, entry.path)).collect()
        };
        assert_eq!(keys("app"), ["db = app/db", "db-2 = app/db-2", "db/host = app/db/host"]);
        assert_eq!(keys("").len(), 7);
        assert_eq!(keys("none"), [""; 0]);
        assert_eq!(keyspace.key(&path("app")), Some(&text("value of app")));
        assert_eq!(keyspace.key(&path("ap")), None);
        assert_eq!(keyspace.key(&Path::root()), None);
        for (name, there) in [("app", true), ("app-2", true), ("app/db/host", true), ("ap", false), ("", true)] {
            assert_eq!(keyspace.exists(&path(name)), there, "{name}");
        }
        assert!(!Keyspace::default().exists(&Path::root()));
    }

    #[test]
    fn a_listing_names_each_once_in_order() {
        let keyspace = keyspace(&["a", "a-b/x", "a/x", "a/y/z", "a-b/y", "c/d"]);
        let Names { keys, folders } = keyspace.listing(&Path::root());
        assert_eq!(keys, ["a"]);
        assert_eq!(folders, ["a", "a-b", "c"]);
        assert_eq!(keyspace.listing(&path("a")).keys, ["x"]);
        assert_eq!(keyspace.listing(&path("a")).folders, ["y"]);
    }

    #[test]
    fn entries_that_stay_are_shared() {
        let before = keyspace(&["f/a", "f/b", "f/d"]).prefix(&path("f"), &[]);
        let mut changed = keyspace(&["f/a", "f/b", "f/c", "f/d"]);
        changed.insert(&path("f/b"), text("another"));
        let after = changed.prefix(&path("f"), &before);
        let shared: Vec<_> = after.iter().map(|entry| before.iter().any(|old| Arc::ptr_eq(old, entry))).collect();
        assert_eq!(shared, [true, false, false, true]);
        assert_eq!(after[1].value, text("another"));
    }
}
