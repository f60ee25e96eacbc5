//! What the KV part of the API answers.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer as _};

use crate::registry::keyspace::Keyspace;
use crate::registry::{Names, Path, Text, limit};

/// One pair of `GET /v1/kv/KEY` (<https://developer.hashicorp.com/consul/api-docs/kv#read-key>).
#[derive(Deserialize)]
struct Pair<'a> {
    #[serde(rename = "Key", borrow)]
    key: Cow<'a, str>,
    /// Base64; null stands for empty.
    #[serde(rename = "Value", borrow)]
    value: Option<Cow<'a, str>>,
}

impl Pair<'_> {
    fn text(&self) -> Result<Text, serde_json::Error> {
        let encoded = self.value.as_deref().unwrap_or_default();
        // The error must not hold the value.
        STANDARD
            .decode(encoded)
            .map(|bytes| Text(bytes.into()))
            .map_err(|_| serde_json::Error::custom("the value of a key is no base64"))
    }
}

/// Gives the pairs of a reply one by one: all of them at once would be as much again as the reply.
struct Pairs<F>(F);

impl<'de, F: FnMut(Pair<'de>) -> Result<(), serde_json::Error>> Visitor<'de> for Pairs<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of keys")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut pairs: A) -> Result<(), A::Error> {
        while let Some(pair) = pairs.next_element()? {
            (self.0)(pair).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}

fn each_pair<'a>(
    body: &'a [u8],
    take: impl FnMut(Pair<'a>) -> Result<(), serde_json::Error>,
) -> Result<(), serde_json::Error> {
    let mut reply = serde_json::Deserializer::from_slice(body);
    reply.deserialize_seq(Pairs(take))?;
    reply.end()
}

/// The value of a key; none when it is not there.
pub(super) fn value(body: &[u8], key: &str) -> Result<Option<Text>, serde_json::Error> {
    let mut value = None;
    each_pair(body, |pair| {
        if pair.key == key && value.is_none() {
            value = Some(pair.text()?);
        }
        Ok(())
    })?;
    Ok(value)
}

/// The keys of a reply, by their paths below `prefix`. Folder markers are no keys; keys that no path names are left
/// out.
pub(super) fn below(body: &[u8], prefix: &Path, left_out: &mut Vec<String>) -> Result<Keyspace, serde_json::Error> {
    let mut keys = Keyspace::default();
    each_pair(body, |pair| {
        let Some(name) = prefix.relative(&pair.key) else { return Ok(()) };
        if name.ends_with('/') && pair.value.is_none() {
            return Ok(());
        }
        match Path::parse(name) {
            Ok(path) if path.as_str() == name => drop(keys.insert(&path, pair.text()?)),
            _ => left_out
                .push(format!("key `{}`: no path names it", limit::shortened(&pair.key.escape_debug().to_string()))),
        }
        Ok(())
    })?;
    Ok(keys)
}

/// Whether `names`, which begin with `start`, hold a key or a folder of just that name.
pub(super) fn exists(names: &[String], start: &str) -> bool {
    names.iter().filter_map(|name| name.strip_prefix(start)).any(|rest| rest.is_empty() || rest == "/")
}

/// The direct names in the folder `start`.
pub(super) fn listing(names: &[String], start: &str) -> Names {
    let mut listing = Names::default();
    for name in names.iter().filter_map(|name| name.strip_prefix(start)) {
        let (name, list) = match name.strip_suffix('/') {
            Some(folder) => (folder, &mut listing.folders),
            None => (name, &mut listing.keys),
        };
        if Path::parse(name).is_ok_and(|path| !path.is_root() && path.as_str() == name) {
            list.push(name.to_owned());
        }
    }
    for list in [&mut listing.keys, &mut listing.folders] {
        list.sort_unstable();
        list.dedup();
    }
    listing
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Consul 1.8.7 answers.
    const BELOW: &str = r#"[
        {"LockIndex":0,"Key":"app/","Flags":0,"Value":null,"CreateIndex":25,"ModifyIndex":25},
        {"LockIndex":0,"Key":"app/a","Flags":0,"Value":null,"CreateIndex":26,"ModifyIndex":26},
        {"LockIndex":0,"Key":"app/b/c","Flags":0,"Value":"eA==","CreateIndex":27,"ModifyIndex":27},
        {"LockIndex":0,"Key":"app/d/","Flags":0,"Value":null,"CreateIndex":27,"ModifyIndex":27},
        {"LockIndex":0,"Key":"app/\n","Flags":0,"Value":"eA==","CreateIndex":27,"ModifyIndex":27},
        {"LockIndex":0,"Key":"app/e//f","Flags":0,"Value":"eA==","CreateIndex":27,"ModifyIndex":27}
    ]"#;

    fn text(value: &str) -> Text {
        Text(value.to_owned().into())
    }

    #[test]
    fn pairs_become_keys_and_markers_do_not() {
        let mut left_out = Vec::new();
        let keys = below(BELOW.as_bytes(), &Path::root(), &mut left_out).unwrap();
        let entries = keys.prefix(&Path::parse("app").unwrap(), &[]);
        let entries: Vec<_> =
            entries.iter().map(|entry| (entry.key.as_str(), entry.path.as_str(), entry.value.0.as_ref())).collect();
        assert_eq!(entries, [("a", "app/a", &b""[..]), ("b/c", "app/b/c", b"x")]);
        assert_eq!(left_out, [r"key `app/\n`: no path names it", "key `app/e//f`: no path names it"]);
        let keys = below(BELOW.as_bytes(), &Path::parse("app").unwrap(), &mut Vec::new()).unwrap();
        let entries = keys.prefix(&Path::root(), &[]);
        assert_eq!(entries.iter().map(|entry| entry.path.as_str()).collect::<Vec<_>>(), ["a", "b/c"]);
        assert_eq!(value(BELOW.as_bytes(), "app/b/c").unwrap(), Some(text("x")));
        assert_eq!(value(b"[]", "app/b/c").unwrap(), None);
        let error = value(br#"[{"Key":"a","Value":"hunter2!"}]"#, "a").unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn names_tell_keys_from_folders() {
        let names: Vec<String> = ["app/", "app/a", "app/b/", "app/b", "app//", "app/z"].map(str::to_owned).into();
        let Names { keys, folders } = listing(&names, "app/");
        assert_eq!(keys, ["a", "b", "z"]);
        assert_eq!(folders, ["b"]);
        for (names, there) in [(&["app/"][..], true), (&["app"], true), (&["apple", "apple/"], false), (&[], false)] {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(exists(&names, "app"), there, "{names:?}");
        }
    }
}
