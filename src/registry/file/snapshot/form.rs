//! What stands in the section of a snapshot: queries, and answers that the rest of the file cannot give.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use crate::registry::{
    Aside, Data, Entry, Instance, LookupQuery, Names, Node, NodeQuery, NodeServices, Path, Query, RecordType,
    ServiceName, ServiceQuery, Status, StatusFilter, Text,
};

/// What is read first of the section of a file that is a snapshot.
#[derive(Debug, Deserialize)]
pub(super) struct Version {
    /// A version that is not known is not understood. In one that is, a key that is not known is ignored.
    pub(super) version: u32,
}

/// The section of a file that is a snapshot.
#[derive(Debug, Deserialize)]
pub(super) struct Section {
    /// The name of the registry whose answers these are.
    #[serde(default)]
    pub(super) registry: String,
    /// When it was written, as in RFC 3339; none where somebody wrote it by hand.
    #[serde(default)]
    pub(super) saved: Option<String>,
    /// The queries that are answered.
    #[serde(default)]
    pub(super) answers: Vec<Item>,
    /// The answers that a target holds on to although another has accepted others, by its name.
    #[serde(default)]
    pub(super) targets: BTreeMap<String, Vec<Item>>,
}

/// One query.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Item {
    pub(super) query: Question,
    /// Its answer; none where the rest of the file gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) answer: Option<Reply>,
    /// Whether we were not allowed to ask it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) denied: bool,
    /// When it was saved, if that was before the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) saved: Option<String>,
}

/// A [`Query`] as it is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Question {
    Key(String),
    Exists(String),
    Prefix(String),
    Ls(String),
    Services {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tag: Option<String>,
    },
    Service {
        name: String,
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        tags: BTreeSet<String>,
        /// `any` alone for every state; none for passing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<Vec<String>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        near: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        datacenter: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        filter: Option<String>,
    },
    Nodes {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        datacenter: Option<String>,
    },
    Node {
        name: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        datacenter: Option<String>,
    },
    Datacenters {},
    Lookup {
        name: String,
        #[serde(rename = "type")]
        record: String,
    },
}

/// [`Data`] as they are written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reply {
    Value(Option<Value>),
    Exists(bool),
    Entries(Vec<EntryForm>),
    Names { keys: Vec<String>, folders: Vec<String> },
    Services(Vec<ServiceForm>),
    Instances(Vec<InstanceForm>),
    Nodes(Vec<NodeForm>),
    Node(Option<NodeServicesForm>),
    Datacenters(Vec<String>),
    Records(Vec<String>),
}

/// The value of a key: text, or else base64.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Value {
    Text(String),
    Bytes { base64: String },
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct EntryForm {
    key: String,
    path: String,
    value: Value,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ServiceForm {
    name: String,
    tags: Vec<String>,
}

/// An instance with all its fields but that of the registry; those that are as they are by default are left out, as the
/// static file has it too.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct InstanceForm {
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    node: String,
    address: String,
    port: u16,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    meta: BTreeMap<String, String>,
    #[serde(default = "one", skip_serializing_if = "is_one")]
    weight: i64,
    #[serde(default = "passing", skip_serializing_if = "is_passing")]
    status: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    zone: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct NodeForm {
    name: String,
    address: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    meta: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    datacenter: String,
}

/// A node with the instances on it, each of which says whose it is.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct NodeServicesForm {
    #[serde(flatten)]
    node: NodeForm,
    services: Vec<InstanceForm>,
}

fn one() -> i64 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_one(weight: &i64) -> bool {
    *weight == 1
}

fn passing() -> String {
    Status::Passing.as_str().to_owned()
}

fn is_passing(status: &str) -> bool {
    status == Status::Passing.as_str()
}

