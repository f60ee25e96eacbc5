//! Which read of the API answers a query, and what is in its reply. Queries that differ only in what is chosen from
//! one reply, such as tags and states of a service, share a read.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::config::{Clocks, Config};
use super::failure::Failure;
use super::{catalog, health, kv, nothing};
use crate::protection::Protection;
use crate::registry::instance::select;
use crate::registry::keyspace::Keyspace;
use crate::registry::{Data, Entry, Instance, Node, NodeServices, Path, Query, ServiceName, Text};

/// One read.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Request {
    /// The value of a key, by its whole path.
    Value(String),
    /// All keys below a folder, by its whole path with a `/` at the end, or all there are.
    Below(String),
    /// The names that begin with this text, up to the next `/`.
    Names(String),
    /// The names and tags of all services.
    Services { datacenter: Option<String> },
    /// What is registered on a node. No query asks for it; it tells which services to look at.
    Node { name: String, datacenter: Option<String> },
    /// A node and all that runs on it, with the checks of both.
    NodeServices { name: String, datacenter: Option<String> },
    /// The names of the datacenters that are known.
    Datacenters,
    /// All instances of a service, whatever their tags and states.
    Service { name: String, near: Option<String>, datacenter: Option<String>, filter: Option<String> },
    /// All nodes.
    Nodes { datacenter: Option<String> },
    /// All checks. No query asks for them; they tell which services to look at.
    Checks { datacenter: Option<String> },
}

/// What a read is to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// Nothing; the leader makes sure that it still leads.
    Consistent,
    /// Nothing.
    Now,
    /// An index above this one.
    Above(u64),
}

/// What a good answer looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// It has an index.
    Indexed,
    /// The same, and "not found" is an answer.
    OrMissing,
    /// "Not found" is an answer, with an index or without.
    OrMissingAtOnce,
    /// It has no index.
    WithoutIndex,
}

/// What was in a reply.
#[derive(Debug)]
pub(super) enum Contents {
    Value(Option<Text>),
    Below(Keyspace),
    Names(Vec<String>),
    Services(Vec<ServiceName>),
    /// In the order of the reply.
    Instances(Vec<Arc<Instance>>),
    Nodes(Vec<catalog::FoundNode>),
    Registered(Vec<catalog::FoundService>),
    Node(Option<NodeServices>),
    Datacenters(Vec<String>),
    Checks(Vec<health::FoundCheck>),
}

/// What is encoded within a segment of a path or a value of the query.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const RESERVED_IN_PATH: &AsciiSet = &RESERVED.remove(b'/');

impl Request {
    /// The read that answers a query; else what cannot be asked, as [`Registry::supports`] says it.
    ///
    /// [`Registry::supports`]: crate::registry::Registry::supports
    pub(super) fn of(query: &Query, config: &Config) -> Result<Self, String> {
        let whole = |path: &Path| match (config.prefix.is_root(), path.is_root()) {
            (true, _) => path.to_string(),
            (false, true) => config.prefix.to_string(),
            (false, false) => format!("{}/{path}", config.prefix),
        };
        let folder = |path: &Path| match whole(path) {
            root if root.is_empty() => root,
            folder => format!("{folder}/"),
        };
        Ok(match query {
            Query::Key(path) | Query::Exists(path) if whole(path).is_empty() => {
                return Err("has no key without a name".to_owned());
            }
            Query::Key(path) => Self::Value(whole(path)),
            Query::Exists(path) => Self::Names(whole(path)),
            Query::Prefix(path) => Self::Below(folder(path)),
            Query::Listing(path) => Self::Names(folder(path)),
            Query::Services { .. } => Self::Services { datacenter: config.datacenter.clone() },
            // Consul's router takes these for parts of the path.
            Query::Service(query) if matches!(query.name.as_str(), "" | "." | "..") => {
                return Err(format!("has no service called `{}`", query.shown_name()));
            }
            Query::Service(query) => Self::Service {
                name: query.name.clone(),
                near: query.near.clone(),
                datacenter: query.datacenter.clone().or_else(|| config.datacenter.clone()),
                filter: query.filter.clone(),
            },
            Query::Nodes { datacenter } => {
                Self::Nodes { datacenter: datacenter.clone().or_else(|| config.datacenter.clone()) }
            }
            Query::Node(query) if matches!(query.name.as_str(), "" | "." | "..") => {
                return Err(format!("has no node called `{}`", query.shown_name()));
            }
            Query::Node(query) => Self::NodeServices {
                name: query.name.clone(),
                datacenter: query.datacenter.clone().or_else(|| config.datacenter.clone()),
            },
            Query::Datacenters => Self::Datacenters,
            Query::Lookup(_) => return Err("does no DNS look-ups: a registry of kind `dns` does".to_owned()),
            Query::File(_) => return Err("has no local files".to_owned()),
            Query::Time { .. } => return Err("has no clock".to_owned()),
        })
    }

