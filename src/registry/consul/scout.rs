//! What scouts see: reads whose changes say which services have to be read again.
//!
//! `catalog/services` wakes on every registration, also of an instance without checks; `health/state/any` on every
//! change of a check; `catalog/nodes` when the address or the metadata of a node change, which wakes neither of the
//! others. Measured with Consul 1.8.7. Of an instance whose registration changed the first tells no more than that there
//! is one; where there are fewer nodes than services, it is looked for in what is registered on each node.

use std::collections::HashMap;

use super::request::Contents;

/// What stands in one answer to a scout, so that the next tells what changed.
#[derive(Debug)]
pub(super) enum Seen {
    /// Tags by service.
    Services(HashMap<String, Vec<String>>),
    /// By node and check: the index of its last change, and the service, or nothing for a check of the node.
    Checks(HashMap<(String, String), (u64, String)>),
    /// The index of its last change by node.
    Nodes(HashMap<String, u64>),
    /// The index of its last change and its service, by instance on a node.
    Registered(HashMap<String, (u64, String)>),
    /// Something, which says nothing but that it changed.
    Other,
}

/// What has to be read again.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// These services.
    pub(super) services: Vec<String>,
    /// What runs on these nodes.
    pub(super) nodes: Vec<String>,
    /// Everything, when there is time: the scout does not say what it was.
    pub(super) anything: bool,
}

impl Seen {
    /// What is to be seen in an answer.
    pub(super) fn of(contents: Contents) -> Self {
        match contents {
            Contents::Services(services) => {
                Self::Services(services.into_iter().map(|service| (service.name, service.tags)).collect())
            }
            Contents::Checks(checks) => Self::Checks(
                checks
                    .into_iter()
                    .map(|check| ((check.node, check.id), (check.modify_index, check.service_name)))
                    .collect(),
            ),
            Contents::Nodes(nodes) => {
                Self::Nodes(nodes.into_iter().map(|found| (found.node.name, found.modified)).collect())
            }
            Contents::Registered(found) => Self::Registered(
                found.into_iter().map(|instance| (instance.id, (instance.modify_index, instance.service))).collect(),
            ),
            Contents::Value(_)
            | Contents::Below(_)
            | Contents::Names(_)
            | Contents::Instances(_)
            | Contents::Node(_)
            | Contents::Datacenters(_) => Self::Other,
        }
    }

    /// What this says to whoever knew the one before, or nothing.
    pub(super) fn since(&self, before: Option<&Self>) -> Found {
        let mut found = Found::default();
        let Some(before) = before else {
            // Whatever is swept is read once after its scouts have come back first, but not after its nodes.
            if let Self::Registered(now) = self {
                found.services = now.values().map(|(_, service)| service.clone()).collect();
                found.services.sort_unstable();
                found.services.dedup();
            }
            return found;
        };
        match (self, before) {
            (Self::Services(now), Self::Services(before)) => {
                found.services = differing(now, before).map(|(name, _)| name.clone()).collect();
                // An address, a port or metadata may have changed, or another instance be there: it does not say.
                found.anything = true;
            }
            (Self::Checks(now), Self::Checks(before)) => {
                for ((node, _), (_, service)) in differing(now, before) {
                    if service.is_empty() {
                        found.nodes.push(node.clone());
                    } else {
                        found.services.push(service.clone());
                    }
                }
            }
            (Self::Registered(now), Self::Registered(before)) => {
                found.services = differing(now, before).map(|(_, (_, service))| service.clone()).collect();
                // An instance may have left one service for another.
                found.services.extend(differing(before, now).map(|(_, (_, service))| service.clone()));
            }
            (Self::Nodes(now), Self::Nodes(before)) => {
                found.nodes = differing(now, before).map(|(name, _)| name.clone()).collect();
            }
            _ => found.anything = true,
        }
        for list in [&mut found.services, &mut found.nodes] {
            list.sort_unstable();
            list.dedup();
        }
        found
    }
}

/// The entries of either that are not the same in the other; those that changed, as they are now.
fn differing<'a, K: Eq + std::hash::Hash, V: PartialEq>(
    now: &'a HashMap<K, V>,
    before: &'a HashMap<K, V>,
) -> impl Iterator<Item = (&'a K, &'a V)> {
    let changed = now.iter().filter(|(key, value)| before.get(*key) != Some(*value));
    changed.chain(before.iter().filter(|(key, _)| !now.contains_key(*key)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::consul::{catalog, health};

    fn services(body: &str) -> Seen {
        Seen::of(Contents::Services(catalog::services(body.as_bytes()).unwrap()))
    }

    fn checks(rows: &[(&str, &str, &str, u64)]) -> Seen {
        let rows: Vec<_> = rows
            .iter()
            .map(|(node, id, service, index)| {
                serde_json::json!({"Node": node, "CheckID": id, "ServiceName": service, "ModifyIndex": index})
            })
            .collect();
        Seen::of(Contents::Checks(health::checks(serde_json::Value::from(rows).to_string().as_bytes()).unwrap()))
    }

    fn found(services: &[&str], nodes: &[&str], anything: bool) -> Found {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Found { services: own(services), nodes: own(nodes), anything }
    }

    #[test]
    fn what_changed_is_named() {
        let before = services(r#"{"a": [], "b": ["x"], "c": []}"#);
        let now = services(r#"{"a": [], "b": ["x", "y"], "d": []}"#);
        assert_eq!(now.since(Some(&before)), found(&["b", "c", "d"], &[], true));

        let before = checks(&[("n1", "serfHealth", "", 5), ("n1", "web", "web", 6), ("n2", "db", "db", 7)]);
        let now = checks(&[("n1", "serfHealth", "", 9), ("n1", "web", "web", 8), ("n1", "new", "new", 9)]);
        assert_eq!(now.since(Some(&before)), found(&["db", "new", "web"], &["n1"], false));
        assert_eq!(before.since(Some(&before)), Found::default());
        assert_eq!(now.since(None), Found::default());

        let registered = |body: &str| Seen::of(Contents::Registered(catalog::registered(body.as_bytes()).unwrap()));
        let before = registered(
            r#"{"Services": {"1": {"ID": "1", "Service": "a"}, "2": {"ID": "2", "Service": "b"},
                "3": {"ID": "3", "Service": "c", "ModifyIndex": 3}}}"#,
        );
        let now = registered(
            r#"{"Services": {"1": {"ID": "1", "Service": "a"}, "2": {"ID": "2", "Service": "d"},
                "3": {"ID": "3", "Service": "c", "ModifyIndex": 4}}}"#,
        );
        assert_eq!(now.since(Some(&before)), found(&["b", "c", "d"], &[], false));
        assert_eq!(now.since(Some(&registered("null"))), now.since(None));
        assert_eq!(now.since(None), found(&["a", "c", "d"], &[], false));

        assert_eq!(Seen::Other.since(Some(&Seen::Other)), found(&[], &[], true));
    }
}
