//! One process for each destination: what this one writes, another one must not.
//!
//! A claim is a listening socket in the abstract namespace whose name is a hash of the real path: it leaves no file
//! behind, ends with the process however that ends, and tells who holds it (`SO_PEERCRED`, unix(7)). Processes in
//! different network namespaces do not see each other's claims.

use std::collections::HashMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use sha2::{Digest as _, Sha256};

/// The destinations that this process writes, until it is dropped.
#[derive(Debug, Default)]
pub struct Claims {
    held: HashMap<PathBuf, UnixListener>,
}

/// Another process of ours writes this destination.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{}` is written by another liveconf{}",
    .destination.display(),
    .pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
)]
pub struct Taken {
    /// The destination.
    pub destination: PathBuf,
    /// Who writes it, when that can be found.
    pub pid: Option<i32>,
}

impl Claims {
    /// Claims all of these; those that were held before and are not among them are let go. When one is taken nothing
    /// changes.
    pub fn hold(&mut self, destinations: impl IntoIterator<Item = PathBuf>) -> Result<(), Taken> {
        let mut missing = Vec::new();
        let mut kept = Vec::new();
        for destination in destinations {
            let real = real(&destination);
            if self.held.contains_key(&real) {
                kept.push(real);
            } else if !missing.iter().any(|(other, _)| *other == real) {
                let claim = claim(&real, destination)?;
                missing.push((real, claim));
            }
        }
        self.held.retain(|path, _| kept.contains(path));
        self.held.extend(missing.into_iter().filter_map(|(path, claim)| Some((path, claim?))));
        Ok(())
    }
}

/// Claims one path. Where the system has no such sockets for us there is no claim, and no harm in that.
fn claim(real: &Path, destination: PathBuf) -> Result<Option<UnixListener>, Taken> {
    let name = format!("liveconf/{:x}", Sha256::digest(real.as_os_str().as_bytes()));
    let error = match SocketAddr::from_abstract_name(&name) {
        Ok(address) => match UnixListener::bind_addr(&address) {
            Ok(listener) => return Ok(Some(listener)),
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                return Err(Taken { pid: holder(&name), destination });
            }
            Err(error) => error,
        },
        Err(error) => error,
    };
    tracing::debug!(destination = %destination.display(), %error, "cannot claim the destination");
    Ok(None)
}

/// Who listens. Nobody takes these connections, so the queue is full when many have asked, and then it is not waited.
fn holder(name: &str) -> Option<i32> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let stream = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).ok()?;
    connect(&stream, &SocketAddrUnix::new_abstract_name(name.as_bytes()).ok()?).ok()?;
    let credentials = rustix::net::sockopt::socket_peercred(&stream).ok()?;
    Some(credentials.pid.as_raw_pid())
}

/// The path behind symlinks, also of a file that is not there yet.
fn real(destination: &Path) -> PathBuf {
    let beside = || -> io::Result<PathBuf> {
        let (Some(folder), Some(name)) = (destination.parent(), destination.file_name()) else {
            return Err(ErrorKind::InvalidInput.into());
        };
        Ok(fs::canonicalize(folder)?.join(name))
    };
    fs::canonicalize(destination).or_else(|_| beside()).unwrap_or_else(|_| destination.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_claimed_once_and_by_its_real_path() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.conf");
        let link = folder.path().join("link.conf");
        std::fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let mut first = Claims::default();
        first.hold([file.clone()]).unwrap();
        first.hold([file.clone(), folder.path().join("new.conf")]).unwrap();

        let mut second = Claims::default();
        let taken = second.hold([link.clone()]).unwrap_err();
        assert_eq!(taken, Taken { destination: link.clone(), pid: i32::try_from(std::process::id()).ok() });
        first.hold([]).unwrap();
        second.hold([link]).unwrap();
    }

    #[test]
    fn a_holder_that_many_have_asked_keeps_nobody_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.conf");
        let mut first = Claims::default();
        first.hold([file.clone()]).unwrap();
        // A unit that systemd starts again and again asks each time, and is never answered.
        let name = format!("liveconf/{:x}", Sha256::digest(real(&file).as_os_str().as_bytes()));
        let address = rustix::net::SocketAddrUnix::new_abstract_name(name.as_bytes()).unwrap();
        let ask = || {
            let (family, kind) = (rustix::net::AddressFamily::UNIX, rustix::net::SocketType::STREAM);
            let probe = rustix::net::socket_with(family, kind, rustix::net::SocketFlags::NONBLOCK, None).unwrap();
            rustix::net::connect(&probe, &address)
        };
        while ask().is_ok() {}
        assert_eq!(ask(), Err(rustix::io::Errno::AGAIN));

        let (send, answer) = std::sync::mpsc::channel();
        std::thread::spawn(move || send.send(Claims::default().hold([file]).unwrap_err()).unwrap());
        let taken = answer.recv_timeout(std::time::Duration::from_secs(10)).expect("it hangs");
        assert_eq!(taken.pid, None);
    }
}
