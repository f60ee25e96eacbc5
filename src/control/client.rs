//! The other side: a question to a running daemon.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::request::{Reply, Request};

/// How long it may take until the daemon has taken a question.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of an answer that are read: far more than thousands of targets need.
const LARGEST: u64 = 64 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens there.
    #[error("no liveconf listens at `{0}`")]
    NotRunning(String),
    /// The socket may not be used.
    #[error("not allowed to use `{0}`")]
    Denied(String),
    /// It did not answer in time.
    #[error("liveconf has not answered within {}", humantime::format_duration(*.0))]
    Late(Duration),
    /// It ended the connection.
    #[error("liveconf ended the connection without an answer: it may be about to stop")]
    Ended,
    /// Something else.
    #[error("failed to ask liveconf: {0}")]
    Failed(io::Error),
}

/// Asks the daemon that listens at `path`, and waits for the answer at most for `limit`.
pub async fn ask(path: &Path, request: &Request, limit: Duration) -> Result<Reply, AskError> {
    let shown = || path.display().to_string();
    let connected = timeout(PATIENCE, UnixStream::connect(path)).await.map_err(|_| AskError::Late(PATIENCE))?;
    let stream = connected.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::NotADirectory => {
            AskError::NotRunning(shown())
        }
        io::ErrorKind::PermissionDenied => AskError::Denied(shown()),
        _ => AskError::Failed(error),
    })?;
    match timeout(limit, converse(stream, request)).await {
        Ok(Ok(reply)) => Ok(reply),
        Ok(Err(error)) if is_end(&error) => Err(AskError::Ended),
        Ok(Err(error)) => Err(AskError::Failed(error)),
        Err(_) => Err(AskError::Late(limit)),
    }
}

/// The process that holds the lock of a state folder, if one does. Asked of the kernel, since to try the lock would keep
/// out a daemon that starts just then.
pub fn holder(state_dir: &Path) -> Option<u32> {
    let inode = fs::metadata(state_dir.join("lock")).ok()?.ino();
    let locks = fs::read_to_string("/proc/locks").ok()?;
    // proc_locks(5): `1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF`.
    locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, _, pid, file, ..] = fields[..] else { return None };
        (file.rsplit(':').next()?.parse() == Ok(inode)).then(|| pid.parse().ok())?
    })
}

async fn converse(mut stream: UnixStream, request: &Request) -> io::Result<Reply> {
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    // One that is refused before it has spoken is told so all the same.
    let sent = stream.write_all(&line).await;
    let mut answer = Vec::new();
    BufReader::new(stream.take(LARGEST)).read_until(b'\n', &mut answer).await?;
    if answer.is_empty() {
        sent?;
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_slice(&answer)?)
}

fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}
