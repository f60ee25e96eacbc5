//! The watch stream: one for all ranges of a registry.

use std::collections::{HashMap, VecDeque};

use futures_util::FutureExt;
use futures_util::stream::poll_fn;
use tokio::sync::mpsc;
use tonic::Streaming;

use super::connection::{Connection, Failure};
use super::keys::KeyRange;
use super::messages::{
    Event, WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse, WatchWish,
};

/// The id of a watch on one stream; never used twice.
pub(super) type WatchId = i64;

/// A watch stream that is open.
pub(super) struct Stream {
    requests: mpsc::UnboundedSender<WatchRequest>,
    responses: Streaming<WatchResponse>,
    fragments: Fragments,
    /// Watches that the server has not answered for yet. It answers in order, and a refusal has no id.
    awaited: VecDeque<WatchId>,
    last_id: WatchId,
}

/// What the server said on the stream.
#[derive(Debug, PartialEq)]
pub(super) enum Frame {
    /// A watch was created; `revision` is where the server's store stood then.
    Created {
        /// Which one.
        id: WatchId,
        /// The cluster that answered.
        cluster: u64,
        /// Where the server's store stood.
        revision: i64,
    },
    /// Changes of one range, whole transactions.
    Events {
        /// The watch of the range.
        id: WatchId,
        /// The changes, in order.
        events: Vec<Event>,
    },
    /// The stream is this far.
    Progress {
        /// The server's store stood here when it answered.
        revision: i64,
    },
    /// A watch has ended, or was not created.
    Ended {
        /// Which one.
        id: WatchId,
        /// Why.
        why: Ending,
    },
}

/// Why a watch has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// The events that it should have given next are compacted.
    Compacted,
    /// The range may not be read; some versions say so too when the token of the stream has run out.
    Denied,
    /// The token of the stream has run out.
    Unauthenticated,
    /// What the server said; nothing if it was we who cancelled.
    Other(String),
}

impl Stream {
    /// Opens a stream with these watches.
    pub(super) async fn open(connection: &Connection, ranges: &[KeyRange]) -> Result<(Self, Vec<WatchId>), Failure> {
        let (requests, mut pending) = mpsc::unbounded_channel();
        let ids: Vec<WatchId> = (1..).take(ranges.len()).collect();
        for (id, range) in (1..).zip(ranges) {
            // The receiver is right here.
            let _ = requests.send(create(id, range, 0));
        }
        let responses = connection.watch(poll_fn(move |context| pending.poll_recv(context))).await?;
        let last_id = ids.last().copied().unwrap_or_default();
        let awaited = ids.iter().copied().collect();
        Ok((Self { requests, responses, fragments: Fragments::default(), awaited, last_id }, ids))
    }

    /// Adds a watch of a range, of what happens from now on.
    pub(super) fn create(&mut self, range: &KeyRange) -> WatchId {
        self.create_from(range, 0)
    }

    /// Adds a watch of a range, of what has happened since a revision, that one included.
    pub(super) fn create_from(&mut self, range: &KeyRange, revision: i64) -> WatchId {
        self.last_id += 1;
        self.awaited.push_back(self.last_id);
        self.send(create(self.last_id, range, revision));
        self.last_id
    }

    /// Whether the server has not answered for every watch yet.
    pub(super) fn is_creating(&self) -> bool {
        !self.awaited.is_empty()
    }

    /// Ends a watch. What is under way still comes.
    pub(super) fn cancel(&mut self, id: WatchId) {
        self.fragments.drop_watch(id);
        self.send(WatchRequest { wish: Some(WatchWish::Cancel(WatchCancelRequest { watch_id: id })) });
    }

    /// Asks how far the stream is.
    pub(super) fn ask_progress(&mut self) {
        self.send(WatchRequest { wish: Some(WatchWish::Progress(WatchProgressRequest {})) });
    }

    /// The next frame. Safe to cancel.
    pub(super) async fn next(&mut self) -> Result<Frame, Failure> {
        loop {
            let Some(mut response) = self.responses.message().await? else {
                return Err(Failure::Lost("it ended the watch stream".to_owned()));
            };
            if response.created
                && let Some(id) = self.awaited.pop_front()
            {
                response.watch_id = id;
            }
            if let Some(frame) = self.fragments.take(response)? {
                return Ok(frame);
            }
        }
    }

    /// The next frame, if it is here already.
    pub(super) fn ready(&mut self) -> Result<Option<Frame>, Failure> {
        self.next().now_or_never().transpose()
    }

    fn send(&self, request: WatchRequest) {
        // A stream that has ended says so at the next frame.
        let _ = self.requests.send(request);
    }
}

fn create(id: WatchId, range: &KeyRange, start_revision: i64) -> WatchRequest {
    WatchRequest {
        wish: Some(WatchWish::Create(WatchCreateRequest {
            key: range.start.clone(),
            range_end: range.end.clone(),
            start_revision,
            watch_id: id,
            fragment: true,
        })),
    }
}

/// What one change may hold. It is read as a page of keys then, within their own limits.
const MOST: usize = 64 << 20;

/// Puts together what the server cut into several responses. All of them carry the same header, so nothing may be
/// applied before the last is there.
#[derive(Default)]
struct Fragments {
    begun: HashMap<WatchId, Vec<Event>>,
    bytes: usize,
}

