//! What failed and is tried again: when, and what the log is told of it.

use std::time::{Duration, Instant};

use super::RETRY_JITTER;
use crate::apply::reload::Outcome;
use crate::backoff::Backoff;
use crate::log::{Line, Repeats};

/// Something that failed, is tried again, and is written in the log now and then.
pub(super) struct Retries {
    pub(super) backoff: Backoff,
    pub(super) at: Option<Instant>,
    pub(super) repeats: Repeats,
}

impl Retries {
    pub(super) fn new(pauses: (Duration, Duration)) -> Self {
        Self::with(pauses, Repeats::default())
    }

    /// Goes on with the trouble of a task before; that it fails again under what was loaded anew is news.
    pub(super) fn with((first, longest): (Duration, Duration), mut repeats: Repeats) -> Self {
        repeats.renew();
        Self { backoff: Backoff::new(first, longest, RETRY_JITTER), at: None, repeats }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.at.is_some_and(|at| at <= now)
    }

    /// Whether the log is told of a reload that was not taken. A process that does not run is told of once.
    pub(super) fn tells(&mut self, outcome: &Outcome, reason: &str, now: Instant) -> bool {
        match outcome {
            Outcome::NotRunning(_) => self.repeats.failed(now, "not running") == Line::First,
            _ => self.repeats.failed(now, reason) != Line::Silent,
        }
    }

    /// What is tried from now on is new: the pauses begin again, and a failure is news.
    pub(super) fn renew(&mut self) {
        self.backoff.reset();
        self.repeats.renew();
    }

    /// It works; if that is news, gives for how long it did not.
    pub(super) fn succeeded(&mut self) -> Option<Duration> {
        self.backoff.reset();
        self.at = None;
        self.repeats.recovered(Instant::now())
    }
}

/// What a task was in trouble with, so that the next can say how long that lasted.
#[derive(Debug, Default)]
pub(in crate::target) struct Troubles {
    pub(super) apply: Repeats,
    pub(super) reload: Repeats,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_does_not_run_is_told_of_once() {
        let mut retries = Retries::new((Duration::from_secs(1), Duration::from_secs(1)));
        let start = Instant::now();
        let mut told = |reason: &str, seconds: std::ops::Range<u64>| {
            let outcome = Outcome::NotRunning(reason.to_owned());
            seconds.filter(|second| retries.tells(&outcome, reason, start + Duration::from_secs(*second))).count()
        };
        assert_eq!(told("there is no pid file", 0..200), 1);
        assert_eq!(told("there is no process 12", 200..400), 0);
        let failed = Outcome::Failed("not allowed".to_owned());
        assert!(retries.tells(&failed, "not allowed", start + Duration::from_secs(400)));
        assert!(retries.tells(&failed, "not allowed", start + Duration::from_secs(500)));
        retries.succeeded();
        let gone = Outcome::NotRunning("gone".to_owned());
        assert!(retries.tells(&gone, "gone", start + Duration::from_secs(600)), "it ran meanwhile");
    }

    #[test]
    fn new_files_begin_the_pauses_again_and_another_reason_is_told() {
        let mut retries = Retries::new((Duration::from_secs(1), Duration::from_secs(60)));
        let start = Instant::now();
        let tell = |retries: &mut Retries, second: u64, reason: &str| {
            let outcome = Outcome::Failed(reason.to_owned());
            retries.tells(&outcome, reason, start + Duration::from_secs(second))
        };
        let mut pauses = Vec::new();
        for (second, is_told) in [(0, true), (1, false), (3, false), (7, false)] {
            assert_eq!(tell(&mut retries, second, "answered 400"), is_told);
            pauses.push(retries.backoff.next_pause());
        }
        assert!(pauses[3] > Duration::from_secs(6), "{pauses:?}");
        assert!(tell(&mut retries, 15, "no answer within 1s"));
        retries.renew();
        assert!(retries.backoff.next_pause() <= Duration::from_secs(1));
        assert!(tell(&mut retries, 16, "no answer within 1s"), "they are other files");
        assert!(!tell(&mut retries, 17, "no answer within 1s"));
    }
}
