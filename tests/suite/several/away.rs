//! One registry is away: what asks it waits, and nothing else does.

use std::time::{Duration, Instant};

use super::trap::Trap;
use super::{config, hang_up, register};
use crate::support::consul::Consul;
use crate::support::etcd::Etcd;
use crate::support::liveconf::Job;
use crate::support::{SOON, poll_until, port};

/// What recovery from an outage may take: a pause of up to 10 s before the next try, and the machine may be busy.
const RECOVERY: Duration = Duration::from_secs(40);

/// A target for each kind, one for both, and one for the file registry; `alone` asks what may be away alone.
const TEMPLATES: [(&str, &str); 3] = [
    ("alone.tera", "{{ key(path=\"k\", registry=\"far\") }}\n"),
    ("both.tera", "{{ key(path=\"k\", registry=\"far\") }} {{ key(path=\"k\", registry=\"near\") }}\n"),
    ("well.tera", "{{ key(path=\"k\", registry=\"near\") }}\n"),
];

fn job(far: &str) -> Job {
    let registries = [format!("far: {far}"), "near: {file: {path: near.yaml}}".to_owned()];
    let job = Job::new(&config(&registries, &["alone", "both", "well"])).with("near.yaml", "k: near 1\n");
    TEMPLATES.into_iter().fold(job, |job, (name, text)| job.with(name, text))
}

fn etcd_section(etcd: &Etcd) -> String {
    format!("{{etcd: {{endpoints: {}}}}}", etcd.endpoints_yaml())
}

/// The daemon starts while `far` is away, which `back` ends.
fn away_at_the_start(far: &str, back: impl FnOnce()) {
    let job = job(far);
    job.write("both.conf", "old\n");
    let mut daemon = job.start(&["run"]);
    job.wait_for("well.conf", "near 1\n");
    assert_eq!(job.wait_for_lines("well.reloads", 1), ["near 1"]);
    job.write("near.yaml", "k: near 2\n");
    job.wait_for("well.conf", "near 2\n");
    assert_eq!(job.wait_for_lines("well.reloads", 2), ["near 1", "near 2"]);

    let waits = daemon.wait_for_log("still waits for");
    assert!(waits.contains("key `k` from registry `far`") && !waits.contains("near"), "{waits}");
    hang_up(&mut daemon);
    job.write("near.yaml", "k: near 3\n");
    job.wait_for("well.conf", "near 3\n");
    assert_eq!((job.read("alone.conf"), job.read("both.conf").as_deref()), (None, Some("old\n")));
    assert_eq!((job.read("alone.reloads"), job.read("both.reloads")), (None, None));
    assert_eq!(daemon.logged("registry does not answer").len(), 1, "{:#?}", daemon.log());

    back();
    job.wait_for_within(RECOVERY, "alone.conf", "far 1\n");
    job.wait_for("both.conf", "far 1 near 3\n");
    assert_eq!(job.wait_for_lines("both.reloads", 1), ["far 1 near 3"]);
    for line in daemon.logged("registry=") {
        assert!(line.contains("registry=\"far\"") || line.contains("registry=\"near\""), "one form: {line}");
    }
    daemon.stop();
}

#[test]
fn etcd_away_at_the_start_blocks_those_that_ask_it() {
    let mut etcd = Etcd::start();
    etcd.client().put("/k", "far 1");
    etcd.kill(0);
    let section = etcd_section(&etcd);
    away_at_the_start(&section, || etcd.restart(0));
}

#[test]
fn consul_away_at_the_start_blocks_those_that_ask_it() {
    let mut consul = Consul::start();
    consul.client().put("k", "far 1");
    consul.kill(0);
    let section = format!("{{consul: {}}}", consul.section());
    away_at_the_start(&section, || consul.restart(0));
}

