//! What is wanted and what is held of it; outlives a connection, so that a reconnect compares instead of forgetting.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::time::Instant;

use super::answers::{Answers, LeftOut};
use super::held::Held;
use super::keys::KeyRange;
use super::messages::Event;
use super::read::{Found, Part};
use super::stream::WatchId;
use crate::config::Limits;
use crate::protection::Protection;
use crate::registry::{Answer, Query, QueryError, Reply, UnknownService};

/// The ranges that are followed and the queries that they answer.
pub(super) struct State {
    answers: Arc<Answers>,
    ranges: BTreeMap<KeyRange, Followed>,
    queries: BTreeMap<Query, Question>,
    /// Queries that nothing was published for yet.
    unanswered: BTreeSet<Query>,
    left_out: LeftOut,
    /// The cluster and the newest revision that was seen; both tell a restored backup.
    pub(super) seen: Option<(u64, i64)>,
}

/// A query that is wanted.
struct Question {
    /// As the store numbers it: under another number it is read again, and answered even if nothing has changed.
    serial: u64,
    ranges: Vec<KeyRange>,
}

/// One range that is followed.
#[derive(Default)]
struct Followed {
    held: Held,
    /// Whether `held` was read from this server, so that a reading of what changed since is enough.
    known: bool,
    /// Why nothing is known of it, while that is so.
    refusal: Option<Refusal>,
    /// Its watch on the stream.
    watch: Option<WatchId>,
    queries: BTreeSet<Query>,
}

impl Followed {
    fn may_be_read(&self, retry: bool, now: Instant) -> bool {
        match &self.refusal {
            None => true,
            Some(refusal) => retry && refusal.not_before.is_none_or(|at| at <= now),
        }
    }
}

/// A range that may not be read.
struct Refusal {
    error: QueryError,
    /// It is not even tried before.
    not_before: Option<Instant>,
}

impl State {
    pub(super) fn new(answers: Arc<Answers>, registry: Arc<str>) -> Self {
        Self {
            answers,
            ranges: BTreeMap::new(),
            queries: BTreeMap::new(),
            unanswered: BTreeSet::new(),
            left_out: LeftOut::new(registry),
            seen: None,
        }
    }

    /// A new connection: nothing is watched on it, and everything is read and published again.
    pub(super) fn begin(&mut self) {
        for followed in self.ranges.values_mut() {
            followed.watch = None;
            // Neither the cluster's id nor its revision tells that a backup was restored meanwhile.
            followed.known &= Protection::Relist.is_off();
        }
        self.unanswered = self.queries.keys().cloned().collect();
    }

    /// Follows exactly these queries. Gives the watches that nobody needs any more.
    pub(super) fn want(&mut self, wanted: &BTreeMap<Query, u64>) -> Vec<WatchId> {
        let mut ended = Vec::new();
        let dropped: Vec<Query> = self.queries.keys().filter(|query| !wanted.contains_key(*query)).cloned().collect();
        for query in dropped {
            self.unanswered.remove(&query);
            for range in self.queries.remove(&query).map(|question| question.ranges).unwrap_or_default() {
                if let Some(followed) = self.ranges.get_mut(&range) {
                    followed.queries.remove(&query);
                    if followed.queries.is_empty() {
                        ended.extend(followed.watch);
                        self.ranges.remove(&range);
                    }
                }
            }
        }
        for (query, &serial) in wanted {
            match self.queries.get_mut(query) {
                Some(question) if question.serial == serial => continue,
                Some(question) => {
                    question.serial = serial;
                    for range in &question.ranges {
                        if let Some(followed) = self.ranges.get_mut(range) {
                            followed.known = false;
                        }
                    }
                }
                None => {
                    let ranges = self.answers.ranges(query);
                    for range in &ranges {
                        self.ranges.entry(range.clone()).or_default().queries.insert(query.clone());
                    }
                    self.queries.insert(query.clone(), Question { serial, ranges });
                }
            }
            self.unanswered.insert(query.clone());
        }
        ended
    }

    /// Whether something is wanted that must be read before it can be answered.
    pub(super) fn has_unread(&self) -> bool {
        self.ranges.values().any(|followed| !followed.known && followed.refusal.is_none())
    }

