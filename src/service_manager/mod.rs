//! What the service manager that started us is told, such as systemd: that we are ready, reload and stop, what is waited
//! for, and that every loop makes progress.
//!
//! One task sends all of it, in the order in which it came about. Where `NOTIFY_SOCKET` is not set nothing is sent.

mod socket;
mod summary;

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};

use self::socket::Address;
use self::summary::summary;
use crate::control::Roster;
use crate::heartbeat::Heart;
use crate::log::{Line, Repeats, listed, rounded};

/// How often it is looked whether the first files are in place.
const LOOK_READY: Duration = Duration::from_millis(50);

/// How often it is looked whether the status is another, and so the least time between two that are sent.
const LOOK_STATUS: Duration = Duration::from_secs(1);

/// How often more time for the start is asked for, where no watchdog says how often we are to give a sign of life.
const EXTEND: Duration = Duration::from_secs(10);

/// How much more of it, at least.
const EXTENSION: Duration = Duration::from_secs(30);

/// The service manager, as far as there is one.
#[derive(Debug)]
pub struct ServiceManager(Option<(mpsc::UnboundedSender<News>, JoinHandle<()>)>);

/// What the daemon tells.
#[derive(Debug)]
enum News {
    /// The configuration is read anew, since this moment in microseconds of `CLOCK_MONOTONIC`.
    Reloading(u64),
    /// That is over.
    Reloaded,
    /// The program stops, which may take this long.
    Stopping(Duration),
}

impl ServiceManager {
    /// Begins to tell the service manager that our environment names how `roster` and the loops of `heart` stand.
    pub fn start(roster: watch::Receiver<Arc<Roster>>, heart: Heart) -> Self {
        match Address::find(|name| std::env::var_os(name), std::process::id()) {
            Ok(Some(address)) => {
                let (news, incoming) = mpsc::unbounded_channel();
                let teller = Teller {
                    address,
                    roster,
                    heart,
                    is_ready: false,
                    is_reloading: false,
                    status: String::new(),
                    unsent: Repeats::default(),
                    stuck: Repeats::default(),
                };
                Self(Some((news, tokio::spawn(teller.run(incoming)))))
            }
            Ok(None) => Self(None),
            Err(error) => {
                warn!(%error, "the service manager is told nothing: `NOTIFY_SOCKET` cannot be used");
                Self(None)
            }
        }
    }

    /// Configuration and templates are about to be read anew.
    pub fn reloading(&self) {
        self.tell(News::Reloading(monotonic()));
    }

    /// They were, and what was valid is in use.
    pub fn reloaded(&self) {
        self.tell(News::Reloaded);
    }

    /// The program stops, which takes no longer than this.
    pub fn stopping(&self, within: Duration) {
        self.tell(News::Stopping(within));
    }

    /// Sends what is not sent yet, and no more after that.
    pub async fn finish(self) {
        if let Some((news, task)) = self.0 {
            drop(news);
            let _ = task.await;
        }
    }

    fn tell(&self, news: News) {
        if let Some((sender, _)) = &self.0 {
            // The task ends only after this.
            let _ = sender.send(news);
        }
    }
}

/// The task that sends.
struct Teller {
    address: Address,
    roster: watch::Receiver<Arc<Roster>>,
    heart: Heart,
    is_ready: bool,
    is_reloading: bool,
    /// What was sent last.
    status: String,
    unsent: Repeats,
    stuck: Repeats,
}

