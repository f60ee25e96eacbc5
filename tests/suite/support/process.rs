//! Programs that a test starts: found, run, told, and ended by their own pid.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;

use super::{SOON, poll_until};

/// Where programs are looked for: also in the folders for servers, which are not on everybody's path.
pub fn search_path() -> String {
    format!("{}:/usr/local/sbin:/usr/sbin:/sbin", env::var("PATH").unwrap_or_default())
}

/// Where a program is.
#[track_caller]
pub fn find(program: &str) -> PathBuf {
    find_in(None, program)
}

/// The same where it may also be in one more folder.
#[track_caller]
pub fn find_in(more: Option<PathBuf>, program: &str) -> PathBuf {
    search_path()
        .split(':')
        .map(PathBuf::from)
        .chain(more)
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| panic!("`{program}` is not installed: run .ci/setup"))
}

/// A command that the kernel ends with a signal when this process ends, however that happens. It has none of the
/// pipes of this process: whoever waits for their end must not wait for a server.
pub fn bound(signal: Signal, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", signal.as_str().trim_start_matches("SIG"), "--"]).arg(program);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// A program under way; dropped, it is ended.
pub struct Process {
    child: Child,
    ended: Option<ExitStatus>,
    end_with: Signal,
}

impl Process {
    /// Starts it.
    #[track_caller]
    pub fn start(command: Command) -> Self {
        let shown = format!("{command:?}");
        let child = spawn(command).unwrap_or_else(|error| panic!("failed to start {shown}: {error}"));
        Self { child, ended: None, end_with: Signal::SIGKILL }
    }

    /// One that must be asked to end, or its workers would outlive it.
    #[must_use]
    pub fn with_workers(mut self) -> Self {
        self.end_with = Signal::SIGTERM;
        self
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its pipes and the like.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().unwrap();
        }
        self.ended
    }

    /// Sends a signal; one that is gone already does not mind.
    pub fn signal(&mut self, signal: Signal) {
        if self.ended().is_none() {
            signal::kill(Pid::from_raw(self.id().cast_signed()), signal).unwrap();
        }
    }

    /// Waits for its end: the exit code, or 128 and the number of the signal that ended it.
    #[track_caller]
    pub fn wait(&mut self, within: Duration) -> i32 {
        let id = self.id();
        let status = poll_until(within, || self.ended().ok_or_else(|| format!("process {id} has not ended")));
        status.code().unwrap_or_else(|| 128 + status.signal().unwrap())
    }

    /// Ends it at once, and waits for that.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.wait(SOON);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_none() {
            signal::kill(Pid::from_raw(self.id().cast_signed()), self.end_with).ok();
            self.child.wait().ok();
        }
    }
}

/// The kernel counts a thread that ends as the death of the parent, and tests end their threads; so one thread that
/// lives as long as the process starts all of them.
fn spawn(command: Command) -> io::Result<Child> {
    type Request = (Command, Sender<io::Result<Child>>);
    static SPAWNER: LazyLock<Sender<Request>> = LazyLock::new(|| {
        let (requests, inbox) = mpsc::channel::<Request>();
        thread::spawn(move || {
            for (mut command, reply) in inbox {
                reply.send(command.spawn()).ok();
            }
        });
        requests
    });
    let (reply, answer) = mpsc::channel();
    SPAWNER.send((command, reply)).unwrap();
    answer.recv().unwrap()
}
