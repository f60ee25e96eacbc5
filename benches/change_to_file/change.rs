//! One key, one target, one file: from the change to the file.

use crate::process::{cpu, preempted};
use crate::race::{self, Lane, Pair, Target};
use crate::report::Report;
use crate::sight::Sight;
use crate::stage::{Running, Stage};

/// How much longer than the floor it may take at the median.
const RATIO: f64 = 1.5;

/// Measures it with a value of 1 KiB, which is the whole file.
pub(crate) fn measure(stage: &Stage, report: &mut Report, samples: usize) {
    stage.client().put("/bench/live/file", "begin");
    let targets = "targets: {bench: {templates: [{content: '{{ key(path=\"bench/live/file\") }}', dest: out/file}]}}\n";
    let liveconf = stage.liveconf("change", targets);
    let floor = stage.floor("change-floor", "/bench/floor/", b"");
    let sight = Sight::on(&[&liveconf.out, &floor.out]);
    sight.of(&liveconf.out.join("file"), "begin");
    let before = [&liveconf, &floor].map(|one| (cpu(one.daemon.id()), preempted(one.daemon.id())));
    let pair = Pair { liveconf: lane(stage, "live", &liveconf), floor: lane(stage, "floor", &floor) };
    let times = race::run_one(&sight, samples, pair);
    times.report(report, "change", "change to file, 1 KiB", Some(Target::Ratio(RATIO)));
    let put = times.answer.percentile(50);
    report.note(format!("of that, the answer to the put took {put:.2} ms at the median"));
    let changes = f64::from(u32::try_from(samples + 1).unwrap());
    let [live, floor] = [(&liveconf, before[0]), (&floor, before[1])].map(|(one, (cpu_before, preempted_before))| {
        let id = one.daemon.id();
        ((cpu(id) - cpu_before) / changes, (preempted(id) - preempted_before) / changes)
    });
    report.row("CPU of it", &format!("{:.2} ms", live.0), &format!("{:.2} ms", floor.0), "", None);
    report.raw_value("change", "liveconf preempted per change", "times", live.1);
    report.raw_value("change", "floor preempted per change", "times", floor.1);
}

fn lane<'a>(stage: &'a Stage, name: &str, running: &Running) -> Lane<'a> {
    let (key, file, name) = (format!("/bench/{name}/file"), running.out.join("file"), name.to_owned());
    Box::new(move |number| {
        let marker = format!("{name} change {number:06}\n");
        let value = marker.clone() + &"x".repeat(1024 - marker.len());
        stage.put(key.clone(), value, marker, file.clone())
    })
}
