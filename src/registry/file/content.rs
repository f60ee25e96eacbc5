//! What the files of a registry say together, and the answers that follow from it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::FileRegistry;
use super::snapshot::{self, Answers, Described};
use super::source::Document;
use crate::config::Limits;
use crate::registry::document::{Content as Tree, Member, Mistake, Node as TreeNode, Place};
use crate::registry::instance::{self, Fields};
use crate::registry::keyspace::Keyspace;
use crate::registry::limit;
use crate::registry::{
    Beside, Data, Entry, Instance, Names, Node, NodeServices, Path, Query, ServiceName, Text, UnknownService,
};
use crate::template::did_you_mean;

/// The most names of a folder that are kept for messages.
const BESIDE: usize = 1000;

/// Folders by their paths, with what is in them.
pub(super) type Folders = HashMap<Path, Arc<Names>>;

/// All that the files say.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// Everything but the two sections below.
    keys: Keyspace,
    /// The section `services`, by name.
    pub(super) services: BTreeMap<String, Vec<Arc<Instance>>>,
    /// The section `nodes`, sorted by name.
    nodes: Vec<Node>,
    /// Answers that a snapshot holds beside the rest, which does not give them exactly.
    answers: Answers,
    /// What the snapshot says of itself, if it is one.
    pub(super) snapshot: Option<Described>,
}

impl Content {
    /// The answer to a query; one to a prefix shares what is still the same with the entries before.
    pub(super) fn answer(&self, query: &Query, before: &[Arc<Entry>]) -> Data {
        if let Some(data) = self.answers.get(query) {
            return data.clone();
        }
        match query {
            Query::Key(path) => Data::Key(self.keys.key(path).cloned()),
            Query::Exists(path) => Data::Exists(self.keys.exists(path)),
            Query::Prefix(folder) => Data::Prefix(self.keys.prefix(folder, before)),
            Query::Listing(folder) => Data::Listing(self.keys.listing(folder)),
            Query::Services { tag } => Data::Services(self.service_names(tag.as_deref())),
            Query::Service(query) => {
                Data::Service(instance::select(self.services.get(&query.name).into_iter().flatten(), query))
            }
            Query::Nodes { .. } => Data::Nodes(self.nodes.clone()),
            Query::Node(query) => Data::Node(self.node(&query.name)),
            Query::Datacenters => Data::Datacenters(self.datacenters()),
            // `supports` refuses these, so that nobody asks.
            Query::Lookup(_) => Data::Records(Vec::new()),
            Query::File(_) | Query::Time { .. } => Data::Key(None),
        }
    }

    /// A node with the instances of all services on it.
    fn node(&self, name: &str) -> Option<NodeServices> {
        let node = self.nodes.iter().find(|node| node.name == name)?.clone();
        let on_it = |instance: &&Arc<Instance>| instance.node == name;
        let mut services: Vec<_> = self.services.values().flatten().filter(on_it).cloned().collect();
        instance::sort_by_service(&mut services);
        Some(NodeServices { node, services })
    }

    /// The datacenters of the nodes.
    fn datacenters(&self) -> Vec<String> {
        let names = self.nodes.iter().map(|node| &node.datacenter).filter(|name| !name.is_empty());
        names.collect::<BTreeSet<_>>().into_iter().cloned().collect()
    }

    /// Whether there is a key of this name.
    pub(super) fn has_key(&self, path: &Path) -> bool {
        self.keys.key(path).is_some()
    }

    /// Whether there is a key or a folder of this name.
    pub(super) fn has_name(&self, path: &Path) -> bool {
        self.keys.exists(path)
    }

    /// Puts a key that no file holds.
    pub(super) fn add_key(&mut self, path: &Path, value: Text) {
        self.keys.insert(path, value);
    }

    /// What to say of a service that the files do not name.
    pub(super) fn unknown(&self, name: &str) -> Option<UnknownService> {
        let names = self.services.keys().map(String::as_str);
        (!self.services.contains_key(name)).then(|| UnknownService { hint: did_you_mean(name, names) })
    }

