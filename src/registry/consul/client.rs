//! Sends reads to Consul over a bounded number of connections.
//!
//! Consul closes the 200th connection from one address without a word, so the bound has to be exact, which the pools
//! of ready-made clients do not promise: they open a connection beside the one that they wait for. Over HTTP/1.1 a
//! connection carries one read at a time; over HTTP/2, which Consul speaks over TLS, it carries many.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::config::Config;
use super::connect::{Connector, Opened};
use super::failure::{Failure, judge, with_causes};

/// Reads that one HTTP/2 connection carries at a time: what RFC 9113 recommends every server to allow.
const STREAMS: usize = 100;

/// The largest body that is read. Consul's values are at most 512 KiB each.
const LARGEST_BODY: usize = 256 << 20;

/// A client of one Consul.
pub(super) struct Client {
    connector: Connector,
    path: String,
    authority: String,
    token: watch::Receiver<Option<HeaderValue>>,
    limit: Arc<Limit>,
    /// The silence that a body may hold.
    patience: Duration,
    probe_interval: Duration,
    connections: Mutex<Connections>,
    /// Held by whoever opens a connection that others may share.
    opening: tokio::sync::Mutex<()>,
    /// When a whole answer last came.
    heard: Mutex<Option<Instant>>,
    /// What may be wrong when a connection ends before the first answer.
    suspicion: Option<&'static str>,
}

/// How many connections there may be, and are.
struct Limit {
    max_connections: usize,
    /// All that are open or being opened.
    open: AtomicUsize,
    /// Rings when a connection, or a place for one, may be free.
    free: Notify,
}

#[derive(Default)]
struct Connections {
    /// HTTP/1.1 without a read.
    idle: Vec<Single>,
    shared: Vec<Shared>,
    /// Whether the last connection speaks HTTP/2; unknown before the first.
    http2: Option<bool>,
}

/// An HTTP/1.1 connection.
struct Single {
    sender: http1::SendRequest<Empty<Bytes>>,
    task: Task,
    _place: Place,
}

/// An HTTP/2 connection; whoever reads over it holds a clone.
#[derive(Clone)]
struct Shared {
    sender: http2::SendRequest<Empty<Bytes>>,
    connection: Arc<(Task, Place)>,
}

/// What moves the bytes of a connection, until it is dropped.
struct Task {
    /// Why it ended.
    ended: watch::Receiver<Option<String>>,
    _handle: AbortOnDropHandle<()>,
}

impl Task {
    fn spawn(connection: impl Future<Output = hyper::Result<()>> + Send + 'static) -> Self {
        let (end, ended) = watch::channel(None);
        let task = async move {
            if let Err(error) = connection.await {
                end.send_replace(Some(with_causes(&error)));
            }
        };
        Self { ended, _handle: AbortOnDropHandle::new(tokio::spawn(task)) }
    }

    /// Why it ended, if that is known soon.
    async fn reason(&self) -> Option<String> {
        const SOON: Duration = Duration::from_millis(100);
        let mut ended = self.ended.clone();
        let reason = async { ended.wait_for(Option::is_some).await.ok()?.clone() };
        timeout(SOON, reason).await.ok().flatten()
    }
}

/// One of the allowed connections; dropped, another may be opened.
struct Place(Arc<Limit>);

impl Limit {
    fn place(self: &Arc<Self>) -> Option<Place> {
        let more = |open| (open < self.max_connections).then_some(open + 1);
        self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok().then(|| Place(self.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        self.0.free.notify_one();
    }
}

/// An answer as it came.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// From the head to the end of the body.
    pub(super) transfer: Duration,
}

impl Client {
    /// A client without a connection. Reads the certificates.
    pub(super) fn new(config: &Config, token: watch::Receiver<Option<HeaderValue>>) -> Result<Arc<Self>, String> {
        Ok(Arc::new(Self {
            connector: Connector::new(config)?,
            path: config.address.path.clone(),
            authority: config.address.authority.clone(),
            token,
            limit: Arc::new(Limit {
                max_connections: config.max_connections,
                open: AtomicUsize::new(0),
                free: Notify::new(),
            }),
            patience: config.clocks.request_timeout,
            probe_interval: config.clocks.probe_interval,
            connections: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
            heard: Mutex::default(),
            // TLS 1.3 tells after the handshake, and what it tells is lost when we write at the time.
            suspicion: (config.address.is_tls() && config.cert_file.is_none())
                .then_some("if Consul asks for a certificate, set `cert_file` and `key_file`"),
        }))
    }

