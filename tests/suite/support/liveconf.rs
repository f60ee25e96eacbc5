//! The program under test, in a folder of its own.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;

use super::folder::Folder;
use super::process::{Process, bound, search_path};
use super::{SOON, poll_until};

/// The binary that cargo built for this test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_liveconf");

/// A configuration with its templates and destinations, in a temporary folder. The program runs in that folder and
/// keeps its state there.
pub struct Job {
    folder: Folder,
}

impl Job {
    /// With this text as `liveconf.yaml`.
    pub fn new(config: &str) -> Self {
        Self::empty().with("liveconf.yaml", config)
    }

    /// Without a configuration.
    pub fn empty() -> Self {
        Self { folder: Folder::new() }
    }

    /// In a folder that is there already.
    pub fn of(folder: Folder) -> Self {
        Self { folder }
    }

    /// With one more file, which was there long before. One that is young when the program starts may still be about to
    /// be written, and is read again a moment later.
    pub fn with(self, path: &str, content: impl AsRef<[u8]>) -> Self {
        self.folder.write(path, content);
        let file = File::options().append(true).open(self.folder.path(path)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
        self
    }

    /// The folder.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Replaces a file by rename.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        self.folder.write(path, content);
    }

    /// The text of a file, if it is there.
    pub fn read(&self, path: &str) -> Option<String> {
        self.folder.read(path)
    }

    /// Waits until a file holds exactly this text.
    #[track_caller]
    pub fn wait_for(&self, path: &str, content: &str) {
        self.wait_for_within(SOON, path, content);
    }

    /// The same with a time of its own.
    #[track_caller]
    pub fn wait_for_within(&self, within: Duration, path: &str, content: &str) {
        poll_until(within, || match self.read(path) {
            Some(found) if found == content => Ok(()),
            found => Err(format!("`{path}` should hold {}, but holds {}", short(content), short_of(found.as_ref()))),
        });
    }

    /// Waits until a file has at least this many lines; all of them.
    #[track_caller]
    pub fn wait_for_lines(&self, path: &str, lines: usize) -> Vec<String> {
        poll_until(SOON, || {
            let text = self.read(path).unwrap_or_default();
            let found: Vec<_> = text.lines().map(str::to_owned).collect();
            if found.len() >= lines { Ok(found) } else { Err(format!("`{path}` has {} of {lines} lines", found.len())) }
        })
    }

    /// The program with these arguments, where it depends on nothing of this machine but the path.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.prepare(bound(Signal::SIGKILL, BINARY), arguments)
    }

    /// Completes a command that runs the program, itself or under another program.
    pub fn prepare(&self, mut command: Command, arguments: &[&str]) -> Command {
        command.args(arguments).current_dir(self.folder.root()).env_clear();
        command.env("PATH", search_path());
        command.env("LIVECONF_STATE_DIR", self.folder.path("state"));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the program to its end.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Output {
        run_to_end(self.command(arguments))
    }

    /// Starts the program and lets it run.
    #[track_caller]
    pub fn start(&self, arguments: &[&str]) -> Daemon {
        start(self.command(arguments))
    }
}

/// How a run of the program ended.
#[derive(Debug)]
pub struct Output {
    /// The exit code.
    pub code: i32,
    /// Data.
    pub stdout: String,
    /// What it told people.
    pub stderr: String,
}

impl Output {
    /// Fails unless it ended with this code.
    #[track_caller]
    pub fn assert_code(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// Fails unless all of these stand in what it told people.
    #[track_caller]
    pub fn assert_says(&self, fragments: &[&str]) -> &Self {
        for fragment in fragments {
            assert!(self.stderr.contains(fragment), "`{fragment}` is missing in:\n{}", self.stderr);
        }
        self
    }
}

/// The program under way; dropped, it is killed.
pub struct Daemon {
    process: Process,
    log: Arc<Mutex<Vec<String>>>,
}

impl Drop for Daemon {
    /// A test that failed shows what the program said.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            println!("the log of the program, its last lines:\n{}", log[log.len().saturating_sub(50)..].join("\n"));
        }
    }
}

impl Daemon {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// What it has logged.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// The lines of the log that hold this text.
    pub fn logged(&self, text: &str) -> Vec<String> {
        self.log().into_iter().filter(|line| line.contains(text)).collect()
    }

    /// Waits until a line of the log holds this text; the line.
    #[track_caller]
    pub fn wait_for_log(&mut self, text: &str) -> String {
        poll_until(SOON, || {
            if let Some(line) = self.logged(text).into_iter().next() {
                return Ok(line);
            }
            if let Some(status) = self.process.ended() {
                panic!("liveconf ended with {status}:\n{}", self.log().join("\n"));
            }
            Err(format!("`{text}` is missing in the log:\n{}", self.log().join("\n")))
        })
    }

    /// Sends a signal.
    pub fn signal(&mut self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.process.ended().is_none()
    }

    /// Waits for its end: the exit code.
    #[track_caller]
    pub fn wait(&mut self, within: Duration) -> i32 {
        self.process.wait(within)
    }

    /// Ends it at once, as a crash would.
    pub fn kill(mut self) {
        self.process.kill();
    }

    /// Asks it to stop, and fails unless it does so in order.
    #[track_caller]
    pub fn stop(mut self) {
        self.signal(Signal::SIGTERM);
        let code = self.wait(Duration::from_secs(15));
        assert_eq!(code, 0, "a stop that was asked for is an orderly end:\n{}", self.log().join("\n"));
    }
}

/// Runs a command that was prepared to its end.
#[track_caller]
pub fn run_to_end(command: Command) -> Output {
    let mut process = Process::start(command);
    let mut stdout = process.child().stdout.take().unwrap();
    let mut stderr = process.child().stderr.take().unwrap();
    let errors = thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).map(|_| text)
    });
    let data = thread::spawn(move || {
        let mut data = Vec::new();
        stdout.read_to_end(&mut data).map(|_| data)
    });
    let code = process.wait(Duration::from_secs(120));
    let stdout = String::from_utf8(data.join().unwrap().unwrap()).unwrap();
    Output { code, stdout, stderr: errors.join().unwrap().unwrap() }
}

/// Starts a command that was prepared and lets it run.
#[track_caller]
pub fn start(mut command: Command) -> Daemon {
    command.stdout(Stdio::null());
    let mut process = Process::start(command);
    let log = Arc::new(Mutex::new(Vec::new()));
    let lines = BufReader::new(process.child().stderr.take().unwrap()).lines();
    let writer = Arc::clone(&log);
    thread::spawn(move || lines.map_while(Result::ok).for_each(|line| writer.lock().unwrap().push(line)));
    Daemon { process, log }
}

/// The folder of an example.
pub fn example(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

fn short_of(text: Option<&String>) -> String {
    text.map_or_else(|| "nothing: there is no such file".into(), |text| short(text))
}

/// Texts of thousands of lines make no message.
fn short(text: &str) -> String {
    match text.char_indices().nth(400) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}... ({} bytes)", &text[..end], text.len()),
    }
}
