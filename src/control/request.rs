//! What is asked over the control socket and answered: a line of JSON each.

use serde::{Deserialize, Serialize};

use super::report::{Explanation, Outcome, Status};

/// A question or a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase", deny_unknown_fields)]
pub enum Request {
    /// How everything stands, or these targets.
    Status {
        /// Names of targets; none for all.
        #[serde(default)]
        targets: Vec<String>,
    },
    /// How one target stands, in detail.
    Explain {
        /// Its name.
        target: String,
    },
    /// Let pass what is held back.
    Release {
        /// The target.
        target: String,
        /// Which of its queries; none for all.
        #[serde(default)]
        query: Option<String>,
    },
    /// Apply nothing any more.
    Pause {
        /// The target; none for all that there are.
        #[serde(default)]
        target: Option<String>,
    },
    /// Go on.
    Resume {
        /// The target; none for all that there are.
        #[serde(default)]
        target: Option<String>,
    },
    /// Render and apply now.
    Apply {
        /// The target; none for all that there are.
        #[serde(default)]
        target: Option<String>,
    },
}

impl Request {
    /// Whether nothing is changed by it.
    pub fn only_reads(&self) -> bool {
        matches!(self, Self::Status { .. } | Self::Explain { .. })
    }
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reply {
    /// To `status`.
    Status(Status),
    /// To `explain`.
    Explanation(Box<Explanation>),
    /// To every command.
    Outcome(Outcome),
    /// Nothing was done.
    Refused(Refusal),
}

/// Why nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What kind of reason it is.
    pub kind: RefusalKind,
    /// The reason, for people.
    pub reason: String,
}

/// What kind of reason it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RefusalKind {
    /// The peer may not do this.
    Forbidden,
    /// There is no such target.
    Unknown,
    /// The request cannot be understood.
    Malformed,
    /// Too much is under way, or liveconf is about to stop.
    Busy,
    /// Nothing that is held back is called so.
    #[serde(rename = "not_held")]
    NotHeld,
}

impl Refusal {
    /// Refuses for this reason.
    pub(super) fn new(kind: RefusalKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_strictly() {
        let read = |text: &str| serde_json::from_str::<Request>(text).ok();
        assert_eq!(read(r#"{"command":"status"}"#), Some(Request::Status { targets: Vec::new() }));
        assert_eq!(read(r#"{"command":"apply","target":"web"}"#), Some(Request::Apply { target: Some("web".into()) }));
        // One that is misspelt must not become one that means every target.
        assert_eq!(read(r#"{"command":"apply","targets":"web"}"#), None);
        assert_eq!(read(r#"{"command":"explain"}"#), None);
        assert_eq!(read(r#"{"command":"stop"}"#), None);
    }
}
