//! The Consul registry: KV, catalog and health, over the HTTP API.
//!
//! # Layout
//!
//! - `config` what the configuration says, with its `address`;
//! - `request` which read of the API answers a query, and what is in its reply: `kv`, `health`, `catalog`;
//! - `client` sends reads over a bounded number of `lanes`, each a client of `connect` with one connection; `token` is
//!   what they are sent with, `failure` what can go wrong;
//! - `cursor` is how far one read has come and when it may be sent again;
//! - `watch` is what outlives an outage; while connected, a `session` follows all reads, each fetched (`fetch`) by
//!   a long poll of its own, and publishes; where the `plan` finds too many for that, the `sweep` reads what
//!   `scout`s have seen to differ. Where a read found `nothing`, it is made sure that there is nothing;
//! - a `lock` has a client of its own.
//!
//! # Invariants
//!
//! - An index comes from a successful answer and outlives every error.
//! - An answer is used if it was read consistently, or if its index is above that of the answer before.
//! - That nothing is there is an answer only if the token may look there, and if it was read consistently.
//! - There are never more connections than `max_connections`, and no more are planned with than Consul takes.

mod address;
mod bucket;
mod catalog;
mod client;
mod config;
mod connect;
mod cursor;
mod failure;
mod fetch;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod health;
mod kv;
mod lanes;
mod lock;
mod nothing;
mod plan;
mod request;
mod scout;
mod session;
mod sweep;
mod token;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

pub use address::Address;
pub use config::{Clocks, Config, ConfigError};

use super::line::{Line, Place};
use super::{Kind, Query, Registry, Watch};

/// This kind.
pub const KIND: Kind = Kind {
    name: "consul",
    decode: config::decode,
    from_address: |address| format!("{{address: {}}}", serde_json::Value::from(address)),
};

/// A command that ends soon pauses for so long before each poll, and lets none wait longer: Consul goes on with a poll whose
/// asker is gone, and counts its connection until that is over.
const BRIEF: Duration = Duration::from_secs(1);

/// A Consul registry as it is configured. Without a connection; made by [`Config::build`].
#[derive(Debug)]
pub struct Consul {
    config: Arc<Config>,
}

impl Registry for Consul {
    fn supports(&self, query: &Query) -> Result<(), String> {
        request::Request::of(query, &self.config).map(drop)
    }

    fn watch(&self) -> Box<dyn Watch> {
        Box::new(watch::ConsulWatch::new(self.config.clone()))
    }

    fn brief(&self) -> Option<Arc<dyn Registry>> {
        let mut config = Config::clone(&self.config);
        config.clocks.wait = config.clocks.wait.min(BRIEF);
        config.clocks.before_poll = BRIEF;
        Some(Arc::new(Self { config: Arc::new(config) }))
    }

    fn rights(&self, query: &Query, name: &Arc<str>) -> Option<BoxFuture<'static, String>> {
        let request = request::Request::of(query, &self.config).ok()?;
        Some(nothing::rights(request, self.config.clone(), name.clone()).boxed())
    }

    fn line(&self, place: &Place) -> Result<Box<dyn Line>, String> {
        if place.ttl < lock::LEAST_TTL {
            let least = humantime::format_duration(lock::LEAST_TTL);
            return Err(format!("needs a `ttl` of {least} or more: it keeps a session that died for so long"));
        }
        match request::Request::of(&Query::Prefix(place.line.clone()), &self.config)? {
            request::Request::Below(folder) => {
                Ok(Box::new(lock::ConsulLine::new(self.config.clone(), folder, place.ttl, place.holder.clone())))
            }
            _ => Err("has no such folder".to_owned()),
        }
    }

    fn longest_pause(&self) -> Duration {
        self.config.clocks.retry_interval
    }

    fn secret_files(&self) -> Vec<PathBuf> {
        [&self.config.token_file, &self.config.key_file].into_iter().flatten().cloned().collect()
    }
}