impl Question {
    /// A query; none for one that no registry of data answers.
    pub(super) fn of(query: &Query) -> Option<Self> {
        Some(match query {
            Query::Key(path) => Self::Key(path.as_str().to_owned()),
            Query::Exists(path) => Self::Exists(path.as_str().to_owned()),
            Query::Prefix(path) => Self::Prefix(path.as_str().to_owned()),
            Query::Listing(path) => Self::Ls(path.as_str().to_owned()),
            Query::Services { tag } => Self::Services { tag: tag.clone() },
            Query::Service(query) => Self::Service {
                name: query.name.clone(),
                tags: query.tags.clone(),
                status: states(&query.status),
                near: query.near.clone(),
                datacenter: query.datacenter.clone(),
                filter: query.filter.clone(),
            },
            Query::Nodes { datacenter } => Self::Nodes { datacenter: datacenter.clone() },
            Query::Node(query) => Self::Node { name: query.name.clone(), datacenter: query.datacenter.clone() },
            Query::Datacenters => Self::Datacenters {},
            Query::Lookup(query) => Self::Lookup { name: query.name.clone(), record: query.record.as_str().to_owned() },
            Query::File(_) | Query::Time { .. } => return None,
        })
    }

    /// The query; none for one that cannot be.
    pub(super) fn into_query(self) -> Option<Query> {
        let parse = |path: String| Path::parse(&path).ok();
        Some(match self {
            Self::Key(path) => Query::Key(parse(path)?),
            Self::Exists(path) => Query::Exists(parse(path)?),
            Self::Prefix(path) => Query::Prefix(parse(path)?),
            Self::Ls(path) => Query::Listing(parse(path)?),
            Self::Services { tag } => Query::Services { tag },
            Self::Service { name, tags, status, near, datacenter, filter } => {
                let status = filter_of(status)?;
                Query::Service(ServiceQuery {
                    name,
                    tags,
                    status,
                    near,
                    datacenter,
                    filter,
                    computed: Aside::default(),
                })
            }
            Self::Nodes { datacenter } => Query::Nodes { datacenter },
            Self::Node { name, datacenter } => Query::Node(NodeQuery { name, datacenter, computed: Aside::default() }),
            Self::Datacenters {} => Query::Datacenters,
            Self::Lookup { name, record } => {
                let (_, record) = *RecordType::NAMES.iter().find(|(known, _)| *known == record)?;
                Query::Lookup(LookupQuery { name, record, computed: Aside(false) })
            }
        })
    }
}

fn states(filter: &StatusFilter) -> Option<Vec<String>> {
    match filter {
        StatusFilter::All => Some(vec!["any".to_owned()]),
        StatusFilter::Any(states) if states.iter().eq([&Status::Passing]) => None,
        StatusFilter::Any(states) => Some(states.iter().map(|status| status.as_str().to_owned()).collect()),
    }
}

fn filter_of(states: Option<Vec<String>>) -> Option<StatusFilter> {
    Some(match states {
        None => StatusFilter::Any([Status::Passing].into()),
        Some(states) if states == ["any"] => StatusFilter::All,
        Some(states) => StatusFilter::Any(states.iter().map(|name| status(name)).collect::<Option<_>>()?),
    })
}

fn status(name: &str) -> Option<Status> {
    Status::NAMES.iter().find(|(known, _)| *known == name).map(|(_, status)| *status)
}

impl Reply {
    /// The answer to `query`.
    pub(super) fn of(query: &Query, data: &Data) -> Self {
        match data {
            Data::Key(value) => Self::Value(value.as_ref().map(Value::of)),
            Data::Exists(exists) => Self::Exists(*exists),
            Data::Prefix(entries) => {
                let form = |entry: &Arc<Entry>| EntryForm {
                    key: entry.key.clone(),
                    path: entry.path.clone(),
                    value: Value::of(&entry.value),
                };
                Self::Entries(entries.iter().map(form).collect())
            }
            Data::Listing(Names { keys, folders }) => Self::Names { keys: keys.clone(), folders: folders.clone() },
            Data::Services(services) => {
                let form =
                    |service: &ServiceName| ServiceForm { name: service.name.clone(), tags: service.tags.clone() };
                Self::Services(services.iter().map(form).collect())
            }
            Data::Service(instances) => {
                let service = service_of(query);
                Self::Instances(instances.iter().map(|instance| InstanceForm::of(instance, service)).collect())
            }
            Data::Nodes(nodes) => Self::Nodes(nodes.iter().map(NodeForm::of).collect()),
            Data::Node(node) => Self::Node(node.as_ref().map(|NodeServices { node, services }| NodeServicesForm {
                node: NodeForm::of(node),
                services: services.iter().map(|instance| InstanceForm::of(instance, "")).collect(),
            })),
            Data::Datacenters(names) => Self::Datacenters(names.clone()),
            Data::Records(records) => Self::Records(records.clone()),
        }
    }

