//! What the kernel tells about names in folders, reduced to what matters on the thread that hears it.
//!
//! A folder may be busy with names that concern nobody, such as a log: events about them end here, and nothing of them
//! is kept. What is kept is one entry for each name that is being written, however often that is told.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, CreateKind, Event, EventKind, ModifyKind, RenameMode};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::route::Step;
use super::{GRACE, OPEN_LIMIT, OPEN_QUIET};

/// How many names are waited for to come to rest; what happens to more counts as a change at once.
pub(super) const MAX_UNSETTLED: usize = 1024;

/// The folders that are watched, with the names in them that matter.
pub(super) type Folders = HashMap<PathBuf, Names>;

/// Which names in a folder matter.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    /// The names that are steps on the way to a followed path.
    pub(super) steps: Vec<OsString>,
    /// Which others, if the folder itself is followed.
    pub(super) others: Option<fn(&OsStr) -> bool>,
}

impl Names {
    fn contain(&self, name: &OsStr) -> bool {
        self.steps.iter().any(|step| step == name) || self.others.is_some_and(|matters| matters(name))
    }
}

/// What matters on the way to a path is the name in the folder of each step; in a folder that is followed itself, `matters`
/// says so.
pub(super) fn folders<'a>(steps: impl Iterator<Item = &'a Step>, matters: fn(&OsStr) -> bool) -> Folders {
    let mut folders = Folders::new();
    for step in steps {
        let names = folders.entry(step.folder.clone()).or_default();
        match &step.name {
            Some(name) => names.steps.push(name.clone()),
            None => names.others = Some(matters),
        }
    }
    folders
}

/// All that matters in one or the other.
pub(super) fn union(one: &Folders, other: &Folders) -> Folders {
    let mut folders = one.clone();
    for (folder, more) in other {
        let names = folders.entry(folder.clone()).or_default();
        names.steps.extend_from_slice(&more.steps);
        names.others = names.others.or(more.others);
    }
    folders
}

/// What was told and not yet taken up.
#[derive(Debug, Default)]
pub(super) struct Told {
    state: Mutex<State>,
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Which call of [`Told::follow`] the folders are from.
    turn: u64,
    folders: Arc<Folders>,
    /// Whether something changed.
    changed: bool,
    /// Whether more happened than the kernel could keep.
    overflown: bool,
    /// Names that are being written or went away.
    unsettled: HashMap<PathBuf, Unsettled>,
    /// Watched folders that were moved or removed, and their watch with them.
    lost: HashSet<PathBuf>,
    /// A watched folder that was opened, which is not told yet.
    echo: Option<PathBuf>,
}

/// A name that is waited for to come to rest.
#[derive(Debug)]
struct Unsettled {
    since: Instant,
    last: Instant,
    quiet: Duration,
}

impl Unsettled {
    fn deadline(&self) -> Instant {
        (self.last + self.quiet).min(self.since + OPEN_LIMIT)
    }
}

/// What happened to a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Happening {
    /// It is new; a regular file may be about to be written.
    Created,
    /// Somebody wrote to it, and has it open.
    Written,
    /// It is whole: closed by its writer, moved here, or a new folder.
    Whole,
    /// It was removed or moved away.
    Gone,
    /// Its mode or owner changed.
    Metadata,
    /// It was opened, which changes nothing.
    Opened,
}

impl Happening {
    /// Nothing for what another event tells as well, such as a move as a whole.
    fn of(kind: EventKind) -> Option<Self> {
        Some(match kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(RenameMode::To))
            | EventKind::Create(CreateKind::Folder) => Self::Whole,
            EventKind::Create(_) => Self::Created,
            EventKind::Modify(ModifyKind::Data(_)) => Self::Written,
            EventKind::Modify(ModifyKind::Metadata(_)) => Self::Metadata,
            EventKind::Modify(ModifyKind::Name(RenameMode::From)) | EventKind::Remove(_) => Self::Gone,
            EventKind::Access(AccessKind::Open(_)) => Self::Opened,
            _ => return None,
        })
    }
}

impl Told {
    /// Takes up an event on the thread that reads them from the kernel.
    pub(super) fn hear(&self, event: notify::Result<Event>) {
        let news = match event {
            Ok(event) if !event.need_rescan() => {
                let (Some(happening), [path]) = (Happening::of(event.kind), &event.paths[..]) else { return };
                let happening = match happening {
                    // The file system is asked without the lock, as it may hang, and only about what matters.
                    Happening::Created if self.lock().matters(path) && is_whole_when_created(path) => Happening::Whole,
                    other => other,
                };
                self.lock().hear(path, happening)
            }
            _ => self.lock().lose(),
        };
        if news {
            self.news.notify_one();
        }
    }

