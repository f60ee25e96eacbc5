//! Ports for servers of tests.

use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::Mutex;
use std::{fs, process};

/// Ports are taken in blocks of so many.
const BLOCK: u16 = 100;

/// The lowest port.
const LOWEST: u16 = 10_000;

/// The blocks of this process.
struct Blocks {
    /// A socket for each of them, whose name no other process can take. The kernel frees it when this one ends.
    claims: Vec<UnixListener>,
    /// The next port of the latest block, and how many are left of it.
    next: u16,
    left: u16,
}

static BLOCKS: Mutex<Blocks> = Mutex::new(Blocks { claims: Vec::new(), next: 0, left: 0 });

/// A port of the loopback that nobody listens on and that no other test on this machine gets.
///
/// It lies below the range that the system takes for outgoing connections. A port inside it can be taken while its
/// server is down, even by a client that tries to reach just that server and so connects to itself.
pub fn free() -> u16 {
    let mut blocks = BLOCKS.lock().unwrap();
    loop {
        if blocks.left == 0 {
            blocks.claim();
        }
        let port = blocks.next;
        (blocks.next, blocks.left) = (port + 1, blocks.left - 1);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Blocks {
    /// Takes a block that no process has.
    fn claim(&mut self) {
        let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
        // Where even the lowest ports are given away, tests take some all the same.
        let end: u16 = range.split_whitespace().next().and_then(|low| low.parse().ok()).unwrap_or(32768).max(15_000);
        let count = (end - LOWEST) / BLOCK;
        // Processes that run at the same time begin at different places.
        let first = u16::try_from(process::id() % u32::from(count)).unwrap();
        let (block, claim) = (0..count)
            .map(|index| (first + index) % count)
            .find_map(|block| {
                let name = SocketAddr::from_abstract_name(format!("liveconf-test-ports-{block}")).unwrap();
                Some((block, UnixListener::bind_addr(&name).ok()?))
            })
            .unwrap_or_else(|| panic!("every port from {LOWEST} to {end} is in the hands of tests"));
        self.claims.push(claim);
        (self.next, self.left) = (LOWEST + block * BLOCK, BLOCK);
    }
}
