//! What a command sees of our environment.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use rustix::fs::Access;

/// Variables that a command sees. A list of what is let through, not of what is held back: tokens and passwords that
/// we are given as variables (`CONSUL_HTTP_TOKEN`, `ETCDCTL_PASSWORD`) never reach a checker by oversight.
const SEEN: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    "TERM",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
];

/// Variables by which a service manager speaks to us alone. A command never sees them, whatever is allowed: it could say
/// in our name that we are ready, or live.
const OURS_ALONE: &[&str] =
    &["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"];

/// Where programs are looked for when we ourselves were started without `PATH`.
pub(super) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The variables of `ours` that a command sees: the list above, `LC_*`, and the `allowed` ones.
pub(super) fn seen(
    ours: impl IntoIterator<Item = (OsString, OsString)>,
    allowed: &[String],
) -> Vec<(OsString, OsString)> {
    let mut seen: Vec<_> = ours.into_iter().filter(|(name, _)| is_seen(name, allowed)).collect();
    if !seen.iter().any(|(name, _)| name == "PATH") {
        seen.push(("PATH".into(), DEFAULT_PATH.into()));
    }
    seen
}

/// Where the program of a command lies: a name with a `/` is a path from the working folder, any other is looked for in
/// `PATH`. None where there is nothing that we may run.
pub fn find_program(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    let folders = std::env::split_paths(&path).filter(|_| !program.contains('/'));
    let mut candidates =
        folders.map(|folder| folder.join(program)).chain(program.contains('/').then(|| program.into()));
    candidates.find(|path| path.is_file() && rustix::fs::access(path, Access::EXEC_OK).is_ok())
}

fn is_seen(name: &OsStr, allowed: &[String]) -> bool {
    let Some(name) = name.to_str() else { return false };
    !OURS_ALONE.contains(&name)
        && (SEEN.contains(&name) || name.starts_with("LC_") || allowed.iter().any(|allowed| allowed == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(ours: &[&str], allowed: &[&str]) -> Vec<String> {
        let ours = ours.iter().map(|name| (OsString::from(name), OsString::from("x")));
        let allowed: Vec<_> = allowed.iter().map(ToString::to_string).collect();
        seen(ours, &allowed).into_iter().map(|(name, _)| name.into_string().unwrap()).collect()
    }

    #[test]
    fn only_what_is_listed_is_seen() {
        let ours = ["PATH", "LC_ALL", "CONSUL_HTTP_TOKEN", "ETCDCTL_PASSWORD", "SITE", "HOME"];
        assert_eq!(names(&ours, &[]), ["PATH", "LC_ALL", "HOME"]);
        assert_eq!(names(&ours, &["SITE"]), ["PATH", "LC_ALL", "SITE", "HOME"]);
        let ours = [&["PATH"], OURS_ALONE].concat();
        assert_eq!(names(&ours, &["NOTIFY_SOCKET", "WATCHDOG_PID"]), ["PATH"]);
    }

    #[test]
    fn the_reference_names_them() {
        let explained =
            crate::reference::page::terms(crate::reference::page::OPERATION, "What commands see", "variable");
        for name in SEEN {
            assert!(explained.iter().any(|term| term == name), "{name}");
        }
    }

    #[test]
    fn programs_are_found_where_commands_find_them() {
        assert!(find_program("sh").is_some_and(|path| path.is_absolute()));
        assert_eq!(find_program("/bin/sh"), Some("/bin/sh".into()));
        for none in ["no-such-program", "/bin", "/etc/passwd", "./sh", "", "/"] {
            assert_eq!(find_program(none), None, "{none}");
        }
    }

    #[test]
    fn a_path_is_always_there() {
        assert_eq!(names(&[], &[]), ["PATH"]);
    }
}
