//! Fixtures: one file that stands in for every registry of a configuration, in tests and on machines without any.
//!
//! For one registry it is a file as a file registry reads it, written by hand or [captured](super::Snapshot). Where there
//! are several, what each of them answers stands under its name:
//!
//! ```yaml
//! ./registries:
//!   main:
//!     services: {web: [{address: 10.0.0.1, port: 80}]}
//!   local:
//!     app: {name: shop}
//! ```
//!
//! A fixture that was captured says when and what was asked, and what was not is not known: rather than "not there" it is
//! an error of whoever asks. One that was written by hand, without the line that says when, says all that there is. What only the server of a kind can do (`near`,
//! `datacenter`, `filter`) is answered where the fixture holds that very question.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::content::{self, Content, Folders};
use super::source::{self, Document};
use super::{FileRegistry, format};
use crate::config::Limits;
use crate::registry::document::{Content as Tree, Member, Node as TreeNode};
use crate::registry::{
    Answer, Data, Feed, NodeQuery, Outage, Query, QueryError, Registry, Reply, ServiceQuery, StatusFilter, Wanted,
    Watch,
};
use crate::template::did_you_mean;

/// The key under which a fixture holds several registries. No path of a key has a segment `.`.
const SECTION: &str = "./registries";

/// A file is as large as it is: whoever gives it means it.
const NONE: Limits = Limits { response: u64::MAX, keys: u64::MAX, value: u64::MAX, output: u64::MAX };

/// What stands in for every registry of a configuration.
#[derive(Debug)]
pub struct Fixture {
    path: PathBuf,
    registries: BTreeMap<Arc<str>, Arc<Known>>,
}

/// What a fixture says of one registry.
#[derive(Debug, Default)]
struct Known {
    content: Content,
    /// What was asked.
    asked: HashSet<Query>,
    /// Whether the fixture says all that there is; else what was not asked is not known.
    is_whole: bool,
    /// What we were not allowed to ask.
    denied: BTreeSet<Query>,
}

impl Fixture {
    /// Reads a fixture, a file or a folder, for a configuration with these registries. What is wrong with it is told with
    /// its place and without any value.
    pub fn read(path: &FilePath, names: &BTreeSet<Arc<str>>) -> Result<Self, String> {
        let documents = source::documents(&source::files(path)?, NONE.response)?;
        Self::of(path, documents, names)
    }

    /// The same of the text of a file that need not be there.
    pub fn of_text(path: &FilePath, text: String, names: &BTreeSet<Arc<str>>) -> Result<Self, String> {
        let document = Document { path: path.to_owned(), text };
        let tree = format::parse(path, &document.text)
            .map_err(|mistake| format!("{}: {}", document.place(mistake.place), mistake.message))?;
        Self::of(path, vec![(document, tree)], names)
    }

    fn of(path: &FilePath, documents: Vec<(Document, TreeNode)>, names: &BTreeSet<Arc<str>>) -> Result<Self, String> {
        let is_of_several = documents.iter().any(|(_, tree)| match &tree.content {
            Tree::Map(members) => members.iter().any(|member| member.key == SECTION),
            _ => false,
        });
        let parts = if is_of_several { parts(documents, names)? } else { whole(path, documents, names)? };
        let mut registries = BTreeMap::new();
        for (name, documents) in parts {
            let known = Arc::new(Known::read(path, documents, &name)?);
            registries.insert(name, known);
        }
        Ok(Self { path: path.to_owned(), registries })
    }

    /// What it answers for the registry called `name`; none where it does not know.
    pub fn answer(&self, name: &str, query: &Query) -> Option<Data> {
        let known = self.registries.get(name).filter(|known| known.knows(query) && !known.denied.contains(query))?;
        Some(known.content.answer(query, &[]))
    }

    /// What stands in for the registry called `name`, in whose place it refuses what `original` cannot answer either.
    pub fn registry(&self, name: &str, original: Arc<dyn Registry>) -> Arc<dyn Registry> {
        // Of a registry that the fixture does not name nothing is known.
        let known = self.registries.get(name).cloned().unwrap_or_default();
        Arc::new(FixtureRegistry { path: self.path.clone(), known, original })
    }
}

