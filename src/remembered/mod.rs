//! What targets accepted, kept over a restart: the last known good answers.
//!
//! A target says what its files show once they are in place; that is what is remembered, and not what the registry said
//! last: an answer that a guard holds back, or that no check let through, replaces nothing. Each registry is saved as one
//! [`Snapshot`] in the state folder, off the path of any change, seldom enough to cost
//! little however much changes. At the next start they tell guards what there was before, and stand in where a registry
//! does not answer and a file is missing.
//!
//! What was saved before stays until every target has said what it accepted: one that waits for its registry has nothing
//! new to say, and loses nothing by it.

mod folder;
mod saver;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use self::folder::Folder;
use self::saver::Saver;
use crate::config::Config;
use crate::registry::file::{Saved, Snapshot};
use crate::registry::{Answer, Asked, Query};
use crate::store::{Earlier, EarlierAnswer, View};

/// How long the start waits for what was saved: a disk that hangs gives no error.
const AT_THE_START: Duration = Duration::from_secs(5);

/// How long the answers of the last changes may take to be saved when the program ends.
const AT_THE_END: Duration = Duration::from_secs(5);

/// The answers that are remembered. Dropping it ends the saving.
#[derive(Debug)]
pub struct Remembered {
    shared: Arc<Shared>,
    saver: AbortOnDropHandle<()>,
}

/// What one target has to do with them.
#[derive(Debug, Clone)]
pub struct Recollection {
    shared: Arc<Shared>,
    target: Arc<str>,
    after: Duration,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Rings when there is something to save.
    unsaved: Notify,
    /// Held while files are written.
    saver: Mutex<Saver>,
}

#[derive(Debug, Default)]
struct State {
    /// The registries whose answers may be saved.
    registries: BTreeSet<Arc<str>>,
    /// What each target has accepted; none before it has applied anything.
    accepted: BTreeMap<Arc<str>, Option<Accepted>>,
    /// What was saved by an earlier life; none once every target has accepted something.
    earlier: Option<EarlierLife>,
    /// The registries whose files are older than this.
    unsaved: BTreeSet<Arc<str>>,
}

/// What a target has accepted.
type Accepted = BTreeMap<Asked, Arc<Answer>>;

#[derive(Debug, Default)]
struct EarlierLife {
    answers: Arc<Earlier>,
    /// Where a target held on to another answer.
    of_targets: BTreeMap<Arc<str>, Accepted>,
}

impl Remembered {
    /// Reads what an earlier life has saved in the state folder, and saves from now on. What cannot be used is told in a
    /// warning, and is not known.
    pub async fn open(config: &Config) -> Self {
        let folder = Folder::new(&config.state_dir);
        let (registries, targets) = (remembered(config), targets(config));
        let unread = (folder.clone(), registries.clone(), targets.clone());
        let open = tokio::task::spawn_blocking(move || Shared::open(folder, registries, targets));
        let shared = match tokio::time::timeout(AT_THE_START, open).await {
            Ok(Ok(shared)) => Arc::new(shared),
            Ok(Err(panicked)) => std::panic::resume_unwind(panicked.into_panic()),
            Err(_) => {
                warn!("the state folder does not answer: what an earlier run has saved is not known");
                let (folder, registries, targets) = unread;
                Arc::new(Shared::with(Saver::new(folder), EarlierLife::default(), registries, targets))
            }
        };
        let saver = AbortOnDropHandle::new(tokio::spawn(saver::save_as_it_changes(shared.clone())));
        Self { shared, saver }
    }

    /// Follows another configuration: what may not be remembered any more is removed from the disk.
    pub async fn follow(&self, config: &Config) {
        let (shared, registries, targets) = (self.shared.clone(), remembered(config), targets(config));
        // A file system that hangs does not keep the configuration from being followed in all else.
        let followed = tokio::task::spawn_blocking(move || shared.follow(&registries, targets));
        if tokio::time::timeout(AT_THE_END, followed).await.is_err() {
            warn!("the state folder does not answer: answers that are not remembered any more may still be in it");
        }
    }

    /// The part of one target; saved answers may stand in `after` this time.
    pub fn of(&self, target: &Arc<str>, after: Duration) -> Recollection {
        Recollection { shared: self.shared.clone(), target: target.clone(), after }
    }

