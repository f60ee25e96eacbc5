//! `run`: every target at work until a signal ends it, with configuration and templates loaded anew on the way.

mod processes;
mod signals;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::FutureExt;
use nix::sys::signal::Signal;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use self::processes::Processes;
use self::signals::Signals;
use crate::apply::{Claims, Records};
use crate::config;
use crate::control::{Control, Place, Posted, Roster};
use crate::file_watch::{FileWatch, POLL_INTERVAL};
use crate::guard::{Held, Memory};
use crate::heartbeat::{Heart, Pulse};
use crate::log::{self, Line, Repeats, rounded};
use crate::plan::Plan;
use crate::registries::Registries;
use crate::remembered::Remembered;
use crate::service_manager::ServiceManager;
use crate::store::Store;
use crate::target::{Desk, Options, Phase, Task};

/// How often queries that nobody reads any more are looked for.
const SWEEP: Duration = Duration::from_secs(30);

/// How long after a change of a template file all of them are read again: an editor may save several, or one in steps.
const SETTLE: Duration = Duration::from_millis(100);

/// How long after templates were found wrong they are read again, besides when they change: what they miss may be
/// anywhere.
const READ_AGAIN: Duration = Duration::from_secs(2);

/// What a task that is ended, by a second signal or at the end of the grace period, has for putting files back.
const LAST_STEPS: Duration = Duration::from_secs(1);

/// What a stop takes at most beside the grace period: for that, and for what is saved last.
const STOPPED: Duration = Duration::from_secs(10);

/// The pause after a defect of ours ended a target's task, before it is started again.
const AFTER_PANIC: Duration = Duration::from_secs(1);

/// What was read anew, or what is wrong with it as lines for the log.
pub type Read = Result<Plan, Vec<String>>;

/// How configuration and templates are read anew.
pub struct Reread {
    /// Reads the configuration again, and its templates.
    pub everything: Box<dyn Fn() -> Read + Send + Sync>,
    /// Reads the templates of a plan again.
    pub templates: Box<dyn Fn(&Plan) -> Read + Send + Sync>,
}

/// All that works while the program runs.
pub struct Daemon {
    plan: Arc<Plan>,
    reread: Arc<Reread>,
    store: Arc<Store>,
    registries: Registries,
    records: Arc<Records>,
    claims: Claims,
    targets: BTreeMap<Arc<str>, Running>,
    remembered: Remembered,
    /// What the guards know, by target: it outlives a task, and ends with its target or guard.
    memories: BTreeMap<Arc<str>, Memory>,
    /// What there is to ask and to command.
    roster: watch::Sender<Arc<Roster>>,
    control: Option<Control>,
    service_manager: ServiceManager,
    /// Whether every loop makes progress, and whether the one of the daemon itself does.
    heart: Heart,
    pulse: Pulse,
    /// Tasks of targets that were replaced or removed and have not ended their transaction yet.
    ending: Vec<Running>,
    sources: FileWatch,
    /// Whether the template files are others than the plan shows, and what was last said of them.
    wrong_templates: Option<Instant>,
    repeats: Repeats,
    /// The programs that we run beside their files.
    processes: Processes,
    signals: Signals,
}

/// One target task.
struct Running {
    stop: CancellationToken,
    /// Cancelled before `stop` where another task of the target follows.
    succeeded: CancellationToken,
    /// Cancelled when the task has ended.
    ended: CancellationToken,
    name: Arc<str>,
    destinations: Vec<PathBuf>,
    desk: Arc<Desk>,
    task: JoinHandle<()>,
}

impl Daemon {
    /// Starts every registry and target of the plan. Fails when no signals can be listened for.
    pub async fn start(plan: Plan, reread: Reread, records: Arc<Records>, claims: Claims) -> std::io::Result<Self> {
        let signals = Signals::listen()?;
        let heart = Heart::default();
        let processes = Processes::new(plan.config.state_dir.clone(), heart.clone());
        let store = Store::new();
        let remembered = Remembered::open(&plan.config).await;
        let registries = Registries::start(&plan.config.registries, &store, &heart).await;
        let mut sources = FileWatch::new(POLL_INTERVAL);
        sources.follow(plan.sources()).await;
        info!(
            "liveconf {}: {}, {}, state in {}",
            env!("CARGO_PKG_VERSION"),
            count(plan.targets.len(), "target", "targets"),
            count(plan.config.registries.len(), "registry", "registries"),
            plan.config.state_dir.display()
        );
        let now = SystemTime::now();
        let roster = watch::Sender::new(Arc::new(Roster {
            started: now,
            config: plan.config.file.clone(),
            loaded: now,
            refused_configuration: None,
            refused_templates: None,
            stopping: false,
            registries: BTreeMap::new(),
            targets: Vec::new(),
            store: store.clone(),
            records: records.clone(),
        }));
        let mut daemon = Self {
            plan: Arc::new(plan),
            reread: Arc::new(reread),
            store,
            registries,
            records,
            claims,
            targets: BTreeMap::new(),
            remembered,
            memories: BTreeMap::new(),
            service_manager: ServiceManager::start(roster.subscribe(), heart.clone()),
            roster,
            control: None,
            pulse: heart.pulse("daemon"),
            heart,
            ending: Vec::new(),
            sources,
            wrong_templates: None,
            repeats: Repeats::default(),
            processes,
            signals,
        };
        daemon.start_targets();
        daemon.show();
        let config = &daemon.plan.config;
        let group = config.control.group.clone();
        let socket = config.control.socket.path(&config.state_dir);
        daemon.control = socket.map(|path| {
            Control::start(Place { path, group }, daemon.roster.subscribe(), daemon.heart.pulse("control socket"))
        });
        Ok(daemon)
    }

