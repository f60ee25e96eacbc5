//! `registries: {NAME: {KIND: {...}}}`.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::field::Field;
use super::model::{Limits, NamedRegistry};
use super::problem::{Complaint, suggest};
use crate::registry::Kind;
use crate::yaml::{Node, Value};

/// One registry as it is written.
struct Written<'a> {
    name: &'a str,
    kind: &'a Kind,
    body: Field<'a>,
}

/// Reads the registries of all files; `entries` are names with what stands under them, in order.
pub(super) fn read<'a>(entries: &[(Field<'a>, Field<'a>)], limits: Limits) -> BTreeMap<Arc<str>, NamedRegistry> {
    let written: Vec<Written<'a>> = entries.iter().filter_map(|(_, value)| written(*value)).collect();
    let mut registries = BTreeMap::new();
    for registry in &written {
        let alone = written.iter().filter(|other| other.kind.name == registry.kind.name).count() == 1;
        if let Some(named) = decode(registry, alone, limits) {
            registries.insert(named.name.clone(), named);
        }
    }
    registries
}

fn written(value: Field<'_>) -> Option<Written<'_>> {
    let kinds = || value.reading.kinds.iter().map(|kind| kind.name);
    let known = || kinds().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let mut entries = value.entries()?.into_iter();
    let (Some((key, body)), more) = (entries.next(), entries.next()) else {
        let message = format!("registry `{}` has no kind", value.key);
        return value.complain(Complaint::new(message).hint(format!("known kinds are {}", known())));
    };
    if let Some((second, _)) = more {
        let message = format!("registry `{}` has more than one kind", value.key);
        return second.complain(Complaint::new(message).hint("each registry has a name of its own"));
    }
    match value.reading.kinds.iter().find(|kind| kind.name == body.key) {
        Some(kind) => Some(Written { name: value.key, kind, body }),
        None => key.complain(Complaint {
            message: format!("`{}` is no kind of registry", body.key.escape_debug()),
            hint: suggest(body.key, kinds()),
        }),
    }
}

fn decode(written: &Written<'_>, alone: bool, limits: Limits) -> Option<NamedRegistry> {
    let Written { name, kind, body } = written;
    let before = body.reading.count();
    body.reading.take_filled();
    let mut section = body.section()?.alone(alone);
    let remember = section.or("remember", true, Field::flag);
    let registry = (kind.decode)(&mut section);
    drop(section);
    if registry.is_none() && body.reading.count() == before {
        body.note(Complaint::new(format!("registry `{name}` is not complete")));
    }
    let mut hash = Sha256::new();
    // Another registry of the kind beside it changes this one only where a variable had filled something.
    for (variable, value) in body.reading.take_filled() {
        update(&mut hash, &variable);
        update(&mut hash, &value);
    }
    update(&mut hash, kind.name);
    fingerprint(&mut hash, *body, body.node);
    for limit in [limits.response, limits.keys] {
        hash.update(limit.to_le_bytes());
    }
    Some(NamedRegistry {
        name: (*name).into(),
        kind: kind.name,
        registry: registry?,
        limits,
        remember: remember?,
        fingerprint: hash.finalize().into(),
    })
}

/// Adds what a node says, with its variables replaced, in a form that no other node has.
fn fingerprint(hash: &mut Sha256, field: Field<'_>, node: &Node) {
    match &node.value {
        Value::Scalar(scalar) if scalar.null => hash.update(b"n"),
        Value::Scalar(scalar) => {
            hash.update(b"s");
            update(hash, field.expand(&scalar.text).as_deref().unwrap_or(&scalar.text));
        }
        Value::List(items) => {
            hash.update(b"[");
            for item in items {
                fingerprint(hash, field, item);
            }
            hash.update(b"]");
        }
        Value::Map(entries) => {
            hash.update(b"{");
            for (key, value) in entries {
                update(hash, key.text().unwrap_or_default());
                fingerprint(hash, field, value);
            }
            hash.update(b"}");
        }
    }
}

fn update(hash: &mut Sha256, text: &str) {
    hash.update(text.len().to_le_bytes());
    hash.update(text);
}
