//! One apply: render, stage, check, commit, reload, with what is owed carried from one to the next.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tokio_util::sync::CancellationToken;
use tracing::info;

use super::render::{Complete, Render, RenderFailure, Renderer, Waiting};
use crate::apply::reload::{Outcome, reload};
use crate::apply::{ApplyError, ErrorKind, Hashes, Owed, Records, Staged};
use crate::config::{Reload, Target};
use crate::guard::Guard;
use crate::process::{BootTime, Context};
use crate::store::Reader;
use crate::template::{self, Templates};

/// What one attempt to apply came to.
#[derive(Debug)]
pub enum Attempt {
    /// Some queries are not answered yet; nothing was touched.
    Waiting(Waiting),
    /// Something failed before the files were replaced: the old ones stay.
    Failed(Failure),
    /// The files are those of the newest answers.
    Applied(Applied),
    /// The guard holds back a first answer, which would replace a file by less; nothing was touched.
    Held,
    /// A stop was asked for before the files were replaced: nothing was touched.
    Stopped,
}

/// How far the files of a target came.
enum Written {
    /// They are in place; these were replaced.
    Placed(Vec<PathBuf>),
    /// See [`Attempt::Held`].
    Held,
    /// See [`Attempt::Stopped`].
    Stopped,
}

/// Files that are in place, and what became of the reload.
#[derive(Debug)]
pub struct Applied {
    /// Destinations that were replaced.
    pub changed: Vec<PathBuf>,
    /// The newest revision of an answer that was rendered.
    pub revision: u64,
    /// What the process made of it; none when there was nothing to tell it.
    pub reload: Option<Outcome>,
}

/// Why the old files stay.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The render failed.
    #[error(transparent)]
    Render(#[from] RenderFailure),
    /// A file could not be staged, a check refused, or the commit failed.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// A defect of the program.
    #[error("internal error: an apply panicked; please report this")]
    Panicked,
    /// The process refused these very bytes before.
    #[error("the process refused these files before; they are tried again when the data changes")]
    Refused,
}

/// When a failure is worth another try although nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Only new data or new templates can mend it.
    OnChange,
    /// After a pause: what failed may have been mended from outside.
    Later,
    /// After a long pause: only the operator can have mended it.
    Seldom,
}

impl Failure {
    /// When to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Render(RenderFailure::Template(error)) => match error.kind {
                // A busy machine and a file that is being replaced pass by themselves.
                template::ErrorKind::Timeout | template::ErrorKind::Io => Retry::Later,
                _ => Retry::OnChange,
            },
            Self::Refused => Retry::OnChange,
            Self::Apply(error) if error.kind() == ErrorKind::Standing => Retry::Seldom,
            Self::Render(_) | Self::Apply(_) | Self::Panicked => Retry::Later,
        }
    }
}

/// Applies one target again and again.
pub struct Applier {
    target: Arc<Target>,
    renderer: Renderer,
    records: Arc<Records>,
    context: Context,
    options: Options,
    /// The files that the process is to run, once they were committed or found in place.
    committed: Option<Committed>,
    /// The process has not taken the committed files yet.
    owed: bool,
}

#[derive(Debug, Clone)]
struct Committed {
    hashes: Hashes,
    /// When they were committed; a process that started later has read them.
    at: BootTime,
}

/// What the command line changes in an apply.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Commit without the checks.
    pub no_check: bool,
    /// Commit and leave the reload owed.
    pub no_reload: bool,
}

impl Applier {
    /// An applier that has done nothing yet.
    pub fn new(
        target: Arc<Target>,
        templates: Arc<Templates>,
        records: Arc<Records>,
        context: Context,
        options: Options,
    ) -> Self {
        let renderer = Renderer::new(target.clone(), templates);
        Self { target, renderer, records, context, options, committed: None, owed: false }
    }

    /// Has answers held back that lose too much; without this nothing is.
    #[must_use]
    pub fn guarded_by(mut self, guard: Option<Guard>) -> Self {
        self.renderer.set_guard(guard);
        self
    }

    /// The guard, where there is one.
    pub fn guard(&mut self) -> Option<&mut Guard> {
        self.renderer.guard()
    }

    /// The target.
    pub fn target(&self) -> &Arc<Target> {
        &self.target
    }

