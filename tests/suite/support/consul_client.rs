//! A client of Consul that is not the program's own: the few calls that tests make.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::{SOON, http, poll_until};

/// What a check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Passing,
    Warning,
    Critical,
}

impl Health {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// A token that was made.
#[derive(Debug, Clone)]
pub struct Token {
    /// What it is managed by.
    pub accessor: String,
    /// What a client shows.
    pub secret: String,
}

/// One change of a transaction, as its API takes it: `{"KV": {"Verb", ...}}` and the like.
#[derive(Debug, Clone)]
pub struct Operation(pub Value);

/// Puts `value` at `key`.
pub fn put(key: &str, value: impl AsRef<[u8]>) -> Operation {
    Operation(json!({"KV": {"Verb": "set", "Key": key, "Value": STANDARD.encode(value)}}))
}

/// Deletes `key`.
pub fn delete(key: &str) -> Operation {
    Operation(json!({"KV": {"Verb": "delete", "Key": key}}))
}

/// Deletes everything that begins with `prefix`.
pub fn delete_below(prefix: &str) -> Operation {
    Operation(json!({"KV": {"Verb": "delete-tree", "Key": prefix}}))
}

/// Talks to one agent over plain HTTP. Every call has a connection of its own, which has ended when it returns.
#[derive(Debug, Clone)]
pub struct Client {
    port: u16,
    token: Option<String>,
}

impl Client {
    /// Of the agent with this port, with a token or without.
    pub fn new(port: u16, token: Option<String>) -> Self {
        Self { port, token }
    }

    /// The same with another token.
    pub fn as_user(&self, token: &Token) -> Self {
        Self { port: self.port, token: Some(token.secret.clone()) }
    }

    // ---- Keys ----

    /// Puts `value` at `key`.
    #[track_caller]
    pub fn put(&self, key: &str, value: impl AsRef<[u8]>) {
        self.call("PUT", &key_path(key), value);
    }

    /// The same, while the cluster may be unwell.
    pub fn try_put(&self, key: &str, value: impl AsRef<[u8]>) -> Result<(), String> {
        self.try_call("PUT", &key_path(key), value).map(drop)
    }

    /// Deletes `key`.
    #[track_caller]
    pub fn delete(&self, key: &str) {
        self.call("DELETE", &key_path(key), "");
    }

    /// Deletes everything that begins with `prefix`.
    #[track_caller]
    pub fn delete_below(&self, prefix: &str) {
        self.call("DELETE", &format!("{}?recurse", key_path(prefix)), "");
    }

    /// All of these in one transaction; Consul takes at most 64.
    #[track_caller]
    pub fn txn(&self, operations: Vec<Operation>) {
        let operations: Vec<_> = operations.into_iter().map(|Operation(operation)| operation).collect();
        let body = Value::from(operations).to_string();
        // Servers that have just come up may lose a connection between them. Whether the write was done does not matter:
        // it says the same once more.
        let lost = |reason: &String| reason.contains("500 rpc error");
        poll_until(SOON, || match self.try_call("PUT", "/v1/txn", &body) {
            Err(reason) if lost(&reason) => Err(reason),
            other => Ok(other),
        })
        .unwrap_or_else(|reason| panic!("{reason}"));
    }

    /// The value of a key, if it is there.
    #[track_caller]
    pub fn get(&self, key: &str) -> Option<String> {
        match self.request("GET", &format!("{}?raw&consistent", key_path(key)), "").unwrap() {
            (404, _) => None,
            (200, body) => Some(String::from_utf8(body).unwrap()),
            (status, body) => panic!("{key}: {status} {}", String::from_utf8_lossy(&body)),
        }
    }

    /// Everything that begins with `prefix`, in the order of the keys.
    #[track_caller]
    pub fn prefix(&self, prefix: &str) -> Vec<(String, String)> {
        let path = format!("{}?recurse&consistent", key_path(prefix));
        let (status, body) = self.request("GET", &path, "").unwrap();
        if status == 404 {
            return Vec::new();
        }
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        let found: Vec<Value> = serde_json::from_slice(&body).unwrap();
        let value = |pair: &Value| STANDARD.decode(pair["Value"].as_str().unwrap_or_default()).unwrap();
        let pair = |pair| (text(&pair, "Key"), String::from_utf8(value(&pair)).unwrap());
        found.into_iter().map(pair).collect()
    }

    // ---- Services of an agent ----

    /// Registers a service with the agent: a definition as the agent's API takes it, `{"ID", "Name", "Port", "Check",
    /// "Meta", ...}`.
    #[track_caller]
    pub fn register(&self, service: &Value) {
        self.call("PUT", "/v1/agent/service/register", service.to_string());
    }

    /// Takes a service away from the agent.
    #[track_caller]
    pub fn deregister(&self, service_id: &str) {
        self.call("PUT", &format!("/v1/agent/service/deregister/{service_id}"), "");
    }

    /// Tells what a TTL check of the agent has found.
    #[track_caller]
    pub fn set_check(&self, check_id: &str, health: Health) {
        self.set_check_with_output(check_id, health, "");
    }

    /// The same with what it printed.
    #[track_caller]
    pub fn set_check_with_output(&self, check_id: &str, health: Health, output: &str) {
        let body = json!({"Status": health.as_str(), "Output": output});
        self.call("PUT", &format!("/v1/agent/check/update/{check_id}"), body.to_string());
    }