    /// Saves what is not saved yet.
    pub async fn finish(&self) {
        self.saver.abort();
        let shared = self.shared.clone();
        let saved = tokio::task::spawn_blocking(move || shared.save());
        if tokio::time::timeout(AT_THE_END, saved).await.is_err() {
            warn!("the state folder does not answer: the next start knows older answers");
        }
    }
}

impl Recollection {
    /// The files of the target show these answers of `view`, of those that may be remembered.
    pub fn note(&self, view: &View, reads: &BTreeSet<&Asked>) {
        if self.shared.state().note(&self.target, view, reads) {
            self.shared.unsaved.notify_one();
        }
    }

    /// What an earlier life has saved of what the target asks, and more; none when everything is newer by now.
    pub fn earlier(&self) -> Option<Arc<Earlier>> {
        self.shared.state().earlier_of(&self.target)
    }

    /// How long first answers may be away before saved ones stand in.
    pub fn after(&self) -> Duration {
        self.after
    }
}

fn remembered(config: &Config) -> BTreeSet<Arc<str>> {
    config.registries.values().filter(|named| named.remember).map(|named| named.name.clone()).collect()
}

fn targets(config: &Config) -> Vec<Arc<str>> {
    config.targets.iter().map(|target| target.name.clone()).collect()
}

impl Shared {
    fn open(folder: Folder, registries: BTreeSet<Arc<str>>, targets: Vec<Arc<str>>) -> Self {
        let mut earlier = EarlierLife::default();
        let mut saver = Saver::new(folder);
        if saver.begin(&registries) {
            for registry in &registries {
                if let Some(snapshot) = load(saver.folder(), registry) {
                    earlier.take(snapshot);
                }
            }
        }
        Self::with(saver, earlier, registries, targets)
    }

    fn with(saver: Saver, earlier: EarlierLife, registries: BTreeSet<Arc<str>>, targets: Vec<Arc<str>>) -> Self {
        let accepted = targets.into_iter().map(|target| (target, None)).collect();
        let state = State { registries, accepted, earlier: Some(earlier), unsaved: BTreeSet::new() };
        Self { state: Mutex::new(state), unsaved: Notify::new(), saver: Mutex::new(saver) }
    }

    fn follow(&self, registries: &BTreeSet<Arc<str>>, targets: Vec<Arc<str>>) {
        // Nothing is written meanwhile that may not be.
        let mut saver = self.saver();
        let mut state = self.state();
        let mut before = std::mem::take(&mut state.accepted);
        let accepted = targets.into_iter().map(|target| {
            let accepted = before.remove(&target).flatten();
            (target, accepted)
        });
        state.accepted = accepted.collect();
        state.unsaved.clone_from(registries);
        state.registries.clone_from(registries);
        if state.accepted.values().all(Option::is_some) {
            state.earlier = None;
        }
        drop(state);
        saver.begin(registries);
        self.unsaved.notify_one();
    }

    /// Saves what is not saved yet; gives how long to wait before more is.
    fn save(&self) -> Duration {
        let mut saver = self.saver();
        let unsaved = std::mem::take(&mut self.state().unsaved);
        let failed = saver.save(unsaved, |registry| self.state().snapshot(registry));
        if !failed.is_empty() {
            self.state().unsaved.extend(failed);
            self.unsaved.notify_one();
        }
        saver.pause()
    }