    /// The answer; none where it does not belong to `query`, or cannot be read.
    pub(super) fn into_data(self, query: &Query, registry: &Arc<str>) -> Option<Data> {
        Some(match (query, self) {
            (Query::Key(_), Self::Value(value)) => Data::Key(match value {
                None => None,
                Some(value) => Some(value.into_text()?),
            }),
            (Query::Exists(_), Self::Exists(exists)) => Data::Exists(exists),
            (Query::Prefix(_), Self::Entries(entries)) => {
                let entry = |form: EntryForm| Some(Arc::new(Entry::new(form.key, form.path, form.value.into_text()?)));
                Data::Prefix(entries.into_iter().map(entry).collect::<Option<_>>()?)
            }
            (Query::Listing(_), Self::Names { keys, folders }) => Data::Listing(Names { keys, folders }),
            (Query::Services { .. }, Self::Services(services)) => {
                let service = |form: ServiceForm| ServiceName { name: form.name, tags: form.tags };
                Data::Services(services.into_iter().map(service).collect())
            }
            (
                Query::Service(_) | Query::Lookup(LookupQuery { record: RecordType::Srv, .. }),
                Self::Instances(instances),
            ) => {
                let instance = |form: InstanceForm| Some(Arc::new(form.into_instance(service_of(query), registry)?));
                Data::Service(instances.into_iter().map(instance).collect::<Option<_>>()?)
            }
            (Query::Nodes { .. }, Self::Nodes(nodes)) => {
                Data::Nodes(nodes.into_iter().map(NodeForm::into_node).collect())
            }
            (Query::Node(_), Self::Node(found)) => Data::Node(match found {
                None => None,
                Some(NodeServicesForm { node, services }) => {
                    let instance = |form: InstanceForm| Some(Arc::new(form.into_instance("", registry)?));
                    let services = services.into_iter().map(instance).collect::<Option<_>>()?;
                    Some(NodeServices { node: node.into_node(), services })
                }
            }),
            (Query::Datacenters, Self::Datacenters(names)) => Data::Datacenters(names),
            (Query::Lookup(_), Self::Records(records)) => Data::Records(records),
            _ => return None,
        })
    }
}

/// The name of the service whose instances answer a query.
fn service_of(query: &Query) -> &str {
    match query {
        Query::Service(query) => &query.name,
        Query::Lookup(query) => &query.name,
        _ => "",
    }
}

impl Value {
    fn of(text: &Text) -> Self {
        match std::str::from_utf8(&text.0) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Bytes { base64: BASE64_STANDARD.encode(&text.0) },
        }
    }

    fn into_text(self) -> Option<Text> {
        Some(Text(match self {
            Self::Text(text) => text.into(),
            Self::Bytes { base64 } => BASE64_STANDARD.decode(base64).ok()?.into(),
        }))
    }
}

impl InstanceForm {
    /// An instance that stands under `service`, whose name it has unless it says otherwise.
    pub(super) fn of(instance: &Instance, service: &str) -> Self {
        Self {
            id: instance.id.clone(),
            name: (instance.name != service).then(|| instance.name.clone()),
            node: instance.node.clone(),
            address: instance.address.clone(),
            port: instance.port,
            tags: instance.tags.clone(),
            meta: instance.meta.clone(),
            weight: instance.weight,
            status: instance.status.as_str().to_owned(),
            zone: instance.zone.clone(),
        }
    }

    fn into_instance(self, service: &str, registry: &Arc<str>) -> Option<Instance> {
        Some(Instance {
            id: self.id,
            name: self.name.unwrap_or_else(|| service.to_owned()),
            node: self.node,
            address: self.address,
            port: self.port,
            tags: self.tags,
            meta: self.meta,
            weight: self.weight,
            status: status(&self.status)?,
            zone: self.zone,
            registry: registry.clone(),
            view: OnceLock::new(),
        })
    }
}

impl NodeForm {
    /// A node.
    pub(super) fn of(node: &Node) -> Self {
        let Node { name, address, meta, datacenter } = node.clone();
        Self { name, address, meta, datacenter }
    }

    fn into_node(self) -> Node {
        let Self { name, address, meta, datacenter } = self;
        Node { name, address, meta, datacenter }
    }
}
