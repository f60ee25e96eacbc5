//! Writes to etcd over gRPC, fast enough for thousands of changes.

use std::sync::atomic::{AtomicI64, Ordering};

use prost::Message;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

/// Sets a key, under a lease unless it is 0.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Put {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) value: Vec<u8>,
    #[prost(int64, tag = "3")]
    pub(crate) lease: i64,
}

/// Deletes a key or a range of keys.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Delete {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) range_end: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Operation {
    #[prost(message, tag = "2")]
    Put(Put),
    #[prost(message, tag = "3")]
    Delete(Delete),
}

#[derive(Clone, PartialEq, Message)]
struct RequestOp {
    #[prost(oneof = "Operation", tags = "2, 3")]
    operation: Option<Operation>,
}

#[derive(Clone, PartialEq, Message)]
struct Txn {
    #[prost(message, repeated, tag = "2")]
    success: Vec<RequestOp>,
}

#[derive(Clone, PartialEq, Message)]
struct Lease {
    #[prost(int64, tag = "1")]
    ttl: i64,
    #[prost(int64, tag = "2")]
    id: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Revoke {
    #[prost(int64, tag = "1")]
    id: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Compact {
    #[prost(int64, tag = "1")]
    revision: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Header {
    #[prost(int64, tag = "3")]
    revision: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Response {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
}

/// A connection for writes.
#[derive(Clone)]
pub(crate) struct Client {
    channel: Channel,
}

impl Client {
    pub(crate) fn new(endpoint: &str) -> Self {
        Self { channel: Endpoint::from_shared(endpoint.to_owned()).unwrap().connect_lazy() }
    }

    /// Sets a key; the revision of the change.
    pub(crate) async fn put(&self, key: &str, value: &str) -> i64 {
        self.call("KV/Put", put(key, value)).await.unwrap()
    }

    /// Sets a key, if the server is there.
    pub(crate) async fn try_put(&self, key: &str, value: &str) -> Result<i64, tonic::Status> {
        self.call("KV/Put", put(key, value)).await
    }

    pub(crate) async fn delete(&self, key: &str) -> i64 {
        self.call("KV/DeleteRange", delete(key)).await.unwrap()
    }

    /// Deletes all keys that begin so.
    pub(crate) async fn delete_below(&self, prefix: &str) -> i64 {
        self.call("KV/DeleteRange", delete_below(prefix)).await.unwrap()
    }

    /// Does all of it at one revision.
    pub(crate) async fn transaction(&self, operations: impl IntoIterator<Item = Operation>) -> i64 {
        let success = operations.into_iter().map(|operation| RequestOp { operation: Some(operation) }).collect();
        self.call("KV/Txn", Txn { success }).await.unwrap()
    }

    pub(crate) async fn compact(&self, revision: i64) {
        self.call("KV/Compact", Compact { revision }).await.unwrap();
    }

    /// A lease that ends after so many seconds.
    pub(crate) async fn lease(&self, ttl: i64) -> i64 {
        static NEXT: AtomicI64 = AtomicI64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        self.call("Lease/LeaseGrant", Lease { ttl, id }).await.unwrap();
        id
    }

    /// Ends a lease and deletes its keys.
    pub(crate) async fn revoke(&self, id: i64) {
        self.call("Lease/LeaseRevoke", Revoke { id }).await.unwrap();
    }

    pub(crate) async fn put_with_lease(&self, key: &str, value: &str, lease: i64) {
        self.call("KV/Put", Put { lease, ..put(key, value) }).await.unwrap();
    }

    async fn call<Q: Message + 'static>(&self, method: &str, request: Q) -> Result<i64, tonic::Status> {
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
        let path: PathAndQuery = format!("/etcdserverpb.{method}").parse().unwrap();
        let codec: ProstCodec<Q, Response> = ProstCodec::default();
        let response = grpc.unary(tonic::Request::new(request), path, codec).await?;
        Ok(response.into_inner().header.map_or(0, |header| header.revision))
    }
}

pub(crate) fn put(key: &str, value: &str) -> Put {
    Put { key: key.into(), value: value.into(), lease: 0 }
}

pub(crate) fn delete(key: &str) -> Delete {
    Delete { key: key.into(), range_end: Vec::new() }
}

pub(crate) fn delete_below(prefix: &str) -> Delete {
    let mut range_end = prefix.as_bytes().to_vec();
    *range_end.last_mut().unwrap() += 1;
    Delete { key: prefix.into(), range_end }
}
