//! Answers as templates see them: made once for each answer, shared by all renders.

use std::collections::BTreeMap;
use std::sync::Arc;

use tera::{Map, Value};

use super::error::{ErrorKind, Failure};
use crate::registry::{Asked, Entry, Instance, Names, Node, NodeServices, ServiceName, Text};

/// How deep the maps of `tree()` may nest: the depth that JSON may have, too.
const DEPTH: usize = 128;

/// A map with fields in this order.
fn map<const N: usize>(fields: [(&'static str, Value); N]) -> Value {
    Value::from(fields.into_iter().map(|(name, value)| (name.into(), value)).collect::<Map>())
}

/// The bytes of a value as text: it must be UTF-8 and not too long.
pub(super) fn text(text: &Text, limit: u64, name: impl Fn() -> String) -> Result<&str, Failure> {
    within(text, limit, &name)?;
    std::str::from_utf8(&text.0).map_err(|_| Failure::new(format!("the value of {} is not UTF-8", name())))
}

/// Refuses a value that is too long.
pub(super) fn within(text: &Text, limit: u64, name: impl Fn() -> String) -> Result<(), Failure> {
    let length = text.0.len();
    if (length as u64) < limit {
        return Ok(());
    }
    let message = format!("the value of {} has {length} bytes; the limit is {limit}", name());
    Err(Failure::of(ErrorKind::Limit, message).hint("store less under one key, or raise `limits.value`"))
}

/// Refuses entries that cannot be shown, by the name of their key.
pub(super) fn check_entries(entries: &[Arc<Entry>], asked: &Asked, limit: u64) -> Result<(), Failure> {
    for entry in entries {
        let name = || format!("key `{}` from registry `{}`", entry.path, asked.registry);
        within(&entry.value, limit, name)?;
        // An entry that has its view was text when it got it, and is immutable.
        if entry.view.get().is_none() {
            text(&entry.value, limit, name)?;
        }
    }
    Ok(())
}

/// The list that `prefix()` gives.
pub(super) fn entries(entries: &[Arc<Entry>]) -> Value {
    let item = |entry: &Arc<Entry>| {
        entry
            .view
            .get_or_init(|| {
                map([
                    ("key", Value::from(entry.key.as_str())),
                    ("path", Value::from(entry.path.as_str())),
                    ("value", Value::from(String::from_utf8_lossy(&entry.value.0))),
                ])
            })
            .clone()
    };
    Value::from(entries.iter().map(item).collect::<Vec<_>>())
}

/// The nested maps that `tree()` gives.
pub(super) fn tree(entries: &[Arc<Entry>], asked: &Asked) -> Result<Value, Failure> {
    #[derive(Default)]
    struct Folder<'e> {
        value: Option<Value>,
        names: BTreeMap<&'e str, Folder<'e>>,
    }
    impl Folder<'_> {
        fn value(self) -> Value {
            if self.names.is_empty()
                && let Some(value) = self.value
            {
                return value;
            }
            let own = self.value.map(|value| (String::new(), value));
            let names = self.names.into_iter().map(|(name, folder)| (name.to_owned(), folder.value()));
            Value::from(own.into_iter().chain(names).map(|(name, value)| (name.into(), value)).collect::<Map>())
        }
    }

    let mut root = Folder::default();
    for entry in entries {
        if entry.key.split('/').count() > DEPTH {
            let message =
                format!("key `{}` from registry `{}` lies more than {DEPTH} folders deep", entry.path, asked.registry);
            return Err(Failure::of(ErrorKind::Limit, message));
        }
        let folder = entry.key.split('/').fold(&mut root, |folder, name| folder.names.entry(name).or_default());
        folder.value = Some(Value::from(String::from_utf8_lossy(&entry.value.0)));
    }
    Ok(root.value())
}