    /// Reads the configuration or its templates. They may lie on a file system that hangs, which must not make us deaf.
    fn read(&self, reading: Reading) -> impl Future<Output = Result<Read, JoinError>> + use<> {
        let (reread, plan) = (self.reread.clone(), self.plan.clone());
        async move {
            if let Reading::Templates(settle) = reading {
                tokio::time::sleep(settle).await;
            }
            tokio::task::spawn_blocking(move || match reading {
                Reading::Everything => (reread.everything)(),
                Reading::Templates(_) => (reread.templates)(&plan),
            })
            .await
        }
    }

    /// Works until a stop signal; then each target finishes the transaction that it is in, within the grace period.
    /// A second signal ends that at once, but for files that are put back. What a reload still owes then is on record and
    /// paid at the next start.
    ///
    /// Programs that we run are asked to end at the same time. Gives the exit code of one that takes us with it.
    pub async fn run(mut self) -> Option<u8> {
        let mut sweep = tokio::time::interval(SWEEP);
        let (signal, over) = loop {
            let again = self.wrong_templates;
            let reading = tokio::select! {
                signal = self.signals.next() => match signal {
                    _ if signals::stops(signal) => break (signal, None),
                    _ if self.processes.forward(signal) => continue,
                    Signal::SIGHUP => Reading::Everything,
                    _ => {
                        debug!(%signal, "ignored a signal");
                        continue;
                    }
                },
                () = self.sources.changed() => Reading::Templates(SETTLE),
                () = until(again) => Reading::Templates(Duration::ZERO),
                _ = sweep.tick() => {
                    self.store.sweep(Instant::now());
                    continue;
                }
                () = self.pulse.asked() => continue,
                code = self.processes.over() => break (Signal::SIGTERM, Some(code)),
            };
            if reading.is_asked_for() {
                self.service_manager.reloading();
            }
            let mut read = std::pin::pin!(self.read(reading));
            let ended = loop {
                tokio::select! {
                    // Targets go on by the old plan however long it takes.
                    plan = self.pulse.attend(&mut read) => break Ok(plan),
                    code = self.processes.over() => break Err((Signal::SIGTERM, Some(code))),
                    signal = self.signals.but_hangup() => match signal {
                        signal if signals::stops(signal) => break Err((signal, None)),
                        signal => _ = self.processes.forward(signal),
                    },
                }
            };
            match ended {
                Ok(Ok(plan)) => self.follow(reading, plan).await,
                Ok(Err(_panicked)) => error!("internal error: reading the configuration panicked; please report this"),
                Err(end) => break end,
            }
            if reading.is_asked_for() {
                self.service_manager.reloaded();
            }
        };
        let since = Instant::now();
        info!("stopping");
        self.change_roster(|roster| roster.stopping = true);
        self.processes.stop(signal);
        let within = self.plan.config.grace.max(self.processes.kill_timeout() * 3) + STOPPED;
        self.service_manager.stopping(within);
        let targets = async {
            stop(self.targets.values_mut().chain(&mut self.ending), self.plan.config.grace).await;
            self.remembered.finish().await;
        };
        let stopped = async { tokio::join!(targets, self.processes.stopped()).1 };
        let stopped = tokio::select! {
            code = self.pulse.outside(within, stopped) => Some(code),
            () = self.signals.stop_again(since) => None,
        };
        let code = if let Some(code) = stopped {
            code
        } else {
            warn!("stopped at once by a second signal");
            self.processes.kill();
            let targets = end_now(self.targets.values_mut().chain(&mut self.ending));
            let killed = tokio::time::timeout(LAST_STEPS, self.processes.stopped());
            tokio::join!(targets, killed).1.ok().flatten()
        };
        if let Some(control) = self.control.take() {
            control.stop().await;
        }
        self.service_manager.finish().await;
        for running in self.targets.values() {
            let (target, state) = (&*running.name, running.desk.state().borrow().clone());
            if running.desk.paused().is_some() {
                warn!(target, "stopped while paused: the next start applies what is new");
            }
            match &state.phase {
                Phase::Settled { .. } | Phase::Waiting(..) | Phase::Applying | Phase::Held => {}
                Phase::Owed(reason) => warn!(target, "stopped with a reload owed: {reason}"),
                Phase::Failed(reason) => warn!(target, "stopped with older files: {reason}"),
                Phase::Rejected(reason) => warn!(target, "stopped after a refusal: {reason}"),
            }
            if let Some(Held { asked, .. }) = state.held.first() {
                let more = state.held.len() - 1;
                warn!(target, query = %asked, more, "stopped with an older answer: the newest is held back");
            }
        }
        over.or(code)
    }