/// `far` goes away under the daemon by `kill` and comes back by `back`, with `far 2`.
fn away_later<S>(server: &mut S, far: &str, kill: impl FnOnce(&mut S), back: impl FnOnce(&mut S)) {
    let job = job(far);
    let mut daemon = job.start(&["run"]);
    job.wait_for("both.conf", "far 1 near 1\n");
    job.wait_for("alone.conf", "far 1\n");
    kill(server);
    daemon.wait_for_log("registry does not answer");
    // What it has said last stays, and the other one goes on, also in the target that asks both.
    job.write("near.yaml", "k: near 2\n");
    job.wait_for("well.conf", "near 2\n");
    job.wait_for("both.conf", "far 1 near 2\n");
    hang_up(&mut daemon);
    job.write("near.yaml", "k: near 3\n");
    job.wait_for("both.conf", "far 1 near 3\n");
    assert_eq!(job.read("alone.conf").as_deref(), Some("far 1\n"));

    back(server);
    job.wait_for_within(RECOVERY, "alone.conf", "far 2\n");
    job.wait_for("both.conf", "far 2 near 3\n");
    assert_eq!(job.wait_for_lines("alone.reloads", 2), ["far 1", "far 2"]);
    assert_eq!(job.wait_for_lines("both.reloads", 4).last().map(String::as_str), Some("far 2 near 3"));
    daemon.stop();
}

#[test]
fn etcd_away_later_leaves_its_last_answers() {
    let mut etcd = Etcd::start();
    etcd.client().put("/k", "far 1");
    let section = etcd_section(&etcd);
    away_later(
        &mut etcd,
        &section,
        |etcd| etcd.kill(0),
        |etcd| {
            etcd.restart(0);
            etcd.client().put("/k", "far 2");
        },
    );
}

#[test]
fn consul_away_later_leaves_its_last_answers() {
    let mut consul = Consul::start();
    consul.client().put("k", "far 1");
    let section = format!("{{consul: {}}}", consul.section());
    away_later(
        &mut consul,
        &section,
        |consul| consul.kill(0),
        |consul| {
            consul.restart(0);
            consul.client().put("k", "far 2");
        },
    );
}

#[test]
fn once_names_what_is_away_and_does_the_rest() {
    let consul = Consul::start();
    register(&consul.client(), "web", 80);
    let registries = [
        format!("far: {{etcd: {{endpoints: 'http://127.0.0.1:{}'}}}}", port::free()),
        format!("catalog: {{consul: {}}}", consul.section()),
        "near: {file: {path: near.yaml}}".to_owned(),
    ];
    let job = Job::new(&config(&registries, &["alone", "both", "well", "web"]))
        .with("near.yaml", "k: near 1\n")
        .with("web.tera", "{{ service(name=\"web\", registry=\"catalog\") | map(attribute=\"endpoint\") }}\n");
    let job = TEMPLATES.into_iter().fold(job, |job, (name, text)| job.with(name, text));
    let output = job.run(&["once", "--timeout", "5s"]);
    output.assert_code(3).assert_says(&[
        "error: target `alone` is not ready after",
        "error: target `both` is not ready after",
        "  key `k` from registry `far` (",
    ]);
    assert!(!output.stderr.contains("target `w") && !output.stderr.contains("`near`"), "{}", output.stderr);
    assert_eq!(job.read("well.reloads").as_deref(), Some("near 1\n"));
    assert_eq!(job.read("web.reloads").as_deref(), Some("[\"10.0.0.1:80\"]\n"));
    assert_eq!((job.read("alone.conf"), job.read("both.conf")), (None, None));
    // What does not ask it does not wait for it either.
    job.run(&["once", "--target", "well", "--target", "web"]).assert_code(0);
    let rendered = job.run(&["render", "--target", "well"]);
    rendered.assert_code(0);
    assert_eq!(rendered.stdout, "near 1\n");
}

