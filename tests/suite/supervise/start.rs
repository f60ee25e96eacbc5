//! When a program starts, and as what.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::User;

use super::{PROGRAM, job, job_of, notes, process, wait_until_well};
use crate::support::liveconf::Job;

#[test]
fn it_starts_with_its_files_and_ends_with_us() {
    let job = job("", "");
    let mut daemon = job.start(&["run"]);
    assert_eq!(notes(&job, 1), ["started A"]);
    let shown = process(&job, |process| process["state"] == "running");
    let pid = shown["pid"].as_i64().unwrap();
    assert_eq!((shown["restarts"].as_u64(), shown["last_exit"].is_null()), (Some(0), true));
    wait_until_well(&job);
    let text = job.run(&["status"]);
    text.assert_code(0);
    assert!(text.stdout.contains("process: running for") && text.stdout.contains(&format!("pid {pid}")));
    daemon.wait_for_log("started");
    daemon.stop();
    assert_eq!(notes(&job, 2), ["started A", "left"]);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    // The next start finds everything as it should be, and starts it all the same.
    let daemon = job.start(&["run"]);
    assert_eq!(notes(&job, 3)[2], "started A");
    daemon.stop();
}

#[test]
fn it_waits_for_files_that_cannot_be_made_yet() {
    let job = job("", "").with("registry.yaml", "y: A\n");
    let mut daemon = job.start(&["run"]);
    daemon.wait_for_log("not applied");
    let shown = process(&job, |process| process["state"] == "waiting");
    assert_eq!(shown["waiting_for"], serde_json::json!(["web"]));
    assert_eq!(job.read("notes"), None);
    job.write("registry.yaml", "x: A\n");
    assert_eq!(notes(&job, 1), ["started A"]);
    daemon.stop();
}

#[test]
fn it_starts_with_the_files_from_before_where_the_newest_fail() {
    let job = job("", "check: [grep, -q, A, '{staged}']");
    let daemon = job.start(&["run"]);
    assert_eq!(notes(&job, 1), ["started A"]);
    daemon.stop();
    job.write("registry.yaml", "x: B\n");
    let mut daemon = job.start(&["run"]);
    daemon.wait_for_log("not applied");
    assert_eq!(notes(&job, 3)[2], "started A");
    daemon.stop();
}

#[test]
fn it_starts_with_the_files_from_before_where_the_registry_stays_away() {
    let job = job("", "");
    let daemon = job.start(&["run"]);
    assert_eq!(notes(&job, 1), ["started A"]);
    daemon.stop();
    std::fs::remove_file(job.folder().path("registry.yaml")).unwrap();
    let config = job.read("liveconf.yaml").unwrap();
    job.write("liveconf.yaml", format!("last_known_good: {{after: 200ms}}\n{config}"));
    let daemon = job.start(&["run"]);
    assert_eq!(notes(&job, 3)[2], "started A");
    job.write("registry.yaml", "x: B\n");
    job.wait_for("serves", "B");
    daemon.stop();
}

#[test]
fn its_surroundings_are_what_is_written() {
    let script = "shell: 'env > seen.new; pwd >> seen.new; cat {dest} >> seen.new; mv seen.new seen; exec sleep 600'";
    let job = job_of(script, "env_deny: [SECRET_*]\nworking_dir: inner", "").with("inner/x", "");
    let mut command = job.command(&["run"]);
    command.envs([("SECRET_A", "1"), ("OPEN", "2"), ("CONSUL_HTTP_TOKEN", "3"), ("NOTIFY_SOCKET", "/x")]);
    let daemon = crate::support::liveconf::start(command);
    let seen = job.wait_for_lines("inner/seen", 4);
    let has = |line: &str| seen.iter().any(|seen| seen.starts_with(line));
    assert!(has("OPEN=2") && has("PATH="), "{seen:?}");
    assert!(!has("SECRET_A") && !has("CONSUL_HTTP_TOKEN") && !has("NOTIFY_SOCKET"), "{seen:?}");
    assert!(has(&job.folder().path("inner").display().to_string()), "{seen:?}");
    assert!(job.read("inner/seen").unwrap().ends_with('A'));
    daemon.stop();
}

