//! Log lines: where they go, and how a lasting failure is kept from repeating itself.

use std::time::{Duration, Instant};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::SystemTime;

use crate::config::{LogConfig, LogFormat};

/// Sends log lines to standard error. Called once, at the start of the program.
pub fn init(config: &LogConfig) {
    let filter = EnvFilter::new(format!("warn,liveconf={}", config.level.to_string().to_lowercase()));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_timer(SystemTime);
    // A second call in one process, as in tests, keeps the first subscriber.
    let _ = match config.format {
        LogFormat::Text => {
            builder.with_target(false).with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).with_target(false).try_init(),
    };
}

/// What to write about a failure that goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// It is new: write it.
    First,
    /// It has lasted this long: write a reminder.
    Still(Duration),
    /// It was written less than a minute ago.
    Silent,
}

/// One lasting failure: the first time is written, then at most one line a minute, then the recovery. What fails and
/// recovers in turn is written once a minute too.
#[derive(Debug, Default)]
pub struct Repeats {
    since: Option<Instant>,
    written: Option<(Instant, String)>,
    /// A line about the present failure was written, so that its end is of interest.
    announced: bool,
}

/// The least time between two lines about one failure.
const REMINDER: Duration = Duration::from_secs(60);

impl Repeats {
    /// It failed at `now` for this reason.
    pub fn failed(&mut self, now: Instant, reason: &str) -> Line {
        let since = *self.since.get_or_insert(now);
        let line = match &self.written {
            Some((at, _)) if now.duration_since(*at) < REMINDER => return Line::Silent,
            Some((_, last)) if last == reason && self.announced => Line::Still(now.duration_since(since)),
            _ => Line::First,
        };
        self.written = Some((now, reason.to_owned()));
        self.announced = true;
        line
    }

    /// As [`Repeats::failed`], for failures that new data bring about: another reason than the last is always
    /// written, since nothing may come later to remind of it.
    pub fn failed_anew(&mut self, now: Instant, reason: &str) -> Line {
        if self.since.is_none() || self.written.as_ref().is_some_and(|(_, last)| last != reason) {
            self.written = None;
        }
        self.failed(now, reason)
    }

    /// It works. Gives how long it did not, if that was written.
    pub fn recovered(&mut self, now: Instant) -> Option<Duration> {
        let since = self.since.take()?;
        std::mem::take(&mut self.announced).then(|| now.duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lasting_failure_is_written_once_a_minute_and_its_end_once() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut repeats = Repeats::default();
        assert_eq!(repeats.recovered(at(0)), None);
        assert_eq!(repeats.failed(at(0), "refused"), Line::First);
        assert_eq!(repeats.failed(at(1), "refused"), Line::Silent);
        assert_eq!(repeats.failed(at(2), "no leader"), Line::Silent);
        assert_eq!(repeats.failed(at(60), "refused"), Line::Still(Duration::from_secs(60)));
        assert_eq!(repeats.failed(at(121), "no leader"), Line::First);
        assert_eq!(repeats.recovered(at(130)), Some(Duration::from_secs(130)));
        assert_eq!(repeats.recovered(at(131)), None);
    }

    #[test]
    fn what_flaps_is_written_once_a_minute() {
        let start = Instant::now();
        let mut repeats = Repeats::default();
        let mut lines = 0;
        for second in 0..120 {
            let now = start + Duration::from_secs(second);
            lines += usize::from(repeats.failed(now, "reset") != Line::Silent);
            lines += usize::from(repeats.recovered(now).is_some());
        }
        assert_eq!(lines, 4, "twice a failure and its end");
    }

    #[test]
    fn a_new_reason_that_came_with_new_data_is_always_written() {
        let now = Instant::now();
        let mut repeats = Repeats::default();
        assert_eq!(repeats.failed_anew(now, "a"), Line::First);
        assert_eq!(repeats.failed_anew(now, "a"), Line::Silent);
        assert_eq!(repeats.failed_anew(now, "b"), Line::First);
        assert!(repeats.recovered(now).is_some());
        assert_eq!(repeats.failed_anew(now, "b"), Line::First);
    }
}
