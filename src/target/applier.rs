//! One apply: render, stage, check, commit, verify, reload, confirm, or the way back; with what is owed carried from one to
//! the next.

mod ahead;
mod earlier;
mod failure;
mod patience;
mod pay;
mod place;
mod repair;
mod way_back;

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use self::ahead::Ahead;
pub use self::ahead::Way;
pub use self::earlier::Recalled;
pub use self::failure::{Failure, Retry};
use self::way_back::Refusal;
use super::files::Files;
use super::render::{Complete, Render, Renderer, Waiting};
use super::state::Journal;
use super::turn::{Turns, Work};
use crate::apply::reload::Outcome;
use crate::apply::reload::haproxy::Runtime;
use crate::apply::{Drifted, Hashes, Inspection, Records, Version};
use crate::config::Target;
use crate::guard::Guard;
use crate::heartbeat::Pulse;
use crate::log::listed;
use crate::process::supervise::{Handle, Phase};
use crate::process::{BootTime, Context};
use crate::remembered::Recollection;
use crate::store::Reader;
use crate::template::Templates;

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
    /// They are in place; these were replaced, of which somebody else had changed some.
    Placed(Vec<PathBuf>, Vec<Drifted>),
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
    /// What somebody else had changed and was replaced.
    pub drifted: Vec<Drifted>,
}

/// What an applier leaves to the next one of its target: the files that it put in place, and what is still to be done
/// about them.
pub struct Legacy {
    /// The destinations as they are configured, in the order of the templates.
    files: Vec<PathBuf>,
    /// The target with a template for each file.
    target: Arc<Target>,
    committed: Option<InPlace>,
    owed: bool,
    is_going_back: bool,
    /// Why they are not wanted, while they are still to make room.
    refusal: Option<Refusal>,
    inspection: Inspection,
}

/// Applies one target again and again.
pub struct Applier {
    renderer: Renderer,
    files: Files,
    turns: Turns,
    context: Context,
    no_reload: bool,
    /// None where nothing is remembered.
    recollection: Option<Recollection>,
    /// Whether it makes progress.
    pulse: Pulse,
    /// The files that the process is to run, once they were committed, found in place or put back.
    committed: Option<InPlace>,
    /// The process has not taken the committed files yet.
    owed: bool,
    journal: Journal,
    /// The files in place are not wanted, and the earlier ones are to be put back.
    is_going_back: bool,
    /// Why the newest files are not in place, when that is because they were refused.
    refusal: Option<Refusal>,
    /// What the process was brought ahead of its files, from then until these are in place and it was looked whether it runs
    /// them.
    ahead: Option<Ahead>,
    /// What was brought to the process last, and taken back.
    turned_back: Option<Vec<Bytes>>,
    /// Why the next reload is one, where the process could have been told while it runs.
    by_reload: Option<String>,
    /// The runtime side of a HAProxy.
    runtime: Runtime,
    /// Looks whether the files in place are still what was put there.
    inspection: Inspection,
    /// Stands in for the process.
    #[cfg(test)]
    played: Option<Played>,
}

/// A process that a test plays.
#[cfg(test)]
pub(super) type Played = Arc<dyn Fn() -> futures_util::future::BoxFuture<'static, crate::apply::Told> + Send + Sync>;

/// What it holds of files is nobody's to see.
impl fmt::Debug for Legacy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { owed, is_going_back, .. } = self;
        f.debug_struct("Legacy").field("owed", owed).field("is_going_back", is_going_back).finish_non_exhaustive()
    }
}

