//! Real HAProxy, in a folder of its own.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

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
            // Until its master answers, which starts anew when the worker is there, it drops the signals that it is sent.
            let ready = master_answers(&folder.join("master.sock")).and_then(|()| http::get(port, "/"));
            ready.map_err(|error| format!("haproxy does not answer: {error}"))
        });
        haproxy
    }

    /// The file that names the master.
    pub fn pid_file(&self) -> &Path {
        &self.pid_file
    }
}

/// Whether the master answers on its socket.
fn master_answers(socket: &Path) -> io::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"show proc\n")?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.contains("master") { Ok(()) } else { Err(io::Error::other(answer)) }
}