impl Fragments {
    fn take(&mut self, response: WatchResponse) -> Result<Option<Frame>, Failure> {
        let id = response.watch_id;
        let (cluster, revision) = response.header.map_or((0, 0), |header| (header.cluster_id, header.revision));
        if response.canceled {
            self.drop_watch(id);
            let reason = response.cancel_reason;
            let why = if response.compact_revision != 0 {
                Ending::Compacted
            } else if reason.contains("permission denied") {
                Ending::Denied
            } else if reason.contains("invalid auth token") {
                Ending::Unauthenticated
            } else {
                Ending::Other(reason)
            };
            return Ok(Some(Frame::Ended { id, why }));
        }
        if response.created {
            return Ok(Some(Frame::Created { id, cluster, revision }));
        }
        if response.fragment {
            self.bytes += size(&response.events);
            if self.bytes > MOST {
                return Err(Failure::Lost(format!("one change is larger than {} MiB", MOST >> 20)));
            }
            self.begun.entry(id).or_default().extend(response.events);
            return Ok(None);
        }
        let events = match self.begun.remove(&id) {
            Some(mut events) => {
                self.bytes = self.bytes.saturating_sub(size(&events));
                events.extend(response.events);
                events
            }
            None => response.events,
        };
        Ok(Some(if events.is_empty() { Frame::Progress { revision } } else { Frame::Events { id, events } }))
    }

    fn drop_watch(&mut self, id: WatchId) {
        if let Some(events) = self.begun.remove(&id) {
            self.bytes = self.bytes.saturating_sub(size(&events));
        }
    }
}

fn size(events: &[Event]) -> usize {
    events.iter().filter_map(|event| event.kv.as_ref()).map(|kv| kv.key.len() + kv.value.len()).sum()
}

/// The frames that are in the bytes of a stream of responses, each behind its length.
#[cfg(any(test, fuzzing))]
pub(super) fn frames(mut bytes: &[u8]) -> Vec<Frame> {
    use prost::Message as _;
    let mut fragments = Fragments::default();
    let mut frames = Vec::new();
    while let Ok(response) = WatchResponse::decode_length_delimited(&mut bytes) {
        match fragments.take(response) {
            Ok(frame) => frames.extend(frame),
            Err(_) => break,
        }
        if bytes.is_empty() {
            break;
        }
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::super::messages::{KeyValue, ResponseHeader};
    use super::*;

    fn event(key: &str, size: usize) -> Event {
        Event { kind: Event::PUT, kv: Some(KeyValue { key: key.into(), mod_revision: 9, value: vec![0; size] }) }
    }

    fn response(id: WatchId, events: &[Event], fragment: bool) -> WatchResponse {
        WatchResponse {
            header: Some(ResponseHeader { cluster_id: 1, revision: 9 }),
            watch_id: id,
            events: events.to_vec(),
            fragment,
            ..WatchResponse::default()
        }
    }

    #[test]
    fn fragments_of_several_watches_are_put_together() {
        let mut fragments = Fragments::default();
        assert_eq!(fragments.take(response(1, &[event("a", 5)], true)), Ok(None));
        assert_eq!(fragments.take(response(2, &[event("x", 5)], true)), Ok(None));
        assert_eq!(fragments.take(response(1, &[event("b", 5)], true)), Ok(None));
        let whole = Frame::Events { id: 1, events: vec![event("a", 5), event("b", 5), event("c", 5)] };
        assert_eq!(fragments.take(response(1, &[event("c", 5)], false)), Ok(Some(whole)));
        fragments.drop_watch(2);
        assert_eq!(fragments.bytes, 0);
        let one = Frame::Events { id: 2, events: vec![event("y", 5)] };
        assert_eq!(fragments.take(response(2, &[event("y", 5)], false)), Ok(Some(one)), "what was begun is dropped");
    }

    #[test]
    fn fragments_are_bounded() {
        let mut fragments = Fragments::default();
        let half = [event("a", MOST / 2)];
        assert_eq!(fragments.take(response(1, &half, true)), Ok(None));
        assert!(matches!(fragments.take(response(2, &half, true)), Err(Failure::Lost(_))));
    }

    #[test]
    fn frames_are_told_apart() {
        let ended = |response| Fragments::default().take(response).unwrap();
        let canceled = |compact_revision, reason: &str| WatchResponse {
            watch_id: 3,
            canceled: true,
            created: true,
            compact_revision,
            cancel_reason: reason.to_owned(),
            ..WatchResponse::default()
        };
        for (response, why) in [
            (canceled(27, ""), Ending::Compacted),
            (canceled(0, "rpc error: code = PermissionDenied desc = etcdserver: permission denied"), Ending::Denied),
            (canceled(0, "etcdserver: invalid auth token"), Ending::Unauthenticated),
            (canceled(0, "etcdserver: duplicate watch ID"), Ending::Other("etcdserver: duplicate watch ID".into())),
        ] {
            assert_eq!(ended(response), Some(Frame::Ended { id: 3, why }));
        }
        assert_eq!(ended(response(-1, &[], false)), Some(Frame::Progress { revision: 9 }));
        let created = WatchResponse { created: true, ..response(1, &[], false) };
        assert_eq!(ended(created), Some(Frame::Created { id: 1, cluster: 1, revision: 9 }));
    }
}