/// The documents of each registry, by name.
type Parts = BTreeMap<Arc<str>, Vec<(Document, TreeNode)>>;

/// All that the documents say is of the one registry that there is.
fn whole(path: &FilePath, documents: Vec<(Document, TreeNode)>, names: &BTreeSet<Arc<str>>) -> Result<Parts, String> {
    if names.len() > 1 {
        let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
        let (path, names) = (path.display(), names.join(", "));
        return Err(format!(
            "{path}: there are several registries: put what each answers under `{SECTION}`, as {names}"
        ));
    }
    Ok(names.iter().take(1).cloned().zip([documents]).collect())
}

/// What the documents say of each registry.
fn parts(documents: Vec<(Document, TreeNode)>, names: &BTreeSet<Arc<str>>) -> Result<Parts, String> {
    let mut parts = Parts::new();
    for (document, tree) in documents {
        let Tree::Map(members) = tree.content else {
            return Err(format!("{}: a fixture is a map", document.place(tree.place)));
        };
        for Member { key, place, node } in members {
            let of_registries = match node.content {
                Tree::Map(registries) if key == SECTION => registries,
                _ if key == SECTION => {
                    let place = document.place(node.place);
                    return Err(format!(
                        "{place}: `{SECTION}` is a map from the name of a registry to what it answers"
                    ));
                }
                _ => {
                    let place = document.place(place);
                    let key = key.escape_debug();
                    return Err(format!("{place}: `{key}` stands beside `{SECTION}`: put it under a registry there"));
                }
            };
            for Member { key, place, node } in of_registries {
                let Some(name) = names.get(&*key) else {
                    let hint = did_you_mean(&key, names.iter().map(|name| &**name));
                    let hint = hint.map(|hint| format!("; {hint}")).unwrap_or_default();
                    let place = document.place(place);
                    return Err(format!("{place}: there is no registry `{}`{hint}", key.escape_debug()));
                };
                let copy = Document { path: document.path.clone(), text: document.text.clone() };
                parts.entry(name.clone()).or_default().push((copy, node));
            }
        }
    }
    Ok(parts)
}

impl Known {
    fn read(path: &FilePath, documents: Vec<(Document, TreeNode)>, name: &Arc<str>) -> Result<Self, String> {
        // An instance that cannot be read is a mistake of whoever wrote it.
        let registry = FileRegistry { strict: true, ..FileRegistry::new(path) };
        let (mut content, _left_out) = content::read(documents, &registry, NONE, name)?;
        let Some(described) = content.snapshot.take() else {
            return Ok(Self { content, is_whole: true, ..Self::default() });
        };
        let asked = described.asked.into_iter().map(|(query, _)| query).collect();
        Ok(Self { content, asked, is_whole: !described.is_captured, denied: described.denied })
    }

    /// Whether the answer is known.
    fn knows(&self, query: &Query) -> bool {
        if self.asked.contains(query) || self.denied.contains(query) {
            return true;
        }
        match query {
            Query::Service(service) if !is_plain(service) => return false,
            // What no file says by itself.
            Query::File(_)
            | Query::Time { .. }
            | Query::Lookup(_)
            | Query::Nodes { datacenter: Some(_) }
            | Query::Node(NodeQuery { datacenter: Some(_), .. }) => return false,
            _ => {}
        }
        let asked = &self.asked;
        let lies_in_what_was_asked = |path: &str| {
            asked.iter().any(|asked| matches!(asked, Query::Prefix(folder) if folder.relative(path).is_some()))
        };
        self.is_whole
            || match query {
                // What somebody has added counts, and so does what follows from a wider question.
                Query::Key(path) => self.content.has_key(path) || lies_in_what_was_asked(path.as_str()),
                Query::Exists(path) => self.content.has_name(path) || lies_in_what_was_asked(path.as_str()),
                Query::Prefix(path) | Query::Listing(path) => lies_in_what_was_asked(path.as_str()),
                Query::Service(service) => {
                    let of_this = asked.iter().filter_map(|asked| match asked {
                        Query::Service(asked) if asked.name == service.name => Some(asked),
                        _ => None,
                    });
                    let mut of_this = of_this.peekable();
                    let is_new = of_this.peek().is_none() && self.content.services.contains_key(&service.name);
                    is_new || of_this.any(|asked| covers(asked, service))
                }
                Query::Services { .. }
                | Query::Nodes { .. }
                | Query::Node(_)
                | Query::Datacenters
                | Query::Lookup(_)
                | Query::File(_)
                | Query::Time { .. } => false,
            }
    }
}

