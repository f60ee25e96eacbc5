//! Log lines: where they go, and how a lasting failure is kept from repeating itself.

use std::collections::VecDeque;
use std::io::IsTerminal as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::time::SystemTime;
use tracing_subscriber::layer::{Layered, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use crate::config::{LogConfig, LogFormat};

/// What stands below the layer that writes.
type Filtered = Layered<reload::Layer<EnvFilter, Registry>, Registry>;

/// What can be changed while the program runs.
struct Log {
    filter: reload::Handle<EnvFilter, Registry>,
    form: reload::Handle<Box<dyn Layer<Filtered> + Send + Sync>, Filtered>,
    is_json: AtomicBool,
}

static LOG: OnceLock<Log> = OnceLock::new();

/// Sends log lines to standard error, as `config` says; called again, it says how from then on.
pub fn follow(config: &LogConfig) {
    let log = LOG.get_or_init(|| {
        let (filter, filter_handle) = reload::Layer::new(filter(config));
        let (form, form_handle) = reload::Layer::new(form(config));
        // A program that links the library may have a log of its own, which then stays.
        let _ = tracing_subscriber::registry().with(filter).with(form).try_init();
        Log { filter: filter_handle, form: form_handle, is_json: AtomicBool::new(config.format == LogFormat::Json) }
    });
    // The handles fail only where the subscriber is gone, and then nobody reads.
    let _ = log.filter.reload(filter(config));
    let is_json = config.format == LogFormat::Json;
    if log.is_json.swap(is_json, Ordering::Relaxed) != is_json {
        let _ = log.form.reload(form(config));
    }
}

/// Whether log lines are JSON, so that whatever else goes to standard error has to be JSON as well.
pub fn is_json() -> bool {
    LOG.get().is_some_and(|log| log.is_json.load(Ordering::Relaxed))
}

fn filter(config: &LogConfig) -> EnvFilter {
    EnvFilter::new(format!("warn,liveconf={}", config.level.to_string().to_lowercase()))
}

fn form(config: &LogConfig) -> Box<dyn Layer<Filtered> + Send + Sync> {
    // Nobody may be reading any more, which must not end the work.
    let layer = fmt::layer().with_writer(std::io::stderr).log_internal_errors(false).with_timer(SystemTime);
    // https://no-color.org
    let in_colour =
        std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    match config.format {
        LogFormat::Text => Box::new(layer.with_target(false).with_ansi(in_colour)),
        // Without spans, whose fields would be kept in the form that was in force when they began.
        LogFormat::Json => {
            Box::new(layer.json().flatten_event(true).with_target(false).with_current_span(false).with_span_list(false))
        }
    }
}

/// What to write about a failure that goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// It is new: write it.
    First,
    /// It has lasted this long: write a reminder.
    Still(Duration),
    /// Enough was written about it.
    Silent,
}

/// The least time between two lines about a failure that lasts.
const REMINDER: Duration = Duration::from_secs(60);

/// How many failures that come and go are written within that time.
const NEWS: usize = 5;

/// So many lines in a minute and no more.
#[derive(Debug)]
pub struct Budget {
    most: usize,
    /// The lines of the last minute, the oldest first.
    spent: VecDeque<Instant>,
}

impl Budget {
    /// At most this many in a minute.
    pub fn new(most: usize) -> Self {
        Self { most, spent: VecDeque::new() }
    }

    /// Whether a line may be written at `now`.
    pub fn has_room(&mut self, now: Instant) -> bool {
        while self.spent.front().is_some_and(|at| now.duration_since(*at) >= REMINDER) {
            self.spent.pop_front();
        }
        self.spent.len() < self.most
    }

    /// A line was written at `now`.
    pub fn spend(&mut self, now: Instant) {
        self.spent.push_back(now);
    }
}

