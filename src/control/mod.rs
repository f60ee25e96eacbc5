//! The control socket: what the operator asks of a running daemon, and what that answers.
//!
//! A Unix socket in the state folder takes a [`Request`] and gives a [`Reply`], a line of JSON each. The daemon shows what
//! there is in a [`Roster`]; `describe` makes the answers of it, from snapshots, so that a question never waits for a target
//! that is at work. Commands go to the [desk](crate::target::Desk) of their target.
//!
//! No answer holds a value of a registry, a secret, or the content of a file: names, paths, revisions, times and reasons
//! only. Root and the user that the daemon runs as may do everything, whoever else the mode of the socket lets in may only
//! ask. What peers may cost is bounded: connections, bytes and time.

mod client;
mod describe;
mod request;
mod roster;
mod server;
mod socket;

pub mod report;

pub use client::{AskError, ask, holder};
pub use request::{Refusal, RefusalKind, Reply, Request};
pub use roster::{Posted, Roster};
pub use server::Control;
pub use socket::Place;
