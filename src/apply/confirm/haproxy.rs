//! Confirmed by a new worker of a HAProxy master (management guide, *Master-worker mode* and *show proc*).
//!
//! The master counts its reloads and those of them that failed, and lists its workers, on its command line socket. It
//! closes that while it loads, and where it cannot bind an address it does so for two seconds, in which the old worker
//! takes no connections. Without the socket its children are looked at; it blocks its signals until it is done.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::{Instant, sleep};

use super::Verdict;
use super::generation::Habits;
use super::master::{GONE, Program, Role};
use crate::apply::reload::haproxy::presence::{is_still_bound, one_is_lost};
use crate::apply::reload::haproxy::socket::{ask, is_closed};
use crate::config::Confirm;
use crate::process::BootTime;
use crate::process::signal::{SignalError, find, started_after};
use crate::process::tree::{self, Child};

/// How HAProxy is looked at without its socket.
pub(super) const HAPROXY: Program = Program {
    habits: Habits { name: "haproxy", respawns: false, execs: true },
    signals: &[Signal::SIGUSR2, Signal::SIGHUP],
    role,
};

/// How long it is waited for the socket where nothing tells whether there is a process.
const OPENING: Duration = Duration::from_millis(500);

/// A worker is the same program; the children that `program` sections start are others.
fn role(child: &Child, master: &str) -> Role {
    if child.name == master { Role::Worker } else { Role::Other }
}

/// What `show proc` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Processes {
    /// The pid of the master.
    master: i32,
    /// How often it has loaded its files again.
    reloads: u64,
    /// How many of these failed since the last that did not; none where the version does not tell.
    failed: Option<u64>,
    /// The workers that serve, with how long they do.
    workers: Vec<(i32, Duration)>,
}

impl Processes {
    /// Asks the master.
    pub(super) async fn ask(socket: &Path) -> io::Result<Self> {
        let answer = ask(socket, "show proc").await?;
        Self::parse(&answer).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// One process a line: pid, type, reloads, uptime; older versions have one more number before the reloads.
    fn parse(text: &str) -> Option<Self> {
        let header = text.lines().find(|line| line.starts_with("#<PID>"))?;
        let columns: Vec<&str> = header.split('<').skip(1).map(|name| name.split('>').next().unwrap_or(name)).collect();
        let column = |name: &str| columns.iter().position(|column| *column == name);
        let (reloads, uptime) = (column("reloads")?, column("uptime")?);
        let mut section = "";
        let mut master = None;
        let mut workers = Vec::new();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("# ") {
                section = name;
                continue;
            }
            let failed = line.split_once("[failed:").map(|(_, rest)| rest.split(']').next().unwrap_or(rest));
            let line = line.replace("[failed:", "[").replace(['[', ']'], " ");
            let cells: Vec<&str> = line.split_whitespace().collect();
            let Some(pid) = cells.first().and_then(|pid| pid.parse().ok()) else { continue };
            match (cells.get(1), section) {
                (Some(&"master"), _) => {
                    let count = cells.get(reloads)?.parse().ok()?;
                    master = Some((pid, count, failed.and_then(|count| count.trim().parse().ok())));
                }
                (Some(&"worker"), "workers") => workers.push((pid, duration(cells.get(uptime)?)?)),
                _ => {}
            }
        }
        let (master, reloads, failed) = master?;
        Some(Self { master, reloads, failed, workers })
    }

    /// The workers that were not there in `before`.
    fn new_since(&self, before: &Self) -> BTreeSet<i32> {
        let known = |pid: i32| before.master == self.master && before.workers.iter().any(|(other, _)| *other == pid);
        self.workers.iter().map(|(pid, _)| *pid).filter(|pid| !known(*pid)).collect()
    }

    /// The workers that are no older than `age`, as far as whole seconds tell.
    fn younger_than(&self, age: Duration) -> BTreeSet<i32> {
        self.workers.iter().filter(|(_, uptime)| *uptime <= age).map(|(pid, _)| *pid).collect()
    }

