//! What may go wrong between rendered bytes and files in place.

use std::fmt;
use std::io;
use std::path::Path;

use rustix::io::Errno;

use crate::config::Template;
use crate::process::End;

/// A failed apply. Nothing that is visible has changed.
#[derive(Debug, thiserror::Error)]
#[error("{}{problem}{}", colon(subject), hint.as_ref().map(|hint| format!("\n  = hint: {hint}")).unwrap_or_default())]
pub struct ApplyError {
    /// Nothing where it is all that the target has: who tells of the error says which target that is.
    subject: String,
    problem: Problem,
    hint: Option<String>,
}

/// What kind of failure it is, by what follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// A check or `verify` said no: these bytes are refused, and others may be taken.
    Refused,
    /// It could not be run or did not end in time: it may work the next time.
    CheckNotRun,
    /// A file could not be written, for example on a full disk: it may work the next time.
    Write,
    /// A file may not be written: read-only file system, permission, a destination that is not fit. Only the operator
    /// can help, so a try each 30 s is enough.
    Standing,
}

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    CheckNotRun(String),
    #[error("cannot {step}: {source}")]
    Write { step: &'static str, source: io::Error },
    #[error("{0}")]
    Unfit(String),
}

impl ApplyError {
    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        match &self.problem {
            Problem::Refused(_) => ErrorKind::Refused,
            Problem::CheckNotRun(_) => ErrorKind::CheckNotRun,
            Problem::Write { source, .. } if is_standing(source) => ErrorKind::Standing,
            Problem::Write { .. } => ErrorKind::Write,
            Problem::Unfit(_) => ErrorKind::Standing,
        }
    }

    /// All of it in one line, for the middle of a text.
    pub fn in_line(&self) -> String {
        let hint = self.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
        format!("{}{}{hint}", colon(&self.subject), self.problem)
    }

    /// What to do about it, where that can be known.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The error number of the system call that failed.
    pub fn errno(&self) -> Option<i32> {
        match &self.problem {
            Problem::Write { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }

    /// A file that could not be written.
    pub(super) fn write<'a>(file: impl Into<Subject<'a>>, step: &'static str, source: impl Into<io::Error>) -> Self {
        let (file, source) = (file.into(), source.into());
        let hint = hint(&source, file.destination);
        Self { subject: file.to_string(), problem: Problem::Write { step, source }, hint }
    }

    /// A destination that is refused.
    pub(super) fn unfit<'a>(file: impl Into<Subject<'a>>, why: impl Into<String>, hint: impl Into<String>) -> Self {
        let hint = Some(hint.into()).filter(|hint| !hint.is_empty());
        Self { subject: file.into().to_string(), problem: Problem::Unfit(why.into()), hint }
    }

    /// The wrapper of a check that could not be written in `folder`.
    pub(super) fn wrapper(subject: String, folder: &Path, source: io::Error) -> Self {
        let hint = hint(&source, &folder.join("wrapper"));
        Self { subject, problem: Problem::Write { step: "write the wrapper of a check", source }, hint }
    }

    /// A check, or what `what` says it is, that ended otherwise than with 0. `lines` are those of the new files that it
    /// complained about. What it wrote is no part of the error, since checkers repeat what they refuse and that may be a
    /// secret.
    pub(super) fn check(what: &str, subject: String, program: &str, end: &End, lines: &[String]) -> Self {
        let said = if lines.is_empty() { String::new() } else { format!(", about {}", lines.join(", ")) };
        let problem = match end {
            // 127 is how a shell says that there is no such program.
            End::Exited(code) if *code != 127 => {
                Problem::Refused(format!("{what} `{program}` refuses the files: it {end}{said}"))
            }
            _ => Problem::CheckNotRun(format!("{what} `{program}` {end}{said}")),
        };
        let hint = end.hint().map_or_else(|| "`--log-level debug` shows what it wrote".to_owned(), str::to_owned);
        Self { subject, problem, hint: Some(hint) }
    }

    /// The same error with `note` before its hint.
    pub(super) fn noting(mut self, note: &str) -> Self {
        self.hint = Some(self.hint.map_or_else(|| note.to_owned(), |hint| format!("{note}; {hint}")));
        self
    }
}

/// A subject before what is said of it.
fn colon(subject: &str) -> String {
    if subject.is_empty() { String::new() } else { format!("{subject}: ") }
}

/// The file that an error is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    /// The name of its template.
    pub(super) template: &'a str,
    /// Its configured path.
    pub(super) destination: &'a Path,
}

impl<'a> From<&'a Template> for Subject<'a> {
    fn from(template: &'a Template) -> Self {
        Self { template: &template.name, destination: &template.dest }
    }
}

impl fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "template `{}`, file `{}`", self.template, self.destination.display())
    }
}

fn is_standing(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::ROFS
                | Errno::ACCESS
                | Errno::PERM
                | Errno::NOENT
                | Errno::NOTDIR
                | Errno::ISDIR
                | Errno::LOOP
                | Errno::NAMETOOLONG
                | Errno::TXTBSY
        )
    )
}

fn hint(error: &io::Error, destination: &Path) -> Option<String> {
    let folder = destination.parent().unwrap_or(destination).display();
    Some(match Errno::from_io_error(error)? {
        Errno::NOSPC | Errno::DQUOT => {
            format!("make room on the file system of `{folder}`: the old and the new file must both fit")
        }
        Errno::ROFS => format!(
            "`{folder}` is read-only for liveconf: mount it writable, or add it to `ReadWritePaths` of the systemd unit"
        ),
        Errno::ACCESS | Errno::PERM => format!(
            "let the user that liveconf runs as write in `{folder}`, and see that the file is not immutable (`lsattr`)"
        ),
        Errno::NAMETOOLONG => "a file name has at most 255 bytes".to_owned(),
        Errno::LOOP => "a symlink in the path leads in a circle or was exchanged meanwhile".to_owned(),
        Errno::MFILE => {
            "raise the limit on open files (`LimitNOFILE` of the systemd unit, `ulimit -Hn`): all files of a target are \
             open at once while they are replaced"
                .to_owned()
        }
        Errno::NOTDIR => format!("`{folder}` is no folder, or one above it is none: give the path of a folder in `dest`"),
        Errno::FBIG => "raise the limit on file sizes (`ulimit -f`)".to_owned(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_the_operator_can_mend_is_not_tried_again_soon() {
        for (errno, standing) in [
            (Errno::ROFS, true),
            (Errno::ACCESS, true),
            (Errno::PERM, true),
            (Errno::NOSPC, false),
            (Errno::IO, false),
            (Errno::DQUOT, false),
            (Errno::BUSY, false),
        ] {
            assert_eq!(is_standing(&errno.into()), standing, "{errno:?}");
        }
    }

    #[test]
    fn a_full_disk_gets_a_hint() {
        let hint = hint(&Errno::NOSPC.into(), Path::new("/etc/x/y.conf")).unwrap();
        assert!(hint.contains("`/etc/x`"), "{hint}");
    }
}
