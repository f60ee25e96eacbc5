//! How far one read has come: what it last answered, and how it may be sent again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::mem::{Discriminant, discriminant};
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use tokio::time::Instant;

use super::bucket::Bucket;
use super::config::Clocks;
use super::failure::Failure;
use super::request::{Ask, Contents};
use super::scout::Seen;
use crate::registry::{Data, Entry, Instance, Query};

/// What outlives an outage of one read.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    /// The queries that it answers, numbered as they are wanted; none for a scout.
    pub(super) queries: BTreeMap<Query, u64>,
    /// The index of the last answer that was used.
    pub(super) index: Option<u64>,
    /// What the last body was, if all its queries have it.
    pub(super) print: Option<u64>,
    pub(super) failures: Failures,
    /// Whether the last answer found something.
    pub(super) found: bool,
    /// Answers in a row that came early without an index above the last.
    pub(super) oddities: u32,
    /// Whether something was read since the connection was lost; before, the leader has to make sure that it leads.
    pub(super) sure: bool,
    /// The nodes that the instances of the last answer run on.
    pub(super) nodes: HashSet<String>,
    /// What a scout saw last.
    pub(super) seen: Option<Seen>,
    bucket: Bucket,
    entries: Vec<Arc<Entry>>,
    instances: Vec<Arc<Instance>>,
}

/// However large an answer is, what changes is to be in the files within 5 s.
const LONGEST_SPACING: Duration = Duration::from_secs(2);

/// Failures of one kind in a row, since the last answer.
#[derive(Debug, Default)]
pub(super) struct Failures(Option<(Discriminant<Failure>, u32)>);

impl Failures {
    /// One more; gives how many of its kind there are.
    pub(super) fn count(&mut self, failure: &Failure) -> u32 {
        let kind = discriminant(failure);
        let before = self.0.filter(|(before, _)| *before == kind).map_or(0, |(_, count)| count);
        self.0 = Some((kind, before.saturating_add(1)));
        before.saturating_add(1)
    }

    /// Whether there are any.
    pub(super) fn are_some(&self) -> bool {
        self.0.is_some()
    }

    /// There was an answer.
    pub(super) fn clear(&mut self) {
        self.0 = None;
    }
}

/// How a successful answer relates to the one before.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It may be used.
    Use,
    /// The index fell, or stands still though the read came back: a server was restored from a snapshot, or does not
    /// know yet what it has to. Only a consistent read can tell.
    Confirm,
}

impl Cursor {
    /// What to ask next for a long poll.
    pub(super) fn poll(&self) -> Ask {
        match self.index {
            Some(index) if self.sure => Ask::Above(index),
            _ => Ask::Consistent,
        }
    }

    /// What to ask next for a read that does not wait.
    pub(super) fn read(&self) -> Ask {
        if !self.sure || self.index.is_none() { Ask::Consistent } else { Ask::Now }
    }

    /// Judges a successful answer to `ask` that took `took`.
    pub(super) fn step(&mut self, ask: Ask, index: u64, took: Duration, clocks: &Clocks) -> Step {
        let odd = match ask {
            Ask::Consistent => {
                // Whatever it says is so. Oddities are forgiven only when a long poll behaves.
                self.sure = true;
                self.index = Some(index);
                return Step::Use;
            }
            Ask::Now => self.index.is_some_and(|last| index < last),
            // Consul holds a poll at least for its wait, unless there is something new.
            Ask::Above(last) => index < last || (index == last && took < clocks.wait.mul_f64(0.9)),
        };
        if odd {
            self.sure = false;
            self.oddities = self.oddities.saturating_add(1);
            return Step::Confirm;
        }
        self.oddities = 0;
        self.index = Some(index);
        Step::Use
    }

    /// The pause before the next read, after an answer that took `cost` to move and read. Large answers are rarer.
    pub(super) fn pause(&mut self, now: Instant, cost: Duration, clocks: &Clocks) -> Duration {
        let spacing = clocks.poll_interval.max((cost * 4).min(LONGEST_SPACING));
        let odd = match self.oddities {
            0 | 1 => Duration::ZERO,
            more => clocks.poll_interval.saturating_mul(1 << more.min(10)).min(clocks.denied_interval),
        };
        self.bucket.take(now, spacing).max(odd)
    }

