//! One apply: render, stage, check, commit, reload, with what is owed carried from one to the next.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::render::{Complete, Render, RenderFailure, Renderer, Waiting};
use super::state::{Commit, Journal};
use super::turn::{Turns, Work};
use crate::apply::reload::{Outcome, reload};
use crate::apply::{self, ApplyError, Checked, ErrorKind, Hashes, Owed, Records, Staged};
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
    renderer: Renderer,
    files: Files,
    turns: Turns,
    context: Context,
    no_reload: bool,
    /// The files that the process is to run, once they were committed or found in place.
    committed: Option<Committed>,
    /// The process has not taken the committed files yet.
    owed: bool,
    journal: Journal,
}

#[derive(Debug, Clone)]
struct Committed {
    hashes: Hashes,
    /// When they were committed; a process that started later has read them.
    at: BootTime,
}

/// The work on the files of a target and on its record. It blocks, so it goes to threads.
#[derive(Clone)]
struct Files {
    target: Arc<Target>,
    records: Arc<Records>,
    no_check: bool,
}

/// How far the files have come.
enum Reached {
    /// Every destination equals its render already: by us in an earlier life, or by somebody else.
    InPlace(Hashes),
    /// Checks are to agree first.
    Unchecked(Staged),
    /// They are in place.
    Committed(apply::Committed),
    /// They rest on an answer that is too empty to replace what is there, and nothing was touched.
    Held,
    /// A stop was asked for, and nothing was touched.
    Stopped,
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
        turns: Turns,
        context: Context,
        options: Options,
    ) -> Self {
        let renderer = Renderer::new(target.clone(), templates, turns.clone());
        let files = Files { target, records, no_check: options.no_check };
        let (no_reload, journal) = (options.no_reload, Journal::default());
        Self { renderer, files, turns, context, no_reload, committed: None, owed: false, journal }
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

    /// What was done when.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Goes on with what another applier of the target has done.
    pub fn continue_journal(&mut self, journal: Journal) {
        self.journal = journal;
    }

    /// Lets what the process refused be tried again.
    pub fn forgive(&self) {
        self.files.records.forgive(&self.target().name);
    }

    /// The target.
    pub fn target(&self) -> &Arc<Target> {
        &self.files.target
    }

    /// Renders the newest answers and does nothing with that, so that what the templates ask is followed. What it lacks,
    /// if it lacks something.
    pub async fn look(&mut self, reader: &Reader) -> Option<Waiting> {
        match self.renderer.render(reader).await {
            Render::Waiting(waiting) => Some(waiting),
            Render::Complete(_) | Render::Failed(_) => None,
        }
    }

    /// Renders the newest answers and makes the files and the process true to them.
    pub async fn attempt(&mut self, reader: &Reader, stop: &CancellationToken) -> Attempt {
        let complete = match self.renderer.render(reader).await {
            Render::Complete(complete) => complete,
            Render::Waiting(waiting) => return Attempt::Waiting(waiting),
            Render::Failed(failure) => return Attempt::Failed(failure.into()),
        };
        self.journal.rendered = Some(SystemTime::now());
        let revision = complete.revision;
        let changed = match self.write(complete, stop).await {
            Ok(Written::Placed(changed)) => changed,
            Ok(Written::Held) => return Attempt::Held,
            Ok(Written::Stopped) => return Attempt::Stopped,
            Err(failure) => return Attempt::Failed(failure),
        };
        self.journal.revision = Some(revision);
        let reload = if self.owed && !self.no_reload { Some(self.pay().await) } else { None };
        Attempt::Applied(Applied { changed, revision, reload })
    }

    /// Tells the process to take the committed files. They count as owed until it has.
    pub async fn pay(&mut self) -> Outcome {
        self.try_to_pay().await.unwrap_or_else(|failure| Outcome::Failed(failure.to_string()))
    }

    async fn try_to_pay(&mut self) -> Result<Outcome, Failure> {
        let Some(committed) = self.committed.clone() else {
            return Ok(Outcome::Failed("nothing was committed yet".to_owned()));
        };
        self.on_thread(|files| files.records.begin(&files.target.name)).await?;
        self.journal.told = Some(SystemTime::now());
        let outcome = reload(self.target(), Some(committed.at), &self.context).await;
        match &outcome {
            Outcome::Taken => {
                self.on_thread(move |files| files.records.settle(&files.target.name, &committed.hashes)).await?;
                self.owed = false;
                self.journal.taken = Some(SystemTime::now());
            }
            Outcome::Rejected(_) => self.files.records.refuse(&self.target().name, &committed.hashes),
            Outcome::NotRunning(_) | Outcome::Failed(_) => {}
        }
        Ok(outcome)
    }

    /// Stages, checks and commits.
    async fn write(&mut self, complete: Complete, stop: &CancellationToken) -> Result<Written, Failure> {
        let stopped = stop.clone();
        let Complete { files: rendered, revision, unproven, cause, publication } = complete;
        let mut reached = self.on_thread(move |files| files.stage(&rendered, &unproven, &stopped)).await??;
        if let Some(guard) = self.renderer.guard() {
            if matches!(reached, Reached::Held) {
                guard.hold_unproven(Instant::now());
            } else {
                guard.prove();
            }
        }
        if let Reached::Unchecked(staged) = reached {
            let checked = tokio::select! {
                checked = staged.check(self.target(), &self.context, self.files.reloads()) => checked?,
                () = stop.cancelled() => return Ok(Written::Stopped),
            };
            let stopped = stop.clone();
            reached = self.on_thread(move |files| files.commit(checked, &stopped)).await??;
        }
        match reached {
            Reached::Committed(committed) => {
                self.owed = self.files.reloads();
                self.committed = Some(Committed { hashes: committed.hashes().clone(), at: committed.at() });
                let changed = committed.changed().to_vec();
                info!(target = &*self.target().name, revision, "wrote {}", paths(&changed));
                self.renderer.placed(publication);
                let commit = Commit { at: SystemTime::now(), revision, files: changed.clone(), cause };
                self.journal.commit = Some(Arc::new(commit));
                Ok(Written::Placed(changed))
            }
            Reached::InPlace(hashes) => {
                self.renderer.placed(publication);
                self.found_in_place(hashes).await?;
                Ok(Written::Placed(Vec::new()))
            }
            Reached::Held => Ok(Written::Held),
            Reached::Unchecked(_) | Reached::Stopped => Ok(Written::Stopped),
        }
    }

    /// Finds out whether the process has taken the files that are there.
    async fn found_in_place(&mut self, hashes: Hashes) -> Result<(), Failure> {
        if self.committed.as_ref().is_some_and(|committed| committed.hashes == hashes) {
            return Ok(());
        }
        let found = hashes.clone();
        self.owed |= self.on_thread(move |files| files.adopt(&found)).await?;
        self.committed = Some(Committed { hashes, at: BootTime::now() });
        Ok(())
    }

    /// Works on the files on a thread that may block.
    async fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Files) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let files = self.files.clone();
        match self.turns.run(Duration::MAX, move || work(&files)).await {
            Work::Done(done) => Ok(done),
            Work::Panicked | Work::Late(_) => Err(Failure::Panicked),
        }
    }
}

