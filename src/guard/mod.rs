//! Guards: what keeps an answer that would empty or gut an upstream out of the files.
//!
//! Registries do answer "none" with a valid index, during elections, agent restarts and changes of rights. A guard
//! belongs to a target and works on its view, query by query: a query that lost too much goes on with its last accepted
//! answer, every other query goes on. Whether an answer passes is decided in `query`, which is pure; what it decides is
//! told the log by `notice`. The [`Guard`] applies it to a view before a render, and to what a render read after it.
//!
//! A hold whose time is over does not end by the clock alone: the registry is asked to read the query again, and what it
//! says then is taken ([`Reader::read_again`](crate::store::Reader::read_again)). While it is away the hold lasts.

mod notice;
mod query;
#[cfg(test)]
mod tests;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

pub use query::{End, Event, GuardedQuery, Loss, Reason, Rule};

use self::notice::Notices;
use crate::config;
use crate::protection::Protection;
use crate::registry::{Asked, Query, Registry};
use crate::store::{Earlier, View};

/// A query whose answer is held back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The query.
    pub asked: Asked,
    /// What is held back.
    pub loss: Loss,
}

/// What a guard knows of its target's queries. It outlives the task of the target: when configuration or templates are
/// loaded anew the next task goes on with it, after the one before has ended.
#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// Files were found true or written since the program started: what is asked for the first time from now on stands
    /// in no file yet.
    started: bool,
    /// The guarded queries that the last whole render read, and at the start those that renders asked so far.
    queries: BTreeMap<Asked, GuardedQuery>,
    /// What an earlier life of the program has accepted; none once files were found true or written.
    earlier: Option<Arc<Earlier>>,
}

/// The guard of one target.
#[derive(Debug)]
pub struct Guard {
    rule: config::Guard,
    /// The registries that are guarded.
    registries: BTreeSet<Arc<str>>,
    memory: Memory,
    /// The publication of the last view: what has not changed since need not be looked at.
    seen: u64,
    /// Queries that are shown another way than before although their registry says the same.
    turned: BTreeSet<Asked>,
    notices: Notices,
}

impl Guard {
    /// The guard of `target`, by its configured rule, for what `registries` answer.
    pub fn new(
        target: Arc<str>,
        rule: config::Guard,
        registries: impl IntoIterator<Item = Arc<str>>,
        memory: Memory,
    ) -> Self {
        let registries = if Protection::Guard.is_off() { BTreeSet::new() } else { registries.into_iter().collect() };
        // What the task before held back it has told.
        let known = memory.lock();
        let told = known.queries.iter().filter(|(_, query)| query.shown().is_some());
        let notices = Notices::new(target, told.map(|(asked, _)| asked.clone()));
        drop(known);
        Self { rule, registries, memory, seen: 0, turned: BTreeSet::new(), notices }
    }

    /// Has these registries asked what we may read when a hold begins: a right that was taken away looks like a loss.
    #[must_use]
    pub fn asking(mut self, registries: BTreeMap<Arc<str>, Arc<dyn Registry>>) -> Self {
        self.notices.ask(registries);
        self
    }

    /// The view with the last accepted answer wherever that is held on to.
    pub fn apply(&mut self, view: View, now: Instant) -> View {
        let memory = self.memory.clone();
        let queries = &mut memory.lock().queries;
        let seen = std::mem::replace(&mut self.seen, view.publication());
        let mut news: BTreeSet<Asked> = view.changed_after(seen).cloned().collect();
        // What confirms a hold need not differ.
        news.extend(queries.iter().filter(|(_, query)| query.is_held()).map(|(asked, _)| asked.clone()));
        for asked in &news {
            if let Some(query) = queries.get_mut(asked)
                && let Some(rule) = self.rule_for(asked)
                && let Some((answer, serial)) = view.latest(asked)
                && let Some(event) = query.observe(&rule, answer, serial, now)
            {
                self.turned.insert(asked.clone());
                self.notices.tell(asked, query, &rule, event, now);
            }
        }
        let held = queries.iter().filter(|(asked, query)| query.is_held() && self.rule_for(asked).is_some());
        let shown = held.filter_map(|(asked, query)| Some((asked.clone(), query.shown()?.clone())));
        let instead: HashMap<_, _> = shown.collect();
        if instead.is_empty() { view } else { view.showing(instead) }
    }