    /// What `data` was before, so that what stayed is shared with it.
    pub(super) fn entries(&self) -> &[Arc<Entry>] {
        &self.entries
    }

    /// Takes instances that are as they were from the answer before.
    pub(super) fn share(&mut self, contents: &mut Contents) {
        let Contents::Instances(instances) = contents else { return };
        let before: HashMap<_, _> =
            self.instances.drain(..).map(|instance| ((instance.id.clone(), instance.node.clone()), instance)).collect();
        for instance in instances.iter_mut() {
            if let Some(old) = before.get(&(instance.id.clone(), instance.node.clone()))
                && old == instance
            {
                *instance = old.clone();
            }
        }
        self.nodes = instances.iter().map(|instance| instance.node.clone()).collect();
        self.instances.clone_from(instances);
    }

    /// Remembers an answer for the next.
    pub(super) fn keep(&mut self, data: &Data) {
        if let Data::Prefix(entries) = data {
            self.entries.clone_from(entries);
        }
    }
}

/// A pause that is up to a quarter longer, so that what failed together does not try again together.
pub(super) fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(1.0 + 0.25 * rand::rng().random::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_outlives_what_goes_wrong_and_falls_only_by_a_consistent_answer() {
        let clocks = Clocks::default();
        let (soon, waited) = (Duration::from_secs(1), clocks.wait);
        let mut cursor = Cursor::default();
        assert_eq!(cursor.poll(), Ask::Consistent);
        assert_eq!(cursor.step(Ask::Consistent, 47, soon, &clocks), Step::Use);
        assert_eq!(cursor.poll(), Ask::Above(47));
        assert_eq!(cursor.step(Ask::Above(47), 47, waited, &clocks), Step::Use, "the wait was over");
        assert_eq!(cursor.step(Ask::Above(47), 48, soon, &clocks), Step::Use);

        // The connection was lost.
        cursor.sure = false;
        assert_eq!((cursor.poll(), cursor.read(), cursor.index), (Ask::Consistent, Ask::Consistent, Some(48)));
        assert_eq!(cursor.step(Ask::Consistent, 48, soon, &clocks), Step::Use);

        // A snapshot was restored: the poll wakes with the old index, or with a lower one.
        for index in [48, 31] {
            assert_eq!(cursor.step(Ask::Above(48), index, soon, &clocks), Step::Confirm);
            assert_eq!((cursor.poll(), cursor.index), (Ask::Consistent, Some(48)));
        }
        assert_eq!(cursor.step(Ask::Consistent, 31, soon, &clocks), Step::Use);
        assert_eq!(cursor.poll(), Ask::Above(31));
        assert_eq!(cursor.step(Ask::Now, 31, soon, &clocks), Step::Use);
        assert_eq!(cursor.step(Ask::Now, 30, soon, &clocks), Step::Confirm);
    }

    #[test]
    fn large_answers_are_rarer_and_yet_soon() {
        let clocks = Clocks::default();
        for (cost, spacing) in [(1, 100), (50, 200), (400, 1600), (9000, 2000)] {
            let mut cursor = Cursor::default();
            let now = Instant::now();
            let pauses = [(); 3].map(|()| cursor.pause(now, Duration::from_millis(cost), &clocks).as_millis());
            assert_eq!(pauses, [0, 0, spacing], "{cost}");
        }
    }

    #[test]
    fn a_server_that_wakes_polls_for_nothing_is_asked_ever_more_rarely() {
        let clocks = Clocks::default();
        let mut cursor = Cursor::default();
        let now = Instant::now();
        let mut last = Duration::ZERO;
        for round in 0..20 {
            cursor.step(Ask::Consistent, 5, Duration::ZERO, &clocks);
            cursor.step(Ask::Above(5), 5, Duration::ZERO, &clocks);
            let pause = cursor.pause(now + clocks.denied_interval * round, Duration::ZERO, &clocks);
            assert!(pause >= last, "{pause:?}");
            last = pause;
        }
        assert_eq!(last, clocks.denied_interval);
    }
}