    /// Reads that can be under way at a time; known once one was answered.
    pub(super) fn capacity(&self) -> usize {
        let each = if self.lock().http2 == Some(true) { STREAMS } else { 1 };
        self.limit.max_connections * each
    }

    /// The token as it changes.
    pub(super) fn token(&self) -> watch::Receiver<Option<HeaderValue>> {
        self.token.clone()
    }

    /// Closes the connections that nobody reads from: they may be as dead as one that just failed.
    pub(super) fn forget(&self) {
        let mut connections = self.lock();
        connections.idle.clear();
        connections.shared.clear();
    }

    /// Sends one read; its head has to come within `within`. `target` is what follows `/v1/`.
    pub(super) async fn get(&self, target: &str, within: Duration) -> Result<Reply, Failure> {
        let silent = || Failure::Away(format!("no answer within {}", humantime::format_duration(within)));
        match self.connection().await? {
            Connection::Single(mut single) => {
                let request = self.request(target, false)?;
                let sent = timeout(within, single.sender.send_request(request)).await.map_err(|_| silent())?;
                let reply = match sent {
                    Ok(response) => self.receive(response).await?,
                    Err(error) => return Err(self.explain(&error, &single.task).await),
                };
                if !single.sender.is_closed() {
                    self.lock().idle.push(single);
                    self.limit.free.notify_one();
                }
                Ok(reply)
            }
            Connection::Shared(mut shared) => {
                let request = self.request(target, true)?;
                let sent = timeout(within, shared.sender.send_request(request)).await.map_err(|_| silent())?;
                let reply = match sent {
                    Ok(response) => self.receive(response).await,
                    Err(error) => Err(self.explain(&error, &shared.connection.0).await),
                };
                drop(shared);
                self.limit.free.notify_one();
                reply
            }
        }
    }

    fn request(&self, target: &str, http2: bool) -> Result<Request<Empty<Bytes>>, Failure> {
        // HTTP/2 carries the host in the address, HTTP/1.1 in a header.
        let uri = format!("{}/v1/{target}", self.path);
        let mut request = if http2 {
            Request::get(format!("https://{}{uri}", self.authority))
        } else {
            Request::get(uri).header(HOST, &self.authority)
        }
        .header(ACCEPT, "application/json")
        .header(USER_AGENT, concat!("liveconf/", env!("CARGO_PKG_VERSION")));
        if let Some(token) = &*self.token.borrow() {
            request = request.header("x-consul-token", token);
        }
        request.body(Empty::new()).map_err(|error| Failure::Refused(with_causes(&error)))
    }

    /// Asks whether Consul is there and has a leader, which needs no right.
    pub(super) async fn probe(&self) -> Result<(), Failure> {
        let reply = self.get("status/leader", self.patience).await?;
        match (reply.status.as_u16(), reply.body.trim_ascii()) {
            (200, b"\"\"") => Err(Failure::Leaderless("`status/leader` names none".to_owned())),
            // A proxy may let through only what templates ask for.
            (200, [b'"', ..]) | (401 | 403 | 404, _) => Ok(()),
            (200, _) => Err(Failure::NotConsul("`status/leader` is answered otherwise than Consul does".to_owned())),
            _ => match judge(reply.status, &reply.headers, &reply.body, false) {
                Err(failure) => Err(failure),
                Ok(_) => Ok(()),
            },
        }
    }

    /// Asks that whenever nothing was heard for a while, for as long as Consul is there.
    pub(super) async fn watch_over(&self) -> Failure {
        loop {
            let at = self.heard().unwrap_or_else(Instant::now) + self.probe_interval;
            if Instant::now() < at {
                sleep_until(at).await;
                continue;
            }
            let start = Instant::now();
            let Err(failure) = self.probe().await else { continue };
            // An idle connection may have been closed long ago; whoever is silent is asked once only.
            if !matches!(failure, Failure::Away(_)) || start.elapsed() > self.patience / 2 {
                return failure;
            }
            self.forget();
            if let Err(failure) = self.probe().await {
                return failure;
            }
        }
    }

