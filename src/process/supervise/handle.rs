//! How a target reaches the program that reads its files.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};

use super::state::{Phase, Run, State};
use crate::config::Process;
use crate::process::BootTime;

/// For how long a program that ended once after it was told is waited for beside its own pauses.
const AGAIN: Duration = Duration::from_secs(5);

/// Reaches the supervisor of a program, for one of its targets.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(super) target: Arc<str>,
    pub(super) orders: mpsc::UnboundedSender<Order>,
    pub(super) state: watch::Receiver<State>,
    /// How long it runs before it counts as up.
    pub(super) settle: Duration,
    /// The first pause before it is started anew.
    pub(super) pause: Duration,
}

/// What a supervisor is told.
#[derive(Debug)]
pub(super) enum Order {
    /// The files of this target are in place.
    InPlace(Arc<str>),
    /// It is to run with files that were in place at this moment.
    Run {
        committed: BootTime,
        /// Whether it is started also where it ended for good.
        revive: bool,
        done: oneshot::Sender<Ran>,
    },
    /// It is to take this signal as a reload.
    Reload(Signal, oneshot::Sender<Ran>),
    /// It is to be stopped and started anew.
    Restart(oneshot::Sender<Ran>),
    /// It is to be started where it failed for good.
    Revive(oneshot::Sender<Ran>),
    /// It is to take this signal, which somebody sent to us.
    Forward(Signal),
    /// This is how it is started and treated from now on, and these are the targets whose files it reads.
    Redefine(Arc<Process>, BTreeSet<Arc<str>>),
    /// A defect, for a test.
    #[cfg(test)]
    Panic,
    /// A thread that stands still for so long, for a test.
    #[cfg(test)]
    Block(Duration),
}

/// What came of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ran {
    /// It was started after the files were in place, so it has read them; or it was told of them.
    Taken,
    /// It runs, and was started before the files were in place.
    Older,
    /// It does not run, for this reason.
    Not(String),
    /// It could not be told, for this reason.
    Failed(String),
}

/// How a program stood before it was told of new files.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    ends: u64,
    /// It had been up with the files from before.
    was_up: bool,
}

/// What became of a program that was told of new files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Survival {
    /// It ended well, as it may.
    Ended,
    /// We are stopping it.
    Stopping,
    /// It ended again and again, for this reason.
    Failed {
        /// How it ended last.
        reason: String,
        /// It ran with the files from before, so the new ones are to blame.
        blames_files: bool,
    },
}

impl Handle {
    /// The files of the target are in place: as far as they are concerned it may be started.
    pub fn in_place(&self) {
        let _ = self.orders.send(Order::InPlace(self.target.clone()));
    }

    /// Starts it where it does not run. `committed` is the moment at which the files were in place.
    pub async fn run(&self, committed: BootTime, revive: bool) -> Ran {
        self.order(|done| Order::Run { committed, revive, done }).await
    }

    /// Has it take a signal, once it is ready for that.
    pub async fn reload(&self, signal: Signal) -> Ran {
        self.order(|done| Order::Reload(signal, done)).await
    }

    /// Stops it and starts it anew.
    pub async fn restart(&self) -> Ran {
        self.order(Order::Restart).await
    }

    /// Starts it where it failed for good, as the operator says, and waits until it is up, or has ended once more.
    pub async fn revive(&self) {
        let ends = self.state.borrow().ends;
        if self.order(Order::Revive).await == Ran::Taken {
            let mut state = self.state.clone();
            tokio::select! {
                () = self.is_up(BootTime::now()) => {}
                _ = state.wait_for(|state| state.ends > ends || state.phase == Phase::Stopped) => {}
            }
        }
    }

    /// How long that takes at most, about.
    pub fn revival(&self) -> Duration {
        self.settle + AGAIN
    }

    async fn order(&self, order: impl FnOnce(oneshot::Sender<Ran>) -> Order) -> Ran {
        let (done, came) = oneshot::channel();
        let sent = self.orders.send(order(done)).is_ok();
        match came.await {
            Ok(ran) if sent => ran,
            _ => Ran::Not("liveconf stops".to_owned()),
        }
    }

    /// How it stands, now and later.
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// The run that is under way.
    pub fn current(&self) -> Option<Run> {
        self.state.borrow().run
    }

    /// How it stands before it is told of files that were in place at `committed`.
    pub fn mark(&self, committed: Option<BootTime>) -> Mark {
        let state = self.state.borrow();
        let now = BootTime::now();
        let was_up = |run: Run| committed.is_some_and(|at| run.begun <= at) && now.since(run.begun) >= self.settle;
        Mark { ends: state.ends, was_up: state.run.is_some_and(was_up) }
    }

    /// Waits until a run of it is up, and has been so since it was told something at `told`.
    pub async fn is_up(&self, told: BootTime) {
        let mut state = self.state.clone();
        loop {
            let run = state.borrow_and_update().run;
            let up = async {
                match run {
                    Some(run) => sleep(self.settle.saturating_sub(BootTime::now().since(run.begun.max(told)))).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = up => return,
                changed = state.changed() => if changed.is_err() { return std::future::pending().await },
            }
        }
    }

    /// Waits until it has surely not outlived what it was told since `mark`: it ended twice, or for good. Once may be an
    /// accident, and it is started anew with the same files.
    pub async fn fails(&self, mark: Mark) -> Survival {
        let mut state = self.state.clone();
        loop {
            {
                let state = state.borrow_and_update();
                let ends = state.ends.saturating_sub(mark.ends);
                let is_over = matches!(state.phase, Phase::Over(_));
                match &state.last_end {
                    _ if state.phase == Phase::Stopped => return Survival::Stopping,
                    Some(end) if is_over && ends > 0 && !end.failed => return Survival::Ended,
                    Some(end) if ends > 1 || (is_over && ends > 0) => {
                        let blames_files = mark.was_up && end.failed;
                        return Survival::Failed { reason: end.reason.clone(), blames_files };
                    }
                    _ => {}
                }
            }
            if state.changed().await.is_err() {
                return Survival::Stopping;
            }
        }
    }

    /// The same where it seems to be gone: nothing once it is up again, or takes its time.
    pub async fn fails_while_gone(&self, mark: Mark) -> Option<Survival> {
        if !mark.was_up {
            return None;
        }
        tokio::select! {
            () = self.is_up(BootTime::now()) => None,
            failed = timeout(self.pause + self.settle + AGAIN, self.fails(mark)) => failed.ok(),
        }
    }
}

impl Mark {
    /// Whether it had been up with the files from before.
    pub fn was_up(self) -> bool {
        self.was_up
    }
}
