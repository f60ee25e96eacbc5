//! The floor on Consul: one connection, one long poll again and again, and the file.

use std::fs::{self, File};
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::wire::{Connection, Reply};
use crate::floor::{READY, write};

/// Follows `target`, which is `kv/KEY?` or `health/service/NAME?passing&`, and writes the value, or a line for each
/// instance, followed by what is in the file `body`, as `file` in `folder`.
pub(crate) fn run(port: &str, target: &str, folder: &str, body: &str) {
    let body = fs::read(body).unwrap();
    let folder = Path::new(folder);
    let handle = File::open(folder).unwrap();
    let mut connection = Connection::open(port.parse().unwrap()).unwrap();
    let mut index = None;
    loop {
        let wait = index.map_or(String::new(), |index| format!("index={index}&wait=55s"));
        let reply = connection.ask("GET", &format!("{target}{wait}"), b"").unwrap();
        assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
        if index.is_none() {
            eprintln!("{READY}");
        } else if reply.index != index {
            write(folder, &handle, "file", &[&content(&reply), &body]);
        }
        index = reply.index;
    }
}

fn content(reply: &Reply) -> Vec<u8> {
    let rows: Vec<Value> = serde_json::from_slice(&reply.body).unwrap();
    let mut content = Vec::new();
    for row in rows {
        if let Some(value) = row["Value"].as_str() {
            BASE64_STANDARD.decode_vec(value, &mut content).unwrap();
        } else {
            let service = &row["Service"];
            let [name, address] = ["Service", "Address"].map(|field| service[field].as_str().unwrap());
            content.extend_from_slice(format!("floor {name} {address}:{}\n", service["Port"]).as_bytes());
        }
    }
    content
}
