//! Processes that a command left behind.

use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A process that a command started and that outlived it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remains {
    /// Its id.
    pub(super) pid: u32,
    /// The name that the kernel knows it by.
    pub(super) name: String,
}

/// What was said of what the commands of one target left behind. The same is said again after a while: a check leaves its
/// background process at each change.
#[derive(Debug, Clone, Default)]
pub struct Leavings(Arc<Mutex<Option<Said>>>);

/// When something was said, and of which program.
#[derive(Debug)]
struct Said {
    at: Instant,
    name: Option<String>,
}

/// How long.
const SELDOM: Duration = Duration::from_secs(600);

impl Leavings {
    /// Whether the log is to be told of what was left, the first of it by this name.
    pub(super) fn is_news(&self, name: Option<&str>) -> bool {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_other = |said: &Said| name.is_some() && said.name.as_deref() != name;
        let is_news = said.as_ref().is_none_or(|said| said.at.elapsed() >= SELDOM || is_other(said));
        if is_news {
            *said = Some(Said { at: Instant::now(), name: name.map(str::to_owned) });
        }
        is_news
    }
}

/// The processes whose environment holds `NAME=VALUE`. A process that left the group and the session of the command
/// (`setsid`, a double fork) is still found by what it inherited, unless it cleared its environment or belongs to
/// someone else.
pub(super) fn with_variable(name: &str, value: &str) -> Vec<Remains> {
    let wanted = format!("{name}={value}");
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|environment| environment.split(|&byte| byte == 0).any(|pair| pair == wanted.as_bytes()))
        })
        .map(|pid| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            Remains { pid, name: name.trim_end().to_owned() }
        })
        .collect()
}