    /// Has what an earlier life accepted stand for what a render from `view` has read before anything else is known of it.
    /// Whether it may have to be rendered anew from a view that is applied to again.
    pub fn recall(&mut self, view: &View, reads: &BTreeSet<Asked>) -> bool {
        let memory = self.memory.clone();
        let known = &mut *memory.lock();
        let Some(earlier) = &known.earlier else { return false };
        let mut answered = false;
        for asked in reads.iter().filter(|asked| self.rule_for(asked).is_some()) {
            if let (Some(earlier), Entry::Vacant(unknown)) = (earlier.get(asked), known.queries.entry(asked.clone())) {
                unknown.insert(GuardedQuery::accepting(earlier.answer.clone()));
                answered |= view.latest(asked).is_some();
            }
        }
        if answered {
            self.seen = 0;
        }
        answered
    }

    /// The queries that are shown another way since the last call, so that what was rendered from them is out of date
    /// whatever the store says.
    pub fn take_turned(&mut self) -> BTreeSet<Asked> {
        std::mem::take(&mut self.turned)
    }

    /// Takes note of what a whole render read from `view`; what it did not read is forgotten.
    pub fn note_reads(&mut self, view: &View, reads: &BTreeSet<Asked>, now: Instant) {
        let memory = self.memory.clone();
        let mut known = memory.lock();
        // The same as ever: a render among thousands of queries has no time for more.
        if known.queries.keys().eq(reads.iter().filter(|asked| self.rule_for(asked).is_some())) {
            return;
        }
        let started = known.started;
        known.queries.retain(|asked, _| {
            let keep = reads.contains(asked) && self.rule_for(asked).is_some();
            if !keep {
                self.notices.forget(asked);
            }
            keep
        });
        for asked in reads {
            if let Some(rule) = self.rule_for(asked)
                && let Some(answer) = view.answer(asked)
            {
                known.queries.entry(asked.clone()).or_insert_with(|| {
                    let answer = answer.clone();
                    if started { GuardedQuery::accepting(answer) } else { GuardedQuery::starting(&rule, answer, now) }
                });
            }
        }
    }

    /// Whether a first answer is read that may be less than what an earlier run has put into a file: then the render
    /// may create files, and replace none.
    pub fn is_unproven(&self, reads: &BTreeSet<Asked>) -> bool {
        let known = self.memory.lock();
        !known.started && known.queries.iter().any(|(asked, query)| query.is_unproven() && reads.contains(asked))
    }

    /// The render would replace a file by less: its first answers are held back.
    pub fn hold_unproven(&mut self, now: Instant) {
        let memory = self.memory.clone();
        for (asked, query) in memory.lock().queries.iter().filter(|(_, query)| query.is_unproven()) {
            if let Some(rule) = self.rule_for(asked) {
                self.notices.tell(asked, query, &rule, Event::Begun, now);
            }
        }
    }

    /// The render takes nothing away, so what it read passes.
    pub fn prove(&mut self) {
        let mut known = self.memory.lock();
        known.started = true;
        known.earlier = None;
        known.queries.values_mut().for_each(GuardedQuery::prove);
    }

    /// The operator lets pass what is held back; one query, or all. Gives what does: the next render shows it.
    pub fn release(&mut self, only: Option<&Asked>, now: Instant) -> Vec<Asked> {
        let memory = self.memory.clone();
        let mut known = memory.lock();
        let mut released = Vec::new();
        for (asked, query) in known.queries.iter_mut().filter(|(asked, _)| only.is_none_or(|only| only == *asked)) {
            if let (Some(rule), Some(event)) = (self.rule_for(asked), query.release(now)) {
                self.turned.insert(asked.clone());
                self.notices.tell(asked, query, &rule, event, now);
                released.push(asked.clone());
            }
        }
        released
    }