    /// What stands where a key or a folder is not that was asked for. `folders` are those that were listed for this.
    pub(super) fn beside(&self, query: &Query, data: &Data, folders: &mut Folders) -> Option<Beside> {
        let (Query::Key(path) | Query::Prefix(path)) = query else { return None };
        if !matches!(data, Data::Key(None)) && !matches!(data, Data::Prefix(entries) if entries.is_empty()) {
            return None;
        }
        let segments: Vec<&str> = path.segments().collect();
        let above = (0..segments.len()).rev().filter_map(|depth| Path::parse(&segments[..depth].join("/")).ok());
        let folder = above.into_iter().find(|folder| folder.is_root() || self.keys.exists(folder))?;
        let names = folders.entry(folder.clone()).or_insert_with(|| {
            let mut names = self.keys.listing(&folder);
            names.keys.truncate(BESIDE);
            names.folders.truncate(BESIDE);
            Arc::new(names)
        });
        Some(Beside { folder, names: names.clone() })
    }

    /// Services that have an instance, with the given tag if there is one: a service without any is in no other
    /// kind's catalog either.
    fn service_names(&self, tag: Option<&str>) -> Vec<ServiceName> {
        self.services
            .iter()
            .filter(|(_, instances)| !instances.is_empty())
            .map(|(name, instances)| {
                let tags: BTreeSet<_> = instances.iter().flat_map(|instance| &instance.tags).collect();
                ServiceName { name: name.clone(), tags: tags.into_iter().cloned().collect() }
            })
            .filter(|service| tag.is_none_or(|tag| service.tags.iter().any(|known| known == tag)))
            .collect()
    }
}

/// Instances that cannot be read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LeftOut {
    /// How many.
    pub(super) count: usize,
    /// The first of them: the place of each and what is wrong with it.
    pub(super) first: Vec<String>,
}

/// How many instances that were left out are named.
const NAMED: usize = 10;

/// Puts the documents together. Beside the content: what was left out of it.
pub(super) fn read(
    documents: Vec<(Document, TreeNode)>,
    registry: &FileRegistry,
    limits: Limits,
    name: &Arc<str>,
) -> Result<(Content, LeftOut), String> {
    let (documents, trees): (Vec<_>, Vec<_>) = documents.into_iter().unzip();
    let mut reader = Reader {
        registry,
        limits,
        name,
        documents: &documents,
        current: 0,
        content: Content::default(),
        seen: HashMap::new(),
        left_out: LeftOut::default(),
    };
    for (index, (document, tree)) in documents.iter().zip(trees).enumerate() {
        reader.current = index;
        reader.document(tree).map_err(|mistake| format!("{}: {}", document.place(mistake.place), mistake.message))?;
    }
    reader.content.nodes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((reader.content, reader.left_out))
}

struct Reader<'a> {
    registry: &'a FileRegistry,
    limits: Limits,
    name: &'a Arc<str>,
    documents: &'a [Document],
    /// Which document is read.
    current: usize,
    content: Content,
    /// In which document and where everything that may be there only once was given, such as "key `a/b`".
    seen: HashMap<String, (usize, Place)>,
    left_out: LeftOut,
}

