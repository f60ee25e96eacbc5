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

/// How often it is looked whether they are gone.
const LOOK: Duration = Duration::from_millis(20);

/// How long they may take to vanish once they were killed.
const KILLED: Duration = Duration::from_secs(2);

/// What knows those of one program.
#[derive(Debug, Default)]
pub(super) struct Strays {
    /// When the program was started first, in ticks of the kernel.
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
        // What it forks at once begins in the same tick, which is before that moment.
        self.since.get_or_insert(begun.rounded_down_to_tick());
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
    match origin(&environment) {
        Origin::Program(name) => name == process.name.as_bytes(),
        Origin::Elsewhere => false,
        // Of what a shell runs many are called so.
        Origin::Unknown => !process.is_script() && is_same_program(pid, process),
    }
}

fn is_same_program(pid: i32, process: &Process) -> bool {
    let file = |path: &std::path::Path| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    let program = find_program(process.program()).and_then(|path| file(&path));
    program.is_some() && program == file(format!("/proc/{pid}/exe").as_ref())
}

/// What the environment of a process tells of where it comes from.
#[derive(Debug, PartialEq, Eq)]
enum Origin<'environment> {
    /// From the supervised program of this name.
    Program(&'environment [u8]),
    /// From somebody else: a command of ours, which may start a program for good, or an operator.
    Elsewhere,
    /// It wrote the title that it shows over its variables, as nginx does, or has none.
    Unknown,
}

/// Reads `/proc/PID/environ` (proc(5)): variables, with a null byte behind each. A title that is written over them leaves
/// null bytes, and at most its own end, which is no variable.
fn origin(environment: &[u8]) -> Origin<'_> {
    let mut found = Origin::Unknown;
    for variable in environment.split(|byte| *byte == 0) {
        let Some(equals) = variable.iter().position(|byte| *byte == b'=') else { continue };
        let (name, value) = (&variable[..equals], &variable[equals + 1..]);
        if name == NAME.as_bytes() {
            return Origin::Program(value);
        }
        if !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
            found = Origin::Elsewhere;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forked_within_the_tick_of_the_start_is_no_older() {
        let mut strays = Strays::default();
        let tick = BootTime::from_ticks(150);
        strays.begin(tick.after(Duration::from_micros(9_900)), Some(7));
        assert_eq!(strays.since, Some(tick));
        strays.begin(tick.after(Duration::from_secs(5)), Some(8));
        assert_eq!(strays.since, Some(tick), "what left the first run counts as well");
    }

    #[test]
    fn only_what_wrote_over_its_environment_may_be_known_by_its_program() {
        for (environment, expected) in [
            (&b"PATH=/bin\0LIVECONF_PROCESS=web\0HOME=/\0"[..], Origin::Program(b"web")),
            (b"LIVECONF_PROCESS=\0", Origin::Program(b"")),
            (b"PATH=/bin\0HOME=/root\0", Origin::Elsewhere),
            (b"PATH=/bin\0LIVECONF_RUN=check\0", Origin::Elsewhere),
            (b"A=", Origin::Elsewhere),
            // It wrote over a part, and what is left says nothing of us.
            (b"er process\0\0\0\0=/bin\0HOME=/root\0", Origin::Elsewhere),
            (b"", Origin::Unknown),
            (b"\0\0\0\0\0\0", Origin::Unknown),
            (b"er process\0\0\0\0\0", Origin::Unknown),
            (b"cess nginx -c /etc/a=b.conf\0\0\0", Origin::Unknown),
            (b"NOT_LIVECONF_PROCESS\0=web\0", Origin::Unknown),
        ] {
            assert_eq!(origin(environment), expected, "{}", String::from_utf8_lossy(environment));
        }
    }
}