    /// What follows `/v1/`.
    pub(super) fn target(&self, ask: Ask, config: &Config) -> String {
        let mut target = self.qualify(self.path(), config);
        match ask {
            Ask::Consistent if !Protection::Consistent.is_off() => target.push_str("consistent"),
            Ask::Consistent | Ask::Now => target.truncate(target.len() - 1),
            Ask::Above(index) => {
                let _ = write!(target, "index={index}&wait={}ms", config.clocks.wait.as_millis());
            }
        }
        target
    }

    /// What it reads, wherever that is; ends in `?` or `&`, so that parameters may follow.
    pub(super) fn path(&self) -> String {
        let mut target = match self {
            Self::Value(key) => format!("kv/{}?", encode_path(key)),
            Self::Below(folder) => format!("kv/{}?recurse&", encode_path(folder)),
            Self::Names(start) => format!("kv/{}?keys&separator=/&", encode_path(start)),
            Self::Services { .. } => "catalog/services?".to_owned(),
            Self::Service { name, .. } => format!("health/service/{}?", encode(name)),
            Self::Nodes { .. } => "catalog/nodes?".to_owned(),
            Self::Node { name, .. } => format!("catalog/node/{}?", encode(name)),
            // What is documented gives either the services of a node or its checks, each with an index of its own: a
            // service would be seen before its check, and so as passing. This is what Consul's own pages are made of, and
            // gives both as they are at one index.
            Self::NodeServices { name, .. } => format!("internal/ui/node/{}?", encode(name)),
            Self::Datacenters => "catalog/datacenters?".to_owned(),
            Self::Checks { .. } => "health/state/any?".to_owned(),
        };
        if let Self::Service { near, filter, .. } = self {
            add(&mut target, "near", near.as_deref());
            add(&mut target, "filter", filter.as_deref());
        }
        target
    }

    /// A `path` like that of this read, in the datacenter and the namespace of this read.
    pub(super) fn qualify(&self, mut path: String, config: &Config) -> String {
        add(&mut path, "dc", self.datacenter().or(config.datacenter.as_deref()));
        add(&mut path, "ns", config.namespace.as_deref());
        path
    }

    /// How long the head of the answer may take.
    pub(super) fn patience(ask: Ask, config: &Config) -> Duration {
        match ask {
            Ask::Consistent | Ask::Now => config.clocks.request_timeout,
            Ask::Above(_) => config.clocks.poll_patience(),
        }
    }

    /// The datacenter that is asked; none is the agent's own.
    pub(super) fn datacenter(&self) -> Option<&str> {
        match self {
            Self::Value(_) | Self::Below(_) | Self::Names(_) | Self::Datacenters => None,
            Self::Services { datacenter }
            | Self::Service { datacenter, .. }
            | Self::Nodes { datacenter }
            | Self::Node { datacenter, .. }
            | Self::NodeServices { datacenter, .. }
            | Self::Checks { datacenter } => datacenter.as_deref(),
        }
    }

