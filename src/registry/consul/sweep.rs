//! Which reads to send next, where there are more of them than connections to hold long polls: those that a scout
//! named first, then all, no more often than is good for Consul.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use tokio::time::Instant;

use super::config::Clocks;
use super::request::Request;

/// Reads that the same scouts look out for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    /// Keys.
    Keys,
    /// What is registered on the nodes of a datacenter.
    Nodes(Option<String>),
    /// Services of a datacenter.
    Services(Option<String>),
}

impl Group {
    /// The group of a read, and for a scout that of the reads that it looks out for.
    pub(super) fn of(request: &Request) -> Self {
        let datacenter = request.datacenter().map(str::to_owned);
        match request {
            Request::Value(_) | Request::Below(_) | Request::Names(_) => Self::Keys,
            Request::Node { .. } => Self::Nodes(datacenter),
            Request::Services { .. }
            | Request::Service { .. }
            | Request::Nodes { .. }
            | Request::NodeServices { .. }
            | Request::Datacenters
            | Request::Checks { .. } => Self::Services(datacenter),
        }
    }
}

/// The order in which many reads are sent.
#[derive(Debug)]
pub(super) struct Sweep {
    members: BTreeSet<Request>,
    /// What is to be sent, in order. Only what stands in `waiting` too counts.
    queue: VecDeque<Request>,
    waiting: HashSet<Request>,
    running: HashSet<Request>,
    /// Nodes that were never looked at: what is read of their services before that may change unseen.
    unseen: HashSet<Request>,
    /// What changed while it was being read.
    again: HashSet<Request>,
    /// What failed, by when it may be sent again.
    later: BTreeMap<Request, Instant>,
    /// Where something changed since the last round began.
    changed: BTreeSet<Group>,
    round: Option<Instant>,
    next_round: Instant,
    next_full: Instant,
}

impl Sweep {
    /// Nothing to send.
    pub(super) fn new(now: Instant, clocks: &Clocks) -> Self {
        Self {
            members: BTreeSet::new(),
            queue: VecDeque::new(),
            waiting: HashSet::new(),
            running: HashSet::new(),
            unseen: HashSet::new(),
            again: HashSet::new(),
            later: BTreeMap::new(),
            changed: BTreeSet::new(),
            round: None,
            next_round: now,
            next_full: now + clocks.resweep_interval,
        }
    }

    /// Whether a read is left to the sweep.
    pub(super) fn holds(&self, request: &Request) -> bool {
        self.members.contains(request)
    }

    /// Other members: new ones are sent as soon as may be, and those that are gone no more.
    pub(super) fn set_members(&mut self, members: BTreeSet<Request>) {
        for request in &members {
            if !self.members.contains(request) {
                self.waiting.insert(request.clone());
                self.queue.push_back(request.clone());
                if matches!(request, Request::Node { .. }) {
                    self.unseen.insert(request.clone());
                }
            }
        }
        self.unseen.retain(|request| members.contains(request));
        self.waiting.retain(|request| members.contains(request));
        self.later.retain(|request, _| members.contains(request));
        self.running.retain(|request| members.contains(request));
        self.again.retain(|request| members.contains(request));
        self.members = members;
        self.end_round(Instant::now());
    }

    /// Whether a group has a member.
    pub(super) fn has(&self, group: &Group) -> bool {
        self.members.iter().any(|request| Group::of(request) == *group)
    }

    /// This one differs: send it before others.
    pub(super) fn hurry(&mut self, request: &Request) {
        if self.running.contains(request) {
            self.again.insert(request.clone());
        } else if self.members.contains(request) {
            // One that failed keeps its pause.
            if !self.later.contains_key(request) {
                self.waiting.insert(request.clone());
                self.queue.push_front(request.clone());
            }
        }
    }

    /// Something in a group differs.
    pub(super) fn changed(&mut self, group: Group) {
        self.changed.insert(group);
    }

