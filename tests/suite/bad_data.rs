//! What bad data gets while liveconf runs: the old file stays, the reason is logged once with its place, other targets
//! go on, and good data is taken as ever.

use crate::support::liveconf::{Daemon, Job};
use crate::support::{SOON, poll_until};

/// Two targets on one file registry: `bad.tera` is the test's, `good` follows the key `good`.
fn job(bad: &str, options: &str) -> Job {
    Job::new(&format!(
        "registries: {{local: {{file: {{path: registry.yaml}}}}}}
limits: {{output: 1MiB}}
targets:
  bad:
    templates: [{{src: bad.tera, dest: bad.conf}}]
    wait: 0
    reload_interval: 0
{options}
  good:
    templates: [{{content: '{{{{ key(path=\"good\") }}}}', dest: good.conf}}]
    wait: 0
    reload_interval: 0
"
    ))
    .with("bad.tera", bad)
}

/// Changes `job`'s registry from `before`, with which `bad.conf` becomes `file`, to `after`, which must be refused with
/// one line that holds all of `says`; then back.
#[track_caller]
fn refused(job: &Job, before: &str, file: &str, after: &str, says: &[&str]) -> Daemon {
    job.write("registry.yaml", format!("good: 1\n{before}"));
    let mut daemon = job.start(&["run"]);
    job.wait_for("bad.conf", file);
    job.wait_for("good.conf", "1");

    job.write("registry.yaml", format!("good: 2\n{after}"));
    job.wait_for("good.conf", "2");
    let line = daemon.wait_for_log(says[0]);
    for fragment in says {
        assert!(line.contains(fragment), "`{fragment}` is missing in: {line}");
    }

    // The same reason again, for other data, is not told again; another target's data is none of its business.
    for round in 3..8 {
        job.write("registry.yaml", format!("good: {round}\n{after}"));
        job.wait_for("good.conf", &round.to_string());
    }
    assert_eq!(daemon.logged(says[0]).len(), 1, "{:#?}", daemon.log());
    assert_eq!(job.read("bad.conf").as_deref(), Some(file));
    assert_eq!(job.folder().names("").iter().filter(|name| name.starts_with('.')).count(), 0, "a leftover");

    job.write("registry.yaml", "good: 9\nx: well\n");
    job.wait_for("bad.conf", &file.replace("before", "well"));
    daemon
}

#[test]
fn an_undefined_variable() {
    let job = job("a\n  {{ key(path=\"x\") }}\n", "");
    refused(&job, "x: before\n", "a\n  before\n", "", &["bad.tera:2:", "`x`"]).stop();
}

#[test]
fn a_required_key_that_is_missing() {
    let job = job("{% if key(path=\"x\", required=true) %}\n{{ key(path=\"x\") }}\n{% endif %}\n", "");
    refused(&job, "x: before\n", "before\n", "", &["bad.tera:1:", "`x`"]).stop();
}

#[test]
fn a_value_of_eight_megabytes() {
    let job = job("{{ key(path=\"x\") | truncate(length=10) }}\n", "");
    let large = "v".repeat(8_000_000);
    refused(&job, "x: before\n", "before\n", &format!("x: {large}\n"), &["bad.tera:1:", "`x`"]).stop();
}

#[test]
fn an_output_over_the_limit() {
    let job =
        job("{% for n in range(end=key(path=\"many\", default=\"1\") | int) %}{{ key(path=\"x\") }}{% endfor %}", "");
    let after = format!("x: {}\nmany: 2000\n", "v".repeat(1000));
    refused(&job, "x: before\n", "before", &after, &["bad.tera", "1048576 bytes"]).stop();
}

#[test]
fn a_render_that_does_not_end() {
    let forever = "{% for a in range(end=99999) %}{% for b in range(end=99999) %}{% if a == 99999 %}x{% endif %}\
                   {% endfor %}{% endfor %}";
    let template = format!("{{% if exists(path=\"slow\") %}}{forever}{{% endif %}}{{{{ key(path=\"x\") }}}}");
    let job = job(&template, "    render_timeout: 200ms");
    refused(&job, "x: before\n", "before", "x: after\nslow: yes\n", &["bad.tera:1:", "200ms"]).stop();
}

#[test]
fn a_check_that_refuses() {
    let job = job("{{ key(path=\"x\") }}\n", "    check: [grep, -qE, \"before|well\", \"{staged}\"]");
    refused(&job, "x: before\n", "before\n", "x: after\n", &["check", "exit"]).stop();
}

#[test]
fn a_value_of_the_wrong_form_never_shows_in_the_log() {
    let job = job("{{ key(path=\"x\") | int }}\n", "");
    job.write("registry.yaml", "good: 1\nx: 7\n");
    let mut daemon = job.start(&["run", "--log-level", "trace"]);
    job.wait_for("bad.conf", "7\n");
    job.write("registry.yaml", "good: 1\nx: canary-5150\n");
    daemon.wait_for_log("bad.tera:1:");
    assert_eq!(daemon.logged("canary-5150"), [] as [&str; 0]);
    daemon.stop();
}

