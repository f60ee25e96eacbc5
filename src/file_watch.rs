//! Follows files: the one way in which every part of the program learns that a file may differ.
//!
//! A watch on a file is blind after the first rename or link swap, so only folders are watched: those that hold the
//! file and every symlink on the way to it (`route`). What is missing is awaited in the nearest folder that exists.
//! The kernel tells (`inotify`) within microseconds; a slow poll of the metadata is the net below it, for network file
//! systems and for what is renamed further up, and the only way where inotify is exhausted.
//!
//! A file that is being written is left alone until its writer closes it, and one that goes away is waited for, since
//! editors move a file aside before they write it anew. So whoever reads after [`FileWatch::changed`] seldom sees half
//! a file, and with [`FileWatch::read`] practically never. Follow first, read then, and read again after each change:
//!
//! ```no_run
//! # use liveconf::file_watch::{FileWatch, POLL_INTERVAL};
//! # async fn example() {
//! let mut watch = FileWatch::new(POLL_INTERVAL);
//! watch.follow(["/etc/registry.yaml".into()]).await;
//! loop {
//!     let text = watch.read(|| std::fs::read("/etc/registry.yaml")).await;
//!     watch.changed().await;
//! }
//! # }
//! ```

mod armed;
mod inotify;
mod route;

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use armed::Armed;
use inotify::{Event, Happening, Inotify};
use route::Print;

/// How often the metadata of followed files is looked at, unless configured.
pub const POLL_INTERVAL: Duration = Duration::from_secs(10);

/// The same while inotify cannot be used.
const POLL_INTERVAL_ALONE: Duration = Duration::from_secs(1);

/// How long a name may be away before it counts as gone, and a new file may stay untouched before it counts as whole.
const GRACE: Duration = Duration::from_millis(100);

/// How long a file that somebody has open for writing may stay untouched before it counts as whole. Closing it says so
/// at once, so this concerns only writers that never close, and a script may well pause within a file.
const OPEN_QUIET: Duration = Duration::from_secs(2);

/// After this much time a file that never comes to rest is read as it is.
const OPEN_LIMIT: Duration = Duration::from_secs(10);

/// Follows a set of files and folders.
#[derive(Debug)]
pub struct FileWatch {
    interval: Duration,
    /// Which names in a followed folder matter.
    matters: fn(&OsStr) -> bool,
    /// How to get an inotify instance; a test may refuse one.
    open: fn() -> io::Result<Inotify>,
    paths: Arc<[PathBuf]>,
    inotify: Option<Inotify>,
    armed: Arc<Armed>,
    /// Whether `paths` are others than those that `armed` stands for.
    rearm: bool,
    /// Names that are being written or went away.
    unsettled: HashMap<(i32, OsString), Unsettled>,
    /// Whether something changed that [`FileWatch::changed`] has not told yet.
    dirty: bool,
    next_poll: Instant,
    /// What the poll saw last, if it differs from what is known; twice the same is a change.
    seen: Option<Vec<Print>>,
    warned: bool,
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

impl FileWatch {
    /// Follows nothing yet. The metadata are looked at every `interval`. No I/O.
    pub fn new(interval: Duration) -> Self {
        Self {
            interval,
            matters: |name| !name.as_encoded_bytes().starts_with(b"."),
            open: Inotify::new,
            paths: Arc::from([]),
            inotify: None,
            armed: Arc::default(),
            rearm: false,
            unsettled: HashMap::new(),
            dirty: false,
            next_poll: Instant::now() + interval,
            seen: None,
            warned: false,
        }
    }

    /// Says which names in a followed folder matter; without this all but dot files do.
    #[must_use]
    pub fn only(mut self, matters: fn(&OsStr) -> bool) -> Self {
        self.matters = matters;
        self
    }

    /// Follows these paths and no others; they need not exist. A path that is a folder stands for itself and the names
    /// directly in it. Whatever changes after this returns is told by [`FileWatch::changed`], so follow first and read
    /// then.
    pub async fn follow(&mut self, paths: impl IntoIterator<Item = PathBuf>) {
        let mut paths: Vec<_> = paths.into_iter().map(|path| std::path::absolute(&path).unwrap_or(path)).collect();
        paths.sort_unstable();
        paths.dedup();
        if *self.paths != *paths {
            self.paths = paths.into();
            self.rearm = true;
        }
        if self.rearm {
            self.arm().await;
        }
    }

    /// Waits until something about the followed paths may differ. Safe to cancel.
    pub async fn changed(&mut self) {
        loop {
            if self.dirty && self.unsettled.is_empty() {
                // Links may lead elsewhere now. The folders are watched anew before the caller reads, so that nothing
                // is lost between the two.
                self.arm().await;
                if self.unsettled.is_empty() {
                    self.dirty = false;
                    return;
                }
            }
            let deadline = self.unsettled.values().map(Unsettled::deadline).fold(self.next_poll, Instant::min);
            tokio::select! {
                events = next_events(self.inotify.as_ref()) => self.note(events),
                () = sleep_until(deadline) => self.tick().await,
            }
        }
    }

