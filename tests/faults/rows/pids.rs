//! Pid files that name somebody else.

use std::fs::{self, File};
use std::process::Command;
use std::time::{Duration, SystemTime};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::alone::{Namespace, is_alone};
use crate::pace;
use crate::scene::Scene;
use crate::support::folder::Folder;
use crate::support::process::Process;
use crate::support::strace::Strace;
use crate::support::{SOON, poll_until};

/// An innocent process, which a signal would end, with this id.
fn innocent(pid: u32) -> Process {
    for _ in 0..1000 {
        // proc(5): the next process gets the number after this one.
        fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).unwrap();
        let mut command = Command::new("sleep");
        command.arg("1000");
        let process = Process::start(command);
        if process.id() == pid {
            return process;
        }
    }
    panic!("nobody gets the number {pid}");
}

/// Ends the program of a scene; gives its id, which is free from now on.
fn ended_program(scene: &mut Scene) -> u32 {
    scene.end_program();
    let pid = scene.job.read("program.pid").unwrap().trim().parse().unwrap();
    // It was waited for, so nobody has the number.
    assert!(kill(Pid::from_raw(i32::try_from(pid).unwrap()), None).is_err());
    pid
}

/// The program ended without removing its pid file, and another process got its number, a thousand times: none was signalled.
#[test]
fn row_44_pid_of_the_program_is_reused() {
    if !is_alone(&[Namespace::Pid, Namespace::Mount]) {
        return;
    }
    let mut scene = Scene::with_file("");
    scene.job.run(&["once"]).assert_code(0);
    let pid = ended_program(&mut scene);
    // It was written long ago, as pid files are.
    let file = File::options().write(true).open(scene.job.folder().path("program.pid")).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(600)).unwrap();
    for round in 0..pace::either(60, 1000) {
        let mut innocent = innocent(pid);
        scene.change(2 + round);
        let ended = scene.job.run(&["once"]);
        ended.assert_code(0).assert_says(&["is stale", &format!("process {pid} is `sleep`")]);
        assert_eq!(scene.shown(), Some(2 + round));
        assert!(innocent.ended().is_none(), "an innocent process was signalled in round {round}");
    }
    // The reload is still owed to whoever comes.
    scene.start_program();
    scene.job.run(&["once"]).assert_code(0);
    let served = scene.shown().unwrap();
    poll_until(SOON, || scene.shows(served));
}

/// The program ended and its number was reused between the look at it and the signal: the kernel refused the signal (ESRCH), and nobody else got it.
#[test]
fn row_44_pid_is_reused_just_before_the_signal() {
    if !is_alone(&[Namespace::Pid, Namespace::Mount]) {
        return;
    }
    let mut scene = Scene::with_file("");
    let mut daemon = scene.start();
    scene.wait_for(1);
    let traces = Folder::new();
    let hold = ["-e", "trace=pidfd_send_signal", "-e", "inject=pidfd_send_signal:delay_enter=1500000:when=1"];
    let strace = Strace::with(daemon.id(), traces.path("trace"), &hold);
    scene.change(2);
    poll_until(SOON, || if strace.lines(&["pidfd_send_signal("]).is_empty() { Err("not yet".into()) } else { Ok(()) });
    let pid = ended_program(&mut scene);
    let mut innocent = innocent(pid);
    daemon.wait_for_log("not running, the reload is owed");
    poll_until(SOON, || if strace.lines(&["ESRCH"]).is_empty() { Err("no ESRCH".into()) } else { Ok(()) });
    strace.end();
    assert!(innocent.ended().is_none());
    innocent.signal(Signal::SIGKILL);
    // By then the pid file is as young as its process, so nobody is told who has not written it.
    drop(innocent);
    scene.start_program();
    scene.change(3);
    scene.wait_for(3);
    daemon.stop();
}
