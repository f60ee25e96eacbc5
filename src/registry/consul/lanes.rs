//! A bounded number of connections, each the only one of a client of its own: its lane.
//!
//! Consul closes connections beyond 200 from one address without a word, so the bound has to be exact. No pool of
//! connections promises one: it opens another while it waits for one to come back. So a pool here has one connection in
//! its life, and what is bounded is the number of pools. Over HTTP/1.1 a lane carries one read at a time; over HTTP/2,
//! which Consul speaks over TLS, it carries many.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use reqwest::{Request, Response, Version};
use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::connect::Connector;

/// Reads that one HTTP/2 connection carries at a time: what RFC 9113 recommends every server to allow.
const STREAMS: usize = 100;

/// How long a connection may take to be closed after its lane is gone. It takes microseconds, and nobody tells.
const CLOSING: Duration = Duration::from_millis(200);

/// The connections to one Consul.
pub(super) struct Lanes {
    connector: Connector,
    /// One for each connection that may be open; outlives an outage, since connections may close after it.
    places: Arc<Semaphore>,
    state: Mutex<State>,
    /// Rings when a lane may take another read.
    free: Notify,
}

#[derive(Default)]
struct State {
    /// Those that may take reads.
    lanes: Vec<Arc<Lane>>,
    /// Whether the last answer came over HTTP/2; unknown before the first.
    http2: Option<bool>,
}

/// A connection.
struct Lane {
    client: reqwest::Client,
    /// Those who read over it, or may.
    reads: AtomicUsize,
    /// What the server speaks over it, once it has answered.
    version: OnceLock<Version>,
    /// What it is taken for until then: what the last one spoke.
    http2: bool,
    place: Option<OwnedSemaphorePermit>,
}

impl Lane {
    /// Whether it carries many reads at a time.
    fn is_shared(&self) -> bool {
        self.version.get().map_or(self.http2, |version| *version == Version::HTTP_2)
    }

    fn reads(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }

    fn has_room(&self) -> bool {
        self.reads() < if self.is_shared() { STREAMS } else { 1 }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        let place = self.place.take();
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                tokio::time::sleep(CLOSING).await;
                drop(place);
            });
        }
    }
}

impl State {
    /// A lane with room, with one read more.
    fn find(&mut self) -> Option<Arc<Lane>> {
        let lane = self.lanes.iter().find(|lane| lane.has_room())?;
        lane.reads.fetch_add(1, Ordering::Relaxed);
        Some(lane.clone())
    }

    /// Another lane, with its first read.
    fn add(&mut self, client: reqwest::Client, place: OwnedSemaphorePermit) -> Arc<Lane> {
        let lane = Arc::new(Lane {
            client,
            reads: AtomicUsize::new(1),
            version: OnceLock::new(),
            http2: self.http2 == Some(true),
            place: Some(place),
        });
        self.lanes.push(lane.clone());
        lane
    }
}

impl Lanes {
    /// No connection yet, and never more than there are `places`.
    pub(super) fn new(connector: Connector, places: Arc<Semaphore>) -> Self {
        Self { connector, places, state: Mutex::default(), free: Notify::new() }
    }

    /// Reads that a connection carries at a time; known once one was answered.
    pub(super) fn streams(&self) -> usize {
        if locked(&self.state).http2 == Some(true) { STREAMS } else { 1 }
    }

    /// A turn to send one read: over a connection that has room, else a new one, else the next that has room.
    pub(super) async fn turn(&self) -> reqwest::Result<Turn<'_>> {
        loop {
            // In line before looking, so that nothing that becomes free in between is missed.
            let mut free = std::pin::pin!(self.free.notified());
            free.as_mut().enable();
            if let Some(lane) = locked(&self.state).find() {
                return Ok(Turn::new(self, lane));
            }
            tokio::select! {
                Ok(place) = self.places.clone().acquire_owned() => return self.open(place),
                () = free => {}
            }
        }
    }

    /// A lane in this place, unless one has got room in the meantime.
    fn open(&self, place: OwnedSemaphorePermit) -> reqwest::Result<Turn<'_>> {
        let mut state = locked(&self.state);
        let lane = match state.find() {
            Some(lane) => lane,
            None => state.add(self.connector.client()?, place),
        };
        Ok(Turn::new(self, lane))
    }

    /// How many connections there are that may be read from.
    pub(super) fn len(&self) -> usize {
        locked(&self.state).lanes.len()
    }

    /// Turns over new connections, as many as are missing until there are `wanted` and as there is place for.
    pub(super) fn add(&self, wanted: usize) -> Vec<Turn<'_>> {
        let mut state = locked(&self.state);
        let mut added = Vec::new();
        while state.lanes.len() < wanted
            && let Ok(place) = self.places.clone().try_acquire_owned()
            && let Ok(client) = self.connector.client()
        {
            added.push(state.add(client, place));
        }
        drop(state);
        added.into_iter().map(|lane| Turn::new(self, lane)).collect()
    }

    /// Closes connections that nobody reads from, until no more of them are left than `wanted`.
    pub(super) fn trim(&self, wanted: usize) {
        let mut idle = 0;
        locked(&self.state).lanes.retain(|lane| {
            idle += usize::from(lane.reads() == 0);
            lane.reads() > 0 || idle <= wanted
        });
    }

    /// Closes the connections that nobody reads from, and has nobody else read from those that many read from: they may
    /// be as dead as one that just failed.
    pub(super) fn forget(&self) {
        locked(&self.state).lanes.retain(|lane| lane.reads() > 0 && !lane.is_shared());
    }
}

