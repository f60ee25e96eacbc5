//! Where a text that is refused came from, for the message: the key, or the instance with its service and node.

use std::sync::Arc;

use tera::Value;

use super::arguments::attribute;
use super::near::quoted;
use super::record::Render;
use crate::registry::{Asked, Data, Instance, Node, NodeServices, Query};

/// The longest part of a name that is shown.
const SHOWN: usize = 64;

impl Render {
    /// Where a refused value came from, as far as the answers that were read tell: "`address` of instance `a` of service
    /// `web` on node `n1`, registry `main`". It never holds the value itself.
    pub(super) fn origin(&self, refused: &Value) -> Option<String> {
        let port = refused.as_u64().filter(|_| refused.is_number());
        let text = refused.as_str();
        let found = |_: &str, value: &str| text == Some(value);
        self.find(text.unwrap_or_default(), port, &found)
    }

    /// Where a part of a refused text came from that holds a control character.
    pub(super) fn origin_of_controls(&self, text: &str) -> Option<String> {
        let found = |_: &str, value: &str| value.contains(char::is_control) && text.contains(value);
        self.find(text, None, &found)
    }

    /// The key or the entry of `meta` whose name is refused: what was given is that name, or ends with it.
    pub(super) fn origin_of_name(&self, refused: &str) -> Option<String> {
        let is_end = |name: &str| !name.is_empty() && refused.ends_with(name);
        let found = self.reads.iter().filter_map(|asked| {
            let registry = &asked.registry;
            match &self.view.answer(asked)?.data {
                Data::Prefix(entries) => {
                    let entry =
                        entries.iter().filter(|entry| is_end(&entry.key)).max_by_key(|entry| entry.key.len())?;
                    Some((entry.key.len(), format!("the name of key {}, registry `{registry}`", quoted(&entry.path))))
                }
                Data::Service(instances) => {
                    let instance = instances.iter().find(|instance| instance.meta.contains_key(refused))?;
                    let of = described(instance, asked, refused);
                    Some((refused.len(), format!("the name of {} in `meta` of {of}", quoted(refused))))
                }
                _ => None,
            }
        });
        found.max_by_key(|(length, _)| *length).map(|(_, origin)| origin)
    }

    /// Which instance, node or entry a value is, by its names: "instance `a` of service `web` on node `n1`, registry
    /// `main`". Nothing is said of it for a secret.
    pub(super) fn thing(&self, value: &Value) -> Option<String> {
        if self.is_secret {
            return None;
        }
        let is = |field: &str, wanted: &str| attribute(value, field).and_then(Value::as_str) == Some(wanted);
        let is_it = |instance: &&Arc<Instance>| {
            is("id", &instance.id)
                && is("name", &instance.name)
                && is("node", &instance.node)
                && is("address", &instance.address)
                && attribute(value, "port").and_then(Value::as_u64) == Some(instance.port.into())
        };
        let is_node = |node: &&Node| is("name", &node.name) && is("address", &node.address);
        let of_node =
            |node: &Node, asked: &Asked| Some(format!("node {}, registry `{}`", name(&node.name, "")?, asked.registry));
        // Neither is a thing that a template made with fields of the same names.
        let has = |fields: &[&str]| fields.iter().all(|field| attribute(value, field).is_some());
        let (may_be_instance, may_be_node) = (has(&["endpoint", "status", "meta"]), has(&["datacenter", "meta"]));
        self.reads.iter().find_map(|asked| match &self.view.answer(asked)?.data {
            Data::Service(instances) if may_be_instance => {
                instances.iter().find(is_it).map(|instance| described(instance, asked, ""))
            }
            Data::Node(Some(found)) if may_be_instance => {
                found.services.iter().find(is_it).map(|instance| described(instance, asked, ""))
            }
            Data::Node(Some(found)) if may_be_node => {
                Some(&found.node).filter(is_node).and_then(|node| of_node(node, asked))
            }
            Data::Nodes(nodes) if may_be_node => nodes.iter().find(is_node).and_then(|node| of_node(node, asked)),
            Data::Prefix(entries) => {
                let entry = entries.iter().find(|entry| is("path", &entry.path) && is("key", &entry.key))?;
                Some(format!("key {}, registry `{}`", name(&entry.path, "")?, asked.registry))
            }
            _ => None,
        })
    }

    /// Whether a registry lists a key of this name below a folder that was asked for.
    pub(super) fn lists_key(&self, name: &str) -> bool {
        self.reads.iter().filter_map(|asked| self.view.answer(asked)).any(|answer| match &answer.data {
            Data::Prefix(entries) => entries.iter().any(|entry| entry.key == name || entry.path == name),
            _ => false,
        })
    }

