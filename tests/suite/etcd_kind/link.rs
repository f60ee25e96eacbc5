//! A network link to a real etcd: far away, narrow, or cut again and again.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::support::runtime::runtime;

/// What a link is like.
#[derive(Clone, Copy)]
pub struct Quality {
    /// How long a byte is under way, in each direction.
    pub delay: Duration,
    /// How many bytes a second come from the server on one connection.
    pub bytes_per_second: u32,
    /// How long a connection lasts.
    pub cut_after: Duration,
}

impl Default for Quality {
    /// As good as none.
    fn default() -> Self {
        Self { delay: Duration::ZERO, bytes_per_second: u32::MAX, cut_after: Duration::from_secs(3600) }
    }
}

/// A link that is there until it is dropped.
pub struct Link {
    pub endpoint: String,
    task: tokio::task::JoinHandle<()>,
}

impl Link {
    pub fn start(server_port: u16, quality: Quality) -> Self {
        let listener = runtime().block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let task = runtime().spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                connections.spawn(async move {
                    let Ok(server) = TcpStream::connect(("127.0.0.1", server_port)).await else { return };
                    let _ = tokio::time::timeout(quality.cut_after, connect(client, server, quality)).await;
                });
            }
        });
        Self { endpoint, task }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Carries bytes until one side ends.
async fn connect(client: TcpStream, server: TcpStream, quality: Quality) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = carry(from_client, to_server, Quality { bytes_per_second: u32::MAX, ..quality }) => {}
        () = carry(from_server, to_client, quality) => {}
    }
}

async fn carry(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    Quality { delay, bytes_per_second, .. }: Quality,
) {
    let (sender, mut under_way) = mpsc::channel::<(Instant, Vec<u8>)>(64);
    let read = async move {
        let mut buffer = vec![0; 4096];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            sleep(Duration::from_secs(1) * u32::try_from(length).unwrap() / bytes_per_second).await;
            if sender.send((Instant::now() + delay, buffer[..length].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((due, bytes)) = under_way.recv().await {
            sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(read, write);
}
