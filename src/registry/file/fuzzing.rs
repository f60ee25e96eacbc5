//! What may stand in a registry file.

use std::path::Path as FilePath;
use std::sync::Arc;

use super::FileRegistry;
use super::content::read;
use super::format::parse;
use super::source::Document;
use crate::config::Limits;
use crate::registry::{NodeQuery, Path, Query, ServiceQuery};

/// Takes a text for a file of each format, and answers every kind of query from it.
pub(crate) fn documents(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let name: Arc<str> = "main".into();
    for file in ["r.yaml", "r.json", "r.toml"] {
        for strict in [false, true] {
            let node = match parse(FilePath::new(file), text) {
                Ok(node) => node,
                Err(mistake) => {
                    let (line, column) = mistake.place.line_and_column(text);
                    assert!(line > 0 && column > 0, "a mistake without a place");
                    break;
                }
            };
            let document = Document { path: file.into(), text: text.to_owned() };
            let registry = FileRegistry { strict, ..FileRegistry::new(file) };
            let Ok((content, _)) = read(vec![(document, node)], &registry, Limits::default(), &name) else {
                continue;
            };
            let path = |text: &str| Path::parse(text).unwrap_or_else(|_| Path::root());
            for query in [
                Query::Key(path("app/x")),
                Query::Exists(path("app")),
                Query::Prefix(Path::root()),
                Query::Listing(path("app")),
                Query::Services { tag: None },
                Query::Service(ServiceQuery::passing("web")),
                Query::Nodes { datacenter: None },
                Query::Node(NodeQuery::named("one")),
                Query::Datacenters,
            ] {
                content.answer(&query, &[]);
            }
        }
    }
}
