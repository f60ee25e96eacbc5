//! What is said of something that was asked for and is not there: what stands beside it, and what may be meant.
//!
//! Nothing is asked for a message. What is known is in the view: the listings and keys that templates have asked for, and
//! what a registry that holds everything anyway gave along with "not there".

use std::collections::BTreeSet;

use super::error::did_you_mean;
use super::near::{listed, nearest, quoted};
use super::record::{Absent, Render};
use crate::registry::{Asked, Computed, Data, NodeQuery, Path, Query, ServiceQuery, UnknownService};

/// What to do with a folder.
pub(super) const OF_FOLDERS: &str = "`prefix`, `tree` and `ls` give what is in a folder";

/// What can be said of a name that is not there.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Beside {
    /// What there is: "`app` holds `name`, `port`".
    pub(super) available: Option<String>,
    /// What may be meant.
    pub(super) hint: Option<String>,
}

impl Beside {
    /// Advice alone.
    pub(super) fn hint(hint: Option<String>) -> Self {
        Self { available: None, hint }
    }
}

/// The names in a folder.
#[derive(Default)]
struct Folder {
    keys: BTreeSet<String>,
    folders: BTreeSet<String>,
    /// Whether they are all that it holds.
    is_whole: bool,
}

impl Render {
    /// What stands beside something that is not there.
    pub(super) fn beside(&self, absent: &Absent) -> Beside {
        match absent {
            Absent::Query(Asked { registry, query: Query::Key(path) }) => self.beside_path(registry, path, absent),
            Absent::Query(Asked { registry, query: Query::Node(query) }) if query.computed.0 == Computed::default() => {
                self.beside_node(registry, query)
            }
            Absent::Variable(name) if self.is_written(name) => {
                let names = self.environment.variables.keys().map(String::as_str);
                Beside::hint(did_you_mean(name, names))
            }
            Absent::Query(_) | Absent::Variable(_) => Beside::default(),
        }
    }

    /// What there is where a question was answered with nothing: beside a folder, or services as far as templates have
    /// asked for them.
    pub(super) fn beside_nothing(&self, asked: &Asked) -> Beside {
        match &asked.query {
            Query::Prefix(path) | Query::Listing(path) => {
                self.beside_path(&asked.registry, path, &Absent::Query(asked.clone()))
            }
            Query::Service(query) if !query.computed.0.name => {
                // Instances that are there and not let through are no question of the name.
                match self.view.answer(asked).and_then(|answer| answer.unknown.as_ref()) {
                    Some(unknown) => self.beside_service(asked, &query.name, unknown),
                    None => self.beside_instances(asked, query),
                }
            }
            _ => Beside::default(),
        }
    }

    fn beside_service(&self, asked: &Asked, name: &str, unknown: &UnknownService) -> Beside {
        let answers = self.view.answers().filter(|(other, _)| other.registry == asked.registry);
        let lists = answers.filter_map(|(_, answer)| match &answer.data {
            Data::Services(services) => Some(services),
            _ => None,
        });
        let names: BTreeSet<&str> =
            lists.flatten().map(|service| service.name.as_str()).filter(|known| *known != name).collect();
        Beside {
            available: listed(name, names.iter().copied()).map(|list| format!("services: {list}")),
            hint: unknown.hint.clone().or_else(|| did_you_mean(name, names)),
        }
    }

    /// The nodes that templates have asked for.
    fn beside_node(&self, registry: &str, query: &NodeQuery) -> Beside {
        let mut names = BTreeSet::new();
        for (other, answer) in self.view.answers().filter(|(other, _)| *other.registry == *registry) {
            match (&other.query, &answer.data) {
                (Query::Nodes { datacenter }, Data::Nodes(nodes)) if *datacenter == query.datacenter => {
                    names.extend(nodes.iter().map(|node| node.name.as_str()));
                }
                (Query::Node(other), Data::Node(Some(found))) if other.datacenter == query.datacenter => {
                    names.insert(found.node.name.as_str());
                }
                (Query::Service(other), Data::Service(instances)) if other.datacenter == query.datacenter => {
                    let nodes = instances.iter().map(|instance| instance.node.as_str());
                    names.extend(nodes.filter(|node| !node.is_empty()));
                }
                _ => {}
            }
        }
        Beside {
            available: listed(&query.name, names.iter().copied()).map(|list| format!("known nodes: {list}")),
            hint: did_you_mean(&query.name, names),
        }
    }

