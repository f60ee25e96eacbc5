//! The daemon from its start to its end: new configuration and templates while it runs, and a clean stop.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::liveconf::{Daemon, Job};
use crate::support::{SOON, poll_until, port};

const CONFIG: &str = "registries: {local: {file: {path: registry.yaml}}}
targets:
  program:
    templates: [{src: in.tera, dest: out.conf}]
    wait: 0
    reload_interval: 0
    reload: {shell: 'echo reload >> reloads'}
";

fn job() -> Job {
    Job::new(CONFIG).with("in.tera", "old {{ key(path=\"x\") }}\n").with("registry.yaml", "x: 1\n")
}

#[test]
fn an_edited_template_is_taken() {
    let job = job();
    let daemon = job.start(&["run"]);
    job.wait_for("out.conf", "old 1\n");
    job.write("in.tera", "new {{ key(path=\"x\") }}\n");
    job.wait_for("out.conf", "new 1\n");
    daemon.stop();
}

#[test]
fn an_edited_include_is_taken() {
    let job = job().with("in.tera", "{% include \"part.tera\" %}\n").with("part.tera", "old {{ key(path=\"x\") }}\n");
    let daemon = job.start(&["run"]);
    job.wait_for("out.conf", "old 1\n");
    job.write("part.tera", "new {{ key(path=\"x\") }}\n");
    job.wait_for("out.conf", "new 1\n");
    daemon.stop();
}

#[test]
fn a_broken_template_keeps_the_old_one_at_work() {
    let job = job();
    let mut daemon = job.start(&["run"]);
    job.wait_for("out.conf", "old 1\n");
    job.write("in.tera", "one\n{% if %}\n");
    daemon.wait_for_log("in.tera:2:");
    job.write("registry.yaml", "x: 2\n");
    job.wait_for("out.conf", "old 2\n");
    job.write("in.tera", "mended {{ key(path=\"x\") }}\n");
    job.wait_for("out.conf", "mended 2\n");
    assert_eq!(daemon.logged("in.tera:2:").len(), 1, "{:#?}", daemon.log());
    daemon.stop();
}

#[test]
fn hangup_takes_a_new_configuration() {
    let job = job();
    let mut daemon = job.start(&["run"]);
    job.wait_for("out.conf", "old 1\n");
    let more = "  second:\n    templates: [{content: '{{ key(path=\"y\") }}', dest: second.conf}]\n";
    job.write("liveconf.yaml", format!("{CONFIG}{more}"));
    job.write("registry.yaml", "x: 1\ny: two\n");
    daemon.signal(Signal::SIGHUP);
    job.wait_for("second.conf", "two");
    // And away again: what is no target any more is left as it is.
    job.write("liveconf.yaml", CONFIG.replace("out.conf", "other.conf"));
    daemon.signal(Signal::SIGHUP);
    job.wait_for("other.conf", "old 1\n");
    job.write("registry.yaml", "x: 3\ny: three\n");
    job.wait_for("other.conf", "old 3\n");
    assert_eq!((job.read("second.conf").as_deref(), job.read("out.conf").as_deref()), (Some("two"), Some("old 1\n")));
    daemon.stop();
}

#[test]
fn hangup_with_a_bad_configuration_changes_nothing() {
    let job = job();
    let mut daemon = job.start(&["run"]);
    job.wait_for("out.conf", "old 1\n");
    job.write("liveconf.yaml", CONFIG.replace("wait: 0", "wiat: 0\n    splay: never"));
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_log("`wiat`");
    daemon.wait_for_log("`splay`");
    job.write("registry.yaml", "x: 2\n");
    job.wait_for("out.conf", "old 2\n");
    daemon.stop();
}

