//! The same change for liveconf and for the floor, by turns.

use std::ops::Range;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use rand::Rng as _;

use crate::report::{Report, Samples};
use crate::sight::Sight;

/// Milliseconds between two changes where there are two lanes. Each gets every second change, so each is a leading one:
/// the default `wait` is 100 ms.
pub(crate) const PAUSE: Range<u64> = 160..260;

/// One of those that are changed by turns. Told the number of the change, each is another.
pub(crate) type Lane<'a> = Box<dyn Fn(usize) -> Change<'a> + 'a>;

/// One change and where it is seen.
pub(crate) struct Change<'a> {
    /// Makes it; over when the registry has answered.
    pub(crate) send: Box<dyn FnOnce() + 'a>,
    /// Which file shows it.
    pub(crate) file: PathBuf,
    /// Text by which it shows.
    pub(crate) marker: String,
    /// Whether the text comes with the change, or goes.
    pub(crate) present: bool,
}

/// The same kind of change, followed by the two.
pub(crate) struct Pair<'a> {
    pub(crate) liveconf: Lane<'a>,
    pub(crate) floor: Lane<'a>,
}

/// Times from the sending of the change to the sight of the file.
#[derive(Default)]
pub(crate) struct Times {
    /// Of liveconf.
    pub(crate) liveconf: Samples,
    /// Of the floor.
    pub(crate) floor: Samples,
    /// From the sending of the change to the registry's answer: a part of both, and of neither's making.
    pub(crate) answer: Samples,
}

/// What is wanted of liveconf.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    /// At the median at most so many times what the floor takes.
    Ratio(f64),
    /// None longer than so many milliseconds.
    Within(f64),
}

/// Runs `samples` changes of each lane, with so many milliseconds between two changes.
pub(crate) fn run(sight: &Sight, samples: usize, pause: &Range<u64>, pairs: &[Pair<'_>]) -> Vec<Times> {
    let mut all: Vec<Times> = pairs.iter().map(|_| Times::default()).collect();
    // The first of each makes files and connections warm, and does not count.
    for number in 0..=samples {
        for (pair, times) in pairs.iter().zip(&mut all) {
            for (lane, samples) in [(&pair.liveconf, &mut times.liveconf), (&pair.floor, &mut times.floor)] {
                thread::sleep(Duration::from_millis(rand::rng().random_range(pause.clone())));
                let change = lane(number);
                let sent = Instant::now();
                (change.send)();
                let answered = sent.elapsed();
                let seen = sight.change(&change.file, &change.marker, change.present).saturating_duration_since(sent);
                if number > 0 {
                    samples.push_time(seen);
                    times.answer.push_time(answered);
                }
            }
        }
    }
    all
}

/// One pair.
pub(crate) fn run_one(sight: &Sight, samples: usize, pair: Pair<'_>) -> Times {
    run(sight, samples, &PAUSE, &[pair]).remove(0)
}

impl Times {
    /// Writes a row of the table and the raw samples.
    pub(crate) fn report(&self, report: &mut Report, part: &str, what: &str, target: Option<Target>) {
        for (name, samples) in [("liveconf", &self.liveconf), ("floor", &self.floor), ("put", &self.answer)] {
            report.raw(part, name, "ms", samples);
        }
        let ratio = |percent| self.liveconf.percentile(percent) / self.floor.percentile(percent);
        let shown = |samples: &Samples| {
            let [p50, p90, p99] = [50, 90, 99].map(|percent| samples.percentile(percent));
            format!("{p50:.2} / {p90:.2} / {p99:.2} ms")
        };
        let wanted = target.map_or(String::new(), |target| match target {
            Target::Ratio(most) => format!("at most {most} of the floor"),
            Target::Within(most) => format!("each within {most} ms"),
        });
        let met = target.map(|target| match target {
            Target::Ratio(most) => ratio(50) <= most,
            Target::Within(most) => self.liveconf.percentile(100) <= most,
        });
        let (of_median, of_p99) = (ratio(50), ratio(99));
        let live = format!("{} ({of_median:.2} of the floor, {of_p99:.2} at the 99th)", shown(&self.liveconf));
        report.row(what, &live, &shown(&self.floor), &wanted, met);
        if self.floor.percentile(90) > 2.0 * self.floor.percentile(50) {
            report.doubt(vec![format!("{what}: the floor itself spreads wide")]);
        }
    }
}