    /// The tags and states that instances of a service have, as far as templates have asked for them.
    fn beside_instances(&self, asked: &Asked, query: &ServiceQuery) -> Beside {
        let (mut tags, mut states) = (BTreeSet::new(), BTreeSet::new());
        for (other, answer) in self.view.answers().filter(|(other, _)| other.registry == asked.registry) {
            match (&other.query, &answer.data) {
                (Query::Services { .. }, Data::Services(services)) if query.datacenter.is_none() => {
                    let own = services.iter().filter(|service| service.name == query.name);
                    tags.extend(own.flat_map(|service| &service.tags).map(String::as_str));
                }
                (Query::Service(other), Data::Service(instances))
                    if other.name == query.name && other.datacenter == query.datacenter =>
                {
                    tags.extend(instances.iter().flat_map(|instance| &instance.tags).map(String::as_str));
                    states.extend(instances.iter().map(|instance| instance.status.as_str()));
                }
                _ => {}
            }
        }
        let list = |what: &str, names: &BTreeSet<&str>, written: &str| {
            listed(written, names.iter().copied()).map(|list| format!("{what}: {list}"))
        };
        let stranger = query.tags.iter().find(|tag| !query.computed.0.other && !tags.contains(tag.as_str()));
        let of_tags =
            if query.tags.is_empty() { None } else { list("tags", &tags, stranger.map_or("", String::as_str)) };
        let known: Vec<String> = of_tags.into_iter().chain(list("states", &states, "")).collect();
        let available = (!known.is_empty()).then(|| format!("known of {}: {}", quoted(&query.name), known.join("; ")));
        Beside { available, hint: stranger.and_then(|tag| did_you_mean(tag, tags.iter().copied())) }
    }

    fn beside_path(&self, registry: &str, path: &Path, absent: &Absent) -> Beside {
        // Of a path that was computed from values not even what is like it may be told.
        if path.shown() != path.as_str() {
            return Beside::default();
        }
        let segments: Vec<&str> = path.segments().collect();
        let is_key = matches!(absent, Absent::Query(Asked { query: Query::Key(_), .. }));
        for depth in (0..segments.len()).rev() {
            let Ok(folder) = Path::parse(&segments[..depth].join("/")) else { continue };
            let Folder { keys, folders, is_whole } = self.names_in(registry, &folder, absent);
            let (written, is_last) = (segments[depth], depth + 1 == segments.len());
            let wants_key = is_key && is_last;
            if folders.contains(written) && !wants_key || keys.is_empty() && folders.is_empty() {
                // It is there, and what is in it is not known; or nothing is known here.
                if folders.contains(written) {
                    return Beside::default();
                }
                continue;
            }
            if wants_key && folders.contains(written) && !keys.contains(written) {
                let Folder { keys, folders, .. } = self.names_in(registry, path, absent);
                let names: Vec<String> =
                    keys.into_iter().chain(folders.into_iter().map(|name| format!("{name}/"))).collect();
                let list = listed("", names.iter().map(String::as_str));
                let path = quoted(path.as_str());
                return Beside {
                    available: list.map(|list| format!("{path} holds {list}")),
                    hint: Some(format!("{path} is a folder: {OF_FOLDERS}")),
                };
            }
            let shown = |name: &str| if folder.is_root() { name.to_owned() } else { format!("{folder}/{name}") };
            let others = || keys.iter().chain(&folders).map(String::as_str).filter(|name| *name != written);
            let fitting = if wants_key {
                nearest(written, keys.iter().map(String::as_str))
            } else {
                nearest(written, folders.iter().map(String::as_str))
            };
            let hint = fitting.or_else(|| nearest(written, others())).map(|name| {
                let whole = shown(name);
                let rest = &segments[depth + 1..];
                let full = if rest.is_empty() { whole.clone() } else { format!("{whole}/{}", rest.join("/")) };
                match Path::parse(&full) {
                    Ok(full) if self.is_known(registry, &full) || is_last && keys.contains(name) => {
                        format!("did you mean {}?", quoted(full.as_str()))
                    }
                    _ => format!("did you mean the folder {}?", quoted(&whole)),
                }
            });
            let names = keys.iter().cloned().chain(folders.difference(&keys).map(|name| format!("{name}/")));
            let names: Vec<String> = names.filter(|name| name != written).collect();
            let list = listed(written, names.iter().map(String::as_str));
            let available = list.map(|list| match (folder.is_root(), is_whole) {
                (true, true) => format!("the registry holds {list}"),
                (true, false) => format!("known in the registry: {list}"),
                (false, true) => format!("{} holds {list}", quoted(folder.as_str())),
                (false, false) => format!("known in {}: {list}", quoted(folder.as_str())),
            });
            return Beside { available, hint };
        }
        Beside::default()
    }

