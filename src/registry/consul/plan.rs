//! Which reads have a long poll of their own, and which are swept because there are too many.

use std::collections::BTreeSet;

use super::request::Request;

/// How each read is followed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// By a long poll.
    pub(super) polled: BTreeSet<Request>,
    /// When a scout says so.
    pub(super) swept: BTreeSet<Request>,
    /// By a long poll, for the sake of what is swept.
    pub(super) scouts: BTreeSet<Request>,
    /// How many swept reads may be sent at a time.
    pub(super) sweepers: usize,
}

/// Reads of the sweep that are sent at a time: eight read 2,000 services as fast as Consul 1.8.7 can.
const SWEEPERS: usize = 8;

impl Plan {
    /// Plans `requests` for a client that can have `capacity` reads under way, one of which asks whether Consul is
    /// there.
    pub(super) fn of<'a>(requests: impl Iterator<Item = &'a Request>, capacity: usize) -> Self {
        let capacity = capacity.saturating_sub(1);
        let mut plan = Self { polled: requests.cloned().collect(), ..Self::default() };
        if plan.polled.len() > capacity {
            plan.sweep(|request| matches!(request, Request::Service { .. }));
        }
        // Whatever reads there are, sweeping needs a connection.
        if plan.polled.union(&plan.scouts).count() + usize::from(!plan.swept.is_empty()) > capacity {
            plan.sweep(Request::is_key_value);
        }
        let polls = plan.polled.union(&plan.scouts).count();
        plan.sweepers = capacity.saturating_sub(polls).clamp(1, SWEEPERS);
        plan
    }

    /// How many of its reads may be under way at a time.
    pub(super) fn at_a_time(&self) -> usize {
        self.polled.union(&self.scouts).count() + if self.swept.is_empty() { 0 } else { self.sweepers }
    }

    /// All reads of it.
    pub(super) fn all(&self) -> impl Iterator<Item = &Request> {
        self.polled.union(&self.scouts).chain(&self.swept)
    }

    /// Whether a read is part of it.
    pub(super) fn holds(&self, request: &Request) -> bool {
        [&self.polled, &self.swept, &self.scouts].iter().any(|set| set.contains(request))
    }

    fn sweep(&mut self, which: impl Fn(&Request) -> bool) {
        let swept: BTreeSet<Request> = self.polled.iter().filter(|request| which(request)).cloned().collect();
        self.polled.retain(|request| !swept.contains(request));
        let mut common: Option<&str> = None;
        for request in &swept {
            match request {
                Request::Service { datacenter, .. } => {
                    self.scouts.insert(Request::Services { datacenter: datacenter.clone() });
                    self.scouts.insert(Request::Checks { datacenter: datacenter.clone() });
                    self.scouts.insert(Request::Nodes { datacenter: datacenter.clone() });
                }
                Request::Value(path) | Request::Below(path) | Request::Names(path) => {
                    common = Some(common.map_or(path, |before| common_start(before, path)));
                }
                _ => {}
            }
        }
        if let Some(start) = common {
            // Names up to the next `/` are few, and yet tell of every change below.
            let folder = start.rfind('/').map_or("", |at| &start[..=at]);
            self.scouts.insert(Request::Names(folder.to_owned()));
        }
        self.swept.extend(swept);
    }
}

/// The text that both begin with.
fn common_start<'a>(a: &'a str, b: &str) -> &'a str {
    let end = a.char_indices().zip(b.chars()).find(|((_, a), b)| a != b).map(|((at, _), _)| at);
    &a[..end.unwrap_or(a.len().min(b.len()))]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(services: usize, keys: usize, capacity: usize) -> (usize, usize, usize, usize) {
        let services = (0..services).map(|number| Request::Service {
            name: format!("s{number}"),
            near: None,
            datacenter: None,
            filter: None,
        });
        let requests: Vec<_> = services.chain((0..keys).map(|number| Request::Value(format!("k{number}")))).collect();
        let plan = Plan::of(requests.iter(), capacity);
        (plan.polled.len(), plan.swept.len(), plan.scouts.len(), plan.sweepers)
    }

    #[test]
    fn what_is_too_much_is_swept() {
        assert_eq!(plan(100, 27, 128), (127, 0, 0, 1));
        assert_eq!(plan(101, 27, 128), (27, 101, 3, 8));
        assert_eq!(plan(2000, 0, 128), (0, 2000, 3, 8));
        assert_eq!(plan(1, 122, 128), (123, 0, 0, 4));
        assert_eq!(plan(1, 200, 128), (0, 201, 4, 8));
        assert_eq!(plan(10, 0, 6), (0, 10, 3, 2));
        assert_eq!(plan(10, 10, 6), (0, 20, 4, 1));
        assert_eq!(plan(2000, 0, 12_800), (2000, 0, 0, 8));
    }

    #[test]
    fn a_scout_of_keys_looks_no_further_than_it_has_to() {
        for (keys, scout) in
            [(["a/b/c", "a/bd"], "a/"), (["a/b/c", "a/b/d"], "a/b/"), (["a", "b"], ""), (["ü/a", "ö/a"], "")]
        {
            let requests = keys.map(|key| Request::Value(key.to_owned()));
            let plan = Plan::of(requests.iter(), 2);
            assert_eq!(plan.scouts, [Request::Names(scout.to_owned())].into(), "{keys:?}");
        }
    }

    #[test]
    fn connections_stay_within_the_capacity() {
        for capacity in [6, 7, 9, 12, 20] {
            for services in (0..30).step_by(3) {
                for keys in 0..30 {
                    let (polled, swept, scouts, sweepers) = plan(services, keys, capacity);
                    let sweeping = if swept > 0 { sweepers } else { 0 };
                    assert!(polled + scouts + sweeping < capacity, "{capacity}: {services} services, {keys} keys");
                }
            }
        }
    }
}
