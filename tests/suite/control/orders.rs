//! `pause`, `resume` and `apply`.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{asked, config, hang_up, job, wait_for_state, wait_for_target};
use crate::support::liveconf::Job;
use crate::support::{SOON, poll_until};

/// Waits until the answer to the only query of the target changed at another time than this; that time.
#[track_caller]
fn change_after(job: &Job, before: &serde_json::Value) -> serde_json::Value {
    poll_until(SOON, || match &asked(job, &["explain", "web"]).0["queries"][0]["changed"] {
        changed if changed.is_null() || changed == before => Err(format!("the last change is of {changed}")),
        changed => Ok(changed.clone()),
    })
}

#[test]
fn a_pause_outlives_a_reload_of_the_configuration_and_resume_applies_the_newest() {
    let job = job("    reload: {shell: 'cat out.conf >> reloads; echo >> reloads'}");
    let mut daemon = job.start(&["run"]);
    assert_eq!(job.wait_for_lines("reloads", 1), ["A"]);
    job.run(&["pause"]).assert_code(0);
    let (status, code) = asked(&job, &["status"]);
    assert!(code == 1 && status["targets"][0]["paused"].is_string(), "{status:#}");
    daemon.wait_for_log("paused: what changes is not applied until");
    job.run(&["apply"]).assert_code(1).assert_says(&["paused, nothing was applied"]);

    let seen = change_after(&job, &serde_json::Value::Null);
    job.write("registry.yaml", "x: B\n");
    let seen = change_after(&job, &seen);
    hang_up(&mut daemon);
    // The task that was started anew follows what the templates ask, and touches nothing.
    let before = wait_for_target(&job, |target| target["queries"] == 1 && target["applying"].is_null());
    assert!(before["paused"].is_string());
    job.write("registry.yaml", "x: C\n");
    change_after(&job, &seen);
    assert_eq!((job.read("out.conf").as_deref(), job.read("reloads").as_deref()), (Some("A"), Some("A\n")));

    job.run(&["resume", "web"]).assert_code(0);
    assert_eq!(job.wait_for_lines("reloads", 2), ["A", "C"]);
    job.write("registry.yaml", "x: D\n");
    assert_eq!(job.wait_for_lines("reloads", 3), ["A", "C", "D"]);
    assert_eq!(wait_for_state(&job, "settled")["well"], true);
    daemon.stop();
}

#[test]
fn a_paused_target_is_not_told_of_what_is_owed() {
    let job = job("    reload: {shell: 'echo >> reloads; test -e good'}\n    retry: 20ms");
    let mut daemon = job.start(&["run"]);
    job.wait_for_lines("reloads", 3);
    job.run(&["pause", "web"]).assert_code(0);
    daemon.wait_for_log("paused: ");
    let lines = wait_for_target(&job, |target| target["applying"].is_null() && target["next"].is_null());
    assert_eq!(lines["state"], "owed");
    let count = || job.read("reloads").unwrap().len();
    let before = count();
    job.write("good", "");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(count(), before, "nothing is waited for: that nothing comes is what is looked at");
    job.run(&["resume"]).assert_code(0);
    assert_eq!(wait_for_state(&job, "settled")["well"], true);
    assert_eq!(count(), before + 1);
    daemon.stop();
}

#[test]
fn a_stop_while_paused_is_told_and_the_next_start_applies() {
    let job = job("");
    let mut daemon = job.start(&["run"]);
    wait_for_state(&job, "settled");
    job.run(&["pause"]).assert_code(0);
    job.write("registry.yaml", "x: B\n");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait(SOON), 0);
    poll_until(SOON, || match daemon.logged("stopped while paused").len() {
        1 => Ok(()),
        _ => Err(daemon.log().join("\n")),
    });
    let daemon = job.start(&["run"]);
    job.wait_for("out.conf", "B");
    daemon.stop();
}

#[test]
fn apply_goes_past_every_wait_and_says_what_came_of_it() {
    let settings = "    gather: always\n    splay: 10m\n    check: {shell: 'grep -q good {staged}'}";
    let job = Job::new(&config(settings).replace("wait: 0", "wait: 10m")).with("registry.yaml", "x: good 1\n");
    let daemon = job.start(&["run"]);
    wait_for_state(&job, "settled");
    job.write("registry.yaml", "x: good 2\n");
    wait_for_target(&job, |target| target["next"].is_string());
    let begun = Instant::now();
    job.run(&["apply", "web"]).assert_code(0);
    assert_eq!(job.read("out.conf").as_deref(), Some("good 2"));
    assert!(begun.elapsed() < Duration::from_secs(60));

    let seen = change_after(&job, &serde_json::Value::Null);
    job.write("registry.yaml", "x: bad\n");
    change_after(&job, &seen);
    let (outcome, code) = asked(&job, &["apply", "web"]);
    assert_eq!((code, &outcome["targets"][0]["state"]), (1, &"failed".into()));
    job.run(&["apply"]).assert_code(1).assert_says(&["target `web`: failed: ", "refuses the files"]);
    assert_eq!(job.read("out.conf").as_deref(), Some("good 2"));
    daemon.stop();
}