    /// The names in a folder, as far as answers tell.
    fn names_in(&self, registry: &str, folder: &Path, absent: &Absent) -> Folder {
        let mut names = Folder::default();
        for (asked, answer) in self.view.answers().filter(|(asked, _)| *asked.registry == *registry) {
            if let (Absent::Query(absent), Some(beside)) = (absent, &answer.beside)
                && absent == asked
                && beside.folder == *folder
            {
                names.keys.extend(beside.names.keys.iter().cloned());
                names.folders.extend(beside.names.folders.iter().cloned());
                names.is_whole = true;
            }
            match (&asked.query, &answer.data) {
                (Query::Listing(listed), Data::Listing(all)) if listed == folder => {
                    names.keys.extend(all.keys.iter().cloned());
                    names.folders.extend(all.folders.iter().cloned());
                    names.is_whole |= !(all.keys.is_empty() && all.folders.is_empty());
                }
                (Query::Listing(listed), Data::Listing(all)) if !(all.keys.is_empty() && all.folders.is_empty()) => {
                    names.add_folder_of(folder, listed.as_str());
                }
                (Query::Prefix(above), Data::Prefix(entries)) => {
                    for entry in entries {
                        names.add(folder, &entry.path);
                    }
                    let covers = above == folder || above.relative(folder.as_str()).is_some();
                    names.is_whole |= covers && entries.iter().any(|entry| folder.relative(&entry.path).is_some());
                }
                (Query::Key(path), Data::Key(Some(_))) if path.shown() == path.as_str() => {
                    names.add(folder, path.as_str());
                }
                _ => {}
            }
        }
        names
    }

    /// Whether there is a key or a folder of this name, as far as answers tell.
    fn is_known(&self, registry: &str, path: &Path) -> bool {
        self.view.answers().filter(|(asked, _)| *asked.registry == *registry).any(|(asked, answer)| {
            match (&asked.query, &answer.data) {
                (Query::Key(known), Data::Key(Some(_))) => known == path,
                (Query::Prefix(_), Data::Prefix(entries)) => {
                    entries.iter().any(|entry| entry.path == path.as_str() || path.relative(&entry.path).is_some())
                }
                _ => false,
            }
        })
    }
}

impl Folder {
    /// Notes a key by its path, if it is in the folder.
    fn add(&mut self, folder: &Path, path: &str) {
        let Some(below) = folder.relative(path) else { return };
        match below.split_once('/') {
            Some((name, _)) => self.folders.insert(name.to_owned()),
            None => self.keys.insert(below.to_owned()),
        };
    }

    /// Notes a folder by its path, if it is in this one.
    fn add_folder_of(&mut self, folder: &Path, path: &str) {
        let name = folder.relative(path).map(|below| below.split('/').next().unwrap_or(below));
        self.folders.extend(name.map(str::to_owned));
    }
}
