//! The lock of a fleet: a place in the line of a registry, kept by a task of its own for as long as it is wanted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::Rng as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{debug, warn};

use crate::backoff::Backoff;
use crate::config;
use crate::heartbeat::Heart;
use crate::registry::line::{Ahead, Line};
use crate::registry::{Outage, Registry};

/// How long one step may take, so that a registry that is silent is found out.
const STEP: Duration = Duration::from_secs(5);

/// How long giving the place back may take.
const LEAVE: Duration = Duration::from_secs(2);

/// The pauses between looks: the longer the more stand in front.
const LOOK: Duration = Duration::from_millis(50);
const LONGEST_LOOK: Duration = Duration::from_secs(5);

/// A place is renewed so many times within its time.
const RENEWALS: u32 = 6;

/// The lock of a target.
#[derive(Debug, Clone)]
pub struct Lock {
    pub(super) rule: config::Lock,
    registry: Arc<dyn Registry>,
    /// How the registry is configured.
    fingerprint: [u8; 32],
    heart: Heart,
}

/// How far the one who takes a lock has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// The registry has not said anything since then, for this reason where there is one.
    Asking(Instant, Option<String>),
    /// These stand in front.
    Behind(Ahead),
    /// It is ours.
    Held,
}

/// A lock that is being taken, or held. Dropped, it is given back.
#[derive(Debug)]
pub(super) struct Taking {
    /// When it was first wanted.
    pub(super) since: Instant,
    standing: watch::Receiver<Standing>,
    _stop: DropGuard,
    task: JoinHandle<()>,
}

impl Lock {
    /// The lock that `rule` describes, kept by `registry`.
    pub fn new(rule: config::Lock, registry: &config::NamedRegistry) -> Self {
        let (fingerprint, registry) = (registry.fingerprint, registry.registry.clone());
        Self { rule, registry, fingerprint, heart: Heart::default() }
    }

    /// Has whoever keeps a place in it show that it makes progress.
    #[must_use]
    pub fn beating(mut self, heart: Heart) -> Self {
        self.heart = heart;
        self
    }

    /// Whether a place in the line of the other is one in the line of this, with the same rule.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.rule == other.rule && self.fingerprint == other.fingerprint
    }

    /// Stands in line for it, in the name of a target.
    pub(super) fn take(&self, target: &str) -> Taking {
        let since = Instant::now();
        let (sender, standing) = watch::channel(Standing::Asking(since, None));
        let stop = CancellationToken::new();
        let (rule, stopped, target) = (self.rule.clone(), stop.clone(), target.to_owned());
        let line = self.registry.line(&rule.place(holder(&target)));
        let pulse = self.heart.pulse(format!("lock of target `{target}`"));
        let task = tokio::spawn(async move {
            match line {
                // What it asks the registry has limits; what it computes between ends, or it is stuck.
                Ok(line) => pulse.attend(keep(line, &sender, &rule, &target, stopped)).await,
                // The configuration was asked before.
                Err(reason) => _ = sender.send_replace(Standing::Asking(since, Some(reason))),
            }
        });
        Taking { since, standing, _stop: stop.drop_guard(), task }
    }
}

impl Taking {
    /// How far it has come.
    pub(super) fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    /// Waits until it has come further. Safe to cancel.
    pub(super) async fn changed(&mut self) {
        if self.standing.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Gives it back. Whoever waits for the task that comes back, waits until that is done.
    pub(super) fn release(self) -> JoinHandle<()> {
        self.task
    }
}

/// Who we are, for people who look into the registry.
fn holder(target: &str) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("host {} pid {} target {target}", host.trim(), std::process::id())
}

/// Stands in line and keeps the place until `stop`, then gives it back.
async fn keep(
    mut line: Box<dyn Line>,
    standing: &watch::Sender<Standing>,
    rule: &config::Lock,
    target: &str,
    stop: CancellationToken,
) {
    let lost = tokio::select! {
        biased;
        () = stop.cancelled() => None,
        lost = follow(&mut *line, standing, rule) => Some(lost),
    };
    let (registry, lock) = (&*rule.registry, rule.path.as_str());
    if let Some(Outage(reason)) = lost {
        warn!(
            target,
            registry, lock, "the lock was lost before it was given back, what is under way goes on: {reason}"
        );
    }
    match timeout(LEAVE, line.leave()).await {
        Ok(Ok(())) => {}
        Ok(Err(Outage(reason))) => debug!(target, registry, lock, "the lock ends by itself: {reason}"),
        Err(_) => debug!(target, registry, lock, "the lock ends by itself: the registry does not answer"),
    }
}

/// Stands in line, and then holds the place; comes back when it is lost.
async fn follow(line: &mut dyn Line, standing: &watch::Sender<Standing>, rule: &config::Lock) -> Outage {
    let mut answered = Instant::now();
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2), 0.5);
    // When the place was last renewed; none where there is none.
    let mut renewed: Option<Instant> = None;
    loop {
        let began = Instant::now();
        let is_due = renewed.is_none_or(|renewed| renewed.elapsed() >= rule.ttl / RENEWALS);
        let step = async {
            match renewed {
                None => line.join().await?,
                Some(_) if is_due && !line.renew().await? => return Ok(None),
                Some(_) => {}
            }
            line.ahead().await
        };
        match within(step).await {
            Ok(ahead) => {
                answered = Instant::now();
                if is_due {
                    renewed = Some(began);
                }
                match ahead {
                    Some(ahead) if ahead.count < rule.holders => {
                        standing.send_replace(Standing::Held);
                        return hold(line, rule, renewed.unwrap_or(began)).await;
                    }
                    Some(ahead) => {
                        backoff.reset();
                        let to_go = u32::try_from(ahead.count + 1 - rule.holders).unwrap_or(u32::MAX);
                        standing.send_replace(Standing::Behind(ahead));
                        let pause = LOOK.saturating_mul(to_go).min(LONGEST_LOOK).min(rule.ttl / RENEWALS);
                        let pause = pause.mul_f64(rand::rng().random_range(0.75..1.0));
                        sleep(pause).await;
                    }
                    // We were stopped for too long, or somebody removed it: at the end again.
                    None => {
                        renewed = None;
                        sleep(backoff.next_pause()).await;
                    }
                }
            }
            Err(Outage(reason)) => {
                standing.send_replace(Standing::Asking(answered, Some(reason)));
                sleep(backoff.next_pause()).await;
            }
        }
    }
}

/// Renews the place again and again; comes back when it is lost.
async fn hold(line: &mut dyn Line, rule: &config::Lock, mut renewed: Instant) -> Outage {
    loop {
        sleep(rule.ttl / RENEWALS).await;
        let began = Instant::now();
        match within(line.renew()).await {
            Ok(true) => renewed = began,
            Ok(false) => return Outage("its time was over".to_owned()),
            Err(outage) if renewed.elapsed() >= rule.ttl => return outage,
            Err(_) => {}
        }
    }
}

async fn within<T>(step: impl Future<Output = Result<T, Outage>>) -> Result<T, Outage> {
    let silence = |_| Outage(format!("no answer within {}", humantime::format_duration(STEP)));
    timeout(STEP, step).await.map_err(silence)?
}
