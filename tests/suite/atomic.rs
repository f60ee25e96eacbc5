//! Nobody ever sees a part of a file: not a reader that never stops reading, and not the next start after a
//! `kill -9` at any system call of an apply.

use std::collections::BTreeSet;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::etcd::Etcd;
use crate::support::etcd_client::put;
use crate::support::folder::Folder;
use crate::support::liveconf::{Daemon, Job, start};
use crate::support::process::{Process, bound};
use crate::support::reader::Reader;
use crate::support::strace::{Call, Strace, Trace};
use crate::support::{SOON, poll_until};

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

/// A target of two files, the program that reads them when it is told to, and the liveconf that is killed.
struct Scene {
    job: Job,
    /// Not in the folder of the job: liveconf is told of what changes there, and strace would write that too.
    traces: Folder,
    _program: Process,
    version: usize,
}

impl Scene {
    fn new() -> Self {
        let job = Job::new(
            "registries: {local: {file: {path: registry/registry.yaml}}}
targets:
  program:
    templates:
      - {content: 'a {{ key(path=\"x\") }}', dest: out/a.conf}
      - {content: 'b {{ key(path=\"x\") }}', dest: out/b.conf}
    reload: {signal: HUP, pid_file: program.pid}
    wait: 0
    reload_interval: 0
",
        )
        .with("registry/registry.yaml", "x: 0\n")
        .with("out/a.conf", "a 0")
        .with("out/b.conf", "b 0");
        // It puts what it has read there by rename, so that a look at it is never a look at a part.
        job.write(
            "program",
            "trap 'cat out/a.conf out/b.conf > .served; mv .served served' HUP\n\
             echo $$ > .pid; mv .pid program.pid\nwhile :; do sleep 0.02; done\n",
        );
        let mut program = bound(Signal::SIGKILL, "sh");
        program.arg("program").current_dir(job.folder().root());
        let program = Process::start(program);
        job.wait_for_lines("program.pid", 1);
        Self { job, traces: Folder::new(), _program: program, version: 0 }
    }

    /// Starts liveconf, which finishes what was begun; `after` says what that was. It then applies another version,
    /// so that all its threads are there.
    fn start(&mut self, after: &str) -> Daemon {
        let mut command = self.job.command(&["run"]);
        // Fewer threads, so that most runs take the same way.
        command.env("TOKIO_WORKER_THREADS", "1");
        let daemon = start(command);
        poll_until(SOON, || self.settled().map_err(|reason| format!("{after}: {reason}")));
        self.change();
        poll_until(SOON, || self.settled());
        daemon
    }

    /// Writes the next version.
    fn change(&mut self) {
        self.version += 1;
        self.job.write("registry/registry.yaml", format!("x: {}\n", self.version));
    }

    /// Whether files, program and state all say the present version, and there is nothing else.
    fn settled(&self) -> Result<(), String> {
        let version = self.version;
        let files = [("out/a.conf", format!("a {version}")), ("out/b.conf", format!("b {version}"))];
        for (file, expected) in files.iter().chain(&[("served", format!("a {version}b {version}"))]) {
            let found = self.job.read(file);
            if found.as_ref() != Some(expected) {
                return Err(format!("`{file}` should hold {expected:?}, but holds {found:?}"));
            }
        }
        let leftover = |name: &String| name.starts_with('.') || name.ends_with(".new");
        let [out, state] = ["out", "state"].map(|folder| self.job.folder().names(folder));
        let record = self.job.read("state/program.json").unwrap_or_default();
        if out != ["a.conf", "b.conf"] || state.iter().any(leftover) || record.contains("unsettled") {
            return Err(format!("not settled: {out:?} {state:?} {record}"));
        }
        Ok(())
    }

    /// Lets `daemon` apply another version under strace, and kills it at `kill`: what it did.
    fn apply(&mut self, daemon: &mut Daemon, kill: Option<&Call>) -> Trace {
        let strace = Strace::attach(daemon.id(), self.traces.path("trace"), kill);
        self.change();
        poll_until(SOON, || if daemon.is_running() { self.settled() } else { Ok(()) });
        strace.end(self.job.folder().root())
    }

    /// What an apply that is not disturbed does, from its first staged file until the record that the program runs on
    /// what it brought.
    fn whole_apply(&mut self, daemon: &mut Daemon) -> Vec<Call> {
        let trace = self.apply(daemon, None);
        let is_staged = |call: &Call| call.line.contains("O_EXCL") && call.line.contains("/out");
        trace.between(is_staged, |call| call.line.contains("/state/program.json")).to_vec()
    }
}

#[test]
fn killed_at_every_system_call_of_an_apply() {
    let mut scene = Scene::new();
    scene.job.run(&["once"]).assert_code(0);
    scene.job.write("served", "a 0b 0");
    let mut daemon = scene.start("at first");
    let mut guide = scene.whole_apply(&mut daemon);
    let points: BTreeSet<String> = guide.iter().map(|call| call.point.clone()).collect();
    for name in [" write", " fsync", " rename", " pidfd_send_signal"] {
        assert!(points.iter().any(|point| point.contains(name)), "no{name} in {points:#?}");
    }

    let mut reached = BTreeSet::new();
    // Threads share the work, and not always in the same way: a point that was missed is tried again by another trace.
    for _ in 0..20 {
        for call in guide.iter().filter(|call| points.contains(&call.point)) {
            if reached.contains(&call.point) {
                continue;
            }
            if !daemon.is_running() {
                daemon = scene.start("killed late");
            }
            let killed = scene.apply(&mut daemon, Some(call)).killed_at();
            for (file, prefix) in [("out/a.conf", "a"), ("out/b.conf", "b")] {
                let content = scene.job.read(file).unwrap();
                let whole = [scene.version - 1, scene.version].map(|version| format!("{prefix} {version}"));
                assert!(whole.contains(&content), "killed at {killed:?}, `{file}` holds {content:?}");
            }
            if !daemon.is_running() {
                daemon = scene.start(&format!("killed at {killed:?}"));
            }
            reached.extend(killed);
        }
        if points.is_subset(&reached) {
            break;
        }
        guide = scene.whole_apply(&mut daemon);
    }
    let missed: Vec<_> = points.difference(&reached).collect();
    assert!(missed.is_empty(), "never killed at {missed:#?}");
    println!("killed at each of {} system calls", points.len());
    daemon.stop();
}