/// Files that are in place.
#[derive(Clone)]
struct InPlace {
    hashes: Hashes,
    /// When they were committed; a process that started later has read them.
    at: BootTime,
    /// `verify` agreed, or is not to be asked.
    is_verified: bool,
    /// They are the earlier ones, which were put back; which.
    earlier: Option<Version>,
    /// The record is to be asked of them once more: they may be what was refused and is to be tried again, or have come
    /// under another configuration.
    asks_record: bool,
    /// What they hold, but for the earlier ones: those are kept with the record.
    bytes: Option<Vec<Bytes>>,
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
        let files = Files::new(target, records, options.no_check);
        Self {
            renderer,
            files,
            turns,
            context,
            no_reload: options.no_reload,
            recollection: None,
            pulse: Pulse::unheard("target"),
            committed: None,
            owed: false,
            journal: Journal::default(),
            is_going_back: false,
            refusal: None,
            ahead: None,
            turned_back: None,
            by_reload: None,
            runtime: Runtime::default(),
            inspection: Inspection::default(),
            #[cfg(test)]
            played: None,
        }
    }

    /// Tells a process that a test plays.
    #[cfg(test)]
    pub(super) fn played_by(mut self, played: Played) -> Self {
        self.played = Some(played);
        self
    }

    /// Has answers held back that lose too much; without this nothing is.
    #[must_use]
    pub fn guarded_by(mut self, guard: Option<Guard>) -> Self {
        self.renderer.set_guard(guard);
        self
    }

    /// Shows by this pulse that it makes progress.
    #[must_use]
    pub fn beating(mut self, pulse: Pulse) -> Self {
        self.renderer.set_pulse(pulse.clone());
        self.pulse = pulse;
        self
    }

    /// The pulse, for the loop that it works in.
    pub fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// Has the answers remembered that the files show.
    #[must_use]
    pub fn remembering(mut self, recollection: Recollection) -> Self {
        self.recollection = Some(recollection);
        self
    }

    /// Has nothing kept on the disk of what these registries say, nor of files that show it.
    #[must_use]
    pub fn forgetting(mut self, registries: BTreeSet<Arc<str>>) -> Self {
        self.renderer.set_unremembered(registries);
        self
    }

    /// Has this program read the files, which we run.
    #[must_use]
    pub fn supervising(mut self, process: Option<Handle>) -> Self {
        self.context.process = process;
        self
    }

    /// The files are in place: the program that reads them may be started, where we run it.
    pub fn start_process(&self) {
        if let Some(process) = &self.context.process {
            process.in_place();
        }
    }

    /// Whether the program that reads the files was not started yet.
    pub fn process_waits(&self) -> bool {
        self.context.process.as_ref().is_some_and(|process| matches!(process.state().borrow().phase, Phase::Waiting(_)))
    }

    /// The program that reads the files may be started where all of them are there from an earlier time.
    pub async fn start_process_as_it_is(&self) {
        if self.context.process.is_some() && matches!(self.lacks_a_file().await, Ok(false)) {
            self.start_process();
        }
    }

    /// What is remembered, where something is.
    pub fn recollection(&self) -> Option<&Recollection> {
        self.recollection.as_ref()
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

    /// Ends, and leaves to the next applier of the target what only this one knows. Why files were
    /// refused that have made room is not part of it: they are tried again, or their record tells.
    pub fn into_legacy(self) -> Legacy {
        let (files, target) = (self.files.configured_destinations(), self.target().clone());
        let Self { committed, owed, is_going_back, refusal, inspection, .. } = self;
        let refusal = refusal.filter(|_| is_going_back).map(|refusal| Refusal { by_verify: None, ..refusal });
        Legacy { files, target, committed, owed, is_going_back, refusal, inspection }
    }

    /// Takes over what the applier before has left, so that what it owed is paid whatever becomes of the next render. Of
    /// other files than those of the target now nothing is taken: their record tells that they are owed.
    pub fn inherit(&mut self, legacy: Legacy) {
        if legacy.files == self.files.configured_destinations() {
            let settles = self.files.settles();
            self.files = self.files.of_task_before(&legacy.target);
            let Legacy { committed, owed, is_going_back, refusal, inspection, .. } = legacy;
            (self.committed, self.inspection) = (committed, inspection);
            self.committed.iter_mut().for_each(|in_place| in_place.asks_record = true);
            (self.owed, self.is_going_back) = (owed && settles, is_going_back && settles);
            self.refusal = refusal.filter(|_| self.is_going_back);
        }
    }

    /// The target.
    pub fn target(&self) -> &Arc<Target> {
        &self.files.target
    }

    /// Renders the newest answers and does nothing with that, so that what the templates ask is followed. What it lacks,
    /// if it lacks something.
    pub async fn look(&mut self, reader: &Reader) -> Option<Waiting> {
        let limit = patience::render(self.target());
        match self.pulse.outside(limit, self.renderer.render(reader)).await {
            Render::Waiting(waiting) => Some(waiting),
            Render::Complete(_) | Render::Failed(_) => None,
        }
    }

    /// Renders the newest answers and makes the files and the process true to them.
    pub async fn attempt(&mut self, reader: &Reader, stop: &CancellationToken) -> Attempt {
        let limit = patience::render(self.target());
        let complete = match self.pulse.outside(limit, self.renderer.render(reader)).await {
            Render::Complete(complete) => complete,
            Render::Waiting(waiting) => return Attempt::Waiting(waiting),
            Render::Failed(failure) => return Attempt::Failed(failure.into()),
        };
        self.journal.rendered = Some(SystemTime::now());
        self.apply(complete, stop).await
    }

    /// Makes the files and the process true to what was rendered.
    async fn apply(&mut self, complete: Complete, stop: &CancellationToken) -> Attempt {
        let revision = complete.revision;
        let newest = complete.earlier.is_empty().then(|| complete.view.clone());
        let before = self.files.clone();
        let written = self.write(complete, stop).await;
        match &written {
            Ok(Written::Placed(..)) if self.files.settles() => {}
            Ok(Written::Placed(..)) => self.forget_what_is_gone(),
            // What is in place are the files of before, unless these are about to make room.
            Ok(Written::Held | Written::Stopped) | Err(_) if !self.is_going_back => self.files = before,
            Ok(Written::Held | Written::Stopped) | Err(_) => {}
        }
        let (changed, drifted) = match written {
            Ok(Written::Placed(changed, drifted)) => (changed, drifted),
            Ok(Written::Held) => return Attempt::Held,
            Ok(Written::Stopped) => return Attempt::Stopped,
            Err(failure) => return Attempt::Failed(failure),
        };
        if newest.is_some() {
            self.journal.revision = Some(revision);
        }
        self.start_process();
        let reload = if self.owed && !self.no_reload { Some(self.pay().await) } else { None };
        // What was refused, and is not in place any more, is no good answer.
        if let (Some(view), Some(recollection)) = (newest, &self.recollection)
            && self.refusal.is_none()
        {
            recollection.note(&view, &self.renderer.memorable());
        }
        Attempt::Applied(Applied { changed, revision, reload, drifted })
    }

    /// Whether something is still to be done although nothing changes: a reload, or files that are to be put back.
    pub fn owes(&self) -> bool {
        self.owed || self.is_going_back
    }

    /// Why the newest files are not in place, when that is because `verify` or the process refused them.
    pub fn refusal(&self) -> Option<String> {
        self.refusal.as_ref().map(ToString::to_string)
    }

    /// Tries again at the next attempt what `verify` or the process refused.
    ///
    /// A program of ours that failed for good is started anew.
    pub async fn forgive(&mut self) -> Result<(), Failure> {
        if let Some(process) = &self.context.process {
            self.pulse.outside(process.revival(), process.revive()).await;
        }
        if self.refusal.take().is_some() {
            self.committed.iter_mut().for_each(|in_place| in_place.asks_record = true);
        }
        self.on_thread(|files| files.records.forgive(&files.target.name)).await
    }

    /// Works on the files on a thread that may block.
    async fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Files) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let files = self.files.clone();
        let worked = self.turns.run(&self.pulse, None, move || work(&files)).await;
        self.pulse.beat();
        match worked {
            Work::Done(done) => Ok(done),
            Work::Panicked | Work::Late(_) => Err(Failure::Panicked),
        }
    }
}

/// Paths for a log line.
fn paths<'p>(paths: impl IntoIterator<Item = &'p PathBuf>) -> String {
    listed(&paths.into_iter().map(|path| path.display().to_string()).collect::<Vec<_>>())
}
