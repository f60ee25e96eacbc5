//! A client of etcd that is not the program's own: the few calls that tests make, one after the other or many at once.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::tokio_stream::{self, Stream, StreamExt as _};
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use message::{
    AuthenticateRequest, AuthenticateResponse, CompactRequest, DeleteRequest, LeaseGrantRequest, LeaseGrantResponse,
    LeaseRevokeRequest, Operation, PutRequest, RangeRequest, RangeResponse, Reply, TxnRequest, WatchCreate,
    WatchRequest, WatchResponse, operation, watch_request,
};

use super::certificates::TlsFiles;

/// The messages of etcd's `rpc.proto` and `kv.proto` that tests send, with the fields that they use.
pub mod message {
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Header {
        #[prost(int64, tag = "3")]
        pub revision: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct KeyValue {
        #[prost(bytes = "vec", tag = "1")]
        pub key: Vec<u8>,
        #[prost(bytes = "vec", tag = "5")]
        pub value: Vec<u8>,
    }

    /// Any reply of which only the header is of interest.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Reply {
        #[prost(message, optional, tag = "1")]
        pub header: Option<Header>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct RangeRequest {
        #[prost(bytes = "vec", tag = "1")]
        pub key: Vec<u8>,
        #[prost(bytes = "vec", tag = "2")]
        pub range_end: Vec<u8>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct RangeResponse {
        #[prost(message, optional, tag = "1")]
        pub header: Option<Header>,
        #[prost(message, repeated, tag = "2")]
        pub kvs: Vec<KeyValue>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct PutRequest {
        #[prost(bytes = "vec", tag = "1")]
        pub key: Vec<u8>,
        #[prost(bytes = "vec", tag = "2")]
        pub value: Vec<u8>,
        #[prost(int64, tag = "3")]
        pub lease: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct DeleteRequest {
        #[prost(bytes = "vec", tag = "1")]
        pub key: Vec<u8>,
        #[prost(bytes = "vec", tag = "2")]
        pub range_end: Vec<u8>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Operation {
        #[prost(oneof = "operation::Request", tags = "2, 3")]
        pub request: Option<operation::Request>,
    }

    pub mod operation {
        #[derive(Clone, PartialEq, prost::Oneof)]
        pub enum Request {
            #[prost(message, tag = "2")]
            Put(super::PutRequest),
            #[prost(message, tag = "3")]
            Delete(super::DeleteRequest),
        }
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct TxnRequest {
        #[prost(message, repeated, tag = "2")]
        pub success: Vec<Operation>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct CompactRequest {
        #[prost(int64, tag = "1")]
        pub revision: i64,
        #[prost(bool, tag = "2")]
        pub physical: bool,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct LeaseGrantRequest {
        #[prost(int64, tag = "1")]
        pub ttl: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct LeaseGrantResponse {
        #[prost(int64, tag = "2")]
        pub id: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct LeaseRevokeRequest {
        #[prost(int64, tag = "1")]
        pub id: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct AuthenticateRequest {
        #[prost(string, tag = "1")]
        pub name: String,
        #[prost(string, tag = "2")]
        pub password: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct AuthenticateResponse {
        #[prost(string, tag = "2")]
        pub token: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct WatchRequest {
        #[prost(oneof = "watch_request::Request", tags = "1")]
        pub request: Option<watch_request::Request>,
    }

    pub mod watch_request {
        #[derive(Clone, PartialEq, prost::Oneof)]
        pub enum Request {
            #[prost(message, tag = "1")]
            Create(super::WatchCreate),
        }
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct WatchCreate {
        #[prost(bytes = "vec", tag = "1")]
        pub key: Vec<u8>,
        #[prost(bytes = "vec", tag = "2")]
        pub range_end: Vec<u8>,
        #[prost(int64, tag = "3")]
        pub start_revision: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct WatchResponse {
        #[prost(message, optional, tag = "1")]
        pub header: Option<Header>,
        #[prost(bool, tag = "3")]
        pub created: bool,
        #[prost(message, repeated, tag = "11")]
        pub events: Vec<Event>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Event {
        /// 0 for a put, 1 for a delete.
        #[prost(int32, tag = "1")]
        pub kind: i32,
        #[prost(message, optional, tag = "2")]
        pub kv: Option<KeyValue>,
    }
}

/// The end of the range that holds everything that begins with `prefix`.
pub fn prefix_end(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    *end.last_mut().expect("a prefix that is not empty") += 1;
    end
}

/// Puts `value` at `key`.
pub fn put(key: &str, value: impl AsRef<[u8]>) -> Operation {
    put_bytes(key.as_bytes(), value)
}

/// The same at a key that need not be text.
pub fn put_bytes(key: &[u8], value: impl AsRef<[u8]>) -> Operation {
    let request = PutRequest { key: key.to_vec(), value: value.as_ref().to_vec(), lease: 0 };
    Operation { request: Some(operation::Request::Put(request)) }
}

/// Deletes `key`.
pub fn delete(key: &str) -> Operation {
    let request = DeleteRequest { key: key.into(), range_end: Vec::new() };
    Operation { request: Some(operation::Request::Delete(request)) }
}

/// Deletes everything that begins with `prefix`.
pub fn delete_prefix(prefix: &str) -> Operation {
    let request = DeleteRequest { key: prefix.into(), range_end: prefix_end(prefix) };
    Operation { request: Some(operation::Request::Delete(request)) }
}

/// A connection. Its calls panic when they fail, but for those that say otherwise.
pub struct Client {
    runtime: Arc<Runtime>,
    grpc: Grpc<Channel>,
    token: Option<AsciiMetadataValue>,
}

impl Client {
    /// Connects when it is first used, to any of the endpoints, and again after each loss.
    pub fn new(endpoints: &[String], tls: Option<&TlsFiles>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let tls = tls.map(|files| {
            let read = |path| fs::read(path).unwrap();
            ClientTlsConfig::new()
                .ca_certificate(Certificate::from_pem(read(&files.ca)))
                .identity(Identity::from_pem(read(&files.cert), read(&files.key)))
                .domain_name("localhost")
        });
        let endpoints = endpoints.iter().map(|endpoint| {
            let endpoint = Endpoint::from_shared(endpoint.clone()).unwrap();
            let endpoint = endpoint.timeout(Duration::from_secs(10)).tcp_nodelay(true);
            tls.clone().map_or(endpoint.clone(), |tls| endpoint.tls_config(tls).unwrap())
        });
        let channel = runtime.block_on(async { Channel::balance_list(endpoints) });
        let grpc = Grpc::new(channel).max_decoding_message_size(64 << 20).max_encoding_message_size(64 << 20);
        Self { runtime: Arc::new(runtime), grpc, token: None }
    }

    /// Logs in: later calls are made as this user.
    pub fn log_in(&mut self, name: &str, password: &str) {
        let request = AuthenticateRequest { name: name.into(), password: password.into() };
        let reply: AuthenticateResponse = self.call("Auth/Authenticate", request);
        self.token = Some(reply.token.parse().unwrap());
    }

    /// Gives a user another password, which ends what was logged in with the old one.
    pub fn change_password(&self, name: &str, password: &str) {
        let request = AuthenticateRequest { name: name.into(), password: password.into() };
        let _: Reply = self.call("Auth/UserChangePassword", request);
    }

    /// Puts `value` at `key`; the revision.
    pub fn put(&self, key: &str, value: impl AsRef<[u8]>) -> i64 {
        self.txn(vec![put(key, value)])
    }

    /// Deletes `key`.
    pub fn delete(&self, key: &str) -> i64 {
        self.txn(vec![delete(key)])
    }

    /// All of these in one transaction; the revision.
    #[track_caller]
    pub fn txn(&self, operations: Vec<Operation>) -> i64 {
        self.try_txn(operations).unwrap()
    }

    /// The same, while the cluster may be unwell.
    pub fn try_txn(&self, operations: Vec<Operation>) -> Result<i64, Status> {
        let reply: Reply = self.try_call("KV/Txn", TxnRequest { success: operations })?;
        Ok(reply.header.unwrap_or_default().revision)
    }

    /// Each of these by itself, some at a time on the way, so that they arrive in almost any order.
    pub fn pipeline(&self, transactions: impl IntoIterator<Item = Vec<Operation>>) {
        const AT_A_TIME: usize = 64;
        self.runtime.block_on(async {
            let mut under_way = std::collections::VecDeque::new();
            for success in transactions {
                let mut grpc = self.grpc.clone();
                let request = self.request(TxnRequest { success });
                under_way.push_back(tokio::spawn(async move { unary::<_, Reply>(&mut grpc, "KV/Txn", request).await }));
                if under_way.len() == AT_A_TIME {
                    under_way.pop_front().unwrap().await.unwrap().unwrap();
                }
            }
            for call in under_way {
                call.await.unwrap().unwrap();
            }
        });
    }

    /// Everything that begins with `prefix`, in the order of the keys.
    pub fn prefix(&self, prefix: &str) -> Vec<(String, String)> {
        let request = RangeRequest { key: prefix.into(), range_end: prefix_end(prefix) };
        let reply: RangeResponse = self.call("KV/Range", request);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        reply.kvs.into_iter().map(|kv| (text(kv.key), text(kv.value))).collect()
    }

    /// A new lease of this many seconds; its id.
    pub fn lease(&self, seconds: i64) -> i64 {
        let reply: LeaseGrantResponse = self.call("Lease/LeaseGrant", LeaseGrantRequest { ttl: seconds });
        reply.id
    }

    /// Puts a value that ends with its lease.
    pub fn put_with_lease(&self, key: &str, value: &str, lease: i64) {
        let _: Reply = self.call("KV/Put", PutRequest { key: key.into(), value: value.into(), lease });
    }

    /// Ends a lease, and all that was put with it.
    pub fn revoke(&self, lease: i64) {
        let _: Reply = self.call("Lease/LeaseRevoke", LeaseRevokeRequest { id: lease });
    }

    /// Forgets the history up to `revision`.
    pub fn compact(&self, revision: i64) {
        let _: Reply = self.call("KV/Compact", CompactRequest { revision, physical: true });
    }

    /// Watches all that begins with `prefix` from now on: each frame of events, as it comes.
    pub fn watch(&self, prefix: &str) -> mpsc::UnboundedReceiver<WatchResponse> {
        let create = WatchCreate { key: prefix.into(), range_end: prefix_end(prefix), start_revision: 0 };
        let request = WatchRequest { request: Some(watch_request::Request::Create(create)) };
        let (frames, receiver) = mpsc::unbounded_channel();
        let mut grpc = self.grpc.clone();
        // The stream of requests stays open, or the server would end the watch.
        let requests = self.request(()).map(|()| tokio_stream::once(request).chain(tokio_stream::pending()));
        let (ready, created) = std::sync::mpsc::channel();
        self.runtime.spawn(async move {
            let mut stream = streaming(&mut grpc, "Watch/Watch", requests).await.unwrap();
            while let Some(Ok(frame)) = stream.next().await {
                let done = if frame.created { ready.send(()).is_err() } else { frames.send(frame).is_err() };
                if done {
                    return;
                }
            }
        });
        created.recv().unwrap();
        receiver
    }

    #[track_caller]
    fn call<Q, A>(&self, method: &str, request: Q) -> A
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        self.try_call(method, request).unwrap_or_else(|status| panic!("etcd {method}: {status}"))
    }

    fn try_call<Q, A>(&self, method: &str, request: Q) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = self.grpc.clone();
        self.runtime.block_on(unary(&mut grpc, method, self.request(request)))
    }

    fn request<Q>(&self, message: Q) -> Request<Q> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("token", token.clone());
        }
        request
    }
}

fn method_path(method: &str) -> PathAndQuery {
    format!("/etcdserverpb.{method}").parse().unwrap()
}

async fn unary<Q, A>(grpc: &mut Grpc<Channel>, method: &str, request: Request<Q>) -> Result<A, Status>
where
    Q: Message + 'static,
    A: Message + Default + 'static,
{
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    Ok(grpc.unary(request, method_path(method), ProstCodec::default()).await?.into_inner())
}

async fn streaming<S>(
    grpc: &mut Grpc<Channel>,
    method: &str,
    requests: Request<S>,
) -> Result<tonic::Streaming<WatchResponse>, Status>
where
    S: Stream<Item = WatchRequest> + Send + 'static,
{
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    Ok(grpc.streaming(requests, method_path(method), ProstCodec::default()).await?.into_inner())
}
