//! The store: the latest answer to every query, and who read it.
//!
//! It is the one owner of answers. Registries publish into it; a target takes a frozen [`View`] to render from and
//! says afterwards what it read. Latest wins, there is no queue, and an answer equal to the one before wakes nobody.
//! Its lock is held for look-ups and swaps only, never across an await.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{Notify, watch};

use crate::registry::{Answer, Asked, Publication, Query, QueryError, Wanted};

/// How long a query that nobody reads is kept.
const KEEP_UNREAD: Duration = Duration::from_secs(300);

/// What the store holds of one query.
#[derive(Debug, Clone, Default)]
struct Slot {
    /// The last answer; none while the query was never answered.
    answer: Option<Arc<Answer>>,
    /// Why the last attempt gave no new answer, while that is so.
    error: Option<QueryError>,
    /// The publication that last changed the answer, or the error while there is no answer.
    changed: u64,
    /// The number of the question that the answer belongs to; see [`Reader::read_again`].
    serial: u64,
    /// When the answer became what it is.
    since: Option<SystemTime>,
}

/// All answers at one moment, immutable; taken in constant time.
#[derive(Debug, Clone, Default)]
pub struct View {
    slots: Arc<HashMap<Asked, Slot>>,
    publication: u64,
    /// Answers that are shown instead of those of the registry.
    instead: Arc<HashMap<Asked, Arc<Answer>>>,
    /// Answers that stand in for those that are not there yet.
    earlier: Arc<Earlier>,
}

/// Answers that an earlier life of the program has saved.
pub type Earlier = HashMap<Asked, EarlierAnswer>;

/// An answer that an earlier life of the program has saved.
#[derive(Debug, Clone, PartialEq)]
pub struct EarlierAnswer {
    /// The answer.
    pub answer: Arc<Answer>,
    /// When it was saved.
    pub saved: SystemTime,
}

impl View {
    /// A view of these answers alone, for tests of templates.
    pub fn of(answers: impl IntoIterator<Item = (Asked, Answer)>) -> Self {
        let slots = answers
            .into_iter()
            .map(|(asked, answer)| {
                (asked, Slot { answer: Some(Arc::new(answer)), changed: 1, serial: 1, ..Slot::default() })
            })
            .collect();
        Self { slots: Arc::new(slots), publication: 1, ..Self::default() }
    }

    /// The same view with these answers in the place of what the registries say, such as those that a guard holds on to.
    #[must_use]
    pub fn showing(self, instead: HashMap<Asked, Arc<Answer>>) -> Self {
        Self { instead: Arc::new(instead), ..self }
    }

    /// The same view with these answers where there is none yet.
    #[must_use]
    pub fn backed_by(self, earlier: Arc<Earlier>) -> Self {
        Self { earlier, ..self }
    }

    /// The answer to a query; none while it was never answered.
    pub fn answer(&self, asked: &Asked) -> Option<&Arc<Answer>> {
        let own = self.instead.get(asked).or_else(|| self.slots.get(asked)?.answer.as_ref());
        own.or_else(|| self.earlier.get(asked).map(|earlier| &earlier.answer))
    }

    /// All answers that there are, for messages.
    pub fn answers(&self) -> impl Iterator<Item = (&Asked, &Arc<Answer>)> {
        let own = self.slots.iter().filter_map(|(asked, slot)| Some((asked, slot.answer.as_ref()?)));
        own.chain(
            self.earlier
                .iter()
                .filter(|(asked, _)| self.latest(asked).is_none())
                .map(|(asked, earlier)| (asked, &earlier.answer)),
        )
    }

    /// When the answer to a query was saved, if that is one of an earlier life.
    pub fn earlier(&self, asked: &Asked) -> Option<SystemTime> {
        let is_answered = self.instead.contains_key(asked) || self.latest(asked).is_some();
        self.earlier.get(asked).filter(|_| !is_answered).map(|earlier| earlier.saved)
    }

    /// The answer of the registry, whatever is shown instead, and the number of the question that it belongs to: it was
    /// read after [`Reader::read_again`] gave a number if its own is no less.
    pub fn latest(&self, asked: &Asked) -> Option<(&Arc<Answer>, u64)> {
        let slot = self.slots.get(asked)?;
        Some((slot.answer.as_ref()?, slot.serial))
    }

