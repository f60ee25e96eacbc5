//! The least of HTTP/1.1 that following Consul takes: one connection that stays, one request at a time.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

/// A connection to a Consul on this machine.
pub(super) struct Connection(BufReader<TcpStream>);

/// What Consul answers.
pub(super) struct Reply {
    pub(super) status: u16,
    /// `X-Consul-Index`, where there is one.
    pub(super) index: Option<u64>,
    pub(super) body: Vec<u8>,
}

impl Connection {
    /// Opens it.
    pub(super) fn open(port: u16) -> std::io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends a request and reads the whole answer.
    pub(super) fn ask(&mut self, method: &str, path: &str, body: &[u8]) -> std::io::Result<Reply> {
        let mut request =
            format!("{method} /v1/{path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len())
                .into_bytes();
        request.extend_from_slice(body);
        self.0.get_mut().write_all(&request)?;
        let mut reply = Reply { status: 0, index: None, body: Vec::new() };
        let status = self.line()?;
        reply.status = status.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
        let (mut length, mut chunked) = (0, false);
        loop {
            let line = self.line()?.to_ascii_lowercase();
            match line.split_once(": ") {
                Some(("content-length", value)) => length = value.parse().unwrap(),
                Some(("transfer-encoding", value)) => chunked = value == "chunked",
                Some(("x-consul-index", value)) => reply.index = value.parse().ok(),
                Some(_) => {}
                None => break,
            }
        }
        if !chunked {
            self.take(length, &mut reply.body)?;
            return Ok(reply);
        }
        loop {
            let length = usize::from_str_radix(&self.line()?, 16).unwrap();
            self.take(length, &mut reply.body)?;
            self.line()?;
            if length == 0 {
                return Ok(reply);
            }
        }
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }

    fn take(&mut self, length: usize, body: &mut Vec<u8>) -> std::io::Result<()> {
        let start = body.len();
        body.resize(start + length, 0);
        self.0.read_exact(&mut body[start..])
    }
}
