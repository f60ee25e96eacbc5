//! The commands and their exit codes.

use nix::sys::signal::Signal;

use crate::support::SOON;
use crate::support::liveconf::{Job, Output};

const CONFIG: &str = "registries: {local: {file: {path: registry.yaml}}}
targets:
  one:
    templates: [{src: in.tera, dest: one.conf}]
    reload: {shell: 'echo one >> reloads'}
  two:
    templates: [{content: 'second', dest: two.conf, mode: 640}]
    reload: {shell: 'echo two >> reloads'}
";

fn job() -> Job {
    Job::new(CONFIG).with("in.tera", "x = {{ key(path=\"x\") }}\n").with("registry.yaml", "x: 1\n")
}

#[test]
fn once_writes_checks_and_reloads() {
    let job = job();
    let output = job.run(&["once"]);
    output.assert_code(0);
    assert_eq!(output.stdout, "");
    assert_eq!(job.read("one.conf").as_deref(), Some("x = 1\n"));
    assert_eq!(job.read("two.conf").as_deref(), Some("second"));
    let mut reloads = job.wait_for_lines("reloads", 2);
    reloads.sort();
    assert_eq!(reloads, ["one", "two"]);
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(job.folder().path("two.conf")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o7777, 0o640);
    job.run(&["once"]).assert_code(0);
    assert_eq!(job.wait_for_lines("reloads", 2).len(), 2, "nothing changed, nothing is reloaded");
}

#[test]
fn once_for_one_target() {
    let job = job();
    job.run(&["once", "--target", "two"]).assert_code(0);
    assert_eq!((job.read("one.conf"), job.read("two.conf")), (None, Some("second".into())));
}

#[test]
fn a_job_without_a_configuration() {
    let job = Job::empty().with("registry.yaml", "x: 1\n").with("in.tera", "{{ key(path=\"x\") }}\n");
    let arguments = ["--registry", "file:registry.yaml", "--template", "in.tera:out.conf"];
    let more = ["--check", "grep -q 1 {staged}", "--reload", "cp out.conf served"];
    job.run(&[&["once"], &arguments[..], &more[..]].concat()).assert_code(0);
    assert_eq!(job.read("served").as_deref(), Some("1\n"));
    job.write("registry.yaml", "x: 2\n");
    job.run(&[&["once"], &arguments[..], &more[..]].concat()).assert_code(1);
    assert_eq!(job.read("out.conf").as_deref(), Some("1\n"));
    job.run(&[&["once", "--no-check"], &arguments[..], &more[..]].concat()).assert_code(0);
    assert_eq!(job.read("served").as_deref(), Some("2\n"));
    assert_eq!(job.run(&[&["render"], &arguments[..]].concat()).stdout, "2\n");
}

#[test]
fn render_prints_and_touches_nothing() {
    let job = job();
    let output = job.run(&["render", "--target", "one"]);
    output.assert_code(0);
    assert_eq!(output.stdout, "x = 1\n");
    let all = job.run(&["render"]).stdout;
    assert!(all.contains("one.conf") && all.contains("x = 1\n") && all.contains("second"), "{all}");
    assert_eq!(job.folder().names(""), ["in.tera", "liveconf.yaml", "registry.yaml"]);
}

#[test]
fn diff_shows_what_would_change() {
    let job = job();
    let output = job.run(&["diff"]);
    output.assert_code(4);
    assert!(output.stdout.contains("+x = 1\n"), "{}", output.stdout);
    job.run(&["once"]).assert_code(0);
    let same = job.run(&["diff"]);
    same.assert_code(0);
    assert_eq!(same.stdout, "");
    job.write("registry.yaml", "x: 2\n");
    let output = job.run(&["diff"]);
    output.assert_code(4);
    assert!(output.stdout.contains("-x = 1\n+x = 2\n"), "{}", output.stdout);
    assert_eq!(job.read("one.conf").as_deref(), Some("x = 1\n"));
}

#[test]
fn diff_never_shows_a_secret() {
    let job = job();
    job.write("liveconf.yaml", CONFIG.replace("dest: one.conf", "dest: one.conf, secret: true"));
    job.write("registry.yaml", "x: canary\n");
    let output = job.run(&["diff"]);
    output.assert_code(4);
    assert!(!output.stdout.contains("canary") && output.stdout.contains("one.conf"), "{}", output.stdout);
}