    /// What a synchronisation reads: all of what is not known, what changed of the rest. Refused ranges are left out
    /// unless they are to be tried again.
    pub(super) fn wishes(&self, retry: bool) -> Vec<(KeyRange, Part)> {
        let now = Instant::now();
        self.ranges
            .iter()
            .filter(|(_, followed)| followed.may_be_read(retry, now))
            .map(|(range, followed)| {
                let part = if followed.known { Part::After(followed.held.applied) } else { Part::All };
                (range.clone(), part)
            })
            .collect()
    }

    /// What an audit reads: the names of the keys that changed since the last, or of all.
    pub(super) fn audit_wishes(&self, deep: bool) -> Vec<(KeyRange, Part)> {
        self.ranges
            .iter()
            .filter(|(_, followed)| followed.watch.is_some() && followed.known)
            .map(|(range, followed)| (range.clone(), Part::NamesAfter(if deep { 0 } else { followed.held.audited })))
            .collect()
    }

    /// The ranges that may not be read.
    pub(super) fn refused(&self) -> Vec<KeyRange> {
        let refused = self.ranges.iter().filter(|(_, followed)| followed.refusal.is_some());
        refused.map(|(range, _)| range.clone()).collect()
    }

    /// Whether keys were deleted that a reading of changes cannot show, so that the range must be read whole.
    pub(super) fn lacks_deletions(&self, range: &KeyRange, part: Part, found: &Found) -> bool {
        let Some(followed) = self.ranges.get(range) else { return false };
        matches!(part, Part::After(_)) && found.excess.is_none() && followed.held.count_with(&found.kvs) != found.count
    }

    /// Takes what was read at `revision`.
    pub(super) fn read(&mut self, range: &KeyRange, part: Part, found: Found, revision: i64) {
        let Some(followed) = self.ranges.get_mut(range) else { return };
        let changed = match part {
            Part::After(_) => followed.held.update(found.kvs, revision),
            _ => followed.held.replace(found.kvs, revision),
        };
        followed.known = true;
        if followed.refusal.take().is_some() || changed {
            self.unanswered.extend(followed.queries.iter().cloned());
        }
    }

    /// The ranges that hold more than `limits` allow, with why.
    pub(super) fn excesses(&self, limits: &Limits) -> Vec<(KeyRange, String)> {
        let excess = |(range, followed): (&KeyRange, &Followed)| Some((range.clone(), followed.held.excess(limits)?));
        self.ranges.iter().filter_map(excess).collect()
    }

    /// A range holds more than may be: nothing is kept of it. Gives the watch that is to be ended.
    pub(super) fn exceed(&mut self, range: &KeyRange, why: &str, not_before: Instant) -> Option<WatchId> {
        let followed = self.ranges.get_mut(range)?;
        followed.held = Held::default();
        let error = QueryError::new(format!("too large: {why}"));
        if followed.refusal.as_ref().is_none_or(|refusal| refusal.error != error) {
            self.unanswered.extend(followed.queries.iter().cloned());
        }
        followed.refusal = Some(Refusal { error, not_before: Some(not_before) });
        followed.known = false;
        followed.watch.take()
    }

    /// A range may not be read. Gives the watch that is to be ended.
    pub(super) fn refuse(
        &mut self,
        range: &KeyRange,
        user: Option<&str>,
        not_before: Option<Instant>,
    ) -> Option<WatchId> {
        let followed = self.ranges.get_mut(range)?;
        if followed.refusal.is_none() {
            let error = QueryError::denied(match user {
                Some(user) => format!("permission denied: user `{user}` may not read {range}"),
                None => format!("permission denied: {range} may not be read without a user"),
            });
            followed.refusal = Some(Refusal { error, not_before });
            self.unanswered.extend(followed.queries.iter().cloned());
        } else if let Some(refusal) = &mut followed.refusal {
            refusal.not_before = not_before;
        }
        followed.known = false;
        followed.watch.take()
    }

    /// Applies the events of a range.
    pub(super) fn apply(&mut self, range: &KeyRange, events: Vec<Event>) {
        let Some(followed) = self.ranges.get_mut(range) else { return };
        if followed.held.apply(events) {
            self.unanswered.extend(followed.queries.iter().cloned());
        }
    }

