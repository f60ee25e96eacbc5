//! Snapshots: the answers of any registry as the file of a static one.
//!
//! Whatever a file registry can say stands in the file as anybody would write it: keys, services, nodes. Beside that, under
//! [`SECTION`], stands which queries were asked, since what was not asked is not known; and those answers that the rest of
//! the file does not give exactly: an order of the server's (`near`), another datacenter, a filter, bytes that are no
//! text, a list of services nobody looked into, two answers that belong to different moments. That the file gives every
//! answer again is not argued but tried, each time that one is written.
//!
//! ```json
//! {
//! "./snapshot": {"version": 1, "registry": "main", "saved": "2026-05-04T03:02:01Z", "answers": [
//! {"query":{"key":"app/port"}},
//! {"query":{"service":{"name":"web"}}},
//! {"query":{"service":{"name":"web","near":"_agent"}},"answer":{"instances":[{"id":"a","address":"10.0.0.1","port":80}]}}
//! ]},
//! "app/port": "8080",
//! "services": {
//! "web": [{"id":"a","address":"10.0.0.1","port":80}]
//! }
//! }
//! ```

mod edited;
mod form;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use self::form::{InstanceForm, Item, NodeForm, Question, Reply, Section, Version};
use super::content::{self, Content};
use super::source::Document;
use super::{FileRegistry, format};
use crate::config::Limits;
use crate::registry::document::Node as TreeNode;
use crate::registry::{Answer, Data, Instance, Node, Path, Query, ServiceQuery, StatusFilter, Text};

/// The key under which a snapshot says of itself what it is. No path of a key has a segment `.`, so that no key is hidden.
pub(super) const SECTION: &str = "./snapshot";

/// The version that is written, and the only one that is read.
const VERSION: u32 = 1;

/// The last second that is written with four digits for its year.
const LAST_SECOND: u64 = 253_402_300_799;

/// Answers by what was asked.
pub(super) type Answers = HashMap<Query, Data>;

/// The answers of one registry.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The name of the registry.
    pub registry: Arc<str>,
    /// When it was saved. The file holds whole seconds.
    pub saved: SystemTime,
    /// What was asked, and answered.
    pub answers: BTreeMap<Query, Saved>,
    /// What was asked, and what we were not allowed to ask.
    pub denied: BTreeSet<Query>,
    /// The answers that a target holds on to although another has accepted others, by its name.
    pub targets: BTreeMap<Arc<str>, BTreeMap<Query, Arc<Answer>>>,
}

/// One answer in a snapshot.
#[derive(Debug, Clone, PartialEq)]
pub struct Saved {
    /// The answer.
    pub answer: Arc<Answer>,
    /// When it was saved, if that was before the rest: its registry has not been asked since.
    pub earlier: Option<SystemTime>,
}

/// What a snapshot says of itself.
#[derive(Debug)]
pub(super) struct Described {
    registry: String,
    /// Whether it says when it was saved: what was not asked by then is not known.
    pub(super) is_captured: bool,
    saved: SystemTime,
    /// What was asked; with when the answer was saved, if that was before the rest.
    pub(super) asked: Vec<(Query, Option<SystemTime>)>,
    /// What was asked, and what we were not allowed to ask.
    pub(super) denied: BTreeSet<Query>,
    targets: BTreeMap<Arc<str>, BTreeMap<Query, Arc<Answer>>>,
}

impl Snapshot {
    /// About how many bytes the file will have, at least.
    pub fn weight(&self) -> u64 {
        let values = |data: &Data| match data {
            Data::Key(value) => value.as_ref().map_or(0, |text| text.0.len()),
            Data::Prefix(entries) => entries.iter().map(|entry| entry.path.len() + entry.value.0.len()).sum(),
            Data::Exists(_)
            | Data::Listing(_)
            | Data::Services(_)
            | Data::Service(_)
            | Data::Nodes(_)
            | Data::Node(_)
            | Data::Datacenters(_)
            | Data::Records(_) => 0,
        };
        self.answers.values().map(|saved| values(&saved.answer.data) as u64).sum()
    }

