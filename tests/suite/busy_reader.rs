//! Nobody ever sees a part of a file: not a reader that never stops reading.

use std::time::Duration;

use crate::support::etcd::Etcd;
use crate::support::etcd_client::put;
use crate::support::liveconf::Job;
use crate::support::poll_until;
use crate::support::reader::Reader;

/// Every version holds its number at the beginning and at the end, and 2,000 lines between that name it too.
#[test]
fn a_reader_sees_only_whole_files_through_ten_thousand_changes() {
    const CHANGES: usize = 10_000;
    let etcd = Etcd::start();
    let client = etcd.client();
    let job = Job::new(&format!(
        "registries: {{main: {{etcd: {{endpoints: {}}}}}}}
targets:
  program:
    templates: [{{src: in.tera, dest: out.conf}}]
    wait: 0
    reload_interval: 0
",
        etcd.endpoints_yaml()
    ));
    let template = "{% set version = key(path=\"version\") %}\n{% for line in range(end=2000) %}\n\
                    {{ line }} {{ version }}\n{% endfor %}\nend {{ version }}\n";
    job.write("in.tera", template);
    client.put("/version", "0");
    let daemon = job.start(&["run"]);
    job.wait_for_lines("out.conf", 2001);

    let reader = Reader::start(job.folder().path("out.conf"), |content| {
        let text = std::str::from_utf8(content).unwrap();
        let Some(version) = text.lines().next_back().and_then(|line| line.strip_prefix("end ")) else { return false };
        text.lines().count() == 2001 && text.lines().all(|line| line.split_once(' ').unwrap().1 == version)
    });
    client.pipeline((1..CHANGES).map(|number| vec![put("/version", number.to_string())]));
    client.put("/version", CHANGES.to_string());
    poll_until(Duration::from_secs(60), || {
        let text = job.read("out.conf").unwrap();
        let last = text.lines().next_back().unwrap_or_default();
        if last == format!("end {CHANGES}") { Ok(()) } else { Err(format!("the file is at `{last}`")) }
    });
    let seen = reader.stop();
    seen.assert_always_whole();
    assert!(seen.versions > 50, "{seen:?}");
    println!("{seen:?}");
    daemon.stop();
}
