//! Real HAProxy, in a folder of its own.

use std::collections::BTreeMap;
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
    let answer = ask(socket, "show proc")?;
    if answer.contains("master") { Ok(()) } else { Err(io::Error::other(answer)) }
}

/// What comes back when a socket of HAProxy is told a line.
pub fn ask(socket: &Path, line: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    writeln!(stream, "{line}")?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// What HAProxy says of the servers of a section: by name the address with its port, the weight and the administrative state.
pub fn servers(socket: &Path, section: &str) -> BTreeMap<String, String> {
    let table = ask(socket, &format!("show servers state {section}")).unwrap();
    let rows = table.lines().skip(2).map(|row| row.split(' ').collect::<Vec<_>>()).filter(|row| row.len() > 18);
    rows.map(|row| (row[3].to_owned(), format!("{}:{} {} {}", row[4], row[18], row[7], row[6]))).collect()
}

/// The pid of the worker, and how many seconds it runs.
pub fn worker(socket: &Path) -> (u32, u64) {
    let info = ask(socket, "show info").unwrap();
    let number = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap();
    (u32::try_from(number("Pid:")).unwrap(), number("Uptime_sec:"))
}
