//! When answers are saved: soon after a change, and then so seldom that it costs little.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::Shared;
use super::folder::Folder;
use crate::log::rounded;
use crate::registry::file::Snapshot;

/// How long changes are gathered, so that many targets that apply one after the other are saved together.
const GATHER: Duration = Duration::from_secs(1);

/// The least time between two savings.
const PAUSE: Duration = Duration::from_secs(5);

/// The pause after one that failed: a disk that is full or read-only is soon enough found to be neither.
const AFTER_FAILURE: Duration = Duration::from_secs(30);

/// The share of one processor that saving may take is one in this many.
const SHARE: u32 = 100;

/// The bytes that may be written a second, on the average.
const BYTES_A_SECOND: u64 = 64 << 10;

/// Writes the files.
#[derive(Debug)]
pub(super) struct Saver {
    folder: Folder,
    /// Since when it fails.
    failing: Option<Instant>,
    /// How long to wait for the next.
    pause: Duration,
}

/// Saves what is unsaved again and again, never more than the pauses allow.
pub(super) async fn save_as_it_changes(shared: Arc<Shared>) {
    let mut not_before = Instant::now();
    loop {
        shared.unsaved.notified().await;
        tokio::time::sleep_until(not_before.max(Instant::now() + GATHER).into()).await;
        let work = shared.clone();
        // A panic is a defect, and is told as such where it happens; the next change is saved all the same.
        let pause = tokio::task::spawn_blocking(move || work.save()).await.unwrap_or(AFTER_FAILURE);
        not_before = Instant::now() + pause;
    }
}

impl Saver {
    /// Nothing was written yet.
    pub(super) fn new(folder: Folder) -> Self {
        Self { folder, failing: None, pause: PAUSE }
    }

    /// Where it writes.
    pub(super) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Removes what is saved of other registries than these; whether the folder can be used.
    pub(super) fn begin(&mut self, registries: &BTreeSet<Arc<str>>) -> bool {
        let result = self.folder.keep_only(registries);
        if let Err(error) = &result {
            self.fails(error);
        }
        result.is_ok()
    }

    /// How long to wait after what was written last.
    pub(super) fn pause(&self) -> Duration {
        self.pause
    }

    /// Saves registries, each as `snapshot` gives it; gives those that could not be.
    pub(super) fn save(
        &mut self,
        registries: BTreeSet<Arc<str>>,
        snapshot: impl Fn(&Arc<str>) -> Snapshot,
    ) -> Vec<Arc<str>> {
        if registries.is_empty() {
            return Vec::new();
        }
        let start = Instant::now();
        let mut bytes = 0;
        let mut failed = Vec::new();
        for registry in registries {
            match self.save_one(&snapshot(&registry)) {
                Ok(written) => bytes += written,
                Err(error) => {
                    self.fails(&error);
                    failed.push(registry);
                }
            }
        }
        let took = start.elapsed();
        self.pause = pause(took, bytes);
        debug!(bytes, took = %rounded(took), pause = %rounded(self.pause), "saved answers");
        if !failed.is_empty() {
            self.pause = self.pause.max(AFTER_FAILURE);
        } else if let Some(since) = self.failing.take() {
            let folder = self.folder.path().display();
            info!(%folder, "answers are saved again after {}", rounded(since.elapsed()));
        }
        failed
    }

    /// Tells the log of a failure, once while it lasts.
    fn fails(&mut self, error: &io::Error) {
        if self.failing.is_none() {
            let folder = self.folder.path().display();
            warn!(%folder, %error, "cannot save answers: until that works a restart knows older ones, or none");
        }
        self.failing.get_or_insert_with(Instant::now);
    }

    /// How many bytes were written.
    fn save_one(&self, snapshot: &Snapshot) -> io::Result<u64> {
        if snapshot.answers.is_empty() {
            return self.folder.remove(&snapshot.registry).map(|()| 0);
        }
        self.folder.write(snapshot)
    }
}

/// How long to wait after a saving that took so long and wrote so much.
fn pause(took: Duration, bytes: u64) -> Duration {
    PAUSE.max(took.saturating_mul(SHARE)).max(Duration::from_secs(bytes / BYTES_A_SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_costs_much_is_done_seldom() {
        let (second, millisecond) = (Duration::from_secs(1), Duration::from_millis(1));
        assert_eq!(pause(millisecond, 1000), 5 * second);
        assert_eq!(pause(200 * millisecond, 1000), 20 * second, "one in a hundred of a processor");
        assert_eq!(pause(millisecond, 6 << 20), 96 * second, "64 KiB a second");
    }
}
