//! A real Consul, and what it and the kernel say of those who ask it.

use std::cell::RefCell;

use serde_json::{Value, json};

use super::wire::Connection;
use crate::support::connections;
use crate::support::consul::Consul;

/// One server, whose data are in memory, and whoever changes them; dropped, it ends.
pub(super) struct Server {
    consul: Consul,
    writer: RefCell<Connection>,
}

/// What a server has done so far.
#[derive(Clone, Copy)]
pub(super) struct Work {
    /// Reads that it has answered, but for those of its metrics.
    pub(super) reads: f64,
    /// Its processor time, in milliseconds.
    pub(super) cpu: f64,
}

impl Server {
    /// One that gives every address so many connections.
    pub(super) fn start(most_connections: usize) -> Self {
        let consul = Consul::with(json!({
            "limits": {"http_max_conns_per_client": most_connections},
            // Counts that only grow, instead of those of the last ten seconds.
            "telemetry": {"prometheus_retention_time": "1h", "disable_hostname": true},
        }));
        let writer = RefCell::new(Connection::open(consul.port()).unwrap());
        Self { consul, writer }
    }

    /// The port of its API.
    pub(super) fn port(&self) -> u16 {
        self.consul.port()
    }

    /// What stands under `consul:` to follow it, with these settings.
    pub(super) fn section(&self, settings: &str) -> String {
        self.consul.section_with(settings)
    }

    /// Puts something.
    pub(super) fn put(&self, path: &str, body: &[u8]) {
        let reply = self.writer.borrow_mut().ask("PUT", path, body).unwrap();
        assert_eq!(reply.status, 200, "PUT {path}: {}", String::from_utf8_lossy(&reply.body));
    }

    /// The same as JSON.
    pub(super) fn put_json(&self, path: &str, body: &Value) {
        self.put(path, body.to_string().as_bytes());
    }

    /// Connections that it has open, as the kernel counts them, but for the writer's.
    pub(super) fn connections(&self) -> usize {
        connections::open_to(self.port()) - 1
    }

    /// What it says that it has done.
    pub(super) fn work(&self) -> Work {
        let metrics = self.writer.borrow_mut().ask("GET", "agent/metrics?format=prometheus", b"").unwrap();
        let metrics = String::from_utf8(metrics.body).unwrap();
        let sum = |counts: fn(&str) -> bool| {
            let lines = metrics.lines().filter_map(|line| line.split_once(' ')).filter(|(name, _)| counts(name));
            lines.map(|(_, value)| value.parse::<f64>().unwrap()).sum::<f64>()
        };
        let is_read = |name: &str| {
            name.starts_with("consul_http_GET_") && name.ends_with("_count") && !name.contains("agent_metrics")
        };
        Work { reads: sum(is_read), cpu: sum(|name| name == "process_cpu_seconds_total") * 1e3 }
    }
}
