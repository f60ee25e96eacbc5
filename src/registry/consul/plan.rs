//! Which reads have a long poll of their own, and which are swept because there are too many.

use std::collections::BTreeSet;

use super::config::Config;
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
    pub(super) fn of<'a>(requests: impl Iterator<Item = &'a Request>, capacity: usize, config: &Config) -> Self {
        let capacity = capacity.saturating_sub(1);
        let mut plan = Self { polled: requests.cloned().collect(), ..Self::default() };
        if plan.polled.len() > capacity {
            plan.sweep(|request| matches!(request, Request::Service { .. }), config);
        }
        // Whatever reads there are, sweeping needs a connection.
        if plan.polled.union(&plan.scouts).count() + usize::from(!plan.swept.is_empty()) > capacity {
            plan.sweep(Request::is_key_value, config);
        }
        let polls = plan.polled.union(&plan.scouts).count();
        plan.sweepers = capacity.saturating_sub(polls).clamp(1, SWEEPERS);
        plan
    }

    /// All reads of it.
    pub(super) fn all(&self) -> impl Iterator<Item = &Request> {
        self.polled.union(&self.scouts).chain(&self.swept)
    }

    /// Whether a read is part of it.
    pub(super) fn holds(&self, request: &Request) -> bool {
        [&self.polled, &self.swept, &self.scouts].iter().any(|set| set.contains(request))
    }

    fn sweep(&mut self, which: impl Fn(&Request) -> bool, config: &Config) {
        let swept: BTreeSet<Request> = self.polled.iter().filter(|request| which(request)).cloned().collect();
        self.polled.retain(|request| !swept.contains(request));
        for request in &swept {
            if let Request::Service { datacenter, .. } = request {
                self.scouts.insert(Request::Services { datacenter: datacenter.clone() });
                self.scouts.insert(Request::Checks { datacenter: datacenter.clone() });
                self.scouts.insert(Request::Nodes { datacenter: datacenter.clone() });
            } else {
                // Names up to the next `/` are few, and yet tell of every change below.
                let start = if config.prefix.is_root() { String::new() } else { format!("{}/", config.prefix) };
                self.scouts.insert(Request::Names(start));
            }
        }
        self.swept.extend(swept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::consul::Address;

    fn plan(services: usize, keys: usize, capacity: usize) -> (usize, usize, usize, usize) {
        let config = Config::new(Address::parse("127.0.0.1:8500", false).unwrap());
        let services = (0..services).map(|number| Request::Service {
            name: format!("s{number}"),
            near: None,
            datacenter: None,
            filter: None,
        });
        let requests: Vec<_> = services.chain((0..keys).map(|number| Request::Value(format!("k{number}")))).collect();
        let plan = Plan::of(requests.iter(), capacity, &config);
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
