//! What a proxy sends requests to: a small HTTP server that keeps its connections open.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::support::port;

/// How long a request to `/slow` takes: long enough to be under way when a reload comes.
const SLOW: Duration = Duration::from_millis(300);

/// A server that answers with its name; to `/echo` with the head of the request. Dropped, it is gone at once, with
/// every connection.
pub struct Backend {
    name: String,
    port: u16,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    ended: AtomicBool,
    served: AtomicUsize,
    under_way: AtomicUsize,
}

impl Backend {
    /// On a port of its own.
    pub fn start(name: &str) -> Self {
        Self::start_on(name, [127, 0, 0, 1])
    }

    /// On every address of the machine, so that each of the loopback's is a server of its own.
    pub fn start_everywhere(name: &str) -> Self {
        Self::start_on(name, [0, 0, 0, 0])
    }

    fn start_on(name: &str, address: [u8; 4]) -> Self {
        let port = port::free();
        let listener = TcpListener::bind((IpAddr::from(address), port)).unwrap();
        let shared = Arc::new(Shared::default());
        let accept = {
            let (name, shared) = (name.to_owned(), Arc::clone(&shared));
            move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    if shared.ended.load(Ordering::SeqCst) {
                        return;
                    }
                    let (name, shared) = (name.clone(), Arc::clone(&shared));
                    // A proxy that goes away ends the connection, which is nobody's failure.
                    thread::spawn(move || serve(&stream, &name, &shared).ok());
                }
            }
        };
        Self { name: name.to_owned(), port, shared, listener: Some(thread::spawn(accept)) }
    }

    /// What it answers.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many requests it has taken.
    pub fn served(&self) -> usize {
        self.shared.served.load(Ordering::SeqCst)
    }

    /// How many of them it has not answered yet.
    pub fn under_way(&self) -> usize {
        self.shared.under_way.load(Ordering::SeqCst)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts; connections end when they next look.
        TcpStream::connect(("127.0.0.1", self.port)).ok();
        self.listener.take().map(JoinHandle::join);
    }
}

/// Answers one request after the other on a connection.
fn serve(stream: &TcpStream, name: &str, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_millis(20)))?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(head) = read_head(&mut reader, shared)? {
        shared.under_way.fetch_add(1, Ordering::SeqCst);
        shared.served.fetch_add(1, Ordering::SeqCst);
        let path = head.split(' ').nth(1).unwrap_or_default();
        if path == "/slow" {
            thread::sleep(SLOW);
        }
        let body = if path == "/echo" { &head } else { name };
        let written = write!(&mut &*stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        shared.under_way.fetch_sub(1, Ordering::SeqCst);
        written?;
        if head.contains("HTTP/1.0") || head.to_ascii_lowercase().contains("connection: close") {
            break;
        }
    }
    Ok(())
}

/// The head of the next request; none when the other side is done, or the server has ended.
fn read_head(reader: &mut impl BufRead, shared: &Shared) -> io::Result<Option<String>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match reader.read_until(b'\n', &mut head) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !shared.ended.load(Ordering::SeqCst) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(String::from_utf8_lossy(&head).into_owned()))
}