    /// Runs `work`, which reads the followed paths, where it may block; again when they were changed meanwhile, as what
    /// was read may then be half of something. Safe to cancel.
    pub async fn read<T: Send + 'static>(&mut self, work: impl FnOnce() -> T + Clone + Send + 'static) -> T {
        let start = Instant::now();
        loop {
            let (work, paths) = (work.clone(), self.paths.clone());
            let (result, prints) = blocking(move || (work(), route::prints(&paths))).await;
            if self.is_settled(&prints) || start.elapsed() > OPEN_LIMIT {
                return result;
            }
            self.changed().await;
        }
    }

    /// Whether the followed paths, which look like this, are at rest since they were looked at before they were read.
    /// A change shows in the metadata a moment before the kernel tells of it.
    fn is_settled(&mut self, prints: &[Print]) -> bool {
        let events = self.inotify.as_ref().map(Inotify::drain).unwrap_or_default();
        self.note(events);
        self.dirty |= !self.armed.looks_like(prints);
        !self.dirty && self.unsettled.is_empty()
    }

    fn note(&mut self, events: Vec<Event>) {
        let now = Instant::now();
        for event in events {
            match event {
                Event::Lost => self.dirty = true,
                Event::Name { folder, name, happening } => {
                    if !self.armed.matters(folder, &name, self.matters) {
                        continue;
                    }
                    let whole = match happening {
                        Happening::Whole => true,
                        Happening::Created => self.armed.is_whole_when_created(folder, &name),
                        Happening::Written => false,
                        // Where the path leads now decides.
                        Happening::Gone | Happening::Metadata => {
                            self.dirty = true;
                            continue;
                        }
                    };
                    if whole {
                        self.unsettled.remove(&(folder, name));
                        self.dirty = true;
                        continue;
                    }
                    let quiet = if happening == Happening::Created { GRACE } else { OPEN_QUIET };
                    let entry =
                        self.unsettled.entry((folder, name)).or_insert(Unsettled { since: now, last: now, quiet });
                    (entry.last, entry.quiet) = (now, quiet);
                }
                Event::Folder { folder } if self.armed.knows(folder) => {
                    // Nothing more will be told of what is in it.
                    self.unsettled.retain(|(known, _), _| *known != folder);
                    self.dirty = true;
                }
                Event::Folder { .. } => {}
            }
        }
    }

    /// A deadline has come: of a name that is waited for, or of the poll.
    async fn tick(&mut self) {
        let now = Instant::now();
        let waiting = self.unsettled.len();
        self.unsettled.retain(|_, name| name.deadline() > now);
        self.dirty |= self.unsettled.len() < waiting;
        // While a file is being written the poll would only see half of it.
        if now < self.next_poll || self.dirty || !self.unsettled.is_empty() {
            self.next_poll = self.next_poll.max(now + GRACE);
            return;
        }
        let paths = self.paths.clone();
        let prints = blocking(move || route::prints(&paths)).await;
        if self.armed.looks_like(&prints) {
            self.seen = None;
            if self.armed.problem.is_some() {
                self.arm().await;
            }
            self.next_poll = Instant::now() + self.poll_interval();
        } else if self.seen.as_ref() == Some(&prints) {
            self.dirty = true;
        } else {
            self.seen = Some(prints);
            self.next_poll = now + GRACE;
        }
    }

    fn poll_interval(&self) -> Duration {
        if self.armed.problem.is_some() { self.interval.min(POLL_INTERVAL_ALONE) } else { self.interval }
    }

    /// Watches the folders that matter now.
    async fn arm(&mut self) {
        let mut problem = None;
        if self.inotify.is_none() {
            match (self.open)() {
                Ok(inotify) => self.inotify = Some(inotify),
                Err(error) => problem = Some(format!("cannot use inotify: {error}")),
            }
        }
        let descriptor = self.inotify.as_ref().map(Inotify::descriptor);
        let paths = self.paths.clone();
        let before = self.armed.clone();
        let mut armed = blocking(move || Armed::new(descriptor.as_deref(), &paths, &before)).await;
        armed.problem = problem.or(armed.problem);
        for (name, since) in armed.unsettled.drain(..).filter(|(_, since)| since.elapsed() < GRACE) {
            self.unsettled.insert(name, Unsettled { since, last: since, quiet: GRACE });
        }
        self.armed = Arc::new(armed);
        self.rearm = false;
        self.seen = None;
        self.next_poll = Instant::now() + self.poll_interval();
        self.report();
    }

    /// One line when the kernel stops telling of changes, one when it tells again.
    fn report(&mut self) {
        match &self.armed.problem {
            Some(problem) if !self.warned => tracing::warn!(
                problem,
                hint = "raise the sysctl fs.inotify.max_user_watches or fs.inotify.max_user_instances, or let the folder be read",
                "cannot be told of changed files at once: looking every second instead"
            ),
            None if self.warned => tracing::info!("told of changed files at once again"),
            _ => {}
        }
        self.warned = self.armed.problem.is_some();
    }
}

async fn next_events(inotify: Option<&Inotify>) -> Vec<Event> {
    match inotify {
        Some(inotify) => inotify.next().await,
        None => std::future::pending().await,
    }
}

/// Runs file-system calls where they may block, such as on a network file system that hangs.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime shuts down, and with it whoever waits here.
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