impl Reader<'_> {
    fn document(&mut self, node: TreeNode) -> Result<(), Mistake> {
        let members = members(node, "a registry file is a map")?;
        for member in members {
            match member.key.as_str() {
                "services" => self.services(member.node)?,
                "nodes" => self.nodes(member.node)?,
                snapshot::SECTION => self.snapshot(member)?,
                _ => self.key(member, "")?,
            }
        }
        Ok(())
    }

    /// A key or a folder of keys. A name may hold `/` itself, and is empty for the folder's own value.
    fn key(&mut self, member: Member, folder: &str) -> Result<(), Mistake> {
        let wrong = |message: String| Mistake::new(member.place, message);
        let path = Path::parse(&format!("{folder}/{}", member.key))
            .map_err(|error| wrong(format!("`{}` is no key: {error}", member.key.escape_debug())))?;
        if let Tree::Map(members) = member.node.content {
            return members.into_iter().try_for_each(|member| self.key(member, path.as_str()));
        }
        if path.is_root() {
            return Err(wrong("a key needs a name".into()));
        }
        self.once(format!("key `{path}`"), member.place)?;
        if limit::are_many(self.content.keys.len() + 1, &self.limits) {
            let most = self.limits.keys;
            return Err(wrong(format!("there are more than {most} keys, the most by `limits.keys`")));
        }
        if let Some(visible) = self.registry.prefix.relative(path.as_str()) {
            // Part of a path is a path.
            let visible = Path::parse(visible).map_err(|error| wrong(error.to_string()))?;
            self.content.keys.insert(&visible, Text(member.node.into_text().into()));
        }
        Ok(())
    }

    fn services(&mut self, node: TreeNode) -> Result<(), Mistake> {
        for member in members(node, "`services` is a map from the name of a service to its instances")? {
            self.once(format!("service `{}`", member.key), member.place)?;
            let instances = self.instances(&member.key, member.node)?;
            self.content.services.insert(member.key, instances);
        }
        Ok(())
    }

    /// The answers that a snapshot holds beside the rest.
    fn snapshot(&mut self, member: Member) -> Result<(), Mistake> {
        self.once("a snapshot".to_owned(), member.place)?;
        let (described, answers) = snapshot::read_section(member.node, self.name)
            .map_err(|reason| Mistake::new(member.place, format!("`{}` {reason}", member.key)))?;
        self.content.snapshot = Some(described);
        // What they say is about the whole registry.
        if self.registry.prefix.is_root() {
            self.content.answers = answers;
        }
        Ok(())
    }

    /// A list of instances, or a map from their ids to them.
    fn instances(&mut self, service: &str, node: TreeNode) -> Result<Vec<Arc<Instance>>, Mistake> {
        let shape = || format!("`{service}` must be a list of instances, or a map from their ids to them");
        let items: Vec<(String, TreeNode)> = match node.content {
            Tree::Null => Vec::new(),
            Tree::List(items) => items.into_iter().map(|item| (String::new(), item)).collect(),
            Tree::Map(members) => {
                let field = |member: &&Member| {
                    matches!(member.key.as_str(), "address" | "host" | "port") && member.node.text().is_some()
                };
                if let Some(member) = members.iter().find(field) {
                    let message = format!("{}; this looks like the fields of one: put a `-` before them", shape());
                    return Err(Mistake::new(member.place, message));
                }
                members.into_iter().map(|member| (member.key, member.node)).collect()
            }
            Tree::Bare(_) | Tree::Quoted(_) => return Err(Mistake::new(node.place, shape())),
        };
        let mut instances = Vec::with_capacity(items.len());
        let mut ids = HashSet::new();
        for (id, item) in items {
            let place = item.place;
            match instance::from_node(item, &instance::Place { service, id: &id, registry: self.name }) {
                Ok(instance) if ids.insert((instance.id.clone(), instance.node.clone())) => {
                    instances.push(Arc::new(instance));
                }
                Ok(instance) => {
                    let message = format!("`{service}` has two instances with the id `{}`", instance.id);
                    return Err(Mistake::new(place, message));
                }
                Err(mistake) if self.registry.strict => return Err(mistake),
                Err(Mistake { place, message }) => {
                    self.left_out.count += 1;
                    if self.left_out.first.len() < NAMED {
                        let place = self.documents[self.current].place(place);
                        self.left_out.first.push(format!("{place}: an instance of `{service}`: {message}"));
                    }
                }
            }
        }
        instance::sort(&mut instances);
        Ok(instances)
    }

    /// A list of nodes, or a map from their names to their fields or their addresses.
    fn nodes(&mut self, node: TreeNode) -> Result<(), Mistake> {
        let place = node.place;
        let items: Vec<(String, TreeNode)> = match node.content {
            Tree::Null => Vec::new(),
            Tree::List(items) => items.into_iter().map(|item| (String::new(), item)).collect(),
            Tree::Map(members) => members.into_iter().map(|member| (member.key, member.node)).collect(),
            Tree::Bare(_) | Tree::Quoted(_) => {
                return Err(Mistake::new(place, "`nodes` must be a list of nodes, or a map from their names to them"));
            }
        };
        for (name, item) in items {
            let place = item.place;
            let node = read_node(name, item)?;
            self.once(format!("node `{}`", node.name), place)?;
            self.content.nodes.push(node);
        }
        Ok(())
    }

    /// Refuses what is given a second time, in whatever file and nesting.
    fn once(&mut self, what: String, place: Place) -> Result<(), Mistake> {
        if let Some((document, first)) = self.seen.get(&what) {
            let first = self.documents[*document].place(*first);
            return Err(Mistake::new(place, format!("{what} is given twice, first at {first}")));
        }
        self.seen.insert(what, (self.current, place));
        Ok(())
    }
}