impl Teller {
    async fn run(mut self, mut news: mpsc::UnboundedReceiver<News>) {
        // The manual asks for a sign of life each half of the time. With twice as many, one that comes late, or is left out
        // since a loop took longer than it should, is not the end.
        let every = self.address.watchdog.map_or(EXTEND, |limit| (limit / 4).max(Duration::from_millis(1)));
        let mut beat = interval(every);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut ready, mut status) = (interval(LOOK_READY), interval(LOOK_STATUS));
        ready.set_missed_tick_behavior(MissedTickBehavior::Delay);
        status.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                heard = news.recv() => match heard {
                    Some(heard) => self.hear(heard).await,
                    None => return,
                },
                _ = beat.tick(), if !self.is_ready || self.address.watchdog.is_some() => self.give_sign(every).await,
                _ = ready.tick(), if !self.is_ready => self.look_ready().await,
                _ = status.tick() => self.look_status().await,
            }
        }
    }

    async fn hear(&mut self, news: News) {
        match news {
            // While we start there is nothing to reload: what is ready then is the new.
            News::Reloading(_) if !self.is_ready => {}
            News::Reloading(since) => {
                self.is_reloading = true;
                self.send(format!("RELOADING=1\nMONOTONIC_USEC={since}\n")).await;
            }
            News::Reloaded if !self.is_reloading => {}
            News::Reloaded => {
                self.is_reloading = false;
                self.status = summary(&self.roster.borrow(), true);
                self.send(format!("READY=1\nSTATUS={}\n", self.status)).await;
            }
            News::Stopping(within) => {
                self.status = summary(&self.roster.borrow(), true);
                // It only ever lengthens the time that the unit gives.
                let within = within.as_micros();
                self.send(format!("STOPPING=1\nSTATUS={}\nEXTEND_TIMEOUT_USEC={within}\n", self.status)).await;
                self.is_ready = true;
            }
        }
    }

    /// Says that we live, where every loop does, none of which may take twice the time between two signs; so a start that waits for a registry is never held for one that failed.
    async fn give_sign(&mut self, every: Duration) {
        let (stuck, now) = (self.heart.ask(every * 3 / 2), Instant::now());
        if !stuck.is_empty() {
            let names = listed(&stuck);
            match self.stuck.failed(now, &names) {
                Line::First => error!("no progress, so the watchdog is not fed: {names}"),
                Line::Still(lasted) => error!("no progress for {}: {names}", rounded(lasted)),
                Line::Silent => {}
            }
            return;
        }
        if let Some(lasted) = self.stuck.recovered(now) {
            info!("every loop makes progress again, after {}", rounded(lasted));
        }
        let mut message = String::new();
        if self.address.watchdog.is_some() {
            message.push_str("WATCHDOG=1\n");
        }
        if !self.is_ready {
            let extension = EXTENSION.max(3 * every).as_micros();
            let _ = writeln!(message, "EXTEND_TIMEOUT_USEC={extension}");
        }
        self.send(message).await;
    }

    async fn look_ready(&mut self) {
        let roster = self.roster.borrow().clone();
        // Before the targets are shown there are none; later there is one at least.
        let targets = &roster.targets;
        if !targets.is_empty() && targets.iter().all(|target| target.desk.state().borrow().in_place) {
            self.is_ready = true;
            self.status = summary(&roster, true);
            self.send(format!("READY=1\nSTATUS={}\n", self.status)).await;
        }
    }

    async fn look_status(&mut self) {
        let status = summary(&self.roster.borrow(), self.is_ready);
        if status != self.status && !self.is_reloading {
            self.status = status;
            self.send(format!("STATUS={}\n", self.status)).await;
        }
    }

    async fn send(&mut self, message: String) {
        let sent: io::Result<()> = self.address.send(&message).await;
        match sent {
            Ok(()) => _ = self.unsent.recovered(Instant::now()),
            Err(error) => {
                if self.unsent.failed(Instant::now(), &error.to_string()) != Line::Silent {
                    warn!(%error, "the service manager cannot be told how we are");
                }
            }
        }
    }
}

/// Microseconds of `CLOCK_MONOTONIC`.
fn monotonic() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let part = |part: i64| u64::try_from(part).unwrap_or_default();
    part(now.tv_sec) * 1_000_000 + part(now.tv_nsec) / 1000
}
