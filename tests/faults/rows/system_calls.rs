//! Nobody ever sees a part of a file, not after a `kill -9` at any system call of an apply either: the next start
//! finishes what was begun.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::folder::Folder;
use crate::support::liveconf::{Daemon, Job};
use crate::support::process::{Process, bound};
use crate::support::strace::{Call, Strace};
use crate::support::{SOON, poll_until};

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

    /// Starts liveconf, which finishes what was begun; `after` says what that was. It then applies another version, so
    /// that it is at rest.
    fn start(&mut self, after: &str) -> Daemon {
        let daemon = self.job.start(&["run"]);
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
        let is_leftover = |name: &String| name.starts_with('.') || name.strip_suffix(".new").is_some();
        let [out, state] = ["out", "state"].map(|folder| self.job.folder().names(folder));
        let record = self.job.read("state/program.json").unwrap_or_default();
        if out != ["a.conf", "b.conf"] || state.iter().any(is_leftover) || !record.contains("\"settled\":true") {
            return Err(format!("not settled: {out:?} {state:?} {record}"));
        }
        Ok(())
    }

    /// What an apply that is not disturbed does, from its first staged file until the record that the program runs on
    /// what it brought.
    fn whole_apply(&mut self) -> Vec<Call> {
        let daemon = self.start("before the trace");
        let strace = Strace::attach(daemon.id(), self.traces.path("trace"), None);
        self.change();
        poll_until(SOON, || self.settled());
        let mut calls = strace.calls(self.job.folder().root(), is_staged);
        strace.end();
        daemon.stop();
        let last = calls.iter().rposition(|call| call.point.contains("state/program.json"));
        calls.truncate(last.expect("a record") + 1);
        // Answers are saved on a clock of their own.
        calls.retain(|call| !call.point.contains("state/answers"));
        calls
    }

    /// Lets liveconf apply another version, holds it at this call, and kills it there; whether that was so.
    fn killed_at(&mut self, call: &Call, hold: Duration) -> bool {
        let daemon = self.start(&format!("after the call before `{}`", call.point));
        let strace = Strace::attach(daemon.id(), self.traces.path("trace"), Some((&call.name, hold)));
        self.change();
        let folder = self.job.folder().root();
        let with = |finished| Call { finished, ..call.clone() };
        poll_until(SOON, || {
            let calls = strace.calls(folder, is_staged);
            // It may have been let go before it was seen.
            let seen = calls.contains(&with(false)) || calls.contains(&with(true));
            if seen { Ok(()) } else { Err(format!("never came to `{}`: {calls:#?}", call.point)) }
        });
        daemon.kill();
        let killed = strace.calls(folder, is_staged).contains(&with(false));
        strace.end();
        killed
    }
}

/// The first staged file is made.
fn is_staged(line: &str) -> bool {
    line.contains("O_EXCL") && line.contains("/out>, \".a.conf")
}

/// liveconf was ended by `kill -9` at every system call of an apply: every reader found whole files, and the next start finished the work and left nothing behind.
#[test]
fn row_01_killed_at_every_system_call_of_an_apply() {
    let mut scene = Scene::new();
    scene.job.run(&["once"]).assert_code(0);
    scene.job.write("served", "a 0b 0");
    let calls = scene.whole_apply();
    for name in ["write ", "fsync ", "rename ", "pidfd_send_signal "] {
        assert!(calls.iter().any(|call| call.point.starts_with(name)), "no {name}in {calls:#?}");
    }
    for call in &calls {
        // On a busy machine it may be let go before it can be killed: then it is held for longer.
        let holds = [10, 50, 250, 1000, 5000].map(Duration::from_millis);
        let reached = holds.into_iter().any(|hold| {
            let killed = scene.killed_at(call, hold);
            for (file, prefix) in [("out/a.conf", "a"), ("out/b.conf", "b")] {
                let content = scene.job.read(file).unwrap();
                let whole = [scene.version - 1, scene.version].map(|version| format!("{prefix} {version}"));
                assert!(whole.contains(&content), "killed at `{}`, `{file}` holds {content:?}", call.point);
            }
            killed
        });
        assert!(reached, "never killed at `{}` of {calls:#?}", call.point);
    }
    scene.start("after the last call").stop();
    println!("killed at each of {} system calls", calls.len());
}