#[test]
fn check_reads_and_touches_nothing() {
    let job = job();
    job.run(&["check"]).assert_code(0);
    assert_eq!(job.folder().names(""), ["in.tera", "liveconf.yaml", "registry.yaml"]);
    job.run(&["check", "--connect"]).assert_code(0);
}

#[test]
fn a_key_that_is_missing_fails_once_or_is_waited_for() {
    let job = job();
    job.write("registry.yaml", "y: 1\n");
    let output = job.run(&["once"]);
    output.assert_code(1).assert_says(&["in.tera:1:", "`x`"]);
    assert_eq!(job.read("one.conf"), None);
    assert_eq!(job.read("two.conf").as_deref(), Some("second"), "other targets go on");

    let output = job.run(&["once", "--wait-for-keys", "--timeout", "300ms"]);
    output.assert_code(3).assert_says(&["`x`"]);
    let mut waiting = job.start(&["once", "--wait-for-keys"]);
    job.write("registry.yaml", "x: late\n");
    assert_eq!(waiting.wait(SOON), 0);
    assert_eq!(job.read("one.conf").as_deref(), Some("x = late\n"));
}

#[test]
fn a_reload_that_fails_until_the_deadline_is_a_failure_and_stays_owed() {
    let job = job();
    let failing = CONFIG.replace("echo one >> reloads", "echo try >> reloads; test -e well");
    job.write("liveconf.yaml", failing.replace("  one:\n", "  one:\n    retry: 10ms..50ms\n"));
    job.run(&["once", "--target", "one", "--timeout", "1s"]).assert_code(1).assert_says(&["reload"]);
    assert_eq!(job.read("one.conf").as_deref(), Some("x = 1\n"));
    let tries = job.wait_for_lines("reloads", 2).len();
    job.write("well", "");
    job.run(&["once", "--target", "one"]).assert_code(0);
    assert_eq!(job.wait_for_lines("reloads", tries + 1).len(), tries + 1);
}

#[test]
fn once_beside_a_daemon_on_the_same_files_names_it() {
    let job = job();
    let daemon = job.start(&["run"]);
    job.wait_for("one.conf", "x = 1\n");
    job.run(&["once"]).assert_code(1).assert_says(&[&daemon.id().to_string()]);
    daemon.stop();
}

#[test]
fn version_and_help() {
    let job = Job::empty();
    let version = job.run(&["--version"]);
    version.assert_code(0);
    assert_eq!(version.stdout, concat!("liveconf ", env!("CARGO_PKG_VERSION"), "\n"));
    let help = job.run(&["--help"]);
    help.assert_code(0);
    for command in ["run", "once", "render", "diff", "check"] {
        assert!(help.stdout.contains(&format!("  {command} ")), "{}", help.stdout);
    }
}

#[test]
fn configuration_comes_from_the_environment_and_the_folder() {
    let job = job();
    let folder = job.folder().root().to_owned();
    let mut command = job.command(&["render", "--target", "one"]);
    command.env("LIVECONF_CONFIG", folder.join("liveconf.yaml")).current_dir("/");
    let output = crate::support::liveconf::run_to_end(command);
    output.assert_code(0);
    assert_eq!(output.stdout, "x = 1\n");
}

#[test]
fn logs_as_json_hold_one_object_a_line() {
    let job = job();
    let mut daemon = job.start(&["run", "--log-format", "json"]);
    job.wait_for("one.conf", "x = 1\n");
    daemon.wait_for_log("one.conf");
    let lines = daemon.log();
    for line in lines {
        let record: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert!(record["level"].is_string() && record["timestamp"].is_string(), "{line}");
    }
    daemon.stop();
}

/// Standard error as records: fails where a line is anything but JSON with a level, a time and a message.
#[track_caller]
fn records(output: &Output) -> Vec<serde_json::Value> {
    let record = |line: &str| -> serde_json::Value {
        let record: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        assert!(["level", "timestamp", "message"].iter().all(|name| record[*name].is_string()), "{line}");
        record
    };
    output.stderr.lines().map(record).collect()
}

