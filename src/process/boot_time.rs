//! Moments that no clock step can move.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Ticks of a second in `/proc/PID/stat`: `USER_HZ`, which is 100 on every architecture that Rust knows for Linux.
const TICKS: u64 = 100;

/// How many milliseconds one takes.
const TICK: u64 = 1000 / TICKS;

/// A moment on `CLOCK_BOOTTIME`: time since boot, sleep included. The kernel stamps the start of processes on it, so a
/// commit and the start of a process can be compared whatever happens to the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BootTime(Duration);

impl BootTime {
    /// This moment.
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
        let nanoseconds = u32::try_from(now.tv_nsec).unwrap_or_default();
        Self(Duration::new(seconds, nanoseconds))
    }

    /// The moment of boot itself, for tests that count from there.
    #[cfg(test)]
    pub(crate) fn boot() -> Self {
        Self(Duration::ZERO)
    }

    /// The time from `earlier` to this moment; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The moment this long after boot.
    pub(super) fn after_boot(since: Duration) -> Self {
        Self(since)
    }

    /// The time since boot.
    pub(super) fn since_boot(self) -> Duration {
        self.0
    }

    /// The moment this long after.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by))
    }

    /// The moment that `/proc/PID/stat` gives in ticks. It is rounded down, by 10 ms at most.
    pub(super) fn from_ticks(ticks: u64) -> Self {
        Self(Duration::from_millis(ticks.saturating_mul(TICK)))
    }

    /// The moment as `/proc/PID/stat` would give it, to be compared with what that gives.
    #[must_use]
    pub(super) fn rounded_down_to_tick(self) -> Self {
        let ticks = self.0.as_millis() / u128::from(TICK);
        Self::from_ticks(u64::try_from(ticks).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_in_order_and_never_underflow() {
        let early = BootTime::now();
        let late = BootTime::now();
        assert!(early <= late);
        assert_eq!(early.since(late.after(Duration::from_secs(1))), Duration::ZERO);
        assert_eq!(BootTime::from_ticks(150), BootTime(Duration::from_millis(1500)));
    }

    #[test]
    fn a_moment_is_rounded_as_the_kernel_does() {
        for (nanoseconds, ticks) in [(0, 0), (9_999_999, 0), (10_000_000, 1), (1_509_999_999, 150)] {
            let moment = BootTime(Duration::from_nanos(nanoseconds));
            assert_eq!(moment.rounded_down_to_tick(), BootTime::from_ticks(ticks));
        }
    }
}
