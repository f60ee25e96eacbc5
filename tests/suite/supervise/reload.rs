//! How a program takes new files, and what it refuses.

use nix::sys::signal::Signal;

use super::{job, job_of, notes, process, status, wait_until_well};
use crate::support::{SOON, poll_until};

#[test]
fn by_a_signal_to_the_process_that_runs() {
    let job = job("", "reload: {signal: HUP}");
    let daemon = job.start(&["run"]);
    assert_eq!(notes(&job, 1), ["started A"]);
    for (index, value) in ["B", "C", "D"].iter().enumerate() {
        job.write("registry.yaml", format!("x: {value}\n"));
        assert_eq!(notes(&job, index + 2)[index + 1], format!("told {value}"));
    }
    daemon.stop();
}

#[test]
fn by_a_new_start_which_is_the_default() {
    for reload in ["", "reload: restart"] {
        let job = job("", reload);
        let daemon = job.start(&["run"]);
        assert_eq!(notes(&job, 1), ["started A"]);
        job.write("registry.yaml", "x: B\n");
        assert_eq!(notes(&job, 3), ["started A", "left", "started B"]);
        let shown = process(&job, |process| process["state"] == "running");
        assert_eq!(shown["restarts"], 0, "it did not end by itself");
        daemon.stop();
    }
}

#[test]
fn with_none_it_is_left_alone() {
    let job = job("", "reload: none");
    let daemon = job.start(&["run"]);
    assert_eq!(notes(&job, 1), ["started A"]);
    job.write("registry.yaml", "x: B\n");
    job.wait_for("out.conf", "B");
    job.write("registry.yaml", "x: C\n");
    job.wait_for("out.conf", "C");
    assert_eq!(notes(&job, 1), ["started A"]);
    daemon.stop();
}

/// A program that dies whenever it reads `bad`.
const FUSSY: &str = "shell: 'fuss() { if grep -q bad out.conf; then echo \"refused $(cat out.conf)\" >> notes; exit 3; fi; \
                     echo \"$1 $(cat out.conf)\" >> notes; }; trap \"fuss told\" HUP; fuss started; \
                     while :; do sleep 0.02; done'";

#[test]
fn files_over_which_it_dies_are_taken_back() {
    for reload in ["reload: {signal: HUP}", "reload: restart"] {
        let job = job_of(FUSSY, "settle: 1s", reload);
        let mut daemon = job.start(&["run"]);
        assert_eq!(notes(&job, 1), ["started A"]);
        // Only what has been up with its files can blame others.
        wait_until_well(&job);
        job.write("registry.yaml", "x: bad\n");
        daemon.wait_for_log("the process refuses the new files");
        job.wait_for("out.conf", "A");
        // Told of them, and started with them once more; then with what it knows, of which it may also be told.
        let all = notes(&job, 4);
        assert!(all[3..].contains(&"started A".to_owned()), "{all:?}");
        assert_eq!(all.iter().filter(|note| *note == "refused bad").count(), 2, "{all:?}");
        assert_eq!(status(&job)["targets"][0]["state"], "rejected");
        job.write("registry.yaml", "x: B\n");
        poll_until(SOON, || match notes(&job, 5).last().unwrap() {
            note if note.ends_with(" B") => Ok(()),
            note => Err(note.clone()),
        });
        daemon.stop();
    }
}

#[test]
fn what_it_leaves_behind_does_not_hide_that_it_died() {
    // A child that does not listen to TERM keeps its group busy for longer than a program takes to be up.
    let program = FUSSY.replace("exit 3", "(trap \"\" TERM; exec sleep 600) & exit 3");
    let job = job_of(&program, "settle: 100ms\nkill_timeout: 1s", "reload: {signal: HUP}");
    let mut daemon = job.start(&["run"]);
    assert_eq!(notes(&job, 1), ["started A"]);
    wait_until_well(&job);
    job.write("registry.yaml", "x: bad\n");
    daemon.wait_for_log("the process refuses the new files");
    job.wait_for("out.conf", "A");
    daemon.stop();
}

#[test]
fn an_accident_is_not_taken_for_a_refusal() {
    let job = job("", "reload: {signal: HUP}");
    let mut daemon = job.start(&["run"]);
    wait_until_well(&job);
    job.write("registry.yaml", "x: B\n");
    assert_eq!(notes(&job, 2)[1], "told B");
    // Within the time in which it settles.
    let pid = process(&job, |process| process["pid"].is_i64())["pid"].as_i64().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.try_into().unwrap()), Signal::SIGKILL).unwrap();
    assert_eq!(notes(&job, 3)[2], "started B");
    wait_until_well(&job);
    assert!(daemon.logged("refuses").is_empty());
    assert_eq!(process(&job, |_| true)["restarts"], 1);
    daemon.wait_for_log("it ended and is started anew: was ended by SIGKILL");
    daemon.stop();
}

#[test]
fn a_program_that_never_came_up_keeps_the_newest_files() {
    let job = job_of(FUSSY, "settle: 1s", "reload: {signal: HUP}").with("registry.yaml", "x: bad\n");
    let mut daemon = job.start(&["run"]);
    daemon.wait_for_log("reload failed and is tried again: its process exited with 3");
    assert_eq!(job.read("out.conf").as_deref(), Some("bad"));
    let shown = process(&job, |process| process["restarts"].as_u64() > Some(1));
    assert!(shown["last_exit"]["reason"].as_str().unwrap().contains("exited with 3"), "{shown}");
    assert_eq!(status(&job)["targets"][0]["state"], "owed");
    // New files are tried at once, whatever the pause.
    job.write("registry.yaml", "x: good\n");
    wait_until_well(&job);
    // One that was started anew just then may also be told.
    assert!(notes(&job, 2).last().unwrap().ends_with(" good"));
    daemon.stop();
}

#[test]
fn a_new_configuration_leaves_it_alone() {
    let job = job("", "reload: {signal: HUP}");
    let mut daemon = job.start(&["run"]);
    assert_eq!(notes(&job, 1), ["started A"]);
    let pid = process(&job, |process| process["pid"].is_i64())["pid"].clone();
    let config = job.read("liveconf.yaml").unwrap();
    // Of another target, then of its own start.
    job.write("liveconf.yaml", config.replace("wait: 0", "wait: 1ms"));
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_log("loaded the new configuration");
    job.write("registry.yaml", "x: B\n");
    assert_eq!(notes(&job, 2)[1], "told B");
    job.write("liveconf.yaml", config.replace("[sh, program]", "[sh, -e, program]"));
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_log("that takes effect when it is started the next time");
    job.write("registry.yaml", "x: C\n");
    assert_eq!(notes(&job, 3)[2], "told C");
    assert_eq!(process(&job, |process| process["pid"].is_i64())["pid"], pid);
    // It ends when it is not configured any more.
    let without =
        "registries: {local: {file: {path: registry.yaml}}}\ntargets: {other: {templates: [{content: x, dest: x}]}}";
    job.write("liveconf.yaml", without);
    daemon.signal(Signal::SIGHUP);
    assert_eq!(notes(&job, 4)[3], "left");
    daemon.stop();
}
