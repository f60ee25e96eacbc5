//! Files come into place: staged, checked, committed and verified, or found there already.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::way_back::Refusal;
use super::{Applier, Failure, InPlace, Written, paths, patience};
use crate::apply::{ErrorKind, Hashes, Inspection, Provisional, Staged};
use crate::process::BootTime;
use crate::target::files::{Files, Reached};
use crate::target::render::Complete;
use crate::target::state::Commit;

impl Applier {
    /// Goes over to the files that were rendered, where there is one for each item of a list. Saved answers remove none.
    async fn spread(&mut self, mut complete: Complete) -> Result<Complete, Failure> {
        if self.files.has_items() {
            let (target, all_stay) = (complete.target.clone(), !complete.earlier.is_empty());
            self.files = self.on_thread(move |files| files.of_items(&target, all_stay)).await?;
            let files = self.target().templates.len();
            complete.files.resize(files, Bytes::new());
            complete.unproven.resize(files, complete.unproven_items);
        }
        Ok(complete)
    }

    /// The files of items that are gone will not come back: their places are whoever's they are.
    pub(super) fn forget_what_is_gone(&mut self) {
        let (files, left) = self.files.without_gone();
        self.files = files;
        // They stand behind the others.
        if let Some(bytes) = self.committed.as_mut().and_then(|in_place| in_place.bytes.as_mut()) {
            bytes.truncate(left);
        }
    }

    /// Stages, checks, commits and verifies.
    pub(super) async fn write(&mut self, complete: Complete, stop: &CancellationToken) -> Result<Written, Failure> {
        let complete = self.spread(complete).await?;
        let (stopped, publication) = (stop.clone(), complete.view.publication());
        let Complete { files: rendered, revision, unproven, cause, earlier, unremembered, .. } = complete;
        self.files.note_unremembered(&unremembered);
        let bytes = rendered.clone();
        let by_verify = self.refusal.as_ref().and_then(|refusal| refusal.by_verify.clone());
        let put = self.committed.as_ref().map(|in_place| in_place.hashes.clone());
        let stage = move |files: &Files| files.stage(&rendered, &unproven, by_verify.as_ref(), put, &stopped);
        let mut reached = self.on_thread(stage).await??;
        if let Some(guard) = self.renderer.guard().filter(|_| earlier.is_empty()) {
            if matches!(reached, Reached::Held) {
                guard.hold_unproven(Instant::now());
            } else {
                guard.prove();
            }
        }
        if let Reached::Unchecked(staged) = reached {
            if stop.is_cancelled() {
                return Ok(Written::Stopped);
            }
            let committed = self.check_and_commit(staged, &bytes, stop).await;
            if !matches!(committed, Ok(Reached::Committed(_) | Reached::Unverified(_))) {
                self.turn_back().await?;
            }
            reached = committed?;
        }
        if let Reached::Unverified(provisional) = reached {
            reached = self.verify(provisional).await?;
        }
        match reached {
            Reached::Committed(committed) => {
                self.owed = self.files.settles();
                self.newest_in_place(committed.hashes().clone(), committed.at(), true, bytes);
                self.inspection = Inspection::new(committed.places().clone());
                let changed = committed.changed().to_vec();
                info!(target = &*self.target().name, revision, "{}", done(&changed, committed.hashes()));
                if earlier.is_empty() {
                    self.renderer.placed(publication);
                }
                let commit = Commit { at: SystemTime::now(), revision, files: changed.clone(), cause };
                self.journal.commit = Some(Arc::new(commit));
                Ok(Written::Placed(changed, committed.drifted().to_vec()))
            }
            Reached::InPlace(hashes, places) => {
                if earlier.is_empty() {
                    self.renderer.placed(publication);
                }
                self.found_in_place(hashes, bytes).await?;
                self.inspection = Inspection::new(places);
                Ok(Written::Placed(Vec::new(), Vec::new()))
            }
            Reached::Held => Ok(Written::Held),
            Reached::Refused { is_open, refused } => {
                let is_back = self.committed.as_ref().is_some_and(|in_place| in_place.earlier.is_some());
                self.is_going_back |= is_open && !is_back;
                let refusal = self.refusal.get_or_insert_with(|| Refusal::earlier("these files", refused));
                Err(Failure::Refused(refusal.to_string()))
            }
            Reached::RefusedByVerify => Err(Failure::Refused(self.refusal().unwrap_or_default())),
            Reached::Unchecked(_) | Reached::Unverified(_) | Reached::Stopped => Ok(Written::Stopped),
        }
    }

