//! Real HAProxy, in a folder of its own.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::{fs, fs::File};

use nix::sys::signal::Signal;

use super::process::{Process, bound, find};
use super::{SOON, http, poll_until};

/// A master with its workers; dropped, they end.
pub struct Haproxy {
    process: Process,
    pid_file: PathBuf,
}

impl Haproxy {
    /// Starts HAProxy in master mode on `haproxy.cfg` in `folder`, which must answer on `port`. Its master listens on
    /// `master.sock` there.
    pub fn start(folder: &Path, port: u16) -> Self {
        Self::start_on(folder, "haproxy.cfg", port)
    }

    /// The same with another file.
    pub fn start_on(folder: &Path, config: &str, port: u16) -> Self {
        let pid_file = folder.join("haproxy.pid");
        let log = folder.join("haproxy.log");
        let mut command = bound(Signal::SIGTERM, find("haproxy"));
        command.arg("-W").arg("-S").arg(folder.join("master.sock"));
        command.arg("-f").arg(folder.join(config)).current_dir(folder);
        command.stderr(File::create(&log).unwrap());
        let mut haproxy = Self { process: Process::start(command).with_workers(), pid_file };
        // In the foreground it writes no pid file of its own.
        fs::write(&haproxy.pid_file, format!("{}\n", haproxy.process.id())).unwrap();
        poll_until(SOON, || {
            if let Some(status) = haproxy.process.ended() {
                panic!("haproxy ended with {status}: {}", fs::read_to_string(&log).unwrap_or_default());
            }
            // Until its master listens it drops the signals that it is sent.
            let master = UnixStream::connect(folder.join("master.sock"));
            master.and_then(|_| http::get(port, "/")).map_err(|error| format!("haproxy does not answer: {error}"))
        });
        haproxy
    }

    /// The file that names the master.
    pub fn pid_file(&self) -> &Path {
        &self.pid_file
    }
}
