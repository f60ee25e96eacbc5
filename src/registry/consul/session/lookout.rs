//! What scouts saw, and what the sweep has to read for it.

use std::collections::{BTreeMap, BTreeSet};

use super::Session;
use crate::registry::consul::cursor::Cursor;
use crate::registry::consul::request::{Contents, Request};
use crate::registry::consul::scout::{Found, Seen};
use crate::registry::consul::sweep::Group;

impl Session<'_> {
    /// Has the sweep look at the nodes too, where there are fewer than services: that tells sooner, and for less, whose
    /// registration changed.
    pub(super) fn visit_nodes(&mut self) {
        let mut services: BTreeMap<Group, usize> = BTreeMap::new();
        for request in &self.plan.swept {
            *services.entry(Group::of(request)).or_default() += 1;
        }
        let mut nodes = BTreeSet::new();
        for (group, count) in services {
            let Group::Services(datacenter) = group else { continue };
            let scout = Request::Nodes { datacenter: datacenter.clone() };
            let Some(Seen::Nodes(seen)) = self.watch.cursors.get(&scout).and_then(|cursor| cursor.seen.as_ref()) else {
                continue;
            };
            if seen.len() < count {
                let node = |name: &String| Request::Node { name: name.clone(), datacenter: datacenter.clone() };
                nodes.extend(seen.keys().map(node));
            }
        }
        self.watch.cursors.retain(|request, _| !matches!(request, Request::Node { .. }) || nodes.contains(request));
        for node in &nodes {
            self.watch.cursors.entry(node.clone()).or_default();
        }
        self.sweep.set_members(self.plan.swept.iter().cloned().chain(nodes).collect());
    }

    /// Looks at what a read says to a scout, if it is one.
    pub(super) fn heed(&mut self, request: &Request, contents: Contents) {
        let is_scout = self.plan.scouts.contains(request) || matches!(request, Request::Node { .. });
        let Some(cursor) = self.watch.cursors.get_mut(request).filter(|_| is_scout) else { return };
        let seen = Seen::of(contents);
        let found = seen.since(cursor.seen.as_ref());
        cursor.seen = Some(seen);
        self.hurry(request, &found);
    }

    /// Has the sweep read what a scout found.
    fn hurry(&mut self, scout: &Request, found: &Found) {
        let datacenter = scout.datacenter();
        let on_found = |request: &Request| {
            let on_one = |cursor: &Cursor| found.nodes.iter().any(|node| cursor.nodes.contains(node));
            !found.nodes.is_empty() && self.watch.cursors.get(request).is_some_and(on_one)
        };
        let named: Vec<Request> = self
            .plan
            .swept
            .iter()
            .filter(|request| match request {
                Request::Service { name, datacenter: of, filter, .. } if of.as_deref() == datacenter => {
                    found.services.binary_search(name).is_ok()
                        // A filter hides the nodes of those that it leaves out.
                        || (filter.is_some() && !found.nodes.is_empty())
                        || on_found(request)
                }
                _ => false,
            })
            .cloned()
            .collect();
        for request in &named {
            self.sweep.hurry(request);
        }
        if found.anything {
            self.look_around(scout);
        }
        if matches!(scout, Request::Nodes { .. }) {
            self.visit_nodes();
        }
    }

    /// Has the sweep find out what made a scout come back, which only says that there is something.
    pub(super) fn look_around(&mut self, scout: &Request) {
        let group = match Group::of(scout) {
            Group::Services(datacenter) => {
                let nodes = Group::Nodes(datacenter.clone());
                if self.sweep.has(&nodes) { nodes } else { Group::Services(datacenter) }
            }
            group => group,
        };
        self.sweep.changed(group);
    }
}
