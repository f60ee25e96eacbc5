//! Reload of the program that we run: by a signal, or by a new start.

use super::Outcome;
use crate::apply::refused::By;
use crate::apply::tell::Told;
use crate::config::{ProcessReload, Reload};
use crate::process::supervise::{Handle, Mark, Ran, Survival};
use crate::process::{BootTime, Context};

/// Has the program of a target run, where we run it. Nothing is left to tell one that was started after its files were in
/// place, however it reloads; that is what comes back then, or why it does not run.
pub(in crate::apply) async fn run(process: &Handle, reload: &Reload, committed: Option<BootTime>) -> Option<Outcome> {
    let committed = committed.unwrap_or_else(BootTime::now);
    let revive = *reload == Reload::Process(ProcessReload::Restart);
    match process.run(committed, revive).await {
        Ran::Older => None,
        ran => Some(ran.into()),
    }
}

/// Tells the program of a target, which runs.
pub(super) async fn reload(how: ProcessReload, context: &Context) -> Outcome {
    let Some(process) = &context.process else {
        return Outcome::NotRunning("only `liveconf run` runs its process".to_owned());
    };
    match how {
        ProcessReload::Signal(signal) => process.reload(signal).await.into(),
        ProcessReload::Restart => process.restart().await.into(),
    }
}

/// What came of files that the program was told of, as `confirmed` says in the end, unless it ends over them. Without
/// `confirm` it has to be up.
///
/// A program that ends is started anew with the same files, so that an accident is not taken for a refusal. Where it was
/// up with the files from before and ends again, they are refused; one that was not has a trouble of its own, and its
/// files stay.
pub(in crate::apply) async fn outlived(
    process: &Handle,
    mark: Mark,
    confirmed: Option<impl Future<Output = Told>>,
) -> Told {
    let now = BootTime::now();
    let confirmed = async {
        if let Some(confirmed) = confirmed {
            return confirmed.await;
        }
        process.is_up(now).await;
        Told::Taken
    };
    let told = tokio::select! {
        biased;
        survival = process.fails(mark) => return survival.into(),
        told = confirmed => told,
    };
    match told {
        // It is between two starts.
        Told::NotRunning(_) => process.fails_while_gone(mark).await.map_or(told, Told::from),
        Told::Refused { reason, .. } if !mark.was_up() => Told::Failed(format!("it is not ready yet: {reason}")),
        told => told,
    }
}

impl From<Ran> for Outcome {
    fn from(ran: Ran) -> Self {
        match ran {
            Ran::Taken | Ran::Older => Self::Taken,
            Ran::Not(reason) => Self::NotRunning(reason),
            Ran::Failed(reason) => Self::Failed(reason),
        }
    }
}

impl From<Survival> for Told {
    fn from(survival: Survival) -> Self {
        match survival {
            Survival::Ended => Self::Taken,
            Survival::Stopping => Self::NotRunning("liveconf stops".to_owned()),
            Survival::Failed { reason, blames_files: true } => Self::Refused {
                by: By::Process,
                reason: format!("its process {reason}, each time it was started with them"),
                took: true,
            },
            Survival::Failed { reason, blames_files: false } => Self::Failed(format!("its process {reason}")),
        }
    }
}