    /// Puts what was read in the place of the plan. Invalid, every problem is logged and the old plan stays.
    async fn follow(&mut self, reading: Reading, plan: Read) {
        let plan = plan.and_then(|plan| match self.claims.hold(plan.destinations()) {
            Ok(()) => Ok(plan),
            Err(taken) => Err(vec![taken.to_string()]),
        });
        let plan = match plan {
            Ok(plan) => plan,
            Err(problems) => {
                if let Reading::Templates(_) = reading {
                    self.wrong_templates = Some(Instant::now() + READ_AGAIN);
                }
                if reading.is_asked_for() || self.repeats.failed(Instant::now(), &problems.join("\n")) != Line::Silent {
                    for problem in problems {
                        error!("not loaded, {} stay: {problem}", reading.what("the old"));
                    }
                }
                self.change_roster(|roster| {
                    let refused = match reading {
                        Reading::Everything => &mut roster.refused_configuration,
                        Reading::Templates(_) => &mut roster.refused_templates,
                    };
                    refused.get_or_insert_with(SystemTime::now);
                });
                return;
            }
        };
        self.wrong_templates = None;
        log::follow(&plan.config.log);
        let _ = self.repeats.recovered(Instant::now());
        if plan.config.state_dir != self.plan.config.state_dir {
            warn!("`state_dir` changed: that takes effect at the next start");
        }
        if plan.config.control != self.plan.config.control {
            warn!("`control` changed: that takes effect at the next start");
        }
        let kept: BTreeSet<PathBuf> = plan.destinations().collect();
        for dropped in self.plan.destinations().filter(|destination| !kept.contains(destination)) {
            let dropped = dropped.display().to_string();
            if dropped.contains('*') {
                // Others may be called so, and the target names its own.
                warn!("`{dropped}` is not kept any more: the files of its items stay");
            } else {
                warn!("`{dropped}` is not kept any more; remove it if it is not wanted");
            }
        }
        for warning in plan.config.warnings.iter().filter(|_| reading.is_asked_for()) {
            warn!("{warning}");
        }
        info!("loaded {}", reading.what("the new"));
        self.sources.follow(plan.sources()).await;
        // Old templates never see what the new registries say.
        self.end_targets(&plan);
        self.registries.follow(&plan.config.registries).await;
        self.remembered.follow(&plan.config).await;
        self.plan = Arc::new(plan);
        self.start_targets();
        self.change_roster(|roster| {
            roster.loaded = SystemTime::now();
            roster.refused_templates = None;
            if reading.is_asked_for() {
                roster.refused_configuration = None;
            }
        });
        self.show();
    }

    /// Shows the registries and targets that there are.
    fn show(&self) {
        let posted = |target: &config::Target| {
            let desk = self.targets.get(&target.name)?.desk.clone();
            let files = target.templates.iter().map(|template| template.dest.clone()).collect();
            let process = self.processes.of(target).map(|process| process.state());
            Some(Posted { name: target.name.clone(), files, desk, process })
        };
        let targets = self.plan.targets.iter().filter_map(|(target, _)| posted(target)).collect();
        let registries = self.registries.standings();
        self.change_roster(|roster| (roster.targets, roster.registries) = (targets, registries));
    }

    fn change_roster(&self, change: impl FnOnce(&mut Roster)) {
        self.roster.send_modify(|roster| change(Arc::make_mut(roster)));
    }

    /// Lets the task of each target end; the transaction that it is in may finish. Those of the next plan follow them.
    fn end_targets(&mut self, next: &Plan) {
        self.ending.retain(|running| !running.task.is_finished());
        for (name, running) in std::mem::take(&mut self.targets) {
            if next.targets.iter().any(|(target, _)| target.name == name) {
                running.succeeded.cancel();
            }
            running.stop.cancel();
            self.ending.push(running);
        }
    }

