//! Confirmed by a command that exits with 0.

use super::probe::Failed;
use crate::apply::placeholder::Paths;
use crate::config::{Command, Confirm};
use crate::process::command::run;
use crate::process::{Context, End, Invocation};

/// The exit code by which a command says that the process surely refuses the files: `EX_DATAERR` of sysexits(3).
const REFUSED: i32 = 65;

/// The command with its placeholders filled in.
pub(super) fn invocation(command: &Command, confirm: &Confirm) -> Invocation {
    let destinations = confirm.destinations.clone();
    Paths { staged: destinations.clone(), destinations, wrapper: None }.invocation(command)
}

/// Runs it once.
pub(super) async fn attempt(invocation: &Invocation, secret: bool, context: &Context) -> Result<(), Failed> {
    let finished = run(invocation, context).await;
    if finished.end.is_success() {
        return Ok(());
    }
    let mut reason = format!("confirm command `{}` {}", invocation.program(), finished.end);
    if let Some(hint) = finished.end.hint() {
        reason.push_str("; ");
        reason.push_str(hint);
    }
    if !secret && !finished.output.is_empty() {
        tracing::debug!(target = &*context.target, "the confirm command wrote:\n{}", finished.output.tail());
        reason.push_str("; `--log-level debug` shows what it wrote");
    }
    Err(match finished.end {
        End::Exited(REFUSED) => Failed::ForGood(reason),
        _ => Failed::Yet(reason),
    })
}