#[test]
fn apply_tries_again_what_the_process_refused() {
    let job = job(
        "    reload: {shell: 'cat out.conf >> reloads; echo >> reloads; test -e good || ! grep -q B out.conf || exit 65'}",
    );
    let mut daemon = job.start(&["run"]);
    let confirmed = wait_for_state(&job, "settled");
    job.write("registry.yaml", "x: B\n");
    daemon.wait_for_log("the process refuses the new files");
    let rejected = wait_for_state(&job, "rejected");
    assert_eq!((&rejected["well"], &rejected["revision"]), (&false.into(), &confirmed["revision"]), "{rejected:#}");
    let (explained, _) = asked(&job, &["explain", "web"]);
    assert!(explained["restored"].is_string(), "{explained:#}");
    assert_eq!(job.read("out.conf").as_deref(), Some("A"));
    let told = job.read("reloads").unwrap().matches('B').count();
    job.run(&["apply"]).assert_code(1).assert_says(&["target `web`: rejected: ", "the process refuses the new files"]);
    assert_eq!(job.read("reloads").unwrap().matches('B').count(), told + 1);
    job.write("good", "");
    job.run(&["apply"]).assert_code(0);
    assert_eq!(job.read("out.conf").as_deref(), Some("B"));
    assert_eq!(wait_for_state(&job, "settled")["well"], true);
    daemon.stop();
}

#[test]
fn a_target_that_waits_for_answers_is_not_applied() {
    let job = job("");
    std::fs::remove_file(job.folder().path("registry.yaml")).unwrap();
    let daemon = job.start(&["run"]);
    wait_for_target(&job, |target| !target["waiting_for"].as_array().unwrap().is_empty());
    job.run(&["apply"]).assert_code(3).assert_says(&["not applied: it waits for answers"]);
    daemon.stop();
}

#[test]
fn a_question_is_answered_while_a_target_is_at_work() {
    let job = job("    reload: {command: [sh, -c, 'while test ! -e end; do sleep 0.05; done'], timeout: 60s}");
    let daemon = job.start(&["run"]);
    let busy = wait_for_target(&job, |target| target["applying"].is_string());
    assert_eq!(busy["well"], false);
    job.run(&["explain", "web"]).assert_code(0);
    job.run(&["apply", "--timeout", "200ms"]).assert_code(3).assert_says(&["has not answered within 200ms"]);
    job.write("end", "");
    assert_eq!(wait_for_state(&job, "settled")["well"], true);
    daemon.stop();
}

/// The first reload takes its time: nothing is waited for any more, and no other try is planned.
#[test]
fn what_is_under_way_first_is_shown() {
    let job = job("    reload: {shell: 'while ! [ -e go ]; do sleep 0.02; done'}");
    let daemon = job.start(&["run"]);
    let target = wait_for_target(&job, |target| target["applying"].is_string());
    wait_for_target(&job, |_| job.read("out.conf").is_some());
    let shown = wait_for_target(&job, |target| target["state"] == "applying");
    assert_eq!(
        (&shown["waiting_for"], &shown["next"], &shown["well"]),
        (&serde_json::Value::Array(Vec::new()), &serde_json::Value::Null, &false.into()),
        "{target}"
    );
    assert!(job.run(&["status"]).stdout.contains("target web: applying for"));
    job.write("go", "");
    wait_for_state(&job, "settled");
    daemon.stop();
}

/// What was refused is not tried again by itself, so no try is promised; and it is said what helps.
#[test]
fn a_refusal_promises_no_try_and_says_what_helps() {
    let job = job("    reload: {shell: 'grep -q bad out.conf && exit 65; true'}");
    job.run(&["once"]).assert_code(0);
    job.write("registry.yaml", "x: bad\n");
    job.run(&["once"]).assert_code(1);
    let daemon = job.start(&["run"]);
    let shown = wait_for_state(&job, "rejected");
    assert_eq!(shown["next"], serde_json::Value::Null, "{shown:#}");
    let text = job.run(&["status"]).stdout;
    assert!(text.contains("`liveconf apply web` tries the newest files again"), "{text}");
    daemon.stop();
}
