//! What a fault costs the program: processor, memory, file descriptors, lines of the log.

use std::fs;
use std::time::{Duration, Instant};

use crate::support::liveconf::Daemon;

/// Ticks of the processor a second, as Linux shows them to programs.
const TICKS: u64 = 100;

/// The program as it was when a fault began.
pub(crate) struct Strain {
    process: u32,
    began: Instant,
    ticks: u64,
    files: usize,
    lines: usize,
}

impl Strain {
    /// A fault begins.
    pub(crate) fn begin(daemon: &Daemon) -> Self {
        let process = daemon.id();
        let (ticks, files) = (ticks(process), files(process));
        Self { process, began: Instant::now(), ticks, files, lines: daemon.log().len() }
    }

    /// Fails unless the program took at most a twentieth of a processor since then, a line of the log a second (and ten
    /// to begin with), about as many file descriptors as before, and left no dead child.
    #[track_caller]
    pub(crate) fn assert_light(&self, daemon: &Daemon) {
        self.assert_few_lines(daemon);
        self.assert_few_resources();
    }

    /// All of that but the part about the log.
    #[track_caller]
    pub(crate) fn assert_few_resources(&self) {
        let elapsed = self.began.elapsed();
        let used = Duration::from_millis((ticks(self.process) - self.ticks) * 1000 / TICKS);
        // What a single reconnect takes would count too much in a short time.
        let most = elapsed.mul_f64(0.05) + Duration::from_millis(300);
        assert!(used <= most, "{used:?} of processor in {elapsed:?}");
        let files = files(self.process);
        assert!(files <= self.files + 5, "{files} file descriptors, {} before", self.files);
        assert_eq!(zombies(self.process), 0, "dead children");
    }

    /// The part of that which is about lines of the log that want attention.
    #[track_caller]
    pub(crate) fn assert_few_complaints(&self, daemon: &Daemon) {
        let lines = daemon.log().split_off(self.lines);
        let complaints = lines.iter().filter(|line| line.contains(" WARN ") || line.contains(" ERROR ")).count();
        assert!(complaints <= 10, "{lines:#?}");
    }

    /// The part of that which is about the log.
    #[track_caller]
    pub(crate) fn assert_few_lines(&self, daemon: &Daemon) {
        let lines = daemon.log().split_off(self.lines);
        let most = usize::try_from(self.began.elapsed().as_secs()).unwrap() + 10;
        assert!(lines.len() <= most, "{} lines: {lines:#?}", lines.len());
    }
}

/// What the unit that comes with liveconf sets: the C library keeps freed memory for each of its arenas, and so for most
/// threads, unless it is told to have one.
pub(crate) fn environment_of_the_unit() -> Vec<(&'static str, &'static str)> {
    const UNIT: &str = include_str!("../../examples/systemd/liveconf.service");
    let lines = UNIT.lines().filter_map(|line| line.strip_prefix("Environment=")?.split_once('='));
    let variables: Vec<_> = lines.collect();
    assert!(variables.iter().any(|(name, _)| *name == "MALLOC_ARENA_MAX"), "{variables:?}");
    variables
}

/// The most memory that the program had at any time, in bytes.
pub(crate) fn most_memory(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// The state of a process as the kernel shows it, such as `T` for one that is stopped.
pub(crate) fn state(process: u32) -> char {
    stat(process).first().and_then(|state| state.chars().next()).unwrap_or('?')
}

/// The processor time of a process in ticks.
fn ticks(process: u32) -> u64 {
    let fields = stat(process);
    // Fields 14 and 15 of the line: in user mode, in the kernel.
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// What stands behind the name of a process in its line, from field 3 on.
fn stat(process: u32) -> Vec<String> {
    let line = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    line.rsplit_once(')').unwrap().1.split_whitespace().map(str::to_owned).collect()
}

fn files(process: u32) -> usize {
    fs::read_dir(format!("/proc/{process}/fd")).unwrap().count()
}

fn zombies(process: u32) -> usize {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    children.split_whitespace().filter(|child| child.parse().is_ok_and(dead)).count()
}

fn dead(process: u32) -> bool {
    // One that is gone by now was not left.
    fs::metadata(format!("/proc/{process}")).is_ok() && state(process) == 'Z'
}