    /// The same for what the operator calls `name`; see [`Asked::is_called`]. Gives what passes from now on, or what is
    /// held back instead where nothing is called so.
    pub fn release_called(&mut self, name: Option<&str>, now: Instant) -> Result<Vec<Asked>, Vec<Asked>> {
        let held: Vec<Asked> = self.held().into_iter().map(|held| held.asked).collect();
        let is_called = |asked: &Asked| name.is_none_or(|name| asked.is_called(name));
        let called: Vec<&Asked> = held.iter().filter(|asked| is_called(asked)).collect();
        let released: Vec<Asked> = called.into_iter().flat_map(|asked| self.release(Some(asked), now)).collect();
        if released.is_empty() { Err(held) } else { Ok(released) }
    }

    /// When a hold has had its time and is to be confirmed.
    pub fn due(&self) -> Option<Instant> {
        let known = self.memory.lock();
        let held = known.queries.iter().filter(|(_, query)| query.is_held());
        held.filter_map(|(asked, query)| query.due(&self.rule_for(asked)?)).min()
    }

    /// The queries whose hold has had its time at `now`; `ask` has them read again, and gives the number of the question.
    pub fn confirm(&mut self, now: Instant, ask: impl FnOnce(&BTreeSet<Asked>) -> u64) {
        let mut known = self.memory.lock();
        let is_due = |asked: &Asked, query: &GuardedQuery| {
            self.rule_for(asked).and_then(|rule| query.due(&rule)).is_some_and(|due| due <= now)
        };
        let held = known.queries.iter().filter(|(_, query)| query.is_held());
        let due: BTreeSet<Asked> =
            held.filter(|(asked, query)| is_due(asked, query)).map(|(asked, _)| asked.clone()).collect();
        if due.is_empty() {
            return;
        }
        let question = ask(&due);
        for asked in &due {
            if let Some(query) = known.queries.get_mut(asked) {
                query.asked(question);
            }
        }
    }

    /// What is held back.
    pub fn held(&self) -> Vec<Held> {
        let known = self.memory.lock();
        let held = known.queries.iter().filter(|(_, query)| query.is_held());
        held.filter_map(|(asked, query)| Some(Held { loss: query.loss(&self.rule_for(asked)?)?, asked: asked.clone() }))
            .collect()
    }

    /// What holds for a query; none for one that is not guarded.
    fn rule_for(&self, asked: &Asked) -> Option<Rule> {
        let prefixed = |path: &crate::registry::Path| {
            self.rule.prefixes.iter().any(|prefix| prefix == path || prefix.relative(path.as_str()).is_some())
        };
        let min = match &asked.query {
            Query::Service(_) => usize::try_from(self.rule.min_instances).unwrap_or(usize::MAX),
            Query::Services { .. } | Query::Nodes { .. } | Query::Node(_) | Query::Datacenters | Query::Lookup(_) => 0,
            Query::Prefix(path) | Query::Listing(path) if prefixed(path) => 0,
            Query::Key(_)
            | Query::Exists(_)
            | Query::Prefix(_)
            | Query::Listing(_)
            | Query::File(_)
            | Query::Time { .. } => return None,
        };
        let config::Guard { max_drop, hold, empty_after, .. } = self.rule;
        self.registries.contains(&asked.registry).then_some(Rule { max_drop, hold, empty_after, min })
    }
}

impl Memory {
    /// Knows what an earlier life of the program has accepted.
    pub fn of(earlier: Option<Arc<Earlier>>) -> Self {
        Self(Arc::new(Mutex::new(Known { earlier, ..Known::default() })))
    }

    /// A panic elsewhere leaves whole values behind: each query changes in one step.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
