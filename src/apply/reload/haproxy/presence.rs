//! A HAProxy that runs, and has lost a socket: somebody removed its file. Workers hand the socket on to those that follow them
//! at a reload, so only a restart puts the file there again.

use std::fmt::Display;
use std::fs;
use std::io;
use std::path::Path;

use super::socket::{ask, is_closed, why};
use crate::apply::reload::Outcome;
use crate::config::Haproxy;
use crate::process::signal;

/// Why HAProxy was not told at its runtime socket, and what to do about it.
pub(super) async fn without_runtime(haproxy: &Haproxy, error: &io::Error) -> String {
    let master_answers = match &haproxy.master {
        Some(master) => ask(master, "show proc").await.is_ok(),
        None => false,
    };
    if error.kind() == io::ErrorKind::NotFound && (master_answers || has_process(haproxy)) {
        return lost(haproxy);
    }
    why(&haproxy.socket, error)
}

/// What came of a reload where the master could not be asked for it. `is_ours` says that we run it.
pub(super) async fn without_master(haproxy: &Haproxy, master: &Path, error: &io::Error, is_ours: bool) -> Outcome {
    if !is_closed(error) {
        return Outcome::Failed(why(master, error));
    }
    let runs = error.kind() == io::ErrorKind::NotFound
        && (is_ours || has_process(haproxy) || ask(&haproxy.socket, "show info").await.is_ok());
    if runs {
        Outcome::Failed(lost(haproxy))
    } else {
        Outcome::NotRunning(format!("no master of haproxy listens on `{}`", master.display()))
    }
}

/// Whether there is a process, by its pid file or by a socket that it still listens on.
fn has_process(haproxy: &Haproxy) -> bool {
    haproxy.pid_file.as_deref().is_some_and(|pid_file| signal::find(pid_file).is_ok())
        || is_still_bound(&haproxy.socket)
        || haproxy.master.as_deref().is_some_and(is_still_bound)
}

/// Whether somebody still listens on a socket of HAProxy whose file may be gone. The kernel lists sockets by the name that
/// they were bound to (proc(5), `net/unix`), those of our network namespace: HAProxy binds to `PATH.PID.tmp`, and renames.
pub(in crate::apply) fn is_still_bound(socket: &Path) -> bool {
    fs::read_to_string("/proc/net/unix").is_ok_and(|list| is_listed(&list, socket))
}

fn is_listed(list: &str, socket: &Path) -> bool {
    // Num, RefCount, Protocol, Flags, Type, St, Inode, Path; whoever listens has this flag.
    const LISTENS: &str = "00010000";
    let Some(name) = socket.file_name().and_then(|name| name.to_str()) else { return false };
    let is_it = |bound: &Path| {
        let rest = bound.file_name().and_then(|bound| bound.to_str()?.strip_prefix(name));
        let pid = rest.and_then(|rest| rest.strip_prefix('.')?.strip_suffix(".tmp"));
        let is_named = rest == Some("") || pid.is_some_and(|pid| pid.parse::<u32>().is_ok());
        is_named && is_same(bound.parent(), socket.parent())
    };
    let mut bound = list.lines().filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        (fields.nth(3)? == LISTENS).then_some(())?;
        fields.nth(3).filter(|path| path.starts_with('/'))
    });
    bound.any(|bound| is_it(Path::new(bound)))
}

/// Whether these are the same folder, such as `/var/run` and `/run`.
fn is_same(one: Option<&Path>, other: Option<&Path>) -> bool {
    let real = |path: &Path| fs::canonicalize(path).ok();
    one == other || one.and_then(real).is_some_and(|one| other.and_then(real) == Some(one))
}

/// Names the sockets of a HAProxy that runs whose files are not there.
fn lost(haproxy: &Haproxy) -> String {
    let is_gone = |socket: &&Path| matches!(socket.try_exists(), Ok(false));
    let master = haproxy.master.as_deref().filter(is_gone).map(Path::display);
    match (master, Some(&*haproxy.socket).filter(is_gone).map(Path::display)) {
        (Some(master), Some(socket)) => format!(
            "haproxy runs, and neither the socket of its master `{master}` nor its runtime socket `{socket}` is there: \
             `haproxy -S` and `stats socket` name other paths, or the files were removed, and only a restart of haproxy \
             brings them back"
        ),
        (Some(master), None) => one_is_lost("socket of its master", master, "`haproxy -S` names another path"),
        (None, Some(socket)) => one_is_lost("runtime socket", socket, "`stats socket` names another path"),
        (None, None) => "haproxy runs, and its socket was not there a moment ago".to_owned(),
    }
}

/// The same of one of them.
pub(in crate::apply) fn one_is_lost(what: &str, socket: impl Display, otherwise: &str) -> String {
    format!(
        "haproxy runs, and the {what} `{socket}` is not there: {otherwise}, or the file was removed, and only a restart of \
         haproxy brings it back"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_whose_file_is_gone_is_still_listed() {
        // As Linux writes it of HAProxy 2.6.12, and of one that is connected.
        let list = "Num       RefCount Protocol Flags    Type St Inode Path
00000000eb6ceaa9: 00000002 00000000 00010000 0001 01 26092376 /run/h/admin.sock.13837.tmp
00000000a2219162: 00000003 00000000 00000000 0001 03 26092382 /run/h/master.sock.13837.tmp
00000000a2219163: 00000002 00000000 00010000 0001 01 26092383 @abstract
00000000a2219164: 00000002 00000000 00010000 0001 01 26092384
00000000a2219165: 00000002 00000000 00010000 0001 01 26092385 /run/h/plain.sock
";
        let listed = |path: &str| is_listed(list, Path::new(path));
        assert!(listed("/run/h/admin.sock") && listed("/run/h/plain.sock"));
        for other in ["/run/h/master.sock", "/run/h/admin", "/run/x/admin.sock", "/run/h/plain.soc", "/"] {
            assert!(!listed(other), "{other}");
        }
    }

    #[test]
    fn it_is_listed_by_this_machine() {
        let folder = tempfile::tempdir().unwrap();
        let (path, bound) = (folder.path().join("a.sock"), folder.path().join("a.sock.77.tmp"));
        let listener = std::os::unix::net::UnixListener::bind(&bound).unwrap();
        fs::remove_file(bound).unwrap();
        assert!(is_still_bound(&path));
        drop(listener);
        assert!(!is_still_bound(&path));
    }
}
