//! The task that owns one supervised program.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, sleep_until};
use tracing::{debug, error, info, warn};

use super::handle::{Order, Ran};
use super::leftover::Note;
use super::run::Running;
use super::state::{Ended, Phase, Run, State};
use super::stop::{Stop, stopping};
use super::stray::Strays;
use crate::backoff::Backoff;
use crate::config::{Process, Restart};
use crate::log::{Line, Repeats, rounded};
use crate::process::{BootTime, End};

/// A program that ends by the signal of its reload this soon after it ended of that.
const OF_ITS_RELOAD: Duration = Duration::from_secs(5);

/// How often it is looked for what goes on in the background, and whether what hangs is gone.
const LOOK: Duration = if cfg!(test) { Duration::from_millis(20) } else { Duration::from_secs(1) };

/// How much a pause before a new start is shortened at random.
const JITTER: f64 = 0.2;

/// Owns one program.
pub(super) struct Supervisor {
    pub(super) process: Arc<Process>,
    /// The targets whose files are not in place yet. Once it was started nobody waits for any.
    pub(super) waiting: BTreeSet<Arc<str>>,
    /// All whose files it reads.
    targets: BTreeSet<Arc<str>>,
    pub(super) orders: mpsc::UnboundedReceiver<Order>,
    pub(super) stop: watch::Receiver<Stop>,
    pub(super) state: watch::Sender<State>,
    /// When it is started; none where it is not by itself.
    due: Option<Instant>,
    backoff: Backoff,
    /// How many runs have ended one after the other without being up for long.
    in_a_row: u64,
    /// Those who are told once it is started.
    pub(super) told: Vec<oneshot::Sender<Ran>>,
    pub(super) note: Note,
    /// The signal that the last run was sent last as its reload, and when.
    pub(super) reloaded: Option<(Signal, BootTime)>,
    /// What left it.
    pub(super) strays: Strays,
    /// When it is looked for that.
    pub(super) look: Interval,
    repeats: Repeats,
    over: mpsc::UnboundedSender<u8>,
}

/// Its ends of what it shares with others.
pub(super) struct Ends {
    /// What it is told.
    pub(super) orders: mpsc::UnboundedReceiver<Order>,
    /// Whether it is to stop.
    pub(super) stop: watch::Receiver<Stop>,
    /// How its program stands.
    pub(super) state: watch::Sender<State>,
    /// Where it tells the exit code of a program that ended for good and takes us with it.
    pub(super) over: mpsc::UnboundedSender<u8>,
}

/// Why a run is over.
pub(super) enum Over {
    /// It ended by itself, after a run that began then and took so long; one that could not be started has none.
    Itself(End, Option<(BootTime, Duration)>),
    /// It is started anew, as it was asked for.
    Restart,
    /// We stop.
    Stopped(End),
}

