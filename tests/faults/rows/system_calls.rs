//! Nobody ever sees a part of a file, not after a `kill -9` at any system call of an apply either: the next start
//! finishes what was begun.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::folder::Folder;
use crate::support::liveconf::{Daemon, Job};
use crate::support::process::{Process, bound};
use crate::support::strace::{Call, Strace};
use crate::support::{SOON, poll_until};

/// What the target writes.
#[derive(Clone, Copy, PartialEq)]
enum Writes {
    /// Two files.
    Two,
    /// A file for each item: the second has one in odd versions, and is gone in even ones.
    Each,
}

/// A target of two files, the program that reads them when it is told to, and the liveconf that is killed.
struct Scene {
    writes: Writes,
    job: Job,
    /// Not in the folder of the job: liveconf is told of what changes there, and strace would write that too.
    traces: Folder,
    _program: Process,
    version: usize,
}

impl Scene {
    fn new(writes: Writes) -> Self {
        let templates = match writes {
            Writes::Two => {
                "{content: 'a {{ key(path=\"x\") }}', dest: out/a.conf}
      - {content: 'b {{ key(path=\"x\") }}', dest: out/b.conf}"
            }
            Writes::Each => {
                "for_each: prefix(path=\"items\")
        content: '{{ item.key }} {{ item.value }}'
        dest: 'out/{{ item.key }}.conf'"
            }
        };
        let job = Job::new(&format!(
            "registries: {{local: {{file: {{path: registry/registry.yaml}}}}}}
targets:
  program:
    templates:
      - {templates}
    reload: {{signal: HUP, pid_file: program.pid}}
    wait: 0
    reload_interval: 0
",
        ));
        let scene = |job, program| Self { writes, job, traces: Folder::new(), _program: program, version: 0 };
        job.write("registry/registry.yaml", registry(writes, 0));
        for (file, content) in written(writes, 0) {
            job.write(file, content);
        }
        // It puts what it has read there by rename, so that a look at it is never a look at a part.
        job.write(
            "program",
            "trap 'cat out/*.conf > .served; mv .served served' HUP\n\
             echo $$ > .pid; mv .pid program.pid\nwhile :; do sleep 0.02; done\n",
        );
        let mut program = bound(Signal::SIGKILL, "sh");
        program.arg("program").current_dir(job.folder().root());
        let program = Process::start(program);
        job.wait_for_lines("program.pid", 1);
        scene(job, program)
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
        self.job.write("registry/registry.yaml", registry(self.writes, self.version));
    }

    /// Whether files, program and state all say the present version, and there is nothing else.
    fn settled(&self) -> Result<(), String> {
        let files = written(self.writes, self.version);
        let served: String = files.iter().map(|(_, content)| content.as_str()).collect();
        for (file, expected) in files.iter().chain(&[("served", served)]) {
            let found = self.job.read(file);
            if found.as_ref() != Some(expected) {
                return Err(format!("`{file}` should hold {expected:?}, but holds {found:?}"));
            }
        }
        let is_leftover = |name: &String| name.starts_with('.') || name.strip_suffix(".new").is_some();
        let [out, state] = ["out", "state"].map(|folder| self.job.folder().names(folder));
        let record = self.job.read("state/program.json").unwrap_or_default();
        let expected: Vec<_> = files.iter().map(|(file, _)| file.trim_start_matches("out/")).collect();
        if out != expected || state.iter().any(is_leftover) || !record.contains("\"settled\":true") {
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

/// What the registry holds in this version.
fn registry(writes: Writes, version: usize) -> String {
    match writes {
        Writes::Two => format!("x: {version}\n"),
        Writes::Each if version.is_multiple_of(2) => format!("items: {{a: {version}}}\n"),
        Writes::Each => format!("items: {{a: {version}, b: {version}}}\n"),
    }
}

/// The files of this version, and what they hold.
fn written(writes: Writes, version: usize) -> Vec<(&'static str, String)> {
    let (a, b) = (("out/a.conf", format!("a {version}")), ("out/b.conf", format!("b {version}")));
    if writes == Writes::Each && version.is_multiple_of(2) { vec![a] } else { vec![a, b] }
}

/// The first staged file is made.
fn is_staged(line: &str) -> bool {
    line.contains("O_EXCL") && line.contains("/out>, \".a.conf")
}

/// liveconf was ended by `kill -9` at every system call of an apply: every reader found whole files, and the next start finished the work and left nothing behind.
#[test]
fn row_01_killed_at_every_system_call_of_an_apply() {
    let mut scene = Scene::new(Writes::Two);
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

/// liveconf was ended by `kill -9` at every system call from the removal of a file whose item is gone until the program had read
/// what is left: the next start finished the work, and told the program.
#[test]
fn row_01_killed_between_the_removal_of_a_file_and_its_reload() {
    let mut scene = Scene::new(Writes::Each);
    scene.job.run(&["once"]).assert_code(0);
    scene.job.write("served", "a 0");
    let mut calls = scene.whole_apply();
    let removal = calls.iter().position(|call| call.point.starts_with("rename") && call.point.contains("b.conf"));
    calls.drain(..removal.unwrap_or_else(|| panic!("no removal in {calls:#?}")));
    assert!(calls.iter().any(|call| call.point.starts_with("pidfd_send_signal ")), "{calls:#?}");
    for call in &calls {
        let holds = [10, 50, 250, 1000, 5000].map(Duration::from_millis);
        let reached = holds.into_iter().any(|hold| {
            let killed = scene.killed_at(call, hold);
            let content = scene.job.read("out/a.conf").unwrap();
            let whole = [scene.version - 1, scene.version].map(|version| format!("a {version}"));
            assert!(whole.contains(&content), "killed at `{}`, `out/a.conf` holds {content:?}", call.point);
            killed
        });
        assert!(reached, "never killed at `{}` of {calls:#?}", call.point);
    }
    scene.start("after the last call").stop();
    println!("killed at each of {} system calls", calls.len());
}