    /// Whether a reading of names shows what the watch has not delivered; if not, the range is audited up to it.
    pub(super) fn audit(&mut self, range: &KeyRange, found: &Found, revision: i64) -> bool {
        let Some(followed) = self.ranges.get_mut(range) else { return false };
        let disagrees = followed.watch.is_some() && followed.held.disagrees(&found.kvs, found.count, revision);
        if !disagrees {
            followed.held.audited = followed.held.audited.max(revision);
        }
        disagrees
    }

    /// Ranges that have no watch yet; refused ones only if they are to be tried again.
    pub(super) fn unwatched(&self, retry: bool) -> Vec<KeyRange> {
        let now = Instant::now();
        self.ranges
            .iter()
            .filter(|(_, followed)| followed.watch.is_none() && followed.may_be_read(retry, now))
            .map(|(range, _)| range.clone())
            .collect()
    }

    /// The key that changed last of all that are held, and when that was.
    pub(super) fn newest(&self) -> Option<(KeyRange, i64)> {
        let items = self.ranges.values().flat_map(|followed| followed.held.iter());
        let (key, item) = items.max_by_key(|(_, item)| item.revision)?;
        Some((KeyRange::key(key.to_vec()), item.revision))
    }

    /// A range has this watch now.
    pub(super) fn set_watch(&mut self, range: &KeyRange, watch: WatchId) {
        if let Some(followed) = self.ranges.get_mut(range) {
            followed.watch = Some(watch);
        }
    }

    /// A range must be read whole again.
    pub(super) fn forget(&mut self, range: &KeyRange) {
        if let Some(followed) = self.ranges.get_mut(range) {
            followed.known = false;
            followed.watch = None;
        }
    }

    /// Whether a range may not be read.
    pub(super) fn has_refusals(&self) -> bool {
        self.ranges.values().any(|followed| followed.refusal.is_some())
    }

