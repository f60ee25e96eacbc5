//! A run while it lasts: told, and ended.

use std::io;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::{sleep, timeout};
use tracing::{debug, error, info, warn};

use super::group::Group;
use super::handle::{Order, Ran};
use super::run::Running;
use super::state::{Phase, Run};
use super::stop::{Stop, at_once, stopping};
use super::supervisor::{Over, Supervisor};
use crate::log::rounded;
use crate::process::{BootTime, End, tree};

/// How long a program that was killed may take to end. Past that it hangs in the kernel, as what waits for a disk does.
const KILLED: Duration = if cfg!(test) { Duration::from_millis(300) } else { Duration::from_secs(10) };

/// How long a program that was just started may take until it handles the signal that it is to reload on.
const READY: Duration = Duration::from_secs(5);

/// How often it is looked whether it does.
const LOOK: Duration = Duration::from_millis(10);

impl Supervisor {
    /// Looks after a run until it is over, and ends what is left of it.
    pub(super) async fn attend(&mut self, mut running: Running) -> Over {
        let Running { pid, begun, group, .. } = running;
        if let Some(group) = group
            && let Err(error) = self.note.put(group).await
        {
            debug!(process = self.shown(), %error, "what is left of it could not be found after a crash of ours");
        }
        self.reloaded = None;
        self.strays.begin(begun, group.map(|group| group.leader));
        info!(process = self.shown(), pid, "started");
        self.enter(Phase::Running, Some(Run { pid, begun }));
        for told in self.told.drain(..) {
            let _ = told.send(Ran::Taken);
        }
        let over = loop {
            tokio::select! {
                biased;
                end = running.ended() => {
                    let lasted = BootTime::now().since(begun);
                    // Nobody is to take it for one that is up while what it left is being ended.
                    self.enter(Phase::Stopping, None);
                    break Over::Itself(end, Some((begun, lasted)));
                }
                () = stopping(&mut self.stop) => break Over::Stopped(self.end(&mut running).await),
                _ = self.look.tick() => self.look_for_strays(),
                order = self.orders.recv() => match order {
                    Some(order) => {
                        if let Some(over) = self.obey(order, &mut running).await {
                            break over;
                        }
                    }
                    None => break Over::Stopped(self.end(&mut running).await),
                },
            }
        };
        if let Over::Stopped(End::Lost(_)) = over {
            // Whoever starts next has to know of it, and all of its group were killed.
            return over;
        }
        if let Some(group) = group {
            self.end_rest(group).await;
        }
        self.note.take_away().await;
        over
    }

    /// Takes an order while it runs.
    async fn obey(&mut self, order: Order, running: &mut Running) -> Option<Over> {
        match order {
            Order::InPlace(target) => _ = self.waiting.remove(&target),
            Order::Run { committed, done, .. } => {
                _ = done.send(if running.begun > committed { Ran::Taken } else { Ran::Older });
            }
            Order::Restart(done) => {
                self.told.push(done);
                info!(process = self.shown(), "it is started anew to take the new files");
                let end = self.end(running).await;
                let stops = *self.stop.borrow() != Stop::No;
                return Some(if stops { Over::Stopped(end) } else { Over::Restart });
            }
            Order::Reload(signal, done) => {
                let ran = self.reload(signal, running).await;
                let _ = done.send(ran);
            }
            Order::Forward(signal) => {
                info!(process = self.shown(), %signal, "a signal was handed on");
                if let Err(error) = running.send(signal) {
                    warn!(process = self.shown(), %signal, %error, "a signal could not be handed on");
                }
            }
            Order::Revive(done) => _ = done.send(Ran::Older),
            Order::Redefine(process, targets) => self.redefine(process, targets),
            #[cfg(test)]
            Order::Panic => panic!("a test asked for this"),
            #[cfg(test)]
            Order::Block(time) => std::thread::sleep(time),
        }
        None
    }