    /// Why a query has no new answer, if that is so.
    pub fn error(&self, asked: &Asked) -> Option<&QueryError> {
        self.slots.get(asked)?.error.as_ref()
    }

    /// The number of the last publication that this view shows.
    pub fn publication(&self) -> u64 {
        self.publication
    }

    /// The queries whose answers changed after the publication with this number.
    pub fn changed_after(&self, publication: u64) -> impl Iterator<Item = &Asked> {
        self.slots.iter().filter(move |(_, slot)| slot.changed > publication).map(|(asked, _)| asked)
    }

    /// Whether one of these answers changed after the publication with this number.
    pub fn changed_since<'a>(&self, publication: u64, asked: impl IntoIterator<Item = &'a Asked>) -> bool {
        asked.into_iter().any(|asked| self.slots.get(asked).is_some_and(|slot| slot.changed > publication))
    }
}

/// The owner of all answers.
#[derive(Debug, Default)]
pub struct Store {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    slots: Arc<HashMap<Asked, Slot>>,
    publication: u64,
    /// Who is woken when an answer changes.
    readers_of: HashMap<Asked, HashSet<u64>>,
    readers: HashMap<u64, Subscription>,
    next_reader: u64,
    /// What each registry is asked to follow.
    wanted: HashMap<Arc<str>, watch::Sender<Wanted>>,
    /// The last serial number that a wanted query was given.
    serial: u64,
    /// Queries that nobody reads, and since when.
    unread: HashMap<Asked, Instant>,
    /// Registries that are away, and why.
    outages: HashMap<Arc<str>, String>,
}

#[derive(Debug)]
struct Subscription {
    reads: BTreeSet<Asked>,
    pending: Option<Changes>,
    wake: Arc<Notify>,
}

/// Changes of answers that a reader has read, since it last asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changes {
    /// When the first of them was published.
    pub first: Instant,
    /// When the last of them was published.
    pub last: Instant,
}

/// Who reads answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReaderId(u64);

/// How one query of a reader stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The query.
    pub asked: Asked,
    /// The revision of the last answer, and when that became what it is; none while it was never answered.
    pub answered: Option<(u64, Option<SystemTime>)>,
    /// Why there is no newer answer, where the registry said so or is away.
    pub reason: Option<String>,
}

/// How the queries of a reader stand together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Readings {
    /// How many there are.
    pub queries: usize,
    /// How many of them the registry refuses to answer anew, for now.
    pub refused: usize,
    /// The registries that are asked and away.
    pub away: BTreeSet<Arc<str>>,
}

impl Store {
    /// An empty store.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Makes a registry known; gives the queries that it is to follow, now and later.
    pub fn add_registry(&self, name: &Arc<str>) -> watch::Receiver<Wanted> {
        let mut state = self.lock();
        let sender = watch::Sender::new(Arc::default());
        let receiver = sender.subscribe();
        state.wanted.insert(name.clone(), sender);
        state.want_again(name);
        receiver
    }

    /// Forgets a registry, its answers and what it was asked, before another one takes its name: that may be of another
    /// kind, and nobody has asked it anything yet.
    pub fn remove_registry(&self, name: &str) {
        let mut state = self.lock();
        let stays = |asked: &Asked| &*asked.registry != name;
        state.wanted.remove(name);
        state.outages.remove(name);
        Arc::make_mut(&mut state.slots).retain(|asked, _| stays(asked));
        state.unread.retain(|asked, _| stays(asked));
        state.readers_of.retain(|asked, _| stays(asked));
        state.readers.values_mut().for_each(|reader| reader.reads.retain(&stays));
    }