/// Whether every registry can answer it.
fn is_plain(query: &ServiceQuery) -> bool {
    query.near.is_none() && query.datacenter.is_none() && query.filter.is_none()
}

/// Whether who knows the answer to `wide` knows that to `narrow`, a plain question about the same service.
fn covers(wide: &ServiceQuery, narrow: &ServiceQuery) -> bool {
    let states = match (&wide.status, &narrow.status) {
        (StatusFilter::All, _) => true,
        (StatusFilter::Any(_), StatusFilter::All) => false,
        (StatusFilter::Any(wide), StatusFilter::Any(narrow)) => wide.is_superset(narrow),
    };
    is_plain(wide) && states && wide.tags.is_subset(&narrow.tags)
}

/// One registry of a fixture.
#[derive(Debug)]
struct FixtureRegistry {
    path: PathBuf,
    known: Arc<Known>,
    original: Arc<dyn Registry>,
}

impl Registry for FixtureRegistry {
    fn supports(&self, query: &Query) -> Result<(), String> {
        self.original.supports(query)
    }

    fn knows(&self, query: &Query) -> Result<(), String> {
        if self.known.knows(query) {
            return Ok(());
        }
        let path = self.path.display();
        let query = described(query);
        Err(format!("has no answer to {query} in the fixture `{path}`: capture it again, or add it there"))
    }

    fn answers_lookups(&self) -> bool {
        self.original.answers_lookups()
    }

    fn watch(&self) -> Box<dyn Watch> {
        Box::new(FixtureWatch(self.known.clone()))
    }

    fn is_guarded(&self) -> bool {
        false
    }
}

/// A question with what makes it one that only some kinds answer.
fn described(query: &Query) -> String {
    let with = match query {
        Query::Service(service) => [
            ("near", service.near.is_some()),
            ("datacenter", service.datacenter.is_some()),
            ("filter", service.filter.is_some()),
        ]
        .iter()
        .filter(|(_, is_given)| *is_given)
        .map(|(name, _)| format!("`{name}=`"))
        .collect(),
        Query::Nodes { datacenter: Some(_) } | Query::Node(NodeQuery { datacenter: Some(_), .. }) => {
            vec!["`datacenter=`".to_owned()]
        }
        _ => Vec::new(),
    };
    if with.is_empty() { query.to_string() } else { format!("{query} with {}", with.join(" and ")) }
}

/// Answers what is asked, once: nothing changes.
struct FixtureWatch(Arc<Known>);

impl Watch for FixtureWatch {
    fn run<'a>(&'a mut self, feed: &'a mut Feed) -> BoxFuture<'a, Outage> {
        Box::pin(async move {
            let mut answered = Wanted::default();
            loop {
                let wanted = feed.wanted();
                let new = wanted.iter().filter(|(query, serial)| answered.get(query) != Some(serial));
                let mut folders = Folders::new();
                feed.publish(new.map(|(query, _)| self.reply(query, &mut folders)).collect());
                answered.clone_from(&wanted);
                feed.changed().await;
            }
        })
    }
}

impl FixtureWatch {
    fn reply(&self, query: &Query, folders: &mut Folders) -> Reply {
        let Known { content, denied, .. } = &*self.0;
        let result = if denied.contains(query) {
            Err(QueryError::denied("not allowed when the fixture was captured"))
        } else {
            let unknown = match query {
                Query::Service(ServiceQuery { name, .. }) => content.unknown(name),
                _ => None,
            };
            let data = content.answer(query, &[]);
            // Of what was captured the rest of a folder is not known.
            let beside = self.0.is_whole.then(|| content.beside(query, &data, folders)).flatten();
            Ok(Answer { unknown, beside, ..Answer::new(data, 1) })
        };
        Reply { query: query.clone(), result }
    }
}

#[cfg(test)]
mod tests;
