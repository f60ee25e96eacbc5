//! Sends reads to Consul, and asks whether it is there.

use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;
use reqwest::header::{CONNECTION, HeaderMap, HeaderValue};
use reqwest::{Method, Request, Response, StatusCode, Url};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::config::{Clocks, Config};
use super::connect::{Connector, Spent};
use super::failure::{Failure, judge, with_causes};
use super::lanes::{Lanes, Turn};
use super::request::Form;
use crate::config::Limits;
use crate::registry::limit;

/// Answered without any right.
const LEADER: &str = "status/leader";

/// What it means if a connection is closed while others are answered.
pub(super) const TOO_MANY: &str =
    "Consul closes connections beyond its `limits.http_max_conns_per_client`, by default 200 from one address";

/// A client of one Consul.
pub(super) struct Client {
    /// What stands before the names of the API.
    base: String,
    token: watch::Receiver<Option<HeaderValue>>,
    lanes: Lanes,
    max_connections: usize,
    limits: Limits,
    clocks: Clocks,
    is_tls: bool,
    has_certificate: bool,
    /// When a whole answer last came.
    heard: Mutex<Option<Instant>>,
    narrow: Mutex<Option<Narrow>>,
}

/// Consul does not take as many connections as we may open.
#[derive(Debug, Clone, Copy)]
struct Narrow {
    /// Those that we make do with.
    connections: usize,
    until: Instant,
    /// How often it was so again.
    times: u32,
}

/// What is sent.
#[derive(Debug, Clone)]
pub(super) struct Call<'a> {
    pub(super) method: Method,
    /// What follows `/v1/`.
    pub(super) target: &'a str,
    pub(super) body: Bytes,
}

