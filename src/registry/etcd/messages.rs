//! The messages of etcd's v3 API that are needed here, written by hand so that building needs no `protoc`.
//!
//! Field numbers are those of etcd's `rpc.proto`, `kv.proto` and `auth.proto` (API 3.4 and later); fields that
//! nobody here reads are left out, which protobuf allows. Messages that hold values, passwords or tokens show none
//! of them in `Debug`.

use std::fmt;

use prost::{Message, Oneof};

/// Which member and which state of its store answered.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ResponseHeader {
    /// The cluster; equal in clusters restored from one backup with the same flags.
    #[prost(uint64, tag = "1")]
    pub(super) cluster_id: u64,
    /// The revision of the store when the request was answered.
    #[prost(int64, tag = "3")]
    pub(super) revision: i64,
}

/// Asks for the keys of a range.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RangeRequest {
    /// The first key.
    #[prost(bytes = "vec", tag = "1")]
    pub(super) key: Vec<u8>,
    /// The key after the last; empty for one key, `\0` for all from the first on.
    #[prost(bytes = "vec", tag = "2")]
    pub(super) range_end: Vec<u8>,
    /// At most so many keys; 0 for all.
    #[prost(int64, tag = "3")]
    pub(super) limit: i64,
    /// The state to read; 0 for the newest.
    #[prost(int64, tag = "4")]
    pub(super) revision: i64,
    /// Whether values are left out.
    #[prost(bool, tag = "8")]
    pub(super) keys_only: bool,
    /// Leaves out keys that changed before this revision; `count` counts them all the same.
    #[prost(int64, tag = "10")]
    pub(super) min_mod_revision: i64,
}

/// The keys of a range.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RangeResponse {
    /// The state of the store at the answer, not that of a pinned read.
    #[prost(message, optional, tag = "1")]
    pub(super) header: Option<ResponseHeader>,
    /// The keys, in order.
    #[prost(message, repeated, tag = "2")]
    pub(super) kvs: Vec<KeyValue>,
    /// Whether `limit` cut something off.
    #[prost(bool, tag = "3")]
    pub(super) more: bool,
    /// The number of keys in the range, whatever limit and filters say.
    #[prost(int64, tag = "4")]
    pub(super) count: i64,
}

/// A key with its value.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct KeyValue {
    /// The key.
    #[prost(bytes = "vec", tag = "1")]
    pub(super) key: Vec<u8>,
    /// The revision of its last change; in a delete event that of the deletion.
    #[prost(int64, tag = "3")]
    pub(super) mod_revision: i64,
    /// The value. A copy of its own: sharing the buffer of the message would keep a whole page alive for one value.
    #[prost(bytes = "vec", tag = "5")]
    pub(super) value: Vec<u8>,
}

impl fmt::Debug for KeyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.key.escape_ascii(), self.mod_revision)
    }
}

/// One change of one key.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Event {
    /// [`Event::PUT`] or [`Event::DELETE`].
    #[prost(int32, tag = "1")]
    pub(super) kind: i32,
    /// The key with its new value, or the deleted key alone.
    #[prost(message, optional, tag = "2")]
    pub(super) kv: Option<KeyValue>,
}

impl Event {
    /// The key has a new value.
    #[cfg(test)]
    pub(super) const PUT: i32 = 0;
    /// The key is gone; also what a lease that ends does.
    pub(super) const DELETE: i32 = 1;

    /// The revision of the change.
    pub(super) fn revision(&self) -> i64 {
        self.kv.as_ref().map_or(0, |kv| kv.mod_revision)
    }
}

/// What a client says on the watch stream.
#[derive(Clone, PartialEq, Message)]
pub(super) struct WatchRequest {
    /// One of three things.
    #[prost(oneof = "WatchWish", tags = "1, 2, 3")]
    pub(super) wish: Option<WatchWish>,
}

/// The three things that a client may say on the watch stream.
#[derive(Clone, PartialEq, Oneof)]
pub(super) enum WatchWish {
    /// Begins a watch.
    #[prost(message, tag = "1")]
    Create(WatchCreateRequest),
    /// Ends a watch.
    #[prost(message, tag = "2")]
    Cancel(WatchCancelRequest),
    /// Asks how far the stream is.
    #[prost(message, tag = "3")]
    Progress(WatchProgressRequest),
}