impl Files {
    /// Whether there is a process that is told of the files. Without one nothing can be owed, and there is no record.
    fn reloads(&self) -> bool {
        self.target.reload != Reload::None
    }

    /// Stages, and commits unless a check is due or one of the files that are `unproven` would replace another.
    fn stage(&self, rendered: &[Bytes], unproven: &[bool], stop: &CancellationToken) -> Result<Reached, Failure> {
        let staged = Staged::stage(&self.target, rendered)?;
        if unproven.iter().enumerate().any(|(index, unproven)| *unproven && staged.replaces(index)) {
            return Ok(Reached::Held);
        }
        let hashes = staged.hashes();
        if self.records.is_refused(&self.target.name, &hashes) {
            return Err(Failure::Refused);
        }
        if staged.is_unchanged() {
            return Ok(Reached::InPlace(hashes));
        }
        if self.no_check {
            return self.commit(staged.skip_check(), stop);
        }
        match staged.without_check(&self.target, self.reloads()) {
            Ok(checked) => self.commit(checked, stop),
            Err(staged) => Ok(Reached::Unchecked(staged)),
        }
    }

    fn commit(&self, checked: Checked, stop: &CancellationToken) -> Result<Reached, Failure> {
        if stop.is_cancelled() {
            return Ok(Reached::Stopped);
        }
        // From the first commit on a crash must leave a reload that is owed, also where there was no record before.
        if self.reloads() && self.records.owed(&self.target.name, &checked.hashes(), true) == Owed::Adopt {
            self.records.begin(&self.target.name);
        }
        Ok(Reached::Committed(checked.commit()?))
    }

    /// Takes the files that were found in place for what the process runs if nothing says otherwise; whether a reload
    /// is owed.
    fn adopt(&self, hashes: &Hashes) -> bool {
        if !self.reloads() {
            return false;
        }
        let owed = self.records.owed(&self.target.name, hashes, true);
        if owed == Owed::Adopt {
            self.records.settle(&self.target.name, hashes);
        }
        owed == Owed::Owed
    }
}

/// Paths for a log line.
fn paths(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
