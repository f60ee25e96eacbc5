//! A proxy in front of a real etcd that does to the watch stream what real servers do once in a blue moon.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes};
use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt};
use prost::Message;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::Service;
use tonic::codegen::http;
use tonic::server::StreamingService;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

use super::port;
use super::runtime::runtime;

/// What the server says on the watch stream; events are passed on as they are.
#[derive(Clone, PartialEq, Message)]
pub struct WatchResponse {
    #[prost(message, optional, tag = "1")]
    pub header: Option<Header>,
    #[prost(int64, tag = "2")]
    pub watch_id: i64,
    #[prost(bool, tag = "3")]
    pub created: bool,
    #[prost(bool, tag = "4")]
    pub canceled: bool,
    #[prost(int64, tag = "5")]
    pub compact_revision: i64,
    #[prost(string, tag = "6")]
    pub cancel_reason: String,
    #[prost(bool, tag = "7")]
    pub fragment: bool,
    #[prost(bytes = "vec", repeated, tag = "11")]
    pub events: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Header {
    #[prost(uint64, tag = "1")]
    pub cluster_id: u64,
    #[prost(int64, tag = "3")]
    pub revision: i64,
}

/// How a member is, as far as it is looked at.
#[derive(Clone, PartialEq, Message)]
struct StatusResponse {
    #[prost(string, tag = "2")]
    version: String,
    #[prost(uint64, tag = "4")]
    leader: u64,
}

type Tamper = Box<dyn FnMut(WatchResponse) -> Vec<WatchResponse> + Send>;

/// A proxy that runs until it is dropped.
pub struct Proxy {
    pub endpoint: String,
    tamper: Arc<Mutex<Tamper>>,
    version: Arc<Mutex<Option<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    pub fn start(upstream: &str) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], port::free()));
        let tamper: Arc<Mutex<Tamper>> = Arc::new(Mutex::new(Box::new(|response| vec![response])));
        let version: Arc<Mutex<Option<String>>> = Arc::default();
        let _within = runtime().enter();
        let forward = Forward {
            upstream: Endpoint::from_shared(upstream.to_owned()).unwrap().connect_lazy(),
            tamper: tamper.clone(),
            version: version.clone(),
            path: String::new(),
        };
        let task = runtime().spawn(async move { Server::builder().serve(address, forward).await.unwrap() });
        Self { endpoint: format!("http://{address}"), tamper, version, task }
    }

    /// From now on each response on the watch stream becomes these.
    pub fn tamper(&self, tamper: impl FnMut(WatchResponse) -> Vec<WatchResponse> + Send + 'static) {
        *self.tamper.lock().unwrap() = Box::new(tamper);
    }

    /// Lets the server say that it is of this version.
    pub fn claim_version(&self, version: &str) {
        *self.version.lock().unwrap() = Some(version.to_owned());
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Every call is a stream of messages that nobody looks into, but for those of the watch.
#[derive(Clone)]
struct Forward {
    upstream: Channel,
    tamper: Arc<Mutex<Tamper>>,
    version: Arc<Mutex<Option<String>>>,
    path: String,
}

impl Service<http::Request<Body>> for Forward {
    type Response = http::Response<Body>;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let forward = Self { path: request.uri().path().to_owned(), ..self.clone() };
        Box::pin(async move { Ok(tonic::server::Grpc::new(Raw).streaming(forward, request).await) })
    }
}

impl StreamingService<Bytes> for Forward {
    type Response = Bytes;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Self::ResponseStream>, Status>> + Send>>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let Self { upstream, tamper, version, path } = self.clone();
        Box::pin(async move {
            let mut grpc = tonic::client::Grpc::new(upstream);
            grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            let (metadata, extensions, messages) = request.into_parts();
            let messages = messages.filter_map(|message| std::future::ready(message.ok()));
            let request = Request::from_parts(metadata, extensions, messages);
            let is_watch = path.ends_with("/Watch");
            let version = version.lock().unwrap().clone().filter(|_| path.ends_with("/Status"));
            let response = grpc.streaming(request, path.parse().unwrap(), Raw).await?;
            Ok(response.map(|messages| -> Self::ResponseStream {
                if let Some(version) = version {
                    return Box::pin(messages.map(move |message| {
                        let status = StatusResponse::decode(message?).unwrap();
                        Ok(StatusResponse { version: version.clone(), ..status }.encode_to_vec().into())
                    }));
                }
                if !is_watch {
                    return Box::pin(messages);
                }
                Box::pin(messages.flat_map(move |message| {
                    let messages: Vec<Result<Bytes, Status>> = match message {
                        Ok(message) => {
                            let response = WatchResponse::decode(message).unwrap();
                            let responses = (tamper.lock().unwrap())(response);
                            responses.into_iter().map(|response| Ok(response.encode_to_vec().into())).collect()
                        }
                        Err(status) => vec![Err(status)],
                    };
                    futures_util::stream::iter(messages)
                }))
            }))
        })
    }
}

/// Messages as they are.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
