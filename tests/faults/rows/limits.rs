//! Limits of the system that strike in the middle.

use std::fs;
use std::os::unix::fs::chown;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::alone::{needs_root, run};
use crate::scene::{FILE, Scene};
use crate::support::liveconf::{BINARY, Daemon, start};
use crate::support::process::bound;
use crate::support::{SOON, poll_until};

/// Sets a limit of a process that runs, such as `nofile`; `soft` alone, so that it can be raised again.
fn limit(daemon: &Daemon, what: &str, soft: &str) {
    run("prlimit", &["--pid", &daemon.id().to_string(), &format!("--{what}={soft}:")]);
}

fn entries(daemon: &Daemon, folder: &str) -> usize {
    fs::read_dir(format!("/proc/{}/{folder}", daemon.id())).unwrap().count()
}

/// liveconf ran with 64 file descriptors, and later with none to spare: the old file stayed whole, and the newest came when there were some again.
#[test]
fn row_50_no_file_descriptors_left() {
    let scene = Scene::with_file("    retry: 50ms..200ms\n");
    let mut command = bound(Signal::SIGKILL, "prlimit");
    command.args(["--nofile=64", "--"]).arg(BINARY);
    let mut daemon = start(scene.job.prepare(command, &["run"]));
    scene.wait_for(1);
    assert!(entries(&daemon, "fd") < 40, "{} descriptors at rest", entries(&daemon, "fd"));
    let reader = scene.reader();
    for generation in 2..10 {
        scene.change(generation);
        scene.wait_for(generation);
    }
    // Not one more than are open, so that it depends on the moment which call is refused.
    for spare in 0..6 {
        let generation = 10 + spare;
        let before = scene.shown().unwrap();
        limit(&daemon, "nofile", &(entries(&daemon, "fd") + usize::try_from(spare).unwrap()).to_string());
        scene.change(generation);
        if spare == 0 {
            let told = daemon.wait_for_log("Too many open files");
            println!("{told}");
            assert_eq!(scene.shown(), Some(before));
        }
        limit(&daemon, "nofile", "64");
        scene.wait_for_within(Duration::from_secs(15), generation);
        assert!(daemon.is_running());
    }
    reader.stop().assert_always_whole();
    scene.assert_nothing_left();
    daemon.stop();
}

/// liveconf could start no thread and no command, as under `TasksMax`: the old file stayed whole, and file and reload came when it could again.
#[test]
fn row_50_no_threads_left() {
    needs_root("only root runs a program as another user, who alone is limited");
    // A user that nobody is, so that nobody else counts.
    let user = 61_000 + std::process::id() % 4_000;
    let scene = Scene::with_file("    retry: 50ms..200ms\n");
    let config = scene.job.read("liveconf.yaml").unwrap();
    let reload = "reload: {shell: 'cat out/app.conf > .served && mv .served served; echo >> told'}";
    scene.job.write("liveconf.yaml", config.replace("reload: {signal: HUP, pid_file: program.pid}", reload));
    run("chown", &["-R", &user.to_string(), scene.job.folder().root().to_str().unwrap()]);
    chown(scene.job.folder().root(), Some(user), None).unwrap();
    let mut command = bound(Signal::SIGKILL, "setpriv");
    command.arg(format!("--reuid={user}")).args(["--clear-groups", "--pdeathsig", "KILL", "--"]).arg(BINARY);
    let mut daemon = start(scene.job.prepare(command, &["run"]));
    scene.wait_for(1);
    let reader = scene.reader();
    // Threads that have nothing to do end after a while, and then each piece of work needs a new one.
    let (mut count, mut since) = (entries(&daemon, "task"), Instant::now());
    while since.elapsed() < Duration::from_secs(12) {
        std::thread::sleep(Duration::from_millis(50));
        if entries(&daemon, "task") != count {
            (count, since) = (entries(&daemon, "task"), Instant::now());
        }
    }
    let threads = |soft: &str| {
        let process = daemon.id().to_string();
        let user = format!("--reuid={user}");
        run("setpriv", &[&user, "--clear-groups", "prlimit", "--pid", &process, &format!("--nproc={soft}:")]);
    };
    threads("1");
    scene.change(2);
    poll_until(SOON, || match daemon.log().iter().find(|line| line.contains("ERROR")) {
        Some(line) => {
            println!("{line}");
            Ok(())
        }
        None => Err(daemon.log().join("\n")),
    });
    assert_ne!(scene.served(), Some(2), "no command can have run");
    threads("1000");
    scene.wait_for_within(Duration::from_secs(15), 2);
    assert!(daemon.is_running());
    reader.stop().assert_always_whole();
    scene.assert_nothing_left();
    daemon.stop();
}

/// liveconf ran out of memory in the middle of an apply and was ended: the old file stayed whole, and the next start finished and left nothing behind.
#[test]
fn row_50_no_memory_left() {
    let scene = Scene::with_file("");
    let mut daemon = scene.start();
    scene.wait_for(1);
    let reader = scene.reader();
    let status = fs::read_to_string(format!("/proc/{}/statm", daemon.id())).unwrap();
    let pages: u64 = status.split(' ').next().unwrap().parse().unwrap();
    limit(&daemon, "as", &(pages * 4096 + (1 << 20)).to_string());
    // A value in each line of half a MiB: twenty MiB to read, to render and to write.
    scene.change_to(&format!("{}2", "0".repeat(512 << 10)));
    assert_eq!(daemon.wait(SOON), 128 + 6, "{:#?}", daemon.log());
    assert!(!daemon.logged("memory allocation").is_empty(), "{:#?}", daemon.log());
    assert_eq!((scene.shown(), scene.served()), (Some(1), Some(1)));
    let daemon = scene.start();
    scene.wait_for_within(Duration::from_secs(15), 2);
    scene.change(3);
    scene.wait_for(3);
    reader.stop().assert_always_whole();
    scene.assert_nothing_left();
    assert!(scene.job.read(FILE).is_some());
    daemon.stop();
}