    /// Checks what is staged, and puts it in place. What the process takes while it runs goes there first.
    pub(super) async fn check_and_commit(
        &mut self,
        staged: Staged,
        rendered: &[Bytes],
        stop: &CancellationToken,
    ) -> Result<Reached, Failure> {
        let was_turned_back = self.was_turned_back(rendered);
        if !was_turned_back {
            self.go_ahead(rendered).await?;
        }
        let checked = if self.files.no_check {
            staged.skip_check()
        } else {
            let checking = staged.check(self.target(), &self.context, self.files.reloads());
            tokio::select! {
                checked = self.pulse.outside(patience::check(self.target()), checking) => checked?,
                () = stop.cancelled() => return Ok(Reached::Stopped),
            }
        };
        if was_turned_back {
            self.go_ahead(rendered).await?;
        }
        let stopped = stop.clone();
        self.on_thread(move |files| files.commit(checked, &stopped)).await?
    }

    /// Asks `verify` about files that are in place for now, and lets them stay or takes them back.
    pub(super) async fn verify(&mut self, provisional: Provisional) -> Result<Reached, Failure> {
        let Err(error) = self.ask_verify().await else {
            return Ok(Reached::Committed(self.on_thread(move |_| provisional.keep()).await?));
        };
        let refused = provisional.hashes().clone();
        let undone = self.on_thread(move |_| provisional.undo()).await?;
        let (is_refused, why) = (error.kind() == ErrorKind::Refused, error.in_line());
        let failure = match undone {
            Ok(()) => {
                self.turn_back().await?;
                Failure::TakenBack(error)
            }
            Err(why) => {
                // The process is told of the earlier files once they are back.
                self.ahead = None;
                self.on_thread(|files| files.records.go_back(&files.target.name)).await?;
                self.is_going_back = true;
                Failure::NotTakenBack(error, why)
            }
        };
        self.refusal = Some(Refusal::by_verify(failure.to_string(), &why, is_refused.then_some(refused)));
        Err(failure)
    }

    /// The newest files are in place.
    pub(super) fn newest_in_place(&mut self, hashes: Hashes, at: BootTime, is_verified: bool, bytes: Vec<Bytes>) {
        let is_verified = is_verified || !self.files.verifies();
        let bytes = Some(bytes);
        self.committed = Some(InPlace { hashes, at, is_verified, earlier: None, asks_record: false, bytes });
        self.is_going_back = false;
        self.refusal = None;
    }

    /// Finds out whether the process has taken the files that are there.
    pub(super) async fn found_in_place(&mut self, hashes: Hashes, bytes: Vec<Bytes>) -> Result<(), Failure> {
        let known = self.committed.as_ref().filter(|in_place| in_place.hashes == hashes);
        let at = known.map_or_else(BootTime::now, |in_place| in_place.at);
        if known.is_some_and(|in_place| !in_place.asks_record) {
            self.is_going_back = false;
            self.refusal = None;
            return Ok(());
        }
        let found = hashes.clone();
        self.owed |= self.on_thread(move |files| files.adopt(&found)).await?;
        self.newest_in_place(hashes, at, false, bytes);
        Ok(())
    }
}

/// What a commit did to the files that it changed, of which those with a hash are there.
fn done(changed: &[PathBuf], hashes: &Hashes) -> String {
    let (wrote, removed): (Vec<_>, Vec<_>) = changed.iter().partition(|path| hashes.contains_key(*path));
    match (wrote.is_empty(), removed.is_empty()) {
        (_, true) => format!("wrote {}", paths(wrote)),
        (true, false) => format!("removed {}", paths(removed)),
        (false, false) => format!("wrote {}; removed {}", paths(wrote), paths(removed)),
    }
}
