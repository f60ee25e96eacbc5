//! What is kept of a refusal, so that its reason outlives the life in which it happened.

use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes of a reason that are kept.
const LONGEST: usize = 1000;

/// Lines of a reason that are kept.
const LINES: usize = 5;

/// Who refused files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// `verify`, which looked at the files in place.
    Verify,
    /// The reload: its command, or the answer to it.
    Reload,
    /// `confirm`, which looked at the process after the reload.
    Confirm,
    /// The program that we run, which ended over them.
    Process,
}

/// A refusal. Like the log it says nothing that stands in the files: exit codes, kinds and places.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// By whom.
    pub by: By,
    /// When, to the second.
    #[serde(serialize_with = "write_time", deserialize_with = "read_time")]
    pub at: SystemTime,
    /// Why: its first lines.
    pub why: String,
}

impl Refused {
    /// A refusal of this moment.
    pub fn now(by: By, why: &str) -> Self {
        Self { by, at: SystemTime::now(), why: beginning(why, LINES, LONGEST) }
    }

    /// Why in a few words, for a line about something else.
    pub fn in_short(&self) -> String {
        beginning(&self.why, 1, 200)
    }
}

impl By {
    /// Its name in what is written for scripts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::Reload => "reload",
            Self::Confirm => "confirm",
            Self::Process => "process",
        }
    }
}

/// A refusal of an earlier time.
impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {}: {}", humantime::format_rfc3339_seconds(self.at), self.why)
    }
}

/// The first lines of a text.
fn beginning(text: &str, lines: usize, bytes: usize) -> String {
    let mut kept = text.trim_end().lines().take(lines).collect::<Vec<_>>().join("\n");
    if kept.len() > bytes {
        kept.truncate((0..=bytes).rev().find(|end| kept.is_char_boundary(*end)).unwrap_or(0));
        kept.push_str(" ...");
    }
    kept
}

fn write_time<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_seconds(*time))
}

fn read_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
    humantime::parse_rfc3339(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_first_lines_are_kept_and_short_is_one() {
        let refused = Refused::now(By::Reload, "it exited with 65\nb\nc\nd\ne\nf\n");
        assert_eq!((&*refused.why, &*refused.in_short()), ("it exited with 65\nb\nc\nd\ne", "it exited with 65"));
        let long = Refused::now(By::Confirm, &"é".repeat(2000));
        assert!(long.why.len() <= LONGEST + 4 && long.why.ends_with("é ..."), "{}", long.why.len());
        assert!(long.in_short().len() <= 204);
    }

    #[test]
    fn it_is_written_for_people_and_read_again() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let refused = Refused { by: By::Confirm, at, why: "not up".to_owned() };
        let text = serde_json::to_string(&refused).unwrap();
        assert_eq!(text, r#"{"by":"confirm","at":"2023-11-14T22:13:20Z","why":"not up"}"#);
        assert_eq!(serde_json::from_str::<Refused>(&text).unwrap(), refused);
        assert_eq!(refused.to_string(), "at 2023-11-14T22:13:20Z: not up");
        for by in [By::Verify, By::Reload, By::Confirm, By::Process] {
            assert_eq!(serde_json::to_value(by).unwrap(), by.name());
        }
    }
}
