//! The socket of the service manager: `sd_notify(3)`, <https://www.freedesktop.org/software/systemd/man/sd_notify.html>.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use tokio::time::timeout;
use tracing::warn;

/// How long a message may wait for room in the queue of a service manager that is busy.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the environment says of the service manager.
#[derive(Debug, Clone)]
pub(super) struct Address {
    socket: SocketAddr,
    /// How soon after the last sign of life we are held for dead; none where nobody looks.
    pub(super) watchdog: Option<Duration>,
}

impl Address {
    /// What stands in the environment that `variable` reads, if we were started by a service manager that wants to know.
    /// `id` is our process.
    pub(super) fn find(variable: impl Fn(&str) -> Option<OsString>, id: u32) -> io::Result<Option<Self>> {
        let Some(socket) = variable("NOTIFY_SOCKET").filter(|socket| !socket.is_empty()) else { return Ok(None) };
        let number = |name: &str| -> Option<u64> { variable(name)?.to_str()?.parse().ok() };
        // Inherited from a parent that is watched itself, it is not meant for us.
        let is_ours = number("WATCHDOG_PID").is_none_or(|watched| watched == u64::from(id));
        let watchdog = number("WATCHDOG_USEC").filter(|usec| is_ours && *usec > 0).map(Duration::from_micros);
        if is_ours && watchdog.is_none() && variable("WATCHDOG_USEC").is_some_and(|usec| usec != "0") {
            warn!("no watchdog is fed: `WATCHDOG_USEC` is no number of microseconds");
        }
        Ok(Some(Self { socket: address(&socket)?, watchdog }))
    }

    /// Sends a message: assignments, a line each.
    pub(super) async fn send(&self, message: &str) -> io::Result<()> {
        // One of its own for each message: the manager may have been replaced.
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&self.socket)?;
        socket.set_nonblocking(true)?;
        let socket = tokio::net::UnixDatagram::from_std(socket)?;
        let sent = timeout(PATIENCE, socket.send(message.as_bytes())).await;
        sent.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut))).map(drop)
    }
}

/// A path, or behind an `@` a name without a file.
fn address(text: &OsStr) -> io::Result<SocketAddr> {
    match text.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(text),
        _ => Err(io::Error::new(io::ErrorKind::Unsupported, "it begins neither with `/` nor with `@`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(variables: &[(&str, &str)]) -> io::Result<Option<Address>> {
        let variable = |name: &str| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| value.into());
        Address::find(variable, 7)
    }

    #[test]
    fn the_environment_says_where_and_how_often() {
        let socket = ("NOTIFY_SOCKET", "/run/systemd/notify");
        assert!(find(&[]).unwrap().is_none() && find(&[("NOTIFY_SOCKET", "")]).unwrap().is_none());
        assert!(find(&[("WATCHDOG_USEC", "30000000")]).unwrap().is_none());
        for odd in ["vsock:2:1234", "relative"] {
            assert!(find(&[("NOTIFY_SOCKET", odd)]).is_err(), "{odd}");
        }
        for (watchdog, expected) in [
            (vec![], None),
            (vec![("WATCHDOG_USEC", "30000000")], Some(Duration::from_secs(30))),
            (vec![("WATCHDOG_USEC", "30000000"), ("WATCHDOG_PID", "7")], Some(Duration::from_secs(30))),
            (vec![("WATCHDOG_USEC", "30000000"), ("WATCHDOG_PID", "8")], None),
            (vec![("WATCHDOG_USEC", "0")], None),
            (vec![("WATCHDOG_USEC", "soon")], None),
        ] {
            let variables = [vec![socket], watchdog].concat();
            assert_eq!(find(&variables).unwrap().unwrap().watchdog, expected, "{variables:?}");
        }
    }

    #[tokio::test]
    async fn messages_arrive_at_a_path_and_at_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("liveconf-test-{}", std::process::id());
        let at_path = UnixDatagram::bind(&path).unwrap();
        let at_name = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        for (socket, text) in [(at_path, path.to_str().unwrap().to_owned()), (at_name, format!("@{name}"))] {
            let address = find(&[("NOTIFY_SOCKET", &text)]).unwrap().unwrap();
            address.send("READY=1\n").await.unwrap();
            let mut buffer = [0; 64];
            let read = socket.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..read], b"READY=1\n");
            drop(socket);
            assert!(address.send("READY=1\n").await.is_err());
        }
    }
}