#[test]
fn hangup_takes_a_new_log() {
    let job = job();
    let mut daemon = job.start(&["run"]);
    job.wait_for("out.conf", "old 1\n");
    let change = |log: &str, daemon: &mut Daemon, loaded: usize| {
        job.write("liveconf.yaml", format!("{CONFIG}{log}"));
        daemon.signal(Signal::SIGHUP);
        poll_until(SOON, || {
            let lines = daemon.logged("loaded the new configuration");
            if lines.len() == loaded { Ok(lines[loaded - 1].clone()) } else { Err(format!("{:#?}", daemon.log())) }
        })
    };
    let is_json = |line: &String| line.starts_with('{');
    assert!(is_json(&change("log: {format: json}\n", &mut daemon, 1)));
    assert!(!is_json(&change("log: {level: debug}\n", &mut daemon, 2)));
    assert!(is_json(&change("log: {format: json, level: info}\n", &mut daemon, 3)));
    // With less, the worse is still told.
    let second = "  second:\n    templates: [{content: '2', dest: second.conf}]\n";
    job.write("liveconf.yaml", format!("{CONFIG}{second}log: {{level: error}}\n"));
    daemon.signal(Signal::SIGHUP);
    job.wait_for("second.conf", "2");
    job.write("liveconf.yaml", "nothing");
    daemon.signal(Signal::SIGHUP);
    let line = daemon.wait_for_log("not loaded");
    assert!(line.contains("ERROR") && !is_json(&line), "{line}");
    assert_eq!(daemon.logged("loaded the new configuration").len(), 3, "{:#?}", daemon.log());
    daemon.stop();
}

#[test]
fn a_flag_of_the_log_goes_before_a_new_configuration() {
    let job = job();
    let mut daemon = job.start(&["run", "--log-format", "json"]);
    job.wait_for("out.conf", "old 1\n");
    job.write("liveconf.yaml", format!("{CONFIG}log: {{format: text}}\n"));
    daemon.signal(Signal::SIGHUP);
    let line = daemon.wait_for_log("loaded the new configuration");
    assert!(line.starts_with('{'), "{line}");
    daemon.stop();
}

#[test]
fn hangup_without_a_change_reloads_nobody() {
    let job = job();
    let mut daemon = job.start(&["run"]);
    assert_eq!(job.wait_for_lines("reloads", 1).len(), 1);
    for _ in 0..5 {
        daemon.signal(Signal::SIGHUP);
    }
    job.write("registry.yaml", "x: 2\n");
    job.wait_for("out.conf", "old 2\n");
    assert_eq!(job.wait_for_lines("reloads", 2).len(), 2);
    daemon.stop();
}

/// Whatever the new templates and configuration come to: what was owed when they were loaded is paid.
#[test]
fn what_is_owed_is_paid_although_the_new_templates_cannot_be_rendered() {
    let away = format!("registries: {{other: {{etcd: {{endpoints: [http://127.0.0.1:{}]}}}}, local:", port::free());
    let waits = "{{ key(path=\"x\", registry=\"other\") }}";
    for (template, is_waiting) in [("{{ key(path=\"none\") }}", false), (waits, true)] {
        let fails = "    reload: {shell: 'test -e up && echo reload >> reloads'}\n    retry: 20ms..100ms\n";
        let config = CONFIG.replace("    reload: {shell: 'echo reload >> reloads'}\n", fails);
        let job = job().with("liveconf.yaml", &config);
        let mut daemon = job.start(&["run"]);
        daemon.wait_for_log("reload failed and is tried again");
        job.write("in.tera", template);
        if is_waiting {
            job.write("liveconf.yaml", config.replacen("registries: {local:", &away, 1));
            daemon.signal(Signal::SIGHUP);
            daemon.wait_for_log("loaded the new configuration");
        } else {
            daemon.wait_for_log("not applied");
        }
        job.write("up", "");
        assert_eq!(job.wait_for_lines("reloads", 1), ["reload"]);
        assert_eq!(job.read("out.conf").as_deref(), Some("old 1\n"));
        // That the process has taken what there is does not make the new templates good.
        poll_until(SOON, || {
            let status = job.run(&["status", "--json"]).assert_code(1).stdout.clone();
            let state = if is_waiting { "\"waiting\"" } else { "\"failed\"" };
            if status.contains(state) { Ok(()) } else { Err(status) }
        });
        daemon.stop();
    }
}