fn members(node: TreeNode, shape: &str) -> Result<Vec<Member>, Mistake> {
    match node.content {
        Tree::Map(members) => Ok(members),
        _ => Err(Mistake::new(node.place, shape)),
    }
}

fn read_node(name: String, node: TreeNode) -> Result<Node, Mistake> {
    let place = node.place;
    let node = match node.content {
        Tree::Bare(address) | Tree::Quoted(address) if !name.is_empty() => {
            return Ok(Node { name, address, meta: BTreeMap::new(), datacenter: String::new() });
        }
        Tree::Map(members) => {
            let mut fields = Fields::new(members, place);
            Node {
                name: fields.text("name")?.unwrap_or(name),
                address: fields.text("address")?.unwrap_or_default(),
                meta: fields.meta()?,
                datacenter: fields.text("datacenter")?.unwrap_or_default(),
            }
        }
        _ => return Err(Mistake::new(place, "a node is a map with `name` and `address`")),
    };
    if node.name.is_empty() { Err(Mistake::new(place, "a node needs a `name`")) } else { Ok(node) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::file::format;
    use crate::registry::{NodeQuery, ServiceQuery, StatusFilter};

    fn read_with(registry: &FileRegistry, files: &[(&str, &str)]) -> Result<(Content, LeftOut), String> {
        let documents = files.iter().map(|(path, text)| {
            let node = format::parse(path.as_ref(), text).unwrap();
            (Document { path: path.into(), text: (*text).to_owned() }, node)
        });
        read(documents.collect(), registry, Limits { keys: 20, ..Limits::default() }, &"local".into())
    }

    fn content(text: &str) -> Content {
        let (content, left_out) = read_with(&FileRegistry::new(""), &[("a.yaml", text)]).unwrap();
        assert_eq!(left_out, LeftOut::default());
        content
    }

    fn path(text: &str) -> Path {
        Path::parse(text).unwrap()
    }

    fn keys(content: &Content) -> Vec<String> {
        let Data::Prefix(entries) = content.answer(&Query::Prefix(Path::root()), &[]) else { panic!("entries") };
        let text = |entry: &Entry| String::from_utf8(entry.value.0.to_vec()).unwrap();
        entries.iter().map(|entry| format!("{} = {}", entry.path, text(entry))).collect()
    }

    #[test]
    fn nested_keys_are_paths() {
        let content =
            content("app:\n  db/host: h\n  db: {'': own, port: 0644}\n  none: ~\n  list: [1, a]\n  empty: {}\n");
        assert_eq!(
            keys(&content),
            ["app/db = own", "app/db/host = h", "app/db/port = 0644", "app/list = [1,\"a\"]", "app/none = "]
        );
        assert_eq!(content.answer(&Query::Exists(path("app/db")), &[]), Data::Exists(true));
        assert_eq!(content.answer(&Query::Exists(path("app/empty")), &[]), Data::Exists(false));
        assert_eq!(content.answer(&Query::Key(path("app")), &[]), Data::Key(None));
        let Data::Listing(names) = content.answer(&Query::Listing(path("app")), &[]) else { panic!("names") };
        assert_eq!((names.keys.join(" "), names.folders.join(" ")), ("db list none".into(), "db".into()));
    }

    #[test]
    fn a_prefix_hides_itself_and_what_is_beside_it() {
        let registry = FileRegistry { prefix: path("apps/web"), ..FileRegistry::new("") };
        let text = "apps: {web: {'': own, a: 1, b: {c: 2}}, web2: {a: 3}}\n";
        let (content, _) = read_with(&registry, &[("a.yaml", text)]).unwrap();
        assert_eq!(keys(&content), ["a = 1", "b/c = 2"]);
    }

    #[test]
    fn services_are_lists_or_maps_of_instances() {
        let content = content(
            "services:\n  list:\n    - {address: b, port: 2, tags: [y], status: critical}\n    - 'a:1'\n\
             \x20   - {id: c, name: other, host: h, tags: 'z,x'}\n  map: {two: 'b:2', one: {address: '[::1]', zone: q}}\n\
             \x20 none: []\n  null:\n",
        );
        let ids = |query| -> Vec<String> {
            let Data::Service(instances) = content.answer(&Query::Service(query), &[]) else { panic!("instances") };
            instances.iter().map(|i| format!("{}/{} {}", i.name, i.id, i.endpoint())).collect()
        };
        let all = |name: &str| ServiceQuery { status: StatusFilter::All, ..ServiceQuery::passing(name) };
        assert_eq!(ids(all("list")), ["list/a:1 a:1", "list/b:2 b:2", "other/c h"]);
        assert_eq!(ids(ServiceQuery::passing("list")), ["list/a:1 a:1", "other/c h"]);
        assert_eq!(ids(ServiceQuery { tags: ["x".into()].into(), ..all("list") }), ["other/c h"]);
        assert_eq!(ids(all("map")), ["map/one [::1]", "map/two b:2"]);
        assert_eq!(ids(all("none")), [""; 0]);
        let names = |tag: Option<&str>| -> Vec<String> {
            let query = Query::Services { tag: tag.map(str::to_owned) };
            let Data::Services(services) = content.answer(&query, &[]) else { panic!("services") };
            services.iter().map(|service| format!("{} {}", service.name, service.tags.join(","))).collect()
        };
        assert_eq!(names(None), ["list x,y,z", "map "]);
        assert_eq!(names(Some("y")), ["list x,y,z"]);
        assert_eq!(keys(&content), [""; 0]);
    }

    #[test]
    fn a_node_holds_what_runs_on_it() {
        let content = content(
            "nodes: {n1: {address: 10.0.0.1, datacenter: dc2}, n2: {address: 10.0.0.2, datacenter: dc1}, n3: 10.0.0.3}\n\
             services:\n  web: [{id: b, node: n1, address: a, status: critical}, {id: a, node: n1, address: a}]\n  \
             api: [{id: c, node: n1, address: a}, {id: d, node: n2, address: a}, {id: e, address: a}]\n",
        );
        let node = |name: &str| -> Option<String> {
            let Data::Node(found) = content.answer(&Query::Node(NodeQuery::named(name)), &[]) else { panic!("a node") };
            let NodeServices { node, services } = found?;
            let services: Vec<_> = services.iter().map(|it| format!("{}/{}", it.name, it.id)).collect();
            Some(format!("{} {} {}", node.address, node.datacenter, services.join(" ")))
        };
        assert_eq!(node("n1").as_deref(), Some("10.0.0.1 dc2 api/c web/a web/b"));
        assert_eq!(node("n3").as_deref(), Some("10.0.0.3  "));
        assert_eq!(node("none"), None);
        let datacenters = content.answer(&Query::Datacenters, &[]);
        assert_eq!(datacenters, Data::Datacenters(vec!["dc1".to_owned(), "dc2".to_owned()]));
    }

    #[test]
    fn nodes_are_lists_or_maps() {
        for text in [
            "nodes:\n  - {name: b, address: 2, meta: {rack: 1.10}, datacenter: x}\n  - {name: a, address: 1}\n",
            "nodes: {b: {address: 2, meta: {rack: 1.10}, datacenter: x}, a: 1}\n",
        ] {
            let Data::Nodes(nodes) = content(text).answer(&Query::Nodes { datacenter: None }, &[]) else {
                panic!("nodes")
            };
            let shown: Vec<_> =
                nodes.iter().map(|n| format!("{} {} {:?} {}", n.name, n.address, n.meta, n.datacenter)).collect();
            assert_eq!(shown, ["a 1 {} ", "b 2 {\"rack\": \"1.10\"} x"]);
        }
    }

    #[test]
    fn mistakes_name_their_place() {
        for (text, message) in [
            ("a/b: 1\na: {b: 2}\n", "a.yaml:2:5: key `a/b` is given twice, first at a.yaml:1:1"),
            ("a: {/b/: 1, //b: 2}\n", "a.yaml:1:13: key `a/b` is given twice, first at a.yaml:1:5"),
            ("a: {..: secret}\n", "a.yaml:1:5: `..` is no key: a path has no `.` or `..` segments"),
            ("/: secret\n", "a.yaml:1:1: a key needs a name"),
            ("- secret\n", "a.yaml:1:1: a registry file is a map"),
            ("services: secret\n", "a.yaml:1:11: `services` is a map from the name of a service to its instances"),
            (
                "services:\n  web: secret\n",
                "a.yaml:2:8: `web` must be a list of instances, or a map from their ids to them",
            ),
            ("services: {web: {address: secret, port: 1}}\n", "fields of one: put a `-` before them"),
            ("services: {web: ['a:1', 'a:1']}\n", "a.yaml:1:25: `web` has two instances with the id `a:1`"),
            ("nodes: [{address: secret}]\n", "a.yaml:1:9: a node needs a `name`"),
            ("nodes: [a]\n", "a.yaml:1:9: a node is a map"),
            (
                "a: {1: , 2: , 3: , 4: , 5: , 6: , 7: , 8: , 9: , 10: , 11: }\nb: {1: , 2: , 3: , 4: , 5: , 6: , 7: , 8: , 9: , 10: }\n",
                "a.yaml:2:50: there are more than 20 keys, the most by `limits.keys`",
            ),
            ("nodes: a\n", "a.yaml:1:8: `nodes` must be a list of nodes"),
            ("nodes: [{name: a}, {name: a}]\n", "a.yaml:1:20: node `a` is given twice, first at a.yaml:1:9"),
        ] {
            let error = read_with(&FileRegistry::new(""), &[("a.yaml", text)]).unwrap_err();
            assert!(error.contains(message), "{text}: {error}");
            assert!(!error.contains("secret"), "{text}: {error}");
        }
        for (one, other, message) in [
            ("a: {b: 1}", "{\"a/b\": 2}", "b.json:1:2: key `a/b` is given twice, first at a.yaml:1:5"),
            (
                "services: {web: []}",
                "{\"services\": {\"web\": []}}",
                "b.json:1:15: service `web` is given twice, first at a.yaml:1:12",
            ),
        ] {
            let error = read_with(&FileRegistry::new(""), &[("a.yaml", one), ("b.json", other)]).unwrap_err();
            assert_eq!(error, message);
        }
    }

    #[test]
    fn an_instance_that_cannot_be_read_is_left_out_unless_strict() {
        let text = "services:\n  web:\n    - {address: a, port: secret}\n    - 'b:2'\n    - secret\n";
        let files = [("a.yaml", text)];
        let (content, left_out) = read_with(&FileRegistry::new(""), &files).unwrap();
        assert_eq!(content.services["web"].len(), 1);
        assert_eq!(left_out.count, 2);
        assert_eq!(
            left_out.first,
            [
                "a.yaml:3:26: an instance of `web`: `port` must be a whole number from 0 to 65535",
                "a.yaml:5:7: an instance of `web`: the value is neither a map of fields nor `host:port`",
            ]
        );
        let strict = FileRegistry { strict: true, ..FileRegistry::new("") };
        assert!(read_with(&strict, &files).unwrap_err().starts_with("a.yaml:3:26: `port`"));
    }
}