    /// From now on these folders matter and no others; unless a later turn has come, which nothing may undo.
    pub(super) fn follow(&self, turn: u64, folders: Arc<Folders>) -> bool {
        let mut state = self.lock();
        if turn < state.turn {
            return false;
        }
        state.turn = turn;
        state.folders = folders;
        let State { unsettled, folders, .. } = &mut *state;
        unsettled.retain(|path, _| path.as_os_str().is_empty() || matters(folders, path));
        true
    }

    /// Waits until something may be different here. For one waiter, who looks first and waits then.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    /// Whether something changed since this was asked last.
    pub(super) fn take_changed(&self) -> bool {
        std::mem::take(&mut self.lock().changed)
    }

    /// Whether, since this was asked last, something may have changed that was not told.
    pub(super) fn take_overflown(&self) -> bool {
        std::mem::take(&mut self.lock().overflown)
    }

    /// The folders that lost their watch since this was asked last.
    pub(super) fn take_lost(&self) -> HashSet<PathBuf> {
        std::mem::take(&mut self.lock().lost)
    }

    /// Waits for a name to come to rest, which is away or untouched since then, unless it is waited for already.
    /// An empty path stands for the folders themselves.
    pub(super) fn expect(&self, path: PathBuf, since: Instant) {
        if since.elapsed() < GRACE {
            self.lock().unsettled.entry(path).or_insert(Unsettled { since, last: since, quiet: GRACE });
        }
    }

    /// Whether no name is waited for.
    pub(super) fn is_at_rest(&self) -> bool {
        self.lock().unsettled.is_empty()
    }

    /// When the first of the names that are waited for counts as come to rest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.lock().unsettled.values().map(Unsettled::deadline).min()
    }

    /// Waits no longer for names whose time is up, and says whether there were any.
    pub(super) fn settle(&self, now: Instant) -> bool {
        let mut state = self.lock();
        let waiting = state.unsettled.len();
        state.unsettled.retain(|_, name| name.deadline() > now);
        state.unsettled.len() < waiting
    }

    /// Opens a watched folder. The kernel tells that after all that happened before, so once it is told
    /// ([`Told::echoed`]), so is everything up to now. Whoever else opens that folder only ends the wait early.
    pub(super) fn call(&self, folder: &Path) {
        self.lock().echo = Some(folder.to_owned());
        if File::open(folder).is_err() {
            // It went away, which is told too.
            self.lock().echo = None;
        }
    }

    /// Waits until what was called is told.
    pub(super) async fn echoed(&self) {
        while self.lock().echo.is_some() {
            self.news().await;
        }
    }

    /// Events are kept in no other place: what somebody left half done in a panic is no worse than an event too many.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much is kept.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        let state = self.lock();
        state.unsettled.len() + state.lost.len()
    }
}

impl State {
    fn matters(&self, path: &Path) -> bool {
        matters(&self.folders, path)
    }

    /// Events were lost. A busy folder does that, so it is no change unless the metadata say so, which do not tell of files
    /// in a followed folder.
    fn lose(&mut self) -> bool {
        self.overflown = true;
        self.changed |= self.folders.values().any(|names| names.others.is_some());
        true
    }

    /// Takes up what happened, and says whether that is news.
    fn hear(&mut self, path: &Path, happening: Happening) -> bool {
        if happening == Happening::Opened {
            return self.echo.take_if(|folder| folder == path).is_some();
        }
        let was_changed = self.changed;
        if self.folders.contains_key(path) {
            self.changed = true;
            if happening == Happening::Gone {
                // Nothing more will be told of what is below it.
                self.lost.extend(self.folders.keys().filter(|folder| folder.starts_with(path)).cloned());
                self.unsettled.retain(|name, _| !name.starts_with(path));
            }
        }
        if !self.matters(path) {
            return self.changed != was_changed;
        }
        let quiet = match happening {
            Happening::Created => GRACE,
            Happening::Written => OPEN_QUIET,
            Happening::Whole => {
                self.unsettled.remove(path);
                self.changed = true;
                return true;
            }
            // Where the path leads now decides.
            Happening::Gone | Happening::Metadata | Happening::Opened => {
                self.changed = true;
                return !was_changed;
            }
        };
        let now = Instant::now();
        if let Some(known) = self.unsettled.get_mut(path) {
            // Whoever waits until its deadline sees then that it is later.
            let is_earlier = quiet < known.quiet;
            (known.last, known.quiet) = (now, quiet);
            return is_earlier;
        }
        if self.unsettled.len() < MAX_UNSETTLED {
            self.unsettled.insert(path.to_owned(), Unsettled { since: now, last: now, quiet });
        } else {
            self.changed = true;
        }
        true
    }
}

fn matters(folders: &Folders, path: &Path) -> bool {
    match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) => folders.get(folder).is_some_and(|names| names.contain(name)),
        _ => false,
    }
}

/// Whether a new name is not about to be written: a symlink, or a further link to a file that was there before.
fn is_whole_when_created(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| !metadata.is_file() || metadata.nlink() > 1)
}