#[test]
fn it_runs_as_another_user() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    // One with further groups, where this machine has such a user.
    let user = fs::read_to_string("/etc/group").unwrap();
    let members = user.lines().filter_map(|line| line.rsplit(':').next()?.split(',').next());
    let users = members.filter_map(|name| User::from_name(name).unwrap());
    let user = users.chain(User::from_name("nobody").unwrap()).find(|user| !user.uid.is_root()).unwrap();
    let script = "shell: 'id -u; id -g; echo $HOME; id -G; exec sleep 600'";
    let job = job_of(script, &format!("user: {}", user.name), "");
    let mut command = job.command(&["run"]);
    let file = std::fs::File::create(job.folder().path("said")).unwrap();
    command.stderr(file.try_clone().unwrap()).stdout(file);
    let mut process = crate::support::process::Process::start(command);
    let lines = crate::support::poll_until(crate::support::SOON, || {
        let said = job.read("said").unwrap();
        let lines: Vec<_> = said.lines().filter(|line| !line.contains("INFO")).map(str::to_owned).collect();
        if lines.len() >= 4 { Ok(lines) } else { Err(said) }
    });
    assert_eq!(lines[..3], [user.uid.to_string(), user.gid.to_string(), user.dir.display().to_string()]);
    let name = std::ffi::CString::new(user.name).unwrap();
    let groups: BTreeSet<String> =
        nix::unistd::getgrouplist(&name, user.gid).unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(lines[3].split(' ').map(str::to_owned).collect::<BTreeSet<_>>(), groups);
    process.signal(nix::sys::signal::Signal::SIGTERM);
    process.wait(Duration::from_secs(30));
}

#[test]
fn a_program_waits_for_no_target_that_is_not_configured_any_more() {
    let target = |name: &str| {
        format!("  {name}: {{templates: [{{content: '{{{{ key(path=\"{name}\") }}}}', dest: {name}.conf}}]}}\n")
    };
    let head = "registries: {local: {file: {path: registry.yaml}}}\ntargets:\n";
    let job = Job::new(&format!("{head}{}{}", target("out"), target("other")))
        .with("registry.yaml", "out: A\n")
        .with("program", PROGRAM);
    let mut daemon = job.start(&["run", "--", "sh", "program"]);
    daemon.wait_for_log("not applied");
    job.write("liveconf.yaml", format!("{head}{}{}", target("out"), target("third")));
    daemon.signal(Signal::SIGHUP);
    process(&job, |process| process["waiting_for"] == serde_json::json!(["third"]));
    job.write("liveconf.yaml", format!("{head}{}", target("out")));
    daemon.signal(Signal::SIGHUP);
    assert_eq!(notes(&job, 1), ["started A"]);
    daemon.stop();
}

#[test]
fn a_program_of_several_targets_waits_for_all_of_them() {
    let job = Job::new(
        "registries: {local: {file: {path: registry.yaml}}}
targets:
  web:
    templates: [{content: '{{ key(path=\"x\") }}', dest: out.conf}]
    reload: {signal: HUP}
  other:
    templates: [{content: '{{ key(path=\"y\") }}', dest: other.conf}]
    reload: {signal: HUP}
",
    )
    .with("registry.yaml", "x: A\n")
    .with("program", PROGRAM);
    let mut daemon = job.start(&["run", "--", "sh", "program"]);
    daemon.wait_for_log("not applied");
    let shown = process(&job, |process| process["waiting_for"] == serde_json::json!(["other"]));
    assert_eq!(shown["state"], "waiting");
    job.write("registry.yaml", "x: A\ny: B\n");
    assert_eq!(notes(&job, 1), ["started A"]);
    job.write("registry.yaml", "x: C\ny: B\n");
    assert_eq!(notes(&job, 2)[1], "told C");
    job.write("registry.yaml", "x: C\ny: D\n");
    assert_eq!(notes(&job, 3)[2], "told C");
    daemon.stop();
}
