//! A service manager as far as it listens at a notify socket: `sd_notify(3)`.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::folder::Folder;
use super::{SOON, poll_until};

/// What was sent, and when it came.
#[derive(Debug, Clone)]
pub struct Message {
    /// When it came.
    pub at: Instant,
    /// Its assignments, a line each.
    pub text: String,
}

impl Message {
    /// What is assigned to this name.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
    }
}

/// The listener. Its thread ends with the test.
pub struct Manager {
    address: String,
    heard: Arc<Mutex<Vec<Message>>>,
    _folder: Folder,
}

impl Manager {
    /// At a path in a folder of its own.
    pub fn at_path() -> Self {
        let folder = Folder::new();
        let path = folder.path("notify");
        Self::listening(UnixDatagram::bind(&path).unwrap(), path.to_str().unwrap().to_owned(), folder)
    }

    /// At a name without a file.
    pub fn at_name() -> Self {
        let folder = Folder::new();
        let name = folder.path("notify").to_str().unwrap().to_owned();
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        Self::listening(socket, format!("@{name}"), folder)
    }

    fn listening(socket: UnixDatagram, address: String, folder: Folder) -> Self {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let writer = heard.clone();
        thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(read) = socket.recv(&mut buffer) {
                let text = String::from_utf8(buffer[..read].to_vec()).unwrap();
                writer.lock().unwrap().push(Message { at: Instant::now(), text });
            }
        });
        Self { address, heard, _folder: folder }
    }

    /// What `NOTIFY_SOCKET` says.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// All that came so far.
    pub fn messages(&self) -> Vec<Message> {
        self.heard.lock().unwrap().clone()
    }

    /// Those that hold this line.
    pub fn with(&self, line: &str) -> Vec<Message> {
        self.messages().into_iter().filter(|message| message.text.lines().any(|other| other == line)).collect()
    }

    /// Waits until as many hold this line; the last of them.
    #[track_caller]
    pub fn wait_for(&self, number: usize, line: &str) -> Message {
        poll_until(SOON, || match self.with(line).get(number - 1) {
            Some(message) => Ok(message.clone()),
            None => Err(format!("`{line}` did not come {number} times: {:#?}", self.messages())),
        })
    }

    /// Waits for a status that holds all of these.
    #[track_caller]
    pub fn wait_for_status(&self, fragments: &[&str]) -> String {
        poll_until(SOON, || {
            let messages = self.messages();
            let mut found = messages.iter().filter_map(|message| message.value("STATUS"));
            match found.find(|status| fragments.iter().all(|fragment| status.contains(fragment))) {
                Some(status) => Ok(status.to_owned()),
                None => Err(format!("no status holds {fragments:?}: {messages:#?}")),
            }
        })
    }

    /// The longest time between two signs of life in a row that came after `since`, and from the last of them until now.
    pub fn longest_silence(&self, since: Instant) -> Duration {
        let signs = self.with("WATCHDOG=1").into_iter().map(|message| message.at).filter(|at| *at > since);
        let moments: Vec<_> = [since].into_iter().chain(signs).chain([Instant::now()]).collect();
        moments.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }
}
