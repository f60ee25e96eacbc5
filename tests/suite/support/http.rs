//! The least of HTTP that asking a server of a test needs: one connection a request, which the server closes.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Asks for a path of a server on the loopback: status and body.
pub fn get(port: u16, path: &str) -> io::Result<(u16, String)> {
    let (status, body) = request(port, "GET", path, b"", &[])?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// A header of what a server of the loopback says to a path.
pub fn header(port: u16, path: &str, name: &str) -> io::Result<Option<String>> {
    let (head, _) = exchange(port, "GET", path, b"", &[])?;
    let named = |line: &str| {
        line.split_once(": ").filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    };
    Ok(head.lines().find_map(named))
}

/// Sends any request to a server on the loopback: status and body.
pub fn request(
    port: u16,
    method: &str,
    path: &str,
    body: &[u8],
    headers: &[(&str, &str)],
) -> io::Result<(u16, Vec<u8>)> {
    let (head, body) = exchange(port, method, path, body, headers)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.map(|status| (status, body)).ok_or_else(invalid)
}

/// Head and body of a reply.
fn exchange(
    port: u16,
    method: &str,
    path: &str,
    body: &[u8],
    headers: &[(&str, &str)],
) -> io::Result<(String, Vec<u8>)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    // A server that speaks HTTP/1.0 closes the connection at the end of its reply, and sends it in one piece.
    let mut request =
        format!("{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {}\r\n", body.len()).into_bytes();
    for (name, value) in headers {
        write!(request, "{name}: {value}\r\n")?;
    }
    request.extend_from_slice(b"\r\n");
    request.extend_from_slice(body);
    stream.write_all(&request)?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    let end = reply.windows(4).position(|window| window == b"\r\n\r\n").ok_or_else(invalid)?;
    let body = reply.split_off(end + 4);
    Ok((String::from_utf8_lossy(&reply).into_owned(), body))
}

fn invalid() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not an HTTP reply")
}