/// A failure that comes, lasts and goes: the first line at once, then at most one a minute, then the recovery. What comes
/// and goes faster than can be told is told a few times a minute.
#[derive(Debug)]
pub struct Repeats {
    since: Option<Instant>,
    /// The last line about the present failure, and what it was about.
    written: Option<(Instant, String)>,
    /// The next failure is told although it is like the last.
    is_other: bool,
    /// What may be written of the next first lines.
    news: Budget,
}

impl Default for Repeats {
    fn default() -> Self {
        Self { since: None, written: None, is_other: false, news: Budget::new(NEWS) }
    }
}

impl Repeats {
    /// What is tried from now on is another thing: that it fails is news, also for the same reason.
    pub fn renew(&mut self) {
        self.is_other = true;
    }

    /// It failed at `now`, for a reason that `what` tells from others. Another reason than the last is told as well.
    pub fn failed(&mut self, now: Instant, what: &str) -> Line {
        let since = *self.since.get_or_insert(now);
        let enough = !self.news.has_room(now);
        let line = match &self.written {
            Some(_) if self.is_other && !enough => Line::First,
            Some((at, last)) if last == what && now.duration_since(*at) < REMINDER => Line::Silent,
            Some((_, last)) if last == what => Line::Still(now.duration_since(since)),
            _ if enough => Line::Silent,
            _ => Line::First,
        };
        if line == Line::First {
            self.news.spend(now);
            self.is_other = false;
        }
        if line != Line::Silent {
            self.written = Some((now, what.to_owned()));
        }
        line
    }

    /// It works. Gives how long it did not, if that was written.
    pub fn recovered(&mut self, now: Instant) -> Option<Duration> {
        self.is_other = false;
        let since = self.since.take()?;
        self.written.take().map(|_| now.duration_since(since))
    }
}

/// The first of what there is to list, and how many more.
pub fn listed(entries: &[impl AsRef<str>]) -> String {
    const MOST: usize = 10;
    let first: Vec<&str> = entries.iter().take(MOST).map(AsRef::as_ref).collect();
    match entries.len().saturating_sub(MOST) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// A length of time for people: whole seconds from ten seconds on, milliseconds below.
pub fn rounded(duration: Duration) -> humantime::FormattedDuration {
    let whole = if duration < Duration::from_secs(10) {
        Duration::from_millis(duration.as_millis().try_into().unwrap_or(u64::MAX))
    } else {
        Duration::from_secs(duration.as_secs())
    };
    humantime::format_duration(whole)
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
        assert_eq!(repeats.failed(at(60), "refused"), Line::Still(Duration::from_secs(60)));
        assert_eq!(repeats.recovered(at(130)), Some(Duration::from_secs(130)));
        assert_eq!(repeats.recovered(at(131)), None);
        assert_eq!(repeats.failed(at(132), "refused"), Line::First, "a new outage is news");
    }

    #[test]
    fn the_same_of_another_thing_is_written_and_its_end_tells_of_all() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut repeats = Repeats::default();
        assert_eq!(repeats.failed(at(0), "refused"), Line::First);
        repeats.renew();
        assert_eq!(repeats.failed(at(1), "refused"), Line::First);
        assert_eq!(repeats.failed(at(2), "refused"), Line::Silent);
        repeats.renew();
        assert_eq!(repeats.recovered(at(3)), Some(Duration::from_secs(3)));
        assert_eq!(repeats.failed(at(4), "refused"), Line::First);
        assert_eq!(repeats.failed(at(5), "refused"), Line::Silent);
        for second in 5..20 {
            repeats.renew();
            repeats.failed(at(second), "refused");
        }
        assert_eq!(repeats.failed(at(20), "refused"), Line::Silent, "enough is enough");
    }

    #[test]
    fn another_reason_is_written_and_too_many_are_not() {
        let start = Instant::now();
        let mut repeats = Repeats::default();
        let lines = (0..120_u64).filter(|second| {
            let now = start + Duration::from_secs(*second);
            let line = repeats.failed(now, &format!("reason {second}"));
            let _ = repeats.recovered(now);
            line != Line::Silent
        });
        assert_eq!(lines.count(), 2 * NEWS);
    }
}
