//! Confirmed by a connection that is taken.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::probe::Failed;

/// Connects to `address`, `host:port`.
pub(super) async fn attempt(address: &str, limit: Duration) -> Result<(), Failed> {
    match timeout(limit, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(Failed::Yet(format!("`{address}` takes no connection: {error}"))),
        Err(_) => {
            let limit = humantime::format_duration(limit);
            Err(Failed::Yet(format!("`{address}` took no connection within {limit}")))
        }
    }
}