    /// Why a read failed that was sent over a connection, which may know more of it.
    async fn explain(&self, error: &hyper::Error, connection: &Task) -> Failure {
        let reason = connection.reason().await.unwrap_or_else(|| with_causes(error));
        match self.suspicion.filter(|_| self.heard().is_none()) {
            Some(suspicion) => Failure::Away(format!("{reason} ({suspicion})")),
            None => Failure::Away(reason),
        }
    }

    fn heard(&self) -> Option<Instant> {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn receive(&self, response: Response<Incoming>) -> Result<Reply, Failure> {
        let lost = |error: hyper::Error| Failure::Away(with_causes(&error));
        let (head, mut body) = response.into_parts();
        let start = Instant::now();
        let mut whole = BytesMut::new();
        loop {
            let frame = timeout(self.patience, body.frame())
                .await
                .map_err(|_| Failure::Away("the answer stopped before its end".to_owned()))?;
            let Some(frame) = frame else { break };
            if let Ok(data) = frame.map_err(lost)?.into_data() {
                if whole.len() + data.len() > LARGEST_BODY {
                    return Err(Failure::Unreadable(format!("the answer is larger than {} MiB", LARGEST_BODY >> 20)));
                }
                whole.extend_from_slice(&data);
            }
        }
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        Ok(Reply { status: head.status, headers: head.headers, body: whole.freeze(), transfer: start.elapsed() })
    }

    /// A connection to send over: one that is open, else a new one, else the next that is free.
    async fn connection(&self) -> Result<Connection, Failure> {
        loop {
            // In line before looking, so that nothing that becomes free in between is missed.
            let mut free = std::pin::pin!(self.limit.free.notified());
            free.as_mut().enable();
            if let Some(connection) = self.reuse().await {
                return Ok(connection);
            }
            // Others may share it, so only one opens; the first of all tells.
            let alone = self.lock().http2 != Some(false);
            let turn = if alone { Some(self.opening.lock().await) } else { None };
            if alone && let Some(connection) = self.reuse().await {
                return Ok(connection);
            }
            if let Some(place) = self.limit.place() {
                return self.open(place).await;
            }
            drop(turn);
            free.await;
        }
    }

    async fn reuse(&self) -> Option<Connection> {
        loop {
            let found = {
                let mut connections = self.lock();
                connections.shared.retain(|shared| !shared.sender.is_closed());
                connections.idle.pop().map(Connection::Single).or_else(|| {
                    // One more than its readers hold it: the pool.
                    let has_room = |shared: &&Shared| Arc::strong_count(&shared.connection) <= STREAMS;
                    connections.shared.iter().find(has_room).cloned().map(Connection::Shared)
                })
            };
            let mut connection = found?;
            let ready = match &mut connection {
                Connection::Single(single) => single.sender.ready().await.is_ok(),
                Connection::Shared(shared) => shared.sender.ready().await.is_ok(),
            };
            if ready {
                return Some(connection);
            }
        }
    }

    async fn open(&self, place: Place) -> Result<Connection, Failure> {
        let Opened { stream, http2 } = self.connector.open().await?;
        let lost = |error: hyper::Error| Failure::Away(with_causes(&error));
        let io = TokioIo::new(stream);
        if http2 {
            let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .adaptive_window(true)
                .keep_alive_interval(self.probe_interval)
                .keep_alive_timeout(self.patience)
                .handshake(io)
                .await
                .map_err(lost)?;
            let shared = Shared { sender, connection: Arc::new((Task::spawn(connection), place)) };
            let mut connections = self.lock();
            connections.http2 = Some(true);
            connections.shared.push(shared.clone());
            drop(connections);
            self.limit.free.notify_waiters();
            Ok(Connection::Shared(shared))
        } else {
            let (sender, connection) = http1::handshake(io).await.map_err(lost)?;
            self.lock().http2 = Some(false);
            Ok(Connection::Single(Single { sender, task: Task::spawn(connection), _place: place }))
        }
    }

    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Connection {
    Single(Single),
    Shared(Shared),
}
