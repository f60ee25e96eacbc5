//! The same change for liveconf and for the floor, by turns.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use rand::Rng as _;

use crate::report::{Report, Samples};
use crate::sight::Sight;
use crate::stage::Stage;

/// Between two changes. Each lane gets every second one, so each is a leading change: the default `wait` is 100 ms.
const PAUSE: std::ops::Range<u64> = 160..260;

/// One of the two.
pub(crate) struct Lane {
    /// What a change is: key, value, and text that the file shows once it is there. Told the number of the change,
    /// each is another.
    pub(crate) change: Box<dyn Fn(usize) -> Change>,
}

/// One change and where it is seen.
pub(crate) struct Change {
    /// The key that is put.
    pub(crate) key: String,
    /// Its new value.
    pub(crate) value: String,
    /// What the file shows then.
    pub(crate) marker: String,
    /// Which file.
    pub(crate) file: PathBuf,
}

/// Times from the sending of the put to the sight of the file.
pub(crate) struct Times {
    /// Of liveconf.
    pub(crate) liveconf: Samples,
    /// Of the floor.
    pub(crate) floor: Samples,
    /// From the sending of the put to its answer: a part of both, and of neither's making.
    pub(crate) put: Samples,
}

/// Runs `samples` changes of each lane.
pub(crate) fn run(stage: &Stage, sight: &Sight, samples: usize, liveconf: &Lane, floor: &Lane) -> Times {
    let mut times = Times { liveconf: Samples::default(), floor: Samples::default(), put: Samples::default() };
    // The first of each makes files and connections warm, and does not count.
    for number in 0..=samples {
        for (lane, samples) in [(liveconf, &mut times.liveconf), (floor, &mut times.floor)] {
            thread::sleep(Duration::from_millis(rand::rng().random_range(PAUSE)));
            let change = (lane.change)(number);
            let sent = Instant::now();
            stage.client().put(&change.key, &change.value);
            let answered = sent.elapsed();
            let seen = sight.of(&change.file, &change.marker).duration_since(sent);
            if number > 0 {
                samples.push_time(seen);
                times.put.push_time(answered);
            }
        }
    }
    times
}

impl Times {
    /// Writes a row of the table and the raw samples; gives the ratio at the median.
    pub(crate) fn report(&self, report: &mut Report, part: &str, what: &str, target: Option<f64>) {
        for (name, samples) in [("liveconf", &self.liveconf), ("floor", &self.floor), ("put", &self.put)] {
            report.raw(part, name, "ms", samples);
        }
        let ratio = self.liveconf.percentile(50) / self.floor.percentile(50);
        let shown = |samples: &Samples| {
            let [p50, p90, p99] = [50, 90, 99].map(|percent| samples.percentile(percent));
            format!("{p50:.2} / {p90:.2} / {p99:.2} ms")
        };
        let wanted = target.map_or(String::new(), |target| format!("at most {target} of the floor"));
        let (live, floor) = (format!("{} ({ratio:.2} of the floor)", shown(&self.liveconf)), shown(&self.floor));
        report.row(what, &live, &floor, &wanted, target.map(|target| ratio <= target));
        if self.floor.percentile(90) > 2.0 * self.floor.percentile(50) {
            report.doubt(vec![format!("{what}: the floor itself spreads wide")]);
        }
    }
}
