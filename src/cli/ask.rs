//! What commands for a running liveconf share: its socket is found, it is asked, and what it refuses becomes an exit code.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::args::{Ask, Common};
use super::{load, say};
use crate::control::{self, AskError, Refusal, RefusalKind, Reply, Request};
use crate::exit::Exit;
use crate::log::rounded;

/// How long an answer may take to which nothing has to be done first.
pub(super) const AT_ONCE: Duration = Duration::from_secs(10);

/// Asks the liveconf that was started with this command line; what goes wrong is written to standard error.
pub(super) async fn ask(common: &Common, options: &Ask, request: &Request, limit: Duration) -> Result<Reply, Exit> {
    let (path, state_dir) = socket(common, options)?;
    match control::ask(&path, request, limit).await {
        Ok(Reply::Refused(Refusal { kind, reason })) => {
            say::error(format_args!("{reason}"));
            Err(match kind {
                RefusalKind::Unknown => Exit::Usage,
                RefusalKind::Forbidden | RefusalKind::Malformed | RefusalKind::Busy | RefusalKind::NotHeld => {
                    Exit::Failed
                }
            })
        }
        Ok(reply) => Ok(reply),
        Err(error) => {
            let (exit, hint) = consequence(&error, state_dir.as_deref());
            say::error(format_args!("{error}{}", hint.map(|hint| format!("\n  = hint: {hint}")).unwrap_or_default()));
            Err(exit)
        }
    }
}

/// Where it listens, and its state folder where that is known.
fn socket(common: &Common, options: &Ask) -> Result<(PathBuf, Option<PathBuf>), Exit> {
    if let Some(path) = &options.socket {
        return Ok((path.clone(), None));
    }
    let place = load::control(common, &load::variables())?;
    let Some(socket) = place.socket else {
        say::error(format_args!(
            "the configuration wants no control socket\n  = hint: leave `control: {{socket: none}}` out, and start liveconf anew"
        ));
        return Err(Exit::Usage);
    };
    Ok((socket, Some(place.state_dir)))
}

/// What an error means to the caller, and what to do about it.
fn consequence(error: &AskError, state_dir: Option<&Path>) -> (Exit, Option<String>) {
    match error {
        AskError::NotRunning(_) => {
            let nobody = "is it running, with this configuration? `--config`, `--state-dir` or `--socket` name another";
            match state_dir.and_then(control::holder) {
                Some(pid) => {
                    let hint = format!(
                        "liveconf runs (pid {pid}), and nobody listens at its socket: one that was removed comes back within \
                         30 s; else its log says why there is none"
                    );
                    (Exit::Failed, Some(hint))
                }
                None => (Exit::NotReady, Some(nobody.to_owned())),
            }
        }
        AskError::Denied(_) => {
            let hint =
                "be root or the user that liveconf runs as; `control: {socket: PATH, group: NAME}` lets others ask";
            (Exit::Failed, Some(hint.to_owned()))
        }
        AskError::Late(_) => (Exit::NotReady, Some("`liveconf status` shows what it is at".to_owned())),
        AskError::Ended | AskError::Failed(_) => (Exit::Failed, None),
    }
}

/// An answer that does not belong to its question.
pub(super) fn mismatch() -> Exit {
    say::error(format_args!("liveconf gave an answer that does not belong to the question: is it of another version?"));
    Exit::Failed
}

/// Writes text to standard output.
pub(super) fn print(text: &str) -> Result<(), Exit> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            say::error(format_args!("failed to write to standard output: {error}"));
            Err(Exit::Failed)
        }
        _ => Ok(()),
    }
}

/// Writes a document to standard output.
pub(super) fn print_json(document: &impl Serialize) -> Result<(), Exit> {
    // Text and numbers always become JSON.
    print(&(serde_json::to_string_pretty(document).unwrap_or_default() + "\n"))
}

/// For how long something lasts that began at this time, roughly.
pub(super) fn lasted(since: &str) -> String {
    rough(SystemTime::now().duration_since(parse(since)).unwrap_or_default())
}

/// How long it is until this time, roughly.
pub(super) fn until(then: &str) -> String {
    rough(parse(then).duration_since(SystemTime::now()).unwrap_or_default())
}

fn parse(time: &str) -> SystemTime {
    humantime::parse_rfc3339(time).unwrap_or_else(|_| SystemTime::now())
}

/// The two largest units of a duration, and no part of a second but within the first.
fn rough(duration: Duration) -> String {
    let whole = if duration >= Duration::from_secs(1) { Duration::from_secs(duration.as_secs()) } else { duration };
    let text = rounded(whole).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_rough() {
        let rough = |millis| rough(Duration::from_millis(millis));
        assert_eq!(rough(250), "250ms");
        assert_eq!(rough(3250), "3s");
        assert_eq!(rough(125_900), "2m 5s");
        assert_eq!(rough(90_061_000), "1day 1h");
    }
}