    /// What failed may be sent at once: the token is another.
    pub(super) fn retry_all(&mut self) {
        for request in std::mem::take(&mut self.later).into_keys() {
            self.waiting.insert(request.clone());
            self.queue.push_back(request);
        }
    }

    /// One of those that failed may be sent at once: Consul serves again.
    pub(super) fn retry_one(&mut self) {
        if let Some((request, _)) = self.later.pop_first() {
            self.hurry(&request);
        }
    }

    /// It was read, and may be sent again at once or, if it failed, at `retry`.
    pub(super) fn done(&mut self, request: &Request, now: Instant, retry: Option<Instant>) {
        self.running.remove(request);
        self.unseen.remove(request);
        self.end_round(now);
        let again = self.again.remove(request);
        if let Some(at) = retry.filter(|_| self.members.contains(request)) {
            self.later.insert(request.clone(), at);
        } else if again {
            self.hurry(request);
        }
    }

    /// How many are being read.
    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    /// The next to send.
    pub(super) fn take(&mut self, now: Instant, clocks: &Clocks) -> Option<Request> {
        let due: Vec<Request> =
            self.later.iter().filter(|(_, at)| **at <= now).map(|(request, _)| request.clone()).collect();
        for request in due {
            self.later.remove(&request);
            self.hurry(&request);
        }
        if self.next_full <= now {
            self.next_full = now + clocks.resweep_interval;
            self.changed.extend(self.members.iter().map(Group::of));
        }
        if !self.unseen.is_empty() {
            let position = self.queue.iter().position(|request| self.unseen.contains(request))?;
            let request = self.queue.remove(position)?;
            self.waiting.remove(&request);
            self.running.insert(request.clone());
            return Some(request);
        }
        loop {
            while let Some(request) = self.queue.pop_front() {
                if self.waiting.remove(&request) {
                    self.running.insert(request.clone());
                    return Some(request);
                }
            }
            if !self.begin_round(now, clocks) {
                return None;
            }
        }
    }