    /// A panic elsewhere leaves whole values behind: each change is one step.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn saver(&self) -> MutexGuard<'_, Saver> {
        self.saver.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was saved of a registry.
fn load(folder: &Folder, registry: &Arc<str>) -> Option<Snapshot> {
    let path = folder.file(registry);
    let ignored = |reason: &str| {
        warn!(registry = &**registry, "ignored the saved answers: {reason}");
    };
    let text = match folder.read(registry) {
        Ok(text) => text?,
        Err(error) => {
            ignored(&format!("cannot read `{}`: {error}", path.display()));
            return None;
        }
    };
    Snapshot::read(&path, text, registry).inspect_err(|reason| ignored(reason)).ok()
}

impl EarlierLife {
    fn take(&mut self, snapshot: Snapshot) {
        let Snapshot { registry, saved, answers, denied: _, targets } = snapshot;
        let asked = |query: Query| Asked { registry: registry.clone(), query };
        // Nobody else holds it yet.
        Arc::make_mut(&mut self.answers).extend(answers.into_iter().map(|(query, Saved { answer, earlier })| {
            (asked(query), EarlierAnswer { answer, saved: earlier.unwrap_or(saved) })
        }));
        for (target, answers) in targets {
            let own = self.of_targets.entry(target).or_default();
            own.extend(answers.into_iter().map(|(query, answer)| (asked(query), answer)));
        }
    }
}

impl State {
    /// Notes what a target shows; whether there is something to save.
    fn note(&mut self, target: &str, view: &View, reads: &BTreeSet<&Asked>) -> bool {
        let Some(slot) = self.accepted.get_mut(target) else { return false };
        let is_first = slot.is_none();
        let accepted = slot.get_or_insert_default();
        let before = self.unsaved.len();
        let mut noted = 0;
        for asked in reads.iter().filter(|asked| self.registries.contains(&asked.registry)) {
            let Some(answer) = view.answer(asked) else { continue };
            noted += 1;
            let is_new = match accepted.get_mut(*asked) {
                Some(known) if Arc::ptr_eq(known, answer) => false,
                Some(known) => *std::mem::replace(known, answer.clone()) != **answer,
                None => accepted.insert((*asked).clone(), answer.clone()).is_none(),
            };
            if is_new && !self.unsaved.contains(&asked.registry) {
                self.unsaved.insert(asked.registry.clone());
            }
        }
        if accepted.len() > noted {
            let is_read = |asked: &Asked| reads.contains(asked) && self.registries.contains(&asked.registry);
            accepted.retain(|asked, _| {
                let is_read = is_read(asked);
                // What may not be remembered any more was removed when that was said.
                if !is_read && self.registries.contains(&asked.registry) {
                    self.unsaved.insert(asked.registry.clone());
                }
                is_read
            });
        }
        if is_first && self.accepted.values().all(Option::is_some) {
            self.earlier = None;
            self.unsaved.clone_from(&self.registries);
        }
        self.unsaved.len() > before
    }

    fn earlier_of(&self, target: &str) -> Option<Arc<Earlier>> {
        let EarlierLife { answers, of_targets } = self.earlier.as_ref()?;
        let Some(own) = of_targets.get(target) else { return Some(answers.clone()) };
        let mut answers = Earlier::clone(answers);
        for (asked, answer) in own {
            if let Some(known) = answers.get_mut(asked) {
                known.answer = answer.clone();
            }
        }
        Some(Arc::new(answers))
    }

    /// All that is remembered of a registry.
    fn snapshot(&self, registry: &Arc<str>) -> Snapshot {
        let mut snapshot = Snapshot {
            registry: registry.clone(),
            saved: SystemTime::now(),
            answers: BTreeMap::new(),
            denied: BTreeSet::new(),
            targets: BTreeMap::new(),
        };
        for (target, accepted) in &self.accepted {
            for (asked, answer) in accepted.iter().flatten().filter(|(asked, _)| asked.registry == *registry) {
                add(&mut snapshot, target, &asked.query, answer);
            }
        }
        let Some(EarlierLife { answers, of_targets }) = &self.earlier else { return snapshot };
        let waiting = self.accepted.iter().filter(|(_, accepted)| accepted.is_none()).map(|(target, _)| target);
        let waiting: Vec<_> = waiting.map(|target| (target, of_targets.get(target))).collect();
        for (asked, EarlierAnswer { answer, saved }) in answers.iter().filter(|(asked, _)| asked.registry == *registry)
        {
            let common = || Saved { answer: answer.clone(), earlier: Some(*saved) };
            snapshot.answers.entry(asked.query.clone()).or_insert_with(common);
            for (target, own) in &waiting {
                let own = own.and_then(|own| own.get(asked)).unwrap_or(answer);
                add(&mut snapshot, target, &asked.query, own);
            }
        }
        snapshot
    }
}

/// Adds what a target has accepted: as the answer for all, or beside that where it is another one.
fn add(snapshot: &mut Snapshot, target: &Arc<str>, query: &Query, answer: &Arc<Answer>) {
    match snapshot.answers.get(query) {
        None => drop(snapshot.answers.insert(query.clone(), Saved { answer: answer.clone(), earlier: None })),
        Some(Saved { answer: common, .. }) if Arc::ptr_eq(common, answer) || common == answer => {}
        Some(_) => {
            let own = snapshot.targets.entry(target.clone()).or_default();
            own.insert(query.clone(), answer.clone());
        }
    }
}
