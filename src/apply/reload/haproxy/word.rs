//! Words of commands for the runtime socket.

use std::fmt;

/// A word that stays one: it cannot end its command, begin another one, or be a payload. The socket splits at spaces, takes
/// `;` and the end of a line for the end of a command, `\` for an escape and `<<` for a payload (management guide, 9.3); none
/// of these is in here. Values of a registry reach the socket as words only.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Word(String);

/// Longer ones are not taken: a command with all its words fits into the smallest buffer that HAProxy is run with.
const LONGEST: usize = 255;

impl Word {
    /// The text as a word, where it is one.
    pub(super) fn new(text: &str) -> Option<Self> {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_.:,/%@+=-[]".contains(c);
        (!text.is_empty() && text.len() <= LONGEST && text.chars().all(is_allowed)).then(|| Self(text.to_owned()))
    }

    /// The text as the name of a section or a server: HAProxy allows letters, digits, `-`, `_`, `.` and `:` in these.
    pub(super) fn name(text: &str) -> Option<Self> {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
        Self::new(text).filter(|word| word.0.chars().all(is_allowed))
    }

    /// The text.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
