//! Confirm: whether a process runs the files that it was told to take. One kind, one file; the list of kinds is the
//! match in [`Before::look`].
//!
//! A signal that was delivered says nothing: nginx logs an error and goes on with the old files (FAULTS R-3). So the
//! process is looked at before the reload, and again after it until it shows what only a process does that has taken
//! the files, or until its time is over.

mod command;

use tokio::time::Instant;

use crate::config::{Confirm, ConfirmKind};
use crate::process::signal::{SignalError, find};
use crate::process::{BootTime, Context};

/// Whether the process runs the new files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It does.
    Confirmed,
    /// There is no process any more, for this reason: the reload stays owed.
    NotRunning(String),
    /// Nobody can tell, for this reason: we may not look at the process. That is no fault of the files, so the reload
    /// counts as failed.
    Unseen(String),
    /// The process is there and does not run the new files, or did not show it within its time: they are taken back.
    Refused {
        /// What was seen, and where to read on. No value of a registry is in it.
        reason: String,
        /// It may run some of what is new, so once the files are restored it is to be told again. False only where it
        /// surely kept all of the old.
        took: bool,
    },
}

/// What the process looked like just before its reload.
#[derive(Debug)]
pub struct Before {
    confirm: Confirm,
    /// When the files were in place. A process that started later has read them, whatever was told to it.
    committed: Option<BootTime>,
}

impl Before {
    /// Looks at the process of a target that is about to be told. `committed` is the moment at which its files were all
    /// in place, when that was in this life of ours.
    ///
    /// Where it is not known how the process looked before (it did not answer), what follows is judged by the moment
    /// alone.
    #[expect(clippy::unused_async, reason = "kinds that ask the process are to come")]
    pub async fn look(confirm: &Confirm, committed: Option<BootTime>, _context: &Context) -> Self {
        Self { confirm: confirm.clone(), committed }
    }

    /// Waits until the process runs the new files, or surely does not; at most for the configured time.
    pub async fn confirmed(self, context: &Context) -> Verdict {
        let deadline = Instant::now() + self.confirm.within;
        let verdict = match &self.confirm.kind {
            ConfirmKind::Command(command) => command::confirmed(command, &self.confirm, deadline, context).await,
        };
        match verdict {
            Verdict::Refused { reason, .. } if self.is_gone() => Verdict::NotRunning(reason),
            verdict => verdict,
        }
    }

    /// Whether there is no process any more that the files could have been refused by.
    fn is_gone(&self) -> bool {
        let find = self.confirm.pid_file.as_deref().map(find);
        tracing::trace!(committed = ?self.committed, "confirmed without a look at the process");
        matches!(find, Some(Err(SignalError::Absent(_))))
    }
}
