//! `process` of a target: the program that reads its files, run by us.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::command;
use super::field::Field;
use super::model::{Placeholder, ProcessReload, Program, Reload, Template};
use super::placeholder::Scope;
use super::problem::Complaint;
use super::reload::parse_signal;
use super::section::Section;
use super::units;

/// The name of the program that `run` is given on its command line. No target can be called so.
const OF_COMMAND_LINE: &str = "--";

/// The signals that are handed on unless something else is said, beside those that ask to stop.
const FORWARDED: [Signal; 3] = [Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGWINCH];

/// A program that we run beside its files, from the moment at which they are in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// That of its target, or `--` for the program of the command line.
    pub name: Arc<str>,
    /// The program and its arguments; it is looked for in `PATH`.
    pub arguments: Vec<OsString>,
    /// Variables that a script needs.
    pub variables: Vec<(OsString, OsString)>,
    /// When it is started anew after it has ended by itself. Default [`Restart::Always`].
    pub restart: Restart,
    /// The pauses before that: first and longest. Default 250 ms to 30 s.
    pub restart_delay: (Duration, Duration),
    /// How often in a row it is started anew without being up for the longest pause; none for without limit, which is the
    /// default.
    pub restart_limit: Option<u64>,
    /// Whether we end with its exit code when it has ended for good. Default no.
    pub exit: bool,
    /// What asks it to end. Default `TERM`.
    pub stop_signal: Signal,
    /// How long it may take to end before its process group is killed. Default 10 s.
    pub kill_timeout: Duration,
    /// How long it runs before it counts as up. Default 500 ms.
    pub settle: Duration,
    /// The folder that it is started in, absolute; ours by default.
    pub working_dir: Option<PathBuf>,
    /// The user that it runs as, by name or number; ours by default.
    pub user: Option<String>,
    /// The group that it runs as, by name or number; that of the user by default.
    pub group: Option<String>,
    /// Variables of ours that it sees, by name or by their beginning and `*`. Default all.
    pub env_allow: Vec<String>,
    /// Variables of ours that it does not see all the same.
    pub env_deny: Vec<String>,
    /// Signals that are handed on to it.
    pub forward: Vec<Signal>,
}

/// When a program is started anew that has ended by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// However it ended.
    Always,
    /// When it did not exit with 0.
    OnFailure,
    /// Never.
    Never,
}

impl Process {
    /// The program of the command line, which ends with us and we with it.
    pub(super) fn of_command_line(command: &[String]) -> Self {
        Self {
            restart: Restart::Never,
            exit: true,
            ..Self::new(OF_COMMAND_LINE, command.iter().map(OsString::from).collect())
        }
    }

    /// One with nothing but defaults.
    fn new(name: &str, arguments: Vec<OsString>) -> Self {
        Self {
            name: name.into(),
            arguments,
            variables: Vec::new(),
            restart: Restart::Always,
            restart_delay: (Duration::from_millis(250), Duration::from_secs(30)),
            restart_limit: None,
            exit: false,
            stop_signal: Signal::SIGTERM,
            kill_timeout: Duration::from_secs(10),
            settle: Duration::from_millis(500),
            working_dir: None,
            user: None,
            group: None,
            env_allow: vec!["*".to_owned()],
            env_deny: Vec::new(),
            forward: FORWARDED.to_vec(),
        }
    }

    /// For a test, with this program and no arguments.
    #[cfg(test)]
    pub(crate) fn test(program: &str) -> Self {
        Self::new("test", vec![program.into()])
    }

    /// What it is called in the log.
    pub fn shown(&self) -> &str {
        if *self.name == *OF_COMMAND_LINE { self.program() } else { &self.name }
    }

    /// Whether a shell runs it, which finds programs by itself.
    pub fn is_script(&self) -> bool {
        self.program().ends_with("sh")
    }

    /// The program, for messages.
    pub fn program(&self) -> &str {
        self.arguments.first().and_then(|program| program.to_str()).unwrap_or_default()
    }

