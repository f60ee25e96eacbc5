//! The process group of a supervised program, known by more than its number.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::process::BootTime;
use crate::process::signal::Stat;

/// How often it is looked whether a group is gone.
const LOOK: Duration = Duration::from_millis(20);

/// How long a group may take to vanish once it was killed; what hangs in the kernel goes in its own time.
const KILLED: Duration = Duration::from_secs(2);

/// A process group.
///
/// The kernel gives the number of a group to no new process as long as the group has a member. So while its leader
/// lives, which is known by its start, the group is the one that is meant. Once it is gone, processes of that number and
/// session that started since are, unless a process has that number as its id: then the group was gone before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Group {
    /// The process that it was made for.
    pub(super) leader: i32,
    /// When that started, in milliseconds since boot, as the kernel rounds it.
    started: u64,
    session: i32,
}

impl Group {
    /// The group of a process that was just started as its leader. None where it cannot be looked at.
    pub(super) fn of(leader: i32) -> Option<Self> {
        let stat = Stat::read(leader).ok()?;
        (stat.group == leader).then_some(Self { leader, started: milliseconds(stat.started), session: stat.session })
    }

    /// Whether the process that it was made for is still there.
    pub(super) fn has_leader(&self) -> bool {
        Stat::read(self.leader).is_ok_and(|stat| !stat.ended && milliseconds(stat.started) == self.started)
    }

    /// Its processes that are alive, of those that started before `until`. Reads all of `/proc`.
    pub(super) fn members(&self, until: BootTime) -> Vec<i32> {
        let is_reused = Stat::read(self.leader).is_ok_and(|stat| milliseconds(stat.started) != self.started);
        if is_reused {
            return Vec::new();
        }
        let started = self.started..=milliseconds(until);
        let is_member = |pid: &i32| {
            *pid != i32::try_from(std::process::id()).unwrap_or_default()
                && Stat::read(*pid).is_ok_and(|stat| {
                    !stat.ended
                        && stat.group == self.leader
                        && stat.session == self.session
                        && started.contains(&milliseconds(stat.started))
                })
        };
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_member).collect()
    }

    /// Asks what there is of it to end, and kills what is left after `mercy`. Whether there was anything.
    pub(super) async fn end(&self, until: BootTime, signal: Signal, mercy: Duration) -> bool {
        let members = self.members(until);
        if members.is_empty() {
            return false;
        }
        send(&members, signal);
        if !self.is_gone_within(until, mercy).await {
            send(&self.members(until), Signal::KILL);
            self.is_gone_within(until, KILLED).await;
        }
        true
    }

    async fn is_gone_within(&self, until: BootTime, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        loop {
            if self.members(until).is_empty() {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            sleep(LOOK).await;
        }
    }
}

/// One that has just gone needs no signal.
fn send(members: &[i32], signal: Signal) {
    for pid in members.iter().filter_map(|pid| Pid::from_raw(*pid)) {
        let _ = kill_process(pid, signal);
    }
}

fn milliseconds(moment: BootTime) -> u64 {
    u64::try_from(moment.since_boot().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
    use std::process::Command;

    use super::*;

    #[tokio::test]
    async fn what_a_dead_leader_left_is_ended_and_nobody_else() {
        let script = "sleep 600 & sleep 601 & echo; wait";
        let start = || Command::new("sh").args(["-c", script]).process_group(0).spawn().unwrap();
        let (mut leader, mut other) = (start(), start());
        let (group, others) =
            (Group::of(leader.id().cast_signed()).unwrap(), Group::of(other.id().cast_signed()).unwrap());
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while group.members(BootTime::now()).len() < 3 || others.members(BootTime::now()).len() < 3 {
            assert!(std::time::Instant::now() < deadline);
            sleep(Duration::from_millis(2)).await;
        }
        leader.kill().unwrap();
        leader.wait().unwrap();
        assert!(!group.has_leader() && others.has_leader());
        assert_eq!(group.members(BootTime::now()).len(), 2);
        assert_eq!(group.members(BootTime::boot()), [0; 0], "none of them is so old");
        let stranger = Group { started: group.started + 60_000, ..group };
        assert_eq!(stranger.members(BootTime::now()), [0; 0], "they started before it");
        assert!(group.end(BootTime::now(), Signal::TERM, Duration::from_secs(30)).await);
        assert!(!group.end(BootTime::now(), Signal::TERM, Duration::ZERO).await);
        assert_eq!(others.members(BootTime::now()).len(), 3);

        assert!(others.end(BootTime::now(), Signal::TERM, Duration::from_secs(30)).await);
        assert_eq!(other.wait().unwrap().signal(), Some(15));
    }

    #[test]
    fn a_number_that_is_anothers_by_now_is_left_alone() {
        let mut innocent = Command::new("sleep").arg("60").process_group(0).spawn().unwrap();
        let real = Group::of(innocent.id().cast_signed()).unwrap();
        let stale = Group { started: real.started - 10, ..real };
        assert!(real.has_leader() && !stale.has_leader());
        assert!(stale.members(BootTime::now()).is_empty());
        innocent.kill().unwrap();
        innocent.wait().unwrap();
    }
}
