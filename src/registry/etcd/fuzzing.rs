//! What etcd may send, as bytes.

use prost::Message as _;

use super::answers::{Answers, LeftOut};
use super::config::{Format, Services};
use super::held::Held;
use super::keys::Layout;
use super::messages::{AuthenticateResponse, RangeResponse, StatusResponse};
use super::stream::{Frame, frames};
use crate::registry::{Path, Query, ServiceQuery};

/// Takes bytes for a range, and for a stream of watch responses on top of it, and answers every kind of query from what
/// came of them.
pub(crate) fn messages(bytes: &[u8]) {
    let _ = AuthenticateResponse::decode(bytes);
    let _ = StatusResponse::decode(bytes);
    let mut held = Held::default();
    if let Ok(range) = RangeResponse::decode(bytes) {
        let revision = range.header.map_or(0, |header| header.revision);
        held.replace(range.kvs.clone(), revision);
        // What is read a second time brings nothing, unless it names a key twice.
        let again = held.replace(range.kvs.clone(), revision);
        let mut keys: Vec<_> = range.kvs.iter().map(|kv| &kv.key).collect();
        keys.sort();
        keys.dedup();
        assert!(!again || keys.len() < range.kvs.len(), "a read changes what it read");
    }
    for frame in frames(bytes) {
        if let Frame::Events { events, .. } = frame {
            held.apply(events.clone());
            assert!(!held.apply(events), "an event counts twice");
        }
    }
    answer(&held);
}

fn answer(held: &Held) {
    let path = |text: &str| Path::parse(text).unwrap_or_else(|_| Path::root());
    let mut left_out = LeftOut::new("main".into());
    for format in [Format::Auto, Format::Json, Format::HostPort, Format::SkyDns] {
        for strict in [false, true] {
            let services = Services { folder: path("services"), format, strict };
            let answers = Answers { layout: Layout::new("/"), services };
            for query in [
                Query::Key(path("app/x")),
                Query::Exists(path("app")),
                Query::Prefix(path("app")),
                Query::Prefix(Path::root()),
                Query::Listing(path("services")),
                Query::Services { tag: Some("a".to_owned()) },
                Query::Service(ServiceQuery::passing("web")),
            ] {
                let _ = answers.answer(&query, &[held], &mut left_out);
            }
        }
    }
}