    /// Makes all replies of a registry visible in one step and wakes whoever read one of those that changed, or that
    /// were read again. `seen` is what the registry knew to be wanted when it answered.
    pub fn publish_as_of(&self, registry: &Arc<str>, publication: Publication, seen: &Wanted) {
        let (now, wall) = (Instant::now(), SystemTime::now());
        let mut state = self.lock();
        let state = &mut *state;
        let Some(wanted) = state.wanted.get(registry).map(|sender| sender.borrow().clone()) else { return };
        state.publication += 1;
        let slots = Arc::make_mut(&mut state.slots);
        let mut woken = HashSet::new();
        for reply in publication {
            if !wanted.contains_key(&reply.query) {
                continue;
            }
            let serial = seen.get(&reply.query).copied().unwrap_or_default();
            let asked = Asked { registry: registry.clone(), query: reply.query };
            let slot = slots.entry(asked.clone()).or_default();
            let mut confirmed = false;
            let changed = match reply.result {
                Err(error) => {
                    let news = slot.answer.is_none() && slot.error.as_ref() != Some(&error);
                    slot.error = Some(error);
                    news
                }
                Ok(answer) => {
                    slot.error = None;
                    confirmed = serial > slot.serial;
                    slot.serial = slot.serial.max(serial);
                    let news = slot.answer.as_deref() != Some(&answer);
                    if !news && slot.answer.as_ref().is_some_and(|before| before.beside != answer.beside) {
                        // What stands beside is for messages: it wakes nobody.
                        slot.answer = Some(Arc::new(answer));
                    } else if news {
                        slot.answer = Some(Arc::new(answer));
                        slot.since = Some(wall);
                    }
                    news
                }
            };
            if changed {
                slot.changed = state.publication;
            }
            if changed || confirmed {
                woken.extend(state.readers_of.get(&asked).into_iter().flatten());
            }
        }
        for reader in woken {
            if let Some(subscription) = state.readers.get_mut(&reader) {
                subscription.note(now);
            }
        }
    }

    /// The same by a registry that knows all that is wanted.
    #[cfg(test)]
    pub(crate) fn publish(&self, registry: &Arc<str>, publication: Publication) {
        let wanted = self.lock().wanted.get(registry).map(|sender| sender.borrow().clone());
        self.publish_as_of(registry, publication, &wanted.unwrap_or_default());
    }

    /// Notes that a registry is away, or that it is back.
    pub fn set_outage(&self, registry: &Arc<str>, outage: Option<String>) {
        let mut state = self.lock();
        match outage {
            Some(reason) => state.outages.insert(registry.clone(), reason),
            None => state.outages.remove(registry),
        };
    }

    /// Why a query is not answered, as far as that is known.
    pub fn reason(&self, asked: &Asked) -> Option<String> {
        self.lock().reason(asked)
    }

    /// How the queries of a reader stand, each by itself.
    pub fn readings(&self, reader: ReaderId) -> Vec<Reading> {
        let state = self.lock();
        let reads = state.readers.get(&reader.0).into_iter().flat_map(|reader| &reader.reads);
        let reading = |asked: &Asked| {
            let slot = state.slots.get(asked);
            let answered = slot.and_then(|slot| Some((slot.answer.as_ref()?.revision, slot.since)));
            Reading { asked: asked.clone(), answered, reason: state.reason(asked) }
        };
        reads.map(reading).collect()
    }

    /// How the queries of a reader stand together.
    pub fn readings_of(&self, reader: ReaderId) -> Readings {
        let state = self.lock();
        let mut readings = Readings::default();
        for asked in state.readers.get(&reader.0).into_iter().flat_map(|reader| &reader.reads) {
            readings.queries += 1;
            readings.refused += usize::from(state.slots.get(asked).is_some_and(|slot| slot.error.is_some()));
            if state.outages.contains_key(&asked.registry) && !readings.away.contains(&asked.registry) {
                readings.away.insert(asked.registry.clone());
            }
        }
        readings
    }

    /// Drops the queries that nobody has read for five minutes. Called now and then.
    pub fn sweep(&self, now: Instant) {
        let mut state = self.lock();
        let state = &mut *state;
        let mut dropped = BTreeSet::new();
        state.unread.retain(|asked, since| {
            let keep = now.duration_since(*since) < KEEP_UNREAD;
            if !keep {
                dropped.insert(asked.clone());
            }
            keep
        });
        if dropped.is_empty() {
            return;
        }
        let slots = Arc::make_mut(&mut state.slots);
        for asked in &dropped {
            slots.remove(asked);
        }
        let registries: HashSet<_> = dropped.iter().map(|asked| asked.registry.clone()).collect();
        for registry in registries {
            state.want_again(&registry);
        }
    }

    /// A new reader that has read nothing yet.
    pub fn reader(self: &Arc<Self>) -> Reader {
        let mut state = self.lock();
        let id = state.next_reader;
        state.next_reader += 1;
        let wake = Arc::new(Notify::new());
        state.readers.insert(id, Subscription { reads: BTreeSet::new(), pending: None, wake: wake.clone() });
        Reader { store: self.clone(), id, wake }
    }