/// Begins a watch.
#[derive(Clone, PartialEq, Message)]
pub(super) struct WatchCreateRequest {
    /// The first key.
    #[prost(bytes = "vec", tag = "1")]
    pub(super) key: Vec<u8>,
    /// The key after the last, as in [`RangeRequest`].
    #[prost(bytes = "vec", tag = "2")]
    pub(super) range_end: Vec<u8>,
    /// The first revision whose changes are wanted; 0 for what happens from now on.
    #[prost(int64, tag = "3")]
    pub(super) start_revision: i64,
    /// An id that the client chose, not 0 and not in use.
    #[prost(int64, tag = "7")]
    pub(super) watch_id: i64,
    /// Lets the server cut what is larger than its request limit into several responses.
    #[prost(bool, tag = "8")]
    pub(super) fragment: bool,
}

/// Ends a watch.
#[derive(Clone, PartialEq, Message)]
pub(super) struct WatchCancelRequest {
    /// Which one.
    #[prost(int64, tag = "1")]
    pub(super) watch_id: i64,
}

/// Asks how far the stream is; the response has no events and says it in its header.
#[derive(Clone, PartialEq, Message)]
pub(super) struct WatchProgressRequest {}

/// What the server says on the watch stream.
#[derive(Clone, PartialEq, Message)]
pub(super) struct WatchResponse {
    /// The state of the store; absent in some cancellations.
    #[prost(message, optional, tag = "1")]
    pub(super) header: Option<ResponseHeader>,
    /// The watch that this belongs to; -1 for none.
    #[prost(int64, tag = "2")]
    pub(super) watch_id: i64,
    /// Answers a [`WatchCreateRequest`].
    #[prost(bool, tag = "3")]
    pub(super) created: bool,
    /// The watch has ended, also when `created` is set.
    #[prost(bool, tag = "4")]
    pub(super) canceled: bool,
    /// Not 0: the events that were asked for are compacted; this is the oldest revision that is left.
    #[prost(int64, tag = "5")]
    pub(super) compact_revision: i64,
    /// Why the watch has ended.
    #[prost(string, tag = "6")]
    pub(super) cancel_reason: String,
    /// More of the same change follows.
    #[prost(bool, tag = "7")]
    pub(super) fragment: bool,
    /// Changes, in order; those of one transaction in one range are in one response.
    #[prost(message, repeated, tag = "11")]
    pub(super) events: Vec<Event>,
}

/// Asks for a token.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct AuthenticateRequest {
    /// The user.
    #[prost(string, tag = "1")]
    pub(super) name: String,
    /// The password.
    #[prost(string, tag = "2")]
    pub(super) password: String,
}

impl fmt::Debug for AuthenticateRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[credentials]")
    }
}

/// A token.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct AuthenticateResponse {
    /// To be sent as metadata `token`.
    #[prost(string, tag = "2")]
    pub(super) token: String,
}

impl fmt::Debug for AuthenticateResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[token]")
    }
}

/// Asks a member how it is.
#[derive(Clone, PartialEq, Message)]
pub(super) struct StatusRequest {}

/// How a member is.
#[derive(Clone, PartialEq, Message)]
pub(super) struct StatusResponse {
    /// The version of its program.
    #[prost(string, tag = "2")]
    pub(super) version: String,
    /// The member that it believes to lead; 0 for none.
    #[prost(uint64, tag = "4")]
    pub(super) leader: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_value_and_no_secret() {
        let kv = KeyValue { key: b"/a\xff".to_vec(), mod_revision: 7, value: b"hunter2".to_vec() };
        let shown = format!(
            "{:?} {:?} {:?}",
            Event { kind: Event::PUT, kv: Some(kv) },
            AuthenticateRequest { name: "app".into(), password: "hunter2".into() },
            AuthenticateResponse { token: "hunter2".into() }
        );
        assert!(shown.contains(r"/a\xff@7"), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn field_numbers_are_those_of_etcd() {
        // Encoded by hand from rpc.proto: create_request = 1 { key = 1, range_end = 2, watch_id = 7,
        // fragment = 8 }.
        let create = WatchCreateRequest {
            key: b"k".to_vec(),
            range_end: b"l".to_vec(),
            start_revision: 0,
            watch_id: 2,
            fragment: true,
        };
        let request = WatchRequest { wish: Some(WatchWish::Create(create)) };
        assert_eq!(request.encode_to_vec(), [0x0a, 10, 0x0a, 1, b'k', 0x12, 1, b'l', 0x38, 2, 0x40, 1]);
        let progress = WatchRequest { wish: Some(WatchWish::Progress(WatchProgressRequest {})) };
        assert_eq!(progress.encode_to_vec(), [0x1a, 0]);
    }
}
