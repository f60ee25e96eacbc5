//! A server that notes what it is sent, and hangs up.

use std::io::Read;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::support::port;

/// A trap. It stays set until the test ends.
pub struct Trap {
    port: u16,
    caught: Arc<Mutex<Vec<String>>>,
}

impl Trap {
    /// Sets one on a port of its own.
    pub fn set() -> Self {
        let port = port::free();
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let caught: Arc<Mutex<Vec<String>>> = Arc::default();
        let note = Arc::clone(&caught);
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                // The beginning of a request comes in one piece.
                stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
                let mut bytes = [0; 4096];
                let length = stream.read(&mut bytes).unwrap_or(0);
                note.lock().unwrap().push(String::from_utf8_lossy(&bytes[..length]).into_owned());
            }
        });
        Self { port, caught }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What each connection began with.
    pub fn caught(&self) -> Vec<String> {
        self.caught.lock().unwrap().clone()
    }
}
