//! As process 1, with and without an init before it.

use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::{job_of, status};
use crate::support::liveconf::{BINARY, Job};
use crate::support::process::{Process, bound, search_path};
use crate::support::{SOON, poll_until};

/// Leaves orphans that end at once, all through the run.
const PARENT: &str = "#!/bin/sh
orphans=0
while [ $orphans -lt 1000 ]; do
    # The shell between ends before its child, which is an orphan then.
    for i in 1 2 3 4 5 6 7 8 9 10; do (sh -c 'sleep 0.01' &); done
    orphans=$((orphans + 10))
done
echo done > orphaned
trap 'exit 42' TERM
while :; do sleep 0.05; done
";

/// The command in a pid namespace of its own; none where we may not make one.
fn alone(program: &str) -> Option<Command> {
    let unshare = ["--pid", "--fork", "--mount-proc", "--kill-child"];
    let may = Command::new("unshare").args(unshare).arg("true").env("PATH", search_path()).status();
    if !may.is_ok_and(|status| status.success()) {
        assert!(!nix::unistd::geteuid().is_root(), "root may make a pid namespace");
        return None;
    }
    let mut command = bound(Signal::SIGKILL, "unshare");
    command.args(unshare).arg(program);
    Some(command)
}

/// The children of a process that are zombies, and how many there are in all.
fn children(pid: u32) -> (usize, usize) {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let texts = all.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    let children: Vec<_> = texts
        .filter_map(|stat| {
            let mut fields = stat.rsplit_once(") ")?.1.split(' ').map(str::to_owned);
            let (state, parent) = (fields.next()?, fields.next()?);
            (parent == pid.to_string()).then_some(state)
        })
        .collect();
    (children.iter().filter(|state| *state == "Z").count(), children.len())
}

/// The process that is 1 in the namespace that `unshare` made.
fn first_of(unshare: u32) -> u32 {
    poll_until(SOON, || {
        let list = std::fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children")).unwrap_or_default();
        list.split_whitespace().next().and_then(|pid| pid.parse().ok()).ok_or_else(|| "no child".to_owned())
    })
}

#[test]
fn a_thousand_orphans_leave_no_zombie_and_no_exit_code_is_lost() {
    let Some(command) = alone(BINARY) else { return };
    // Whatever the check says is heard: it takes one value and refuses the other.
    let job = job_of("command: [sh, parent]", "", "check: {shell: 'sleep 0.02; grep -q ok {staged}'}\nreload: none")
        .with("parent", PARENT)
        .with("registry.yaml", "x: ok 0\n");
    let mut command = job.prepare(command, &["run"]);
    command.stderr(std::process::Stdio::null()).stdout(std::process::Stdio::null());
    let mut process = Process::start(command);
    let init = first_of(process.id());
    let mut round = 0;
    while job.read("orphaned").is_none() {
        round += 1;
        job.write("registry.yaml", format!("x: ok {round}\n"));
        job.wait_for("out.conf", &format!("ok {round}"));
        job.write("registry.yaml", format!("x: bad {round}\n"));
        poll_until(SOON, || {
            let target = status(&job)["targets"][0].clone();
            let refused = target["state"] == "failed" && target["reason"].as_str().unwrap().contains("exited with 1");
            if refused { Ok(()) } else { Err(target.to_string()) }
        });
    }
    assert!(round > 0);
    poll_until(SOON, || match children(init) {
        // The program itself, and nobody else.
        (0, 1) => Ok(()),
        (zombies, all) => Err(format!("{zombies} zombies of {all} children")),
    });
    // `unshare` is not process 1 of the namespace: who is gets the signal.
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(init.cast_signed()), Signal::SIGTERM).unwrap();
    assert_eq!(process.wait(Duration::from_secs(30)), 0);
}

#[test]
fn it_ends_as_its_program_does_with_and_without_an_init() {
    let job = Job::new(
        "registries: {local: {file: {path: registry.yaml}}}
targets: {web: {templates: [{content: '{{ key(path=\"x\") }}', dest: out.conf}], reload: none}}
",
    )
    .with("registry.yaml", "x: A\n");
    for script in ["exec", "x=1;"] {
        let Some(mut command) = alone("sh") else { return };
        // A shell that becomes liveconf, or stays before it and hands nothing on but its exit code.
        command.args(["-c", &format!("{script} {BINARY} run -- sh -c 'echo > up; trap \"exit 42\" TERM; while :; do sleep 0.02; done'; exit $?")]);
        let mut command = job.prepare(command, &[]);
        command.stderr(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        let mut process = Process::start(command);
        job.wait_for_lines("up", 1);
        let first = first_of(process.id());
        let liveconf = if script == "exec" { first } else { first_of(first) };
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(liveconf.cast_signed()), Signal::SIGTERM).unwrap();
        assert_eq!(process.wait(SOON), 42, "{script}");
        std::fs::remove_file(job.folder().path("up")).unwrap();
    }
}

#[test]
fn orphans_of_a_program_are_reaped_outside_of_containers_too() {
    let job = job_of("command: [sh, parent]", "", "reload: none").with("parent", PARENT.replace("1000", "100"));
    let daemon = job.start(&["run"]);
    job.wait_for_lines("orphaned", 1);
    poll_until(SOON, || match children(daemon.id()) {
        (0, 1) => Ok(()),
        (zombies, all) => Err(format!("{zombies} zombies of {all} children")),
    });
    daemon.stop();
}
