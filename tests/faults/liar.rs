//! A relay in front of a real server that speaks HTTP, which says something else in its place for a while.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

/// What it says instead, to a request with this target; the whole reply with its head. Then the connection ends.
type Lie = dyn Fn(&str) -> Vec<u8> + Send + Sync;

/// A relay to a server of the loopback. It listens as long as the tests run.
pub(crate) struct Liar {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    lie: Mutex<Option<Arc<Lie>>>,
    open: Mutex<Vec<TcpStream>>,
    requests: Mutex<Vec<Instant>>,
}

impl Liar {
    /// In front of this port, telling the truth.
    pub(crate) fn start(server_port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let liar = Self { port: listener.local_addr().unwrap().port(), shared: Arc::default() };
        let shared = Arc::clone(&liar.shared);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve(client, server_port, &shared));
            }
        });
        liar
    }

    /// From now on it says this, also to those whose answers are under way.
    pub(crate) fn lie(&self, lie: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) {
        self.become_(Some(Arc::new(lie)));
    }

    /// From now on it says what the server says.
    pub(crate) fn be_honest(&self) {
        self.become_(None);
    }

    fn become_(&self, lie: Option<Arc<Lie>>) {
        *self.shared.lie.lock().unwrap() = lie;
        for stream in self.shared.open.lock().unwrap().drain(..) {
            stream.shutdown(Shutdown::Both).ok();
        }
    }

    /// How many requests came after a moment.
    pub(crate) fn requests_since(&self, moment: Instant) -> usize {
        self.shared.requests.lock().unwrap().iter().filter(|at| **at > moment).count()
    }
}

/// Answers one request.
fn serve(mut client: TcpStream, server_port: u16, shared: &Shared) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        (client.read(&mut byte).ok()? > 0).then_some(())?;
        head.push(byte[0]);
    }
    shared.requests.lock().unwrap().push(Instant::now());
    let head = String::from_utf8(head).unwrap();
    let lie = shared.lie.lock().unwrap().clone();
    if let Some(lie) = lie {
        client.write_all(&lie(head.split(' ').nth(1)?)).ok()?;
    } else {
        let mut server = TcpStream::connect(("127.0.0.1", server_port)).ok()?;
        for stream in [&client, &server] {
            shared.open.lock().unwrap().push(stream.try_clone().ok()?);
        }
        // One request a connection, so that its end is the end of the reply.
        let head = head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
        server.write_all(head.as_bytes()).ok()?;
        std::io::copy(&mut server, &mut client).ok()?;
    }
    client.shutdown(Shutdown::Both).ok()
}

/// A reply with more headers, each with its end of line.
pub(crate) fn reply(status: u16, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}
