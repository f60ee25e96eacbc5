//! A TCP proxy that does to connections what networks and servers do on a bad day: it delays, slices, cuts in the middle
//! of a message, resets, hangs, loses one direction. It counts what it did, so that a test can show that it happened.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::port;
use super::runtime::runtime;

/// What the way to the server is like. A change holds for connections that are open as well as for those to come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// How long a byte is under way, in each direction.
    pub delay: Duration,
    /// How many bytes a second come from the server on one connection.
    pub bytes_per_second: u32,
    /// The most bytes that are passed on at once, in each direction.
    pub slice: usize,
    /// How long a connection lasts before it is closed.
    pub lasts: Duration,
    /// What the client sends does not arrive; it does when this ends, as after lost packets.
    pub loses_requests: bool,
    /// What the server sends does not arrive; it does when this ends.
    pub loses_responses: bool,
    /// What becomes of new connections.
    pub door: Door,
}

/// What becomes of new connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// They lead to the server.
    Open,
    /// They are taken and lead nowhere.
    Silent,
    /// Nobody listens.
    Closed,
}

impl Default for Link {
    /// As good as none.
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            bytes_per_second: u32::MAX,
            slice: usize::MAX,
            lasts: Duration::from_secs(24 * 3600),
            loses_requests: false,
            loses_responses: false,
            door: Door::Open,
        }
    }
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// In order, at whatever place of a message.
    Close,
    /// With a reset.
    Reset,
}

/// What the proxy has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that were taken.
    pub connections: u64,
    /// Those of them that led nowhere.
    pub silent: u64,
    /// Connections that are open.
    pub open: u64,
    /// Connections that the proxy ended, by a cut or by their age.
    pub cuts: u64,
    /// Bytes that arrived at the server.
    pub to_server: u64,
    /// Bytes that arrived at the client.
    pub to_client: u64,
    /// Bytes that were lost until the link was well again, or for good.
    pub lost: u64,
}

/// A proxy in front of a server of the loopback, until it is dropped.
pub struct Proxy {
    address: SocketAddrV4,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    /// Where new connections lead to.
    server_port: AtomicU16,
    link: watch::Sender<Link>,
    /// After so many more bytes to clients the connection of the last of them ends.
    fuse: Mutex<Option<(u64, End)>>,
    /// Each change ends all connections.
    end: watch::Sender<End>,
    counts: Mutex<Counts>,
    /// The first that clients said.
    heard: Mutex<Vec<u8>>,
}

/// How much of what clients say is kept.
const HEARD: usize = 1 << 20;

impl Proxy {
    /// In front of this port, through a link as good as none.
    pub fn start(server_port: u16) -> Self {
        Self::with(server_port, Link::default())
    }