    /// Writes the text of the file, piece by piece: what is saved may be most of what we hold in memory.
    pub fn write(&self, out: &mut impl io::Write) -> io::Result<()> {
        let split = Split::of(self);
        let (section, registry, saved) = (json(SECTION), json(&*self.registry), json(&written(self.saved)));
        write!(out, "{{\n{section}: {{\"version\": {VERSION}, \"registry\": {registry}, \"saved\": {saved}, ")?;
        write!(out, "\"answers\": [")?;
        write_lines(out, split.items(self).map(|item| json(&item)))?;
        write!(out, "]")?;
        if !self.targets.is_empty() {
            write!(out, ", \"targets\": {{")?;
            for (index, (target, answers)) in self.targets.iter().enumerate() {
                write!(out, "{}\n{}: [", if index == 0 { "" } else { "," }, json(&**target))?;
                let items = answers.iter().filter_map(|(query, answer)| {
                    let reply = Some(Reply::of(query, &answer.data));
                    Some(Item { query: Question::of(query)?, answer: reply, denied: false, saved: None })
                });
                write_lines(out, items.map(|item| json(&item)))?;
                write!(out, "]")?;
            }
            write!(out, "}}")?;
        }
        write!(out, "}}")?;
        for key in split.general.key_lines() {
            write!(out, ",\n{key}")?;
        }
        if !split.catalog.is_empty() {
            write!(out, ",{}", split.catalog)?;
        }
        writeln!(out, "\n}}")
    }

    /// Reads the text of the file `path`, a snapshot of the registry called `registry`. What is wrong with it is told with
    /// its place and without any value.
    pub fn read(path: &FilePath, text: String, registry: &Arc<str>) -> Result<Self, String> {
        let mut content = read(path, text, registry)?;
        let described =
            content.snapshot.take().ok_or_else(|| format!("{}: there is no `{SECTION}`", path.display()))?;
        let Described { registry: of, is_captured: _, saved, asked, denied, targets } = described;
        if *of != **registry {
            return Err(format!("{}: it is of another registry, `{}`", path.display(), of.escape_debug()));
        }
        let answers = asked.into_iter().map(|(query, earlier)| {
            let answer = Arc::new(Answer::new(content.answer(&query, &[]), 0));
            (query, Saved { answer, earlier })
        });
        Ok(Self { registry: registry.clone(), saved, answers: answers.collect(), denied, targets })
    }
}

/// What was answered within the limits is not measured again: several answers may hold more than one may.
const NONE: Limits = Limits { response: u64::MAX, keys: u64::MAX, value: u64::MAX, output: u64::MAX };

/// What a file says.
fn read(path: &FilePath, text: String, registry: &Arc<str>) -> Result<Content, String> {
    let document = Document { path: path.to_owned(), text };
    let tree = format::parse(path, &document.text)
        .map_err(|mistake| format!("{}: {}", document.place(mistake.place), mistake.message))?;
    let (content, _left_out) = content::read(vec![(document, tree)], &FileRegistry::new(path), NONE, registry)?;
    Ok(content)
}

/// A snapshot in two parts: what any static file can say, and what it cannot.
struct Split<'a> {
    general: General<'a>,
    /// The services and nodes of the first, as members of a JSON file; empty where a file could not give them.
    catalog: String,
    /// What a file with the first part alone says.
    given: Content,
}

