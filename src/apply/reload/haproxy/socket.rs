//! Asks a HAProxy over a socket of its command line (management guide, 9.3): one line, which may hold several commands, and
//! all that comes back.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// What one question may take. HAProxy answers at once, or not at all.
const ANSWER: Duration = Duration::from_secs(2);

/// The longest answer that is read: the state of some hundred thousand servers.
const LIMIT: u64 = 64 << 20;

/// Sends a line, and gives all that is answered.
pub(in crate::apply) async fn ask(socket: &Path, line: &str) -> io::Result<String> {
    let answer = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(format!("{line}\n").as_bytes()).await?;
        // It answers what it was asked, and closes.
        stream.shutdown().await?;
        let mut answer = Vec::new();
        stream.take(LIMIT).read_to_end(&mut answer).await?;
        io::Result::Ok(answer)
    };
    let answer = timeout(ANSWER, answer).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Whether nobody listens there.
pub(in crate::apply) fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// Why a question was not answered, and what to do about it.
pub(super) fn why(socket: &Path, error: &io::Error) -> String {
    let socket = socket.display();
    match error.kind() {
        _ if is_closed(error) => format!("no haproxy listens on `{socket}`"),
        io::ErrorKind::TimedOut => {
            format!("haproxy does not answer on `{socket}` within {}", humantime::format_duration(ANSWER))
        }
        io::ErrorKind::PermissionDenied => {
            format!("liveconf may not use the socket `{socket}`: give it `user`, `group` or `mode` in `stats socket`")
        }
        _ => format!("cannot ask haproxy on `{socket}`: {error}"),
    }
}
