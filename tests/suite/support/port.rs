//! Ports for servers of tests.

use std::net::TcpListener;
use std::sync::Mutex;
use std::{fs, process};

static NEXT: Mutex<Option<u16>> = Mutex::new(None);

/// A port of the loopback that nobody listens on and that no other test of this process gets.
///
/// It lies below the range that the system takes for outgoing connections. A port inside it can be taken while its
/// server is down, even by a client that tries to reach just that server and so connects to itself.
pub fn free() -> u16 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let end = range.split_whitespace().next().and_then(|low| low.parse().ok()).unwrap_or(32768).max(12_000);
    let mut next = NEXT.lock().unwrap();
    // Processes that run at the same time begin at different places.
    let start = u16::try_from(10_000 + process::id() % u32::from(end - 10_000)).unwrap();
    let mut port = next.unwrap_or(start);
    loop {
        port = if port + 1 >= end { 10_000 } else { port + 1 };
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            *next = Some(port);
            return port;
        }
    }
}
