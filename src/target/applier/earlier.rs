//! Missing files from answers that an earlier life has saved, while a registry does not answer (SEMANTICS 9).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use tokio_util::sync::CancellationToken;

use super::{Applied, Applier, Attempt, Failure, patience};
use crate::apply::beside_what_is_there;
use crate::registry::Asked;
use crate::remembered::Recollection;
use crate::store::Reader;
use crate::target::files::Files;
use crate::target::render::{Complete, Render};

/// What became of files that were missing.
#[derive(Debug)]
pub enum Recalled {
    /// None is missing, or nothing is saved, or no saved answer is needed any more.
    Needless,
    /// This was never answered, and not saved either.
    Lacks(Asked),
    /// They show saved answers of these registries, which were saved then.
    Applied(Applied, BTreeMap<Arc<str>, SystemTime>),
    /// They are missing still.
    Failed(Failure),
    /// A stop was asked for before anything was put in place.
    Stopped,
}

impl Applier {
    /// Whether there is nothing at one of the destinations.
    pub async fn lacks_a_file(&self) -> Result<bool, Failure> {
        self.on_thread(Files::lacks_a_file).await
    }

    /// Puts the files that are missing in place, from saved answers where there are no others, and tells the process.
    /// Files that are there stay as they are.
    pub async fn recall(&mut self, reader: &Reader, stop: &CancellationToken) -> Recalled {
        let Some(earlier) = self.recollection.as_ref().and_then(Recollection::earlier) else {
            return Recalled::Needless;
        };
        match self.lacks_a_file().await {
            Ok(true) => {}
            Ok(false) => return Recalled::Needless,
            Err(failure) => return Recalled::Failed(failure),
        }
        let limit = patience::render(self.target());
        let complete = match self.pulse.outside(limit, self.renderer.render_earlier(reader, &earlier)).await {
            Render::Complete(complete) => complete,
            Render::Waiting(waiting) => {
                return waiting.missing.into_iter().next().map_or(Recalled::Needless, Recalled::Lacks);
            }
            Render::Failed(failure) => return Recalled::Failed(failure.into()),
        };
        if complete.earlier.is_empty() {
            return Recalled::Needless;
        }
        let (rendered, registries) = (complete.files.clone(), complete.earlier.clone());
        let target = complete.target.clone();
        let files = match self.on_thread(move |_| beside_what_is_there(&target, rendered)).await {
            Ok(Ok(files)) => files,
            Ok(Err(error)) => return Recalled::Failed(error.into()),
            Err(failure) => return Recalled::Failed(failure),
        };
        match self.apply(Complete { files, ..complete }, stop).await {
            Attempt::Applied(applied) => Recalled::Applied(applied, registries),
            Attempt::Failed(failure) => Recalled::Failed(failure),
            Attempt::Waiting(_) | Attempt::Held | Attempt::Stopped => Recalled::Stopped,
        }
    }
}
