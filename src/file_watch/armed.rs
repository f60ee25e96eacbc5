//! What is followed at a moment: paths, what they lead to, and the folders that are watched for them.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use super::GRACE;
use super::route::{self, Print, Step};
use super::told::{self, Folders, Told};
use super::watches::Watches;

/// How often the way to a file may change while its folders are being watched, before it is tried again later.
const MAX_ROUNDS: usize = 10;

/// A set of paths with the folders that are watched for them. A new one is made of it after each change.
#[derive(Debug, Default)]
pub(super) struct Armed {
    /// Counts them.
    turn: u64,
    pub(super) folders: Arc<Folders>,
    /// Those that were not watched before, or were others.
    fresh: HashSet<PathBuf>,
    paths: BTreeMap<PathBuf, Followed>,
    /// Why not everything is watched, if so.
    pub(super) problem: Option<String>,
    /// One of the folders that are watched.
    pub(super) watched: Option<PathBuf>,
}

/// A followed path.
#[derive(Debug)]
struct Followed {
    /// The last step on its way: the file, or what is missing.
    end: Option<Step>,
    /// What it leads to.
    print: Print,
    /// Since when it leads to nothing, if it led to something before.
    away: Option<Instant>,
}

/// What is to be followed from now on.
#[derive(Debug, Clone)]
pub(super) struct Order {
    /// Counts the orders; an older one that is late changes nothing any more.
    pub(super) turn: u64,
    /// The paths, sorted.
    pub(super) paths: Arc<[PathBuf]>,
    /// Which names in a followed folder matter.
    pub(super) matters: fn(&OsStr) -> bool,
    /// Who is told.
    pub(super) told: Arc<Told>,
    /// What was followed until now.
    pub(super) before: Arc<Armed>,
}

impl Armed {
    /// Watches the folders on the way to the paths, and no others any longer.
    pub(super) fn new(order: &Order, mut watches: Option<OwnedMutexGuard<Watches>>) -> Self {
        let Order { turn, paths, told, before, .. } = order;
        let mut steps = all_steps(paths);
        let (mut armed, mut prints, mut stable) = (Self::default(), Vec::new(), false);
        for _ in 0..MAX_ROUNDS {
            let folders = Arc::new(told::folders(steps.iter().flatten(), order.matters));
            armed = Self { turn: *turn, folders, ..Self::default() };
            // Heard before they are watched, and what was heard before is as well, since the way may lead back there:
            // so nothing is missed in between.
            if !told.follow(*turn, Arc::new(told::union(&armed.folders, &before.folders))) {
                return armed;
            }
            let mut complete = true;
            if let Some(watches) = &mut watches {
                complete = armed.watch(watches, before.turn);
            }
            prints = route::prints(paths);
            // Only what was there to be watched, and leads the same way before and after, is watched for sure.
            let now = all_steps(paths);
            stable = complete && now == steps;
            if stable {
                break;
            }
            steps = now;
        }
        if !stable {
            told.expect(PathBuf::new(), Instant::now());
        }
        if let Some(watches) = &mut watches {
            watches.keep(&armed.folders);
            armed.watched = watches.any();
        }
        for ((path, mut steps), print) in paths.iter().zip(steps).zip(prints) {
            armed.add(path, steps.pop(), print, before.paths.get(path), told);
        }
        armed.expect_fresh(before, told);
        armed
    }

    /// Adds a path. One that led to something and now does not is unsettled: whoever took it away may be about to put
    /// something else there. If it at least leads further than before, he is at it.
    fn add(&mut self, path: &Path, end: Option<Step>, print: Print, before: Option<&Followed>, told: &Told) {
        let away = match (&print, before) {
            (Print::There { .. }, _) | (Print::Away(_), None) => None,
            (Print::Away(_), Some(before)) if matches!(before.print, Print::There { .. }) => Some(Instant::now()),
            (Print::Away(_), Some(before)) => {
                before.away.map(|since| if before.end == end { since } else { Instant::now() })
            }
        };
        if let (Some(since), Some(Step { folder, name: Some(name) })) = (away, &end) {
            told.expect(folder.join(name), since);
        }
        self.paths.insert(path.to_owned(), Followed { end, print, away });
    }

    /// Waits for files whose writer may be at work, though the kernel did not tell: those that were not followed until
    /// now, and empty ones, as a file system may take milliseconds between cutting a file and telling of it.
    fn expect_fresh(&self, before: &Self, told: &Told) {
        for (folder, names) in self.folders.iter() {
            let known = before.folders.get(folder).filter(|_| !self.fresh.contains(folder));
            let known = known.map_or(&[][..], |names| &names.steps);
            for name in &names.steps {
                let path = folder.join(name);
                let Ok(metadata) = path.symlink_metadata() else { continue };
                let suspect = metadata.is_file() && (metadata.len() == 0 || !known.contains(name));
                if suspect && route::is_younger(&metadata, GRACE) {
                    told.expect(path, Instant::now());
                }
            }
        }
    }

    /// Whether the paths look the same as when this was made; `prints` are in the order of the paths.
    pub(super) fn looks_like(&self, prints: &[Print]) -> bool {
        self.paths.values().map(|path| &path.print).eq(prints)
    }

    /// Watches the folders, and says whether all were there.
    fn watch(&mut self, watches: &mut Watches, before: u64) -> bool {
        let mut complete = true;
        for folder in self.folders.keys() {
            match watches.watch(folder, self.turn) {
                Ok(Some(since)) if since > before => {
                    self.fresh.insert(folder.clone());
                }
                Ok(Some(_)) => {}
                Ok(None) => complete = false,
                Err(error) => {
                    let error = error.set_paths(Vec::new());
                    self.problem = Some(format!("cannot watch `{}`: {error}", folder.display()));
                }
            }
        }
        complete
    }
}

fn all_steps(paths: &[PathBuf]) -> Vec<Vec<Step>> {
    paths.iter().map(|path| route::steps(path)).collect()
}