impl<'a> Split<'a> {
    fn of(snapshot: &'a Snapshot) -> Self {
        let general = General::of(snapshot.answers.iter().map(|(query, saved)| (query, &saved.answer.data)));
        let catalog = general.catalog();
        // What could not be read back would be left out as a whole: then every answer stands by itself.
        let read = read(FilePath::new("snapshot.json"), format!("{{{catalog}\n}}"), &snapshot.registry);
        let (catalog, mut given) = read.map_or_else(|_| (String::new(), Content::default()), |given| (catalog, given));
        // Keys and their values are texts, of which it need not be tried what becomes of them.
        for (path, value) in &general.keys {
            if let Ok(path) = Path::parse(path) {
                given.add_key(&path, (*value).clone());
            }
        }
        Self { general, catalog, given }
    }

    /// What was asked, each with its answer where the first part does not give it.
    fn items(&self, snapshot: &'a Snapshot) -> impl Iterator<Item = Item> {
        let answered = snapshot.answers.iter().filter_map(|(query, Saved { answer, earlier })| {
            // What is the same shares the entries, and so takes no room.
            let entries = if let Data::Prefix(entries) = &answer.data { entries.as_slice() } else { &[] };
            let is_given = self.given.answer(query, entries) == answer.data;
            let reply = (!is_given).then(|| Reply::of(query, &answer.data));
            Some(Item { query: Question::of(query)?, answer: reply, denied: false, saved: earlier.map(written) })
        });
        let denied = snapshot
            .denied
            .iter()
            .filter_map(|query| Some(Item { query: Question::of(query)?, answer: None, denied: true, saved: None }));
        answered.chain(denied)
    }
}

/// What answers have in common with a static file.
#[derive(Debug, Default)]
struct General<'a> {
    keys: BTreeMap<&'a str, &'a Text>,
    /// By the name of the service, then by id and node.
    services: BTreeMap<&'a str, BTreeMap<(&'a str, &'a str), &'a Instance>>,
    nodes: BTreeMap<&'a str, &'a Node>,
}

impl<'a> General<'a> {
    fn of(answers: impl Iterator<Item = (&'a Query, &'a Data)>) -> Self {
        let mut general = Self::default();
        let mut services: Vec<(&ServiceQuery, &Data)> = Vec::new();
        for (query, data) in answers {
            match (query, data) {
                (Query::Key(path), Data::Key(Some(text))) => general.key(path.as_str(), text),
                (Query::Prefix(_), Data::Prefix(entries)) => {
                    for entry in entries {
                        general.key(&entry.path, &entry.value);
                    }
                }
                (Query::Service(service), _) => services.push((service, data)),
                (Query::Nodes { datacenter: None }, Data::Nodes(nodes)) => {
                    let named = nodes.iter().filter(|node| !node.name.is_empty());
                    general.nodes.extend(named.map(|node| (node.name.as_str(), node)));
                }
                _ => {}
            }
        }
        // Of answers that belong to different moments that to the widest question counts.
        services.sort_by_key(|(query, _)| (query.status != StatusFilter::All, query.tags.len()));
        for (query, data) in services {
            let is_plain = query.near.is_none() && query.datacenter.is_none() && query.filter.is_none();
            if let (true, Data::Service(instances)) = (is_plain, data) {
                let known = general.services.entry(&query.name).or_default();
                // Without an id the file would give it another.
                for instance in instances.iter().filter(|instance| !instance.id.is_empty()) {
                    known.entry((&instance.id, &instance.node)).or_insert(instance);
                }
            }
        }
        general
    }

    fn key(&mut self, path: &'a str, value: &'a Text) {
        if std::str::from_utf8(&value.0).is_ok()
            && Path::parse(path).is_ok_and(|parsed| !parsed.is_root() && parsed.as_str() == path)
        {
            self.keys.entry(path).or_insert(value);
        }
    }

    /// The keys, as members of the file.
    fn key_lines(&self) -> impl Iterator<Item = String> {
        self.keys.iter().filter_map(|(path, value)| {
            // These names mean something else.
            let slash = if matches!(*path, "services" | "nodes") { "/" } else { "" };
            Some(format!("{}: {}", json(&format!("{slash}{path}")), json(std::str::from_utf8(&value.0).ok()?)))
        })
    }

