//! Queries: the questions that templates ask.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use super::{Aside, COMPUTED, Computed, FilePath, Path, Status};

/// One question to one registry. Its identity is all its arguments; what a template function can work out of the
/// same answer (`tree()` from the keys of a prefix, `min=`, `default=`) is no part of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Query {
    /// The value of one key; answered by [`Data::Key`](super::Data::Key).
    Key(Path),
    /// Whether there is a key or a folder of this name; [`Data::Exists`](super::Data::Exists).
    Exists(Path),
    /// All keys below a folder, at any depth, with their values; [`Data::Prefix`](super::Data::Prefix).
    Prefix(Path),
    /// The direct names in a folder; [`Data::Listing`](super::Data::Listing).
    Listing(Path),
    /// The services, those with a tag if one is given; [`Data::Services`](super::Data::Services).
    Services {
        /// Only services that have this tag on an instance.
        tag: Option<String>,
    },
    /// The instances of one service; [`Data::Service`](super::Data::Service).
    Service(ServiceQuery),
    /// The nodes; [`Data::Nodes`](super::Data::Nodes).
    Nodes {
        /// Another datacenter than the registry's own.
        datacenter: Option<String>,
    },
    /// One node with what runs on it; [`Data::Node`](super::Data::Node).
    Node(NodeQuery),
    /// The names of the datacenters; [`Data::Datacenters`](super::Data::Datacenters).
    Datacenters,
    /// What DNS says of a name; [`Data::Service`](super::Data::Service) for SRV records, else
    /// [`Data::Records`](super::Data::Records).
    Lookup(LookupQuery),
    /// The text of a local file; [`Data::Key`](super::Data::Key).
    File(FilePath),
    /// The time in steps, as whole seconds since 1970; [`Data::Key`](super::Data::Key).
    Time {
        /// The length of a step in seconds.
        every: NonZeroU64,
    },
}

/// Which instances of a service are wanted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceQuery {
    /// The name of the service.
    pub name: String,
    /// Tags that an instance must all have.
    pub tags: BTreeSet<String>,
    /// The states that are let through.
    pub status: StatusFilter,
    /// Sort by distance from this node (Consul).
    pub near: Option<String>,
    /// Another datacenter than the registry's own (Consul).
    pub datacenter: Option<String>,
    /// A filter expression for the server (Consul).
    pub filter: Option<String>,
    /// Which of them a template computed from values.
    pub computed: Aside<Computed>,
}

impl ServiceQuery {
    /// All passing instances of a service.
    pub fn passing(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            tags: BTreeSet::new(),
            status: StatusFilter::Any([Status::Passing].into()),
            near: None,
            datacenter: None,
            filter: None,
            computed: Aside::default(),
        }
    }
}

/// Which node is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeQuery {
    /// The name of the node.
    pub name: String,
    /// Another datacenter than the registry's own.
    pub datacenter: Option<String>,
    /// Which of them a template computed from values.
    pub computed: Aside<Computed>,
}

impl NodeQuery {
    /// The node of this name in the registry's own datacenter.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), datacenter: None, computed: Aside::default() }
    }

    /// The name as it may stand in a message.
    pub fn shown_name(&self) -> &str {
        if self.computed.0.name { COMPUTED } else { &self.name }
    }
}

/// Which records of DNS are wanted.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LookupQuery {
    /// The name, as it is written.
    pub name: String,
    /// Which of its records.
    pub record: RecordType,
    /// Whether a template computed the name from values.
    pub computed: Aside<bool>,
}

/// The records of a name that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecordType {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Addresses of both.
    Ip,
    /// The name that it is another one of.
    Cname,
    /// The servers of a service.
    Srv,
    /// Free text.
    Txt,
}

impl RecordType {
    /// The types by the name that templates use.
    pub const NAMES: [(&'static str, Self); 6] = [
        ("A", Self::A),
        ("AAAA", Self::Aaaa),
        ("IP", Self::Ip),
        ("CNAME", Self::Cname),
        ("SRV", Self::Srv),
        ("TXT", Self::Txt),
    ];

    /// The name that templates use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Ip => "IP",
            Self::Cname => "CNAME",
            Self::Srv => "SRV",
            Self::Txt => "TXT",
        }
    }
}

impl LookupQuery {
    /// The IPv4 addresses of a name.
    pub fn addresses(name: impl Into<String>) -> Self {
        Self { name: name.into(), record: RecordType::A, computed: Aside(false) }
    }

    /// The name as it may stand in a message.
    pub fn shown_name(&self) -> &str {
        if self.computed.0 { COMPUTED } else { &self.name }
    }
}

