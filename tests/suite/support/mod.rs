//! What a test stands on: real servers on ports of their own, the program in a folder of its own, and waiting that
//! ends as soon as what is waited for is there.

pub mod certificates;
pub mod connections;
#[cfg(feature = "consul")]
pub mod consul;
#[cfg(feature = "consul")]
pub mod consul_client;
#[cfg(feature = "etcd")]
pub mod etcd;
#[cfg(feature = "etcd")]
pub mod etcd_client;
#[cfg(feature = "etcd")]
pub mod etcd_proxy;
pub mod follower;
pub mod folder;
pub mod haproxy;
pub mod http;
pub mod liveconf;
pub mod nginx;
pub mod notify;
pub mod port;
pub mod process;
pub mod proxy;
pub mod reader;
pub mod runtime;
pub mod seed;
pub mod strace;

use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for something that comes within a second on a quiet machine.
pub const SOON: Duration = Duration::from_secs(30);

/// Asks again and again until `attempt` gives a value; panics with its last reason when that takes longer than
/// `within`.
#[track_caller]
pub fn poll_until<T>(within: Duration, mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + within;
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(reason) if Instant::now() > deadline => panic!("after {within:?}: {reason}"),
            Err(_) => thread::sleep(Duration::from_millis(2)),
        }
    }
}
