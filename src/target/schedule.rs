//! When a change is applied: quiet period, reload interval and splay.

use std::time::{Duration, Instant};

use rand::Rng;

use crate::config::{Gather, Target, Wait};
use crate::store::Changes;

/// Works out when the next apply of a target is due. It knows nothing but moments, so it is tested with moments.
#[derive(Debug)]
pub struct Schedule {
    wait: Wait,
    reload_interval: Duration,
    splay: Duration,
    /// The change that is waiting, and when it may go as far as the quiet period is concerned.
    pending: Option<Pending>,
    /// The last change of a query of this target, applied or not.
    last_change: Option<Instant>,
    /// The end of the last reload.
    last_reload: Option<Instant>,
}

#[derive(Debug)]
struct Pending {
    /// When the first change that is not applied yet came.
    first: Instant,
    /// When the quiet period is over.
    quiet: Instant,
    /// The random delay of this change.
    splay: Duration,
}

impl Schedule {
    /// Nothing is pending.
    pub fn new(target: &Target) -> Self {
        Self {
            wait: target.wait,
            reload_interval: target.reload_interval,
            splay: target.splay,
            pending: None,
            last_change: None,
            last_reload: None,
        }
    }

    /// Queries of the target changed; `applying` says whether an apply was running when they did.
    pub fn changed(&mut self, changes: Changes, applying: bool) {
        let quiet_before =
            self.last_change.is_none_or(|last| changes.first.saturating_duration_since(last) >= self.wait.min);
        self.last_change = Some(changes.last);
        let leading = self.pending.is_none() && !applying && quiet_before;
        let first = self.pending.as_ref().map_or(changes.first, |pending| pending.first);
        let splay = self.pending.as_ref().map(|pending| pending.splay);
        let at_once = self.wait.max.is_zero() || (leading && self.wait.gather == Gather::Burst);
        let quiet = if at_once { first } else { (changes.last + self.wait.min).min(first + self.wait.max) };
        let splay = splay.unwrap_or_else(|| self.splay.mul_f64(rand::rng().random::<f64>()));
        self.pending = Some(Pending { first, quiet, splay });
    }

    /// When the pending change is due; none when nothing is pending. The whole apply waits for the reload interval,
    /// before the render, so that what is committed is the newest and the process is never more than one reload
    /// behind its files.
    pub fn due(&self) -> Option<Instant> {
        let pending = self.pending.as_ref()?;
        let due = pending.quiet + pending.splay;
        Some(self.last_reload.map_or(due, |ended| due.max(ended + self.reload_interval)))
    }

    /// An apply begins: it takes all that was pending.
    pub fn begun(&mut self) {
        self.pending = None;
    }

    /// A reload ended.
    pub fn reloaded(&mut self, at: Instant) {
        self.last_reload = Some(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A schedule and a clock in milliseconds.
    fn schedule(min: u64, max: u64, gather: Gather) -> (Schedule, impl Fn(u64) -> Instant) {
        let start = Instant::now();
        let wait = Wait { min: Duration::from_millis(min), max: Duration::from_millis(max), gather };
        let schedule = Schedule {
            wait,
            reload_interval: Duration::from_secs(1),
            splay: Duration::ZERO,
            pending: None,
            last_change: None,
            last_reload: None,
        };
        (schedule, move |ms| start + Duration::from_millis(ms))
    }

    fn change(at: Instant) -> Changes {
        Changes { first: at, last: at }
    }

    #[test]
    fn a_leading_change_goes_at_once_and_those_that_follow_gather() {
        let (mut schedule, at) = schedule(100, 2000, Gather::Burst);
        schedule.changed(change(at(0)), false);
        assert_eq!(schedule.due(), Some(at(0)));
        schedule.begun();
        schedule.changed(change(at(50)), false);
        assert_eq!(schedule.due(), Some(at(150)));
        schedule.changed(change(at(120)), false);
        assert_eq!(schedule.due(), Some(at(220)));
        schedule.begun();
        schedule.changed(change(at(400)), false);
        assert_eq!(schedule.due(), Some(at(400)), "leading again after a quiet time");
    }

    #[test]
    fn what_never_rests_is_applied_after_the_longest_wait() {
        let (mut schedule, at) = schedule(100, 500, Gather::Always);
        for ms in (0..1000).step_by(50) {
            schedule.changed(change(at(ms)), false);
        }
        assert_eq!(schedule.due(), Some(at(500)));
    }

    #[test]
    fn gathering_always_makes_the_first_change_wait_too() {
        let (mut schedule, at) = schedule(100, 2000, Gather::Always);
        schedule.changed(change(at(0)), false);
        assert_eq!(schedule.due(), Some(at(100)));
    }

    #[test]
    fn a_change_during_an_apply_is_not_leading() {
        let (mut schedule, at) = schedule(100, 2000, Gather::Burst);
        schedule.changed(change(at(0)), true);
        assert_eq!(schedule.due(), Some(at(100)));
    }

    #[test]
    fn no_wait_means_at_once() {
        let (mut schedule, at) = schedule(0, 0, Gather::Always);
        schedule.changed(change(at(0)), true);
        schedule.changed(change(at(0)), true);
        assert_eq!(schedule.due(), Some(at(0)));
    }

    #[test]
    fn the_reload_interval_defers_and_never_drops() {
        let (mut schedule, at) = schedule(0, 0, Gather::Burst);
        schedule.reloaded(at(0));
        schedule.changed(change(at(10)), false);
        assert_eq!(schedule.due(), Some(at(1000)));
        schedule.changed(change(at(1500)), false);
        assert_eq!(schedule.due(), Some(at(1000)), "a later change does not defer it further");
    }
}
