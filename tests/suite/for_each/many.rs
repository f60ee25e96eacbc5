//! Thousands of items. `LIVECONF_ITEMS=2000` makes as many and prints how long it takes.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::etcd::Etcd;
use crate::support::etcd_client;
use crate::support::liveconf::{self, Daemon, Job};
use crate::support::poll_until;

/// How long the whole set may take on a busy machine, in a program that is not optimized.
const LONG: Duration = Duration::from_secs(60);

fn count() -> usize {
    std::env::var("LIVECONF_ITEMS").ok().and_then(|count| count.parse().ok()).unwrap_or(400)
}

/// The inodes of the files, by name: a file that is written has another one.
fn inodes(job: &Job) -> Vec<(String, u64)> {
    let mut all: Vec<_> = fs::read_dir(job.folder().path("out"))
        .unwrap()
        .map(|entry| entry.unwrap())
        // One may go meanwhile.
        .filter_map(|entry| Some((entry.file_name().into_string().unwrap(), entry.metadata().ok()?.ino())))
        .collect();
    all.sort();
    all
}

/// The most memory that it has taken, in kilobytes.
fn peak(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn of_hundreds_of_files_the_one_that_changes_is_written() {
    let count = count();
    let etcd = Etcd::start();
    let client = etcd.client();
    client.pipeline(
        (0..count).map(|number| vec![etcd_client::put(&format!("/sites/site{number:04}"), "x".repeat(2000))]),
    );
    let job = Job::new(&format!(
        "registries: {{main: {{etcd: {}}}}}
targets:
  sites:
    templates:
      - for_each: prefix(path=\"sites\")
        content: '{{{{ item.key }}}} {{{{ item.value }}}}'
        dest: 'out/{{{{ item.key }}}}.conf'
    wait: 0
    reload_interval: 0
    render_timeout: 30s
    reload: {{shell: 'until [ $(ulimit -Sn) = 300 ]; do sleep 0.01; done; ls out | wc -l >> reloads'}}
",
        etcd.section()
    ))
    .with("out/other.conf", "");
    // Fewer files may be open than are written; the programs that are started get that limit back.
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -Sn 300; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_liveconf")]);
    let started = Instant::now();
    let daemon = liveconf::start(job.prepare(limited, &["run"]));
    let reloads = |lines: usize| {
        poll_until(LONG, || {
            let found = job.read("reloads").unwrap_or_default().lines().count();
            if found >= lines { Ok(()) } else { Err(format!("{found} reloads, {:?}", daemon.log().last())) }
        });
    };
    reloads(1);
    let all = started.elapsed();
    assert_eq!(job.read("reloads"), Some(format!("{}\n", count + 1)));
    // One of them changes.
    let before = inodes(&job);
    let changed = Instant::now();
    client.put("/sites/site0007", "short");
    job.wait_for_within(LONG, "out/site0007.conf", "site0007 short");
    let one = changed.elapsed();
    reloads(2);
    let now = inodes(&job);
    let written: Vec<_> = now.iter().filter(|file| !before.contains(file)).map(|(name, _)| name.as_str()).collect();
    assert_eq!(written, ["site0007.conf"]);
    // All of them go but one, in one step.
    let gone = Instant::now();
    client.txn(vec![etcd_client::delete_prefix("/sites/")]);
    poll_until(LONG, || {
        let left = inodes(&job).len();
        if left == 1 { Ok(()) } else { Err(format!("{left} are left")) }
    });
    println!(
        "{count} items: all files {all:?}, one that changes {one:?}, all gone {:?}, at most {} kB",
        gone.elapsed(),
        peak(&daemon)
    );
    daemon.stop();
}
