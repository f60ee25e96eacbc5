//! How a supervised program is started so that it does not outlive us.
//!
//! The kernel ends a process with its parent if it asked for that itself (prctl(2), `PR_SET_PDEATHSIG`), and forgets the
//! wish when the user changes. Who gives up being root has to say which further groups it has then (credentials(7)), and
//! only the list of the system knows those of a user. So our own program stands in for a moment: it becomes the right
//! user with the groups of that user, asks, and then becomes the program.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, getgid, getppid, initgroups, setgid, setgroups, setuid};

use super::environment::Identity;

/// The first argument of a stand-in; nothing that a person writes.
const STAND_IN: &str = "--become-supervised-process";

/// What a shell exits with when it does not find a program, and when it may not run one.
const NOT_FOUND: u8 = 127;
const NOT_ALLOWED: u8 = 126;

/// The arguments of ours that make us stand in for a program, which runs as `identity`.
pub(super) fn arguments(signal: Signal, identity: &Identity, program: &[OsString]) -> Vec<OsString> {
    let own = [STAND_IN.into(), signal.as_str().into(), std::process::id().to_string().into(), written(identity)];
    own.into_iter().chain(program.iter().cloned()).collect()
}

/// `UID:GID:NAME`, with nothing for what stays ours; a name holds no colon (passwd(5)).
fn written(identity: &Identity) -> OsString {
    let number = |id: Option<u32>| id.map(|id| id.to_string()).unwrap_or_default();
    let mut text = OsString::from(format!("{}:{}:", number(identity.uid), number(identity.gid)));
    text.extend(identity.name.as_deref());
    text
}

/// Becomes the program that `arguments` name, if they ask for that. Where that fails, the exit code, and why.
pub fn stand_in(arguments: &[OsString]) -> Option<(u8, String)> {
    let [_, first, signal, parent, identity, program, rest @ ..] = arguments else { return None };
    if first != STAND_IN {
        return None;
    }
    let text = |argument: &OsStr| argument.to_str().unwrap_or_default().to_owned();
    if let Err(error) = assume(identity) {
        return Some((NOT_ALLOWED, format!("failed to become the user of `{}`: {error}", program.to_string_lossy())));
    }
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

/// Becomes who is written there, in the order in which the right to do so goes: a user that has no entry has no further
/// groups, and where the user stays ours so do they.
fn assume(written: &OsStr) -> io::Result<()> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
    let number = |bytes: &[u8]| -> io::Result<Option<u32>> {
        let text = str::from_utf8(bytes).map_err(|_| invalid())?;
        if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|_| invalid()) }
    };
    let mut fields = written.as_bytes().splitn(3, |byte| *byte == b':');
    let mut field = || fields.next().ok_or_else(invalid);
    let (uid, gid, name) = (number(field()?)?, number(field()?)?, field()?);
    let group = gid.map_or_else(getgid, Gid::from_raw);
    match uid {
        Some(_) if name.is_empty() => setgroups(&[])?,
        Some(_) => initgroups(&CString::new(name)?, group)?,
        None => {}
    }
    if gid.is_some() {
        setgid(group)?;
    }
    uid.map(Uid::from_raw).map_or(Ok(()), setuid)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_it_is_stands_in_one_argument() {
        assert_eq!(written(&Identity::default()), "::");
        assume(OsStr::new("::")).unwrap();
        for wrong in ["", "1:2", "x::", ":-1:"] {
            assert_eq!(assume(OsStr::new(wrong)).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{wrong}");
        }
    }
}
