//! Confirmed by a command that exits with 0.

use tokio::time::{Instant, sleep};

use super::Verdict;
use crate::apply::placeholder::Paths;
use crate::config::{Command, Confirm};
use crate::process::command::run;
use crate::process::{Context, End, Invocation};

/// The exit code by which a command says that the process surely refuses the files: `EX_DATAERR` of sysexits(3).
const REFUSED: i32 = 65;

/// Runs the command until it exits with 0, at the latest until `deadline`.
pub(super) async fn confirmed(command: &Command, confirm: &Confirm, deadline: Instant, context: &Context) -> Verdict {
    let paths =
        Paths { staged: confirm.destinations.clone(), destinations: confirm.destinations.clone(), wrapper: None };
    let invocation = paths.invocation(command);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = invocation.timeout.min(left);
        let finished = run(&Invocation { timeout, ..invocation.clone() }, context).await;
        if finished.end.is_success() {
            return Verdict::Confirmed;
        }
        let is_last = matches!(finished.end, End::Exited(REFUSED)) || Instant::now() + confirm.interval >= deadline;
        if is_last {
            return refused(&invocation, &finished, confirm, context);
        }
        sleep(confirm.interval).await;
    }
}

fn refused(
    invocation: &Invocation,
    finished: &crate::process::Finished,
    confirm: &Confirm,
    context: &Context,
) -> Verdict {
    let mut reason = format!("confirm command `{}` {}", invocation.program(), finished.end);
    if let Some(hint) = finished.end.hint() {
        reason.push_str("; ");
        reason.push_str(hint);
    }
    if !confirm.secret && !finished.output.is_empty() {
        tracing::debug!(target = &*context.target, "the confirm command wrote:\n{}", finished.output.tail());
        reason.push_str("; `--log-level debug` shows what it wrote");
    }
    Verdict::Refused { reason, took: true }
}
