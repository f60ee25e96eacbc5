//! An end between two steps of an apply.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::pace;
use crate::scene::Scene;
use crate::support::folder::Folder;
use crate::support::liveconf::Daemon;
use crate::support::strace::Strace;
use crate::support::{SOON, poll_until};

/// Changes to a generation and ends liveconf when its file is in place and the program has not been told yet.
pub(super) fn kill_before_the_reload(scene: &Scene, mut daemon: Daemon, generation: u64) {
    let (served, reloads) = (scene.served(), scene.reloads());
    let traces = Folder::new();
    let hold = Some(("pidfd_send_signal", Duration::from_secs(20)));
    let strace = Strace::attach(daemon.id(), traces.path("trace"), hold);
    scene.change(generation);
    poll_until(SOON, || match strace.lines(&["pidfd_send_signal("]).len() {
        0 => Err("nobody is about to tell the program".to_owned()),
        _ => Ok(()),
    });
    daemon.signal(Signal::SIGKILL);
    // strace would tell of the end only when the delay is over.
    let answered = strace.lines(&["pidfd_send_signal(", ") = 0"]);
    strace.end();
    assert_eq!((daemon.wait(SOON), answered), (128 + 9, Vec::new()));
    assert_eq!((scene.shown(), scene.served(), scene.reloads()), (Some(generation), served, reloads));
}

/// Starts liveconf again after such an end, with or without its protections, and looks whether the program comes to show
/// what the file shows.
fn killed_between_rename_and_reload(unprotected: &str) -> Result<(), String> {
    let scene = Scene::with_file("");
    let daemon = scene.start();
    scene.wait_for(1);
    kill_before_the_reload(&scene, daemon, 2);
    let daemon = scene.start_without(unprotected);
    let result = scene.comes_to(Duration::from_secs(5), 2);
    daemon.stop();
    result.and_then(|()| match scene.reloads() {
        2 => Ok(()),
        reloads => Err(format!("told {reloads} times, once before")),
    })
}

/// liveconf was ended by `kill -9` when the new file was in place and the reload had not begun: the next start made the reload, once, within 5 s.
#[test]
fn row_02_killed_between_rename_and_reload() {
    for _ in 0..pace::either(2, 20) {
        killed_between_rename_and_reload("").unwrap();
    }
}

/// The same check fails when the record of what is owed is not read at the start.
#[test]
fn row_02_without_the_record_the_check_fails() {
    let failure = killed_between_rename_and_reload("owed").unwrap_err();
    assert!(failure.contains("`served` should show generation 2"), "{failure}");
}
