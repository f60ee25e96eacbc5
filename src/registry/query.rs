//! Queries: the questions that templates ask.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Path, Status};

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
    /// The text of a local file; [`Data::Key`](super::Data::Key).
    File(PathBuf),
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

/// For people: what is waited for, in logs and in the message of `once` that gives up, such as "key `app/db`".
impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(path) => write!(f, "key `{path}`"),
            Self::Exists(path) => write!(f, "whether `{path}` exists"),
            Self::Prefix(path) => write!(f, "prefix `{path}`"),
            Self::Listing(path) => write!(f, "listing of `{path}`"),
            Self::Services { tag: None } => write!(f, "services"),
            Self::Services { tag: Some(tag) } => write!(f, "services with tag `{tag}`"),
            Self::Service(query) => write!(f, "service `{}`", query.name),
            Self::Nodes { .. } => write!(f, "nodes"),
            Self::File(path) => write!(f, "file `{}`", path.display()),
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

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from registry `{}`", self.query, self.registry)
    }
}
