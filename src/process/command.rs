//! Runs a command within bounds: time, output, environment, and what it may leave behind (FAULTS R-8).

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal as SignalName;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::net::unix::pipe;
use tokio::process::Child;
use tokio::time::{sleep, timeout};

use super::children::{self, Ours};
use super::environment;
use super::output::Output;
use super::remains::{self, Leavings, Remains};
use super::supervise::Handle;

/// What a command is given after it was asked to end, before it is killed.
const MERCY: Duration = Duration::from_secs(5);

/// How long the output is still read after the command itself has ended: a process that it left in the background may
/// hold the pipe for ever.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How many of those are named that a command has left behind.
const NAMED: usize = 5;

/// A variable that tells the processes of one run from all others.
const RUN: &str = "LIVECONF_RUN";

/// For whom commands are run.
#[derive(Debug, Clone)]
pub struct Context {
    /// The target, which commands see as `LIVECONF_TARGET`.
    pub target: Arc<str>,
    /// Variables of our environment that commands see beside the usual ones.
    pub env_allow: Arc<[String]>,
    /// The program of the target, where we supervise it.
    pub process: Option<Handle>,
    /// What was said of what they leave behind.
    pub remains: Leavings,
}

/// One run of a program: everything filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The program and its arguments; the program is looked for in `PATH`.
    pub arguments: Vec<OsString>,
    /// Variables that it sees beside those of the context.
    pub variables: Vec<(OsString, OsString)>,
    /// When it is ended.
    pub timeout: Duration,
}

impl Invocation {
    /// The program, for messages.
    pub fn program(&self) -> String {
        self.arguments.first().map_or_else(String::new, |program| program.to_string_lossy().into_owned())
    }
}

/// What became of a run.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub end: End,
    /// What it wrote.
    pub output: Output,
}

/// How a run ended.
#[derive(Debug)]
pub enum End {
    /// With this exit code.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
    /// It took longer than this and was ended.
    TimedOut(Duration),
    /// It did not begin.
    NotStarted(io::Error),
    /// It began, and the system would not say how it ended.
    Lost(io::Error),
}

impl End {
    /// Whether it exited with 0.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Exited(0))
    }

    /// What to do about it, where that can be known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotStarted(error) if error.kind() == io::ErrorKind::NotFound => Some(
                "install the program, give its absolute path, or see that `PATH` of liveconf holds its folder; for a \
                 script, see that its first line names an interpreter that exists",
            ),
            Self::NotStarted(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Some("make the program executable for the user that liveconf runs as")
            }
            Self::TimedOut(_) => Some("raise its `timeout`, or see what it waits for: its standard input is empty"),
            Self::Exited(127) => Some("a script exits with 127 when it does not find a program"),
            _ => None,
        }
    }

    /// What a shell makes of it: its exit code, or 128 and the number of the signal that ended it.
    pub fn code(&self) -> u8 {
        match self {
            Self::Exited(code) => u8::try_from(*code).unwrap_or(u8::MAX),
            Self::Signalled(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
            Self::NotStarted(error) if error.kind() == io::ErrorKind::NotFound => 127,
            Self::NotStarted(_) => 126,
            Self::TimedOut(_) | Self::Lost(_) => 1,
        }
    }

    pub(super) fn of(status: io::Result<ExitStatus>) -> Self {
        match status {
            Ok(status) => match (status.code(), status.signal()) {
                (Some(code), _) => Self::Exited(code),
                (None, Some(signal)) => Self::Signalled(signal),
                (None, None) => Self::Lost(io::Error::other(status.to_string())),
            },
            Err(error) => Self::Lost(error),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exited with {code}"),
            Self::Signalled(signal) => match SignalName::try_from(*signal) {
                Ok(name) => write!(f, "was ended by {name}"),
                Err(_) => write!(f, "was ended by signal {signal}"),
            },
            Self::TimedOut(limit) => write!(f, "took longer than {}", humantime::format_duration(*limit)),
            Self::NotStarted(error) => write!(f, "could not be started: {error}"),
            Self::Lost(error) => write!(f, "ended in an unknown way: {error}"),
        }
    }
}

/// Runs a program to its end.
///
/// It has a process group of its own, an empty standard input and a cleared environment. Past its time the group is
/// asked to end, and killed five seconds later. Dropping the future kills the group at once.
pub async fn run(invocation: &Invocation, context: &Context) -> Finished {
    let run = format!("{:016x}", rand::random::<u64>());
    match start(invocation, context, &run) {
        // Commands run seldom, and whoever may run one is to take little memory while none runs.
        Ok(running) => Box::pin(running.finish(invocation, context, &run)).await,
        Err(error) => Finished { end: End::NotStarted(error), output: Output::default() },
    }
}

fn start(invocation: &Invocation, context: &Context, run: &str) -> io::Result<Running> {
    let (program, arguments) =
        invocation.arguments.split_first().ok_or_else(|| io::Error::other("there is no program"))?;
    let (reader, writer) = io::pipe()?;
    let reader = pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?;
    let mut command = tokio::process::Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(environment::seen(std::env::vars_os(), &context.env_allow))
        .env("LIVECONF_TARGET", OsStr::new(&*context.target))
        .env(RUN, run)
        .envs(invocation.variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0)
        .kill_on_drop(true);
    let (child, pid, ours) = children::spawn(&mut command)?;
    let leader = Pid::from_raw(pid).ok_or_else(|| io::Error::other("the system gave no process id"))?;
    // `command` is dropped here, and with it our ends of the pipe that are for writing.
    let group = Group { leader, over: false };
    Ok(Running { child, _ours: ours, group, reader: Some(reader), output: Output::default() })
}

