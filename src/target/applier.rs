//! One apply: render, stage, check, commit, verify, reload, confirm, or the way back; with what is owed carried from one to
//! the next.

mod ahead;
mod earlier;
mod patience;

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::ahead::Ahead;
pub use self::ahead::Way;
pub use self::earlier::Recalled;
use super::files::{Files, Reached, WentBack};
use super::render::{Complete, Render, RenderFailure, Renderer, Waiting};
use super::state::{Cause, Commit, Journal};
use super::turn::{Turns, Work};
use crate::apply::reload::Outcome;
use crate::apply::reload::haproxy::Runtime;
use crate::apply::{
    ApplyError, Committed, Drifted, ErrorKind, GoBackError, Hashes, Inspection, Process, Provisional, Records, Staged,
    Told, Version, Wrong, tell, verify,
};
use crate::config::Target;
use crate::guard::Guard;
use crate::heartbeat::Pulse;
use crate::process::supervise::{Handle, Phase};
use crate::process::{BootTime, Context};
use crate::protection::Protection;
use crate::remembered::Recollection;
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
    /// `verify` said no of the files that were in place, and those from before are back.
    #[error("the files from before are back: {0}")]
    TakenBack(ApplyError),
    /// `verify` said no, and not all of the files from before are back yet, for this reason.
    #[error("the files from before are not back yet ({1}): {0}")]
    NotTakenBack(ApplyError, String),
    /// `verify` or the process refused these very files before, as this says.
    #[error("{0}")]
    Refused(String),
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
    /// Whether files were refused that had been put in place, now or before.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Refused(_) => true,
            Self::TakenBack(error) | Self::NotTakenBack(error, _) => error.kind() == ErrorKind::Refused,
            Self::Render(_) | Self::Apply(_) | Self::Panicked => false,
        }
    }

    /// When to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Render(RenderFailure::Template(error)) => match error.kind {
                // A busy machine and a file that is being replaced pass by themselves.
                template::ErrorKind::Timeout | template::ErrorKind::Io => Retry::Later,
                _ => Retry::OnChange,
            },
            Self::Refused(_) => Retry::OnChange,
            // What was refused is not put in place again and again; what could not be asked may say yes the next time.
            Self::TakenBack(error) | Self::NotTakenBack(error, _) if error.kind() == ErrorKind::Refused => {
                Retry::OnChange
            }
            Self::Apply(error) if error.kind() == ErrorKind::Standing => Retry::Seldom,
            Self::Render(_) | Self::Apply(_) | Self::TakenBack(_) | Self::NotTakenBack(..) | Self::Panicked => {
                Retry::Later
            }
        }
    }
}

/// What an applier leaves to the next one of its target: the files that it put in place, and what is still to be done
/// about them.
pub struct Legacy {
    /// The destinations, in the order of the templates.
    files: Vec<PathBuf>,
    committed: Option<InPlace>,
    owed: bool,
    is_going_back: bool,
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
pub(super) type Played = Arc<dyn Fn() -> futures_util::future::BoxFuture<'static, Told> + Send + Sync>;

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

/// Files that were refused.
#[derive(Debug, Clone)]
struct Refusal {
    /// By whom, and why.
    reason: String,
    /// What is in place instead.
    instead: String,
    /// The files, when it was `verify` that refused them. What the process refused is in its record.
    by_verify: Option<Hashes>,
}

impl Refusal {
    fn new(reason: String, by_verify: Option<Hashes>) -> Self {
        Self { reason, instead: String::new(), by_verify }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)?;
        f.write_str(&self.instead)
    }
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

    /// Ends, and leaves to the next applier of the target what only this one knows. Why files were refused is not part of
    /// it: they are tried again, or their record tells.
    pub fn into_legacy(self) -> Legacy {
        let files = destinations(self.target());
        let Self { committed, owed, is_going_back, inspection, .. } = self;
        Legacy { files, committed, owed, is_going_back, inspection }
    }

