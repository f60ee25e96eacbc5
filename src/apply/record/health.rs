//! Whether the state folder can be used, and what the log was told of that.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::disk::PATIENCE;
use crate::log::rounded;

/// A full disk takes one record and not the next: the log is told once in this time. Of one that hangs it is told again.
const SELDOM: Duration = Duration::from_secs(60);

/// Whether the state folder can be used.
#[derive(Debug)]
pub(super) struct Health {
    folder: PathBuf,
    is_degraded: AtomicBool,
    told: Mutex<Told>,
}

/// What the log was last told of a state folder that cannot be used.
#[derive(Debug, Default)]
struct Told {
    /// When.
    at: Option<Instant>,
    /// That it hangs.
    hangs: bool,
    /// Also that it can be used again.
    is_over: bool,
}

impl Health {
    /// As far as is known it can.
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), is_degraded: AtomicBool::new(false), told: Mutex::default() }
    }

    /// Whether what was done last could not be done.
    pub(super) fn is_degraded(&self) -> bool {
        self.is_degraded.load(Ordering::Relaxed)
    }

    /// It could not.
    pub(super) fn degrade(&self, error: &io::Error) {
        let is_new = !self.is_degraded.swap(true, Ordering::Relaxed);
        let hangs = error.kind() == io::ErrorKind::TimedOut;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = told.hangs == hangs && told.at.is_some_and(|at| at.elapsed() < SELDOM);
        // Where the log says last that it can be used, it is told as soon as it may be.
        let is_last_word = told.at.is_some() && !told.is_over;
        if is_recent || !is_new && !hangs && is_last_word {
            return;
        }
        *told = Told { at: Some(Instant::now()), hangs, is_over: false };
        let folder = self.folder.display();
        if hangs {
            tracing::warn!(
                %folder,
                "the disk of the state folder has not answered for {} or more: files and reloads go on without it, and a \
                 crash meanwhile may lose a reload that is owed",
                rounded(PATIENCE)
            );
        } else {
            let (error, hint) = (cause(&self.folder, error), hint(error));
            tracing::warn!(
                %folder,
                %error,
                "cannot use the state folder: after a restart processes may be reloaded without need{hint}"
            );
        }
    }

    /// It could.
    pub(super) fn recover(&self) {
        if self.is_degraded.swap(false, Ordering::Relaxed) {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if !std::mem::replace(&mut told.is_over, true) {
                tracing::info!(folder = %self.folder.display(), "the state folder can be used again");
            }
        }
    }
}

/// The error, or what stands in the way of the folder.
fn cause(folder: &Path, error: &io::Error) -> String {
    if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory) {
        // The first that is there, from below.
        let found = folder.ancestors().find_map(|path| Some((path, path.metadata().ok()?)));
        if let Some((path, _)) = found.filter(|(_, metadata)| !metadata.is_dir()) {
            return format!("`{}` is no folder", path.display());
        }
    }
    error.to_string()
}

/// What to do where the folder is the wrong one for whoever runs this.
fn hint(error: &io::Error) -> &'static str {
    use io::ErrorKind::{AlreadyExists, NotADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem};
    match error.kind() {
        AlreadyExists | NotADirectory | NotFound | PermissionDenied | ReadOnlyFilesystem => {
            "; name one that can be written to with `--state-dir` or `LIVECONF_STATE_DIR`"
        }
        _ => "",
    }
}
