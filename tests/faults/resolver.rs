//! A server of names that answers as a test wants.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

/// What it says of every name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Says {
    /// It has this address.
    Address(Ipv4Addr),
    /// There is no such name.
    NoSuchName,
    /// Nothing.
    Nothing,
}

/// The server, until its process ends.
pub(crate) struct Resolver {
    state: Arc<Mutex<(Says, u64)>>,
}

impl Resolver {
    /// At the port of names of the loopback, so this process has a network of its own.
    pub(crate) fn start(says: Says) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 53)).unwrap();
        let state = Arc::new(Mutex::new((says, 0)));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            let mut buffer = [0; 1500];
            while let Ok((length, client)) = socket.recv_from(&mut buffer) {
                let says = {
                    let mut state = shared.lock().unwrap();
                    state.1 += 1;
                    state.0
                };
                answer(&socket, client, &buffer[..length], says);
            }
        });
        Self { state }
    }

    /// From now on it says this; gives how often it was asked since the last change.
    pub(crate) fn says(&self, says: Says) -> u64 {
        std::mem::replace(&mut *self.state.lock().unwrap(), (says, 0)).1
    }

    /// How often it was asked since the last change.
    pub(crate) fn asked(&self) -> u64 {
        self.state.lock().unwrap().1
    }
}

/// Answers one question as RFC 1035 has it: the header of 12 bytes, the question as it came, and the address.
fn answer(socket: &UdpSocket, client: SocketAddr, question: &[u8], says: Says) {
    const HEADER: usize = 12;
    /// Type A, class IN.
    const ADDRESS: [u8; 4] = [0, 1, 0, 1];
    if question.len() < HEADER || says == Says::Nothing {
        return;
    }
    // The name ends with an empty label; type and class follow.
    let end = HEADER + question[HEADER..].iter().position(|byte| *byte == 0).unwrap_or_default() + 5;
    let Some(asked) = question.get(HEADER..end) else { return };
    let address = match says {
        Says::Address(address) if asked.ends_with(&ADDRESS) => Some(address),
        _ => None,
    };
    let failure = if says == Says::NoSuchName { 3 } else { 0 };
    let mut reply = question[..2].to_vec();
    reply.extend([0x81, 0x80 | failure, 0, 1, 0, u8::from(address.is_some()), 0, 0, 0, 0]);
    reply.extend(asked);
    if let Some(address) = address {
        // The name of the question, and nobody may keep the answer.
        reply.extend([0xc0, 0x0c]);
        reply.extend(ADDRESS);
        reply.extend([0, 0, 0, 0, 0, 4]);
        reply.extend(address.octets());
    }
    socket.send_to(&reply, client).ok();
}
