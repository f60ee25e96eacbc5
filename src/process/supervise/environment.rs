//! What a supervised program sees of our environment, and as whom it runs.

use std::ffi::{OsStr, OsString};
use std::io;

use nix::unistd::{Group, User};

use crate::config::Process;
use crate::plan::CREDENTIALS;
use crate::process::environment::DEFAULT_PATH;

/// What a service manager says to us, and to nobody else (`sd_notify(3)`, `sd_watchdog_enabled(3)`, `sd_listen_fds(3)`).
const FOR_US: &[&str] = &[
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "STATE_DIRECTORY",
    "CREDENTIALS_DIRECTORY",
    "LIVECONF_RUN",
];

/// As whom a program runs; none for what stays ours.
#[derive(Debug, Default)]
pub(super) struct Identity {
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    /// The user by its name, where it has an entry: its further groups are listed by it.
    pub(super) name: Option<OsString>,
    /// What tells a program who it is.
    variables: Vec<(OsString, OsString)>,
}

/// Looks up the user and the group that a program runs as.
pub(super) fn identity(process: &Process) -> io::Result<Identity> {
    let mut identity = Identity::default();
    if let Some(name) = &process.user {
        let known = match name.parse() {
            Ok(uid) => User::from_uid(nix::unistd::Uid::from_raw(uid))?,
            Err(_) => User::from_name(name)?,
        };
        match known {
            Some(user) => {
                (identity.uid, identity.gid) = (Some(user.uid.as_raw()), Some(user.gid.as_raw()));
                let home = user.dir.into_os_string();
                let name = OsString::from(user.name);
                identity.name = Some(name.clone());
                identity.variables =
                    vec![("HOME".into(), home), ("USER".into(), name.clone()), ("LOGNAME".into(), name)];
            }
            // A number needs no entry; its group is then to be given.
            None => identity.uid = Some(name.parse().map_err(|_| absent("user", name))?),
        }
    }
    if let Some(name) = &process.group {
        identity.gid = Some(match name.parse() {
            Ok(gid) => gid,
            Err(_) => Group::from_name(name)?.ok_or_else(|| absent("group", name))?.gid.as_raw(),
        });
    }
    Ok(identity)
}

/// Why a program cannot run as its user and its group, each for itself; nothing where it can.
pub fn look_up_identity(process: &Process) -> Vec<io::Error> {
    let alone = |user: Option<&String>, group: Option<&String>| {
        identity(&Process { user: user.cloned(), group: group.cloned(), ..process.clone() }).err()
    };
    [alone(process.user.as_ref(), None), alone(None, process.group.as_ref())].into_iter().flatten().collect()
}

fn absent(what: &str, name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("there is no {what} `{name}`"))
}

/// The variables of `ours` that a program sees, and its own.
pub(super) fn variables(
    process: &Process,
    identity: &Identity,
    ours: impl IntoIterator<Item = (OsString, OsString)>,
) -> Vec<(OsString, OsString)> {
    let mut seen: Vec<_> = ours.into_iter().filter(|(name, _)| is_seen(process, name)).collect();
    for (name, value) in &identity.variables {
        seen.retain(|(other, _)| other != name);
        seen.push((name.clone(), value.clone()));
    }
    if !seen.iter().any(|(name, _)| name == "PATH") {
        seen.push(("PATH".into(), DEFAULT_PATH.into()));
    }
    seen.extend(process.variables.iter().cloned());
    seen
}

/// What is held back is so first; our credentials and what is said to us alone pass only by their own name.
fn is_seen(process: &Process, name: &OsStr) -> bool {
    let is_one = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, name));
    if is_one(&process.env_deny) {
        return false;
    }
    let is_ours = CREDENTIALS.iter().chain(FOR_US).any(|ours| name == *ours);
    if is_ours { process.env_allow.iter().any(|allowed| name == &**allowed) } else { is_one(&process.env_allow) }
}

/// Whether a name is that of the pattern, which may end in `*`.
fn matches(pattern: &str, name: &OsStr) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.as_encoded_bytes().starts_with(beginning.as_bytes()),
        None => name == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(allow: &[&str], deny: &[&str]) -> Vec<String> {
        let names = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        let process = Process { env_allow: names(allow), env_deny: names(deny), ..Process::test("sleep") };
        let ours = ["PATH", "APP_A", "APP_B", "CONSUL_HTTP_TOKEN", "NOTIFY_SOCKET"];
        let ours = ours.map(|name| (OsString::from(name), OsString::from("x")));
        let seen = variables(&process, &Identity::default(), ours);
        seen.into_iter().map(|(name, _)| name.into_string().unwrap()).collect()
    }

    #[test]
    fn credentials_pass_only_by_their_name() {
        assert_eq!(seen(&["*"], &[]), ["PATH", "APP_A", "APP_B"]);
        assert_eq!(seen(&["CONSUL*"], &[]), ["PATH"]);
        assert_eq!(seen(&["*", "CONSUL_HTTP_TOKEN"], &["APP_*"]), ["PATH", "CONSUL_HTTP_TOKEN"]);
        assert_eq!(seen(&["APP_A"], &["APP_A"]), ["PATH"]);
    }

    #[test]
    fn a_user_is_looked_up_by_name_or_number() {
        let with = |user: &str| Process { user: Some(user.to_owned()), ..Process::test("sleep") };
        let root = identity(&with("root")).unwrap();
        assert_eq!((root.uid, root.gid), (Some(0), Some(0)));
        assert!(root.variables.iter().any(|(name, value)| name == "USER" && value == "root"));
        let number = identity(&with("54321")).unwrap();
        assert_eq!((number.uid, number.gid), (Some(54321), None));
        assert!(identity(&with("nobody-of-this-name")).unwrap_err().to_string().contains("there is no user"));
    }
}
