//! Memory at rest.

use std::thread;
use std::time::Duration;

use crate::process::status;
use crate::report::Report;
use crate::stage::Stage;
use crate::targets;

/// Resident memory that it may take, in MiB.
const RESIDENT: f64 = 12.0;

/// Threads that work on files end when they had nothing to do for 10 s.
const REST: Duration = Duration::from_secs(12);

/// Measures one target and a hundred.
pub(crate) fn measure(stage: &Stage, report: &mut Report, _samples: usize) {
    let floor = stage.floor("memory-floor", "/bench/floor/", b"");
    for (name, count) in [("1 template", 1), ("100 templates", 100)] {
        let liveconf = targets::start(stage, &format!("memory-{count}"), count);
        thread::sleep(REST);
        let id = liveconf.daemon.id();
        let [resident, anonymous, peak] = ["VmRSS", "RssAnon", "VmHWM"].map(|field| status(id, field) / 1024.0);
        report.raw_value("memory", &format!("{name} VmRSS"), "MiB", resident);
        report.raw_value("memory", &format!("{name} RssAnon"), "MiB", anonymous);
        report.raw_value("memory", &format!("{name} VmHWM"), "MiB", peak);
        report.raw_value("memory", &format!("{name} threads"), "", status(id, "Threads"));
        let shown = format!("{resident:.1} MiB (private {anonymous:.1}, peak {peak:.1})");
        let least = format!("{:.1} MiB", status(floor.daemon.id(), "VmRSS") / 1024.0);
        let target = format!("under {RESIDENT} MiB");
        report.row(&format!("memory at rest, {name}"), &shown, &least, &target, Some(resident < RESIDENT));
    }
}