    /// Starts a task for each target; each begins when those that wrote the same files before have ended their
    /// transaction.
    fn start_targets(&mut self) {
        let memories = std::mem::take(&mut self.memories);
        self.processes.follow(self.plan.targets.iter().map(|(target, _)| &**target));
        let roster = self.roster.borrow().clone();
        for index in 0..self.plan.targets.len() {
            let (plan, records, store) = (self.plan.clone(), self.records.clone(), self.store.clone());
            let target = plan.targets[index].0.clone();
            let destinations: Vec<PathBuf> = target.templates.iter().map(|template| template.dest.clone()).collect();
            let meets = |other: &PathBuf| destinations.iter().any(|own| config::may_meet(own, other));
            let is_before = |before: &&Running| before.name == target.name || before.destinations.iter().any(meets);
            let before: Vec<_> = self.ending.iter().filter(is_before).map(|before| before.ended.clone()).collect();
            let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
            let (stopped, end) = (stop.clone(), ended.clone().drop_guard());
            let succeeded = CancellationToken::new();
            let followed = succeeded.clone();
            let desk = roster.target(&target.name).map(|posted| posted.desk.clone()).unwrap_or_default();
            let shown = desk.clone();
            let recollection = self.remembered.of(&target.name, plan.config.last_known_good_after);
            let process = self.processes.of(&target);
            let memory = memories.get(&target.name).cloned();
            let memory = memory.unwrap_or_else(|| Memory::of(recollection.earlier()));
            if !target.guard.is_off() {
                self.memories.insert(target.name.clone(), memory.clone());
            }
            let pulse = self.heart.pulse(format!("target `{}`", target.name));
            let (beating, heart) = (pulse.clone(), self.heart.clone());
            let new_task = move || {
                let applier = plan.applier(index, &records, Options::default()).beating(beating.clone());
                let applier = applier.guarded_by(plan.guard(index, &memory)).remembering(recollection.clone());
                let applier = applier.supervising(process.clone());
                let task = Task::new(applier, store.reader(), shown.clone());
                let lock = plan.lock(index).map(|lock| lock.beating(heart.clone()));
                task.locked_by(lock).succeeded_after(followed.clone())
            };
            let name = target.name.clone();
            let task = tokio::spawn(async move {
                let _end = end;
                for before in before {
                    pulse.attend(before.cancelled()).await;
                }
                // Not before they have ended: it goes on with what they leave.
                let mut task = new_task();
                while AssertUnwindSafe(task.run(stopped.clone())).catch_unwind().await.is_err() {
                    error!(
                        target = &*name,
                        "internal error: the target panicked and is started again; please report this"
                    );
                    tokio::time::sleep(AFTER_PANIC).await;
                    task = new_task();
                }
            });
            let running = Running { stop, succeeded, ended, name: target.name.clone(), destinations, desk, task };
            self.targets.insert(target.name.clone(), running);
        }
    }
}

/// What is read anew.
#[derive(Debug, Clone, Copy)]
enum Reading {
    /// Configuration and templates, because the operator said so.
    Everything,
    /// Templates alone, after this pause.
    Templates(Duration),
}

impl Reading {
    fn is_asked_for(self) -> bool {
        matches!(self, Self::Everything)
    }

    fn what(self, which: &str) -> String {
        match self {
            Self::Everything => format!("{which} configuration and templates"),
            Self::Templates(_) => format!("{which} templates"),
        }
    }
}

/// Stops tasks and waits for them, at most for the grace period.
async fn stop(tasks: impl Iterator<Item = &mut Running>, grace: Duration) {
    let tasks: Vec<_> = tasks.collect();
    for running in &tasks {
        running.stop.cancel();
    }
    let deadline = tokio::time::Instant::now() + grace;
    let mut late = Vec::new();
    for running in tasks {
        if tokio::time::timeout_at(deadline, &mut running.task).await.is_err() {
            let target = &*running.name;
            warn!(target, "not finished within the grace period of {}: what it owes stays owed", rounded(grace));
            late.push(running);
        }
    }
    end_now(late.into_iter()).await;
}

/// Ends tasks in the middle of what they do. A task that is ended takes back the files that nobody agreed to yet.
async fn end_now(tasks: impl Iterator<Item = &mut Running>) {
    let tasks: Vec<_> = tasks.filter(|running| !running.task.is_finished()).collect();
    for running in &tasks {
        running.task.abort();
    }
    let deadline = tokio::time::Instant::now() + LAST_STEPS;
    for running in tasks {
        let _ = tokio::time::timeout_at(deadline, &mut running.task).await;
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// A number of things, for people.
pub(crate) fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
