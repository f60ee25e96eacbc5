//! The socket itself: made, kept, replaced and removed.

use std::fs;
use std::os::unix::net::UnixListener;

use super::{config, hang_up, job, wait_for_state};
use crate::support::liveconf::Job;

#[test]
fn it_outlives_a_reload_is_removed_at_the_end_and_replaced_after_a_crash() {
    use std::os::unix::fs::MetadataExt as _;
    let job = job("");
    let path = job.folder().path("state/control.sock");
    let mut daemon = job.start(&["run"]);
    wait_for_state(&job, "settled");
    let inode = || fs::metadata(&path).unwrap().ino();
    let before = inode();
    hang_up(&mut daemon);
    wait_for_state(&job, "settled");
    assert_eq!(inode(), before);
    daemon.kill();
    assert!(path.exists());
    let daemon = job.start(&["run"]);
    wait_for_state(&job, "settled");
    daemon.stop();
    assert!(!path.exists());
}

#[test]
fn the_socket_of_another_that_lives_is_never_taken() {
    let taken = |name: &str| config("").replace("out.conf", name) + "control: {socket: shared.sock}\n";
    let job = Job::new(&taken("out.conf")).with("registry.yaml", "x: A\n").with("second.yaml", taken("second.conf"));
    let first = job.start(&["run"]);
    wait_for_state(&job, "settled");
    let mut second = job.start(&["run", "--config", "second.yaml", "--state-dir", "second-state"]);
    let line = second.wait_for_log("no control socket");
    assert!(line.contains("WARN") && line.contains("another process listens there"), "{line}");
    job.wait_for("second.conf", "A");
    let pid = |job: &Job| super::asked(job, &["status"]).0["pid"].clone();
    assert_eq!(pid(&job), first.id());
    second.stop();
    assert_eq!(pid(&job), first.id(), "the end of the second takes nothing away");
    first.stop();
}

#[test]
fn where_there_can_be_none_the_rest_works() {
    let long = "x".repeat(100);
    let job = job("").with("state/control.sock", "somebody's file");
    let mut daemon = job.start(&["run"]);
    daemon.wait_for_log("is no socket");
    job.wait_for("out.conf", "A");
    job.run(&["status"]).assert_code(1).assert_says(&[
        "no liveconf listens at",
        "liveconf runs (pid ",
        "its log says why there is none",
    ]);
    daemon.stop();
    assert_eq!(job.read("state/control.sock").as_deref(), Some("somebody's file"));

    let mut daemon = job.start(&["run", "--state-dir", &long]);
    daemon.wait_for_log("a socket takes 107");
    job.write("registry.yaml", "x: B\n");
    job.wait_for("out.conf", "B");
    assert_eq!(daemon.logged("no control socket").len(), 1);
    daemon.stop();

    // A folder that cannot be made is told of once by each that needs it.
    let mut daemon = job.start(&["run", "--state-dir", "registry.yaml/state"]);
    daemon.wait_for_log("no control socket");
    job.write("registry.yaml", "x: C\n");
    job.wait_for("out.conf", "C");
    daemon.stop();

    job.write("liveconf.yaml", config("") + "control: {socket: none}\n");
    let daemon = job.start(&["run", "--state-dir", "quiet"]);
    job.write("registry.yaml", "x: D\n");
    job.wait_for("out.conf", "D");
    assert_eq!(daemon.logged("control socket").len(), 0);
    assert!(!job.folder().path("quiet/control.sock").exists());
    job.run(&["status"]).assert_code(2).assert_says(&["wants no control socket"]);
    daemon.stop();
}

#[test]
fn a_socket_that_nobody_serves_is_no_liveconf() {
    let job = job("").with("state/is", "");
    let listener = UnixListener::bind(job.folder().path("state/control.sock")).unwrap();
    let server = std::thread::spawn(move || drop(listener.accept().unwrap()));
    job.run(&["status"]).assert_code(1).assert_says(&["ended the connection without an answer"]);
    server.join().unwrap();
}
