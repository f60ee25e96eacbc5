//! Answers: the whole current reply to a query, immutable.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::Path;
use crate::template::Value;

/// The whole current reply to a query. Two answers are equal when their data are, whatever their revisions.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What is there.
    pub data: Data,
    /// The registry's revision that this was read at: etcd revision, Consul index, file generation.
    pub revision: u64,
    /// The service that was asked for is in no catalog. That is no part of the answer, but is said once.
    pub unknown: Option<UnknownService>,
    /// What stands where the key or folder that was asked for is not, where the kind holds that anyway. It is no part of the
    /// answer either, and serves messages only.
    pub beside: Option<Beside>,
    /// What templates see of it, made once for each answer and in no answer that nobody renders.
    pub(crate) view: OnceLock<Value>,
    /// The same as nested maps, for `tree()`.
    pub(crate) tree: OnceLock<Value>,
}

impl Answer {
    /// An answer that was read at `revision`.
    pub fn new(data: Data, revision: u64) -> Self {
        Self { data, revision, unknown: None, beside: None, view: OnceLock::new(), tree: OnceLock::new() }
    }
}

/// What stands where something is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beside {
    /// The deepest folder on the way that is there.
    pub folder: Path,
    /// What is in it.
    pub names: Arc<Names>,
}

/// A service that was asked for and that nobody registered, in whatever state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnknownService {
    /// What may be meant instead, as "did you mean `web-api`?", where the kind knows all names.
    pub hint: Option<String>,
}

impl PartialEq for Answer {
    fn eq(&self, other: &Self) -> bool {
        self.data == other.data
    }
}

/// What an answer holds; which kind belongs to which query is said at [`Query`](super::Query).
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// The value of a key; none when the key is not there.
    Key(Option<Text>),
    /// Whether there is a key or a folder.
    Exists(bool),
    /// Keys below a folder, sorted by the bytes of their paths.
    Prefix(Vec<Arc<Entry>>),
    /// Direct names in a folder.
    Listing(Names),
    /// Services, sorted by name.
    Services(Vec<ServiceName>),
    /// Instances of a service, sorted by id, node, address and port.
    Service(Vec<Arc<Instance>>),
    /// Nodes, sorted by name.
    Nodes(Vec<Node>),
    /// A node with what runs on it; none when there is no such node.
    Node(Option<NodeServices>),
    /// The names of datacenters, sorted.
    Datacenters(Vec<String>),
    /// What DNS says of a name, sorted; empty where the name or its records are not there.
    Records(Vec<String>),
}

/// The bytes of a value as they stand in the registry. Whether they are UTF-8 is asked when they are used.
#[derive(Clone, PartialEq, Eq)]
pub struct Text(pub Bytes);

/// Values may be secrets: only their length is shown.
impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} bytes]", self.0.len())
    }
}

/// One key below a folder.
#[derive(Debug)]
pub struct Entry {
    /// The path below the folder that was asked for.
    pub key: String,
    /// The full path.
    pub path: String,
    /// The value.
    pub value: Text,
    /// What templates see of it; kept while the entry stays, so that a change of one key costs one entry.
    pub(crate) view: OnceLock<Value>,
}

impl Entry {
    /// An entry called `key` below the folder and `path` in full.
    pub fn new(key: impl Into<String>, path: impl Into<String>, value: Text) -> Self {
        Self { key: key.into(), path: path.into(), value, view: OnceLock::new() }
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || (self.path == other.path && self.key == other.key && self.value == other.value)
    }
}

/// The direct names in a folder. A name may be a key and a folder at once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    /// Names of keys, sorted.
    pub keys: Vec<String>,
    /// Names of folders, sorted.
    pub folders: Vec<String>,
}

/// One service in a list of services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceName {
    /// Its name.
    pub name: String,
    /// The tags of all its instances, sorted, each once.
    pub tags: Vec<String>,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: String,
    /// Free values.
    pub meta: BTreeMap<String, String>,
    /// Its datacenter.
    pub datacenter: String,
}

/// One node with what runs on it.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeServices {
    /// The node.
    pub node: Node,
    /// The instances of all services on it, whatever their states, sorted by name, id, address and port.
    pub services: Vec<Arc<Instance>>,
}

/// The health of an instance, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    /// It takes work.
    Passing,
    /// It takes work, and something is wrong with it.
    Warning,
    /// It does not take work.
    Critical,
    /// An operator took it out.
    Maintenance,
}

impl Status {
    /// The states by the name that templates use.
    pub const NAMES: [(&'static str, Self); 4] = [
        ("passing", Self::Passing),
        ("warning", Self::Warning),
        ("critical", Self::Critical),
        ("maintenance", Self::Maintenance),
    ];

    /// The name that templates see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Maintenance => "maintenance",
        }
    }
}

/// One running copy of a service: one model for every kind of registry. Every field is always there.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Its id within the service.
    pub id: String,
    /// The name of its service.
    pub name: String,
    /// The node that it runs on, or empty.
    pub node: String,
    /// Host name or address; an IPv6 address without brackets.
    pub address: String,
    /// Port, 0 if it has none.
    pub port: u16,
    /// Sorted.
    pub tags: Vec<String>,
    /// Free values.
    pub meta: BTreeMap<String, String>,
    /// Relative weight, 1 unless given.
    pub weight: i64,
    /// Health.
    pub status: Status,
    /// Where it runs, or empty.
    pub zone: String,
    /// The configured name of the registry that knows it.
    pub registry: Arc<str>,
    /// What templates see of it.
    pub(crate) view: OnceLock<Value>,
}

impl Instance {
    /// `address:port`, an IPv6 address in brackets, without `:0` when there is no port.
    pub fn endpoint(&self) -> String {
        let host = if self.address.contains(':') { format!("[{}]", self.address) } else { self.address.clone() };
        if self.port == 0 { host } else { format!("{host}:{}", self.port) }
    }

    /// The order in which instances of a service stand.
    pub fn sort_key(&self) -> (&str, &str, &str, u16) {
        (&self.id, &self.node, &self.address, self.port)
    }
}

impl PartialEq for Instance {
    fn eq(&self, other: &Self) -> bool {
        let Self { id, name, node, address, port, tags, meta, weight, status, zone, registry, view: _ } = self;
        std::ptr::eq(self, other)
            || (*id == other.id
                && *name == other.name
                && *node == other.node
                && *address == other.address
                && *port == other.port
                && *tags == other.tags
                && *meta == other.meta
                && *weight == other.weight
                && *status == other.status
                && *zone == other.zone
                && *registry == other.registry)
    }
}
