//! `run`: every target at work until a signal ends it, with configuration and templates loaded anew on the way.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::apply::Records;
use crate::file_watch::{FileWatch, POLL_INTERVAL};
use crate::plan::Plan;
use crate::registries::Registries;
use crate::store::Store;
use crate::target::{Options, Task};

/// How often queries that nobody reads any more are looked for.
const SWEEP: Duration = Duration::from_secs(30);

/// How long after a change of a template file all of them are read again.
const SETTLE: Duration = Duration::from_millis(100);

/// Reads configuration and templates anew; what is wrong comes back as lines for the log.
pub type Reread = Box<dyn Fn() -> Result<Plan, Vec<String>> + Send>;

/// All that works while the program runs.
pub struct Daemon {
    plan: Plan,
    reread: Reread,
    store: Arc<Store>,
    registries: Registries,
    records: Arc<Records>,
    targets: HashMap<Arc<str>, Running>,
    sources: FileWatch,
}

/// One target task.
struct Running {
    stop: CancellationToken,
    /// Cancelled when the task has ended.
    ended: CancellationToken,
    destinations: HashSet<PathBuf>,
    task: JoinHandle<()>,
}

impl Daemon {
    /// Starts every registry and target of the plan.
    pub async fn start(plan: Plan, reread: Reread, records: Arc<Records>) -> Self {
        let store = Store::new();
        let registries = Registries::start(&plan.config, &store);
        let mut sources = FileWatch::new(POLL_INTERVAL);
        sources.follow(plan.sources()).await;
        let mut daemon = Self { plan, reread, store, registries, records, targets: HashMap::new(), sources };
        daemon.start_targets();
        daemon
    }

    /// Works until a stop signal; then each target finishes the transaction that it is in, within the grace period.
    /// A second signal ends that at once. What a reload still owes then is on record and paid at the next start.
    pub async fn run(mut self) -> std::io::Result<()> {
        let mut reload = signal(SignalKind::hangup())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut sweep = tokio::time::interval(SWEEP);
        loop {
            tokio::select! {
                _ = reload.recv() => self.reload("a signal").await,
                () = self.sources.changed() => {
                    // An editor may save several files, or one in steps.
                    tokio::time::sleep(SETTLE).await;
                    self.reload("a change of a template").await;
                }
                _ = sweep.tick() => self.store.sweep(Instant::now()),
                () = stop_signal(&mut terminate, &mut interrupt) => break,
            }
        }
        info!("stopping");
        tokio::select! {
            () = self.stop() => {}
            () = stop_signal(&mut terminate, &mut interrupt) => warn!("stopped at once by a second signal"),
        }
        Ok(())
    }

    /// Loads configuration and templates anew. Invalid, every problem is logged and the old ones stay.
    async fn reload(&mut self, cause: &str) {
        let plan = match (self.reread)() {
            Ok(plan) => plan,
            Err(problems) => {
                for problem in problems {
                    error!("not reloaded, the old configuration stays: {problem}");
                }
                return;
            }
        };
        if plan.config.state_dir != self.plan.config.state_dir {
            warn!("`state_dir` changed: that takes effect at the next start");
        }
        info!("configuration and templates loaded anew after {cause}");
        self.registries.follow(&plan.config);
        self.sources.follow(plan.sources()).await;
        self.plan = plan;
        self.start_targets();
    }

    /// Starts a task for each target; each begins when those that wrote the same files before have ended their
    /// transaction.
    fn start_targets(&mut self) {
        let before = std::mem::take(&mut self.targets);
        for running in before.values() {
            running.stop.cancel();
        }
        for applier in self.plan.appliers(&self.records, Options::default()) {
            let target = applier.target().clone();
            let destinations: HashSet<PathBuf> =
                target.templates.iter().map(|template| template.dest.clone()).collect();
            let predecessors: Vec<CancellationToken> = before
                .iter()
                .filter(|(name, running)| **name == target.name || !running.destinations.is_disjoint(&destinations))
                .map(|(_, running)| running.ended.clone())
                .collect();
            let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
            let (stopped, end) = (stop.clone(), ended.clone().drop_guard());
            let task = Task::new(applier, self.store.reader());
            let task = tokio::spawn(async move {
                let _end = end;
                for predecessor in predecessors {
                    predecessor.cancelled().await;
                }
                task.run(stopped).await;
            });
            self.targets.insert(target.name.clone(), Running { stop, ended, destinations, task });
        }
    }

    /// Stops every target and waits for them, at most for the grace period.
    async fn stop(&mut self) {
        for running in self.targets.values() {
            running.stop.cancel();
        }
        let grace = self.plan.config.grace;
        let deadline = tokio::time::Instant::now() + grace;
        for (name, running) in &mut self.targets {
            if tokio::time::timeout_at(deadline, &mut running.task).await.is_err() {
                let grace = humantime::format_duration(grace);
                warn!(target = &**name, "not finished within the grace period of {grace}: its reload stays owed");
                running.task.abort();
            }
        }
    }
}

async fn stop_signal(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
