//! What whoever starts the supervision of a program has in hands.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt as _;
use nix::sys::signal::Signal as Name;
use rustix::process::Signal;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::error;

use super::handle::{Handle, Order};
use super::leftover::Note;
use super::state::State;
use super::stop::Stop;
use super::supervisor::{Ends, Supervisor};
use crate::config::Process;
use crate::exit::Exit;
use crate::heartbeat::Heart;
use crate::process::BootTime;

/// A program with the task that owns it.
#[derive(Debug)]
pub struct Supervised {
    process: Arc<Process>,
    /// Those whose files it reads.
    targets: BTreeSet<Arc<str>>,
    orders: mpsc::UnboundedSender<Order>,
    state: watch::Receiver<State>,
    stop: watch::Sender<Stop>,
    /// Gives how its last run ended; none where it never ran.
    task: JoinHandle<Option<u8>>,
}

/// Starts the task for a program that reads the files of these targets. `over` is told the exit code of a program that
/// ended for good and takes us with it.
pub fn start(
    process: Arc<Process>,
    targets: BTreeSet<Arc<str>>,
    state_dir: &Path,
    over: mpsc::UnboundedSender<u8>,
    heart: &Heart,
) -> Supervised {
    let (orders, inbox) = mpsc::unbounded_channel();
    let (stop, stopped) = watch::channel(Stop::No);
    let (shown, state) = watch::channel(State::new(targets.clone()));
    let note = Note::new(state_dir, &process.name);
    let (left, ends) = (note.clone(), over.clone());
    let supervisor = Supervisor::new(
        process.clone(),
        targets.clone(),
        Ends { orders: inbox, stop: stopped, state: shown, over },
        note,
    );
    let pulse = heart.pulse(format!("process `{}`", process.shown()));
    let begun = process.clone();
    let task = tokio::spawn(async move {
        // What it waits for has limits; what it computes between ends, or it is stuck.
        let working = pulse.attend(supervisor.work());
        if let Ok(code) = AssertUnwindSafe(working).catch_unwind().await {
            return code;
        }
        // Its program was killed with it, and what its targets told it is lost. Whoever started us starts us anew with
        // everything in order.
        error!(
            process = begun.shown(),
            "internal error: its supervisor panicked, so liveconf ends all that it runs, and itself; please report this"
        );
        if let Some(group) = left.read() {
            let _ = pulse.attend(group.end(BootTime::now(), Signal::TERM, begun.kill_timeout)).await;
            left.remove();
        }
        let _ = ends.send(Exit::Failed.code());
        None
    });
    Supervised { process, targets, orders, state, stop, task }
}

impl Supervised {
    /// How it is started and treated.
    pub fn process(&self) -> &Arc<Process> {
        &self.process
    }

    /// Reaches it for one of its targets.
    pub fn handle(&self, target: &Arc<str>) -> Handle {
        let (settle, pause) = (self.process.settle, self.process.restart_delay.0);
        Handle { target: target.clone(), orders: self.orders.clone(), state: self.state.clone(), settle, pause }
    }

    /// How it stands, now and later.
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Starts and treats it otherwise from now on. What runs goes on.
    pub fn redefine(&mut self, process: Arc<Process>, targets: BTreeSet<Arc<str>>) {
        if *self.process != *process || self.targets != targets {
            let _ = self.orders.send(Order::Redefine(process.clone(), targets.clone()));
            (self.process, self.targets) = (process, targets);
        }
    }

    /// Where it takes orders.
    #[cfg(test)]
    pub(super) fn orders(&self) -> &mpsc::UnboundedSender<Order> {
        &self.orders
    }

    /// Whether its task has ended.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Hands it a signal that somebody sent to us.
    pub fn forward(&self, signal: Name) {
        let _ = self.orders.send(Order::Forward(signal));
    }

    /// Has it stopped.
    pub fn stop(&self, how: Stop) {
        self.stop.send_replace(how);
    }

    /// Waits until it is stopped: the code that its last run ended with, if it ever ran. Safe to cancel.
    pub async fn stopped(&mut self) -> Option<u8> {
        (&mut self.task).await.unwrap_or_default()
    }
}
