//! What the configuration means, checked and complete: defaults filled in, paths resolved, placeholders parsed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::confirm::Confirm;
use super::http::HttpReload;
use super::lock::Lock;
use super::places::Places;
use super::problem::Problem;
use super::process::Process;
use crate::registry::{Path, Registry};

/// A whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file that it came from; none for a job given on the command line.
    pub file: Option<PathBuf>,
    /// The folder that relative paths start from, absolute.
    pub base: PathBuf,
    /// Registries, by name.
    pub registries: BTreeMap<Arc<str>, NamedRegistry>,
    /// Targets, in the order in which they are written.
    pub targets: Vec<Target>,
    /// Where included templates are looked for, after the folder of the including file.
    pub template_dirs: Vec<PathBuf>,
    /// Where records of what was applied are kept.
    pub state_dir: PathBuf,
    /// Variables that `env()` and commands may see although they look like credentials of ours, or are not on the
    /// list that commands see by default.
    pub env_allow: Vec<String>,
    /// Folders in which `file()` may look for a path that is put together, besides that of the configuration. Absolute.
    pub files_allow: Vec<PathBuf>,
    /// Bounds on what registry values may make of us.
    pub limits: Limits,
    /// Log settings of the file.
    pub log: LogConfig,
    /// How long the first answers may be away before missing files are made of saved ones. Default 10 s.
    pub last_known_good_after: Duration,
    /// How long a transaction that is under way may take to finish after a stop signal. Default 8 s.
    pub grace: Duration,
    /// Where the running program is asked and commanded.
    pub control: Control,
    /// What is allowed and most likely not meant; to be logged.
    pub warnings: Vec<Problem>,
}

/// A registry with its configured name.
#[derive(Debug, Clone)]
pub struct NamedRegistry {
    /// The name that `registry=` uses.
    pub name: Arc<str>,
    /// The name of its kind.
    pub kind: &'static str,
    /// What it is.
    pub registry: Arc<dyn Registry>,
    /// How large its answers may be.
    pub limits: Limits,
    /// Whether its answers may be saved.
    pub remember: bool,
    /// Two registries of equal text are configured alike: a reload then keeps the connection. Never shown.
    pub fingerprint: [u8; 32],
}

/// One process and the files it reads: one transaction, one check, one reload.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its name.
    pub name: Arc<str>,
    /// Its files.
    pub templates: Vec<Template>,
    /// Run on the staged files before they are committed.
    pub check: Option<Check>,
    /// Run on the live files before the reload.
    pub verify: Option<Check>,
    /// How the process takes the new files.
    pub reload: Reload,
    /// The program that reads the files, where it is ours to run.
    pub process: Option<Arc<Process>>,
    /// How it is seen that the process runs the new files; none where the reload itself is believed.
    pub confirm: Option<Confirm>,
    /// When a change is applied.
    pub wait: Wait,
    /// The least time from the end of one reload to the next apply.
    pub reload_interval: Duration,
    /// A random delay up to this, for each change but the first apply.
    pub splay: Duration,
    /// How many of a fleet may be at their reload at a time; none where that is not asked.
    pub lock: Option<Lock>,
    /// The pauses between tries of a failed reload or apply: first and longest. Default 1 s to 60 s.
    pub retry: (Duration, Duration),
    /// When a render that takes this long has failed. Default 5 s.
    pub render_timeout: Duration,
    /// The rule that refuses answers that would gut an upstream.
    pub guard: Guard,
    /// What is done about files that somebody else changed. Default [`Drift::Repair`].
    pub drift: Drift,
    /// How often it is looked for such files. Default 30 s.
    pub drift_interval: Duration,
}

/// One file of a target.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own in the configuration")]
pub struct Template {
    /// The file name of `dest` unless given; unique within the target.
    pub name: String,
    /// Where the source comes from.
    pub source: TemplateSource,
    /// The file that is written, absolute. With `for_each` its name is a pattern, in which `*` stands for what comes of
    /// the item.
    pub dest: PathBuf,
    /// One file, many, or one of many.
    pub writes: Writes,
    /// Permission bits, when given.
    pub mode: Option<u32>,
    /// User and group, when given.
    pub owner: Owner,
    /// The content is secret: 0600, and never shown in a diff, a log or an error.
    pub secret: bool,
    /// Makes missing parent folders.
    pub create_dirs: bool,
    /// Writes into the existing file where it is a mount point, which is not atomic.
    pub in_place: bool,
    /// Keeps the file that was there before as `DEST.bak`.
    pub backup: bool,
    /// Keeps the last confirmed content of a secret file in the state folder, as that of every other file.
    pub keep_previous: bool,
    /// Run on this staged file, before the check of the target.
    pub check: Option<Check>,
    /// Whether lines that hold only block tags vanish.
    pub trim: bool,
    /// Other delimiters than `{% %}`, `{{ }}` and `{# #}`.
    pub delimiters: Option<Delimiters>,
}

