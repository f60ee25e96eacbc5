//! Consul: a commit is a transaction of keys and services, and what is leased is locked by a session that deletes.

use serde_json::{Value, json};

use super::Origin;
use super::model::{Change, Model};
use crate::support::consul::Consul;
use crate::support::consul_client::{self, Client, Operation};

/// A server, with TLS or without.
pub struct ConsulOrigin<const TLS: bool> {
    consul: Consul,
    client: Client,
    session: Option<String>,
}

/// Over plain HTTP.
pub type Plain = ConsulOrigin<false>;

/// With certificates on both sides.
pub type OverTls = ConsulOrigin<true>;

/// Ids of instances are unique on a node only.
fn node_of(service: &str) -> String {
    format!("node-of-{service}")
}

fn register(service: &str, id: &str, port: u16) -> Vec<Operation> {
    let node = node_of(service);
    let instance = json!({"ID": id, "Service": service, "Address": "10.0.0.1", "Port": port});
    vec![
        Operation(json!({"Node": {"Verb": "set", "Node": {"Node": node, "Address": "10.0.0.9"}}})),
        Operation(json!({"Service": {"Verb": "set", "Node": node, "Service": instance}})),
    ]
}

fn operations(change: &Change) -> Vec<Operation> {
    match change {
        Change::Put { key, value } => vec![consul_client::put(key, value)],
        Change::Delete { key } => vec![consul_client::delete(key)],
        Change::DeleteFolder { folder } => vec![consul_client::delete_below(&format!("{folder}/"))],
        Change::Register { service, id, port } => register(service, id, *port),
        Change::Deregister { service, id } => {
            // What is not there cannot be deleted, so it is made first; nobody sees that inside a transaction.
            let mut operations = register(service, id, 1);
            let (node, instance) = (node_of(service), json!({"ID": id, "Service": service}));
            operations.push(Operation(json!({"Service": {"Verb": "delete", "Node": node, "Service": instance}})));
            operations
        }
    }
}

/// Puts a key that ends with a session.
fn lock(key: &str, value: &str, session: &str) -> Operation {
    let Operation(mut put) = consul_client::put(key, value);
    put["KV"]["Verb"] = json!("lock");
    put["KV"]["Session"] = json!(session);
    Operation(put)
}

impl<const TLS: bool> Origin for ConsulOrigin<TLS> {
    /// Consul knows itself as a service.
    const SERVICES: &[&str] = &["consul"];

    fn start() -> Self {
        let consul = if TLS { Consul::with_tls() } else { Consul::start() };
        let client = consul.client();
        Self { consul, client, session: None }
    }

    fn section(&self) -> String {
        format!("consul: {}", self.consul.section())
    }

    fn commit(&mut self, changes: &[Change], _after: &Model) {
        if !changes.is_empty() {
            self.client.txn(changes.iter().flat_map(operations).collect());
        }
    }

    fn commit_leased(&mut self, changes: &[Change], _after: &Model) {
        let session = json!({"Behavior": "delete", "TTL": "600s", "LockDelay": "0s"});
        let made: Value = self.client.call_json("PUT", "/v1/session/create", session.to_string());
        let session = made["ID"].as_str().unwrap().to_owned();
        let leased = |change: &Change| match change {
            Change::Put { key, value } => vec![lock(key, value, &session)],
            other => operations(other),
        };
        self.client.txn(changes.iter().flat_map(leased).collect());
        self.session = Some(session);
    }

    fn expire(&mut self, gone: &[Change], after: &Model) {
        let session = self.session.take().unwrap();
        self.client.call("PUT", &format!("/v1/session/destroy/{session}"), "");
        // Instances have no session.
        let instances: Vec<_> =
            gone.iter().filter(|change| matches!(change, Change::Deregister { .. })).cloned().collect();
        self.commit(&instances, after);
    }

    fn cut(&mut self) {
        self.consul.kill(0);
    }

    fn mend(&mut self, _model: &Model) {
        self.consul.restart(0);
    }
}