impl Supervisor {
    /// The owner of a program that was not started yet, and that is started when the files of these targets are in place.
    pub(super) fn new(process: Arc<Process>, targets: BTreeSet<Arc<str>>, ends: Ends, note: Note) -> Self {
        let Ends { orders, stop, state, over } = ends;
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            backoff: Backoff::new(process.restart_delay.0, process.restart_delay.1, JITTER),
            process,
            targets: targets.clone(),
            waiting: targets,
            orders,
            stop,
            state,
            due: Some(Instant::now()),
            in_a_row: 0,
            told: Vec::new(),
            note,
            reloaded: None,
            strays: Strays::default(),
            look,
            repeats: Repeats::default(),
            over,
        }
    }

    /// Works until it is stopped; how the last run ended, if there was one.
    pub(super) async fn work(mut self) -> Option<u8> {
        let mut code = None;
        let mut is_first = true;
        while self.idle().await {
            if std::mem::take(&mut is_first) {
                self.end_leftovers().await;
                if *self.stop.borrow() != Stop::No {
                    break;
                }
                // While that hung, targets may have come whose files are not in place.
                if !self.waiting.is_empty() {
                    continue;
                }
            }
            let over = match Running::start(&self.process) {
                Ok(running) => self.attend(running).await,
                Err(error) => Over::Itself(End::NotStarted(error), None),
            };
            match over {
                Over::Itself(end, run) => {
                    code = Some(end.code());
                    self.ended(&end, run);
                }
                Over::Restart => self.due = Some(Instant::now()),
                Over::Stopped(end) => {
                    code = Some(end.code());
                    break;
                }
            }
        }
        if self.strays.end(&self.process, self.process.kill_timeout, &self.stop).await {
            info!(process = self.shown(), "ended what it had left in the background");
        }
        self.enter(Phase::Stopped, None);
        code
    }

    /// Waits until it is to be started. False when we stop.
    async fn idle(&mut self) -> bool {
        loop {
            let due = self.due.filter(|_| self.waiting.is_empty());
            let start = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = stopping(&mut self.stop) => return false,
                () = start => return true,
                _ = self.look.tick() => self.look_for_strays(),
                order = self.orders.recv() => match order {
                    Some(order) => self.heed(order),
                    None => return false,
                },
            }
        }
    }

    /// Looks for what it left in the background, and tells the log once.
    pub(super) fn look_for_strays(&mut self) {
        let strays = self.strays.look(&self.process);
        if let [first, more @ ..] = &*strays {
            let (pid, name, more) = (first.pid, &*first.name, more.len());
            warn!(
                process = self.shown(),
                pid,
                name,
                more,
                "it left a process in the background, which is not told of new files: it has to stay in the foreground, \
                 as nginx does with `daemon off;` and HAProxy without `-D`"
            );
        }
    }

    /// Takes an order while it does not run.
    pub(super) fn heed(&mut self, order: Order) {
        let hangs = self.state.borrow().phase == Phase::Hanging;
        match order {
            Order::Run { done, .. } | Order::Restart(done) | Order::Revive(done) if hangs => {
                let _ = done.send(Ran::Not(self.absence()));
            }
            Order::InPlace(target) => {
                if self.waiting.remove(&target) && self.state.borrow().last_begun.is_none() {
                    self.enter(Phase::Waiting(self.waiting.clone()), None);
                }
            }
            Order::Run { committed, revive, done } => {
                let is_newer = self.state.borrow().last_begun.is_none_or(|begun| begun <= committed);
                let is_over = matches!(self.state.borrow().phase, Phase::Over(_));
                if !self.waiting.is_empty() {
                    let waiting: Vec<_> = self.waiting.iter().map(|target| format!("`{target}`")).collect();
                    let _ = done.send(Ran::Not(format!("it waits for the files of target {}", waiting.join(", "))));
                } else if self.due.is_some_and(|due| due <= Instant::now()) {
                    self.told.push(done);
                } else if is_newer && (!is_over || revive || self.gave_up()) {
                    // New files may be what it lacks.
                    self.fresh();
                    self.told.push(done);
                } else {
                    let _ = done.send(Ran::Not(self.absence()));
                }
            }
            Order::Restart(done) => {
                self.fresh();
                self.told.push(done);
            }
            Order::Reload(_, done) => _ = done.send(Ran::Not(self.absence())),
            Order::Forward(signal) => {
                debug!(process = self.shown(), %signal, "it does not run: a signal came to nobody");
            }
            Order::Revive(done) => {
                let is_over = matches!(self.state.borrow().phase, Phase::Over(_));
                if is_over && self.state.borrow().last_end.as_ref().is_some_and(|end| end.failed) {
                    self.fresh();
                    self.told.push(done);
                } else {
                    let _ = done.send(Ran::Older);
                }
            }
            Order::Redefine(process, targets) => self.redefine(process, targets),
            #[cfg(test)]
            Order::Panic | Order::Block(_) => {}
        }
    }

    /// It is started at once, and has all its tries before it.
    fn fresh(&mut self) {
        self.due = Some(Instant::now());
        self.backoff.reset();
        self.in_a_row = 0;
    }

    fn gave_up(&self) -> bool {
        self.process.restart_limit.is_some_and(|limit| self.in_a_row > limit)
    }

    /// Why it does not run.
    pub(super) fn absence(&self) -> String {
        let state = self.state.borrow();
        let how = state.last_end.as_ref().map_or("it was not started yet", |end| &end.reason);
        match &state.phase {
            Phase::Pausing(at) => {
                let pause = at.saturating_duration_since(std::time::Instant::now());
                format!("its process {how}, and is started anew in {}", rounded(pause))
            }
            Phase::Over(reason) => reason.clone(),
            Phase::Hanging => {
                let pid = state.run.map(|run| format!(" {}", run.pid)).unwrap_or_default();
                format!("its process{pid} was killed and does not end: it hangs in the kernel")
            }
            _ => format!("its process does not run: {how}"),
        }
    }

    /// Ends what a liveconf that was killed left running, before it is in the way.
    async fn end_leftovers(&mut self) {
        let Some(group) = self.note.find().await else { return };
        let now = BootTime::now();
        if group.has_leader() {
            let pid = group.leader;
            warn!(process = self.shown(), pid, "a process of an earlier run of liveconf is still there, and is ended");
        }
        let signal = rustix::process::Signal::from_named_raw(self.process.stop_signal as i32);
        let signal = signal.unwrap_or(rustix::process::Signal::TERM);
        tokio::select! {
            _ = group.end(now, signal, self.process.kill_timeout) => {}
            () = stopping(&mut self.stop) => return,
        }
        if !group.members(now).is_empty() {
            let pid = group.leader;
            error!(
                process = self.shown(),
                pid,
                "a process of an earlier run was killed and does not end, since it hangs in the kernel: nothing is started \
                 beside it; see what disk or device it waits for"
            );
            self.enter(Phase::Hanging, None);
            while !group.members(now).is_empty() {
                tokio::select! {
                    () = sleep(LOOK) => {}
                    () = stopping(&mut self.stop) => return,
                    order = self.orders.recv() => match order {
                        Some(order) => self.heed(order),
                        None => return,
                    },
                }
            }
            self.enter(Phase::Waiting(self.waiting.clone()), None);
        }
        self.note.take_away().await;
    }

    /// It ended by itself: whether and when it is started anew.
    fn ended(&mut self, end: &End, run: Option<(BootTime, Duration)>) {
        let (begun, lasted) = run.unwrap_or_else(|| (BootTime::now(), Duration::ZERO));
        let failed = !end.is_success();
        let mut reason = end.to_string();
        if lasted < self.process.restart_delay.1 {
            self.in_a_row += 1;
        } else {
            self.in_a_row = 1;
            self.backoff.reset();
            let _ = self.repeats.recovered(std::time::Instant::now());
        }
        reason.push_str(&self.advice(end, lasted));
        let is_wanted = match self.process.restart {
            Restart::Always => true,
            Restart::OnFailure => failed,
            Restart::Never => false,
        };
        let phase = if !is_wanted {
            Phase::Over(format!("its process {reason}, and is not started anew"))
        } else if self.gave_up() {
            let tries = self.in_a_row;
            Phase::Over(format!(
                "its process {reason}, {tries} times in a row, and is not started anew before new files come; see what \
                 it wrote, mend that, and `liveconf apply` starts it anew"
            ))
        } else {
            Phase::Pausing(std::time::Instant::now() + self.backoff.next_pause())
        };
        // To end again and again is not well, whatever it exits with.
        let failed = failed || (is_wanted && self.gave_up());
        self.due = if let Phase::Pausing(at) = phase { Some(at.into()) } else { None };
        self.state.send_modify(|state| {
            state.ends += 1;
            state.last_begun = Some(begun);
            state.last_end = Some(Ended { at: SystemTime::now(), reason: reason.clone(), failed });
        });
        self.tell_of_end(&phase, &reason, failed);
        let is_over = matches!(phase, Phase::Over(_));
        let ran = Ran::Failed(format!("its process {reason}"));
        self.enter(phase, None);
        for told in self.told.drain(..) {
            let _ = told.send(ran.clone());
        }
        if is_over && self.process.exit {
            let _ = self.over.send(end.code());
        }
    }

    /// What is to be said of an end beside how it was.
    fn advice(&self, end: &End, lasted: Duration) -> String {
        let program = self.process.program();
        match (end, self.reloaded) {
            (End::Signalled(number), Some((signal, at)))
                if *number == signal as i32 && BootTime::now().since(at) < OF_ITS_RELOAD =>
            {
                let name = signal.as_str().trim_start_matches("SIG");
                format!(
                    ", which it was sent as its reload and does not handle: write `reload: restart`, or the signal by \
                     which it reads its files anew in the place of `{name}`"
                )
            }
            // What stands in for it has said so, and may have run in another folder.
            (End::Exited(127), _) if !self.process.is_script() => format!(
                "; where there is no `{program}`: install it, give its absolute path, or see that `PATH` of liveconf \
                 holds its folder"
            ),
            (end, _) if end.is_success() && lasted < self.process.settle && self.process.restart == Restart::Always => {
                ", right after its start: it has to stay in the foreground, as nginx does with `daemon off;` and HAProxy \
                 without `-D`"
                    .to_owned()
            }
            (end, _) => end.hint().map(|hint| format!("; {hint}")).unwrap_or_default(),
        }
    }

    /// Tells the log of an end.
    fn tell_of_end(&mut self, phase: &Phase, reason: &str, failed: bool) {
        let process = self.process.shown();
        match phase {
            Phase::Over(_) if !failed => info!(process, "it ended: {reason}"),
            Phase::Over(why) => error!(process, "{why}"),
            _ if self.repeats.failed(std::time::Instant::now(), reason) == Line::Silent => {}
            _ => warn!(process, "it ended and is started anew: {reason}"),
        }
    }

    /// Starts and treats the program otherwise from now on.
    pub(super) fn redefine(&mut self, process: Arc<Process>, targets: BTreeSet<Arc<str>>) {
        if self.state.borrow().last_begun.is_none() && self.state.borrow().run.is_none() {
            self.waiting.retain(|target| targets.contains(target));
            self.waiting.extend(targets.difference(&self.targets).cloned());
            self.enter(Phase::Waiting(self.waiting.clone()), None);
        }
        self.targets = targets;
        if self.state.borrow().run.is_some() && !process.starts_like(&self.process) {
            warn!(process = self.shown(), "its `process` changed: that takes effect when it is started the next time");
        }
        if process.restart_delay != self.process.restart_delay {
            self.backoff = Backoff::new(process.restart_delay.0, process.restart_delay.1, JITTER);
        }
        self.process = process;
    }

    /// The program does this from now on.
    pub(super) fn enter(&self, phase: Phase, run: Option<Run>) {
        self.state.send_modify(|state| {
            if std::mem::discriminant(&phase) != std::mem::discriminant(&state.phase) || run != state.run {
                state.since = SystemTime::now();
            }
            state.last_begun = run.map(|run| run.begun).or(state.last_begun);
            (state.phase, state.run) = (phase, run);
        });
    }

    /// What the program is called in the log.
    pub(super) fn shown(&self) -> &str {
        self.process.shown()
    }
}
