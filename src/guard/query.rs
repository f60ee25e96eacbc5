//! One guarded query: whether an answer passes or is held back, and for how long. It knows nothing but answers, numbers
//! and moments, so it is tested with those.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::registry::{Answer, Data};

/// From this many on, the share that is lost counts. Of fewer the half is soon gone.
const MANY: usize = 4;

/// What holds for one query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// A loss of more than this share, in percent, is held back for `hold`.
    pub max_drop: u64,
    /// See `max_drop`; also how long nothing is held back at the start, where it is not known what was before.
    pub hold: Duration,
    /// How long a loss of everything is held back; none for without limit.
    pub empty_after: Option<Duration>,
    /// Fewer than this are held back without limit.
    pub min: usize,
}

/// Why an answer is held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Nothing is left, or nothing is there at the start.
    Nothing,
    /// More than `max_drop` is gone.
    Drop,
    /// Fewer are left than `min`.
    TooFew,
}

/// Why a hold is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Enough came back.
    Returned,
    /// Its time passed, and a consistent read showed the loss too.
    Confirmed,
    /// The operator said so.
    Released,
}

/// What a hold keeps out of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// Why it is held back.
    pub reason: Reason,
    /// Since when.
    pub since: Instant,
    /// How much the last accepted answer holds; none where there is none, at the start.
    pub before: Option<usize>,
    /// How much the registry says that there is now.
    pub after: usize,
    /// How long it is held back for this reason before it is confirmed; none for without limit.
    pub limit: Option<Duration>,
    /// When that is over.
    pub until: Option<Instant>,
}

/// What became of an answer, where that is news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The last accepted answer is held on to from now on.
    Begun,
    /// It is not any more, after this time.
    Ended(End, Duration),
}

/// One guarded query.
#[derive(Debug)]
pub struct GuardedQuery {
    /// The last answer that passed; none at the start, when nobody knows what was before.
    accepted: Option<Arc<Answer>>,
    hold: Option<Hold>,
}

/// An answer that is held back.
#[derive(Debug)]
struct Hold {
    /// The newest answer of the registry.
    answer: Arc<Answer>,
    reason: Reason,
    /// When the hold began.
    begun: Instant,
    /// Since when it lasts for this reason: nothing that turns into little gives the rest its time to come back.
    since: Instant,
    /// The number of the question that is to confirm it, once that is put.
    question: Option<u64>,
}

/// How much an answer holds.
pub(super) fn count(answer: &Answer) -> usize {
    match &answer.data {
        Data::Service(instances) => instances.len(),
        Data::Services(services) => services.len(),
        Data::Nodes(nodes) => nodes.len(),
        // The node is one, and so it is not nothing without services.
        Data::Node(node) => node.as_ref().map_or(0, |node| 1 + node.services.len()),
        Data::Datacenters(names) => names.len(),
        Data::Records(records) => records.len(),
        Data::Prefix(entries) => entries.len(),
        Data::Listing(names) => names.keys.len() + names.folders.len(),
        Data::Key(value) => usize::from(value.is_some()),
        Data::Exists(exists) => usize::from(*exists),
    }
}

impl Rule {
    /// Why `after` may not follow on `before`, if so; `before` is none where it is not known.
    fn objection(&self, before: Option<usize>, after: usize) -> Option<Reason> {
        // What is no loss is never held back, whatever is wanted: to go on with less would be no better.
        if before.is_some_and(|before| after >= before) {
            return None;
        }
        if after < self.min {
            return Some(Reason::TooFew);
        }
        if after == 0 {
            return Some(Reason::Nothing);
        }
        let before = before.filter(|before| *before >= MANY)?;
        let lost = (before - after) as u64;
        (lost.saturating_mul(100) > self.max_drop.saturating_mul(before as u64)).then_some(Reason::Drop)
    }
}

impl GuardedQuery {
    /// A query whose first answer passes: nothing stands in a file for it that could be lost.
    pub fn accepting(answer: Arc<Answer>) -> Self {
        Self { accepted: Some(answer), hold: None }
    }

