//! A server that says what it is told: what newer Consuls and proxies in front of them say.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// The target of a request, and how often its path was asked for before, give the reply.
type Script = dyn Fn(&str, usize) -> String + Send + Sync;

/// A server that answers by a script, but for the question after the leader. It lives as long as the tests do.
pub struct Fake {
    pub address: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

/// One that came.
#[derive(Debug, Clone)]
pub struct Request {
    pub at: Instant,
    /// The other end of the connection.
    pub peer: SocketAddr,
    pub head: String,
}

impl Request {
    /// What is asked for, with the parameters.
    pub fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    /// The same without them.
    pub fn path(&self) -> &str {
        self.target().split('?').next().unwrap_or_default()
    }
}

impl Fake {
    pub fn start(script: impl Fn(&str, usize) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let script: Arc<Script> = Arc::new(script);
        let requests = Arc::default();
        let seen = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, script, seen) = (stream.unwrap(), Arc::clone(&script), Arc::clone(&seen));
                thread::spawn(move || serve(stream, &*script, &seen));
            }
        });
        Self { address, requests }
    }

    /// All requests until now.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// When a path was asked for.
    pub fn times(&self, path: &str) -> Vec<Instant> {
        self.requests().iter().filter(|request| request.path() == path).map(|request| request.at).collect()
    }
}

/// Answers on one connection until it ends.
fn serve(mut stream: TcpStream, script: &Script, seen: &Mutex<Vec<Request>>) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let peer = stream.peer_addr().ok()?;
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            (stream.read(&mut byte).ok()? > 0).then_some(())?;
            head.push(byte[0]);
        }
        let request = Request { at: Instant::now(), peer, head: String::from_utf8(head).unwrap() };
        let before = {
            let mut seen = seen.lock().unwrap();
            let before = seen.iter().filter(|earlier| earlier.path() == request.path()).count();
            seen.push(request.clone());
            before
        };
        let reply = if request.path().ends_with("/v1/status/leader") {
            reply(200, "", "\"127.0.0.1:8300\"")
        } else {
            script(request.target(), before)
        };
        stream.write_all(reply.as_bytes()).ok()?;
    }
}

/// A reply with more headers, each with its end of line.
pub fn reply(status: u16, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// As a long poll during which nothing happens.
pub fn silence() -> String {
    thread::sleep(Duration::from_secs(60));
    String::new()
}
