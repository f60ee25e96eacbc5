//! `status` and `explain`.

use nix::sys::signal::Signal;

use super::{asked, config, hang_up, job, wait_for_state, wait_for_target};
use crate::support::etcd::Etcd;
use crate::support::liveconf::Job;

#[test]
fn a_target_is_seen_to_wait_to_settle_and_to_be_older_than_a_registry_that_is_away() {
    let mut etcd = Etcd::start();
    let (endpoint, section) = (etcd.endpoints_yaml(), "registries:\n  main: {etcd: {endpoints: ");
    etcd.client().put("/app/a", "1");
    etcd.client().put("/app/b", "1");
    etcd.kill(0);
    let job = Job::new(&format!(
        "{section}{endpoint}}}}}\n  unused: {{file: {{path: none.yaml}}}}\ntargets:\n  web:\n    wait: 0\n    templates: \
         [{{content: '{{{{ key(path=\"app/a\", registry=\"main\") }}}} {{{{ key(path=\"app/b\", registry=\"main\") }}}}', dest: out.conf}}]\n"
    ));
    let mut daemon = job.start(&["run"]);
    daemon.wait_for_log("registry does not answer");
    let waiting = wait_for_target(&job, |target| target["waiting_for"].as_array().is_some_and(|all| all.len() == 2));
    assert_eq!((&waiting["state"], &waiting["well"]), (&"waiting".into(), &false.into()));
    assert_eq!(waiting["waiting_for"][0]["query"], "key `app/a`");
    assert!(waiting["waiting_for"][0]["reason"].is_string(), "{waiting:#}");
    let text = job.run(&["status"]).assert_code(1).stdout.clone();
    for line in ["registry main (etcd): away for ", "registry unused (file): idle\n", "target web: waiting for "] {
        assert!(text.contains(line), "{line}: {text}");
    }

    etcd.restart(0);
    job.wait_for("out.conf", "1 1");
    let settled = wait_for_state(&job, "settled");
    assert!(settled["well"] == true && settled["revision"].as_u64() > Some(0), "{settled:#}");
    let (status, code) = asked(&job, &["status"]);
    assert_eq!((code, &status["well"], &status["pid"]), (0, &true.into(), &daemon.id().into()));
    assert_eq!(status["registries"][0]["state"], "well");
    assert_eq!(status["configuration"]["refused"], serde_json::Value::Null);
    let (explained, code) = asked(&job, &["explain", "web"]);
    assert_eq!((code, &explained["commit"]["cause"]), (0, &"first".into()));
    assert_eq!(explained["queries"].as_array().unwrap().len(), 2);

    // What changed is what it is changed for.
    etcd.client().put("/app/b", "2");
    job.wait_for("out.conf", "1 2");
    let target = wait_for_target(&job, |target| target["revision"].as_u64() > settled["revision"].as_u64());
    let (explained, _) = asked(&job, &["explain", "web"]);
    let commit = &explained["commit"];
    assert_eq!((&commit["cause"], commit["queries"].as_array().unwrap().len()), (&"answers".into(), 1), "{commit:#}");
    assert_eq!((&commit["queries"][0]["query"], &commit["revision"]), (&"key `app/b`".into(), &target["revision"]));
    assert_eq!(commit["files"][0], job.folder().path("out.conf").to_str().unwrap());
    assert!(explained["rendered"].is_string() && explained["told"].is_null(), "there is no process: {explained:#}");
    let text = job.run(&["explain", "web"]).assert_code(0).stdout.clone();
    assert!(text.contains("because of key `app/b` from registry `main`"), "{text}");

    etcd.kill(0);
    daemon.wait_for_log("registry does not answer");
    let away = wait_for_target(&job, |target| target["away"] == serde_json::json!(["main"]));
    assert_eq!((&away["state"], &away["well"]), (&"settled".into(), &false.into()));
    assert!(job.run(&["status", "web"]).assert_code(1).stdout.contains("may be older than the registry: main"));
    etcd.restart(0);
    wait_for_target(&job, |target| target["well"] == true);
    daemon.stop();
}

#[test]
fn what_is_owed_or_failed_says_why_and_when_it_is_tried_again() {
    let job = job(
        "    reload: {shell: 'test -e good'}\n    check: {shell: 'test ! -e refuse; test -n {staged}'}\n    retry: 1h",
    );
    let daemon = job.start(&["run"]);
    let owed = wait_for_state(&job, "owed");
    assert!(owed["reason"].as_str().unwrap().contains("exited with 1"), "{owed:#}");
    assert!(owed["next"].is_string() && owed["well"] == false && owed["revision"].is_u64(), "{owed:#}");
    let (explained, code) = asked(&job, &["explain", "web"]);
    assert!(code == 0 && explained["told"].is_string() && explained["taken"].is_null(), "{explained:#}");
    job.run(&["apply", "web"]).assert_code(1).assert_says(&["owed: ", "exited with 1"]);

    // Past an hour of back-off.
    job.write("good", "");
    job.run(&["apply", "web"]).assert_code(0);
    let (explained, _) = asked(&job, &["explain", "web"]);
    assert_eq!(explained["target"]["state"], "settled");
    assert!(explained["taken"].is_string() && explained["target"]["next"].is_null(), "{explained:#}");

    job.write("registry.yaml", "other: 1\n");
    let failed = wait_for_state(&job, "failed");
    assert!(failed["reason"].as_str().unwrap().contains("key `x`"), "{failed:#}");
    job.run(&["apply"]).assert_code(1).assert_says(&["target `web`: failed: "]);
    assert_eq!(job.read("out.conf").as_deref(), Some("A"));
    daemon.stop();
}

#[test]
fn a_configuration_that_is_wrong_by_now_hides_nothing() {
    let job = job("");
    let mut daemon = job.start(&["run"]);
    wait_for_state(&job, "settled");
    job.write("liveconf.yaml", "registries: {local: {file: {path: registry.yaml}}}\ntargets: {}\nwhat: is this\n");
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_log("not loaded");
    let (status, code) = asked(&job, &["status"]);
    assert!(code == 1 && status["well"] == false && status["configuration"]["refused"].is_string(), "{status:#}");
    assert_eq!(status["targets"][0]["well"], true);
    assert!(job.run(&["status"]).stdout.contains("a newer one was refused"));

    // Targets come and go with the configuration.
    job.write("liveconf.yaml", config("").replace("  web:", "  other:"));
    hang_up(&mut daemon);
    wait_for_target(&job, |target| target["name"] == "other" && target["well"] == true);
    job.run(&["explain", "web"]).assert_code(2).assert_says(&["there is no target `web`", "the targets are other"]);
    job.run(&["status"]).assert_code(0);
    daemon.stop();
}

#[test]
fn a_liveconf_that_does_not_run_is_told_from_one_that_is_not_well() {
    let job = job("");
    for command in [&["status"][..], &["explain", "web"], &["apply"], &["pause"], &["resume"], &["release", "web"]] {
        job.run(command).assert_code(3).assert_says(&["no liveconf listens at", "control.sock", "is it running"]);
    }
    let daemon = job.start(&["run"]);
    wait_for_state(&job, "settled");
    daemon.kill();
    job.run(&["status"]).assert_code(3).assert_says(&["no liveconf listens at"]);
    job.run(&["status", "--config", "none.yaml", "--socket", "there.sock"])
        .assert_code(3)
        .assert_says(&["`there.sock`"]);
}