    /// The same through a link.
    pub fn with(server_port: u16, link: Link) -> Self {
        Self::at(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port::free()), server_port, link)
    }

    /// The same at an address of this machine.
    pub fn at(address: SocketAddrV4, server_port: u16, link: Link) -> Self {
        let shared = Arc::new(Shared {
            server_port: AtomicU16::new(server_port),
            link: watch::Sender::new(link),
            fuse: Mutex::default(),
            end: watch::Sender::new(End::Close),
            counts: Mutex::default(),
            heard: Mutex::default(),
        });
        let listener = (link.door != Door::Closed).then(|| runtime().block_on(listen(address)));
        let task = runtime().spawn(serve(listener, address, Arc::clone(&shared)));
        Self { address, shared, task }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The same as the address of a server that speaks HTTP.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on new connections lead to this port of the loopback.
    pub fn lead_to(&self, server_port: u16) {
        self.shared.server_port.store(server_port, Ordering::Relaxed);
    }

    /// What clients said, the first megabyte of it.
    pub fn heard(&self) -> Vec<u8> {
        self.shared.heard.lock().unwrap().clone()
    }

    /// From now on the link is like this.
    pub fn set(&self, link: Link) {
        self.shared.link.send_replace(link);
    }

    /// After so many more bytes to clients the connection that they come on ends, once.
    pub fn cut_after(&self, bytes: u64, end: End) {
        *self.shared.fuse.lock().unwrap() = Some((bytes, end));
    }

    /// Ends all connections that are open.
    pub fn cut(&self, end: End) {
        self.shared.end.send_replace(end);
    }

    /// What it has done until now.
    pub fn counts(&self) -> Counts {
        *self.shared.counts.lock().unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(address: SocketAddrV4) -> TcpListener {
    TcpListener::bind(address).await.unwrap()
}

async fn serve(mut listener: Option<TcpListener>, address: SocketAddrV4, shared: Arc<Shared>) {
    let mut link = shared.link.subscribe();
    let mut connections = JoinSet::new();
    loop {
        let door = link.borrow_and_update().door;
        match (&listener, door) {
            (Some(_), Door::Closed) => listener = None,
            (None, Door::Open | Door::Silent) => listener = Some(listen(address).await),
            _ => {}
        }
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            accepted = accepted => {
                if let Ok((client, _)) = accepted {
                    connections.spawn(connect(client, Arc::clone(&shared)));
                }
            }
            changed = link.changed() => if changed.is_err() { return },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Carries one connection to its end.
async fn connect(mut client: TcpStream, shared: Arc<Shared>) {
    let mut ends = shared.end.subscribe();
    let link = *shared.link.borrow();
    shared.count(|counts| {
        counts.connections += 1;
        counts.open += 1;
        counts.silent += u64::from(link.door == Door::Silent);
    });
    let carried = async {
        if link.door == Door::Silent {
            std::future::pending::<()>().await;
        }
        let server_port = shared.server_port.load(Ordering::Relaxed);
        let Ok(mut server) = TcpStream::connect(("127.0.0.1", server_port)).await else { return None };
        client.set_nodelay(true).ok();
        server.set_nodelay(true).ok();
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let requests = carry(from_client, to_server, Way::ToServer, &shared);
        let responses = carry(from_server, to_client, Way::ToClient, &shared);
        both(requests, responses).await
    };
    let end = tokio::select! {
        carried = timeout(link.lasts, carried) => carried.unwrap_or(Some(End::Close)),
        _ = ends.changed() => Some(*ends.borrow()),
    };
    shared.count(|counts| {
        counts.open -= 1;
        counts.cuts += u64::from(end.is_some());
    });
    if end == Some(End::Reset) {
        // Closing with something to linger over sends a reset.
        set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
    }
}

/// Waits for the end of both directions, or for the first that breaks.
async fn both(
    first: impl Future<Output = Result<(), Option<End>>>,
    second: impl Future<Output = Result<(), Option<End>>>,
) -> Option<End> {
    let (mut first, mut second) = (std::pin::pin!(first), std::pin::pin!(second));
    let result = tokio::select! {
        result = &mut first => match result {
            Ok(()) => second.await,
            broken => broken,
        },
        result = &mut second => match result {
            Ok(()) => first.await,
            broken => broken,
        },
    };
    result.err().flatten()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    ToServer,
    ToClient,
}

impl Way {
    fn is_lost(self, link: &Link) -> bool {
        match self {
            Self::ToServer => link.loses_requests,
            Self::ToClient => link.loses_responses,
        }
    }
}

/// Carries bytes one way until that way ends in order; an error is the end of the connection, and who caused it if that
/// was the proxy.
async fn carry(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, way: Way, shared: &Shared) -> Result<(), Option<End>> {
    let (sender, mut under_way) = mpsc::channel::<(Instant, Vec<u8>)>(64);
    let read = async {
        let mut buffer = vec![0; 16 << 10];
        loop {
            let length = from.read(&mut buffer).await.map_err(|_| None)?;
            let delay = shared.link.borrow().delay;
            if length == 0 || sender.send((Instant::now() + delay, buffer[..length].to_vec())).await.is_err() {
                break;
            }
        }
        drop(sender);
        Ok(())
    };
    let write = async {
        while let Some((due, bytes)) = under_way.recv().await {
            sleep_until(due).await;
            shared.pass(&mut to, &bytes, way).await?;
        }
        to.shutdown().await.map_err(|_| None)
    };
    tokio::try_join!(read, write).map(drop)
}

impl Shared {
    fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock().unwrap());
    }

    /// Passes bytes on as the link does now.
    async fn pass(&self, to: &mut WriteHalf<'_>, mut bytes: &[u8], way: Way) -> Result<(), Option<End>> {
        let mut links = self.link.subscribe();
        if way == Way::ToServer {
            let mut heard = self.heard.lock().unwrap();
            let room = HEARD.saturating_sub(heard.len()).min(bytes.len());
            heard.extend_from_slice(&bytes[..room]);
        }
        while !bytes.is_empty() {
            let link = *links.borrow_and_update();
            if way.is_lost(&link) {
                self.count(|counts| counts.lost += bytes.len() as u64);
                links.wait_for(|link| !way.is_lost(link)).await.map_err(|_| None)?;
                continue;
            }
            // A slow link gives a tenth of a second's bytes at a time.
            let rate = if way == Way::ToClient { link.bytes_per_second } else { u32::MAX };
            let most = link.slice.min((rate / 10).max(1) as usize).min(bytes.len());
            let (piece, end) = if way == Way::ToClient { self.burn(most) } else { (most, None) };
            to.write_all(&bytes[..piece]).await.map_err(|_| None)?;
            bytes = &bytes[piece..];
            self.count(|counts| match way {
                Way::ToServer => counts.to_server += piece as u64,
                Way::ToClient => counts.to_client += piece as u64,
            });
            if let Some(end) = end {
                // The other side has read what came before.
                sleep(Duration::from_millis(5)).await;
                return Err(Some(end));
            }
            if rate < u32::MAX {
                sleep(Duration::from_secs(1) * u32::try_from(piece).unwrap() / rate).await;
            } else if link.slice < usize::MAX {
                // Each piece is a packet of its own.
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    /// How many of these bytes may go, and the end that comes after them.
    fn burn(&self, bytes: usize) -> (usize, Option<End>) {
        let mut fuse = self.fuse.lock().unwrap();
        let Some((left, end)) = *fuse else { return (bytes, None) };
        let piece = usize::try_from(left).unwrap_or(usize::MAX).min(bytes);
        let left = left - piece as u64;
        *fuse = (left > 0).then_some((left, end));
        (piece, (left == 0).then_some(end))
    }
}