#[test]
fn a_registry_file_that_is_half_written() {
    let job = job("{{ key(path=\"x\") }}\n", "");
    job.write("registry.yaml", "good: 1\nx: before\n");
    let mut daemon = job.start(&["run"]);
    job.wait_for("bad.conf", "before\n");
    job.write("registry.yaml", "good: 2\nx: [half\n");
    daemon.wait_for_log("registry.yaml:");
    assert_eq!((job.read("bad.conf"), job.read("good.conf")), (Some("before\n".into()), Some("1".into())));
    std::fs::remove_file(job.folder().path("registry.yaml")).unwrap();
    job.write("registry.yaml", "good: 3\nx: whole\n");
    job.wait_for("bad.conf", "whole\n");
    job.wait_for("good.conf", "3");
    daemon.stop();
}

#[cfg(feature = "etcd")]
#[test]
fn a_value_that_is_not_utf8() {
    let etcd = crate::support::etcd::Etcd::start();
    let client = etcd.client();
    client.put("/good", "1");
    client.put("/x", "before");
    let job = job("{{ key(path=\"x\") }}\n", "");
    let config = job.read("liveconf.yaml").unwrap();
    let etcd_section = format!("{{etcd: {{endpoints: {}}}}}", etcd.endpoints_yaml());
    job.write("liveconf.yaml", config.replace("{file: {path: registry.yaml}}", &etcd_section));
    let mut daemon = job.start(&["run"]);
    job.wait_for("bad.conf", "before\n");
    client.put("/x", [b'a', 0xff, b'b']);
    client.put("/good", "2");
    job.wait_for("good.conf", "2");
    let line = daemon.wait_for_log("UTF-8");
    assert!(line.contains("bad.tera:1:") && line.contains("`x`"), "{line}");
    assert_eq!(job.read("bad.conf").as_deref(), Some("before\n"));
    client.put("/x", "after");
    job.wait_for("bad.conf", "after\n");
    assert_eq!(daemon.logged("UTF-8").len(), 1);
    daemon.stop();
}

#[test]
fn weights_that_are_no_numbers_are_told_and_do_no_harm() {
    let job = Job::new(
        "registries: {local: {file: {path: registry.yaml}}}
targets:
  web:
    templates: [{src: in.tera, dest: out.conf}]
    wait: 0
",
    )
    .with("in.tera", "{{ <nginx.upstream name=\"web\" servers={service(name=\"web\")} meta_weight=\"w\" /> }}\n");
    let registry = |weights: [&str; 3]| {
        let instance =
            |weight: &str| format!("{{address: 10.0.0.1, port: 80, id: {weight}, weight: 3, meta: {{w: '{weight}'}}}}");
        format!("services:\n  web: [{}]\n", weights.map(instance).join(", "))
    };
    job.write("registry.yaml", registry(["canary", "7", "1.5"]));
    let mut daemon = job.start(&["run"]);
    let line = daemon.wait_for_log("ignored weights in `meta`");
    assert!(line.contains("WARN") && line.contains("count=2") && line.contains("target=\"web\""), "{line}");
    let out = || job.read("out.conf").unwrap_or_default();
    poll_until(SOON, || if out().contains("weight=7;") { Ok(()) } else { Err(out()) });
    assert_eq!(out().matches("weight=3;").count(), 2, "{}", out());
    // Once, and never with what stands there.
    job.write("registry.yaml", registry(["canary", "8", "1.5"]));
    poll_until(SOON, || if out().contains("weight=8;") { Ok(()) } else { Err(out()) });
    assert_eq!(daemon.logged("ignored weights").len(), 1, "{:#?}", daemon.log());
    assert!(!daemon.log().join("\n").contains("canary"), "{:#?}", daemon.log());
    daemon.stop();
}

/// A template is put right: the target that failed with it says so once, though another task has its place by then.
#[test]
fn a_template_that_is_put_right_is_told_of_once() {
    let job = job("{{ key(path=\"missing\") }}", "");
    job.write("registry.yaml", "good: 1\n");
    let mut daemon = job.start(&["run"]);
    daemon.wait_for_log("not applied: ");
    // Another that is wrong is news, and no end of the trouble.
    job.write("bad.tera", "mended {{ key(path=\"missing\") }}");
    poll_until(SOON, || match daemon.logged("not applied: ").len() {
        2 => Ok(()),
        _ => Err(format!("{:#?}", daemon.log())),
    });
    job.write("bad.tera", "mended");
    daemon.wait_for_log("well again after");
    job.wait_for("bad.conf", "mended");
    job.write("bad.tera", "mended again");
    job.wait_for("bad.conf", "mended again");
    assert_eq!(daemon.logged("well again after").len(), 1);
    daemon.stop();
}
