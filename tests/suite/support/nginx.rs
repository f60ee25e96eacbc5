//! Real nginx, in a folder of its own.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use super::process::{Process, bound, find};
use super::{SOON, http, poll_until};

/// A master with its workers; dropped, they end.
pub struct Nginx {
    process: Process,
    pid_file: PathBuf,
}

impl Nginx {
    /// Starts nginx with `prefix` as its folder and `nginx.conf` in it, which must write `nginx.pid` there and
    /// answer on `port`.
    pub fn start(prefix: &Path, port: u16) -> Self {
        let pid_file = prefix.join("nginx.pid");
        let errors = prefix.join("error.log");
        let mut command = bound(Signal::SIGTERM, find("nginx"));
        command.arg("-p").arg(prefix).arg("-c").arg(prefix.join("nginx.conf")).arg("-e").arg(&errors);
        command.args(["-g", "daemon off;"]);
        let mut nginx = Self { process: Process::start(command).with_workers(), pid_file };
        poll_until(SOON, || {
            if let Some(status) = nginx.process.ended() {
                panic!("nginx ended with {status}: {}", fs::read_to_string(&errors).unwrap_or_default());
            }
            http::get(port, "/").map_err(|error| format!("nginx does not answer: {error}"))
        });
        nginx
    }

    /// The pid of the master.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Where the master wrote it.
    pub fn pid_file(&self) -> &Path {
        &self.pid_file
    }
}
