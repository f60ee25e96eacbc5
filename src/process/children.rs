//! Our own children, and those of others that have become ours.
//!
//! Whoever is process 1, or a subreaper (prctl(2), `PR_SET_CHILD_SUBREAPER`), inherits every process whose parent has
//! ended, and has to take note of its end, or it stays a zombie for ever. The exit code of a child can be taken once: so
//! those that the runtime waits for are left to it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{debug, warn};

use super::open_files;

/// How often it is looked for ended children besides when the kernel tells of one: one signal may stand for several.
const LOOK: Duration = Duration::from_secs(1);

/// The pause before another look where one of our own has to be waited for by the runtime first.
const AFTER_OURS: Duration = Duration::from_millis(5);

/// What is asked about children: who has ended, at once.
const ENDED: WaitPidFlag = WaitPidFlag::WEXITED.union(WaitPidFlag::WNOHANG);

/// The children that the runtime waits for. The kernel keeps one list of children for the whole process, and so do we.
static OURS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Held for reading while a child is started and is not on the list yet, for writing while one is reaped.
static STARTING: RwLock<()> = RwLock::new(());

/// A child that the runtime waits for. Drop it once that is done.
#[derive(Debug)]
pub(super) struct Ours(i32);

impl Drop for Ours {
    fn drop(&mut self) {
        ours().remove(&self.0);
    }
}

/// A panic elsewhere leaves a whole list behind: every change is one step.
fn ours() -> MutexGuard<'static, BTreeSet<i32>> {
    OURS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a child that nobody but the runtime waits for, as long as what is given beside it is kept.
pub(super) fn spawn(command: &mut Command) -> io::Result<(Child, i32, Ours)> {
    let _starting = STARTING.read().unwrap_or_else(PoisonError::into_inner);
    let child = command.spawn()?;
    let pid = child.id().and_then(|id| i32::try_from(id).ok());
    let pid = pid.ok_or_else(|| io::Error::other("the system gave no process id"))?;
    ours().insert(pid);
    open_files::as_given(pid);
    Ok((child, pid, Ours(pid)))
}

/// Whether we are process 1, which inherits every orphan.
pub fn is_init() -> bool {
    std::process::id() == 1
}

/// Has orphans of our children become ours, and not those of process 1, so that none of a process that we supervise gets
/// lost.
pub fn adopt_orphans() {
    if !is_init()
        && let Err(error) = nix::sys::prctl::set_child_subreaper(true)
    {
        debug!(%error, "orphans of the supervised process go to process 1");
    }
}

/// Reaps children that are not ours, for as long as the program runs.
pub async fn reap() {
    let mut ended = match signal(SignalKind::child()) {
        Ok(ended) => ended,
        Err(error) => return warn!(%error, "cannot listen for the end of children: orphans stay zombies"),
    };
    loop {
        while !reap_all() {
            tokio::time::sleep(AFTER_OURS).await;
        }
        let _ = tokio::time::timeout(LOOK, ended.recv()).await;
    }
}

/// Reaps every ended child that is not ours. False where it is to be looked again soon, since one of ours stands in the
/// way: the kernel shows one at a time.
fn reap_all() -> bool {
    loop {
        let Ok(_nobody_starts) = STARTING.try_write() else { return false };
        match waitid(Id::All, ENDED | WaitPidFlag::WNOWAIT) {
            Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) if !ours().contains(&pid.as_raw()) => {
                take(pid);
            }
            // A signal without a name ended it, which is an error here, or it is one of ours.
            Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) | Err(Errno::EINVAL) => {
                listed().into_iter().filter(|pid| !ours().contains(pid)).map(Pid::from_raw).for_each(take);
                return false;
            }
            Err(Errno::EINTR) => {}
            Ok(_) | Err(_) => return true,
        }
    }
}

/// Our children that nobody here has started: orphans that came to us.
pub(super) fn of_others() -> Vec<i32> {
    let all = listed();
    let ours = ours();
    all.into_iter().filter(|pid| !ours.contains(pid)).collect()
}

/// Takes note of the end of this child, if it has ended.
fn take(pid: Pid) {
    if let Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) = waitid(Id::Pid(pid), ENDED) {
        debug!(pid = pid.as_raw(), "reaped an orphan");
    }
}

/// The children of all our threads, as far as `/proc` lists them.
fn listed() -> Vec<i32> {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_ours_is_on_the_list_until_it_is_waited_for() {
        let (mut child, pid, ours_now) = spawn(Command::new("sh").args(["-c", "exit 7"])).unwrap();
        assert!(ours().contains(&pid));
        assert_eq!(child.wait().await.unwrap().code(), Some(7));
        drop(ours_now);
        assert!(!ours().contains(&pid));
    }
}
