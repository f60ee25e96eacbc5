//! `lock: {registry, path, holders, ttl, max_wait, unavailable_after}`: how many of a fleet may reload at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::field::Field;
use super::model::NamedRegistry;
use super::problem::{Complaint, suggest};
use crate::registry::Path;
use crate::registry::line::Place;

/// How many of those who have the same lock may be at their reload at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// The registry that keeps it. Filled in where the configuration has only one.
    pub registry: Arc<str>,
    /// The folder of its keys.
    pub path: Path,
    /// How many may hold it at a time. Default 1.
    pub holders: usize,
    /// The longest time for which a holder that has died keeps others waiting. Default 30 s.
    pub ttl: Duration,
    /// How long others are waited for; none for as long as it takes, which is the default.
    pub max_wait: Option<Duration>,
    /// How long the registry may be away before a reload goes without the lock; none for as long as it takes. Default
    /// 10 s.
    pub unavailable_after: Option<Duration>,
}

impl Lock {
    /// A place in its line.
    pub fn place(&self, holder: String) -> Place {
        Place { line: self.path.clone(), ttl: self.ttl, holder }
    }
}

/// Reads the lock of a target. The name of its registry is empty where it is left out.
pub(super) fn read(field: Field<'_>) -> Option<Lock> {
    let mut section = field.section()?;
    let registry = section.or("registry", String::new(), Field::text);
    let path = section.required("path").and_then(path);
    let holders = section.or("holders", 1, |field| match usize::try_from(field.integer()?) {
        Ok(holders @ 1..) => Some(holders),
        _ => field.complain(Complaint::new("nobody could ever reload").hint("`holders` is at least 1")),
    });
    let ttl = section.or("ttl", Duration::from_secs(30), Field::nonzero_duration);
    let max_wait = section.or("max_wait", None, Field::duration_or_never);
    let unavailable_after = section.or("unavailable_after", Some(Duration::from_secs(10)), Field::duration_or_never);
    Some(Lock {
        registry: registry?.into(),
        path: path?,
        holders: holders?,
        ttl: ttl?,
        max_wait: max_wait?,
        unavailable_after: unavailable_after?,
    })
}

fn path(field: Field<'_>) -> Option<Path> {
    let path = field.expanded("the path of a folder of keys")?;
    match Path::parse(&path) {
        Ok(path) if path.is_root() => {
            field.complain(Complaint::new("the lock needs a folder of its own").hint("such as `liveconf/locks/web`"))
        }
        path => field.accept(path.map_err(|error| Complaint::new(error.to_string()))),
    }
}

/// Finds the registry of a lock among those that are configured, `names` of which may be wrong, and asks it whether it
/// has locks.
pub(super) fn resolve(
    lock: &mut Lock,
    field: Field<'_>,
    names: &[&str],
    registries: &BTreeMap<Arc<str>, NamedRegistry>,
) -> Option<()> {
    if lock.registry.is_empty() {
        let [name] = names else {
            let message = if names.is_empty() { "there is no registry for it" } else { "`registry` is missing" };
            let listed: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
            let hint = if names.is_empty() { "add one of etcd or Consul".into() } else { listed.join(" or ") };
            return field.complain(Complaint::new(message).hint(hint));
        };
        lock.registry = (*name).into();
    }
    if !names.contains(&&*lock.registry) {
        let complaint = Complaint::new(format!("there is no registry `{}`", lock.registry));
        return field.complain(match suggest(&lock.registry, names.iter().copied()) {
            Some(hint) => complaint.hint(hint),
            None => complaint,
        });
    }
    // What is wrong with the registry itself is told where that stands.
    let found = registries.get(&lock.registry)?;
    match found.registry.line(&lock.place(String::new())) {
        Ok(_) => Some(()),
        Err(reason) => field.complain(Complaint::new(format!("registry `{}` ({}) {reason}", found.name, found.kind))),
    }
}