    /// What it reads, for logs.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Value(key) => format!("key `{key}`"),
            Self::Below(start) | Self::Names(start) => format!("keys below `{start}`"),
            Self::Services { .. } => "the list of services".to_owned(),
            Self::Service { name, .. } => format!("service `{name}`"),
            Self::Nodes { .. } => "the list of nodes".to_owned(),
            Self::Node { name, .. } | Self::NodeServices { name, .. } => format!("node `{name}`"),
            Self::Datacenters => "the list of datacenters".to_owned(),
            Self::Checks { .. } => "the list of checks".to_owned(),
        }
    }

    /// What a failure means for it. Where a template computed an argument from values, nothing that Consul says is passed
    /// on, since it likes to repeat what it was asked.
    pub(super) fn explain(&self, failure: &Failure, is_computed: bool, config: &Config) -> String {
        match (failure, self) {
            (Failure::Refused(said), _) if is_computed => {
                let what = if said.contains("No path to datacenter") { "a datacenter" } else { "an argument" };
                format!("refused: {what} that the template computed; what Consul says of it is not shown")
            }
            (Failure::Broken(_), _) if is_computed => "failed".to_owned(),
            (Failure::Refused(said), _) if said.contains("No path to datacenter") => {
                let datacenter = self.datacenter().or(config.datacenter.as_deref()).unwrap_or_default();
                format!("datacenter `{datacenter}` is unknown to Consul: {said}")
            }
            (Failure::Refused(said), Self::Service { filter: Some(filter), .. }) => {
                format!("the filter `{filter}` is refused: {said}")
            }
            (Failure::Denied(said), _) if said.contains("Permission denied") && self.is_key_value() => {
                // Where `acl.enable_key_list_policy` is set, a folder needs more than a key.
                let right = if matches!(self, Self::Value(_)) { "key:read" } else { "key:list" };
                let lacks = nothing::lacks(right, config);
                if is_computed { format!("not allowed: {lacks}") } else { format!("not allowed: {lacks}: {said}") }
            }
            (Failure::Denied(said), _) if is_computed && !said.contains("ACL not found") => {
                "not allowed: the token may not read what the template computed".to_owned()
            }
            _ => failure.to_string(),
        }
    }

    /// Whether the answer holds nothing but names of what it wakes for.
    pub(super) fn only_names(&self) -> bool {
        matches!(self, Self::Names(_) | Self::Services { .. })
    }

    /// Whether it reads keys: then "not found" is an answer.
    pub(super) fn is_key_value(&self) -> bool {
        matches!(self, Self::Value(_) | Self::Below(_) | Self::Names(_))
    }

    /// What a good answer to it looks like.
    pub(super) fn form(&self) -> Form {
        match self {
            Self::Value(_) | Self::Below(_) | Self::Names(_) => Form::OrMissing,
            Self::NodeServices { .. } => Form::OrMissingAtOnce,
            Self::Datacenters => Form::WithoutIndex,
            _ => Form::Indexed,
        }
    }

    /// How long to wait before it is read again, where Consul does not hold the read until there is something new:
    /// `found` says whether there was something.
    pub(super) fn rhythm(&self, found: bool, clocks: &Clocks) -> Option<Duration> {
        match self {
            Self::Datacenters => Some(clocks.resweep_interval),
            Self::NodeServices { .. } if !found => Some(clocks.absent_interval),
            _ => None,
        }
    }

    /// Reads the body of an answer. `prefix` stands before all paths. What cannot be read is left out and named in
    /// `left_out`.
    pub(super) fn read(
        &self,
        body: &[u8],
        missing: bool,
        prefix: &Path,
        registry: &Arc<str>,
        left_out: &mut Vec<String>,
    ) -> Result<Contents, serde_json::Error> {
        let body = match self {
            Self::NodeServices { .. } if missing => b"null".as_slice(),
            _ if missing => b"[]",
            _ => body,
        };
        Ok(match self {
            Self::Value(key) => Contents::Value(kv::value(body, key)?),
            Self::Below(_) => Contents::Below(kv::below(body, prefix, left_out)?),
            Self::Names(_) => Contents::Names(serde_json::from_slice(body)?),
            Self::Services { .. } => Contents::Services(catalog::services(body)?),
            Self::Service { .. } => Contents::Instances(health::instances(body, registry, left_out)?),
            Self::Nodes { .. } => Contents::Nodes(catalog::nodes(body)?),
            Self::Node { .. } => Contents::Registered(catalog::registered(body)?),
            Self::Checks { .. } => Contents::Checks(health::checks(body)?),
            Self::NodeServices { datacenter, .. } => {
                Contents::Node(health::node(body, datacenter.as_deref(), registry, left_out)?)
            }
            Self::Datacenters => Contents::Datacenters(catalog::datacenters(body)?),
        })
    }

    /// What a query wants of the contents. `before` are the entries of its answer before.
    pub(super) fn answer(&self, contents: &Contents, query: &Query, before: &[Arc<Entry>]) -> Option<Data> {
        Some(match (contents, query, self) {
            (Contents::Value(value), Query::Key(_), _) => Data::Key(value.clone()),
            (Contents::Below(keys), Query::Prefix(path), _) => Data::Prefix(keys.prefix(path, before)),
            (Contents::Names(names), Query::Exists(_), Self::Names(start)) => Data::Exists(kv::exists(names, start)),
            (Contents::Names(names), Query::Listing(_), Self::Names(start)) => Data::Listing(kv::listing(names, start)),
            (Contents::Services(services), Query::Services { tag }, _) => {
                let has = |service: &&ServiceName| tag.as_ref().is_none_or(|tag| service.tags.contains(tag));
                Data::Services(services.iter().filter(has).cloned().collect())
            }
            (Contents::Instances(instances), Query::Service(query), _) if query.near.is_some() => {
                let admitted = instances.iter().filter(|instance| {
                    query.status.admits(instance.status)
                        && query.tags.iter().all(|tag| instance.tags.binary_search(tag).is_ok())
                });
                Data::Service(admitted.cloned().collect())
            }
            (Contents::Instances(instances), Query::Service(query), _) => Data::Service(select(instances, query)),
            (Contents::Nodes(nodes), Query::Nodes { .. }, _) => {
                let mut nodes: Vec<Node> = nodes.iter().map(|found| found.node.clone()).collect();
                nodes.sort_by(|a, b| a.name.cmp(&b.name));
                Data::Nodes(nodes)
            }
            (Contents::Node(node), Query::Node(_), _) => Data::Node(node.clone()),
            (Contents::Datacenters(names), Query::Datacenters, _) => Data::Datacenters(names.clone()),
            _ => return None,
        })
    }
}

