//! Tell: the reload and its confirmation as one step.

use super::confirm::{Before, Verdict};
use super::refused::By;
use super::reload::process::{outlived, run};
use super::reload::{Outcome, reload};
use crate::config::{Reload, Target};
use crate::process::{BootTime, Context};

/// What became of a process that was told to take its files (SEMANTICS 7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// It runs them.
    Taken,
    /// There is none, for this reason.
    NotRunning(String),
    /// It was not told, could not do it, or cannot be looked at, for this reason.
    Failed(String),
    /// It is there and refuses these files.
    Refused {
        /// By whom.
        by: By,
        /// Why.
        reason: String,
        /// Whether it may run some of them.
        took: bool,
    },
}

/// Tells the process of `target` to take its files and looks whether it does. `committed` is the moment at which they
/// were all in place, when that was in this life of ours.
pub async fn tell(target: &Target, committed: Option<BootTime>, context: &Context) -> Told {
    let Some(process) = &context.process else {
        let before = match &target.confirm {
            Some(confirm) => Some(Before::look(confirm, committed, context).await),
            None => None,
        };
        let outcome = reload(target, committed, context).await;
        return match (outcome, before) {
            (Outcome::Taken, Some(before)) => Told::from(before.confirmed(context).await),
            (outcome, _) => of_reload(outcome, target),
        };
    };
    let mark = process.mark(committed);
    // One that we have just started has nothing to be told, and nothing from before.
    let started = run(process, &target.reload, committed).await;
    let before = match &target.confirm {
        None => None,
        Some(confirm) if started.is_some() => Some(Before::nothing(confirm, committed)),
        Some(confirm) => Some(Before::look(confirm, committed, context).await),
    };
    let outcome = match started {
        Some(outcome) => outcome,
        None => reload(target, committed, context).await,
    };
    if outcome != Outcome::Taken {
        return of_reload(outcome, target);
    }
    let confirmed = before.map(|before| async { Told::from(before.confirmed(context).await) });
    outlived(process, mark, confirmed).await
}

/// What a reload came to that nothing else is asked about.
fn of_reload(outcome: Outcome, target: &Target) -> Told {
    match outcome {
        Outcome::Taken => Told::Taken,
        Outcome::NotRunning(reason) => Told::NotRunning(reason),
        Outcome::Failed(reason) => Told::Failed(reason),
        // A command says so before its process has taken anything. A program that answers so itself may have begun, as
        // Prometheus does, which hands the files to one of its parts after the other.
        Outcome::Rejected(reason) => {
            Told::Refused { by: By::Reload, reason, took: matches!(target.reload, Reload::Http(_)) }
        }
    }
}

impl From<Verdict> for Told {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Confirmed => Self::Taken,
            Verdict::NotRunning(reason) => Self::NotRunning(reason),
            Verdict::Unseen(reason) => Self::Failed(reason),
            Verdict::Refused { reason, took } => Self::Refused { by: By::Confirm, reason, took },
        }
    }
}