/// What a template writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Writes {
    /// One file.
    One,
    /// A file for each item of a list. It stands in the configuration; a render has a template for each item instead.
    Each(Box<ForEach>),
    /// The file of one item.
    Item,
    /// Nothing: its item is gone, and so is to be its file.
    Gone,
    /// Nothing: its item is gone, and the file stays as it is.
    Kept,
}

/// `for_each`: a file for each item of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForEach {
    /// The expression that gives the items, as an expression that is printed.
    pub items: TemplateSource,
    /// What makes the name of a file of its `item`.
    pub name: TemplateSource,
    /// What becomes of a file whose item is gone.
    pub gone: Gone,
}

/// What becomes of a file whose item is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// It is removed, if we wrote it.
    Remove,
    /// It stays.
    Keep,
}

/// Where the source of a template comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplateSource {
    /// A file, absolute.
    File(PathBuf),
    /// Text in the configuration, with its places for error messages.
    Inline {
        /// The text.
        content: String,
        /// The file that it is written in.
        file: String,
        /// Where it stands in that file.
        places: Places,
    },
}

/// User and group that a file is given to; names as written, looked up when the file is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owner {
    /// User name or number.
    pub user: Option<String>,
    /// Group name or number.
    pub group: Option<String>,
}

/// Delimiters of a template, each exactly two bytes: start and end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Delimiters {
    /// Around blocks.
    pub block: (String, String),
    /// Around variables.
    pub variable: (String, String),
    /// Around comments.
    pub comment: (String, String),
}

/// A program that says whether files are good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What is run.
    pub command: Command,
    /// A text written beside the staged file that makes a fragment checkable; its placeholders are filled in.
    pub wrapper: Option<Vec<Placeholder>>,
    /// When it is run.
    pub when: When,
}

/// When a check is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Whenever a file changed.
    Always,
    /// Only when a reload follows.
    Reload,
}

/// A program with its bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// What is run.
    pub program: Program,
    /// How long it may take. Default 30 s.
    pub timeout: Duration,
}

/// What is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// Arguments, the first of them the program; no shell. Each is pieces of text and placeholders.
    Arguments(Vec<Vec<Placeholder>>),
    /// A text for `sh -c`, in which placeholders have become quoted variables (`"$LIVECONF_STAGED"`), and the
    /// variables that it needs.
    Shell {
        /// The text for the shell.
        script: String,
        /// Variable names and what they stand for, in the order of their first use.
        variables: Vec<(String, Placeholder)>,
    },
}

/// A piece of a command or wrapper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placeholder {
    /// Text, braces and all.
    Text(String),
    /// The staged file of the template at this index of the target; its live path when it did not change, and once it
    /// is committed.
    Staged(usize),
    /// The destination of the template at this index of the target.
    Dest(usize),
    /// The file that holds the wrapper.
    Wrapper,
}

/// How a process takes new files. One kind, one file in `apply::reload`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reload {
    /// Nothing is told.
    None,
    /// A signal to the process named in a pid file.
    Signal {
        /// Its name, such as `HUP`.
        signal: nix::sys::signal::Signal,
        /// The file that holds the pid, absolute.
        pid_file: PathBuf,
    },
    /// A unit of systemd.
    Systemd(Unit),
    /// A HAProxy, by its runtime socket where that is enough.
    Haproxy(Haproxy),
    /// An HTTP request.
    Http(HttpReload),
    /// The program of the target, which we run.
    Process(ProcessReload),
    /// A program that exits 0.
    Command(Command),
}

/// How a program that we run takes new files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessReload {
    /// By this signal.
    Signal(nix::sys::signal::Signal),
    /// It is stopped and started anew.
    Restart,
}

/// A unit of systemd that is told by `systemctl`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Its name with its suffix, such as `nginx.service`.
    pub name: String,
    /// What it is told.
    pub action: Action,
    /// The program that tells it.
    pub systemctl: String,
    /// Whether it belongs to our own user's manager, and not to the system's.
    pub user: bool,
    /// How long the job may take.
    pub timeout: Duration,
}

