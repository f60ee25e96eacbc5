//! What a target says of itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::applier::Way;
use crate::apply::Refused;
use crate::guard::Held;
use crate::registry::line::Ahead;
use crate::registry::{Asked, Path};
use crate::store::ReaderId;

/// The state of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// How far it has come.
    pub phase: Phase,
    /// Since when it has come as far, whatever the details.
    pub since: SystemTime,
    /// The answers that its guard holds back: its files show older ones, whatever the phase says.
    pub held: Vec<Held>,
    /// The registries that have not answered yet, so that files which were missing show saved answers, and when the oldest
    /// of these were saved.
    pub earlier: BTreeMap<Arc<str>, SystemTime>,
    /// Its process has files to start with: its own, or older ones that stay for now. Once it has, this remains so.
    pub in_place: bool,
    /// When it was first there, also before configuration was loaded anew.
    pub began: Instant,
    /// When something is to be tried or applied next, unless the target is paused.
    pub due: Option<Instant>,
    /// Since when an apply or a reload is under way, if one is.
    pub busy: Option<SystemTime>,
    /// Who refused the newest files, when and why, where they were refused.
    pub refused: Option<Refused>,
    /// What was done so far.
    pub journal: Journal,
    /// Who reads its answers; none before there was a task.
    pub reader: Option<ReaderId>,
    /// What is not as it was put there, and not put right: files that somebody changed, servers that HAProxy runs otherwise.
    pub drifted: Vec<String>,
    /// What is due and has to wait, if something has.
    pub delayed: Option<Delayed>,
    /// How the registry of its lock stands, once that was asked.
    pub lock: Option<LockSeen>,
}

/// Something is due that ends in a reload, and is delayed, before its render.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delayed {
    /// What it waits for.
    pub by: Delay,
    /// Since when it is due.
    pub since: SystemTime,
    /// When it goes on whatever is; none for without limit.
    pub until: Option<Instant>,
}

/// What an apply waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delay {
    /// Old workers of nginx, of which there are as many, and only so many may be left by a reload.
    OldWorkers {
        /// How many there are.
        old: usize,
        /// How many there may be.
        most: u64,
    },
    /// The lock of the fleet.
    Lock {
        /// The registry that keeps it.
        registry: Arc<str>,
        /// The folder of its keys.
        path: Path,
        /// Who stands in front; none where the registry does not say.
        ahead: Option<Ahead>,
        /// Why it does not; none where it was asked only now.
        reason: Option<String>,
    },
}

impl fmt::Display for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OldWorkers { old, most } => {
                write!(f, "{old} old workers of nginx serve connections, and a reload may leave more than {most}")
            }
            Self::Lock { registry, path, ahead: Some(ahead), .. } => {
                let others = if ahead.count == 1 { "other comes" } else { "others come" };
                write!(f, "{} {others} first at lock `{path}` of registry `{registry}`", ahead.count)?;
                ahead.first.as_ref().map_or(Ok(()), |first| write!(f, ", which is held by {first}"))
            }
            Self::Lock { registry, path, ahead: None, reason: Some(reason) } => {
                write!(f, "registry `{registry}` gives no answer about lock `{path}`: {reason}")
            }
            Self::Lock { registry, path, ahead: None, reason: None } => {
                write!(f, "registry `{registry}` is asked for lock `{path}`")
            }
        }
    }
}

/// How the registry of a lock stands towards the target that wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockSeen {
    /// The registry.
    pub registry: Arc<str>,
    /// The folder of the keys of the lock.
    pub path: Path,
    /// The lock is wanted or held; otherwise this was so when it was last.
    pub is_wanted: bool,
    /// Since when it is so.
    pub since: SystemTime,
    /// Whether it answers; none where it was asked only now, the reason where it does not.
    pub answers: Option<Result<(), String>>,
}

/// How far a target has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// It waits for answers, and for what a template says is not enough yet.
    Waiting(BTreeSet<Asked>, Option<String>),
    /// Everything is answered, and its first apply is under way or due.
    Applying,
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
    /// The newest files were refused when they were in place, by `verify` or the process, as this says; it also says what
    /// stands there instead.
    Rejected(String),
}

/// When a target last did what, since the program started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Journal {
    /// The newest revision of an answer that the files show; none before they were written or found true.
    pub revision: Option<u64>,
    /// When all its templates were last rendered from answers that were complete.
    pub rendered: Option<SystemTime>,
    /// The last time that files were replaced.
    pub commit: Option<Arc<Commit>>,
    /// When the process was last told to take the files.
    pub told: Option<SystemTime>,
    /// When it was last known to have taken them.
    pub taken: Option<SystemTime>,
    /// What `revision` was then.
    pub taken_revision: Option<u64>,
    /// How it was told last, where there are two ways.
    pub way: Option<Way>,
    /// How many servers are not wanted any more, and wait for their last sessions to end.
    pub leaving: usize,
    /// When the last confirmed files were last put back in place of others that were refused.
    pub restored: Option<SystemTime>,
}

/// Files that were replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// When they were.
    pub at: SystemTime,
    /// The newest revision of an answer that they show.
    pub revision: u64,
    /// Their destinations.
    pub files: Vec<PathBuf>,
    /// Why they were.
    pub cause: Cause,
}

/// Why files were rendered otherwise than they stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// It was the first render since the program started, or since configuration or templates were loaded anew.
    First,
    /// These answers changed, or passed the guard, since the files were last true.
    Answers {
        /// The first of them, in their order.
        first: Vec<Asked>,
        /// How many more there are.
        more: usize,
    },
    /// No answer changed: the files did.
    Files,
    /// They were missing, and were made of saved answers.
    Saved,
}

impl Cause {
    /// How many queries are named.
    const MOST: usize = 20;

    /// That these answers changed.
    pub(super) fn of(changed: impl Iterator<Item = Asked>) -> Self {
        let mut changed = changed.peekable();
        if changed.peek().is_none() {
            return Self::Files;
        }
        let first = changed.by_ref().take(Self::MOST).collect();
        Self::Answers { first, more: changed.count() }
    }
}

impl State {
    /// The state of a target that has done nothing yet.
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::Waiting(BTreeSet::new(), None),
            since: SystemTime::now(),
            held: Vec::new(),
            earlier: BTreeMap::new(),
            drifted: Vec::new(),
            in_place: false,
            began: Instant::now(),
            delayed: None,
            lock: None,
            due: None,
            busy: None,
            refused: None,
            journal: Journal::default(),
            reader: None,
        }
    }

    /// Enters a phase. Where that is the one it was in, only the details change.
    pub(super) fn enter(&mut self, phase: Phase) {
        if std::mem::discriminant(&phase) != std::mem::discriminant(&self.phase) {
            self.since = SystemTime::now();
        }
        self.phase = phase;
    }
}
