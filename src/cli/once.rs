//! `once`: render and apply once, with a deadline and an exit code.

use futures_util::future::join_all;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::args::{Common, Once};
use super::ready::{Patience, quoted};
use super::{load, say};
use crate::apply::reload::Outcome;
use crate::backoff::Backoff;
use crate::config::Reload;
use crate::exit::Exit;
use crate::registries::Registries;
use crate::store::{Reader, Store};
use crate::target::{Applier, Attempt, Failure, Options, RETRY_JITTER, Way};

pub(super) async fn run(common: &Common, options: &Once) -> Exit {
    let variables = load::variables();
    let mut plan = match load::plan_from(common, &variables, options.ready.fixture.as_deref()) {
        Ok(plan) => plan,
        Err(exit) => return exit,
    };
    if let Err(exit) = load::only(&mut plan, &options.ready.targets) {
        return exit;
    }
    let (records, _claims, _lock) = match load::records(&plan) {
        Ok(all) => all,
        Err(exit) => return exit,
    };
    let store = Store::new();
    let _registries = Registries::start_briefly(&plan.config.registries, &store).await;
    let patience = Patience::of(&options.ready);
    let stop = CancellationToken::new();
    let choices = Options { no_check: options.no_check, no_reload: options.no_reload };
    let appliers = (0..plan.targets.len()).map(|index| plan.applier(index, &records, choices));
    let mut all = std::pin::pin!(join_all(appliers.map(|applier| {
        let (reader, no_reload) = (store.reader(), options.no_reload);
        let job = Job { applier, reader, patience: &patience, stop: &stop, no_reload };
        job.run(options.ready.wait_for_keys)
    })));
    let exits = tokio::select! {
        exits = &mut all => exits,
        () = patience.draw() => Vec::new(),
        () = stop_signal() => {
            say::error(format_args!("interrupted"));
            // What is under way ends whole, unless a second signal says otherwise.
            stop.cancel();
            tokio::select! {
                exits = &mut all => exits,
                () = tokio::time::sleep(plan.config.grace) => Vec::new(),
                () = stop_signal() => Vec::new(),
            };
            vec![Exit::Failed]
        }
    };
    if exits.contains(&Exit::NotReady) {
        patience.report();
    }
    exits.into_iter().fold(Exit::Done, Exit::and)
}

/// One target of the job.
struct Job<'a> {
    applier: Applier,
    reader: Reader,
    patience: &'a Patience,
    stop: &'a CancellationToken,
    no_reload: bool,
}

impl Job<'_> {
    async fn run(mut self, wait_for_keys: bool) -> Exit {
        let name = self.applier.target().name.clone();
        let label = quoted(&name);
        loop {
            let go_on = match self.applier.attempt(&self.reader, self.stop).await {
                Attempt::Waiting(waiting) => tokio::select! {
                    arrived = self.patience.arrival(&label, &self.reader, &waiting) => arrived,
                    () = self.stop.cancelled() => return Exit::Failed,
                },
                Attempt::Failed(Failure::Render(failure)) if wait_for_keys && failure.is_absent_key() => {
                    let reason = failure.to_string();
                    tokio::select! {
                        changed = self.patience.change(&label, &self.reader, &reason) => changed,
                        () = self.stop.cancelled() => return Exit::Failed,
                    }
                }
                Attempt::Failed(failure) => {
                    say::error_of(&name, format_args!("{failure}"));
                    // What an earlier life left to do, or this failure.
                    if self.applier.owes() && !self.no_reload {
                        let reload = Some(self.applier.pay().await);
                        self.finish(&name, reload).await;
                    }
                    return Exit::Failed;
                }
                // Without a guard nothing is held back.
                Attempt::Stopped | Attempt::Held => return Exit::Failed,
                Attempt::Applied(applied) => {
                    if applied.changed.is_empty() {
                        info!(target = &*name, "every file is true already");
                    }
                    return self.finish(&name, applied.reload).await;
                }
            };
            if !go_on {
                return Exit::NotReady;
            }
        }
    }

    /// Tries a reload that failed again until the deadline.
    async fn finish(&mut self, name: &str, mut reload: Option<Outcome>) -> Exit {
        let (first, longest) = self.applier.target().retry;
        let mut backoff = Backoff::new(first, longest, RETRY_JITTER);
        let mut is_refused = false;
        loop {
            let reason = match reload {
                None => return Exit::Done,
                Some(Outcome::Taken) => {
                    match self.applier.journal().way {
                        Some(Way::Runtime(servers)) => info!(target = name, servers, "changed without a reload"),
                        _ if self.applier.target().reload == Reload::None => {}
                        _ => info!(target = name, "reloaded"),
                    }
                    return if is_refused { Exit::Failed } else { Exit::Done };
                }
                Some(Outcome::NotRunning(reason)) => {
                    info!(target = name, "not running, it reads the files when it starts: {reason}");
                    return if is_refused { Exit::Failed } else { Exit::Done };
                }
                Some(Outcome::Rejected(reason)) => {
                    say::error_of(name, format_args!("{reason}"));
                    if !self.applier.owes() || self.no_reload {
                        return Exit::Failed;
                    }
                    is_refused = true;
                    reason
                }
                Some(Outcome::Failed(reason)) => reason,
            };
            let again = tokio::time::Instant::now() + backoff.next_pause();
            if again >= self.patience.deadline() {
                say::error_of(name, format_args!("reload failed, it stays owed: {reason}"));
                return Exit::Failed;
            }
            warn!(target = name, "reload failed and is tried again: {reason}");
            tokio::select! {
                () = tokio::time::sleep_until(again) => {}
                () = self.stop.cancelled() => return Exit::Failed,
            }
            reload = Some(self.applier.pay().await);
        }
    }
}

/// Waits for a signal that asks to stop.
async fn stop_signal() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
