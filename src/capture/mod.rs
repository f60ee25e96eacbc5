//! Captures: what templates asked, with the answers, as one [fixture](crate::registry::file::Fixture) for tests and for
//! machines without a registry.
//!
//! Values that only `secret` templates show are replaced by stand-ins of the same kind. Where a value is asked for by
//! several questions, the narrowest decides: a key that a `secret` template asks for by its name is secret also where
//! another lists its folder, and one that another template asks for by its name is not.
//!
//! A question that a `secret` template computed is part of the fixture where it holds no word that is not known without it:
//! one of a template, of the name of a file, of a name that a registry lists, or of a value that stands in the fixture as
//! it is. The same goes for a value that no template shows, and that only the items and names of a `for_each` are made of.

mod public;
mod stand_in;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write as _;
use std::path::Path as FilePath;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use crate::registry::file::{Fixture, Saved, Snapshot};
use crate::registry::{Answer, Asked, Data, Entry, Instance, Node, NodeServices, Path, Query, RecordType, Text};
use crate::store::View;
use crate::template::LOCAL_FILES;
use public::Public;
use stand_in::stand_in;

/// What one template asked.
#[derive(Debug, Clone, Copy)]
pub struct Reads<'a> {
    /// What it asked, answered or refused.
    pub asked: &'a BTreeSet<Asked>,
    /// What of it only the items of its `for_each` and the names of its files are made of.
    pub named_by: &'a BTreeSet<Asked>,
    /// Whether what it shows is secret.
    pub secret: bool,
}

/// What templates asked, with the answers.
#[derive(Debug)]
pub struct Capture {
    registries: BTreeMap<Arc<str>, Snapshot>,
    /// The local files that they read, which no fixture holds.
    pub files: BTreeSet<String>,
    /// The keys whose values were replaced, by registry.
    pub replaced: BTreeMap<Arc<str>, BTreeSet<String>>,
    /// How many questions were left out, since a `secret` template computed them from values.
    pub left_out: usize,
}

impl Capture {
    /// What these templates asked, as `view` answers it. Registries that nobody asked have a part, too. These `words` are
    /// known to everybody: those that stand in templates, and in names of files.
    pub fn of<'a>(
        registries: impl IntoIterator<Item = Arc<str>>,
        reads: &[Reads<'a>],
        words: impl IntoIterator<Item = &'a str>,
        view: &'a View,
        with_secrets: bool,
    ) -> Self {
        let saved = SystemTime::now();
        let empty = |name: Arc<str>| {
            let (answers, denied, targets) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
            (name.clone(), Snapshot { registry: name, saved, answers, denied, targets })
        };
        let registries = registries.into_iter().map(empty).collect();
        let (files, replaced) = (BTreeSet::new(), BTreeMap::new());
        let mut capture = Self { registries, files, replaced, left_out: 0 };
        let names: Vec<Arc<str>> = capture.registries.keys().cloned().collect();
        let mut secrets: Vec<_> = names.iter().map(|name| Secrets::of(name, reads)).collect();
        let public = (!with_secrets).then(|| Public::of(words, &mut secrets, view));
        for (name, secrets) in names.iter().zip(&secrets) {
            capture.take(name, reads, view, public.as_ref().map(|public| (secrets, public)));
        }
        let local = reads.iter().flat_map(|reads| reads.asked).filter(|asked| &*asked.registry == LOCAL_FILES);
        capture.files = local.map(|asked| asked.query.to_string()).collect();
        capture
    }

