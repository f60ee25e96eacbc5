//! Confirmed by new workers of an nginx master (<https://nginx.org/en/docs/control.html>).
//!
//! nginx takes HUP whatever becomes of it. One that refuses the files, or cannot bind an address in them, goes on with
//! the workers that it has and writes why into its error log. It blocks HUP until it is done.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use super::generation::Habits;
use super::master::{Named, Program, Role, look};
use crate::process::tree::Child;

/// Bytes of the error log that are looked through.
const LIMIT: u64 = 64 << 10;

/// How nginx is looked at.
pub(super) const NGINX: Program =
    Program { habits: Habits { name: "nginx", respawns: true, execs: false }, signals: &[Signal::SIGHUP], role };

/// The workers of an nginx at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workers {
    /// Those that take connections.
    pub serving: usize,
    /// Those of earlier configurations, of which each lives as long as the connections that it has.
    pub old: usize,
}

impl Workers {
    /// Those of the master that a pid file names; none where there is no master, or it cannot be looked at.
    pub fn of(pid_file: &Path) -> Option<Self> {
        let workers = look(&NGINX, Named::PidFile(pid_file)).ok()?.workers;
        let old = workers.iter().filter(|worker| worker.leaving).count();
        Some(Self { serving: workers.len() - old, old })
    }

    /// Whether a reload, which makes old workers of all, may leave more of them than `most`. Where there is no old one it
    /// leaves no more than any reload does.
    pub fn are_too_many(self, most: u64) -> bool {
        self.old > 0 && (self.old + self.serving) as u64 > most
    }
}

/// The titles are those of `ngx_setproctitle`. Cache managers, cache loaders and a newer master are no workers; a child
/// that has just been forked has the title of its master still.
fn role(child: &Child, _master: &str) -> Role {
    match child.title.split_once(": ") {
        Some((_, title)) if !title.starts_with("worker process") => {
            if title.starts_with("master process") {
                Role::Unnamed
            } else {
                Role::Other
            }
        }
        Some((_, title)) if title.contains("is shutting down") => Role::Leaving,
        Some(_) => Role::Worker,
        None => Role::Other,
    }
}

/// How far an error log went before the reload.
#[derive(Debug)]
pub(super) struct ErrorLog {
    path: PathBuf,
    /// Its inode and length; none when it was not there.
    end: Option<(u64, u64)>,
}

impl ErrorLog {
    /// Notes where it ends now.
    pub(super) fn look(path: &Path) -> Self {
        let end = std::fs::metadata(path).ok().map(|log| (log.ino(), log.len()));
        Self { path: path.to_owned(), end }
    }

    /// Its path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The lines of it that are new and say what nginx could not do. They may hold whatever stands in the files.
    pub(super) fn new_emergencies(&self) -> io::Result<Vec<String>> {
        let mut log = File::open(&self.path)?;
        let metadata = log.metadata()?;
        // A log that was rotated begins anew.
        let from = self.end.filter(|(inode, end)| *inode == metadata.ino() && *end <= metadata.len());
        log.seek(SeekFrom::Start(from.map_or(0, |(_, end)| end)))?;
        let mut bytes = Vec::new();
        log.take(LIMIT).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        Ok(text.lines().filter(|line| line.contains("[emerg]")).map(str::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::process::BootTime;

    #[test]
    fn titles_tell_workers_from_all_others() {
        let role = |title: &str| {
            role(&Child { pid: 1, started: BootTime::now(), name: "nginx".into(), title: title.into() }, "nginx")
        };
        for (title, expected) in [
            ("nginx: worker process", Role::Worker),
            ("nginx: worker process is shutting down", Role::Leaving),
            ("nginx: master process nginx -g daemon off;", Role::Unnamed),
            ("nginx: cache manager process", Role::Other),
            ("nginx: cache loader process", Role::Other),
            ("nginx: privileged agent process", Role::Other),
            ("", Role::Other),
        ] {
            assert_eq!(role(title), expected, "{title}");
        }
    }

    #[test]
    fn a_reload_never_leaves_more_old_workers_than_it_may() {
        let too_many = |serving, old, most| Workers { serving, old }.are_too_many(most);
        assert!(!too_many(4, 4, 8) && too_many(4, 5, 8) && too_many(4, 9, 8));
        assert!(!too_many(4, 0, 2), "one reload is always possible");
        assert!(too_many(4, 1, 2) && too_many(1, 1, 0));
    }

    #[test]
    fn only_what_is_new_in_the_error_log_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("error.log");
        let absent = ErrorLog::look(&path);
        assert!(absent.new_emergencies().is_err());
        fs::write(&path, "1 [emerg] 7#7: old\n").unwrap();
        assert_eq!(absent.new_emergencies().unwrap(), ["1 [emerg] 7#7: old"]);
        let log = ErrorLog::look(&path);
        fs::write(&path, "1 [emerg] 7#7: old\n2 [notice] 7#7: x\n2 [emerg] 7#7: new\n").unwrap();
        assert_eq!(log.new_emergencies().unwrap(), ["2 [emerg] 7#7: new"]);
        fs::rename(&path, folder.path().join("error.log.1")).unwrap();
        fs::write(&path, "3 [emerg] 7#7: rotated\n").unwrap();
        assert_eq!(log.new_emergencies().unwrap(), ["3 [emerg] 7#7: rotated"]);
    }
}