impl<'a> Call<'a> {
    /// A read.
    fn get(target: &'a str) -> Self {
        Self { method: Method::GET, target, body: Bytes::new() }
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

/// Why there is no answer.
enum Lost {
    /// Nothing was sent: the connection of the lane was closed while nobody read from it.
    Spent,
    /// Nothing came, or no more, in time.
    Silent(Failure),
    /// There is no connection any more, or what came over it is of no use.
    Refused(Failure),
}

impl Reply {
    /// Whether the server takes us. One that does not may be one of several, and another connection may lead to another.
    fn is_served(&self) -> bool {
        self.status != StatusCode::TOO_MANY_REQUESTS
    }

    /// Whether the server closes the connection after it.
    fn is_last(&self) -> bool {
        self.headers.get(CONNECTION).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"))
    }
}

impl Client {
    /// A client without a connection, with one at most in each of `places`. Reads the certificates.
    pub(super) fn new(
        config: &Config,
        token: watch::Receiver<Option<HeaderValue>>,
        places: Arc<Semaphore>,
        limits: Limits,
    ) -> Result<Arc<Self>, String> {
        let name = config.tls_server_name.as_deref();
        Ok(Arc::new(Self {
            base: config.address.base(name).ok_or("`tls_server_name` is no host name")?,
            token,
            lanes: Lanes::new(Connector::new(config)?, places),
            max_connections: config.max_connections,
            limits,
            clocks: config.clocks,
            is_tls: config.address.is_tls(),
            has_certificate: config.cert_file.is_some(),
            heard: Mutex::default(),
            narrow: Mutex::default(),
        }))
    }

    /// Reads that can be under way at a time; known once one was answered.
    pub(super) fn capacity(&self) -> usize {
        let now = Instant::now();
        let narrow = self.narrow().filter(|narrow| now < narrow.until);
        let connections = narrow.map_or(self.max_connections, |narrow| narrow.connections);
        connections * self.lanes.streams()
    }

    /// Whether a connection carries many reads at a time, as far as that is known.
    pub(super) fn shares_connections(&self) -> bool {
        self.lanes.streams() > 1
    }

    /// The token as it changes.
    pub(super) fn token(&self) -> watch::Receiver<Option<HeaderValue>> {
        self.token.clone()
    }

    /// Closes connections that are not needed for so many `reads` at a time.
    pub(super) fn trim(&self, reads: usize) {
        self.lanes.trim(reads.div_ceil(self.lanes.streams()));
    }

    /// Closes the connections that nobody reads from: they may be as dead as one that just failed.
    pub(super) fn forget(&self) {
        self.lanes.forget();
    }

    /// Sends one read; its head has to come within `within`. `target` is what follows `/v1/`.
    pub(super) async fn get(&self, target: &str, within: Duration) -> Result<Reply, Failure> {
        self.call(&Call::get(target), within).await
    }

    /// Sends anything else in the same way; what was sent once is not sent again.
    pub(super) async fn call(&self, call: &Call<'_>, within: Duration) -> Result<Reply, Failure> {
        loop {
            let turn = self.lanes.turn().await.map_err(|error| Failure::Away(causes(&error)))?;
            match self.send(turn, call, within).await {
                Ok(reply) => return Ok(reply),
                Err(Lost::Spent) => {}
                Err(Lost::Silent(failure) | Lost::Refused(failure)) => return Err(failure),
            }
        }
    }

    /// Sends one call over a lane.
    async fn send(&self, turn: Turn<'_>, call: &Call<'_>, within: Duration) -> Result<Reply, Lost> {
        let result = self.exchange(&turn, call, within).await;
        turn.end(result.as_ref().is_ok_and(|reply| reply.is_served() && !reply.is_last()));
        result
    }

    async fn exchange(&self, turn: &Turn<'_>, call: &Call<'_>, within: Duration) -> Result<Reply, Lost> {
        let url = Url::parse(&format!("{}{}", self.base, call.target))
            .map_err(|error| Lost::Refused(Failure::Refused(error.to_string())))?;
        let mut request = Request::new(call.method.clone(), url);
        if !call.body.is_empty() {
            *request.body_mut() = Some(call.body.clone().into());
        }
        if let Some(token) = &*self.token.borrow() {
            request.headers_mut().insert("x-consul-token", token.clone());
        }
        let silence = || silent(format!("no answer within {}", humantime::format_duration(within)));
        let sent = timeout(within, turn.send(request)).await.map_err(|_| silence())?;
        self.receive(sent.map_err(|error| self.explain(&error, turn))?).await
    }

    /// Opens the connections that so many `reads` at a time need, to learn whether Consul takes them before polls hold
    /// them all: it closes without a word what is beyond its limit, and counts the polls that were given up, also by a
    /// program that has ended, until their wait is over. Gives how many we now make do with, if that is news.
    pub(super) async fn widen(&self, reads: usize) -> Option<usize> {
        let turns = self.lanes.add(reads.div_ceil(self.lanes.streams()));
        let leader = Call::get(LEADER);
        let tries = turns.into_iter().map(|turn| self.send(turn, &leader, self.clocks.request_timeout));
        // Silence says nothing of the kind, and whoever watches over Consul finds it out.
        let says_no = |tried: &Result<Reply, Lost>| match tried {
            Ok(reply) => !reply.is_served(),
            Err(lost) => !matches!(lost, Lost::Silent(_)),
        };
        let refused = join_all(tries).await.iter().any(says_no);
        let (now, open) = (Instant::now(), self.lanes.len());
        let mut narrow = self.narrow();
        // Where none at all is taken, it is not their number.
        if !refused || open == 0 {
            narrow.take_if(|narrow| narrow.until <= now);
            return None;
        }
        // The last of them are for others on this machine.
        let connections = open - open / 4;
        let times = narrow.map_or(0, |narrow| narrow.times + 1);
        let until = now + self.clocks.poll_patience() * (1 << times.min(6));
        *narrow = Some(Narrow { connections, until, times });
        (times == 0).then_some(connections)
    }

    /// When more connections than Consul took last may be tried again.
    pub(super) fn widens_at(&self) -> Option<Instant> {
        self.narrow().map(|narrow| narrow.until)
    }

    fn narrow(&self) -> MutexGuard<'_, Option<Narrow>> {
        self.narrow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks whether Consul is there and has a leader, which needs no right.
    pub(super) async fn probe(&self) -> Result<(), Failure> {
        let reply = self.get(LEADER, self.clocks.request_timeout).await?;
        match (reply.status.as_u16(), reply.body.trim_ascii()) {
            (200, b"\"\"") => Err(Failure::Leaderless("`status/leader` names none".to_owned())),
            // A proxy may let through only what templates ask for.
            (200, [b'"', ..]) | (401 | 403 | 404, _) => Ok(()),
            (200, _) => Err(Failure::NotConsul("`status/leader` is answered otherwise than Consul does".to_owned())),
            _ => match judge(reply.status, &reply.headers, &reply.body, Form::Indexed) {
                Err(failure) => Err(failure),
                Ok(_) => Ok(()),
            },
        }
    }

    /// Asks that whenever nothing was heard for a while, for as long as Consul is there.
    pub(super) async fn watch_over(&self) -> Failure {
        loop {
            let at = self.heard().unwrap_or_else(Instant::now) + self.clocks.probe_interval;
            if Instant::now() < at {
                sleep_until(at).await;
                continue;
            }
            let start = Instant::now();
            let failure = match self.probe().await {
                // Who asks for fewer requests is there.
                Ok(()) | Err(Failure::Busy { everywhere: false, .. }) => continue,
                Err(failure) => failure,
            };
            // An idle connection may have been closed long ago; whoever is silent is asked once only.
            if !matches!(failure, Failure::Away(_)) || start.elapsed() > self.clocks.request_timeout / 2 {
                return failure;
            }
            self.forget();
            if let Err(failure) = self.probe().await {
                return failure;
            }
        }
    }

    /// Why a read was not answered.
    fn explain(&self, error: &reqwest::Error, turn: &Turn<'_>) -> Lost {
        if chain(error).any(<dyn Error>::is::<Spent>) {
            return Lost::Spent;
        }
        if error.is_timeout() {
            return silent(format!("no connection within {}", humantime::format_duration(self.clocks.dial_timeout)));
        }
        let reason = causes(error);
        Lost::Refused(Failure::Away(match self.suspicion(turn) {
            Some(suspicion) if !error.is_connect() => format!("{reason} ({suspicion})"),
            _ if self.is_tls && is_of_tls(error) => format!("no TLS connection: {reason}"),
            _ => reason,
        }))
    }

    /// What may be wrong when a connection ends before its first answer.
    fn suspicion(&self, turn: &Turn<'_>) -> Option<&'static str> {
        match (self.is_tls, self.has_certificate) {
            _ if !turn.is_first() => None,
            _ if self.heard().is_some() => Some(TOO_MANY),
            // TLS 1.3 tells after the handshake, and what it tells is lost when we write at the time.
            (true, false) => Some("if Consul asks for a certificate, set `cert_file` and `key_file`"),
            (true, true) => Some("Consul may not take the certificate in `cert_file`"),
            (false, _) => None,
        }
    }

    fn heard(&self) -> Option<Instant> {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the body.
    async fn receive(&self, mut response: Response) -> Result<Reply, Lost> {
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let start = Instant::now();
        let too_large = || Lost::Refused(Failure::TooLarge(limit::bytes(&self.limits)));
        if response.content_length().is_some_and(|length| length > self.limits.response) {
            return Err(too_large());
        }
        let mut body = BytesMut::new();
        loop {
            let chunk = timeout(self.clocks.request_timeout, response.chunk())
                .await
                .map_err(|_| silent("the answer stopped before its end".to_owned()))?;
            let chunk = chunk.map_err(|error| Lost::Refused(Failure::Away(causes(&error))))?;
            let Some(data) = chunk else { break };
            if (body.len() + data.len()) as u64 > self.limits.response {
                return Err(too_large());
            }
            body.extend_from_slice(&data);
        }
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        Ok(Reply { status, headers, body: body.freeze(), transfer: start.elapsed() })
    }
}

fn silent(reason: String) -> Lost {
    Lost::Silent(Failure::Away(reason))
}

/// What a read failed of, without what reqwest and its pool say before, which is no more than that it did.
fn causes(error: &reqwest::Error) -> String {
    let wrapped = if error.is_request() { 2 } else { 1 };
    let cause = chain(error).take(wrapped + 1).last();
    cause.map(with_causes).unwrap_or_default()
}

/// Whether there was a connection, but no TLS over it.
fn is_of_tls(error: &reqwest::Error) -> bool {
    // What opens a TCP connection has errors of its own.
    chain(error).nth(2).is_some_and(<dyn Error>::is::<std::io::Error>)
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| Error::source(*error))
}
