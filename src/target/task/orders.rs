//! What the operator says, and doing it.

use std::time::Instant;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{SAY_PAUSED, Task};
use crate::target::desk::{Done, Order, OrderTask};

impl Task {
    /// Does what the operator says.
    pub(super) async fn heed(&mut self, stop: &CancellationToken) {
        let paused = self.desk.paused().is_some();
        if paused != std::mem::replace(&mut self.paused, paused) {
            if paused {
                warn!(target = self.name(), "paused: what changes is not applied until `liveconf resume`");
                self.say_paused = Some(Instant::now() + SAY_PAUSED);
            } else {
                info!(target = self.name(), "resumed");
                self.say_paused = None;
                match self.waiting {
                    Some(_) => self.answered(stop).await,
                    None => self.apply.at = Some(Instant::now()),
                }
            }
        }
        while !stop.is_cancelled()
            && let Some(order) = self.desk.next_order()
        {
            self.obey(order, stop).await;
        }
    }

    /// Carries out an order. One that a stop came between is left to the next task.
    pub(super) async fn obey(&mut self, Order { task, done }: Order, stop: &CancellationToken) {
        let outcome = match &task {
            OrderTask::Apply if self.paused => Done::Paused,
            OrderTask::Apply => {
                if let Err(failure) = self.applier.forgive().await {
                    self.note_failure(&failure);
                }
                self.gate.close();
                self.apply(stop).await;
                if stop.is_cancelled() {
                    return self.desk.leave(Order { task, done });
                }
                Done::Tried
            }
            OrderTask::Release(name) => {
                let now = Instant::now();
                let released = self.applier.guard().map(|guard| guard.release_called(name.as_deref(), now));
                match released.unwrap_or(Err(Vec::new())) {
                    Ok(released) => {
                        if !self.paused {
                            self.apply(stop).await;
                        }
                        Done::Released(released)
                    }
                    Err(held) => Done::NotHeld(held),
                }
            }
        };
        // Who asked may have gone.
        let _ = done.send(outcome);
    }
}
