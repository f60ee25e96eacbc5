//! What left a supervised program and goes on in the background, as daemons do: it has a session of its own, is told of
//! nothing, and would outlive us.
//!
//! Orphans become children of ours (see [`children`]). Those that come of the program are known by a variable that it was
//! given, or, where they wrote over that as nginx does, by being the same program.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::stop::Stop;
use crate::config::Process;
use crate::process::signal::Stat;
use crate::process::{BootTime, children, find_program};

/// The variable that tells what comes of a program from everything else: its name.
pub(super) const NAME: &str = "LIVECONF_PROCESS";

/// What tells what comes of a command of ours, which may start a program for good: that is not ours to end.
const OF_COMMAND: &[u8] = b"LIVECONF_RUN=";

/// How often it is looked whether they are gone.
const LOOK: Duration = Duration::from_millis(20);

/// How long they may take to vanish once they were killed.
const KILLED: Duration = Duration::from_secs(2);

/// What knows those of one program.
#[derive(Debug, Default)]
pub(super) struct Strays {
    /// When the program was started first.
    since: Option<BootTime>,
    /// The process group of its last run, whose members are ended with that.
    group: Option<i32>,
    /// What was there at the last look. One that ends soon is none of them.
    seen: BTreeSet<i32>,
    is_told: bool,
}

/// One that goes on in the background.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stray {
    pub(super) pid: i32,
    pub(super) name: String,
}

impl Strays {
    /// The program is started at this moment, as the leader of this process group.
    pub(super) fn begin(&mut self, begun: BootTime, group: Option<i32>) {
        self.since.get_or_insert(begun);
        self.group = group;
    }

    /// Those that were there at the last look as well, the first time that there are any.
    pub(super) fn look(&mut self, process: &Process) -> Vec<Stray> {
        if self.is_told {
            return Vec::new();
        }
        let found = self.find(process);
        let now = found.iter().map(|stray| stray.pid).collect();
        let before = std::mem::replace(&mut self.seen, now);
        let stay: Vec<_> = found.into_iter().filter(|stray| before.contains(&stray.pid)).collect();
        self.is_told = !stay.is_empty();
        stay
    }

    /// Asks all of them to end, and kills what is left after `mercy`. Whether there were any.
    pub(super) async fn end(&self, process: &Process, mercy: Duration, stop: &watch::Receiver<Stop>) -> bool {
        let mut asked = BTreeSet::new();
        let asking = Instant::now() + mercy;
        let mut killing = None;
        loop {
            // One that ends may leave others.
            let left = self.find(process);
            let now = Instant::now();
            if left.is_empty() || killing.is_some_and(|until| until <= now) {
                return !asked.is_empty();
            }
            if killing.is_none() && (asking <= now || *stop.borrow() == Stop::Now) {
                killing = Some(now + KILLED);
            }
            for pid in left.iter().map(|stray| stray.pid) {
                let is_new = asked.insert(pid);
                let signal = if killing.is_some() { Signal::KILL } else { Signal::TERM };
                if (is_new || killing.is_some())
                    && let Some(pid) = Pid::from_raw(pid)
                {
                    // One that has just gone needs no signal.
                    let _ = kill_process(pid, signal);
                }
            }
            sleep(LOOK).await;
        }
    }

    fn find(&self, process: &Process) -> Vec<Stray> {
        let Some(since) = self.since else { return Vec::new() };
        let us = std::process::id().cast_signed();
        let stray = |pid: i32| {
            let stat = Stat::read(pid).ok()?;
            let is_one = stat.parent == us
                && !stat.ended
                && stat.started >= since
                && Some(stat.group) != self.group
                && comes_of(pid, process);
            is_one.then_some(Stray { pid, name: stat.name })
        };
        children::of_others().into_iter().filter_map(stray).collect()
    }
}

/// Whether a process comes of this program, as far as we may know.
fn comes_of(pid: i32, process: &Process) -> bool {
    let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else { return false };
    let mut variables = environment.split(|byte| *byte == 0);
    let is_marked = |variable: &[u8]| variable.strip_prefix(NAME.as_bytes()).is_some_and(|rest| rest.starts_with(b"="));
    if let Some(mark) = variables.clone().find(|variable| is_marked(variable)) {
        return mark[NAME.len() + 1..] == *process.name.as_bytes();
    }
    // Of what a shell runs many are called so.
    if variables.any(|variable| variable.starts_with(OF_COMMAND)) || process.is_script() {
        return false;
    }
    let file = |path: &std::path::Path| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    let program = find_program(process.program()).and_then(|path| file(&path));
    program.is_some() && program == file(format!("/proc/{pid}/exe").as_ref())
}
