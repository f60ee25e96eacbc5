//! How a supervised program is started so that it does not outlive us.
//!
//! The kernel ends a process with its parent if it asked for that itself (prctl(2), `PR_SET_PDEATHSIG`), and forgets the
//! wish when the user changes. So our own program stands in for a moment: it is started as the right user, asks, and
//! then becomes the program.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::getppid;

/// The first argument of a stand-in; nothing that a person writes.
const STAND_IN: &str = "--become-supervised-process";

/// What a shell exits with when it does not find a program, and when it may not run one.
const NOT_FOUND: u8 = 127;
const NOT_ALLOWED: u8 = 126;

/// The arguments of ours that make us stand in for a program.
pub(super) fn arguments(signal: Signal, program: &[OsString]) -> Vec<OsString> {
    let own = [STAND_IN.into(), signal.as_str().into(), std::process::id().to_string().into()];
    own.into_iter().chain(program.iter().cloned()).collect()
}

/// Becomes the program that `arguments` name, if they ask for that. Where that fails, the exit code, and why.
pub fn stand_in(arguments: &[OsString]) -> Option<(u8, String)> {
    let [_, first, signal, parent, program, rest @ ..] = arguments else { return None };
    if first != STAND_IN {
        return None;
    }
    let text = |argument: &OsStr| argument.to_str().unwrap_or_default().to_owned();
    let signal: Option<Signal> = text(signal).parse().ok();
    // Where it is not to be had the program runs all the same; what it leaves behind is found by the next start.
    let _ = set_pdeathsig(signal);
    // Too late: the parent has ended before we asked.
    if getppid().to_string() != text(parent) {
        return Some((NOT_ALLOWED, "liveconf ended before its process began".to_owned()));
    }
    let error = Command::new(program).args(rest).exec();
    let code = if error.kind() == std::io::ErrorKind::NotFound { NOT_FOUND } else { NOT_ALLOWED };
    Some((code, format!("failed to start `{}`: {error}", program.to_string_lossy())))
}