    /// The replies to all queries that are new or whose data changed since the last time.
    pub(super) fn replies(&mut self, revision: i64) -> Vec<Reply> {
        let mut replies = Vec::with_capacity(self.unanswered.len());
        for query in std::mem::take(&mut self.unanswered) {
            let ranges = self.queries.get(&query).map(|question| question.ranges.as_slice()).unwrap_or_default();
            let followed: Vec<&Followed> = ranges.iter().filter_map(|range| self.ranges.get(range)).collect();
            let result = match followed.iter().find_map(|followed| followed.refusal.as_ref()) {
                Some(refusal) => Err(refusal.error.clone()),
                // Not read yet: it will be, and is answered then.
                None if followed.iter().any(|followed| !followed.known) => {
                    self.unanswered.insert(query);
                    continue;
                }
                None => {
                    let held: Vec<&Held> = followed.iter().map(|followed| &followed.held).collect();
                    let revision = u64::try_from(revision).unwrap_or_default();
                    let nothing = matches!(query, Query::Service(_)) && held.iter().all(|held| held.is_empty());
                    // The names beside it are not held: what may be meant instead is not known.
                    let unknown = nothing.then(UnknownService::default);
                    let data = self.answers.answer(&query, &held, &mut self.left_out);
                    data.map(|data| Answer { unknown, ..Answer::new(data, revision) })
                }
            };
            replies.push(Reply { query, result });
        }
        replies
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::Config;
    use super::super::messages::KeyValue;
    use super::*;
    use crate::registry::{Data, Path, ServiceQuery};

    fn state(queries: &[Query]) -> State {
        let etcd = Config::default().build().unwrap();
        let mut state = State::new(etcd.answers, "main".into());
        assert!(state.want(&numbered(queries, 0)).is_empty());
        state
    }

    fn numbered(queries: &[Query], serial: u64) -> BTreeMap<Query, u64> {
        queries.iter().map(|query| (query.clone(), serial)).collect()
    }

    fn path(text: &str) -> Path {
        Path::parse(text).unwrap()
    }

    fn found(keys: &[&str]) -> Found {
        let kv = |key: &&str| KeyValue { key: (*key).into(), mod_revision: 2, value: b"10.0.0.1:80".to_vec() };
        Found { kvs: keys.iter().map(kv).collect(), count: keys.len(), excess: None }
    }

    fn read_all(state: &mut State, keys: &[&str]) {
        for (range, part) in state.wishes(true) {
            state.read(&range, part, found(keys), 5);
        }
    }

    #[test]
    fn equal_ranges_are_followed_once_and_as_long_as_somebody_needs_them() {
        let queries = [
            Query::Prefix(path("services/web")),
            Query::Listing(path("services/web")),
            Query::Service(ServiceQuery::passing("web")),
            Query::Key(path("services/web")),
        ];
        let mut state = state(&queries);
        let ranges = state.unwatched(false);
        assert_eq!(
            ranges.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["key `/services/web`", "keys below `/services/web/`"]
        );
        for (id, range) in (1..).zip(&ranges) {
            state.set_watch(range, id);
        }
        read_all(&mut state, &["/services/web/1"]);
        assert_eq!(state.replies(5).len(), 4);
        assert!(state.want(&numbered(&queries[1..3], 0)) == [1], "the key's own watch is not needed");
        assert!(state.want(&numbered(&queries[2..3], 0)).is_empty());
        assert!(state.want(&BTreeMap::new()) == [2]);
    }

    #[test]
    fn only_what_changed_is_answered_again() {
        let queries = [Query::Key(path("a")), Query::Prefix(path("b")), Query::Exists(path("b"))];
        let mut state = state(&queries);
        assert!(state.replies(0).is_empty(), "nothing is known, which is not the same as nothing there");
        read_all(&mut state, &[]);
        assert_eq!(state.replies(5).len(), 3);
        let kv = KeyValue { key: b"/b/x".to_vec(), mod_revision: 6, value: Vec::new() };
        let event = Event { kind: Event::PUT, kv: Some(kv) };
        let folder = state.unwatched(false).pop().unwrap();
        state.apply(&folder, vec![event.clone()]);
        let replies = state.replies(6);
        assert_eq!(replies.iter().map(|reply| &reply.query).collect::<Vec<_>>(), [&queries[2], &queries[1]]);
        assert!(replies.iter().all(|reply| reply.result.as_ref().is_ok_and(|answer| answer.revision == 6)));
        state.apply(&folder, vec![event]);
        assert!(state.replies(6).is_empty());
    }

    #[test]
    fn a_query_with_another_number_is_read_again_and_answered() {
        let queries = [Query::Key(path("a")), Query::Prefix(path("b"))];
        let mut state = state(&queries);
        assert!(state.has_unread());
        read_all(&mut state, &[]);
        assert_eq!(state.replies(5).len(), 2);
        let mut wanted = numbered(&queries, 0);
        wanted.insert(queries[0].clone(), 1);
        assert!(state.want(&wanted).is_empty());
        assert!(state.has_unread() && state.unwatched(false).len() == 2);
        assert!(state.replies(5).is_empty(), "what is held may be old");
        let parts: Vec<Part> = state.wishes(false).into_iter().map(|(_, part)| part).collect();
        assert_eq!(parts, [Part::All, Part::After(5)]);
        read_all(&mut state, &[]);
        assert_eq!(state.replies(5).iter().map(|reply| &reply.query).collect::<Vec<_>>(), [&queries[0]]);
        state.want(&wanted);
        assert!(state.replies(5).is_empty());
    }

    #[test]
    fn a_refused_range_is_an_error_until_it_is_read() {
        let query = Query::Key(path("a"));
        let mut state = state(std::slice::from_ref(&query));
        let range = state.unwatched(false).pop().unwrap();
        state.set_watch(&range, 1);
        assert_eq!(state.refuse(&range, Some("app"), None), Some(1), "its watch is to be ended");
        let error = state.replies(5).pop().unwrap().result.unwrap_err();
        assert_eq!(error.to_string(), "permission denied: user `app` may not read key `/a`");
        assert!(state.wishes(false).is_empty() && state.unwatched(false).is_empty());
        assert_eq!((state.wishes(true).len(), state.refused().len()), (1, 1));
        state.refuse(&range, Some("app"), None);
        assert!(state.replies(5).is_empty(), "it is said once");
        read_all(&mut state, &["/a"]);
        let answer = state.replies(6).pop().unwrap().result.unwrap();
        assert!(matches!(answer.data, Data::Key(Some(_))));
        assert!(!state.has_refusals());
    }
}