    /// Takes a service of the agent out for maintenance, or brings it back.
    #[track_caller]
    pub fn maintain(&self, service_id: &str, enable: bool) {
        self.call("PUT", &format!("/v1/agent/service/maintenance/{service_id}?enable={enable}"), "");
    }

    /// The same with the whole node.
    #[track_caller]
    pub fn maintain_node(&self, enable: bool) {
        self.call("PUT", &format!("/v1/agent/maintenance?enable={enable}"), "");
    }

    // ---- The catalog ----

    /// Writes straight into the catalog, as its API takes it: `{"Node", "Address", "Service", "Check"}`.
    #[track_caller]
    pub fn catalog_register(&self, entry: &Value) {
        self.call("PUT", "/v1/catalog/register", entry.to_string());
    }

    /// Takes away from the catalog: `{"Node"}` or `{"Node", "ServiceID"}`.
    #[track_caller]
    pub fn catalog_deregister(&self, entry: &Value) {
        self.call("PUT", "/v1/catalog/deregister", entry.to_string());
    }

    // ---- Tokens ----

    /// Makes a policy of these rules.
    #[track_caller]
    pub fn policy(&self, name: &str, rules: &str) {
        self.call("PUT", "/v1/acl/policy", json!({"Name": name, "Rules": rules}).to_string());
    }

    /// Makes a token with these policies.
    #[track_caller]
    pub fn token(&self, policies: &[&str]) -> Token {
        let policies: Vec<_> = policies.iter().map(|name| json!({"Name": name})).collect();
        let made = self.call_json("PUT", "/v1/acl/token", json!({"Policies": policies}).to_string());
        Token { accessor: text(&made, "AccessorID"), secret: text(&made, "SecretID") }
    }

    /// Ends a token.
    #[track_caller]
    pub fn revoke(&self, token: &Token) {
        self.call("DELETE", &format!("/v1/acl/token/{}", token.accessor), "");
    }

    // ---- Anything ----

    /// The index of the answer to a read.
    #[track_caller]
    pub fn index(&self, path: &str) -> u64 {
        http::header(self.port, path, "X-Consul-Index").unwrap().expect("an index").parse().unwrap()
    }

    /// Any call that must succeed; the body.
    #[track_caller]
    pub fn call(&self, method: &str, path: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
        self.try_call(method, path, body).unwrap_or_else(|reason| panic!("{reason}"))
    }

    /// The same where the body is JSON.
    #[track_caller]
    pub fn call_json(&self, method: &str, path: &str, body: impl AsRef<[u8]>) -> Value {
        serde_json::from_slice(&self.call(method, path, body)).unwrap()
    }

    /// The same, while the cluster may be unwell.
    pub fn try_call(&self, method: &str, path: &str, body: impl AsRef<[u8]>) -> Result<Vec<u8>, String> {
        match self.request(method, path, body) {
            Ok((200, body)) => Ok(body),
            Ok((status, body)) => Err(format!("{method} {path}: {status} {}", String::from_utf8_lossy(&body))),
            Err(error) => Err(format!("{method} {path}: {error}")),
        }
    }

    /// Any request: status and body.
    pub fn request(&self, method: &str, path: &str, body: impl AsRef<[u8]>) -> io::Result<(u16, Vec<u8>)> {
        let token = self.token.as_deref().map(|token| ("X-Consul-Token", token));
        http::request(self.port, method, path, body.as_ref(), token.as_slice())
    }
}

/// A policy whose rules change, and a token that has it.
pub struct Rights {
    client: Client,
    policy: String,
    /// The token.
    pub token: Token,
}

impl Rights {
    /// A token that may do what these rules say.
    pub fn new(client: Client, rules: &str) -> Self {
        let policy = client.call_json("PUT", "/v1/acl/policy", json!({"Name": "changing", "Rules": rules}).to_string());
        let token = client.token(&["changing"]);
        Self { client, policy: policy["ID"].as_str().unwrap().to_owned(), token }
    }

    /// It may do this from now on.
    pub fn become_(&self, rules: &str) {
        let body = json!({"ID": self.policy, "Name": "changing", "Rules": rules});
        self.client.call("PUT", &format!("/v1/acl/policy/{}", self.policy), body.to_string());
    }
}

/// An instance on a node of its own name, as the catalog takes it, with one check.
pub fn instance(node: &str, service: &str, port: u16, health: Health) -> Value {
    let id = format!("{service}-1");
    json!({
        "Node": node, "Address": "10.0.0.1", "SkipNodeUpdate": true,
        "Service": {"ID": id, "Service": service, "Port": port},
        "Check": {"Node": node, "CheckID": format!("{service}-check"), "Name": "alive", "Status": health.as_str(),
            "ServiceID": id},
    })
}

fn key_path(key: &str) -> String {
    // Slashes are part of the path, and of the key.
    let segments: Vec<_> =
        key.split('/').map(|segment| utf8_percent_encode(segment, NON_ALPHANUMERIC).to_string()).collect();
    format!("/v1/kv/{}", segments.join("/"))
}

fn text(object: &Value, field: &str) -> String {
    object[field].as_str().unwrap_or_else(|| panic!("`{field}` is missing in {object}")).to_owned()
}
