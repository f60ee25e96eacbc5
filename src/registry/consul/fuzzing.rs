//! What Consul may send, as bytes.

use std::sync::Arc;

use super::request::Request;
use crate::registry::{NodeQuery, Path, Query, ServiceQuery};

/// Takes bytes for the reply to every read there is, and answers queries from what came of it.
pub(crate) fn replies(bytes: &[u8]) {
    let path = |text: &str| Path::parse(text).unwrap_or_else(|_| Path::root());
    let registry: Arc<str> = "main".into();
    let service = |near: Option<&str>| Request::Service {
        name: "web".to_owned(),
        near: near.map(str::to_owned),
        datacenter: None,
        filter: None,
    };
    let near = ServiceQuery { near: Some("_agent".to_owned()), ..ServiceQuery::passing("web") };
    let requests = [
        (Request::Value("app/x".to_owned()), Some(Query::Key(path("app/x")))),
        (Request::Below("app/".to_owned()), Some(Query::Prefix(path("app")))),
        (Request::Below(String::new()), Some(Query::Prefix(Path::root()))),
        (Request::Names("app".to_owned()), Some(Query::Exists(path("app")))),
        (Request::Names("app/".to_owned()), Some(Query::Listing(path("app")))),
        (Request::Services { datacenter: None }, Some(Query::Services { tag: Some("a".to_owned()) })),
        (service(None), Some(Query::Service(ServiceQuery::passing("web")))),
        (service(Some("_agent")), Some(Query::Service(near))),
        (Request::Nodes { datacenter: None }, Some(Query::Nodes { datacenter: None })),
        (Request::Node { name: "one".to_owned(), datacenter: None }, None),
        (Request::Checks { datacenter: None }, None),
        (
            Request::NodeServices { name: "one".to_owned(), datacenter: None },
            Some(Query::Node(NodeQuery::named("one"))),
        ),
        (Request::Datacenters, Some(Query::Datacenters)),
    ];
    for (request, query) in requests {
        let mut left_out = Vec::new();
        let Ok(contents) = request.read(bytes, false, &Path::root(), &registry, &mut left_out) else { continue };
        if let Some(query) = &query {
            assert!(request.answer(&contents, query, &[]).is_some(), "a reply that answers nothing");
        }
    }
}
