//! Whether every loop of the program makes progress: what the watchdog of a service manager is fed by.
//!
//! Every loop has a [`Pulse`]. Asked by the [`Heart`], it answers when it comes round; one that does not for some time is
//! stuck. No timer answers for it. What a loop waits for outside, a command or a process, has a limit of its own:
//! until that is over the loop counts as well, and past it as stuck. Work on files has none, so that a write which a disk
//! never finishes is found.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Asks every loop, and hears which of them are stuck.
#[derive(Debug, Clone, Default)]
pub struct Heart(Arc<Mutex<Vec<Weak<Loop>>>>);

/// One loop. Dropped with the loop, it is not asked any more.
#[derive(Debug, Clone)]
pub struct Pulse(Arc<Loop>);

#[derive(Debug)]
struct Loop {
    /// What it is called in the log.
    name: String,
    /// Rings when it is asked.
    bell: Notify,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When it was asked first since it last showed progress.
    owes: Option<Instant>,
    /// Until when it may wait for something outside.
    patience: Option<Instant>,
}

impl Heart {
    /// The pulse of one more loop.
    pub fn pulse(&self, name: impl Into<String>) -> Pulse {
        let pulse = Pulse::unheard(name);
        self.loops().push(Arc::downgrade(&pulse.0));
        pulse
    }

    /// Asks every loop. Gives those that were asked longer ago than `limit` and made no progress since.
    pub fn ask(&self, limit: Duration) -> Vec<String> {
        let now = Instant::now();
        let mut stuck = Vec::new();
        self.loops().retain(|known| {
            let Some(known) = known.upgrade() else { return false };
            let mut state = known.state();
            let is_late = state.owes.is_some_and(|since| now.duration_since(since) >= limit);
            if is_late && state.patience.is_none_or(|until| until < now) {
                stuck.push(known.name.clone());
            }
            state.owes.get_or_insert(now);
            known.bell.notify_one();
            true
        });
        stuck
    }

    /// A panic elsewhere leaves whole values behind: every change under the lock is one step.
    fn loops(&self) -> MutexGuard<'_, Vec<Weak<Loop>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pulse {
    /// One that nobody ever asks.
    pub fn unheard(name: impl Into<String>) -> Self {
        Self(Arc::new(Loop { name: name.into(), bell: Notify::new(), state: Mutex::default() }))
    }

    /// Waits until the loop is asked, and answers: one of the things that a loop waits for. Safe to cancel.
    pub async fn asked(&self) {
        self.0.bell.notified().await;
        self.beat();
    }

    /// The loop came a step further.
    pub fn beat(&self) {
        self.0.state().owes = None;
    }

    /// Waits for what may take any time, and answers meanwhile.
    pub async fn attend<T>(&self, waiting: impl Future<Output = T>) -> T {
        let mut waiting = pin!(waiting);
        loop {
            tokio::select! {
                biased;
                done = &mut waiting => return done,
                () = self.asked() => {}
            }
        }
    }

    /// Waits for something outside that has its own limit, which is no longer than this.
    pub async fn outside<T>(&self, limit: Duration, waiting: impl Future<Output = T>) -> T {
        let _patience = Patience::new(&self.0, limit);
        waiting.await
    }
}

impl Loop {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// That a loop waits for something outside. Its end is a step.
struct Patience<'l> {
    of: &'l Loop,
    /// What held before, where one wait is part of another.
    before: Option<Instant>,
}

impl<'l> Patience<'l> {
    fn new(of: &'l Loop, limit: Duration) -> Self {
        // A limit of centuries is none.
        let until = Instant::now() + limit.min(Duration::from_secs(100 * 365 * 86400));
        let before = of.state().patience.replace(until);
        Self { of, before }
    }
}

impl Drop for Patience<'_> {
    fn drop(&mut self) {
        *self.of.state() = State { owes: None, patience: self.before };
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn a_loop_that_comes_round_is_well_and_one_that_does_not_is_stuck() {
        let heart = Heart::default();
        let (round, still) = (heart.pulse("round"), heart.pulse("still"));
        assert_eq!(heart.ask(Duration::ZERO), [""; 0], "nobody was asked before");
        round.asked().await;
        assert_eq!(heart.ask(Duration::ZERO), ["still"]);
        round.asked().await;
        still.beat();
        assert_eq!(heart.ask(Duration::ZERO), [""; 0]);
        drop((round, still));
        assert_eq!(heart.ask(Duration::ZERO), [""; 0], "who has ended owes nothing");
    }

    #[test]
    fn who_was_asked_just_now_has_time() {
        let heart = Heart::default();
        let _slow = heart.pulse("slow");
        let limit = Duration::from_millis(20);
        assert_eq!(heart.ask(limit), [""; 0]);
        assert_eq!(heart.ask(Duration::from_secs(600)), [""; 0], "it was asked a moment ago");
        std::thread::sleep(limit);
        assert_eq!(heart.ask(limit), ["slow"], "asked again, it owes since the first time");
    }

    #[tokio::test]
    async fn whoever_attends_answers_and_whoever_blocks_does_not() {
        let heart = Heart::default();
        let pulse = heart.pulse("driver");
        let attending = pulse.clone();
        let task = tokio::spawn(async move { attending.attend(pending::<()>()).await });
        for _ in 0..3 {
            assert_eq!(heart.ask(Duration::ZERO), [""; 0]);
            while pulse.0.state().owes.is_some() {
                tokio::task::yield_now().await;
            }
        }
        task.abort();
        let _ = task.await;
        heart.ask(Duration::ZERO);
        assert_eq!(heart.ask(Duration::ZERO), ["driver"]);
    }

    #[tokio::test]
    async fn what_is_outside_may_take_its_limit_and_no_longer() {
        let heart = Heart::default();
        let pulse = heart.pulse("target");
        {
            let mut check = pin!(pulse.outside(Duration::from_secs(600), pending::<()>()));
            assert!(futures_util::poll!(&mut check).is_pending());
            heart.ask(Duration::ZERO);
            assert_eq!(heart.ask(Duration::ZERO), [""; 0], "within its own limit");
        }
        heart.ask(Duration::ZERO);
        assert_eq!(heart.ask(Duration::ZERO), ["target"], "the limit ended with what was waited for");
        pulse.outside(Duration::from_secs(600), async {}).await;
        assert_eq!(heart.ask(Duration::ZERO), [""; 0], "its end was a step");
        let mut hung = pin!(pulse.outside(Duration::ZERO, pending::<()>()));
        assert!(futures_util::poll!(&mut hung).is_pending());
        heart.ask(Duration::ZERO);
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(heart.ask(Duration::ZERO), ["target"], "past its own limit");
    }
}
