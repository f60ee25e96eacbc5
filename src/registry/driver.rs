//! What is the same around every kind: try again, back off, log, and let an outage keep the last answers.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tracing::{info, warn};

use super::{Feed, Outage, Publication, Registry, Sink};
use crate::backoff::Backoff;
use crate::log::{Line, Repeats};
use crate::store::Store;

/// The pauses between tries to reach a registry, with full jitter.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Follows a registry for as long as the program runs. Nothing that the registry does ends it.
pub async fn drive(name: Arc<str>, registry: Arc<dyn Registry>, store: Arc<Store>) {
    let health = Arc::new(Health { registry: name.clone(), store: store.clone(), state: Mutex::default() });
    let mut feed = Feed::new(name.clone(), store.add_registry(&name), health.clone());
    let mut watch = registry.watch();
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE, 1.0);
    loop {
        // Nothing is connected to, and nothing can be away, before somebody asks.
        while feed.wanted().is_empty() {
            feed.changed().await;
        }
        let outage = match AssertUnwindSafe(watch.run(&mut feed)).catch_unwind().await {
            Ok(outage) => outage,
            Err(_) => {
                watch = registry.watch();
                Outage("internal error: the watch panicked; please report this".to_owned())
            }
        };
        if health.failed(&outage) {
            backoff.reset();
        }
        tokio::time::sleep(backoff.next_pause()).await;
    }
}

/// Whether the registry answers, and what was said about it in the log.
struct Health {
    registry: Arc<str>,
    store: Arc<Store>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// It has answered since the last outage.
    answered: bool,
    repeats: Repeats,
}

impl Health {
    /// Notes an outage; gives whether the registry had answered since the one before.
    fn failed(&self, outage: &Outage) -> bool {
        self.store.set_outage(&self.registry, Some(outage.to_string()));
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let registry = &*self.registry;
        match state.repeats.failed(Instant::now(), &outage.0) {
            Line::First => warn!(registry, "registry is away, the last answers stay: {outage}"),
            Line::Still(lasted) => {
                let lasted = humantime::format_duration(Duration::from_secs(lasted.as_secs()));
                warn!(registry, "registry is still away after {lasted}: {outage}");
            }
            Line::Silent => {}
        }
        std::mem::take(&mut state.answered)
    }
}

impl Sink for Health {
    fn publish(&self, _registry: &str, publication: Publication) {
        self.store.publish(&self.registry, publication);
    }

    fn recovered(&self, _registry: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut state.answered, true) {
            return;
        }
        self.store.set_outage(&self.registry, None);
        if let Some(lasted) = state.repeats.recovered(Instant::now()) {
            let lasted =
                humantime::format_duration(Duration::from_millis(lasted.as_millis().try_into().unwrap_or(u64::MAX)));
            info!(registry = &*self.registry, "registry answers again after {lasted}");
        }
    }
}