/// One read's right to a lane.
pub(super) struct Turn<'a> {
    lanes: &'a Lanes,
    lane: Arc<Lane>,
    /// Whether the lane takes more reads if the turn ends here.
    reusable: bool,
}

impl<'a> Turn<'a> {
    fn new(lanes: &'a Lanes, lane: Arc<Lane>) -> Self {
        // A read that is given up closes its connection, unless others go over it.
        Self { lanes, reusable: lane.is_shared(), lane }
    }

    /// Whether nothing was answered over this lane so far.
    pub(super) fn is_first(&self) -> bool {
        self.lane.version.get().is_none()
    }

    /// Sends the read; gives the head of the answer.
    pub(super) async fn send(&self, request: Request) -> reqwest::Result<Response> {
        let response = self.lane.client.execute(request).await?;
        if self.lane.version.set(response.version()).is_ok() {
            locked(&self.lanes.state).http2 = Some(self.lane.is_shared());
            // There may be room for many now.
            self.lanes.free.notify_waiters();
        }
        Ok(response)
    }

    /// Ends the turn. After a `success`, which is a whole answer, more is read over the lane, otherwise not.
    pub(super) fn end(mut self, success: bool) {
        self.reusable = success;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.reusable {
            locked(&self.lanes.state).lanes.retain(|lane| !Arc::ptr_eq(lane, &self.lane));
        }
        self.lane.reads.fetch_sub(1, Ordering::Relaxed);
        self.lanes.free.notify_one();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::thread::{sleep, spawn};

    use rand::Rng;
    use tokio::task::JoinSet;
    use tokio::time::timeout;

    use super::*;
    use crate::registry::consul::client::Client;
    use crate::registry::consul::{Address, Config};

    /// A server that answers after a while, some times at great length, and some times closes the connection.
    struct Server {
        port: u16,
        /// The most connections that were open at a time, as the kernel counts them.
        most: Arc<AtomicUsize>,
        answered: Arc<AtomicUsize>,
    }

    impl Server {
        fn start() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let server =
                Self { port: listener.local_addr().unwrap().port(), most: Arc::default(), answered: Arc::default() };
            let (port, most, answered) = (server.port, server.most.clone(), server.answered.clone());
            spawn(move || {
                for stream in listener.incoming() {
                    most.fetch_max(established(port), Ordering::Relaxed);
                    let answered = answered.clone();
                    spawn(move || serve(stream.unwrap(), &answered));
                }
            });
            server
        }
    }

    /// Connections to a port that neither side has closed. The kernel's table is not read in one instant, so one may be
    /// counted beside the one that it replaces: it is read some times.
    fn established(port: u16) -> usize {
        (0..3).map(|_| listed(port)).min().unwrap_or_default()
    }

    fn listed(port: u16) -> usize {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let (port, established) = (format!(":{port:04X}"), "01");
        let is_one = |line: &&str| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            fields[1].ends_with(&port) && fields[3] == established
        };
        table.lines().filter(is_one).count()
    }

    fn serve(mut stream: TcpStream, answered: &AtomicUsize) {
        let mut head = Vec::new();
        let mut read = [0; 1024];
        while let Ok(length @ 1..) = stream.read(&mut read) {
            head.extend_from_slice(&read[..length]);
            if !head.ends_with(b"\r\n\r\n") {
                continue;
            }
            head.clear();
            let mut random = rand::rng();
            sleep(Duration::from_millis(random.random_range(0..8)));
            let body = "x".repeat([2, 100_000][random.random_range(0..2)]);
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            answered.fetch_add(1, Ordering::Relaxed);
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
            match random.random_range(0..10) {
                0 => return drop(stream.shutdown(std::net::Shutdown::Both)),
                1 => sleep(Duration::from_millis(5)),
                _ => {}
            }
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn there_are_never_more_connections_than_places() {
        const PLACES: usize = 5;
        let server = Server::start();
        let config = Config::new(Address::parse(&format!("127.0.0.1:{}", server.port), false).unwrap());
        let (_token, token) = tokio::sync::watch::channel(None);
        let client =
            Client::new(&config, token, Arc::new(Semaphore::new(PLACES)), crate::config::Limits::default()).unwrap();
        let mut readers = JoinSet::new();
        for _ in 0..20 {
            let client = client.clone();
            readers.spawn(async move {
                for round in 0..9 {
                    let read = client.get("x", Duration::from_secs(60));
                    if round % 3 == 0 {
                        // Given up, while waiting or before or after the head has come.
                        let patience = Duration::from_millis(rand::rng().random_range(0..40));
                        let _ = timeout(patience, read).await;
                    } else {
                        let _ = read.await;
                    }
                }
            });
        }
        readers.join_all().await;
        let (most, answered) = (server.most.load(Ordering::Relaxed), server.answered.load(Ordering::Relaxed));
        // Fewer may be seen at a time than there are: a reader is between two connections for a moment.
        assert!((2..=PLACES).contains(&most) && answered >= 20 * 6, "{most} connections, {answered} answers");
    }
}
