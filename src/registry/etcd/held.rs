//! What one range of etcd holds, as far as we were told.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::messages::{Event, KeyValue};
use crate::config::Limits;
use crate::registry::{Entry, Instance, Text, limit};

/// The keys of one range at one revision.
#[derive(Default)]
pub(super) struct Held {
    keys: BTreeMap<Vec<u8>, Item>,
    /// The bytes of the keys and of their values.
    bytes: usize,
    /// Every change up to this revision is in; events of it or before are dropped.
    pub(super) applied: i64,
    /// An audit found everything right up to this revision.
    pub(super) audited: i64,
}

/// One key of a range. What was made of it for answers is kept until its value changes, so that one change among
/// thousands of keys costs one key.
pub(super) struct Item {
    /// The revision of its last change.
    pub(super) revision: i64,
    /// Its value.
    pub(super) value: Text,
    /// As an entry of a prefix; none for a key that is no path.
    pub(super) entry: OnceLock<Option<Arc<Entry>>>,
    /// As an entry of a service; none for what is no such entry, an error for one that cannot be read.
    pub(super) instance: OnceLock<Result<Option<ServiceEntry>, String>>,
}

/// An instance with the service that its key stands below, whatever it calls its service itself.
#[derive(Clone)]
pub(super) struct ServiceEntry {
    /// The service, by its key.
    pub(super) service: Arc<str>,
    /// The instance.
    pub(super) instance: Arc<Instance>,
}

impl Item {
    fn new(revision: i64, value: Vec<u8>) -> Self {
        Self { revision, value: Text(Bytes::from(value)), entry: OnceLock::new(), instance: OnceLock::new() }
    }
}

impl Held {
    /// Why it is more than `limits` allow, if it is.
    pub(super) fn excess(&self, limits: &Limits) -> Option<String> {
        if limit::are_many(self.keys.len(), limits) {
            Some(limit::keys(self.keys.len(), limits))
        } else {
            (self.bytes as u64 > limits.response).then(|| limit::bytes(limits))
        }
    }

