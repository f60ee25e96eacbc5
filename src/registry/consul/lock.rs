//! A place in a line: a key that a session holds. Those that were created first stand in front, and a session that ends
//! takes its key with it (<https://developer.hashicorp.com/consul/docs/dynamic-app-config/sessions>).

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use super::client::{Call, Client, Reply};
use super::config::Config;
use super::failure::{self, Failure};
use super::request::Request;
use super::token::Token;
use crate::config::Limits;
use crate::registry::Outage;
use crate::registry::line::{Ahead, Steps};

/// The shortest time of a session that Consul takes.
const LEAST: Duration = Duration::from_secs(10);

/// Consul keeps a session that is not renewed for up to twice its time.
const KEPT: u32 = 2;

/// The shortest time for which a dead holder may be waited for.
pub(super) const LEAST_TTL: Duration = Duration::from_secs(LEAST.as_secs() * KEPT as u64);

/// Somebody in a line of Consul.
pub(super) struct ConsulLine {
    config: Arc<Config>,
    /// All keys of the line.
    keys: Request,
    /// What they begin with.
    folder: String,
    ttl: Duration,
    holder: String,
    /// None before the first step, and after one that failed. The token is read anew with it.
    client: Option<Arc<Client>>,
    /// None where there is no place.
    session: Option<String>,
}

/// What is said of a session.
#[derive(Debug, Deserialize)]
struct Session {
    #[serde(rename = "ID")]
    id: String,
}

/// A key of the line.
#[derive(Debug, Deserialize)]
struct Taken {
    #[serde(rename = "Key")]
    key: String,
    /// Of two, the one that was created first has the lesser.
    #[serde(rename = "CreateIndex")]
    create_index: u64,
    /// None has a key that somebody wrote by hand, and that would never end.
    #[serde(rename = "Session")]
    session: Option<String>,
    /// Who took it, in base64.
    #[serde(rename = "Value")]
    value: Option<String>,
}

impl ConsulLine {
    /// In the line of the keys below `folder`.
    pub(super) fn new(config: Arc<Config>, folder: String, ttl: Duration, holder: String) -> Self {
        let keys = Request::Below(folder.clone());
        Self { config, keys, folder, ttl, holder, client: None, session: None }
    }

    /// One request; `path` is what follows `/v1/`, and ends in `?` or `&`.
    async fn call(&mut self, method: Method, path: String, body: String) -> Result<Reply, Failure> {
        // A step that is given up leaves no connection behind whose state nobody knows.
        let client = match self.client.take() {
            Some(client) => client,
            None => self.connect().await?,
        };
        let mut target = self.keys.qualify(path, &self.config);
        target.truncate(target.trim_end_matches(['?', '&']).len());
        let call = Call { method, target: &target, body: Bytes::from(body) };
        let reply = client.call(&call, self.config.clocks.request_timeout).await?;
        self.client = Some(client);
        Ok(reply)
    }

    async fn connect(&self) -> Result<Arc<Client>, Failure> {
        let token = Token::open(&self.config).await.map_err(|outage| Failure::Away(outage.0))?;
        // The connection comes on top of `max_connections`, for as long as the lock is wanted.
        let places = Arc::new(Semaphore::new(1));
        Client::new(&self.config, token.follow(), places, Limits::default()).map_err(Failure::Away)
    }
}

impl Steps for ConsulLine {
    type Failure = Failure;

    async fn try_join(&mut self) -> Result<(), Failure> {
        self.try_leave().await?;
        let wish = serde_json::json!({
            "Name": self.holder,
            "TTL": format!("{}s", (self.ttl / KEPT).max(LEAST).as_secs()),
            "Behavior": "delete",
        });
        let reply = self.call(Method::PUT, "session/create?".to_owned(), wish.to_string()).await?;
        let id = read::<Session>(&reply)?.id;
        self.session = Some(id.clone());
        let path = format!("{}acquire={id}&", Request::Value(format!("{}{id}", self.folder)).path());
        let reply = self.call(Method::PUT, path, self.holder.clone()).await?;
        if read::<bool>(&reply)? {
            Ok(())
        } else {
            Err(Failure::Broken("the key of the session was refused".to_owned()))
        }
    }

    async fn try_ahead(&mut self) -> Result<Option<Ahead>, Failure> {
        let Some(session) = &self.session else { return Ok(None) };
        let key = format!("{}{session}", self.folder);
        let path = format!("{}consistent&", self.keys.path());
        let reply = self.call(Method::GET, path, String::new()).await?;
        // No key at all, and so not ours.
        if reply.status.as_u16() == 404 {
            return Ok(None);
        }
        let keys: Vec<Taken> = read(&reply)?;
        let Some(own) = keys.iter().find(|taken| taken.key == key && taken.session.is_some()) else { return Ok(None) };
        let before = |taken: &&Taken| taken.session.is_some() && taken.create_index < own.create_index;
        let first = keys.iter().filter(before).min_by_key(|taken| taken.create_index);
        let value = first.and_then(|first| STANDARD.decode(first.value.as_deref()?).ok());
        Ok(Some(Ahead::new(keys.iter().filter(before).count(), value.as_deref())))
    }

    async fn try_renew(&mut self) -> Result<bool, Failure> {
        let Some(session) = &self.session else { return Ok(false) };
        let path = format!("session/renew/{session}?");
        let reply = self.call(Method::PUT, path, String::new()).await?;
        if reply.status.as_u16() == 404 {
            return Ok(false);
        }
        read::<Vec<Session>>(&reply).map(|sessions| !sessions.is_empty())
    }

    async fn try_leave(&mut self) -> Result<(), Failure> {
        let Some(session) = &self.session else { return Ok(()) };
        let path = format!("session/destroy/{session}?");
        let reply = self.call(Method::PUT, path, String::new()).await?;
        read::<bool>(&reply)?;
        self.session = None;
        Ok(())
    }

    fn outage(&self, failure: &Failure) -> Outage {
        let address = &self.config.address;
        Outage(match failure {
            Failure::Denied(said) if said.contains("Permission denied") => format!(
                "`{address}`: {failure}: the token needs `session_prefix \"\" {{ policy = \"write\" }}` and `key_prefix \
                 \"{}\" {{ policy = \"write\" }}`",
                self.folder
            ),
            failure => format!("`{address}`: {failure}"),
        })
    }
}

/// What is in an answer, unless that is that there is none.
fn read<T: DeserializeOwned>(reply: &Reply) -> Result<T, Failure> {
    if !reply.status.is_success() {
        return Err(failure::refusal(reply.status, &reply.headers, &reply.body));
    }
    // What serde says may repeat what it read.
    serde_json::from_slice(&reply.body).map_err(|error| {
        Failure::Unreadable(format!("the answer is not as Consul gives it, at column {}", error.column()))
    })
}
