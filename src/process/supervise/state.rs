//! How a supervised program stands.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::process::BootTime;

/// How a supervised program stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// What it does.
    pub phase: Phase,
    /// Since when.
    pub since: SystemTime,
    /// The run that is under way, if one is.
    pub run: Option<Run>,
    /// When the last run began.
    pub last_begun: Option<BootTime>,
    /// How many runs have ended by themselves, or did not come about.
    pub ends: u64,
    /// How the last of them ended.
    pub last_end: Option<Ended>,
}

/// What a supervised program does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// It was not started yet: the files of these targets are not in place.
    Waiting(BTreeSet<Arc<str>>),
    /// It runs.
    Running,
    /// It is being stopped, for good or to be started anew.
    Stopping,
    /// It was killed and does not end, since it hangs in the kernel; nothing is started beside it.
    Hanging,
    /// It ended, and is started anew then.
    Pausing(Instant),
    /// It ended and is not started anew by itself, for this reason.
    Over(String),
    /// We stopped it, and it stays so.
    Stopped,
}

/// One run of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Its process.
    pub pid: i32,
    /// Just before it was started. It has read whatever files were in place then.
    pub begun: BootTime,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// When.
    pub at: SystemTime,
    /// How, for people.
    pub reason: String,
    /// It did not end well: it was not started, exited with something else than 0, was ended by a signal, or ended as
    /// often as it may.
    pub failed: bool,
}

impl State {
    /// Nothing was started yet.
    pub(super) fn new(waiting: BTreeSet<Arc<str>>) -> Self {
        Self {
            phase: Phase::Waiting(waiting),
            since: SystemTime::now(),
            run: None,
            last_begun: None,
            ends: 0,
            last_end: None,
        }
    }

    /// How often it was started anew after an end of its own.
    pub fn restarts(&self) -> u64 {
        match self.phase {
            Phase::Pausing(_) | Phase::Over(_) => self.ends.saturating_sub(1),
            _ => self.ends,
        }
    }
}
