//! The programs that we run beside their files, and the signals that are for them.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use nix::sys::signal::Signal;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use crate::config::{Process, Target};
use crate::heartbeat::Heart;
use crate::process::children::{adopt_orphans, is_init, reap};
use crate::process::supervise::{self, Handle, Stop, Supervised};

/// The pause after a defect of ours ended the reaper, before it is started again.
const AFTER_PANIC: Duration = Duration::from_secs(1);

/// Every program that is supervised, by the name of its process.
pub(super) struct Processes {
    state_dir: PathBuf,
    heart: Heart,
    running: BTreeMap<Arc<str>, Supervised>,
    /// Those that are not configured any more and have not ended yet.
    ending: Vec<Supervised>,
    /// Where a program tells that it has ended for good, and takes us with it.
    over: (mpsc::UnboundedSender<u8>, mpsc::UnboundedReceiver<u8>),
    reaper: Option<JoinHandle<()>>,
}

/// A program that is configured.
struct Wanted {
    process: Arc<Process>,
    /// Those whose files it reads.
    targets: BTreeSet<Arc<str>>,
}

impl Processes {
    /// None runs yet. Process 1 reaps what it inherits from the beginning.
    pub(super) fn new(state_dir: PathBuf, heart: Heart) -> Self {
        let reaper = is_init().then(|| start_reaper(&heart));
        let over = mpsc::unbounded_channel();
        Self { state_dir, heart, running: BTreeMap::new(), ending: Vec::new(), over, reaper }
    }

    /// Has the programs of these targets supervised, and no others. What runs goes on.
    pub(super) fn follow<'a>(&mut self, targets: impl Iterator<Item = &'a Target>) {
        let mut wanted: BTreeMap<Arc<str>, Wanted> = BTreeMap::new();
        for target in targets {
            if let Some(process) = &target.process {
                let wanted = wanted.entry(process.name.clone());
                let wanted = wanted.or_insert_with(|| Wanted { process: process.clone(), targets: BTreeSet::new() });
                wanted.targets.insert(target.name.clone());
            }
        }
        let dropped: Vec<_> = self.running.keys().filter(|name| !wanted.contains_key(*name)).cloned().collect();
        for supervised in dropped.iter().filter_map(|name| self.running.remove(name)) {
            warn!(process = supervised.process().shown(), "it is stopped: it is not configured any more");
            supervised.stop(Stop::Ask(Signal::SIGTERM));
            self.ending.push(supervised);
        }
        self.ending.retain(|ending| !ending.is_finished());
        if !wanted.is_empty() && self.reaper.is_none() {
            adopt_orphans();
            self.reaper = Some(start_reaper(&self.heart));
        }
        for (name, Wanted { process, targets }) in wanted {
            if let Some(supervised) = self.running.get_mut(&name) {
                supervised.redefine(process, targets);
            } else {
                let supervised = supervise::start(process, targets, &self.state_dir, self.over.0.clone(), &self.heart);
                self.running.insert(name, supervised);
            }
        }
    }

    /// The program of a target, if we run it.
    pub(super) fn of(&self, target: &Target) -> Option<Handle> {
        Some(self.running.get(&target.process.as_ref()?.name)?.handle(&target.name))
    }

    /// Hands a signal to the programs that want it; whether there is one.
    pub(super) fn forward(&self, signal: Signal) -> bool {
        let wants = |supervised: &&Supervised| supervised.process().forward.contains(&signal);
        self.running.values().filter(wants).map(|supervised| supervised.forward(signal)).count() > 0
    }

    /// Waits for a program that has ended for good and takes us with it: its exit code. Safe to cancel.
    pub(super) async fn over(&mut self) -> u8 {
        match self.over.1.recv().await {
            Some(code) => code,
            // We hold a sender ourselves.
            None => std::future::pending().await,
        }
    }

    /// How long the slowest program may take to be asked, and asked in vain.
    pub(super) fn kill_timeout(&self) -> Duration {
        self.running
            .values()
            .chain(&self.ending)
            .map(|supervised| supervised.process().kill_timeout)
            .max()
            .unwrap_or_default()
    }

    /// Asks every program to end, by this signal where it has no other.
    pub(super) fn stop(&self, signal: Signal) {
        for supervised in self.running.values() {
            supervised.stop(Stop::Ask(signal));
        }
    }

    /// Kills every program.
    pub(super) fn kill(&self) {
        for supervised in self.running.values().chain(&self.ending) {
            supervised.stop(Stop::Now);
        }
    }

    /// Waits until every program has ended that was asked to: the exit code of the first that takes us with it. Safe to
    /// cancel.
    pub(super) async fn stopped(&mut self) -> Option<u8> {
        let mut code = None;
        while let Some(mut entry) = self.running.first_entry() {
            let last = entry.get_mut().stopped().await;
            let process = entry.remove().process().clone();
            info!(process = process.shown(), "stopped");
            code = code.or(last.filter(|_| process.exit));
        }
        for ending in &mut self.ending {
            let _ = ending.stopped().await;
        }
        self.ending.clear();
        code
    }
}

/// Starts whoever reaps orphans. It keeps nothing from one round to the next, so that after a defect of ours it begins
/// anew.
fn start_reaper(heart: &Heart) -> JoinHandle<()> {
    let pulse = heart.pulse("reaper of orphans");
    tokio::spawn(async move {
        while AssertUnwindSafe(pulse.attend(reap())).catch_unwind().await.is_err() {
            error!("internal error: the reaper of orphans panicked and is started again; please report this");
            tokio::time::sleep(AFTER_PANIC).await;
        }
    })
}
