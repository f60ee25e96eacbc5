//! A place in a line: a key with a lease. Those that were created first stand in front, and a lease that ends takes its
//! key with it.

use std::sync::Arc;

use prost::Message;
use rand::Rng;

use super::config::Config;
use super::connection::{Connection, Endpoint, Failure};
use super::keys::KeyRange;
use super::messages::{RangeRequest, RangeResponse, ResponseHeader};
use crate::config::Limits;
use crate::registry::line::{Ahead, Steps};
use crate::registry::{Outage, Path};

/// Asks for a lease.
#[derive(Clone, PartialEq, Message)]
struct LeaseGrantRequest {
    /// Seconds.
    #[prost(int64, tag = "1")]
    ttl: i64,
    /// Chosen by us, so that it can be revoked whatever becomes of the answer.
    #[prost(int64, tag = "2")]
    id: i64,
}

/// Names a lease, to keep it alive or to revoke it.
#[derive(Clone, PartialEq, Message)]
struct LeaseRequest {
    #[prost(int64, tag = "1")]
    id: i64,
}

/// What is said of a lease.
#[derive(Clone, PartialEq, Message)]
struct LeaseResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<ResponseHeader>,
    #[prost(int64, tag = "2")]
    id: i64,
    /// Seconds; none are left of one that has ended.
    #[prost(int64, tag = "3")]
    ttl: i64,
}

/// Writes a key.
#[derive(Clone, PartialEq, Message)]
struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
    #[prost(int64, tag = "3")]
    lease: i64,
}

/// An answer of which only counts that it came.
#[derive(Clone, PartialEq, Message)]
struct Done {}

/// Everybody in the line.
#[derive(Clone, PartialEq, Message)]
struct Places {
    #[prost(message, repeated, tag = "2")]
    keys: Vec<Taken>,
}

/// A key of the line.
#[derive(Clone, PartialEq, Message)]
struct Taken {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    /// Of two, the one that was created first has the lesser.
    #[prost(int64, tag = "2")]
    create_revision: i64,
    /// None has a key that somebody wrote by hand, and that would never end.
    #[prost(int64, tag = "6")]
    lease: i64,
}

/// Somebody in a line of etcd.
pub(super) struct EtcdLine {
    config: Arc<Config>,
    endpoints: Vec<Endpoint>,
    next: usize,
    /// None before the first step, and after one that failed.
    connection: Option<Connection>,
    line: KeyRange,
    shown: Path,
    seconds: i64,
    holder: String,
    /// None where there is no place.
    lease: Option<i64>,
    /// The key of whoever was first in line when it was last looked, and its value.
    first: Option<(Vec<u8>, Vec<u8>)>,
}

impl EtcdLine {
    pub(super) fn new(
        config: Arc<Config>,
        endpoints: Vec<Endpoint>,
        (line, shown): (KeyRange, Path),
        seconds: i64,
        holder: String,
    ) -> Self {
        Self { config, endpoints, next: 0, connection: None, line, shown, seconds, holder, lease: None, first: None }
    }

    /// One request to a member; after a failure the next goes to another.
    async fn call<Q, A>(&mut self, path: &'static str, message: Q) -> Result<A, Failure>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        // A step that is given up leaves no connection behind whose state nobody knows.
        let connection = if let Some(connection) = self.connection.take() {
            connection
        } else {
            let endpoint = &self.endpoints[self.next % self.endpoints.len()];
            self.next = self.next.wrapping_add(1);
            Connection::open(&self.config, endpoint, Limits::default()).await.map_err(|failure| match failure {
                Failure::Lost(why) => Failure::Lost(format!("`{endpoint}`: {why}")),
                failure => failure,
            })?
        };
        let answer = connection.call(path, message, self.config.clocks.request_timeout).await;
        if matches!(answer, Ok(_) | Err(Failure::Denied)) {
            self.connection = Some(connection);
        }
        answer
    }

    fn key(&self, lease: i64) -> Vec<u8> {
        [self.line.start.as_slice(), format!("{lease:016x}").as_bytes()].concat()
    }
}

impl Steps for EtcdLine {
    type Failure = Failure;

    async fn try_join(&mut self) -> Result<(), Failure> {
        self.try_leave().await?;
        let id = rand::rng().random_range(1..i64::MAX);
        self.lease = Some(id);
        let grant = LeaseGrantRequest { ttl: self.seconds, id };
        let _: LeaseResponse = self.call("/etcdserverpb.Lease/LeaseGrant", grant).await?;
        let put = PutRequest { key: self.key(id), value: self.holder.clone().into_bytes(), lease: id };
        let _: Done = self.call("/etcdserverpb.KV/Put", put).await?;
        Ok(())
    }

    async fn try_ahead(&mut self) -> Result<Option<Ahead>, Failure> {
        let Some(lease) = self.lease else { return Ok(None) };
        let range = RangeRequest {
            key: self.line.start.clone(),
            range_end: self.line.end.clone(),
            keys_only: true,
            ..RangeRequest::default()
        };
        let Places { keys } = self.call("/etcdserverpb.KV/Range", range).await?;
        let key = self.key(lease);
        let Some(own) = keys.iter().find(|taken| taken.key == key) else { return Ok(None) };
        let before = |taken: &&Taken| taken.lease != 0 && taken.create_revision < own.create_revision;
        let count = keys.iter().filter(before).count();
        let Some(first) = keys.iter().filter(before).min_by_key(|taken| taken.create_revision) else {
            return Ok(Some(Ahead::default()));
        };
        // The values of a long line are not read with each look: who is first stays so for a while.
        if self.first.as_ref().is_none_or(|(key, _)| *key != first.key) {
            let read = RangeRequest { key: first.key.clone(), ..RangeRequest::default() };
            let RangeResponse { kvs, .. } = self.call("/etcdserverpb.KV/Range", read).await?;
            let value = kvs.into_iter().next().map(|kv| kv.value).unwrap_or_default();
            self.first = Some((first.key.clone(), value));
        }
        Ok(Some(Ahead::new(count, self.first.as_ref().map(|(_, value)| &**value))))
    }

    async fn try_renew(&mut self) -> Result<bool, Failure> {
        let Some(id) = self.lease else { return Ok(false) };
        // The stream of one request: etcd answers it and ends when we do.
        let LeaseResponse { ttl, .. } = self.call("/etcdserverpb.Lease/LeaseKeepAlive", LeaseRequest { id }).await?;
        Ok(ttl > 0)
    }

    async fn try_leave(&mut self) -> Result<(), Failure> {
        let Some(id) = self.lease else { return Ok(()) };
        match self.call::<_, Done>("/etcdserverpb.Lease/LeaseRevoke", LeaseRequest { id }).await {
            Err(Failure::Lost(why)) if !why.contains("lease not found") => return Err(Failure::Lost(why)),
            Err(failure @ (Failure::Denied | Failure::Unauthenticated(_))) => return Err(failure),
            _ => {}
        }
        self.lease = None;
        Ok(())
    }

    fn outage(&self, failure: &Failure) -> Outage {
        Outage(match failure {
            Failure::Denied => format!("permission denied: the user has to read and to write below `{}`", self.shown),
            failure => failure.to_string(),
        })
    }
}