    /// Whether a start of both gives the same.
    pub fn starts_like(&self, other: &Self) -> bool {
        let start = |process: &Self| {
            let Self { arguments, variables, working_dir, user, group, env_allow, env_deny, .. } = process.clone();
            (arguments, variables, working_dir, user, group, env_allow, env_deny)
        };
        start(self) == start(other)
    }
}

/// What the command line says of supervision.
pub(super) enum Supervises {
    /// It is that of a command that runs no process.
    Unknown,
    /// Only what the configuration says.
    Nothing,
    /// This program, for all targets that have none of their own.
    Program(Arc<Process>),
}

impl Supervises {
    /// What `run` is given behind `--`; none for other commands.
    pub(super) fn of(command: Option<&[String]>) -> Self {
        match command {
            None => Self::Unknown,
            Some([]) => Self::Nothing,
            Some(command) => Self::Program(Arc::new(Process::of_command_line(command))),
        }
    }

    /// Whether a target has a process that has none of its own.
    pub(super) fn has_process(&self) -> Option<bool> {
        match self {
            Self::Unknown => None,
            Self::Nothing => Some(false),
            Self::Program(_) => Some(true),
        }
    }

    /// The program, if there is one.
    pub(super) fn process(&self) -> Option<&Arc<Process>> {
        if let Self::Program(process) = self { Some(process) } else { None }
    }
}

/// What was written, before the files of the target are known.
pub(super) struct Draft {
    program: Program,
    process: Process,
}

impl Draft {
    /// The process of this target.
    pub(super) fn of(self, target: &str, templates: &[Template]) -> Process {
        let text = |piece: &Placeholder| match piece {
            Placeholder::Text(text) => OsString::from(text),
            Placeholder::Dest(index) | Placeholder::Staged(index) => {
                templates.get(*index).map(|template| template.dest.clone().into_os_string()).unwrap_or_default()
            }
            Placeholder::Wrapper => OsString::new(),
        };
        let (arguments, variables) = match &self.program {
            Program::Arguments(arguments) => {
                (arguments.iter().map(|pieces| pieces.iter().map(text).collect()).collect(), Vec::new())
            }
            Program::Shell { script, variables } => {
                let shell = ["sh", "-c", script].map(OsStr::new).map(OsString::from).to_vec();
                (shell, variables.iter().map(|(name, piece)| (name.into(), text(piece))).collect())
            }
        };
        Process { name: target.into(), arguments, variables, ..self.process }
    }
}

/// Reads `process`.
pub(super) fn read(field: Field<'_>, scope: Scope<'_>) -> Option<Draft> {
    let scope = Scope { staged: false, wrapper: false, ..scope };
    let mut section = field.section()?;
    let default = Process::new("", Vec::new());
    let program = command::program(&mut section, scope);
    if program.is_none() && !section.has("command") && !section.has("shell") {
        section.problem("command", "`command` or `shell` is missing", None);
    }
    let policies = [("always", Restart::Always), ("on-failure", Restart::OnFailure), ("never", Restart::Never)];
    let restart = section.or("restart", default.restart, |field| field.choice(&policies));
    let restart_delay = section.or("restart_delay", default.restart_delay, delay);
    let restart_limit = section.or("restart_limit", None, limit);
    let exit = section.or("exit", default.exit, Field::flag);
    let stop_signal = section.or("stop_signal", default.stop_signal, parse_signal);
    let kill_timeout = section.or("kill_timeout", default.kill_timeout, Field::duration);
    let settle = section.or("settle", default.settle, Field::duration);
    let working_dir = section.optional("working_dir", Field::path);
    let user = section.optional("user", Field::text);
    let group = section.optional("group", Field::text);
    let env_allow = section.or("env_allow", default.env_allow, Field::texts);
    let env_deny = section.or("env_deny", default.env_deny, Field::texts);
    let forward = section.or("forward", default.forward, signals);
    let process = Process {
        name: "".into(),
        arguments: Vec::new(),
        variables: Vec::new(),
        restart: restart?,
        restart_delay: restart_delay?,
        restart_limit: restart_limit?,
        exit: exit?,
        stop_signal: stop_signal?,
        kill_timeout: kill_timeout?,
        settle: settle?,
        working_dir: working_dir?,
        user: user?,
        group: group?,
        env_allow: env_allow?,
        env_deny: env_deny?,
        forward: forward?,
    };
    Some(Draft { program: program?, process })
}

