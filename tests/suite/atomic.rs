//! Nobody ever sees a part of a file: not a reader that never stops reading, and not the next start after a
//! `kill -9` at any system call of an apply.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::etcd::Etcd;
use crate::support::etcd_client::put;
use crate::support::liveconf::{Job, run_to_end};
use crate::support::process::{Process, bound, find};
use crate::support::reader::Reader;
use crate::support::strace::{Call, Trace};

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
    client.pipeline((1..=CHANGES).map(|number| vec![put("/version", number.to_string())]));
    crate::support::poll_until(Duration::from_secs(60), || {
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

/// A target of two files whose program copies them when it is told to, and a liveconf that is killed.
struct Scene {
    job: Job,
    _program: Process,
}

impl Scene {
    fn new() -> Self {
        let job = Job::new(
            "registries: {local: {file: {path: registry.yaml}}}
targets:
  program:
    templates:
      - {content: 'a {{ key(path=\"x\") }}', dest: out/a.conf}
      - {content: 'b {{ key(path=\"x\") }}', dest: out/b.conf}
    reload: {signal: HUP, pid_file: program.pid}
",
        );
        job.write("out/a.conf", "");
        job.write("out/b.conf", "");
        // It writes what it has read by rename, so that a look at it is never a look at a part.
        job.write(
            "program",
            "trap 'cat out/a.conf out/b.conf > .served; mv .served served' HUP\n\
             echo $$ > .pid; mv .pid program.pid\nwhile :; do sleep 0.02; done\n",
        );
        let mut program = bound(Signal::SIGKILL, "sh");
        program.arg("program").current_dir(job.folder().root());
        let program = Process::start(program);
        job.wait_for_lines("program.pid", 1);
        Self { job, _program: program }
    }

    /// Everything says `version`, and the program runs on it.
    fn settle(&self, version: &str) {
        self.job.write("registry.yaml", format!("x: {version}\n"));
        self.job.run(&["once"]).assert_code(0);
        self.assert_settled(version);
    }

    #[track_caller]
    fn assert_settled(&self, version: &str) {
        self.job.wait_for("served", &format!("a {version}b {version}"));
        assert_eq!(self.job.read("out/a.conf"), Some(format!("a {version}")));
        assert_eq!(self.job.read("out/b.conf"), Some(format!("b {version}")));
        assert_eq!(self.job.folder().names("out"), ["a.conf", "b.conf"], "a leftover");
        let state = self.job.folder().names("state");
        assert!(!state.iter().any(|name| name.starts_with('.') || name.contains("tmp")), "a leftover: {state:?}");
    }

    /// `once` under strace, killed as `inject` says: what it did from its first staged file on.
    fn apply(&self, inject: Option<&Call>) -> Trace {
        let log = self.job.folder().path("trace");
        let mut strace = Command::new(find("strace"));
        strace.args(Trace::arguments(&log, inject)).arg(crate::support::liveconf::BINARY);
        let mut strace = self.job.prepare(strace, &["once"]);
        // Fewer threads, so that most runs take the same way.
        strace.env("TOKIO_WORKER_THREADS", "1");
        let output = run_to_end(strace);
        if inject.is_none() {
            output.assert_code(0);
        }
        let trace = Trace::read(&log, self.job.folder().root());
        trace.from(|call| call.name == "openat" && call.line.contains("O_EXCL") && call.line.contains("/out/"))
    }
}

#[test]
fn killed_at_every_system_call_of_an_apply() {
    let scene = Scene::new();
    scene.settle("old");
    scene.job.write("registry.yaml", "x: new\n");
    let reference = scene.apply(None);
    scene.assert_settled("new");
    let points: BTreeSet<String> = reference.calls.iter().map(|call| call.point.clone()).collect();
    assert!(points.iter().any(|point| point.starts_with("rename")), "{points:#?}");
    assert!(points.iter().any(|point| point.starts_with("fsync")), "{points:#?}");
    assert!(points.iter().any(|point| point.starts_with("pidfd_send_signal")), "{points:#?}");

    let mut reached = BTreeSet::new();
    let mut guide = reference;
    // Threads share the work, not always in the same way: a point that was missed is tried again by another trace.
    for _ in 0..6 {
        for call in guide.calls.iter().filter(|call| points.contains(&call.point)) {
            if reached.contains(&call.point) {
                continue;
            }
            scene.settle("old");
            scene.job.write("registry.yaml", "x: new\n");
            let killed = scene.apply(Some(call)).killed_at();
            for (file, prefix) in [("out/a.conf", "a"), ("out/b.conf", "b")] {
                let content = scene.job.read(file).unwrap();
                let whole = [format!("{prefix} old"), format!("{prefix} new")];
                assert!(whole.contains(&content), "killed at {killed:?}, `{file}` holds {content:?}");
            }
            scene.job.run(&["once"]).assert_code(0);
            scene.assert_settled("new");
            reached.extend(killed);
        }
        if points.is_subset(&reached) {
            break;
        }
        scene.settle("old");
        scene.job.write("registry.yaml", "x: new\n");
        guide = scene.apply(None);
    }
    let missed: Vec<_> = points.difference(&reached).collect();
    assert!(missed.is_empty(), "never killed at {missed:#?}");
    println!("killed at each of {} system calls", points.len());
}
