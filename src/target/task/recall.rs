//! Files that are missing while a registry does not answer: when they are made of saved answers, and what is said of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{Retries, Task};
use crate::log::{Line, rounded};
use crate::remembered::Recollection;
use crate::target::{Applied, Applier, Recalled, State};

/// Saved answers for files that are missing.
pub(super) struct Recall {
    after: Duration,
    /// Tries, the next of which is due at their time; none once there is nothing to make, or no need to.
    tries: Retries,
    /// It was tried: what is missing yet has to wait for the registries.
    is_tried: bool,
    /// The registries whose saved answers the files show, and when the oldest of these were saved.
    shown: BTreeMap<Arc<str>, SystemTime>,
}

impl Recall {
    /// Nothing was tried yet; what the task before has put in place is `shown`.
    pub(super) fn new(applier: &Applier, state: &State) -> Self {
        let mut tries = Retries::new(applier.target().retry);
        let after = applier.recollection().map(Recollection::after);
        // Whoever has a configuration loaded anew does not put off what was promised at the start.
        let from = if state.in_place { Instant::now() } else { state.began };
        tries.at = after.and_then(|after| from.checked_add(after));
        Self { after: after.unwrap_or_default(), tries, is_tried: false, shown: state.earlier.clone() }
    }

    /// When missing files are made of saved answers, unless there are others by then.
    pub(super) fn due(&self) -> Option<Instant> {
        self.tries.at
    }

    /// Whether that was tried.
    pub(super) fn is_tried(&self) -> bool {
        self.is_tried
    }

    /// The registries whose saved answers the files show, and when the oldest of these were saved.
    pub(super) fn shown(&self) -> &BTreeMap<Arc<str>, SystemTime> {
        &self.shown
    }

    /// The files show what the registries say.
    pub(super) fn end(&mut self, applier: &Applier) {
        self.tries.at = None;
        if !std::mem::take(&mut self.shown).is_empty() {
            info!(target = &*applier.target().name, "the newest answers are in the place of the saved ones");
        }
    }
}

impl Task {
    /// Makes missing files of saved answers.
    pub(super) async fn recall(&mut self, stop: &CancellationToken) {
        self.recall.tries.at = None;
        self.recall.is_tried = true;
        if self.waiting.is_none() {
            return;
        }
        let recalled = self.applier.recall(&self.reader, stop).await;
        let target = &*self.applier.target().name.clone();
        let tries = &mut self.recall.tries;
        match recalled {
            // The files that are there are the last good ones.
            Recalled::Needless => self.applier.start_process_as_it_is().await,
            Recalled::Stopped => {}
            Recalled::Lacks(asked) => {
                let now = Instant::now();
                tries.at = Some(now + tries.backoff.next_pause());
                if tries.repeats.failed(now, "lacks") == Line::First {
                    warn!(target, query = %asked, "files are missing and stay so: nothing was saved of this");
                }
            }
            Recalled::Failed(failure) => {
                let (now, reason) = (Instant::now(), failure.to_string());
                tries.at = Some(now + tries.backoff.next_pause());
                if tries.repeats.failed(now, &reason) != Line::Silent {
                    error!(target, "files are missing, and could not be made of saved answers: {reason}");
                }
                // They may have been in place, and are to go.
                if self.applier.owes() {
                    self.reload.at.get_or_insert(now);
                }
            }
            Recalled::Applied(Applied { reload, .. }, registries) => {
                let _ = tries.succeeded();
                for (registry, saved) in &registries {
                    let age = rounded(saved.elapsed().unwrap_or_default());
                    let saved = humantime::format_rfc3339_seconds(*saved);
                    let after = rounded(self.recall.after);
                    warn!(
                        target,
                        registry = &**registry,
                        %saved,
                        %age,
                        "no first answer within {after}: files that were missing show the last known good answers"
                    );
                }
                self.recall.shown = registries;
                match reload {
                    Some(outcome) => self.note_reload(&outcome),
                    None => self.note_settled(),
                }
            }
        }
    }
}
