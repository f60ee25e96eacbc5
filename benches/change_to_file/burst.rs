//! 1,000 changes as fast as etcd takes them, to a target with a reload command.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::report::Report;
use crate::sight::Sight;
use crate::stage::Stage;
use crate::support::etcd_client::put;

const CHANGES: usize = 1000;

/// Counts what is done about them.
pub(crate) fn measure(stage: &Stage, report: &mut Report, _samples: usize) {
    stage.client().put("/bench/burst", "begin");
    let targets = r#"
targets:
  bench:
    templates: [{content: '{{ key(path="bench/burst") }}', dest: out/file}]
    reload: {shell: "echo reloaded >> reloads"}
"#;
    let mut liveconf = stage.liveconf("burst", targets);
    let file = liveconf.out.join("file");
    let reloads = liveconf.out.with_file_name("reloads");
    let count = || fs::read_to_string(&reloads).unwrap_or_default().lines().count();
    liveconf.daemon.wait_for_log("wrote");
    // The reload interval of the first apply is over then.
    thread::sleep(Duration::from_secs(2));
    let (written, reloaded) = (liveconf.daemon.logged("wrote").len(), count());
    let sight = Sight::on(&[&liveconf.out]);
    let begun = Instant::now();
    stage.client().pipeline((0..CHANGES).map(|number| vec![put("/bench/burst", format!("burst {number:06}"))]));
    let sent = begun.elapsed();
    let shown = sight.of(&file, &format!("burst {:06}", CHANGES - 1)).duration_since(begun);
    // Whatever would still come.
    thread::sleep(Duration::from_secs(2));
    let (written, reloaded) = (liveconf.daemon.logged("wrote").len() - written, count() - reloaded);
    report.raw_value("burst", "renders", "", f64::from(u32::try_from(written).unwrap()));
    report.raw_value("burst", "reloads", "", f64::from(u32::try_from(reloaded).unwrap()));
    report.raw_value("burst", "puts took", "ms", sent.as_secs_f64() * 1e3);
    report.raw_value("burst", "last value visible after", "ms", shown.as_secs_f64() * 1e3);
    let lag = shown.saturating_sub(sent);
    let what = format!("{CHANGES} puts in {} ms", sent.as_millis());
    let came = format!("{written} renders, {reloaded} reloads, true {} ms after the last", lag.as_millis());
    report.row(&what, &came, "", "", None);
}
