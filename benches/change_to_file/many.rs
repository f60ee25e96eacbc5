//! 10,000 keys below one prefix, all in one file, of which one changes.

use std::fs;

use crate::race::{self, Pair};
use crate::report::Report;
use crate::sight::Sight;
use crate::stage::Stage;
use crate::support::etcd_client::put;
use crate::traffic;

const KEYS: usize = 10_000;
/// Bytes that etcd may send for one change.
const BYTES: f64 = 300.0;

/// Measures time and traffic.
pub(crate) fn measure(stage: &Stage, report: &mut Report, samples: usize) {
    let keys: Vec<_> = (0..KEYS).map(|number| put(&key(number), format!("value-{number:012}"))).collect();
    stage.client().pipeline(keys.chunks(100).map(<[_]>::to_vec));
    let targets = r#"
targets:
  bench:
    templates:
      - dest: out/file
        content: |
          {% for entry in prefix(path="bench/many") %}
          {{ entry.key }} = {{ entry.value }}
          {% endfor %}
"#;
    let liveconf = stage.liveconf("many", targets);
    let file = liveconf.out.join("file");
    let sight = Sight::on(&[&liveconf.out]);
    sight.of(&file, &format!("value-{:012}", KEYS - 1));
    let floor = stage.floor("many-floor", "/bench/floor/", &fs::read(&file).unwrap());
    let sight = Sight::on(&[&liveconf.out, &floor.out]);

    let changed = move |number: usize| (key(number * 7919 % KEYS), format!("other-{number:012}"));
    let change = move |number| {
        let (key, value) = changed(number);
        stage.put(key, value.clone(), value, file.clone())
    };
    let of_floor = floor.out.join("file");
    let floor_change = move |number| {
        let value = changed(number).1;
        stage.put("/bench/floor/file".into(), value.clone(), value, of_floor.clone())
    };
    let pair = Pair { liveconf: Box::new(change), floor: Box::new(floor_change) };
    let times = race::run_one(&sight, samples / 4, pair);
    times.report(report, "many", "change to file, one of 10,000 keys", None);
    drop(floor);

    let bytes = traffic::per_change(stage, |number| changed(number + KEYS / 2));
    report.raw_value("many", "sent by etcd for a change", "bytes", bytes);
    let met = Some(bytes < BYTES);
    report.row("bytes from etcd per change, 10,000 keys", &format!("{bytes:.0}"), "", &format!("under {BYTES}"), met);
}

fn key(number: usize) -> String {
    format!("/bench/many/key-{number:05}")
}