#[test]
fn a_stop_is_quick_and_leaves_nothing_behind() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let job = job();
        let mut daemon = job.start(&["run"]);
        job.wait_for("out.conf", "old 1\n");
        job.wait_for_lines("reloads", 1);
        daemon.signal(signal);
        assert_eq!(daemon.wait(Duration::from_secs(5)), 0);
        let names = job.folder().names("");
        assert!(!names.iter().any(|name| name.starts_with('.')), "{names:?}");
    }
}

#[test]
fn a_stop_lets_a_reload_finish() {
    let job = job();
    job.write("liveconf.yaml", CONFIG.replace("echo reload", "echo begun >> begun; sleep 0.5; echo reload"));
    let mut daemon = job.start(&["run"]);
    job.wait_for_lines("begun", 1);
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait(SOON), 0);
    assert_eq!(job.read("reloads").as_deref(), Some("reload\n"));
}

#[test]
fn a_stop_does_not_wait_for_ever_and_a_second_one_not_at_all() {
    let job = job();
    job.write("liveconf.yaml", CONFIG.replace("echo reload", "echo begun >> begun; sleep 600; echo reload"));
    let mut daemon = job.start(&["run"]);
    job.wait_for_lines("begun", 1);
    let asked = Instant::now();
    daemon.signal(Signal::SIGTERM);
    daemon.wait_for_log("stop");
    // One that follows at once is the same signal, sent to the group as well.
    poll_until(SOON, || {
        if daemon.is_running() {
            daemon.signal(Signal::SIGTERM);
        }
        if daemon.is_running() { Err("still running".to_owned()) } else { Ok(()) }
    });
    assert!(asked.elapsed() < Duration::from_secs(6), "{:?}", asked.elapsed());
    // What was under way is owed.
    job.write("liveconf.yaml", CONFIG);
    job.run(&["once"]).assert_code(0);
    assert_eq!(job.read("reloads").as_deref(), Some("reload\n"));
}

#[test]
fn a_burst_of_changes_is_a_few_reloads_and_ends_with_the_last() {
    let job = job();
    job.write("liveconf.yaml", CONFIG.replace("wait: 0", "wait: 50ms..10s"));
    let daemon = job.start(&["run"]);
    assert_eq!(job.wait_for_lines("reloads", 1).len(), 1);
    for number in 0..200 {
        job.write("registry.yaml", format!("x: {number}\n"));
    }
    job.wait_for("out.conf", "old 199\n");
    job.write("registry.yaml", "x: end\n");
    job.wait_for("out.conf", "old end\n");
    let reloads = job.wait_for_lines("reloads", 3).len();
    assert!(reloads < 20, "{reloads} reloads");
    daemon.stop();
}

#[test]
fn only_targets_that_read_what_changed_are_rendered() {
    let job = Job::new(
        "registries: {local: {file: {path: registry.yaml}}}
targets:
  a: {templates: [{content: '{{ key(path=\"a\") }}', dest: a.conf}], wait: 0, reload_interval: 0}
  b: {templates: [{content: '{{ key(path=\"b\") }}', dest: b.conf}], wait: 0, reload_interval: 0}
",
    )
    .with("registry.yaml", "a: 1\nb: 1\n");
    let daemon = job.start(&["run", "--log-level", "debug"]);
    job.wait_for("a.conf", "1");
    job.wait_for("b.conf", "1");
    let of_b = daemon.logged("target=b").len();
    for number in 2..10 {
        job.write("registry.yaml", format!("a: {number}\nb: 1\n"));
        job.wait_for("a.conf", &number.to_string());
    }
    job.write("registry.yaml", "a: 9\nb: end\n");
    job.wait_for("b.conf", "end");
    assert!(daemon.logged("target=b").len() <= of_b + 6, "{:#?}", daemon.logged("target=b"));
    daemon.stop();
}