impl ServiceQuery {
    /// The name as it may stand in a message.
    pub fn shown_name(&self) -> &str {
        if self.computed.0.name { COMPUTED } else { &self.name }
    }

    /// The datacenter as it may stand in a message.
    pub fn shown_datacenter(&self) -> Option<&str> {
        let datacenter = self.datacenter.as_deref()?;
        Some(if self.computed.0.other { COMPUTED } else { datacenter })
    }
}

impl Query {
    /// Whether an argument was computed from values, so that what a registry says of the question may hold one.
    pub fn is_computed(&self) -> bool {
        match self {
            Self::Key(path) | Self::Exists(path) | Self::Prefix(path) | Self::Listing(path) => {
                path.shown() != path.as_str()
            }
            Self::Service(query) => query.computed.0 != Computed::default(),
            // What is asked is not known to be written.
            Self::Services { tag } => tag.is_some(),
            Self::Nodes { datacenter } => datacenter.is_some(),
            Self::Node(query) => query.computed.0 != Computed::default(),
            Self::Lookup(query) => query.computed.0,
            Self::Datacenters | Self::File(_) | Self::Time { .. } => false,
        }
    }
}

/// The states of instances that a query lets through.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StatusFilter {
    /// Every state.
    All,
    /// Any of these.
    Any(BTreeSet<Status>),
}

impl StatusFilter {
    /// Whether an instance in this state is let through.
    pub fn admits(&self, status: Status) -> bool {
        match self {
            Self::All => true,
            Self::Any(admitted) => admitted.contains(&status),
        }
    }
}

/// For people: what is waited for, in logs and in the message of `once` that gives up, such as "key `app/db`". It holds
/// nothing that was computed from values.
impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(path) => write!(f, "key `{}`", path.shown()),
            Self::Exists(path) => write!(f, "whether `{}` exists", path.shown()),
            Self::Prefix(path) => write!(f, "prefix `{}`", path.shown()),
            Self::Listing(path) => write!(f, "listing of `{}`", path.shown()),
            Self::Services { tag: None } => write!(f, "services"),
            Self::Services { tag: Some(_) } => write!(f, "services with a tag"),
            Self::Service(query) => write!(f, "service `{}`", query.shown_name()),
            Self::Nodes { .. } => write!(f, "nodes"),
            Self::Node(query) => write!(f, "node `{}`", query.shown_name()),
            Self::Datacenters => write!(f, "datacenters"),
            Self::Lookup(query) => write!(f, "{} records of `{}`", query.record.as_str(), query.shown_name()),
            Self::File(path) => write!(f, "file `{path}`"),
            Self::Time { every } => {
                write!(f, "time every {}", humantime::format_duration(Duration::from_secs(every.get())))
            }
        }
    }
}

/// A query with the name of the registry that it goes to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Asked {
    /// The configured name of the registry.
    pub registry: Arc<str>,
    /// The question.
    pub query: Query,
}

impl Asked {
    /// Whether the operator means this query by `name`: as it is shown, with or without its registry and the marks around
    /// the name (`service web`), or by the name of what is asked for alone (`web`).
    pub fn is_called(&self, name: &str) -> bool {
        let plain = |text: String| text.replace('`', "");
        let name = plain(name.to_owned());
        let own = match &self.query {
            Query::Key(path) | Query::Exists(path) | Query::Prefix(path) | Query::Listing(path) => {
                path.as_str().to_owned()
            }
            Query::Service(service) => service.name.clone(),
            Query::Node(node) => node.name.clone(),
            Query::Lookup(lookup) => lookup.name.clone(),
            Query::File(path) => path.as_path().display().to_string(),
            Query::Services { .. } | Query::Nodes { .. } | Query::Datacenters | Query::Time { .. } => String::new(),
        };
        name == plain(self.query.to_string()) || name == plain(self.to_string()) || (!own.is_empty() && name == own)
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.query {
            // It lies on this machine.
            Query::File(_) => write!(f, "{}", self.query),
            _ => write!(f, "{} from registry `{}`", self.query, self.registry),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_called_as_it_is_shown_or_by_its_name() {
        let asked = |query| Asked { registry: "main".into(), query };
        let service = asked(Query::Service(ServiceQuery::passing("web")));
        for name in ["web", "service web", "service `web`", "service `web` from registry `main`"] {
            assert!(service.is_called(name), "{name}");
        }
        for name in ["", "service", "we", "service web from registry other"] {
            assert!(!service.is_called(name), "{name}");
        }
        assert!(asked(Query::Prefix(Path::parse("app/up").unwrap())).is_called("app/up"));
        let services = asked(Query::Services { tag: None });
        assert!(services.is_called("services") && !services.is_called(""));
    }
}
