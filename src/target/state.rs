//! What a target says of itself.

use std::collections::BTreeSet;

use crate::registry::Asked;

/// The state of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It waits for answers.
    Waiting(BTreeSet<Asked>),
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
