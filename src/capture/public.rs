//! Words that are no secret, whoever asks for them: they are known without the question that holds them.

use std::collections::HashSet;
use std::sync::Arc;

use super::Secrets;
use crate::registry::{Asked, Computed, Data, Path, Query, Text};
use crate::store::View;

/// What everybody may read.
pub(super) struct Public<'a>(HashSet<&'a str>);

impl<'a> Public<'a> {
    /// These words, and those that stand in the answers of `view` and are no secret. Lists of such words that only name files
    /// are then none either.
    pub(super) fn of(words: impl IntoIterator<Item = &'a str>, secrets: &mut [Secrets<'a>], view: &'a View) -> Self {
        let mut public = Self(words.into_iter().collect());
        for secrets in secrets.iter_mut() {
            let value = |path: &&Path| {
                let asked = Asked { registry: Arc::clone(&secrets.registry), query: Query::Key((*path).clone()) };
                match view.answer(&asked).map(|answer| &answer.data) {
                    Some(Data::Key(Some(value))) => public.has_all_of(value),
                    _ => false,
                }
            };
            secrets.named = secrets.naming.iter().copied().filter(value).collect();
        }
        for secrets in secrets.iter() {
            public.add_answers(secrets, view);
        }
        public
    }

    /// Whether a question holds no other word.
    pub(super) fn knows(&self, query: &Query) -> bool {
        let has = |text: &str| self.0.contains(text);
        match query {
            Query::Key(path) | Query::Exists(path) | Query::Prefix(path) | Query::Listing(path) => {
                let shown = path.shown().split('/');
                path.segments().zip(shown).all(|(segment, shown)| segment == shown || has(segment))
            }
            Query::Service(query) => {
                let Computed { name, other } = query.computed.0;
                let others = || query.tags.iter().chain(&query.near).chain(&query.datacenter).chain(&query.filter);
                (!name || has(&query.name)) && (!other || others().all(|text| has(text)))
            }
            Query::Node(query) => {
                let Computed { name, other } = query.computed.0;
                (!name || has(&query.name)) && (!other || query.datacenter.as_deref().is_none_or(has))
            }
            Query::Services { tag } => tag.as_deref().is_none_or(has),
            Query::Nodes { datacenter } => datacenter.as_deref().is_none_or(has),
            // They hold no words of templates, or it is not known which.
            _ => false,
        }
    }

    /// Takes in the names that a registry lists, and the values that are no secret.
    fn add_answers(&mut self, secrets: &Secrets<'a>, view: &'a View) {
        let asked = secrets.secret.all.iter().chain(&secrets.open.all);
        for query in asked.copied() {
            let asked = Asked { registry: Arc::clone(&secrets.registry), query: query.clone() };
            let Some(answer) = view.answer(&asked) else { continue };
            match (query, &answer.data) {
                (Query::Key(path), Data::Key(Some(value))) if !secrets.is_secret(path.as_str()) => self.add(value),
                (_, Data::Prefix(entries)) => {
                    for entry in entries {
                        self.0.extend(entry.path.split('/'));
                        if !secrets.is_secret(&entry.path) {
                            self.add(&entry.value);
                        }
                    }
                }
                (_, Data::Listing(names)) => self.0.extend(names.keys.iter().chain(&names.folders).map(String::as_str)),
                (_, Data::Services(services)) => {
                    for service in services {
                        self.0.extend(service.tags.iter().chain([&service.name]).map(String::as_str));
                    }
                }
                (_, Data::Nodes(nodes)) => {
                    self.0.extend(nodes.iter().flat_map(|node| [&*node.name, &*node.datacenter]));
                }
                // Of metadata that a secret template alone asks for there are stand-ins.
                (_, Data::Service(instances)) => {
                    for instance in instances {
                        let known = [&*instance.id, &*instance.name, &*instance.node, &*instance.zone];
                        self.0.extend(known.into_iter().chain(instance.tags.iter().map(String::as_str)));
                        if secrets.open.all.contains(query) {
                            self.0.extend(instance.meta.values().map(String::as_str));
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn add(&mut self, value: &'a Text) {
        let Ok(text) = std::str::from_utf8(&value.0) else { return };
        self.0.insert(text.trim());
        self.0.extend(words(text));
    }

    /// Whether a value holds no other words.
    fn has_all_of(&self, value: &Text) -> bool {
        std::str::from_utf8(&value.0).is_ok_and(|text| words(text).all(|word| self.0.contains(word)))
    }
}

/// What is between blanks, and the signs that lists, JSON and addresses are written with.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let is_between = |c: char| c.is_whitespace() || ",;:|/=\"'\\()[]{}<>".contains(c);
    text.split(is_between).filter(|word| !word.is_empty())
}
