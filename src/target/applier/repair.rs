//! What somebody else made of the files since they were put in place, and putting that right.

use std::sync::Arc;
use std::time::SystemTime;

use super::{Applier, Failure, InPlace};
use crate::apply::reload::Outcome;
use crate::apply::{Drifted, Inspection, Wrong};
use crate::target::files::Files;
use crate::target::state::{Cause, Commit};

impl Applier {
    /// What somebody else made of the files since they were put in place. Nothing where none were in this life of ours, or
    /// where they are about to be replaced, or were refused: whoever mends those by hand is not to have them back.
    pub async fn inspect(&mut self) -> Result<Vec<Drifted>, Failure> {
        let is_wanted =
            |in_place: &&InPlace| !self.is_going_back && (in_place.earlier.is_some() || self.refusal.is_none());
        let Some(in_place) = self.committed.as_ref().filter(is_wanted) else { return Ok(Vec::new()) };
        let (put, mut inspection) = (in_place.hashes.clone(), std::mem::take(&mut self.inspection));
        let look = move |files: &Files| (inspection.look(&files.target, &put), inspection);
        let (drifted, inspection) = self.on_thread(look).await?;
        self.inspection = inspection;
        Ok(drifted)
    }

    /// Puts in place again what was there, and tells the process, which may have read what it found instead; nothing came
    /// of that where only owner or mode were wrong.
    pub async fn repair(&mut self, drifted: &[Drifted]) -> Result<Option<Outcome>, Failure> {
        let Some(mut in_place) = self.committed.clone() else { return Ok(None) };
        let Some(bytes) = in_place.bytes.clone() else {
            let is_content = drifted.iter().any(|drifted| drifted.wrong != Wrong::Metadata);
            self.on_thread(move |files| files.go_back_again(is_content)).await?;
            self.is_going_back = true;
            return Ok(Some(self.pay().await));
        };
        let Some(committed) = self.on_thread(move |files| files.repair(&bytes)).await?? else { return Ok(None) };
        let (revision, files) = (self.journal.revision.unwrap_or_default(), committed.changed().to_vec());
        self.journal.commit = Some(Arc::new(Commit { at: SystemTime::now(), revision, files, cause: Cause::Files }));
        in_place.at = committed.at();
        self.committed = Some(in_place);
        self.inspection = Inspection::new(committed.places().clone());
        self.owed = self.files.settles();
        Ok(if self.owed && !self.no_reload { Some(self.pay().await) } else { None })
    }
}