    /// Whether it holds no key.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys with their items, sorted by the bytes of the keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &Item)> {
        self.keys.iter().map(|(key, item)| (key.as_slice(), item))
    }

    /// Takes a whole reading as the truth. Says whether a value or the set of keys is another than before.
    pub(super) fn replace(&mut self, kvs: Vec<KeyValue>, revision: i64) -> bool {
        let mut before = std::mem::take(&mut self.keys);
        self.bytes = 0;
        let mut changed = false;
        for kv in kvs {
            let item = match before.remove(&kv.key) {
                Some(item) if item.value.0 == kv.value => Item { revision: kv.mod_revision, ..item },
                _ => {
                    changed = true;
                    Item::new(kv.mod_revision, kv.value)
                }
            };
            self.bytes += kv.key.len() + item.value.0.len();
            self.keys.insert(kv.key, item);
        }
        self.applied = revision;
        self.audited = revision;
        changed || !before.is_empty()
    }

    /// The number of keys that there are once `kvs` are in.
    pub(super) fn count_with(&self, kvs: &[KeyValue]) -> usize {
        self.keys.len() + kvs.iter().filter(|kv| !self.keys.contains_key(&kv.key)).count()
    }

    /// Takes the keys that changed up to `revision`. Says whether a value did.
    pub(super) fn update(&mut self, kvs: Vec<KeyValue>, revision: i64) -> bool {
        let changed = kvs.into_iter().map(|kv| self.put(kv)).fold(false, |any, one| any | one);
        self.applied = self.applied.max(revision);
        changed
    }

    /// Applies events in their order, but for those that are in already. Says whether a value or the set of keys is
    /// another than before.
    pub(super) fn apply(&mut self, events: impl IntoIterator<Item = Event>) -> bool {
        let before = self.applied;
        let mut changed = false;
        for event in events {
            let Some(kv) = event.kv else { continue };
            // One transaction gives all its events the same revision. What is in already, and what comes behind a later
            // change, would bring back an old value.
            if kv.mod_revision <= before || kv.mod_revision < self.applied {
                continue;
            }
            self.applied = self.applied.max(kv.mod_revision);
            changed |= if event.kind == Event::DELETE { self.delete(&kv.key) } else { self.put(kv) };
        }
        changed
    }

    /// Whether a reading of keys (those that changed after `audited`) at `revision` shows what the watch has not
    /// delivered. A range that is further than the reading can only be compared in part.
    pub(super) fn disagrees(&self, kvs: &[KeyValue], count: usize, revision: i64) -> bool {
        let ahead = self.applied > revision;
        let missed = kvs.iter().any(|kv| match self.keys.get(&kv.key) {
            Some(item) => item.revision < kv.mod_revision,
            None => !ahead,
        });
        missed || (!ahead && count != self.keys.len())
    }

    fn delete(&mut self, key: &[u8]) -> bool {
        let Some(item) = self.keys.remove(key) else { return false };
        self.bytes -= key.len() + item.value.0.len();
        true
    }

    fn put(&mut self, kv: KeyValue) -> bool {
        match self.keys.get_mut(&kv.key) {
            // A heartbeat that writes the same again changes nothing.
            Some(item) if item.value.0 == kv.value => {
                item.revision = kv.mod_revision;
                false
            }
            Some(item) => {
                self.bytes = self.bytes + kv.value.len() - item.value.0.len();
                *item = Item::new(kv.mod_revision, kv.value);
                true
            }
            None => {
                self.bytes += kv.key.len() + kv.value.len();
                self.keys.insert(kv.key, Item::new(kv.mod_revision, kv.value));
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kv(key: &str, revision: i64, value: &str) -> KeyValue {
        KeyValue { key: key.into(), mod_revision: revision, value: value.into() }
    }

    fn put(key: &str, revision: i64, value: &str) -> Event {
        Event { kind: Event::PUT, kv: Some(kv(key, revision, value)) }
    }

    fn delete(key: &str, revision: i64) -> Event {
        Event { kind: Event::DELETE, kv: Some(kv(key, revision, "")) }
    }

    fn shown(held: &Held) -> String {
        let text = |item: &Item| String::from_utf8_lossy(&item.value.0).into_owned();
        held.iter()
            .map(|(key, item)| format!("{}={}@{}", key.escape_ascii(), text(item), item.revision))
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn events_are_applied_once_and_in_order() {
        let mut held = Held::default();
        assert!(held.replace(vec![kv("/a", 3, "1"), kv("/b", 4, "1")], 5));
        assert!(!held.apply([put("/a", 5, "old"), delete("/b", 4)]), "they are in already");
        assert_eq!(shown(&held), "/a=1@3 /b=1@4");
        assert!(held.apply([put("/a", 6, "2"), delete("/b", 6), put("/c", 6, "2")]), "one transaction");
        assert_eq!(shown(&held), "/a=2@6 /c=2@6");
        assert!(!held.apply([put("/a", 7, "2")]), "a heartbeat is no change");
        assert!(!held.apply([delete("/none", 8)]));
        assert_eq!((shown(&held).as_str(), held.applied), ("/a=2@7 /c=2@6", 8));
        assert_eq!(held.bytes, "/a2/c2".len());
    }

    #[test]
    fn an_event_that_comes_behind_a_later_one_brings_nothing_back() {
        let mut held = Held::default();
        assert!(held.apply([put("/a", 6, "new"), put("/a", 5, "old"), put("/b", 6, "new"), delete("/b", 5)]));
        assert_eq!((shown(&held).as_str(), held.applied), ("/a=new@6 /b=new@6", 6));
    }

    #[test]
    fn a_reading_keeps_what_is_equal() {
        let mut held = Held::default();
        held.replace(vec![kv("/a", 3, "1"), kv("/b", 4, "1")], 5);
        for (_, item) in held.iter() {
            item.entry.set(None).unwrap();
        }
        assert!(!held.replace(vec![kv("/a", 2, "1"), kv("/b", 4, "1")], 4), "a restored backup with the same data");
        assert_eq!((shown(&held).as_str(), held.applied), ("/a=1@2 /b=1@4", 4));
        assert!(held.replace(vec![kv("/a", 2, "9")], 6));
        assert!(held.iter().all(|(_, item)| item.entry.get().is_none()), "another value is another item");
        assert!(held.replace(Vec::new(), 7));
        assert!(!held.replace(Vec::new(), 8));
    }

    #[test]
    fn an_update_and_a_count_find_deletions() {
        let mut held = Held::default();
        held.replace(vec![kv("/a", 3, "1"), kv("/b", 4, "1")], 5);
        assert_eq!(held.count_with(&[kv("/a", 6, "2")]), 2);
        assert_eq!(held.count_with(&[kv("/c", 6, "2")]), 3, "/b deleted and /c added count 2 on the server");
        assert!(held.update(vec![kv("/c", 6, "2")], 6));
        assert!(!held.update(vec![kv("/c", 6, "2")], 7));
        assert_eq!(held.applied, 7);
    }

    #[test]
    fn an_audit_sees_what_was_not_delivered() {
        let mut held = Held::default();
        held.replace(vec![kv("/a", 3, "1"), kv("/b", 4, "1")], 5);
        let cases: [(&[KeyValue], usize, i64, bool); 6] = [
            (&[], 2, 5, false),
            (&[], 2, 9, false),
            (&[kv("/a", 6, "")], 2, 6, true),
            (&[kv("/c", 6, "")], 3, 6, true),
            (&[], 1, 6, true),
            (&[], 1, 4, false),
        ];
        for (kvs, count, revision, expected) in cases {
            assert_eq!(held.disagrees(kvs, count, revision), expected, "{kvs:?} {count} {revision}");
        }
        held.apply([delete("/a", 7)]);
        assert!(!held.disagrees(&[kv("/a", 6, "")], 2, 6), "deleted since");
        assert!(held.disagrees(&[kv("/b", 6, "")], 2, 6), "a lost change is seen though later ones came");
    }
}