    fn find(&self, refused: &str, port: Option<u64>, found: &dyn Fn(&str, &str) -> bool) -> Option<String> {
        let is_text = |bytes: &[u8]| std::str::from_utf8(bytes).is_ok_and(|text| found("value", text));
        self.reads.iter().find_map(|asked| {
            let registry = &asked.registry;
            match &self.view.answer(asked)?.data {
                Data::Key(Some(text)) if is_text(&text.0) => Some(match asked.query {
                    Query::File(_) | Query::Time { .. } => asked.query.to_string(),
                    _ => format!("the value of {asked}"),
                }),
                Data::Prefix(entries) => {
                    let entry = entries.iter().find(|entry| is_text(&entry.value.0))?;
                    let path = name(&entry.path, refused)?;
                    Some(format!("the value of key {path}, registry `{registry}`"))
                }
                Data::Service(instances) => instances.iter().find_map(|instance| {
                    let field = field(instance, port, found)?;
                    Some(format!("{field} of {}", described(instance, asked, refused)))
                }),
                Data::Services(services) => {
                    let service = services.iter().find(|service| found("name", &service.name))?;
                    Some(format!("the name of a service with {} tags, registry `{registry}`", service.tags.len()))
                }
                Data::Nodes(nodes) => nodes.iter().find_map(|node| of_node(node, asked, refused, found)),
                Data::Node(Some(NodeServices { node, services })) => {
                    let of_instance = |instance: &Arc<Instance>| {
                        let field = field(instance, port, found)?;
                        Some(format!("{field} of {}", described(instance, asked, refused)))
                    };
                    of_node(node, asked, refused, found).or_else(|| services.iter().find_map(of_instance))
                }
                Data::Datacenters(names) => {
                    let is_one = names.iter().any(|name| found("name", name));
                    is_one.then(|| format!("the name of a datacenter, registry `{registry}`"))
                }
                Data::Records(records) => {
                    let is_one = records.iter().any(|record| found("record", record));
                    is_one.then(|| format!("one of the {asked}"))
                }
                _ => None,
            }
        })
    }
}

/// The field of an instance that holds what is looked for.
fn field(instance: &Instance, port: Option<u64>, found: &dyn Fn(&str, &str) -> bool) -> Option<String> {
    let Instance { id, name, node, address, zone, .. } = instance;
    let texts = [("id", id), ("name", name), ("node", node), ("address", address), ("zone", zone)];
    if let Some((field, _)) = texts.into_iter().find(|(field, text)| found(field, text)) {
        return Some(format!("`{field}`"));
    }
    if port == Some(instance.port.into()) {
        return Some("`port`".into());
    }
    if found("endpoint", &instance.endpoint()) {
        return Some("`endpoint`".into());
    }
    if instance.tags.iter().any(|tag| found("tag", tag)) {
        return Some("a tag".into());
    }
    let (entry, _) = instance.meta.iter().find(|(entry, text)| found(entry, text))?;
    Some(self::name(entry, "").map_or_else(|| "`meta`".into(), |entry| format!("{entry} in `meta`")))
}

/// The field of a node that holds what is looked for, and which node it is.
fn of_node(node: &Node, asked: &Asked, refused: &str, found: &dyn Fn(&str, &str) -> bool) -> Option<String> {
    let fields = [("name", &node.name), ("address", &node.address), ("datacenter", &node.datacenter)];
    let of_meta = node.meta.iter().map(|(entry, value)| (entry.as_str(), value));
    let (field, _) = fields.into_iter().chain(of_meta).find(|(field, value)| found(field, value))?;
    let node = name(&node.name, refused).map(|node| format!(" {node}")).unwrap_or_default();
    Some(format!("{} of node{node}, registry `{}`", name(field, refused)?, asked.registry))
}

/// An instance, by all that its registry tells it by and that does not hold what was refused.
fn described(instance: &Instance, asked: &Asked, refused: &str) -> String {
    let part = |before: &str, text: &str| name(text, refused).map(|name| format!("{before}{name}")).unwrap_or_default();
    let id = name(&instance.id, refused).map_or_else(|| "an instance".into(), |id| format!("instance {id}"));
    let (service, node) = (part(" of service ", &instance.name), part(" on node ", &instance.node));
    format!("{id}{service}{node}, registry `{}`", asked.registry)
}

/// A name in backticks, shortened; none for one that is empty, has control characters, or holds what was refused: an
/// instance without an id of its own is called after its address.
fn name(name: &str, refused: &str) -> Option<String> {
    if name.is_empty() || name.contains(char::is_control) || (!refused.is_empty() && name.contains(refused)) {
        return None;
    }
    let shown: String = name.chars().take(SHOWN).collect();
    let more = if shown.len() < name.len() { "…" } else { "" };
    Some(format!("`{shown}{more}`"))
}