    /// When [`Sweep::take`] may have something that it has not now, unless something is told before.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        if self.members.is_empty() {
            return None;
        }
        let round = (self.round.is_none() && !self.changed.is_empty()).then_some(self.next_round);
        self.later.values().copied().chain(round).chain([self.next_full]).min()
    }

    /// Ends the round if all of it is done. One that took long is followed by as long a pause.
    fn end_round(&mut self, now: Instant) {
        if self.running.is_empty()
            && self.waiting.is_empty()
            && let Some(start) = self.round.take()
        {
            self.next_round = self.next_round.max(now + (now - start));
        }
    }

    /// Queues all of the groups that changed, if the last round is over and long enough ago.
    fn begin_round(&mut self, now: Instant, clocks: &Clocks) -> bool {
        if self.round.is_some() || self.changed.is_empty() || now < self.next_round {
            return false;
        }
        let changed = std::mem::take(&mut self.changed);
        let members = self.members.iter().filter(|request| changed.contains(&Group::of(request)));
        for request in members.filter(|request| !self.later.contains_key(request)) {
            if self.running.contains(request) {
                self.again.insert(request.clone());
            } else {
                self.waiting.insert(request.clone());
                self.queue.push_back(request.clone());
            }
        }
        self.next_round = now + clocks.sweep_interval;
        self.round = Some(now);
        // Without a member in these groups it is over at once.
        self.end_round(now);
        !self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn service(name: &str) -> Request {
        Request::Service { name: name.to_owned(), near: None, datacenter: None, filter: None }
    }

    struct Trial {
        sweep: Sweep,
        clocks: Clocks,
        start: Instant,
    }

    impl Trial {
        fn new(names: &[&str]) -> Self {
            let start = Instant::now();
            let clocks = Clocks::default();
            let mut sweep = Sweep::new(start, &clocks);
            sweep.set_members(names.iter().map(|name| service(name)).collect());
            Self { sweep, clocks, start }
        }

        fn at(&self, milliseconds: u64) -> Instant {
            self.start + Duration::from_millis(milliseconds)
        }

        /// What is sent at a time, one after the other, each done at once.
        fn sent(&mut self, milliseconds: u64) -> String {
            let now = self.at(milliseconds);
            let mut sent = String::new();
            while let Some(request) = self.sweep.take(now, &self.clocks) {
                self.sweep.done(&request, now, None);
                let Request::Service { name, .. } = request else { panic!() };
                sent.push_str(&name);
            }
            sent
        }
    }

    #[test]
    fn what_is_named_goes_first_and_rounds_are_spaced() {
        let mut trial = Trial::new(&["a", "b", "c"]);
        assert_eq!(trial.sent(0), "abc", "what is new");
        trial.sweep.changed(Group::Services(None));
        trial.sweep.hurry(&service("c"));
        assert_eq!(trial.sent(10), "cabc");
        trial.sweep.changed(Group::Services(None));
        trial.sweep.hurry(&service("b"));
        trial.sweep.hurry(&service("none"));
        assert_eq!(trial.sent(20), "b");
        assert_eq!(trial.sweep.wake_at(), Some(trial.at(110)));
        assert_eq!(trial.sent(110), "abc");
        trial.sweep.changed(Group::Keys);
        assert_eq!(trial.sent(2500), "");
        assert_eq!(trial.sent(60_000), "abc", "after a minute, though nothing changed");
    }

    #[test]
    fn nodes_are_seen_before_their_services_are_read() {
        let mut trial = Trial::new(&["a"]);
        let node = |name: &str| Request::Node { name: name.to_owned(), datacenter: None };
        trial.sweep.set_members([service("a"), node("x"), node("y")].into());
        trial.sweep.hurry(&service("a"));
        let now = trial.at(0);
        assert_eq!(trial.sweep.take(now, &trial.clocks), Some(node("x")));
        assert_eq!(trial.sweep.take(now, &trial.clocks), Some(node("y")));
        assert_eq!(trial.sweep.take(now, &trial.clocks), None);
        trial.sweep.done(&node("x"), now, None);
        assert_eq!(trial.sweep.take(now, &trial.clocks), None);
        trial.sweep.done(&node("y"), now, Some(trial.at(500)));
        assert_eq!(trial.sent(0), "a");
    }

    #[test]
    fn what_changes_while_it_is_read_is_read_again() {
        let mut trial = Trial::new(&["a"]);
        assert_eq!(trial.sent(0), "a");
        trial.sweep.hurry(&service("a"));
        let now = trial.at(1);
        assert_eq!(trial.sweep.take(now, &trial.clocks), Some(service("a")));
        trial.sweep.hurry(&service("a"));
        assert_eq!(trial.sweep.take(now, &trial.clocks), None);
        trial.sweep.done(&service("a"), now, None);
        assert_eq!(trial.sent(1), "a");
    }

    #[test]
    fn what_failed_waits_and_what_is_gone_is_forgotten() {
        let mut trial = Trial::new(&["a", "b"]);
        assert_eq!(trial.sent(0), "ab");
        trial.sweep.hurry(&service("a"));
        let now = trial.at(1);
        trial.sweep.take(now, &trial.clocks);
        trial.sweep.done(&service("a"), now, Some(trial.at(500)));
        trial.sweep.hurry(&service("a"));
        assert_eq!(trial.sent(499), "");
        assert_eq!(trial.sweep.wake_at(), Some(trial.at(500)));
        assert_eq!(trial.sent(500), "a");
        trial.sweep.hurry(&service("b"));
        let now = trial.at(501);
        trial.sweep.take(now, &trial.clocks);
        trial.sweep.done(&service("b"), now, Some(trial.at(90_000)));
        trial.sweep.retry_all();
        assert_eq!(trial.sent(502), "b");
        trial.sweep.hurry(&service("b"));
        trial.sweep.set_members([service("a")].into());
        assert_eq!(trial.sent(503), "");
    }
}
