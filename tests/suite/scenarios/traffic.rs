//! Clients that ask a proxy all the while, over new connections and over kept ones, and what they see.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What clients saw.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    /// How often each body came with status 200.
    pub answers: BTreeMap<String, usize>,
    /// Everything else: no answer, half an answer, another status.
    pub failures: Vec<String>,
    /// Requests that were sent again over a new connection, since the proxy closed the kept one before it answered
    /// anything: what RFC 9110, 9.2.2 has clients do for a GET, and every HTTP library does unasked.
    pub sent_again: usize,
}

impl Seen {
    /// All requests that were answered.
    pub fn total(&self) -> usize {
        self.answers.values().sum()
    }

    /// The requests that this backend answered.
    pub fn from(&self, name: &str) -> usize {
        self.answers.get(name).copied().unwrap_or_default()
    }
}

/// Clients under way; dropped, they end.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    clients: Vec<JoinHandle<()>>,
}

#[derive(Clone, Copy)]
enum Client {
    /// A connection for each request.
    Anew(&'static str),
    /// One connection, as long as the proxy keeps it.
    Kept(&'static str),
}

impl Traffic {
    /// Two clients of each kind, one of which asks what takes long, at a port of the loopback.
    pub fn start(port: u16) -> Self {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Seen::default())));
        let kinds = [Client::Anew("/"), Client::Kept("/"), Client::Anew("/slow"), Client::Kept("/slow")];
        let clients = kinds
            .map(|kind| {
                let (stop, seen) = (Arc::clone(&stop), Arc::clone(&seen));
                thread::spawn(move || {
                    let mut kept = None;
                    while !stop.load(Ordering::Relaxed) {
                        let result = match kind {
                            Client::Anew(path) => ask_anew(port, path),
                            Client::Kept(path) => ask_kept(&mut kept, port, path, &seen),
                        };
                        let mut seen = seen.lock().unwrap();
                        match result {
                            Ok(body) => *seen.answers.entry(body).or_default() += 1,
                            Err(error) => seen.failures.push(error.to_string()),
                        }
                        drop(seen);
                        // The pace of the clients: some hundred requests a second each, and room for what they ask.
                        thread::sleep(Duration::from_millis(2));
                    }
                })
            })
            .into();
        Self { stop, seen, clients }
    }

    /// What they saw until now.
    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    /// Ends them: what they saw.
    pub fn stop(mut self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.drain(..).for_each(|client| client.join().unwrap());
        self.seen()
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn ask_anew(port: u16, path: &str) -> io::Result<String> {
    let mut connection = Connection::open(port)?;
    connection.send(path, "close")?;
    connection.receive().map(|(body, _)| body)
}

fn ask_kept(kept: &mut Option<Connection>, port: u16, path: &str, seen: &Mutex<Seen>) -> io::Result<String> {
    let (mut connection, body, goes_on);
    if let Some(used) = kept.take() {
        connection = used;
        let sent = connection.send(path, "keep-alive");
        if sent.is_err() || connection.is_closed_unanswered() {
            seen.lock().unwrap().sent_again += 1;
            connection = Connection::open(port)?;
            connection.send(path, "keep-alive")?;
        }
    } else {
        connection = Connection::open(port)?;
        connection.send(path, "keep-alive")?;
    }
    (body, goes_on) = connection.receive()?;
    *kept = goes_on.then_some(connection);
    Ok(body)
}

struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    fn send(&mut self, path: &str, connection: &str) -> io::Result<()> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: shop.example\r\nConnection: {connection}\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes())
    }

    /// Whether the other side closed it without a single byte of an answer.
    fn is_closed_unanswered(&mut self) -> bool {
        match self.0.fill_buf() {
            Ok(bytes) => bytes.is_empty(),
            Err(error) => matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe),
        }
    }

    /// The body of an answer with status 200, and whether the connection stays open after it.
    fn receive(&mut self) -> io::Result<(String, bool)> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.0.read_line(&mut head)? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("closed after the head {head:?}")));
            }
        }
        let invalid = |reason: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{reason}: {head:?}"));
        if !head.starts_with("HTTP/1.1 200 ") {
            return Err(invalid("not status 200"));
        }
        let header = |name: &str| {
            let lines = head.lines().filter_map(|line| line.split_once(": "));
            lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
        };
        let length = header("content-length").and_then(|length| length.parse().ok());
        let mut body = vec![0; length.ok_or_else(|| invalid("no length"))?];
        self.0.read_exact(&mut body)?;
        let stays = !header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        Ok((String::from_utf8_lossy(&body).into_owned(), stays))
    }
}