    /// A panic elsewhere leaves whole values behind: every change under the lock is a swap.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscription {
    fn note(&mut self, now: Instant) {
        match &mut self.pending {
            Some(changes) => changes.last = now,
            None => self.pending = Some(Changes { first: now, last: now }),
        }
        self.wake.notify_one();
    }
}

impl State {
    /// Why a query has no new answer, as far as that is known.
    fn reason(&self, asked: &Asked) -> Option<String> {
        let error = self.slots.get(asked).and_then(|slot| slot.error.as_ref()).map(ToString::to_string);
        error.or_else(|| self.outages.get(&asked.registry).cloned())
    }

    /// Tells a registry what is wanted of it, if that is not what it was told last.
    fn want_again(&mut self, registry: &Arc<str>) {
        let Some(sender) = self.wanted.get(registry) else { return };
        let before = sender.borrow().clone();
        let asked = self.readers_of.keys().chain(self.unread.keys()).filter(|asked| asked.registry == *registry);
        let wanted: BTreeMap<Query, u64> = asked
            .map(|asked| {
                let serial = before.get(&asked.query).copied().unwrap_or_else(|| {
                    self.serial += 1;
                    self.serial
                });
                (asked.query.clone(), serial)
            })
            .collect();
        if *before != wanted {
            sender.send_replace(Arc::new(wanted));
        }
    }

    /// Gives queries another number, under which their registries read them again.
    fn read_again<'a>(&mut self, all: impl IntoIterator<Item = &'a Asked>) -> u64 {
        self.serial += 1;
        let mut queries: HashMap<&Arc<str>, Vec<&Query>> = HashMap::new();
        for asked in all {
            queries.entry(&asked.registry).or_default().push(&asked.query);
        }
        for (registry, queries) in queries {
            let Some(sender) = self.wanted.get(registry) else { continue };
            sender.send_modify(|wanted| {
                let wanted = Arc::make_mut(wanted);
                for query in queries {
                    if let Some(serial) = wanted.get_mut(query) {
                        *serial = self.serial;
                    }
                }
            });
        }
        self.serial
    }

    /// Makes `reads` all that this reader has read.
    fn set_reads(&mut self, reader: u64, reads: BTreeSet<Asked>) {
        let Some(subscription) = self.readers.get_mut(&reader) else { return };
        let before = std::mem::replace(&mut subscription.reads, reads);
        let now = Instant::now();
        let added: Vec<Asked> = subscription.reads.difference(&before).cloned().collect();
        let removed: Vec<Asked> = before.difference(&subscription.reads).cloned().collect();
        let mut touched = HashSet::new();
        for asked in added {
            let known = self.unread.remove(&asked).is_some() || self.readers_of.contains_key(&asked);
            if !known {
                touched.insert(asked.registry.clone());
            }
            self.readers_of.entry(asked).or_default().insert(reader);
        }
        for asked in removed {
            if let Some(readers) = self.readers_of.get_mut(&asked) {
                readers.remove(&reader);
                if readers.is_empty() {
                    self.readers_of.remove(&asked);
                    self.unread.insert(asked, now);
                }
            }
        }
        for registry in touched {
            self.want_again(&registry);
        }
    }
}

/// One target's access to the store. Dropping it ends its interest in what it read.
#[derive(Debug)]
pub struct Reader {
    store: Arc<Store>,
    id: u64,
    wake: Arc<Notify>,
}

impl Reader {
    /// All answers as they are now.
    pub fn view(&self) -> View {
        let state = self.store.lock();
        View { slots: state.slots.clone(), publication: state.publication, ..View::default() }
    }