    /// Whether the master surely started after `moment`; false where its workers are not its children as we see them,
    /// since its pids are then those of a container.
    fn started_after(&self, moment: BootTime) -> bool {
        let is_worker = |child: Child| self.workers.iter().any(|(pid, _)| *pid == child.pid);
        started_after(self.master, moment)
            && tree::children(self.master).is_ok_and(|children| children.into_iter().any(is_worker))
    }

    /// Whether a reload failed that came after `before`.
    fn has_failed_since(&self, before: &Self) -> bool {
        self.master == before.master && self.reloads > before.reloads && self.failed.unwrap_or(0) > 0
    }
}

/// `0d00h02m07s`.
fn duration(text: &str) -> Option<Duration> {
    let mut seconds = 0;
    let mut rest = text;
    for (unit, length) in [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)] {
        let (number, after) = rest.split_once(unit)?;
        seconds += number.parse::<u64>().ok()? * length;
        rest = after;
    }
    Some(Duration::from_secs(seconds))
}

/// What the master says before it is told. It answers when it is done with what it was told before, and drops the signals
/// that come until then; so it is waited for, where there is a process to wait for.
pub(super) async fn look(socket: &Path, confirm: &Confirm) -> io::Result<Processes> {
    let start = Instant::now();
    loop {
        let answer = Processes::ask(socket).await;
        let patience = match &answer {
            Ok(_) => Duration::ZERO,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied || is_gone(confirm) => Duration::ZERO,
            Err(error) if is_closed(error) && confirm.pid_file.is_none() => OPENING,
            Err(_) => confirm.within,
        };
        if start.elapsed() >= patience {
            return answer;
        }
        sleep(confirm.interval).await;
    }
}

/// Asks the master until it has a new worker or says that it has failed, at the latest until `deadline`.
pub(super) async fn confirmed(
    socket: &Path,
    before: Option<&Processes>,
    (since, committed): (BootTime, Option<BootTime>),
    confirm: &Confirm,
    deadline: Instant,
) -> Verdict {
    let committed = committed.unwrap_or(since);
    // The workers that were new at the last look, and those that ever were.
    let (mut new, mut ever) = (BTreeSet::new(), BTreeSet::new());
    let mut absent_since = None;
    loop {
        let now = Instant::now();
        let answer = Processes::ask(socket).await;
        let had_new = !ever.is_empty();
        match &answer {
            Ok(processes) => {
                absent_since = None;
                if before.is_some_and(|before| processes.has_failed_since(before)) {
                    return kept();
                }
                let newer = match before {
                    // It has read the files, and was not told.
                    _ if processes.started_after(committed) => processes.younger_than(Duration::MAX),
                    Some(before) => processes.new_since(before),
                    None => processes.younger_than(BootTime::now().since(since)),
                };
                // One that is still there at the next look has come up.
                if !new.is_disjoint(&newer) {
                    return Verdict::Confirmed;
                }
                ever.extend(newer.iter().copied());
                new = newer;
            }
            Err(error) if is_closed(error) => {
                let since = *absent_since.get_or_insert(now);
                if is_gone(confirm) && since + GONE.min(confirm.within) <= now {
                    return Verdict::NotRunning(format!("no master of haproxy listens on `{}`", socket.display()));
                }
            }
            Err(_) => absent_since = None,
        }
        // What is seen for the first time is looked at once more: we may have been stopped until now.
        let is_first = !had_new && !ever.is_empty();
        if now >= deadline && !is_first {
            return over(confirm, socket, before, answer, had_new);
        }
        sleep(confirm.interval).await;
    }
}