    /// Takes over what the applier before has left, so that what it owed is paid whatever becomes of the next render. Of
    /// other files than those of the target now nothing is taken: their record tells that they are owed.
    pub fn inherit(&mut self, legacy: Legacy) {
        if legacy.files == destinations(self.target()) {
            let settles = self.files.settles();
            let Legacy { committed, owed, is_going_back, inspection, .. } = legacy;
            (self.committed, self.inspection) = (committed, inspection);
            self.committed.iter_mut().for_each(|in_place| in_place.asks_record = true);
            (self.owed, self.is_going_back) = (owed && settles, is_going_back && settles);
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
        let (changed, drifted) = match self.write(complete, stop).await {
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

    /// Tells the process to take the committed files. They count as owed until it has. Where files are not wanted, the
    /// earlier ones are put back first.
    pub async fn pay(&mut self) -> Outcome {
        self.try_to_pay().await.unwrap_or_else(|failure| Outcome::Failed(failure.to_string()))
    }

    async fn try_to_pay(&mut self) -> Result<Outcome, Failure> {
        if self.is_going_back {
            return self.go_back().await;
        }
        let Some(in_place) = self.committed.clone() else {
            return Ok(Outcome::Failed("nothing was committed yet".to_owned()));
        };
        if !in_place.is_verified
            && let Err(error) = self.ask_verify().await
        {
            if error.kind() != ErrorKind::Refused {
                return Ok(Outcome::Failed(error.in_line()));
            }
            self.on_thread(|files| files.records.go_back(&files.target.name)).await?;
            self.refusal = Some(Refusal::new(error.in_line(), Some(in_place.hashes)));
            return self.go_back().await;
        }
        match self.tell(in_place.at).await? {
            (Told::Taken, _) => {
                self.settled(in_place.hashes).await?;
                Ok(Outcome::Taken)
            }
            (Told::NotRunning(reason), _) => Ok(Outcome::NotRunning(reason)),
            (Told::Failed(reason), _) => Ok(Outcome::Failed(reason)),
            (Told::Refused { reason, .. }, _) if Protection::Refusal.is_off() => {
                Ok(Outcome::Failed(format!("the process refuses the new files: {reason}")))
            }
            (Told::Refused { reason, took }, before) => {
                // There is nothing to go further back to.
                if let Some(version) = in_place.earlier {
                    return Ok(Outcome::Failed(format!("the process refuses {version} too: {reason}")));
                }
                let refused = in_place.hashes;
                self.on_thread(move |files| files.refuse(&refused, took, before)).await?;
                self.refusal = Some(Refusal::new(format!("the process refuses the new files: {reason}"), None));
                self.go_back().await
            }
        }
    }

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

    /// Puts the earlier files in place of those that are refused, and tells the process of them if it may run anything
    /// else.
    async fn go_back(&mut self) -> Result<Outcome, Failure> {
        self.is_going_back = true;
        self.owed = false;
        let by_verify = self.refusal.as_ref().and_then(|refusal| refusal.by_verify.clone());
        let WentBack { committed, version, staying } =
            match self.on_thread(move |files| files.go_back(by_verify.as_ref())).await? {
                Ok(went_back) => went_back,
                Err(GoBackError::Lost(why)) => {
                    // No other try will help.
                    self.is_going_back = false;
                    return Ok(Outcome::Rejected(self.refused(&format!("; they stay in place, since {why}"))));
                }
                Err(GoBackError::Apply(error)) => {
                    let refused = self.refused("; they are in place until those from before can be put back");
                    return Ok(Outcome::Failed(format!("{refused}: {}", error.in_line())));
                }
            };
        let (hashes, at) = (committed.hashes().clone(), committed.at());
        let now = hashes.clone();
        let is_owed = self.on_thread(move |files| files.records.went_back(&files.target.name, &now)).await?;
        self.is_going_back = false;
        self.journal.restored = Some(SystemTime::now());
        self.journal.revision = self.journal.taken_revision;
        self.owed = is_owed && self.files.reloads();
        self.committed = Some(InPlace {
            hashes: hashes.clone(),
            at,
            is_verified: true,
            earlier: Some(version),
            asks_record: false,
            bytes: None,
        });
        self.inspection = Inspection::new(committed.places().clone());
        let staying = if staying.is_empty() {
            String::new()
        } else {
            format!(", but for what was not there then and stays: {}", paths(&staying))
        };
        let what = match version {
            Version::Confirmed => "the last confirmed version is back",
            Version::Found => "what was there before liveconf first wrote is back",
        };
        warn!(target = &*self.target().name, "{what}: {}{staying}", restored(&committed));
        let refused = self.refused(&format!("; {version} are back{staying}"));
        if !self.owed || self.no_reload {
            return Ok(Outcome::Rejected(refused));
        }
        let why = match self.tell(at).await?.0 {
            Told::Taken => {
                self.settled(hashes).await?;
                return Ok(Outcome::Rejected(refused));
            }
            Told::NotRunning(why) | Told::Failed(why) | Told::Refused { reason: why, .. } => why,
        };
        Ok(Outcome::Rejected(format!("{refused}, and the process was not told of them yet: {why}")))
    }

    /// Notes what is in place instead of what was refused; all of it.
    fn refused(&mut self, instead: &str) -> String {
        let refusal = self.refusal.get_or_insert_with(|| Refusal::new("refused before".to_owned(), None));
        instead.clone_into(&mut refusal.instead);
        refusal.to_string()
    }

    /// Tells the process of the files that are in place; also what it ran until then.
    async fn tell(&mut self, at: BootTime) -> Result<(Told, Process), Failure> {
        self.start_process();
        let before = self.on_thread(Files::begin).await?;
        let began = SystemTime::now();
        #[cfg(test)]
        if let Some(played) = &self.played {
            self.journal.told = Some(began);
            return Ok((played().await, before));
        }
        if self.runs_ahead().await {
            self.journal.told = Some(began);
            return Ok((Told::Taken, before));
        }
        self.note_reload();
        // Processes are told seldom, and a target is to take little memory while none is.
        let telling = Box::pin(tell(self.target(), Some(at), &self.context));
        let told = self.pulse.outside(patience::tell(self.target()), telling).await;
        if told == Told::Taken {
            self.runtime.reloaded();
        }
        // Nobody was told where there is nobody.
        if !matches!(told, Told::NotRunning(_)) {
            self.journal.told = Some(began);
        }
        Ok((told, before))
    }

    async fn ask_verify(&self) -> Result<(), ApplyError> {
        let verifying = verify(self.target(), &self.context, self.files.reloads());
        self.pulse.outside(patience::verify(self.target()), verifying).await
    }

    async fn settled(&mut self, hashes: Hashes) -> Result<(), Failure> {
        self.on_thread(move |files| files.settle(&hashes)).await?;
        self.owed = false;
        self.journal.taken = Some(SystemTime::now());
        self.journal.taken_revision = self.journal.revision;
        Ok(())
    }

    /// Stages, checks, commits and verifies.
    async fn write(&mut self, complete: Complete, stop: &CancellationToken) -> Result<Written, Failure> {
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
                info!(target = &*self.target().name, revision, "wrote {}", paths(&changed));
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
            Reached::Refused { is_open } => {
                let is_back = self.committed.as_ref().is_some_and(|in_place| in_place.earlier.is_some());
                self.is_going_back |= is_open && !is_back;
                let before = "the process refused these files before; they are tried again when the data or the \
                              configuration of the target change";
                let refusal = self.refusal.get_or_insert_with(|| Refusal::new(before.to_owned(), None));
                Err(Failure::Refused(refusal.to_string()))
            }
            Reached::RefusedByVerify => Err(Failure::Refused(self.refusal().unwrap_or_default())),
            Reached::Unchecked(_) | Reached::Unverified(_) | Reached::Stopped => Ok(Written::Stopped),
        }
    }

    /// Checks what is staged, and puts it in place. What the process takes while it runs goes there first.
    async fn check_and_commit(
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
    async fn verify(&mut self, provisional: Provisional) -> Result<Reached, Failure> {
        let Err(error) = self.ask_verify().await else {
            return Ok(Reached::Committed(self.on_thread(move |_| provisional.keep()).await?));
        };
        let refused = provisional.hashes().clone();
        let undone = self.on_thread(move |_| provisional.undo()).await?;
        let is_refused = error.kind() == ErrorKind::Refused;
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
        self.refusal = Some(Refusal::new(failure.to_string(), is_refused.then_some(refused)));
        Err(failure)
    }

    /// The newest files are in place.
    fn newest_in_place(&mut self, hashes: Hashes, at: BootTime, is_verified: bool, bytes: Vec<Bytes>) {
        let is_verified = is_verified || !self.files.verifies();
        let bytes = Some(bytes);
        self.committed = Some(InPlace { hashes, at, is_verified, earlier: None, asks_record: false, bytes });
        self.is_going_back = false;
        self.refusal = None;
    }

    /// Finds out whether the process has taken the files that are there.
    async fn found_in_place(&mut self, hashes: Hashes, bytes: Vec<Bytes>) -> Result<(), Failure> {
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

    /// Works on the files on a thread that may block.
    async fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Files) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let (files, records) = (self.files.clone(), &self.files.records);
        let mut working = std::pin::pin!(self.turns.run(&self.pulse, None, move || work(&files)));
        let worked = loop {
            tokio::select! {
                worked = &mut working => break worked,
                () = tokio::time::sleep(Records::PATIENCE) => records.tell_if_it_hangs(),
            }
        };
        self.pulse.beat();
        match worked {
            Work::Done(done) => Ok(done),
            Work::Panicked | Work::Late(_) => Err(Failure::Panicked),
        }
    }
}

/// The destinations of a target, in the order of its templates.
fn destinations(target: &Target) -> Vec<PathBuf> {
    target.templates.iter().map(|template| template.dest.clone()).collect()
}

/// What was put back, for a log line.
fn restored(committed: &Committed) -> String {
    let one = |path: &PathBuf| match committed.hashes().get(path) {
        Some(_) => path.display().to_string(),
        None => format!("{} (removed)", path.display()),
    };
    match committed.changed() {
        [] => "nothing had to be written".to_owned(),
        changed => changed.iter().map(one).collect::<Vec<_>>().join(", "),
    }
}

/// Paths for a log line.
fn paths(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
