//! The documents that commands write with `--json`: names, paths, revisions, times and reasons, never a value. What stands
//! here once stays; later versions add to it, so a reader ignores what it does not know. Times are RFC 3339 in UTC.

use serde::{Deserialize, Serialize};

/// How everything stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Whether everything is as it should be: all targets are, and the last configuration was taken.
    pub well: bool,
    /// The version of the program that answers.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// When it was started.
    pub started: String,
    /// The configuration that is in force.
    pub configuration: Configuration,
    /// Since when the disk of the state folder has not answered, where that is longer than 2 s: files and reloads go on without.
    #[serde(default)]
    pub state_folder_hangs: Option<String>,
    /// Every registry that is configured.
    pub registries: Vec<Registry>,
    /// The targets that were asked about.
    pub targets: Vec<Target>,
}

/// The configuration that is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// Its main file; none for a job that flags describe.
    pub file: Option<String>,
    /// When it, or its templates, were loaded.
    pub loaded: String,
    /// When a newer one was found wrong, so that this one stayed.
    pub refused: Option<String>,
}

/// How a registry stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registry {
    /// Its name.
    pub name: String,
    /// The name of its kind.
    pub kind: String,
    /// `well`, `away`, `connecting` or `idle`.
    pub state: String,
    /// Since when; none while nobody asks it anything.
    pub since: Option<String>,
    /// Why it is away.
    pub reason: Option<String>,
}

/// How a target stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// Whether it is as it should be: settled on the newest answers, with nothing held back, paused, away, refused or otherwise than it was put there, and its process running where liveconf runs it.
    pub well: bool,
    /// How far it has come: `waiting`, `applying`, `held`, `settled`, `owed`, `failed` or `rejected`.
    pub state: String,
    /// Since when.
    pub since: String,
    /// The newest revision that its files show; none before they were written or found true.
    pub revision: Option<u64>,
    /// Why it is `owed`, `failed` or `rejected`.
    pub reason: Option<String>,
    /// When something is to be applied or tried next; none while something is.
    pub next: Option<String>,
    /// Since when an apply or a reload is under way.
    pub applying: Option<String>,
    /// Since when it is paused.
    pub paused: Option<String>,
    /// What it waits for.
    pub waiting_for: Vec<Waiting>,
    /// What its guard holds back.
    pub held: Vec<Held>,
    /// The registries that have not answered yet, so that files which were missing show saved answers.
    pub saved: Vec<Saved>,
    /// The registries that it asks and that are away.
    pub away: Vec<String>,
    /// How many queries its templates ask.
    pub queries: usize,
    /// How many of them were refused by their registry since their last answer.
    pub refused: usize,
    /// What is not as it was put there, a text each: a file that somebody changed, servers that HAProxy runs otherwise, or that
    /// it cannot be asked.
    #[serde(default)]
    pub drifted: Vec<String>,
    /// What is due and has to wait, if something has.
    #[serde(default)]
    pub delayed: Option<Delayed>,
    /// Who refused its newest files, where it is `rejected` and that is known.
    #[serde(default)]
    pub rejected: Option<Rejected>,
    /// The program that reads its files, where liveconf runs it.
    #[serde(default)]
    pub process: Option<Process>,
}

/// Who refused files; why stands in the reason of the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// `verify`, `reload`, `confirm` or `process`.
    pub by: String,
    /// When, also where that was before a restart.
    pub at: String,
}

/// Something that is due and delayed, before its render.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delayed {
    /// What it waits for: `old_workers` or `lock`.
    pub by: String,
    /// The same for people.
    pub reason: String,
    /// Who holds the lock, as the first in its line says of itself; none where that is not known.
    #[serde(default)]
    pub holder: Option<String>,
    /// Since when it is due.
    pub since: String,
    /// When it goes on whatever is; none for without limit.
    pub until: Option<String>,
}

/// A program that liveconf runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// What it does: `waiting`, `running`, `stopping`, `hanging`, `pausing`, `over` or `stopped`.
    pub state: String,
    /// Since when.
    pub since: String,
    /// Its process id, while it runs.
    pub pid: Option<i32>,
    /// How often it was started anew after it had ended by itself.
    pub restarts: u64,
    /// How it last ended by itself.
    pub last_exit: Option<LastExit>,
    /// When it is started anew, while it is `pausing`.
    pub next: Option<String>,
    /// The targets whose files it waits for, before its first start.
    pub waiting_for: Vec<String>,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastExit {
    /// When.
    pub at: String,
    /// How, such as `exited with 1`.
    pub reason: String,
    /// Whether it did not end well: otherwise than by exiting with 0, or as often as it may.
    #[serde(default)]
    pub failed: bool,
}

/// A query that is not answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Its registry.
    pub registry: String,
    /// What is asked, such as "key `app/db`".
    pub query: String,
    /// Why it is not answered, as far as that is known.
    pub reason: Option<String>,
}

/// A query whose newest answer is held back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Its registry.
    pub registry: String,
    /// What is asked.
    pub query: String,
    /// `nothing`, `drop` or `too_few`.
    pub reason: String,
    /// Since when.
    pub since: String,
    /// How much the files show; none where that is not known, after a start.
    pub before: Option<usize>,
    /// How much there is by now.
    pub after: usize,
    /// When it is confirmed, and then passes; none for without limit.
    pub until: Option<String>,
}

/// A registry whose saved answers are shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// Its name.
    pub registry: String,
    /// When the oldest of them were saved.
    pub saved: String,
}

/// How one target stands, in detail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// What `status` says of it.
    pub target: Target,
    /// The files that it writes.
    pub files: Vec<String>,
    /// When all its templates were last rendered from complete answers.
    pub rendered: Option<String>,
    /// The last time that files were replaced, since the program started.
    pub commit: Option<Commit>,
    /// When its process was last told to take the files.
    pub told: Option<String>,
    /// When it was last known to have taken them.
    pub taken: Option<String>,
    /// When the last confirmed files were last put back in place of others that were refused.
    pub restored: Option<String>,
    /// How it was told last, where that can be done while the process runs; none before it was told.
    #[serde(default)]
    pub way: Option<Way>,
    /// How many servers are not wanted any more, and wait for their last sessions to end.
    #[serde(default)]
    pub leaving: usize,
    /// What its templates ask.
    pub queries: Vec<Query>,
}

/// How a process was told that takes some changes while it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// `runtime` or `reload`.
    pub by: String,
    /// How many servers were changed, at `runtime`.
    pub servers: Option<usize>,
    /// Why it was a `reload`, as far as there was a choice.
    pub reason: Option<String>,
}

/// Files that were replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// When.
    pub at: String,
    /// The newest revision that they show.
    pub revision: u64,
    /// The files.
    pub files: Vec<String>,
    /// Why: `first`, `answers`, `files` or `saved`.
    pub cause: String,
    /// The queries whose answers changed; the first of them.
    pub queries: Vec<Name>,
    /// How many more there were.
    pub more: usize,
}

/// What a query is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Name {
    /// Its registry.
    pub registry: String,
    /// What is asked.
    pub query: String,
}

/// How a query stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// Its registry.
    pub registry: String,
    /// What is asked.
    pub query: String,
    /// The revision that its last answer was read at; none while it was never answered.
    pub revision: Option<u64>,
    /// When its answer became what it is.
    pub changed: Option<String>,
    /// Whether the files show an older answer than this, which is held back.
    pub held: bool,
    /// Why there is no newer answer: the registry refuses it, or is away.
    pub reason: Option<String>,
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// What passes from now on, after `release`.
    pub released: Vec<Name>,
    /// How the targets stand that it was about.
    pub targets: Vec<Target>,
}
