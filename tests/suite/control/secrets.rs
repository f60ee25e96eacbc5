//! Values and tokens never stand in an answer, however a target stands.

use nix::sys::signal::Signal;

use super::{hang_up, wait_for_state, wait_for_target};
use crate::support::liveconf::Job;

const CANARY: &str = "canary-3b1f0c";

/// What every question and command says, in both forms.
fn all(job: &Job) -> String {
    let mut said = String::new();
    for command in [&["status"][..], &["explain", "web"], &["apply"], &["release", "web"], &["pause"], &["resume"]] {
        for form in [&[][..], &["--json"]] {
            let output = job.run(&[command, form].concat());
            said.push_str(&output.stdout);
            said.push_str(&output.stderr);
        }
    }
    said
}

#[test]
fn no_answer_holds_a_value_a_token_or_the_content_of_a_file() {
    let config = |registry: &str, target: &str| {
        format!(
            "registries: {{local: {registry}}}\ntargets:\n  web:\n    templates: [{{src: out.tera, dest: out.conf}}]\n    \
             wait: 0\n    reload_interval: 0\n    retry: 1h\n{target}\n"
        )
    };
    let file = "{file: {path: registry.yaml}}";
    let good = "{{ key(path=\"x\") }}";
    let job = Job::new(&config(file, ""))
        .with("registry.yaml", format!("x: {CANARY}\nnumber: {CANARY}\n"))
        .with("out.tera", good);
    let mut daemon = job.start(&["run"]);
    job.wait_for("out.conf", CANARY);
    wait_for_state(&job, "settled");
    let mut said = all(&job);

    // A render that fails on the value itself.
    for template in
        ["{{ key(path=\"number\") | int }}", "{{ throw(message=key(path=\"x\")) }}", "{{ key(path=\"x\") | port }}"]
    {
        job.write("out.tera", template);
        hang_up(&mut daemon);
        wait_for_target(&job, |target| target["state"] != "settled" && target["applying"].is_null());
        said.push_str(&all(&job));
        job.write("out.tera", good);
        hang_up(&mut daemon);
        wait_for_state(&job, "settled");
    }

    // A question that is made of the value.
    let computed = "{{ key(path=key(path=\"x\"), default=\"\") }} {{ service(name=key(path=\"x\")) | length }}";
    job.write("out.tera", computed);
    hang_up(&mut daemon);
    job.wait_for("out.conf", " 0");
    said.push_str(&all(&job));
    job.write("registry.yaml", format!("x: {CANARY}-2\nnumber: {CANARY}\n"));
    wait_for_target(&job, |target| target["queries"] == 3 && target["revision"].as_u64() > Some(1));
    said.push_str(&all(&job));
    assert!(said.contains("[computed]"), "{said}");
    job.write("out.tera", good);
    hang_up(&mut daemon);

    // A check, a reload and a configuration that repeat it.
    let repeats = "sh, -c, 'cat out.conf registry.yaml; cat out.conf registry.yaml >&2; exit 1'";
    for (target, state) in [
        (format!("    check: [{repeats}, '{{staged}}']"), "failed"),
        (format!("    reload: {{command: [{repeats}]}}"), "owed"),
    ] {
        job.write("liveconf.yaml", config(file, &target));
        hang_up(&mut daemon);
        job.write("registry.yaml", format!("x: {CANARY}{}\nnumber: {CANARY}\n", target.len()));
        assert!(wait_for_state(&job, state)["reason"].is_string());
        said.push_str(&all(&job));
    }
    let token = format!("{{consul: {{address: 'http://127.0.0.1:1', token: {CANARY}}}}}");
    if cfg!(feature = "consul") {
        job.write("liveconf.yaml", config(&token, ""));
        hang_up(&mut daemon);
        wait_for_target(&job, |target| target["away"] == serde_json::json!(["local"]));
        said.push_str(&all(&job));
    }
    job.write("liveconf.yaml", format!("{CANARY}: [{CANARY}"));
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_log("not loaded");
    let state = job.folder().path("state");
    said.push_str(&job.run(&["status", "--json", "--state-dir", state.to_str().unwrap()]).stdout);
    assert!(said.contains("out.conf") && said.contains("from registry `local`"), "{said}");
    assert!(!said.contains(CANARY), "{said}");
    daemon.stop();
}
