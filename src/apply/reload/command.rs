//! Reload by a command.

use super::Outcome;
use crate::apply::placeholder::Paths;
use crate::config::{Command, Target};
use crate::process::command::run;
use crate::process::{Context, End};

/// The exit code by which a command says that the process is there and refuses the files: `EX_DATAERR` of sysexits(3).
const REJECTED: i32 = 65;

pub(super) async fn reload(target: &Target, command: &Command, context: &Context) -> Outcome {
    let invocation = Paths::live(target).invocation(command);
    let finished = run(&invocation, context).await;
    if finished.end.is_success() {
        return Outcome::Taken;
    }
    let mut reason = format!("reload command `{}` {}", invocation.program(), finished.end);
    if let Some(hint) = finished.end.hint() {
        reason.push_str("; ");
        reason.push_str(hint);
    }
    if !target.templates.iter().any(|template| template.secret) && !finished.output.is_empty() {
        tracing::debug!(target = &*target.name, "the reload command wrote:\n{}", finished.output.tail());
        reason.push_str("; `--log-level debug` shows what it wrote");
    }
    match finished.end {
        End::Exited(REJECTED) => Outcome::Rejected(reason),
        _ => Outcome::Failed(reason),
    }
}
