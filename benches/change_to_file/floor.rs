//! The floor: a process that does what no sidecar can leave out, and nothing else.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use tonic::Request;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::tokio_stream::{self, StreamExt as _};
use tonic::transport::Endpoint;
use tonic_prost::ProstCodec;

use crate::support::etcd_client::message::{WatchCreate, WatchRequest, WatchResponse, watch_request};
use crate::support::etcd_client::prefix_end;

/// What it says on standard error when it watches.
pub(crate) const READY: &str = "floor watches";

/// Watches everything below `prefix` and writes each value, followed by what is in the file `body`, under the rest of
/// its key in `folder`. On one thread: to hand over costs time.
pub(crate) fn run(endpoint: &str, prefix: &str, folder: &str, body: Option<&str>) {
    let body = body.map(|file| fs::read(file).unwrap()).unwrap_or_default();
    let folder = Path::new(folder);
    let handle = File::open(folder).unwrap();
    let create = WatchCreate { key: prefix.into(), range_end: prefix_end(prefix), start_revision: 0 };
    let create = WatchRequest { request: Some(watch_request::Request::Create(create)) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let channel = Endpoint::from_shared(endpoint.to_owned()).unwrap().tcp_nodelay(true).connect().await.unwrap();
        let mut grpc = Grpc::new(channel);
        grpc.ready().await.unwrap();
        let requests = Request::new(tokio_stream::once(create).chain(tokio_stream::pending()));
        let method = PathAndQuery::from_static("/etcdserverpb.Watch/Watch");
        let stream = grpc.streaming(requests, method, ProstCodec::default()).await.unwrap();
        let mut stream: tonic::Streaming<WatchResponse> = stream.into_inner();
        while let Some(frame) = stream.message().await.unwrap() {
            if frame.created {
                eprintln!("{READY}");
            }
            for kv in frame.events.into_iter().filter_map(|event| event.kv) {
                let name = std::str::from_utf8(&kv.key[prefix.len()..]).unwrap();
                write(folder, &handle, name, &[&kv.value, &body]);
            }
        }
    });
}

/// Replaces a file and sees that it survives a power cut.
pub(crate) fn write(folder: &Path, handle: &File, name: &str, parts: &[&[u8]]) {
    let new = folder.join(format!(".{name}.new"));
    let mut file = File::create(&new).unwrap();
    for part in parts {
        file.write_all(part).unwrap();
    }
    file.sync_all().unwrap();
    fs::rename(new, folder.join(name)).unwrap();
    handle.sync_all().unwrap();
}
