//! Follows files: the one way in which every part of the program learns that a file may differ.
//!
//! A watch on a file is blind after the first rename or link swap, so only folders are watched: those that hold the
//! file and every symlink on the way to it (`route`). What is missing is awaited in the nearest folder that exists.
//! The kernel tells within microseconds (inotify, through `notify`), on a thread of its own, which keeps of all events
//! only what matters (`told`); a slow poll of the metadata is the net below it, for network file systems and for what
//! is renamed further up, and the only way where inotify is exhausted.
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
mod route;
mod told;
mod watches;

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until, timeout};

use armed::{Armed, Order};
use route::Print;
use told::Told;
use watches::Watches;

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

/// How long watching folders may take, and being told of what happened already. It takes microseconds, but `notify` gets
/// to it only when it has read all events, which it never has while each read of one causes another (a trace of this
/// program that is written to a watched folder). What is not watched by then is left to the poll.
const BUSY_LIMIT: Duration = Duration::from_millis(300);

/// Follows a set of files and folders.
#[derive(Debug)]
pub struct FileWatch {
    interval: Duration,
    /// Which names in a followed folder matter.
    matters: fn(&OsStr) -> bool,
    /// How to get an inotify instance; a test may refuse one.
    open: fn(Arc<Told>) -> notify::Result<Watches>,
    paths: Arc<[PathBuf]>,
    told: Arc<Told>,
    /// Locked by the thread that watches folders, for as long as that takes.
    watches: Option<Arc<Mutex<Watches>>>,
    armed: Arc<Armed>,
    /// Counts how often `armed` was made.
    turn: u64,
    /// Whether `paths` are others than those that `armed` stands for.
    rearm: bool,
    /// Whether something changed that [`FileWatch::changed`] has not told yet.
    dirty: bool,
    next_poll: Instant,
    /// What the poll saw last, if it differs from what is known; twice the same is a change.
    seen: Option<Vec<Print>>,
    warned: bool,
}

impl FileWatch {
    /// Follows nothing yet. The metadata are looked at every `interval`. No I/O.
    pub fn new(interval: Duration) -> Self {
        Self {
            interval,
            matters: |name| !name.as_encoded_bytes().starts_with(b"."),
            open: Watches::open,
            paths: Arc::from([]),
            told: Arc::default(),
            watches: None,
            armed: Arc::default(),
            turn: 0,
            rearm: false,
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
            self.dirty |= self.told.take_changed();
            if self.dirty && self.told.is_at_rest() {
                // Links may lead elsewhere now. The folders are watched anew before the caller reads, so that nothing
                // is lost between the two.
                self.arm().await;
                if self.told.is_at_rest() {
                    self.dirty = false;
                    return;
                }
            }
            if self.told.take_overflown() {
                self.next_poll = Instant::now();
            }
            let deadline = self.told.deadline().map_or(self.next_poll, |deadline| deadline.min(self.next_poll));
            tokio::select! {
                () = self.told.news() => {}
                () = sleep_until(deadline) => self.tick().await,
            }
        }
    }

    /// Runs `work`, which reads the followed paths, where it may block; again when they were changed meanwhile, as what
    /// was read may then be half of something. Safe to cancel.
    pub async fn read<T: Send + 'static>(&mut self, work: impl FnOnce() -> T + Clone + Send + 'static) -> T {
        let start = Instant::now();
        loop {
            let (work, paths, told, armed) = (work.clone(), self.paths.clone(), self.told.clone(), self.armed.clone());
            let read = move || {
                let (result, prints) = (work(), route::prints(&paths));
                if let Some(folder) = &armed.watched {
                    told.call(folder);
                }
                (result, prints)
            };
            let (result, prints) = blocking(read).await;
            // A change shows in the metadata a moment before it is told, and not even there if it is small and quick.
            let _ = timeout(BUSY_LIMIT, self.told.echoed()).await;
            if self.is_settled(&prints) || start.elapsed() > OPEN_LIMIT {
                return result;
            }
            self.changed().await;
        }
    }

    /// Whether the followed paths, which look like this, are at rest since they were looked at before they were read.
    fn is_settled(&mut self, prints: &[Print]) -> bool {
        self.dirty |= self.told.take_changed() || !self.armed.looks_like(prints);
        !self.dirty && self.told.is_at_rest()
    }

    /// A deadline has come: of a name that is waited for, or of the poll.
    async fn tick(&mut self) {
        let now = Instant::now();
        self.dirty |= self.told.settle(now);
        // While a file is being written the poll would only see half of it.
        if now < self.next_poll || self.dirty || !self.told.is_at_rest() {
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
        self.turn += 1;
        let order = Order {
            turn: self.turn,
            paths: self.paths.clone(),
            matters: self.matters,
            told: self.told.clone(),
            before: self.armed.clone(),
        };
        let armed = match self.watch(order.clone()).await {
            Ok(armed) => armed,
            Err(problem) => {
                let mut armed = blocking(move || Armed::new(&order, None)).await;
                armed.problem = Some(problem);
                armed
            }
        };
        self.told.follow(self.turn, armed.folders.clone());
        self.armed = Arc::new(armed);
        self.rearm = false;
        self.seen = None;
        self.next_poll = Instant::now() + self.poll_interval();
        self.report();
    }

    /// Has the kernel watch them, or says why it cannot.
    async fn watch(&mut self, order: Order) -> Result<Armed, String> {
        let watches = if let Some(watches) = &self.watches {
            watches.clone()
        } else {
            let open = (self.open)(self.told.clone());
            let watches = open.map_err(|error| format!("cannot use inotify: {error}"))?;
            self.watches.insert(Arc::new(Mutex::new(watches))).clone()
        };
        let arm = async {
            let watches = watches.lock_owned().await;
            blocking(move || Armed::new(&order, Some(watches))).await
        };
        // What takes longer is still done, and serves whoever tries it next.
        timeout(BUSY_LIMIT, arm).await.map_err(|_| "a watched folder changes without a pause, or is slow".into())
    }

    /// One line when the kernel stops telling of changes, one when it tells again.
    fn report(&mut self) {
        match &self.armed.problem {
            Some(problem) if !self.warned => tracing::warn!(
                problem,
                hint = "raise the sysctl fs.inotify.max_user_watches or fs.inotify.max_user_instances, let the folder be read, or keep busy logs out of it",
                "cannot be told of changed files at once: looking every second instead"
            ),
            None if self.warned => tracing::info!("told of changed files at once again"),
            _ => {}
        }
        self.warned = self.armed.problem.is_some();
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
#[expect(clippy::disallowed_methods, reason = "tests write files the ways that other programs do")]
mod tests;