/// Adds a parameter to the query of a target.
fn add(target: &mut String, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        // Writing to a `String` cannot fail.
        let _ = write!(target, "{name}={}&", encode(value));
    }
}

pub(super) fn encode(text: &str) -> impl std::fmt::Display {
    utf8_percent_encode(text, RESERVED)
}

fn encode_path(path: &str) -> impl std::fmt::Display {
    utf8_percent_encode(path, RESERVED_IN_PATH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::consul::Address;
    use crate::registry::{NodeQuery, ServiceQuery, StatusFilter};

    fn config(prefix: &str) -> Config {
        let mut config = Config::new(Address::parse("127.0.0.1:8500", false).unwrap());
        config.prefix = Path::parse(prefix).unwrap();
        config
    }

    fn path(text: &str) -> Path {
        Path::parse(text).unwrap()
    }

    #[test]
    fn queries_become_reads() {
        let service = ServiceQuery {
            near: Some("_agent".into()),
            filter: Some("Service.Port == 80 and \"x\" in Service.Tags".into()),
            datacenter: Some("dc2".into()),
            ..ServiceQuery::passing("a/b c")
        };
        for (prefix, query, expected) in [
            ("", Query::Key(path("a/b ü?")), "kv/a/b%20%C3%BC%3F"),
            ("p/q", Query::Key(path("a")), "kv/p/q/a"),
            ("p", Query::Key(Path::root()), "kv/p"),
            ("", Query::Prefix(path("a")), "kv/a/?recurse"),
            ("", Query::Prefix(Path::root()), "kv/?recurse"),
            ("p", Query::Prefix(Path::root()), "kv/p/?recurse"),
            ("", Query::Listing(path("a")), "kv/a/?keys&separator=/"),
            ("", Query::Listing(Path::root()), "kv/?keys&separator=/"),
            ("", Query::Exists(path("a")), "kv/a?keys&separator=/"),
            ("", Query::Services { tag: Some("x".into()) }, "catalog/services"),
            ("", Query::Nodes { datacenter: None }, "catalog/nodes"),
            ("p", Query::Node(NodeQuery::named("n 1/")), "internal/ui/node/n%201%2F"),
            ("p", Query::Datacenters, "catalog/datacenters"),
            (
                "",
                Query::Service(service),
                "health/service/a%2Fb%20c?near=_agent&filter=Service.Port%20%3D%3D%2080%20and%20%22x%22%20in%20\
                 Service.Tags&dc=dc2",
            ),
        ] {
            let config = config(prefix);
            let request = Request::of(&query, &config).unwrap();
            assert_eq!(request.target(Ask::Now, &config), expected);
        }
        let mut config = config("");
        config.datacenter = Some("dc1".into());
        config.namespace = Some("team".into());
        let target = |query: Query, ask| Request::of(&query, &config).unwrap().target(ask, &config);
        assert_eq!(target(Query::Key(path("a")), Ask::Consistent), "kv/a?dc=dc1&ns=team&consistent");
        assert_eq!(
            target(Query::Prefix(path("a")), Ask::Above(7)),
            "kv/a/?recurse&dc=dc1&ns=team&index=7&wait=55000ms"
        );
        for query in [
            Query::Key(Path::root()),
            Query::File("x".into()),
            Query::Service(ServiceQuery::passing("..")),
            Query::Node(NodeQuery::named("..")),
        ] {
            Request::of(&query, &config).unwrap_err();
        }
    }

    #[test]
    fn what_is_chosen_from_one_reply_shares_a_read() {
        let config = config("");
        let passing = ServiceQuery::passing("web");
        let all = ServiceQuery { status: StatusFilter::All, tags: ["a".into()].into(), ..passing.clone() };
        let request = |query: &ServiceQuery| Request::of(&Query::Service(query.clone()), &config).unwrap();
        assert_eq!(request(&passing), request(&all));
        assert_ne!(request(&passing), request(&ServiceQuery { near: Some("n".into()), ..passing.clone() }));
    }

    #[test]
    fn a_poll_may_last_longer_than_its_wait() {
        let config = config("");
        assert_eq!(Request::patience(Ask::Above(1), &config), Duration::from_micros(68_437_500));
        assert_eq!(Request::patience(Ask::Now, &config), Duration::from_secs(10));
    }
}