    /// The services and nodes, as members of the file, each after a line break.
    fn catalog(&self) -> String {
        let services = (!self.services.is_empty()).then(|| {
            let services = self.services.iter().map(|(name, instances)| {
                let instances: Vec<_> = instances.values().map(|instance| InstanceForm::of(instance, name)).collect();
                format!("{}: {}", json(name), json(&instances))
            });
            format!("\"services\": {{{}}}", lines(services))
        });
        let nodes = (!self.nodes.is_empty()).then(|| {
            let nodes: Vec<_> = self.nodes.values().map(|node| NodeForm::of(node)).collect();
            format!("\"nodes\": {}", json(&nodes))
        });
        lines(services.into_iter().chain(nodes))
    }
}

/// Reads what stands under [`SECTION`] in the file of the registry called `registry`; beside it the answers that the rest
/// of the file does not give.
pub(super) fn read_section(node: TreeNode, registry: &Arc<str>) -> Result<(Described, Answers), String> {
    // What the parser says may hold values.
    let wrong = || "is not as this version writes it".to_owned();
    let text = node.into_text();
    let Version { version } = serde_json::from_str(&text).map_err(|_| wrong())?;
    if version != VERSION {
        return Err(format!("is of version {version}, and this program reads version {VERSION}"));
    }
    let section: Section = serde_json::from_str(&text).map_err(|_| wrong())?;
    let mut answers = Answers::new();
    let mut asked = Vec::with_capacity(section.answers.len());
    let mut refused = BTreeSet::new();
    for Item { query, answer, denied, saved } in section.answers {
        let query = query.into_query().ok_or_else(wrong)?;
        if denied {
            refused.insert(query);
            continue;
        }
        if let Some(reply) = answer {
            answers.insert(query.clone(), reply.into_data(&query, registry).ok_or_else(wrong)?);
        }
        asked.push((query, saved.map(|saved| moment(&saved).ok_or_else(wrong)).transpose()?));
    }
    let own = |item: Item| {
        let query = item.query.into_query()?;
        let data = item.answer?.into_data(&query, registry)?;
        Some((query, Arc::new(Answer::new(data, 0))))
    };
    let targets = section.targets.into_iter().map(|(target, items)| {
        let items = items.into_iter().map(own).collect::<Option<_>>().ok_or_else(wrong)?;
        Ok((target.into(), items))
    });
    let targets = targets.collect::<Result<_, String>>()?;
    let is_captured = section.saved.is_some();
    let saved = section.saved.map_or(Some(SystemTime::UNIX_EPOCH), |saved| moment(&saved)).ok_or_else(wrong)?;
    Ok((Described { registry: section.registry, is_captured, saved, asked, denied: refused, targets }, answers))
}

/// A moment in whole seconds.
fn written(moment: SystemTime) -> String {
    // What is before 1970 or after 9999 cannot be written so; a clock may say it all the same.
    let seconds = moment.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.min(LAST_SECOND));
    humantime::format_rfc3339_seconds(moment).to_string()
}

fn moment(text: &str) -> Option<SystemTime> {
    humantime::parse_rfc3339(text).ok()
}

/// Texts, numbers, lists and maps with keys that are text always become JSON.
fn json(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Items with commas between them, each on a line of its own.
fn lines(items: impl Iterator<Item = String>) -> String {
    let mut text = String::new();
    for (index, item) in items.enumerate() {
        text.push_str(if index == 0 { "\n" } else { ",\n" });
        text.push_str(&item);
    }
    text
}

/// Writes them.
fn write_lines(out: &mut impl io::Write, items: impl Iterator<Item = String>) -> io::Result<()> {
    for (index, item) in items.enumerate() {
        write!(out, "{}\n{item}", if index == 0 { "" } else { "," })?;
    }
    Ok(())
}