/// `reload` of a target where it is about the program that we run; nothing where it is of another kind. `has_process` says
/// whether there is such a program; nobody knows that for commands that run none.
#[expect(clippy::option_option, reason = "what is of another kind and what is wrong differ here")]
pub(super) fn reload(field: Field<'_>, has_process: Option<bool>) -> Option<Option<Reload>> {
    let is_restart = field.node.text() == Some("restart");
    let is_signal = field.is_map() && field.node.get("signal").is_some() && field.node.get("pid_file").is_none();
    if !is_restart && !is_signal {
        return None;
    }
    match has_process {
        Some(true) => {}
        Some(false) if is_signal => return None,
        Some(false) => {
            let hint = "give the target a `process`, or write `liveconf run -- COMMAND`";
            return Some(field.complain(Complaint::new("there is no process to restart").hint(hint)));
        }
        None => field.warn(
            Complaint::new("neither a `pid_file` nor a `process` says which process this is about")
                .hint("that is right for `liveconf run -- COMMAND` alone, which `liveconf check -- COMMAND` checks"),
        ),
    }
    if is_restart {
        return Some(Some(Reload::Process(ProcessReload::Restart)));
    }
    let read = |mut section: Section<'_>| section.field("signal").and_then(parse_signal);
    Some(field.section().and_then(read).map(|signal| Reload::Process(ProcessReload::Signal(signal))))
}

/// How a target takes new files that does not say so: a program that is not told would go on with the old ones for ever.
pub(super) fn reload_without(has_process: bool) -> Reload {
    if has_process { Reload::Process(ProcessReload::Restart) } else { Reload::None }
}

/// `250ms..30s`; a single duration is the first and the longest pause.
fn delay(field: Field<'_>) -> Option<(Duration, Duration)> {
    let expected = "a range such as `250ms..30s` or a duration";
    let text = field.expanded(expected)?;
    let range = units::range(&text).unwrap_or_else(|| units::duration(&text).map(|pause| (pause, pause)));
    match range {
        Ok((first, _)) if first.is_zero() => {
            field.complain(Complaint::new(format!("`{}` cannot begin with `0`", field.key)))
        }
        Ok(range) => Some(range),
        Err(hint) => field.misfit(expected, hint),
    }
}

/// A number, or `none` for without limit.
#[expect(clippy::option_option, reason = "no limit and a wrong one differ here")]
fn limit(field: Field<'_>) -> Option<Option<u64>> {
    if field.node.text() == Some("none") { Some(None) } else { field.integer().map(Some) }
}

/// Signals that can be handed on. Those that ask to stop are so anyway, and the kernel keeps two for itself.
fn signals(field: Field<'_>) -> Option<Vec<Signal>> {
    const CAN_BE: [Signal; 4] = [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGWINCH];
    let items = if field.is_list() { field.items()? } else { vec![field] };
    let read = |item: Field<'_>| {
        let signal = parse_signal(item)?;
        if CAN_BE.contains(&signal) {
            return Some(signal);
        }
        let hint = "`HUP`, `USR1`, `USR2` and `WINCH` can be; `TERM`, `INT` and `QUIT` stop it and liveconf";
        item.complain(Complaint::new(format!("`{}` cannot be handed on", &signal.as_str()[3..])).hint(hint))
    };
    let signals: Vec<Option<Signal>> = items.into_iter().map(read).collect();
    signals.into_iter().collect()
}