    /// Sends the signal that it reloads on, once it handles it: one that has just been started would end by it.
    async fn reload(&mut self, signal: Signal, running: &Running) -> Ran {
        let pid = running.pid;
        let ready = async {
            while let Ok(false) = tree::handles(pid, signal) {
                sleep(LOOK).await;
            }
        };
        let ready = tokio::select! {
            ready = timeout(READY.saturating_sub(BootTime::now().since(running.begun)), ready) => ready,
            () = stopping(&mut self.stop) => return Ran::Not("liveconf stops".to_owned()),
        };
        if ready.is_err() {
            debug!(process = self.shown(), %signal, "it has no handler for the signal that it is sent");
        }
        match running.send(signal) {
            Ok(()) => {
                self.reloaded = Some((signal, BootTime::now()));
                Ran::Taken
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ran::Not("its process has ended".to_owned()),
            Err(error) => Ran::Failed(format!("process {pid} cannot be sent {signal}: {error}")),
        }
    }

    /// Asks it to end, and kills its group when that takes too long or there is no more time.
    async fn end(&mut self, running: &mut Running) -> End {
        let run = self.state.borrow().run;
        self.enter(Phase::Stopping, run);
        let mut stop = self.stop.clone();
        let signal = match *self.stop.borrow() {
            Stop::Ask(Signal::SIGTERM) | Stop::No => Some(self.process.stop_signal),
            Stop::Ask(signal) => Some(signal),
            Stop::Now => None,
        };
        if let Some(signal) = signal {
            tokio::select! {
                end = self.ask(running, signal) => return end,
                () = sleep(self.process.kill_timeout) => {
                    let lasted = rounded(self.process.kill_timeout);
                    warn!(process = self.shown(), "it did not end within {lasted} after {signal}, and is killed");
                }
                () = at_once(&mut stop) => {}
            }
        }
        if let Some(leader) = rustix::process::Pid::from_raw(running.pid) {
            let _ = rustix::process::kill_process_group(leader, rustix::process::Signal::KILL);
        }
        match timeout(KILLED, running.ended()).await {
            Ok(end) => end,
            Err(_elapsed) => self.outwait(running).await,
        }
    }

    /// Waits for a process that was killed and does not end. Nothing is started beside it, which it would be in the way of,
    /// and a stop of ours does not wait for it.
    async fn outwait(&mut self, running: &mut Running) -> End {
        let pid = running.pid;
        error!(
            process = self.shown(),
            pid,
            "it was killed and does not end, since it hangs in the kernel: nothing is started beside it; see what disk or \
             device it waits for"
        );
        let run = self.state.borrow().run;
        self.enter(Phase::Hanging, run);
        let absence = self.absence();
        for told in self.told.drain(..) {
            let _ = told.send(Ran::Not(absence.clone()));
        }
        loop {
            tokio::select! {
                biased;
                end = running.ended() => {
                    info!(process = self.shown(), pid, "what hung in the kernel has ended");
                    return end;
                }
                () = stopping(&mut self.stop) => return End::Lost(io::Error::other("it hangs in the kernel")),
                order = self.orders.recv() => match order {
                    Some(order) => self.heed(order),
                    None => return End::Lost(io::Error::other("it hangs in the kernel")),
                },
            }
        }
    }

    /// Asks it to end with a signal, and waits until it does. One that executes itself anew forgets what it is sent until it
    /// takes signals again, and is asked again then: a master of HAProxy does so for some tenth of a second at each reload.
    async fn ask(&self, running: &mut Running, signal: Signal) -> End {
        let pid = running.pid;
        let mut has_forgotten = matches!(tree::handles(pid, signal), Ok(false));
        self.send_end(running, signal);
        loop {
            if let Ok(end) = timeout(LOOK, running.ended()).await {
                return end;
            }
            if has_forgotten && matches!(tree::takes(pid, signal), Ok(true)) {
                has_forgotten = false;
                debug!(process = self.shown(), %signal, "it handles signals again, and is asked once more to end");
                self.send_end(running, signal);
            }
            has_forgotten |= matches!(tree::handles(pid, signal), Ok(false));
        }
    }

    fn send_end(&self, running: &Running, signal: Signal) {
        if let Err(error) = running.send(signal) {
            warn!(process = self.shown(), %signal, %error, "it cannot be asked to end");
        }
    }

    /// Ends what a run left in its group: nginx's workers outlive a master that was killed, and hold its ports.
    async fn end_rest(&mut self, group: Group) {
        let mercy = match *self.stop.borrow() {
            Stop::Now => Duration::ZERO,
            _ => self.process.kill_timeout,
        };
        let rest = group.end(BootTime::now(), rustix::process::Signal::TERM, mercy);
        let found = tokio::select! {
            found = rest => found,
            () = at_once(&mut self.stop) => group.end(BootTime::now(), rustix::process::Signal::KILL, mercy).await,
        };
        if found {
            info!(process = self.shown(), "ended what it had left in its process group");
        }
    }
}
