//! When the events that came are whole transactions, and what is done then.
//!
//! One transaction comes as one frame for each range that it touches, and nothing in a frame says whether there are
//! others. With one range there is nothing to wait for. With several, the server is asked how far the stream is:
//! etcd puts the frames of a transaction into the stream's queue before its revision becomes visible, so an answer
//! that shows the revision and stands behind what was queued proves that all of them are here.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::Session;
use crate::registry::etcd::messages::Event;
use crate::registry::etcd::stream::WatchId;

/// How long events wait for a proof that does not come, on a server that is known to answer. Its answer stands behind
/// megabytes on a slow link, and it does not answer while one of its watches lags.
const PATIENCE: Duration = Duration::from_secs(30);

/// The same on a server that is not known to answer: before 3.4 none does.
const IMPATIENCE: Duration = Duration::from_millis(150);

/// When a server that does not answer while one of its watches lags is asked again; it sees to them every 100 ms.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// What the answers of a server prove about the events that came.
#[derive(Debug)]
pub(super) struct Proof {
    /// Whether an answer stands in the stream behind everything that it speaks of.
    ordered: bool,
    /// The server was at this revision; what it had queued up to there may still have to come.
    claim: Option<i64>,
    /// Whether some of that came since the last answer.
    straggled: bool,
}

impl Proof {
    pub(super) fn new(ordered: bool) -> Self {
        Self { ordered, claim: None, straggled: false }
    }

    /// Whether an answer is a proof by itself.
    pub(super) fn is_ordered(&self) -> bool {
        self.ordered
    }

    /// An event of this revision came.
    fn came(&mut self, revision: i64) {
        self.straggled |= self.claim.is_some_and(|claim| revision <= claim);
    }

    /// The server says that it is at `revision`. Gives up to where everything is here.
    ///
    /// An answer that is not ordered may overtake what is queued, so it is believed once the answer to a later
    /// question came, with nothing of what it speaks of in between: the queue had a whole round trip to drain.
    fn answered(&mut self, revision: i64) -> Option<i64> {
        if self.ordered {
            return Some(revision);
        }
        if std::mem::take(&mut self.straggled) {
            return None;
        }
        self.claim.replace(revision)
    }
}

impl Session<'_> {
    /// Events of a range came.
    pub(super) fn take(&mut self, id: WatchId, events: Vec<Event>) {
        if self.watches.contains_key(&id) {
            if self.pending.is_empty() {
                self.pending_since = Instant::now();
            }
            for event in events {
                self.proof.came(event.revision());
                self.pending.push((id, event));
            }
        }
    }

    /// The server says how far the stream is.
    pub(super) fn on_progress(&mut self, revision: i64) {
        self.answers = true;
        self.question = None;
        if let Some(complete) = self.proof.answered(revision) {
            self.commit(complete);
        }
    }

    /// Applies what is pending if there is nothing to wait for, and otherwise sees to it that the proof comes.
    pub(super) fn settle(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let now = Instant::now();
        if self.watches.len() <= 1 {
            self.commit(i64::MAX);
        } else if now >= self.patience_ends() {
            tracing::debug!(
                registry = &**self.feed.registry(),
                answers = self.answers,
                "no proof that events are whole"
            );
            self.answers = false;
            self.commit(i64::MAX);
        } else if self.next_question().is_some_and(|at| now >= at) {
            self.ask_progress();
        }
    }

    /// When [`Session::settle`] has something to do though nothing comes; never while nothing is pending.
    pub(super) fn next_settling(&self) -> Option<Instant> {
        let patience_ends = (!self.pending.is_empty()).then(|| self.patience_ends())?;
        Some(self.next_question().map_or(patience_ends, |at| at.min(patience_ends)))
    }

    fn patience_ends(&self) -> Instant {
        self.pending_since + if self.answers { PATIENCE } else { IMPATIENCE }
    }

    fn next_question(&self) -> Option<Instant> {
        match self.question {
            Some(asked) => self.proof.ordered.then_some(asked + ASK_AGAIN),
            // Such a server answers for watches that lag, too.
            None if !self.proof.ordered => Some(self.settled),
            None => Some(self.pending_since),
        }
    }

    pub(super) fn ask_progress(&mut self) {
        if let Some(stream) = &mut self.stream {
            self.question = Some(Instant::now());
            stream.ask_progress();
        }
    }

    /// Applies and publishes the pending events up to a revision.
    fn commit(&mut self, upto: i64) {
        let mut due: BTreeMap<WatchId, Vec<Event>> = BTreeMap::new();
        for (id, event) in self.pending.extract_if(.., |(_, event)| event.revision() <= upto) {
            self.revision = self.revision.max(event.revision());
            due.entry(id).or_default().push(event);
        }
        if due.is_empty() {
            return;
        }
        self.pending_since = Instant::now();
        for (id, events) in due {
            if let Some(range) = self.watches.get(&id) {
                self.state.apply(range, events);
            }
        }
        self.state.seen = Some((self.cluster, self.revision));
        self.publish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordered_answer_is_a_proof() {
        let mut proof = Proof::new(true);
        proof.came(5);
        assert_eq!(proof.answered(5), Some(5));
        assert_eq!(proof.answered(7), Some(7));
    }

    #[test]
    fn an_answer_that_may_overtake_is_a_proof_after_a_round_trip_without_stragglers() {
        let mut proof = Proof::new(false);
        proof.came(5);
        assert_eq!(proof.answered(5), None);
        proof.came(6);
        assert_eq!(proof.answered(6), Some(5), "later changes do not hold it up");
        proof.came(6);
        assert_eq!(proof.answered(8), None, "more of it came");
        proof.came(6);
        assert_eq!(proof.answered(8), None, "and more");
        assert_eq!(proof.answered(8), Some(6));
        assert_eq!(proof.answered(8), Some(8));
    }
}
