//! What whoever starts the supervision of a program has in hands.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use nix::sys::signal::Signal;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::error;

use super::handle::{Handle, Order};
use super::leftover::Note;
use super::state::State;
use super::stop::Stop;
use super::supervisor::{Ends, Supervisor};
use crate::config::Process;

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
) -> Supervised {
    let (orders, inbox) = mpsc::unbounded_channel();
    let (stop, stopped) = watch::channel(Stop::No);
    let (shown, state) = watch::channel(State::new(targets.clone()));
    let note = Note::new(state_dir, &process.name);
    let supervisor = Supervisor::new(
        process.clone(),
        targets.clone(),
        Ends { orders: inbox, stop: stopped, state: shown, over },
        note,
    );
    Supervised { process, targets, orders, state, stop, task: tokio::spawn(supervisor.work()) }
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

    /// Whether its task has ended.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Hands it a signal that somebody sent to us.
    pub fn forward(&self, signal: Signal) {
        let _ = self.orders.send(Order::Forward(signal));
    }

    /// Has it stopped.
    pub fn stop(&self, how: Stop) {
        self.stop.send_replace(how);
    }

    /// Waits until it is stopped: the code that its last run ended with, if it ever ran. Safe to cancel.
    pub async fn stopped(&mut self) -> Option<u8> {
        match (&mut self.task).await {
            Ok(code) => code,
            Err(_panicked) => {
                error!(process = self.process.shown(), "internal error: its supervisor panicked; please report this");
                None
            }
        }
    }
}
