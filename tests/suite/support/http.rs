//! The least of HTTP that asking a server of a test needs.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Asks for a path of a server on the loopback: status and body.
pub fn get(port: u16, path: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "not an HTTP reply");
    let (head, body) = reply.split_once("\r\n\r\n").ok_or_else(invalid)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(invalid)?;
    Ok((status, body.to_owned()))
}
