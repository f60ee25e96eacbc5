//! What a target says of itself.

use std::collections::BTreeSet;

use crate::guard::Held;
use crate::registry::Asked;

/// The state of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// How far it has come.
    pub phase: Phase,
    /// The answers that its guard holds back: its files show older ones, whatever the phase says.
    pub held: Vec<Held>,
}

/// How far a target has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// It waits for answers.
    Waiting(BTreeSet<Asked>),
    /// It has applied nothing yet, because its guard holds back what would replace a file by less.
    Held,
    /// Its files are true to this revision and its process has taken them.
    Settled {
        /// The newest revision of an answer that was rendered.
        revision: u64,
    },
    /// Its files are true, its process has not taken them yet.
    Owed(String),
    /// Its files are older than the registry, for this reason.
    Failed(String),
}