/// Runs the program with JSON as its log; it must end with this code, and with a record of this level that says this.
#[track_caller]
fn tells_as_json(job: &Job, arguments: &[&str], code: i32, level: &str, says: &[&str]) {
    let output = job.run(&[arguments, &["--log-format", "json"]].concat());
    output.assert_code(code);
    let is_told = |record: &serde_json::Value| {
        let whole =
            format!("{} {}", record["message"].as_str().unwrap(), record["target"].as_str().unwrap_or_default());
        record["level"] == level && says.iter().all(|fragment| whole.contains(fragment))
    };
    assert!(records(&output).iter().any(is_told), "{}", output.stderr);
}

#[test]
fn what_ends_a_command_is_json_as_well_where_the_log_is() {
    let job = job();
    tells_as_json(&job, &["check"], 0, "INFO", &["ok: 2 targets, 1 registry"]);
    tells_as_json(&job, &["once", "--target", "wno"], 2, "ERROR", &["no target `wno`"]);
    job.write("registry.yaml", "y: 1\n");
    tells_as_json(&job, &["once"], 1, "ERROR", &["in.tera:1:", "`x`", "one"]);
    tells_as_json(&job, &["render"], 1, "ERROR", &["in.tera:1:", "`x`", "one"]);
    let waiting = ["once", "--wait-for-keys", "--timeout", "200ms"];
    tells_as_json(&job, &waiting, 3, "ERROR", &["target `one` is not ready after", "`x`"]);
    job.write("in.tera", "{{ kye(path=\"x\") }}");
    tells_as_json(&job, &["check"], 2, "ERROR", &["in.tera:1:4", "unknown function `kye`", "did you mean `key`?"]);
    job.write("liveconf.yaml", CONFIG.replace("  two:", "    wiat: 0\n  two:"));
    tells_as_json(&job, &["check"], 2, "ERROR", &["liveconf.yaml:6:5", "unknown key `wiat`"]);
    // The file may say so as well, as long as it can be read.
    job.write("liveconf.yaml", format!("{CONFIG}log: {{format: json}}\n"));
    let output = job.run(&["check"]);
    output.assert_code(2);
    assert!(!records(&output).is_empty());
}

#[test]
fn empty_variables_are_none() {
    let job = job();
    let names = ["LIVECONF_LOG_LEVEL", "LIVECONF_LOG_FORMAT", "LIVECONF_STATE_DIR", "LIVECONF_CONFIG"];
    let run = |set: &[(&str, &str)], arguments: &[&str]| {
        let mut command = job.command(arguments);
        command.envs(names.map(|name| (name, ""))).envs(set.iter().copied());
        crate::support::liveconf::run_to_end(command)
    };
    run(&[], &["check"]).assert_code(0);
    run(&[("LIVECONF_LOG_FORMAT", "jsn")], &["check"]).assert_code(2).assert_says(&["jsn"]);
    run(&[("LIVECONF_LOG_LEVEL", "loud")], &["check"]).assert_code(2).assert_says(&["loud"]);
    let output = run(&[("LIVECONF_LOG_FORMAT", "json")], &["check"]);
    assert_eq!(records(&output).len(), 1);
    // A flag that says nothing is a mistake.
    run(&[], &["check", "--log-level", ""]).assert_code(2);
}

#[test]
fn a_job_of_flags_needs_no_file_and_takes_none() {
    let job = job();
    let flags = ["render", "--registry", "file:registry.yaml", "--template", "in.tera:other.conf"];
    let both = job.run(&[&flags[..], &["--config", "liveconf.yaml"]].concat());
    both.assert_code(2).assert_says(&["--config", "cannot be used with"]);
    // A variable is for whoever says nothing: it may be set for the whole machine.
    let mut command = job.command(&flags);
    command.env("LIVECONF_CONFIG", "nowhere.yaml");
    let output = crate::support::liveconf::run_to_end(command);
    output.assert_code(0);
    assert_eq!(output.stdout, "x = 1\n");
}