    /// Has the registries read these queries again, as surely as they can. Gives a number: an answer whose
    /// number ([`View::latest`]) is no less was read after this call by a consistent read, also one that is equal to the answer
    /// before, and wakes this reader. While a registry is away there is no such answer.
    pub fn read_again<'a>(&self, all: impl IntoIterator<Item = &'a Asked>) -> u64 {
        self.store.lock().read_again(all)
    }

    /// Says what a render from `view` asked: what comes of the next one depends on this alone. New queries are followed
    /// from now on, and what is not read any more for a while. If one of the answers has changed since the view was
    /// taken, that counts as a change.
    pub fn has_read(&self, view: &View, reads: BTreeSet<Asked>) {
        let mut state = self.store.lock();
        let now = View { slots: state.slots.clone(), publication: state.publication, ..View::default() };
        let is_outdated = now.changed_since(view.publication, &reads);
        state.set_reads(self.id, reads);
        if is_outdated && let Some(subscription) = state.readers.get_mut(&self.id) {
            subscription.note(Instant::now());
        }
    }

    /// Waits until something that was read has changed. Safe to cancel.
    pub async fn changed(&self) -> Changes {
        loop {
            if let Some(changes) = self.take_changes() {
                return changes;
            }
            self.wake.notified().await;
        }
    }

    /// The changes since the last call, if there are any.
    pub fn take_changes(&self) -> Option<Changes> {
        self.store.lock().readers.get_mut(&self.id)?.pending.take()
    }

    /// Why a query is not answered, as far as that is known.
    pub fn reason(&self, asked: &Asked) -> Option<String> {
        self.store.reason(asked)
    }

    /// What tells this reader from others.
    pub fn id(&self) -> ReaderId {
        ReaderId(self.id)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.store.lock();
        state.set_reads(self.id, BTreeSet::new());
        state.readers.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{Data, Path, Reply, Text};

    fn key(path: &str) -> Query {
        Query::Key(Path::parse(path).unwrap())
    }

    fn asked(path: &str) -> Asked {
        Asked { registry: "main".into(), query: key(path) }
    }

    fn reply(path: &str, value: &'static str) -> Reply {
        let data = Data::Key(Some(Text(value.as_bytes().into())));
        Reply { query: key(path), result: Ok(Answer::new(data, 1)) }
    }

    fn read(reader: &Reader, paths: &[&str]) {
        reader.has_read(&reader.view(), paths.iter().map(|path| asked(path)).collect());
    }

    #[test]
    fn only_a_reader_of_a_changed_answer_is_woken() {
        let store = Store::new();
        let main: Arc<str> = "main".into();
        let wanted = store.add_registry(&main);
        let (one, two) = (store.reader(), store.reader());
        read(&one, &["a"]);
        read(&two, &["b"]);
        assert!(wanted.borrow().keys().eq(&[key("a"), key("b")]));

        store.publish(&main, vec![reply("a", "1"), reply("b", "1")]);
        assert!(one.take_changes().is_some() && two.take_changes().is_some());
        store.publish(&main, vec![reply("a", "2"), reply("b", "1")]);
        assert!(one.take_changes().is_some() && two.take_changes().is_none());
        store.publish(&main, vec![reply("a", "2")]);
        assert!(one.take_changes().is_none(), "an equal answer wakes nobody");
    }

    #[test]
    fn a_change_between_view_and_record_is_not_lost() {
        let store = Store::new();
        let main: Arc<str> = "main".into();
        let _wanted = store.add_registry(&main);
        let reader = store.reader();
        read(&reader, &["a"]);
        store.publish(&main, vec![reply("a", "1")]);
        let _ = reader.take_changes();
        read(&reader, &[]);
        let view = reader.view();
        store.publish(&main, vec![reply("a", "2")]);
        assert!(reader.take_changes().is_none());
        reader.has_read(&view, [asked("a")].into());
        assert!(reader.take_changes().is_some());
    }

    #[test]
    fn the_successor_of_a_registry_is_asked_nothing_that_it_was_not_asked_itself() {
        let store = Store::new();
        let main: Arc<str> = "main".into();
        let _wanted = store.add_registry(&main);
        let (one, two) = (store.reader(), store.reader());
        read(&one, &["a"]);
        read(&two, &["b"]);
        read(&two, &[]);
        store.publish(&main, vec![reply("a", "1")]);
        store.remove_registry("main");
        let wanted = store.add_registry(&main);
        assert!(wanted.borrow().is_empty() && one.view().answer(&asked("a")).is_none());
        drop(one);
        assert!(wanted.borrow().is_empty());
        read(&two, &["b"]);
        assert!(wanted.borrow().keys().eq(&[key("b")]));
    }

    #[test]
    fn an_error_keeps_the_answer_and_a_view_is_frozen() {
        let store = Store::new();
        let main: Arc<str> = "main".into();
        let _wanted = store.add_registry(&main);
        let reader = store.reader();
        read(&reader, &["a"]);
        store.publish(&main, vec![reply("a", "1")]);
        let before = reader.view();
        store.publish(&main, vec![Reply { query: key("a"), result: Err(QueryError::denied("denied")) }]);
        let after = reader.view();
        assert!(after.answer(&asked("a")).is_some());
        assert_eq!(after.error(&asked("a")), Some(&QueryError::denied("denied")));
        assert_eq!(before.error(&asked("a")), None);
    }

    #[test]
    fn what_was_saved_stands_in_where_nothing_was_answered() {
        let store = Store::new();
        let main: Arc<str> = "main".into();
        let _wanted = store.add_registry(&main);
        let reader = store.reader();
        read(&reader, &["a", "b"]);
        store.publish(&main, vec![reply("a", "new")]);
        let saved = SystemTime::UNIX_EPOCH;
        let earlier = ["a", "b"].map(|path| {
            let answer = Arc::new(reply(path, "old").result.unwrap());
            (asked(path), EarlierAnswer { answer, saved })
        });
        let view = reader.view().backed_by(Arc::new(earlier.into()));
        let value = |path: &str| view.answer(&asked(path)).map(|answer| answer.data.clone());
        assert_eq!((value("a"), view.earlier(&asked("a"))), (Some(reply("a", "new").result.unwrap().data), None));
        assert_eq!(
            (value("b"), view.earlier(&asked("b"))),
            (Some(reply("b", "old").result.unwrap().data), Some(saved))
        );
        assert_eq!((value("c"), view.earlier(&asked("c"))), (None, None));
        assert!(view.latest(&asked("b")).is_none());
    }

    #[test]
    fn a_query_that_is_read_again_tells_what_was_read_since() {
        let store = Store::new();
        let main: Arc<str> = "main".into();
        let wanted = store.add_registry(&main);
        let (reader, other) = (store.reader(), store.reader());
        read(&reader, &["a", "b"]);
        read(&other, &["b"]);
        store.publish(&main, vec![reply("a", "1"), reply("b", "1")]);
        let (_, _) = (reader.take_changes(), other.take_changes());
        let before = wanted.borrow().clone();

        let serial = |reader: &Reader| reader.view().latest(&asked("a")).map(|(_, serial)| serial).unwrap();
        let number = reader.read_again([&asked("a")]);
        assert_eq!(wanted.borrow()[&key("a")], number);
        assert_eq!(wanted.borrow()[&key("b")], before[&key("b")]);
        store.publish_as_of(&main, vec![reply("a", "1"), reply("b", "1")], &before);
        assert!(reader.take_changes().is_none(), "it may have been read before");
        assert!(serial(&reader) < number);
        store.publish(&main, vec![Reply { query: key("a"), result: Err(QueryError::new("no leader")) }]);
        assert!(serial(&reader) < number, "an error confirms nothing");

        let publication = reader.view().publication();
        store.publish(&main, vec![reply("a", "1"), reply("b", "1")]);
        assert!(serial(&reader) >= number);
        assert!(reader.take_changes().is_some() && other.take_changes().is_none());
        assert!(!reader.view().changed_since(publication, &[asked("a")]), "nothing is rendered anew for it");
        store.publish(&main, vec![reply("a", "1")]);
        assert!(reader.take_changes().is_none());
    }

    #[test]
    fn unread_queries_are_dropped_after_five_minutes() {
        let store = Store::new();
        let main: Arc<str> = "main".into();
        let wanted = store.add_registry(&main);
        let reader = store.reader();
        read(&reader, &["a", "b"]);
        read(&reader, &["b"]);
        store.sweep(Instant::now());
        assert_eq!(wanted.borrow().len(), 2);
        store.sweep(Instant::now() + KEEP_UNREAD);
        assert!(wanted.borrow().keys().eq(&[key("b")]));
        drop(reader);
        store.sweep(Instant::now() + KEEP_UNREAD);
        assert!(wanted.borrow().is_empty());
    }

    #[test]
    fn a_query_that_is_wanted_again_is_told_from_the_one_before() {
        let store = Store::new();
        let wanted = store.add_registry(&"main".into());
        let reader = store.reader();
        read(&reader, &["a"]);
        let before = wanted.borrow().clone();
        read(&reader, &[]);
        store.sweep(Instant::now() + KEEP_UNREAD);
        read(&reader, &["a"]);
        assert!(wanted.borrow().contains_key(&key("a")) && **wanted.borrow() != *before);
    }
}