    /// A query whose first answer may be less than what an earlier run has put into a file.
    pub fn starting(rule: &Rule, answer: Arc<Answer>, now: Instant) -> Self {
        match rule.objection(None, count(&answer)) {
            None => Self::accepting(answer),
            Some(reason) => {
                let hold = Hold { answer, reason, begun: now, since: now, question: None };
                Self { accepted: None, hold: Some(hold) }
            }
        }
    }

    /// Takes what the registry says now; `serial` is the number of the question that it belongs to.
    pub fn observe(&mut self, rule: &Rule, answer: &Arc<Answer>, serial: u64, now: Instant) -> Option<Event> {
        let reason = rule.objection(self.before(), count(answer));
        match (reason, &mut self.hold) {
            (None, None) => {
                self.accepted = Some(answer.clone());
                None
            }
            (None, Some(_)) => self.end(answer.clone(), End::Returned, now),
            (Some(reason), None) => {
                self.hold = Some(Hold { answer: answer.clone(), reason, begun: now, since: now, question: None });
                Some(Event::Begun)
            }
            (Some(reason), Some(hold)) => {
                hold.answer = answer.clone();
                if hold.reason != reason {
                    (hold.reason, hold.since, hold.question) = (reason, now, None);
                }
                let confirmed = hold.question.is_some_and(|question| serial >= question);
                if confirmed { self.end(answer.clone(), End::Confirmed, now) } else { None }
            }
        }
    }

    /// When its time is over, so that the loss is to be confirmed; none while nothing is held back, or without limit, or
    /// once it was asked.
    pub fn due(&self, rule: &Rule) -> Option<Instant> {
        let hold = self.hold.as_ref().filter(|hold| hold.question.is_none())?;
        Some(hold.since + self.limit(rule, hold.reason)?)
    }

    /// It is asked whether the loss is true: an answer with this number, or a later one, confirms it.
    pub fn asked(&mut self, question: u64) {
        if let Some(hold) = &mut self.hold {
            hold.question = Some(question);
        }
    }

    /// The operator lets pass what is held back.
    pub fn release(&mut self, now: Instant) -> Option<Event> {
        let answer = self.hold.as_ref()?.answer.clone();
        self.end(answer, End::Released, now)
    }

    /// The answer that is held on to, if another one is held back.
    pub fn shown(&self) -> Option<&Arc<Answer>> {
        self.hold.as_ref().and(self.accepted.as_ref())
    }

    /// Whether its first answer is held back, so that there is none to hold on to.
    pub fn is_unproven(&self) -> bool {
        self.accepted.is_none()
    }

    /// The first answer passes after all: it takes nothing away.
    pub fn prove(&mut self) {
        if let (None, Some(hold)) = (&self.accepted, &self.hold) {
            self.accepted = Some(hold.answer.clone());
            self.hold = None;
        }
    }

    /// Whether an answer is held back.
    pub fn is_held(&self) -> bool {
        self.hold.is_some()
    }

    /// What is held back.
    pub fn loss(&self, rule: &Rule) -> Option<Loss> {
        let hold = self.hold.as_ref()?;
        let limit = self.limit(rule, hold.reason);
        Some(Loss {
            reason: hold.reason,
            since: hold.begun,
            before: self.before(),
            after: count(&hold.answer),
            limit,
            until: limit.map(|limit| hold.since + limit),
        })
    }

    /// How much the last accepted answer holds; none where there is none.
    pub(super) fn before(&self) -> Option<usize> {
        self.accepted.as_deref().map(count)
    }

    fn limit(&self, rule: &Rule, reason: Reason) -> Option<Duration> {
        match reason {
            Reason::Nothing if self.is_unproven() => Some(rule.hold),
            Reason::Nothing => rule.empty_after,
            Reason::Drop => Some(rule.hold),
            Reason::TooFew => None,
        }
    }

    fn end(&mut self, answer: Arc<Answer>, end: End, now: Instant) -> Option<Event> {
        self.accepted = Some(answer);
        self.hold.take().map(|hold| Event::Ended(end, now.saturating_duration_since(hold.begun)))
    }
}
