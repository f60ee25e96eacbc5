//! What hashes are keyed with, so that a record tells nothing about a secret file to whoever has the record alone.

use super::keyed_hash;

/// Marks a hash that is not keyed yet. None of these is ever written: whoever writes knows the key.
const PLAIN: char = '?';

/// The key of a state folder; none until the folder was read.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Key(pub(super) Option<[u8; 32]>);

impl Key {
    /// A hash in the form in which it is kept.
    pub(super) fn of(self, hash: &str) -> String {
        match self.0 {
            Some(key) => keyed_hash(key, hash),
            None => format!("{PLAIN}{hash}"),
        }
    }

    /// Brings a hash into that form that was kept before the key was known.
    pub(super) fn apply_to(self, kept: &mut String) {
        if let Some(hash) = kept.strip_prefix(PLAIN) {
            *kept = self.of(hash);
        }
    }
}
