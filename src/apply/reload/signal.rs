//! Reload by a signal to the process that a pid file names.

use std::path::Path;

use nix::sys::signal::Signal;

use super::Outcome;
use crate::process::BootTime;
use crate::process::signal::{SignalError, find};

pub(super) fn reload(signal: Signal, pid_file: &Path, committed: Option<BootTime>) -> Outcome {
    let process = match find(pid_file) {
        Ok(process) => process,
        Err(error) => return failure(&error),
    };
    // Besides being needless, a signal to a process that has not installed its handler yet would end it.
    if committed.is_some_and(|committed| process.started_after(committed)) {
        tracing::debug!(pid = process.id(), "the process started after the commit and needs no signal");
        return Outcome::Taken;
    }
    match process.send(pid_file, signal) {
        Ok(()) => Outcome::Taken,
        Err(error) => failure(&error),
    }
}

fn failure(error: &SignalError) -> Outcome {
    match error {
        SignalError::Absent(absent) => Outcome::NotRunning(absent.to_string()),
        _ => Outcome::Failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Command;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_process_is_told_once_and_then_not_running() {
        let folder = tempfile::tempdir().unwrap();
        let pid_file = folder.path().join("sleep.pid");
        let missing = reload(Signal::SIGHUP, &pid_file, None);
        assert!(matches!(&missing, Outcome::NotRunning(why) if why.contains("sleep.pid")), "{missing:?}");

        let mut process = Command::new("sleep").arg("60").spawn().unwrap();
        std::fs::write(&pid_file, process.id().to_string()).unwrap();
        // Not SIGHUP, which a process ignores that was started under `nohup`.
        assert_eq!(reload(Signal::SIGUSR1, &pid_file, Some(BootTime::now())), Outcome::Taken);
        assert_eq!(process.wait().unwrap().signal(), Some(Signal::SIGUSR1 as i32));
        let ended = reload(Signal::SIGHUP, &pid_file, None);
        assert!(matches!(&ended, Outcome::NotRunning(why) if why.contains("has ended")), "{ended:?}");
    }

    #[test]
    fn a_process_that_started_after_the_commit_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let pid_file = folder.path().join("sleep.pid");
        let committed = BootTime::now();
        // The kernel rounds the start down to the hundredth of a second.
        std::thread::sleep(Duration::from_millis(30));
        let mut process = Command::new("sleep").arg("60").spawn().unwrap();
        std::fs::write(&pid_file, process.id().to_string()).unwrap();
        assert_eq!(reload(Signal::SIGHUP, &pid_file, Some(committed)), Outcome::Taken);
        assert!(process.try_wait().unwrap().is_none(), "it was signalled");
        process.kill().unwrap();
        process.wait().unwrap();
    }
}