/// The lists that `ls()` gives, by kind.
pub(super) fn names(names: &Names) -> Value {
    let all: std::collections::BTreeSet<&String> = names.keys.iter().chain(&names.folders).collect();
    let list = |names: Vec<&String>| Value::from(names.into_iter().map(String::as_str).collect::<Vec<_>>());
    map([
        ("all", list(all.into_iter().collect())),
        ("keys", list(names.keys.iter().collect())),
        ("folders", list(names.folders.iter().collect())),
    ])
}

/// The list that `services()` gives.
pub(super) fn services(services: &[ServiceName], registry: &str) -> Value {
    let item = |service: &ServiceName| {
        map([
            ("name", Value::from(service.name.as_str())),
            ("tags", texts(&service.tags)),
            ("registry", Value::from(registry)),
        ])
    };
    Value::from(services.iter().map(item).collect::<Vec<_>>())
}

/// The list that `service()` gives.
pub(super) fn instances(instances: &[Arc<Instance>]) -> Value {
    Value::from(instances.iter().map(|instance| self::instance(instance)).collect::<Vec<_>>())
}

/// One instance; SEMANTICS 3 lists its fields.
fn instance(instance: &Instance) -> Value {
    let make = || {
        map([
            ("id", Value::from(instance.id.as_str())),
            ("name", Value::from(instance.name.as_str())),
            ("node", Value::from(instance.node.as_str())),
            ("address", Value::from(instance.address.as_str())),
            ("port", Value::from(instance.port)),
            ("endpoint", Value::from(instance.endpoint())),
            ("tags", texts(&instance.tags)),
            ("meta", pairs(&instance.meta)),
            ("weight", Value::from(instance.weight)),
            ("status", Value::from(instance.status.as_str())),
            ("zone", Value::from(instance.zone.as_str())),
            ("registry", Value::from(&*instance.registry)),
        ])
    };
    instance.view.get_or_init(make).clone()
}

/// The list that `nodes()` gives.
pub(super) fn nodes(nodes: &[Node]) -> Value {
    let item = |node: &Node| map(node_fields(node));
    Value::from(nodes.iter().map(item).collect::<Vec<_>>())
}

/// The map that `node()` gives.
pub(super) fn node(found: &NodeServices) -> Value {
    let [name, address, meta, datacenter] = node_fields(&found.node);
    map([name, address, meta, datacenter, ("services", instances(&found.services))])
}

fn node_fields(node: &Node) -> [(&'static str, Value); 4] {
    [
        ("name", Value::from(node.name.as_str())),
        ("address", Value::from(node.address.as_str())),
        ("meta", pairs(&node.meta)),
        ("datacenter", Value::from(node.datacenter.as_str())),
    ]
}

/// The names of all fields that the lists above have, for "did you mean".
pub(super) const FIELDS: &[&str] = &[
    "id",
    "name",
    "node",
    "address",
    "port",
    "endpoint",
    "tags",
    "meta",
    "weight",
    "status",
    "zone",
    "registry",
    "key",
    "path",
    "value",
    "datacenter",
    "services",
];

/// The names of the fields of the maps that our filters make.
pub(super) const MADE: &[&str] = &[
    // Of `tree` and `nest`: the value of what is a folder too.
    "",
    // Of `partition`.
    "matched",
    "others",
    // Of `from_semver`.
    "version",
    "major",
    "minor",
    "patch",
    "pre",
    "build",
    // Of `from_url`.
    "scheme",
    "username",
    "password",
    "host",
    "query",
    "fragment",
    // Of `from_cidr`.
    "cidr",
    "prefix",
    "network",
    "netmask",
    "broadcast",
    "first",
    "last",
    "hosts",
];

/// A list of texts.
pub(super) fn texts(texts: &[String]) -> Value {
    Value::from(texts.iter().map(String::as_str).collect::<Vec<_>>())
}

fn pairs(pairs: &BTreeMap<String, String>) -> Value {
    Value::from(pairs.iter().map(|(name, value)| (name.clone().into(), Value::from(value.as_str()))).collect::<Map>())
}