/// A program on its way.
struct Running {
    child: Child,
    _ours: Ours,
    group: Group,
    /// None once everybody has closed the other end.
    reader: Option<pipe::Receiver>,
    output: Output,
}

impl Running {
    async fn finish(mut self, invocation: &Invocation, context: &Context, run: &str) -> Finished {
        let reading = &mut Reading { reader: &mut self.reader, output: &mut self.output };
        let end = if let Ok(status) = reading.during(timeout(invocation.timeout, self.child.wait())).await {
            self.group.over = true;
            End::of(status)
        } else {
            if let Err(error) = stop(&mut self.child, &mut self.group, reading).await {
                tracing::warn!(target = %context.target, program = invocation.program(), %error, "cannot end a command");
            }
            End::TimedOut(invocation.timeout)
        };
        let is_closed = timeout(LAST_WORDS, reading.until_closed()).await.is_ok();
        if matches!(end, End::TimedOut(_)) {
            report_remains(invocation, context, run.to_owned(), Left::TooLate).await;
        } else if !is_closed {
            report_remains(invocation, context, run.to_owned(), Left::HoldingOutput).await;
        } else if self.group.is_there() {
            report_remains(invocation, context, run.to_owned(), Left::Quiet).await;
        }
        Finished { end, output: self.output }
    }
}

/// Asks the group to end, and kills what is left of it after [`MERCY`].
async fn stop(child: &mut Child, group: &mut Group, reading: &mut Reading<'_>) -> io::Result<()> {
    group.send(Signal::TERM);
    let ending = async {
        child.wait().await?;
        while group.is_there() {
            sleep(Duration::from_millis(20)).await;
        }
        io::Result::Ok(())
    };
    let ended = reading.during(timeout(MERCY, ending)).await;
    if !matches!(ended, Ok(Ok(()))) {
        group.send(Signal::KILL);
        reading.during(child.wait()).await?;
    }
    group.over = true;
    Ok(())
}

/// What a command left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// It took too long, and its group was ended.
    TooLate,
    /// It ended in time, and somebody still holds its output: each run takes [`LAST_WORDS`] longer.
    HoldingOutput,
    /// It ended in time, and its group has not.
    Quiet,
}

/// Names the processes that a command left behind. They are not ours to kill: some reload commands start the daemon
/// itself, which as a rule leaves the group, and is then not looked for.
async fn report_remains(invocation: &Invocation, context: &Context, run: String, left: Left) {
    let found = tokio::task::spawn_blocking(move || remains::with_variable(RUN, &run)).await.unwrap_or_default();
    let is_told = left == Left::TooLate || context.remains.is_news(found.first().map(|first| &*first.name));
    for Remains { pid, name } in found.into_iter().take(NAMED) {
        let (target, program) = (&*context.target, invocation.program());
        match left {
            Left::TooLate => tracing::warn!(
                target,
                program,
                pid,
                name,
                "a command that took too long left a process of another session behind, which still runs"
            ),
            Left::HoldingOutput if is_told => tracing::warn!(
                target,
                program,
                pid,
                name,
                "a command ended and left a process behind that holds its output, which keeps each run waiting for {}: \
                 end it, or give it an output of its own",
                humantime::format_duration(LAST_WORDS)
            ),
            Left::Quiet if is_told => tracing::warn!(
                target,
                program,
                pid,
                name,
                "a command ended and left a process behind, which still runs: with each run there may be one more"
            ),
            Left::HoldingOutput | Left::Quiet => {
                tracing::debug!(target, program, pid, name, "a command ended and left a process behind");
            }
        }
    }
}

/// The process group of a run. It is killed when it is dropped before it is over.
struct Group {
    leader: Pid,
    /// The leader has been waited for: its number may soon be another's.
    over: bool,
}

impl Group {
    /// A group that is no longer there needs no signal, so errors are of no interest.
    fn send(&self, signal: Signal) {
        let _ = kill_process_group(self.leader, signal);
    }

    fn is_there(&self) -> bool {
        test_kill_process_group(self.leader) != Err(Errno::SRCH)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.over {
            self.send(Signal::KILL);
        }
    }
}

/// The output that is read while something else is waited for, so that no command ever waits for us to read.
struct Reading<'a> {
    reader: &'a mut Option<pipe::Receiver>,
    output: &'a mut Output,
}

impl Reading<'_> {
    async fn during<T>(&mut self, event: impl Future<Output = T>) -> T {
        let mut event = pin!(event);
        loop {
            tokio::select! {
                biased;
                value = &mut event => return value,
                () = self.more(), if self.reader.is_some() => {}
            }
        }
    }

    async fn until_closed(&mut self) {
        while self.reader.is_some() {
            self.more().await;
        }
    }

    async fn more(&mut self) {
        let Some(reader) = self.reader.as_mut() else { return };
        let readable = reader.readable().await;
        // Not held while something is waited for, so that it is no part of every future that may run a command.
        let mut buffer = [0; 8192];
        match readable.and_then(|()| reader.try_read(&mut buffer)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(0) | Err(_) => *self.reader = None,
            Ok(read) => self.output.push(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests;