    fn take(
        &mut self,
        name: &Arc<str>,
        reads: &[Reads<'_>],
        view: &View,
        secrets: Option<(&Secrets<'_>, &Public<'_>)>,
    ) {
        let Some(snapshot) = self.registries.get_mut(name) else { return };
        let replaced = self.replaced.entry(name.clone()).or_default();
        let all: BTreeSet<&Asked> = reads.iter().flat_map(|reads| reads.asked).collect();
        for asked in all.into_iter().filter(|asked| asked.registry == *name) {
            let query = &asked.query;
            if secrets.is_some_and(|(secrets, public)| secrets.tells(query, public)) {
                self.left_out += 1;
                continue;
            }
            let Some(answer) = view.answer(asked) else {
                snapshot.denied.insert(query.clone());
                continue;
            };
            let answer = match secrets.and_then(|(secrets, _)| secrets.without(query, &answer.data, replaced)) {
                Some(data) => Arc::new(Answer::new(data, answer.revision)),
                None => answer.clone(),
            };
            snapshot.answers.insert(query.clone(), Saved { answer, earlier: None });
        }
        if replaced.is_empty() {
            self.replaced.remove(name);
        }
    }

    /// The fixture as YAML, to be read and edited.
    pub fn to_yaml(&self) -> String {
        let mut out = String::from(
            "# Captured by liveconf: what templates asked, and the answers. Edit it as you like. Each question stands\n\
             # under `./snapshot`; what was not asked is not known. Without the line `saved` it is not there instead.\n",
        );
        if let [snapshot] = &self.registries.values().collect::<Vec<_>>()[..] {
            out.push_str(&snapshot.to_yaml(0));
            return out;
        }
        let _ = writeln!(out, "./registries:{}", if self.registries.is_empty() { " {}" } else { "" });
        for (name, snapshot) in &self.registries {
            // A name is made of letters, digits, `.`, `_` and `-`; one of digits alone is a text all the same.
            let _ = write!(out, "  \"{name}\":\n{}", snapshot.to_yaml(4));
        }
        out
    }

    /// The fixture as JSON.
    pub fn to_json(&self) -> String {
        let text = |snapshot: &Snapshot| {
            let mut text = Vec::new();
            // Writing to memory cannot fail, and what is written is text.
            let _ = snapshot.write(&mut text);
            String::from_utf8(text).unwrap_or_default()
        };
        if let [snapshot] = &self.registries.values().collect::<Vec<_>>()[..] {
            return text(snapshot);
        }
        let parts: Vec<_> = self
            .registries
            .iter()
            .map(|(name, snapshot)| format!("\"{name}\": {}", text(snapshot).trim_end()))
            .collect();
        format!("{{\"./registries\": {{\n{}\n}}}}\n", parts.join(",\n"))
    }

    /// Reads the fixture from its text and fails unless it gives every answer again; `path` is where it will stand.
    pub fn read_again(&self, path: &FilePath, text: String) -> Result<Fixture, String> {
        let fixture = Fixture::of_text(path, text, &self.registries.keys().cloned().collect())?;
        for (name, snapshot) in &self.registries {
            for (query, saved) in &snapshot.answers {
                if fixture.answer(name, query).as_ref() != Some(&saved.answer.data) {
                    return Err(format!("the fixture would give another answer to {query} from registry `{name}`"));
                }
            }
        }
        Ok(fixture)
    }

    /// How many questions it answers.
    pub fn len(&self) -> usize {
        self.registries.values().map(|snapshot| snapshot.answers.len() + snapshot.denied.len()).sum()
    }

    /// Whether nothing was asked.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Who asks for the values of one registry.
#[derive(Debug, Default)]
struct Asks<'a> {
    all: HashSet<&'a Query>,
    keys: HashSet<&'a str>,
    folders: Vec<&'a Path>,
}

impl<'a> Asks<'a> {
    fn add(&mut self, query: &'a Query) {
        self.all.insert(query);
        match query {
            Query::Key(path) => _ = self.keys.insert(path.as_str()),
            Query::Prefix(path) if !self.folders.contains(&path) => self.folders.push(path),
            _ => {}
        }
    }

    /// How narrow the narrowest question is that gives the value of this key; none where no question does.
    fn narrowest(&self, key: &str) -> Option<usize> {
        if self.keys.contains(key) {
            return Some(usize::MAX);
        }
        let folders = self.folders.iter().filter(|folder| folder.relative(key).is_some());
        folders.map(|folder| folder.as_str().len()).max()
    }
}

/// What only `secret` templates ask of one registry.
struct Secrets<'a> {
    registry: Arc<str>,
    secret: Asks<'a>,
    open: Asks<'a>,
    /// The keys that no template shows, and that only items and names of files are made of.
    naming: BTreeSet<&'a Path>,
    /// Those of them that tell no more than the names of files do.
    named: BTreeSet<&'a Path>,
}