#[test]
fn a_registry_that_nobody_asks_is_left_alone() {
    let trap = Trap::set();
    for kind in
        [format!("{{etcd: {{endpoints: '{}'}}}}", trap.url()), format!("{{consul: {{address: '{}'}}}}", trap.url())]
    {
        let before = trap.caught().len();
        let job = job(&kind);
        let unused = "{% if false %}{{ key(path=\"k\", registry=\"far\") }}{% endif %}";
        let near = "{{ key(path=\"k\", registry=\"near\") }}\n";
        for name in ["alone.tera", "both.tera"] {
            job.write(name, format!("{unused}{near}"));
        }
        let mut daemon = job.start(&["run"]);
        job.wait_for("alone.conf", "near 1\n");
        hang_up(&mut daemon);
        job.write("near.yaml", "k: near 2\n");
        job.wait_for("alone.conf", "near 2\n");
        for command in [&["once", "--state-dir", "other", "--target", "none"][..], &["check"], &["render"], &["diff"]] {
            job.run(command);
        }
        assert_eq!(trap.caught().len(), before, "{kind}");
        assert_eq!(daemon.logged("registry=\"far\""), [] as [&str; 0]);
        // And it is asked as soon as a template asks it.
        job.write("alone.tera", "{{ key(path=\"k\", registry=\"far\") }}\n");
        poll_until(SOON, || if trap.caught().len() > before { Ok(()) } else { Err("nobody comes".to_owned()) });
        daemon.stop();
    }
}

#[test]
fn check_connects_to_every_registry_when_told_to() {
    let etcd = Etcd::start();
    let job = job(&etcd_section(&etcd));
    job.run(&["check", "--connect"]).assert_code(0).assert_says(&["2 registries, and every registry answers"]);
    let trap = Trap::set();
    let consul = format!("  idle: {{consul: {{address: '{}'}}}}\ntargets:", trap.url());
    job.write("liveconf.yaml", job.read("liveconf.yaml").unwrap().replace("targets:", &consul));
    job.run(&["check"]).assert_code(0);
    assert_eq!(trap.caught(), [] as [&str; 0], "without `--connect` nobody is asked");
    let output = job.run(&["check", "--connect", "--timeout", "5s"]);
    output.assert_code(3).assert_says(&["error: registry `idle` has not answered after 5s: "]);
    assert_eq!(output.stderr.matches("error: registry").count(), 1, "{}", output.stderr);
}

/// What `check --connect` says of a registry of this kind that no waiting mends; it does not wait.
#[track_caller]
fn says_at_once(section: &str, fragment: &str) {
    let config =
        format!("registries: {{main: {{{section}}}}}\ntargets: {{t: {{templates: [{{content: x, dest: out}}]}}}}\n");
    let since = Instant::now();
    let output = Job::new(&config).run(&["check", "--connect", "--timeout", "60s"]);
    output.assert_code(3).assert_says(&["registry `main` gives no answer, and waiting will not help: ", fragment]);
    assert!(since.elapsed() < Duration::from_secs(20), "{:?}", since.elapsed());
}

#[test]
fn check_does_not_wait_for_what_only_the_operator_can_mend() {
    let consul = Consul::with_acl();
    let unknown = consul.section_with("token: 5e1d7e70-0000-4000-8000-000000000000");
    says_at_once(&format!("consul: {unknown}"), "Consul does not know the token");
    let nowhere = consul.section_with("datacenter: nowhere");
    says_at_once(&format!("consul: {nowhere}"), "No path to datacenter");
    // A token that may not read just this key is taken: the registry answers.
    let client = consul.client();
    client.policy("none", r#"key_prefix "app" { policy = "read" }"#);
    let token = client.token(&["none"]);
    let known = consul.section_with(&format!("token: {}", token.secret));
    let config = format!(
        "registries: {{main: {{consul: {known}}}}}\ntargets: {{t: {{templates: [{{content: x, dest: out}}]}}}}\n"
    );
    Job::new(&config).run(&["check", "--connect"]).assert_code(0);

    let consul = Consul::with_tls();
    let stranger = Etcd::with_tls();
    let other = stranger.tls().ca.display().to_string();
    says_at_once(&format!("consul: {{address: '{}', ca_file: '{other}'}}", consul.url()), "ertificate");
    let other = consul.tls().ca.display().to_string();
    let endpoints = stranger.endpoints_yaml();
    says_at_once(&format!("etcd: {{endpoints: {endpoints}, ca_file: '{other}'}}"), "`ca_file`");
}