    /// Renders the newest answers and makes the files and the process true to them.
    pub async fn attempt(&mut self, reader: &Reader, stop: &CancellationToken) -> Attempt {
        let complete = match self.renderer.render(reader).await {
            Render::Complete(complete) => complete,
            Render::Waiting(waiting) => return Attempt::Waiting(waiting),
            Render::Failed(failure) => return Attempt::Failed(failure.into()),
        };
        let revision = complete.revision;
        let changed = match self.write(complete, stop).await {
            Ok(Written::Placed(changed)) => changed,
            Ok(Written::Held) => return Attempt::Held,
            Ok(Written::Stopped) => return Attempt::Stopped,
            Err(failure) => return Attempt::Failed(failure),
        };
        let reload = if self.owed && !self.options.no_reload { Some(self.pay().await) } else { None };
        Attempt::Applied(Applied { changed, revision, reload })
    }

    /// Tells the process to take the committed files. They count as owed until it has.
    pub async fn pay(&mut self) -> Outcome {
        let Some(committed) = self.committed.clone() else {
            return Outcome::Failed("nothing was committed yet".to_owned());
        };
        if self.target.reload != Reload::None {
            self.records.begin(&self.target.name);
        }
        let outcome = reload(&self.target, Some(committed.at), &self.context).await;
        match &outcome {
            Outcome::Taken => {
                self.owed = false;
                self.records.settle(&self.target.name, &committed.hashes);
            }
            Outcome::Rejected(_) => self.records.refuse(&self.target.name, &committed.hashes),
            Outcome::NotRunning(_) | Outcome::Failed(_) => {}
        }
        outcome
    }

    /// Stages, checks and commits.
    async fn write(&mut self, complete: Complete, stop: &CancellationToken) -> Result<Written, Failure> {
        let (target, revision, unproven) = (self.target.clone(), complete.revision, complete.unproven.clone());
        let staged = blocking(move || Staged::stage(&target, &complete.files)).await?;
        if let Some(guard) = self.renderer.guard() {
            if unproven.into_iter().enumerate().any(|(index, unproven)| unproven && staged.replaces(index)) {
                guard.hold_unproven(Instant::now());
                return Ok(Written::Held);
            }
            guard.prove();
        }
        let hashes = staged.hashes();
        if self.records.is_refused(&self.target.name, &hashes) {
            return Err(Failure::Refused);
        }
        if staged.is_unchanged() {
            self.found_in_place(hashes);
            return Ok(Written::Placed(Vec::new()));
        }
        let checked = if self.options.no_check {
            staged.skip_check()
        } else {
            tokio::select! {
                checked = staged.check(&self.target, &self.context, self.target.reload != Reload::None) => checked?,
                () = stop.cancelled() => return Ok(Written::Stopped),
            }
        };
        if stop.is_cancelled() {
            return Ok(Written::Stopped);
        }
        self.mark_first(&hashes);
        let committed = blocking(move || checked.commit()).await?;
        self.owed = true;
        self.committed = Some(Committed { hashes, at: committed.at() });
        let changed = committed.changed().to_vec();
        info!(target = &*self.target.name, revision, "wrote {}", paths(&changed));
        Ok(Written::Placed(changed))
    }

    /// From the first commit on a crash must leave a reload that is owed, also where there was no record before.
    fn mark_first(&self, hashes: &Hashes) {
        if self.records.owed(&self.target.name, hashes, true) == Owed::Adopt {
            self.records.begin(&self.target.name);
        }
    }

    /// Every destination equals its render already: by us in an earlier life, or by somebody else.
    fn found_in_place(&mut self, hashes: Hashes) {
        if self.committed.as_ref().is_some_and(|committed| committed.hashes == hashes) {
            return;
        }
        match self.records.owed(&self.target.name, &hashes, true) {
            Owed::Settled => {}
            Owed::Adopt => self.records.settle(&self.target.name, &hashes),
            Owed::Owed => self.owed = true,
        }
        self.committed = Some(Committed { hashes, at: BootTime::now() });
    }
}

/// Paths for a log line.
fn paths(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Runs file work on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApplyError> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => Ok(result?),
        Err(_panicked) => Err(Failure::Panicked),
    }
}