impl<'a> Secrets<'a> {
    fn of(registry: &Arc<str>, reads: &[Reads<'a>]) -> Self {
        let (secret, open) = (Asks::default(), Asks::default());
        let (naming, named) = (BTreeSet::new(), BTreeSet::new());
        let mut secrets = Self { registry: registry.clone(), secret, open, naming, named };
        let mut shown = BTreeSet::new();
        for reads in reads {
            let asks = if reads.secret { &mut secrets.secret } else { &mut secrets.open };
            for asked in reads.asked.iter().filter(|asked| asked.registry == *registry) {
                asks.add(&asked.query);
                match &asked.query {
                    Query::Key(path) if reads.named_by.contains(asked) => _ = secrets.naming.insert(path),
                    Query::Key(path) => _ = shown.insert(path),
                    _ => {}
                }
            }
        }
        secrets.naming.retain(|path| !shown.contains(path));
        secrets
    }

    fn is_secret(&self, key: &str) -> bool {
        self.secret.narrowest(key) > self.open.narrowest(key) && !self.named.iter().any(|path| path.as_str() == key)
    }

    /// Whether the question itself may hold a secret.
    fn tells(&self, query: &Query, public: &Public<'_>) -> bool {
        query.is_computed() && !self.open.all.contains(query) && !public.knows(query)
    }

    /// The answer with stand-ins for the values that are secret; none where none is.
    fn without(&self, query: &Query, data: &Data, replaced: &mut BTreeSet<String>) -> Option<Data> {
        let mut stand_in_for = |path: &str, value: &Text| {
            self.is_secret(path).then(|| {
                replaced.insert(path.to_owned());
                stand_in(path, value)
            })
        };
        match (query, data) {
            (Query::Key(path), Data::Key(Some(value))) => {
                stand_in_for(path.as_str(), value).map(|value| Data::Key(Some(value)))
            }
            (Query::Prefix(_), Data::Prefix(entries)) => {
                let before = entries;
                let entries: Vec<_> = before
                    .iter()
                    .map(|entry| match stand_in_for(&entry.path, &entry.value) {
                        Some(value) => Arc::new(Entry::new(entry.key.clone(), entry.path.clone(), value)),
                        None => entry.clone(),
                    })
                    .collect();
                let is_changed = entries.iter().zip(before).any(|(entry, before)| !Arc::ptr_eq(entry, before));
                is_changed.then_some(Data::Prefix(entries))
            }
            // Anybody may put anything there, and a template that is secret may show it for that.
            (Query::Service(asked), Data::Service(instances)) if !self.open.all.contains(query) => {
                without_values(instances, &asked.tags, replaced).map(Data::Service)
            }
            (Query::Lookup(lookup), Data::Records(texts))
                if lookup.record == RecordType::Txt && !self.open.all.contains(query) =>
            {
                let stand_in = |(number, text): (usize, &String)| {
                    let path = format!("{}/{number}", lookup.name);
                    let value = stand_in(&path, &Text(text.clone().into()));
                    replaced.insert(path);
                    String::from_utf8_lossy(&value.0).into_owned()
                };
                let texts: Vec<String> = texts.iter().enumerate().map(stand_in).collect();
                (!texts.is_empty()).then_some(Data::Records(texts))
            }
            (Query::Node(_), Data::Node(Some(NodeServices { node, services }))) if !self.open.all.contains(query) => {
                let without = without_values(services, &BTreeSet::new(), replaced);
                if node.meta.is_empty() && without.is_none() {
                    return None;
                }
                let services = without.unwrap_or_else(|| services.clone());
                Some(Data::Node(Some(NodeServices { node: without_meta(node, replaced), services })))
            }
            (Query::Nodes { .. }, Data::Nodes(nodes)) if !self.open.all.contains(query) => {
                let is_changed = nodes.iter().any(|node| !node.meta.is_empty());
                is_changed.then(|| Data::Nodes(nodes.iter().map(|node| without_meta(node, replaced)).collect()))
            }
            _ => None,
        }
    }
}

/// The node with stand-ins for what is in its metadata.
fn without_meta(node: &Node, replaced: &mut BTreeSet<String>) -> Node {
    let stand_in_for = |(name, value): (&String, &String)| {
        let path = format!("{}/{name}", node.name);
        let value = stand_in(&path, &Text(value.clone().into()));
        replaced.insert(path);
        (name.clone(), String::from_utf8_lossy(&value.0).into_owned())
    };
    Node { meta: node.meta.iter().map(stand_in_for).collect(), ..node.clone() }
}

/// The instances with stand-ins for what is in their metadata, and in their tags behind a `=`, but for tags that were asked
/// for; none where there is nothing.
fn without_values(
    instances: &[Arc<Instance>],
    asked: &BTreeSet<String>,
    replaced: &mut BTreeSet<String>,
) -> Option<Vec<Arc<Instance>>> {
    let mut is_changed = false;
    let mut stand_in_for = |service: &str, name: &str, value: &str| {
        let path = format!("{service}/{name}");
        let value = stand_in(&path, &Text(value.to_owned().into()));
        replaced.insert(path);
        is_changed = true;
        String::from_utf8_lossy(&value.0).into_owned()
    };
    let mut without = |instance: &Arc<Instance>| {
        let Instance { name: service, meta, tags, .. } = &**instance;
        let meta = meta.iter().map(|(name, value)| (name.clone(), stand_in_for(service, name, value)));
        let meta = meta.collect();
        // A tag is a name, by which templates choose; only behind a `=` it holds a value.
        let tag = |tag: &String| match tag.split_once('=') {
            Some((name, value)) if !asked.contains(tag) => format!("{name}={}", stand_in_for(service, name, value)),
            _ => tag.clone(),
        };
        let tags: BTreeSet<String> = tags.iter().map(tag).collect();
        let tags = tags.into_iter().collect();
        Arc::new(Instance { meta, tags, view: OnceLock::new(), ..Instance::clone(instance) })
    };
    let instances = instances.iter().map(&mut without).collect();
    is_changed.then_some(instances)
}

#[cfg(test)]
mod tests;