/// A HAProxy that takes changes of its servers while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Haproxy {
    /// Its `stats socket`, with `level admin`, absolute.
    pub socket: PathBuf,
    /// The socket of the master's command line (`haproxy -S`), absolute.
    pub master: Option<PathBuf>,
    /// The file that holds the pid of the master, absolute. There is this, or the socket of the master.
    pub pid_file: Option<PathBuf>,
    /// How long it may take to bring a change to it. Default 5 s.
    pub timeout: Duration,
}

/// What a unit is told: a verb of systemctl(1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Reload; one that cannot is a failure.
    Reload,
    /// Stop and start.
    Restart,
    /// Reload where it can, else stop and start.
    ReloadOrRestart,
}

impl Action {
    /// Each with its verb.
    pub const NAMES: [(&'static str, Self); 3] =
        [("reload", Self::Reload), ("restart", Self::Restart), ("reload-or-restart", Self::ReloadOrRestart)];

    /// The verb, in the form that leaves a unit alone that does not run.
    pub fn verb(self) -> &'static str {
        match self {
            Self::Reload => "reload",
            Self::Restart => "try-restart",
            Self::ReloadOrRestart => "try-reload-or-restart",
        }
    }
}

/// What is done about files that somebody else changed: SEMANTICS 10.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drift {
    /// What was put there is written again, and the process is told.
    Repair,
    /// It is logged and shown.
    Report,
    /// It is not looked for them.
    Ignore,
}

/// When a change is applied: SEMANTICS "wait" and "gather".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// The quiet time after the last change.
    pub min: Duration,
    /// The longest delay after the first change.
    pub max: Duration,
    /// Whether a leading change goes at once.
    pub gather: Gather,
}

/// What happens to a leading change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gather {
    /// It goes at once, and those that follow wait.
    Burst,
    /// It waits like the others.
    Always,
}

/// The rule that holds back answers that would empty or gut an upstream: SEMANTICS "Guards".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// The share of the instances, in percent, that may be lost at once; a larger loss is held back for `hold`, from
    /// four instances up. Default 50.
    pub max_drop: u64,
    /// How long a large loss is held back before it is confirmed. Default 30 s.
    pub hold: Duration,
    /// How long an answer of nothing is held back before it is confirmed; none for without limit, which is the default.
    /// Zero turns the guard off.
    pub empty_after: Option<Duration>,
    /// Fewer instances of a service than this are held back without limit. Default 0.
    pub min_instances: u64,
    /// Keys below these are guarded as the instances of services are. Default none.
    pub prefixes: Vec<Path>,
}

impl Guard {
    /// Whether nothing is held back.
    pub fn is_off(&self) -> bool {
        self.empty_after == Some(Duration::ZERO)
    }
}

impl Default for Guard {
    fn default() -> Self {
        let hold = Duration::from_secs(30);
        Self { max_drop: 50, hold, empty_after: None, min_instances: 0, prefixes: Vec::new() }
    }
}

/// Bounds on what registry values may make of us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all that answers one question. Default 64 MiB.
    pub response: u64,
    /// Keys in the answer to one question. Default 200,000.
    pub keys: u64,
    /// Bytes of one value that a template may use: fewer than this. Default 8,000,000.
    pub value: u64,
    /// Bytes of one rendered file. Default 32 MiB.
    pub output: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { response: 64 << 20, keys: 200_000, value: 8_000_000, output: 32 << 20 }
    }
}

/// Where the running program is asked and commanded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Control {
    /// Where the socket is.
    pub socket: ControlSocket,
    /// The group whose members may ask, by name or number. Default our own.
    pub group: Option<String>,
}

/// Where the control socket is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ControlSocket {
    /// `control.sock` in the state folder.
    #[default]
    InStateFolder,
    /// At this path, which is absolute.
    At(PathBuf),
    /// There is none.
    None,
}

impl ControlSocket {
    /// The path of the socket of a program with this state folder, if there is one.
    pub fn path(&self, state_dir: &std::path::Path) -> Option<PathBuf> {
        match self {
            Self::InStateFolder => Some(state_dir.join("control.sock")),
            Self::At(path) => Some(path.clone()),
            Self::None => None,
        }
    }
}

/// Log settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogConfig {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: tracing::Level,
    /// Text or JSON.
    pub format: LogFormat,
}

impl LogConfig {
    /// The levels by the names that the configuration and the command line use.
    pub const LEVELS: &[(&str, tracing::Level)] = &[
        ("error", tracing::Level::ERROR),
        ("warn", tracing::Level::WARN),
        ("info", tracing::Level::INFO),
        ("debug", tracing::Level::DEBUG),
        ("trace", tracing::Level::TRACE),
    ];

    /// The formats by theirs.
    pub const FORMATS: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: tracing::Level::INFO, format: LogFormat::Text }
    }
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
