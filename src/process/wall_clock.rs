//! Stamps of the wall clock as moments that no clock step can move.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use super::BootTime;

/// What the clock says of the moment of boot.
#[derive(Debug, Clone, Copy)]
struct Clock {
    booted: SystemTime,
}

/// The clock as it was when the program started. It may have been set since, as at a boot without a battery.
static AT_START: OnceLock<Clock> = OnceLock::new();

/// Notes how the clock stands, for `stamped`.
pub fn note_wall_clock() {
    let _ = AT_START.set(Clock::now());
}

/// When a file was stamped with this time, by the clock as it is, or as it was when the program started if that makes
/// it later.
pub(super) fn stamped(stamp: SystemTime) -> BootTime {
    latest(stamp, Clock::now(), AT_START.get().copied(), BootTime::now())
}

/// A stamp of the clock before it was set is no later than `now`; one that would be is of the clock as it is.
fn latest(stamp: SystemTime, clock: Clock, before: Option<Clock>, now: BootTime) -> BootTime {
    let present = clock.moment(stamp);
    match before.map(|before| before.moment(stamp)).filter(|moment| *moment <= now) {
        Some(past) => past.max(present),
        None => present,
    }
}

impl Clock {
    fn now() -> Self {
        let uptime = BootTime::now().since_boot();
        Self { booted: SystemTime::now().checked_sub(uptime).unwrap_or(SystemTime::UNIX_EPOCH) }
    }

    /// The moment at which it showed this time; boot for all before.
    fn moment(self, stamp: SystemTime) -> BootTime {
        BootTime::after_boot(stamp.duration_since(self.booted).unwrap_or(Duration::ZERO))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_from_before_the_clock_was_set_keeps_its_moment() {
        const DAY: Duration = Duration::from_secs(86_400);
        let at = |seconds| BootTime::after_boot(Duration::from_secs(seconds));
        let booted = SystemTime::now();
        let stamp = booted + Duration::from_secs(100);
        let (clock, ahead, behind) = (Clock { booted }, Clock { booted: booted + DAY }, Clock { booted: booted - DAY });
        let now = at(1000);
        assert_eq!(latest(stamp, clock, None, now), at(100));
        assert_eq!(latest(stamp, clock, Some(clock), now), at(100));
        assert_eq!(latest(stamp, ahead, None, now), at(0), "nobody knows that it was set");
        assert_eq!(latest(stamp, ahead, Some(clock), now), at(100), "set forward");
        assert_eq!(latest(stamp + DAY, ahead, Some(clock), now), at(100), "stamped since it was set forward");
        assert_eq!(latest(stamp, behind, Some(clock), now), at(100 + 86_400), "set back");
    }
}
