//! 100 targets, each with a prefix of its own, of which one is concerned by a change.

use std::fmt::Write as _;
use std::fs;
use std::thread;
use std::time::Duration;

use crate::process::cpu;
use crate::race::{self, Pair};
use crate::report::Report;
use crate::sight::Sight;
use crate::stage::{Running, Stage};
use crate::support::{SOON, poll_until};
use crate::traffic;

const TARGETS: usize = 100;
const CHANGES: usize = 1000;
/// Processor time that a change may take, in milliseconds.
const CPU: f64 = 0.5;

/// Measures time, traffic and processor time.
pub(crate) fn measure(stage: &Stage, report: &mut Report, samples: usize) {
    let liveconf = start(stage, "targets", TARGETS);
    let floor = stage.floor("targets-floor", "/bench/floor/", b"");
    let sight = Sight::on(&[&liveconf.out, &floor.out]);
    let (live_out, floor_out) = (liveconf.out.clone(), floor.out.clone());
    let change = move |number| {
        let target = number * 37 % TARGETS;
        let value = format!("timed {number:06}");
        stage.put(key(target), value.clone(), value, live_out.join(target.to_string()))
    };
    let floor_change = move |number| {
        let value = format!("timed {number:06}");
        stage.put("/bench/floor/0".into(), value.clone(), value, floor_out.join("0"))
    };
    let pair = Pair { liveconf: Box::new(change), floor: Box::new(floor_change) };
    let times = race::run_one(&sight, samples / 4, pair);
    times.report(report, "targets", "change to file, one of 100 targets", None);

    let bytes = traffic::per_change(stage, |number| (key(number % TARGETS), format!("counted {number:06}")));
    report.raw_value("targets", "sent by etcd for a change", "bytes", bytes);
    report.row("bytes from etcd per change, 100 targets", &format!("{bytes:.0}"), "", "", None);

    let live = work(stage, &liveconf, key);
    let least = work(stage, &floor, |target| format!("/bench/floor/{target}"));
    report.raw_value("targets", "liveconf processor time of a change", "ms", live);
    report.raw_value("targets", "floor processor time of a change", "ms", least);
    let met = Some(live < CPU);
    let shown = |time: f64| format!("{time:.3} ms");
    report.row("CPU per change, 100 targets", &shown(live), &shown(least), &format!("under {CPU} ms"), met);
}

/// `liveconf run` with so many targets, all files in place.
pub(crate) fn start(stage: &Stage, name: &str, targets: usize) -> Running {
    let mut section = "targets:\n".to_owned();
    for target in 0..targets {
        stage.client().put(&key(target), "begin");
        writeln!(
            section,
            "  t{target}:\n    templates:\n      - dest: out/{target}\n        content: \"{}\"",
            format_args!(
                "{{% for e in prefix(path='bench/t{target}') %}}{{{{ e.key }}}} = {{{{ e.value }}}}{{% endfor %}}"
            )
        )
        .unwrap();
    }
    let liveconf = stage.liveconf(name, &section);
    poll_until(SOON, || match fs::read_dir(&liveconf.out).unwrap().count() {
        count if count == targets => Ok(()),
        count => Err(format!("{count} of {targets} files: {}", liveconf.daemon.log().join("\n"))),
    });
    liveconf
}

fn key(target: usize) -> String {
    format!("/bench/t{target}/key")
}

/// Processor time for each of [`CHANGES`] changes, in milliseconds. They come every 10 ms, so one to the same target
/// every second.
fn work(stage: &Stage, running: &Running, key: impl Fn(usize) -> String) -> f64 {
    // What is under way is finished first.
    thread::sleep(Duration::from_secs(1));
    let before = cpu(running.daemon.id());
    for number in 0..CHANGES {
        stage.client().put(&key(number % TARGETS), format!("worked {number:06}"));
        thread::sleep(Duration::from_millis(10));
    }
    poll_until(SOON, || {
        for target in 0..TARGETS {
            let marker = format!("worked {:06}", CHANGES - TARGETS + target);
            let shown = fs::read_to_string(running.out.join(target.to_string())).unwrap_or_default();
            if !shown.contains(&marker) {
                return Err(format!("the file of target {target} does not show `{marker}`"));
            }
        }
        Ok(())
    });
    (cpu(running.daemon.id()) - before) / f64::from(u32::try_from(CHANGES).unwrap())
}