#[test]
fn durations_are_those_of_the_configuration() {
    let job = job();
    for (timeout, hint) in [
        ("5M", "a minute is `m`"),
        ("5", "`5s` or `5ms`"),
        ("soon", "such as `100ms`"),
        ("2y", "a year is the longest"),
    ] {
        let output = job.run(&["once", "--timeout", timeout]);
        output.assert_code(2).assert_says(&["--timeout", timeout, hint]);
        job.run(&["check", "--timeout", timeout]).assert_code(2).assert_says(&[hint]);
    }
    job.run(&["once", "--timeout", "1m30s"]).assert_code(0);
}

#[cfg(feature = "dns")]
#[test]
fn check_says_which_registries_it_does_not_ask() {
    let registries = |more: &str| {
        let registries = format!("registries:\n  names: {{dns: {{}}}}\n{more}");
        Job::new(&format!("{registries}targets: {{t: {{templates: [{{content: x, dest: out}}]}}}}\n"))
    };
    let alone = registries("").run(&["check", "--connect"]);
    alone.assert_code(0).assert_says(&["1 registry; not asked: `names` (dns)\n"]);
    let job = registries("  main: {file: {path: registry.yaml}}\n").with("registry.yaml", "a: 1\n");
    let both = job.run(&["check", "--connect"]);
    both.assert_code(0)
        .assert_says(&["2 registries, and every registry that is asked answers; not asked: `names` (dns)\n"]);
}

#[test]
fn check_warns_of_users_and_groups_that_are_not_there() {
    let job = job();
    let process = "    process: {command: [true], user: nobody-at-all, group: 'no-group'}\n    reload: restart";
    let config = CONFIG
        .replace("    reload: {shell: 'echo one >> reloads'}", process)
        .replace("mode: 640", "mode: 640, group: other-group");
    job.write("liveconf.yaml", &config);
    let output = job.run(&["check"]);
    output.assert_code(0).assert_says(&[
        "warning: target `one`: there is no user `nobody-at-all`, as which its process is to run\n  hint: create it",
        "warning: target `one`: there is no group `no-group`, as which its process is to run",
        "there is no group `other-group`",
    ]);
    assert_eq!(output.stderr.matches("warning:").count(), 3, "{}", output.stderr);
    let is_there = config.replace("nobody-at-all", "root").replace("'no-group'", "0").replace("other-group", "root");
    job.write("liveconf.yaml", is_there);
    assert!(!job.run(&["check"]).assert_code(0).stderr.contains("warning"));
}

#[test]
fn check_looks_around_and_warns() {
    let job = job();
    let config = CONFIG
        .replace(
            "    reload: {shell: 'echo one >> reloads'}",
            "    check: [no-such-checker, '{staged}']\n    reload: {command: [./reload]}",
        )
        .replace("mode: 640", "owner: 'nobody-at-all:root', check: [test, -s, '{staged}']");
    job.write("liveconf.yaml", &config);
    let output = job.run(&["check"]);
    output.assert_code(0).assert_says(&[
        "warning: target `one`: the program `no-such-checker` of its check is not there\n  hint: install it",
        "warning: target `one`: the program `./reload` of its reload is not there",
        "warning: target `two`: ",
        "there is no user `nobody-at-all`",
        "ok: 2 targets, 1 registry",
    ]);
    assert_eq!(output.stderr.matches("warning:").count(), 3, "{}", output.stderr);
    tells_as_json(&job, &["check"], 0, "WARN", &["`no-such-checker`"]);
    // A file that cannot be run is as good as none.
    job.write("reload", "#!/bin/sh\n");
    job.run(&["check"]).assert_says(&["`./reload` of its reload"]);
    let path = job.folder().path("reload");
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    assert!(!job.run(&["check"]).stderr.contains("./reload"));
}

#[test]
fn an_interrupt_ends_once_that_waits() {
    let job = job();
    job.write("registry.yaml", "y: 1\n");
    let mut waiting = job.start(&["once", "--wait-for-keys", "--target", "one"]);
    // It handles the signal once the registry has answered, at the latest.
    crate::support::poll_until(SOON, || {
        waiting.signal(Signal::SIGINT);
        if waiting.is_running() { Err("still waits".into()) } else { Ok(()) }
    });
    assert_eq!(job.read("one.conf"), None);
}