/// The verdict when the time is over, after this last answer.
fn over(
    confirm: &Confirm,
    socket: &Path,
    before: Option<&Processes>,
    answer: io::Result<Processes>,
    had_new: bool,
) -> Verdict {
    let path = socket;
    let socket = path.display();
    match answer {
        Ok(_) if had_new => {
            let reason = "haproxy took the files, and its new workers end as soon as they have started".to_owned();
            Verdict::Refused { reason, took: true }
        }
        Ok(processes) if before.is_some_and(|before| before.reloads != processes.reloads) => kept(),
        // A master that is about to come up drops what it is told.
        Ok(_) => Verdict::Unseen("haproxy has not begun to load the files that it was told of".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_still_bound(path) => {
            Verdict::Unseen(one_is_lost("socket of its master", socket, "`haproxy -S` names another path"))
        }
        Err(error) if is_closed(&error) && confirm.pid_file.is_none() => {
            Verdict::NotRunning(format!("no master of haproxy listens on `{socket}`"))
        }
        // It may be slow, and nobody has refused anything.
        Err(error) => Verdict::Unseen(format!("cannot ask the master of haproxy on `{socket}`: {error}")),
    }
}

/// Whether there is surely no process any more.
fn is_gone(confirm: &Confirm) -> bool {
    matches!(confirm.pid_file.as_deref().map(find), Some(Err(SignalError::Absent(_))))
}

fn kept() -> Verdict {
    let reason = "haproxy could not load the files and kept its old worker; its own log says why".to_owned();
    Verdict::Refused { reason, took: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As HAProxy 2.6.12 writes it.
    fn processes(master: &str, workers: &str) -> Processes {
        let text = format!(
            "#<PID>          <type>          <reloads>       <uptime>        <version>      \n{master}\n# workers\n\
             {workers}\n# programs\n\n"
        );
        Processes::parse(&text).unwrap_or_else(|| panic!("{text}"))
    }

    const OLD: &str = "25191           worker          0               0d00h00m01s     2.6.12-1+deb12u4";

    #[test]
    fn a_new_worker_is_told_from_one_that_went_on() {
        let before = processes("25093           master          1 [failed: 0]   0d00h00m05s     2.6.12", OLD);
        assert_eq!((before.master, before.reloads, before.failed), (25093, 1, Some(0)));
        let lingering = "25537           worker          0               0d00h00m01s     2.6.12\n# old workers\n\
                         25191           worker          4               0d00h00m09s     2.6.12";
        let taken = processes("25093           master          2 [failed: 0]   0d00h00m13s     2.6.12", lingering);
        assert_eq!(taken.new_since(&before), BTreeSet::from([25537]));
        assert!(!taken.has_failed_since(&before));

        let failed = processes("25093           master          2 [failed: 1]   0d00h00m05s     2.6.12", OLD);
        assert!(failed.new_since(&before).is_empty() && failed.has_failed_since(&before));
        let again = processes("25093           master          3 [failed: 2]   0d00h00m05s     2.6.12", OLD);
        assert!(again.has_failed_since(&failed));
        assert!(!failed.has_failed_since(&failed), "the failure is an older one");
        assert!(before.new_since(&before).is_empty());

        let restarted = processes("7               master          0 [failed: 0]   0d00h00m00s     2.6.12", OLD);
        assert_eq!(restarted.new_since(&before), BTreeSet::from([25191]), "all workers of another master are new");
    }

    #[test]
    fn without_a_look_before_only_young_workers_count() {
        let now = processes("1               master          1 [failed: 0]   0d00h01m05s     2.6.12", OLD);
        assert!(now.younger_than(Duration::ZERO).is_empty());
        assert_eq!(now.younger_than(Duration::from_secs(1)), BTreeSet::from([25191]));
    }

    #[test]
    fn older_and_damaged_tables_are_read_or_refused() {
        let older = "#<PID>          <type>          <relative PID>  <reloads>       <uptime>        <version>\n\
                     1162            master          0               5               0d00h02m07s     2.0\n# workers\n\
                     1271            worker          1               0               1d02h03m04s     2.0\n";
        let older = Processes::parse(older).unwrap();
        assert_eq!((older.reloads, older.failed), (5, None));
        assert_eq!(older.workers, [(1271, Duration::from_secs(93_784))]);
        for damaged in
            ["", "Unknown command\n", "#<PID> <type>\n1 master\n", "#<PID> <type> <reloads> <uptime>\n1 worker\n"]
        {
            assert_eq!(Processes::parse(damaged), None, "{damaged}");
        }
    }
}
