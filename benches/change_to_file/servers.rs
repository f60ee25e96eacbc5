//! An upstream of 10,000 servers, of which one changes: a plain loop, and the component that checks every field.

use std::fs;

use crate::race::{self, Pair};
use crate::report::Report;
use crate::sight::Sight;
use crate::stage::Stage;
use crate::support::etcd_client::put;

const SERVERS: usize = 10_000;

/// Measures both templates.
pub(crate) fn measure(stage: &Stage, report: &mut Report, samples: usize) {
    let plain = r#"
          {% for s in service(name="web") %}
              server {{ s.address }}:{{ s.port }} weight={{ s.weight }};
          {% endfor %}
"#;
    let component = r#"
          {{ <nginx.upstream name="web" servers={service(name="web")} /> }}
"#;
    let all: Vec<_> = (0..SERVERS).map(|number| put(&key(number), endpoint(10, number))).collect();
    stage.client().pipeline(all.chunks(100).map(<[_]>::to_vec));
    for (round, (name, content)) in [("plain loop", plain), ("nginx.upstream", component)].into_iter().enumerate() {
        let targets =
            format!("targets:\n  bench:\n    templates:\n      - dest: out/file\n        content: |{content}");
        let liveconf = stage.liveconf(&format!("servers-{round}"), &targets);
        let file = liveconf.out.join("file");
        let sight = Sight::on(&[&liveconf.out]);
        sight.of(&file, &endpoint(10, SERVERS - 1));
        let floor = stage.floor(&format!("servers-{round}-floor"), "/bench/floor/", &fs::read(&file).unwrap());
        let sight = Sight::on(&[&liveconf.out, &floor.out]);
        // Another network for each template, so that every change is one.
        let value = move |number| endpoint(20 + round, number);
        let change = move |number| {
            let value = value(number);
            stage.put(key(number * 7919 % (SERVERS - 1)), value.clone(), value, file.clone())
        };
        let of_floor = floor.out.join("file");
        let floor_change = move |number| {
            let value = value(number);
            stage.put("/bench/floor/file".into(), value.clone(), value, of_floor.clone())
        };
        let pair = Pair { liveconf: Box::new(change), floor: Box::new(floor_change) };
        let times = race::run_one(&sight, samples / 8, pair);
        times.report(report, name, &format!("change to file, one of 10,000 servers, {name}"), None);
    }
}

fn key(number: usize) -> String {
    format!("/services/web/w{number:05}")
}

fn endpoint(network: usize, number: usize) -> String {
    format!("{network}.0.{}.{}:8080", number / 250, number % 250)
}
