//! A canary in every place that may hold a secret, through every failure: it is in no line of the log at any level, in no
//! error, no diff, no argument and no variable of a command, and not in the state folder.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::support::consul::Consul;
use crate::support::etcd::Etcd;
use crate::support::liveconf::{Daemon, Job};
use crate::support::port;

/// What every secret of these tests holds.
const CANARY: &str = "c4n4ry";

/// What a command sees of itself and of liveconf goes to `seen`: the arguments of both, and its variables.
const LOOK: &str = "{ cat /proc/self/cmdline /proc/$PPID/cmdline /proc/$PPID/task/*/children; echo; env; } >> seen;";

/// Fails where a text holds the canary.
#[track_caller]
fn is_clean(what: &str, text: &str) {
    let found: Vec<&str> = text.lines().filter(|line| line.contains(CANARY)).collect();
    assert!(found.is_empty(), "the canary is in {what}: {found:#?}");
}

/// Looks at the log of a daemon, at what its commands saw, and into its state folder.
#[track_caller]
fn leaves_no_trace(job: &Job, daemon: Daemon) {
    is_clean("the log", &daemon.log().join("\n"));
    assert!(daemon.log().len() > 1, "there is something to look at: {:?}", daemon.log());
    is_clean("what commands see", &job.read("seen").unwrap_or_default());
    daemon.stop();
    look_into(&job.folder().path("state"));
}

fn look_into(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            look_into(&path);
            continue;
        }
        let mode = entry.metadata().unwrap().permissions().mode() & 0o077;
        assert_eq!(mode, 0, "{} is open to others", path.display());
        is_clean(&path.display().to_string(), &String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()));
    }
}

/// Runs every command that reads data, at the finest level of the log and as JSON, of which the daemon wrote none. `code`
/// is that of `once`.
#[track_caller]
fn commands_are_clean(job: &Job, code: i32) {
    for command in ["once", "render", "diff", "check"] {
        let mut arguments = vec![command, "--log-level", "trace", "--log-format", "json", "--timeout", "1s"];
        if command == "check" {
            arguments.push("--connect");
        }
        let output = job.run(&arguments);
        is_clean(&format!("stderr of `{command}`"), &output.stderr);
        // What `render` writes is the file itself.
        if command != "render" || output.code != 0 {
            is_clean(&format!("stdout of `{command}`"), &output.stdout);
        }
        if command == "once" {
            output.assert_code(code);
        }
    }
}

const TRACE: [&str; 3] = ["run", "--log-level", "trace"];

fn secret_job(registry: &str, template: &str, target: &str) -> Job {
    Job::new(&format!(
        "registries: {{main: {{{registry}}}}}
targets:
  main:
    templates: [{{src: in.tera, dest: out.conf, secret: true}}]
    wait: 0
    reload_interval: 0
    retry: 100ms..200ms
{target}"
    ))
    .with("in.tera", template)
}

#[test]
fn a_value_in_a_check_a_reload_and_a_confirmation_that_fail() {
    let taken = "    reload: {shell: 'true'}\n";
    for (target, code) in [
        (format!("    check: {{shell: \"{LOOK} cat {{staged}}; cat {{staged}} >&2; exit 1\"}}"), 1),
        (format!("    reload: {{shell: \"{LOOK} cat {{dest}}; cat {{dest}} >&2; exit 1\"}}"), 1),
        (format!("    reload: {{shell: \"{LOOK} cat {{dest}} >&2; exit 65\"}}"), 1),
        (format!("    reload: {{shell: \"{LOOK} cat {{dest}} >&2\"}}"), 0),
        (format!("    verify: {{shell: \"{LOOK} cat {{dest}}; cat {{dest}} >&2; exit 1\"}}"), 1),
        (format!("{taken}    confirm: {{shell: \"{LOOK} cat {{dest}}; cat {{dest}} >&2; exit 65\"}}"), 1),
        (format!("{taken}    confirm: {{shell: \"{LOOK} cat {{dest}} >&2; exit 1\", within: 300ms}}"), 1),
        (format!("{taken}    confirm: {{shell: \"{LOOK} cat {{dest}} >&2\"}}"), 0),
    ] {
        let job = secret_job("file: {path: registry.yaml}", "password = {{ key(path=\"pw\") }}\n", &target)
            .with("registry.yaml", format!("pw: {CANARY}-1\n"))
            .with("out.conf", format!("password = {CANARY}-0\n"));
        let wide = fs::Permissions::from_mode(0o644);
        fs::set_permissions(job.folder().path("out.conf"), wide).unwrap();
        let daemon = job.start(&TRACE);
        job.wait_for_lines("seen", 3);
        thread::sleep(Duration::from_millis(300));
        // What these refuse is not in place.
        if !target.contains("check") && !target.contains("verify") {
            let mode = fs::metadata(job.folder().path("out.conf")).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "a secret is nobody else's, however wide the file was");
        }
        leaves_no_trace(&job, daemon);
        job.write("registry.yaml", format!("pw: {CANARY}-2\n"));
        let diff = job.run(&["diff"]);
        diff.assert_code(4);
        assert!(diff.stdout.contains("not shown"), "{}", diff.stdout);
        commands_are_clean(&job, code);
    }
}

/// A token in the request that confirms a reload, which nobody answers.
#[test]
fn a_token_in_a_confirmation() {
    let url = format!("http://127.0.0.1:{}/?token={CANARY}", port::free());
    let target = format!(
        "    reload: {{shell: '{LOOK}'}}
    confirm: {{http: {{url: '{url}', headers: {{Authorization: '{CANARY}'}}}}, within: 300ms}}"
    );
    let job =
        secret_job("file: {path: registry.yaml}", "{{ key(path=\"x\") }}\n", &target).with("registry.yaml", "x: 1\n");
    let mut daemon = job.start(&TRACE);
    let line = daemon.wait_for_log("the process refuses the new files");
    assert!(line.contains("takes no connection"), "{line}");
    let status = job.run(&["status"]);
    assert!(status.stdout.contains("rejected"), "none were confirmed before: {}", status.stdout);
    is_clean("status", &status.stdout);
    leaves_no_trace(&job, daemon);
    commands_are_clean(&job, 1);
}

/// What only secret templates show is not saved, unless their files are kept as well; what others show is.
#[test]
fn a_value_that_only_secret_templates_show_is_not_saved() {
    for (keeps, is_saved) in [("", false), (", keep_previous: true", true)] {
        let job = Job::new(&format!(
            "registries: {{main: {{file: {{path: registry.yaml}}}}}}
targets:
  main:
    templates:
      - {{content: '{{{{ key(path=\"app/pw\") }}}} {{{{ prefix(path=\"app\") | length }}}}', dest: pw.conf, secret: true{keeps}}}
      - {{content: '{{{{ key(path=\"host\") }}}}', dest: out.conf}}
"
        ))
        .with("registry.yaml", format!("host: db-1\napp:\n  pw: {CANARY}\n"));
        let daemon = job.start(&["run"]);
        job.wait_for("pw.conf", &format!("{CANARY} 1"));
        job.wait_for("out.conf", "db-1");
        daemon.stop();
        let saved = job.read("state/answers/main.json").unwrap();
        assert!(saved.contains("db-1"), "{saved}");
        assert_eq!(saved.contains(CANARY), is_saved, "{saved}");
    }
}

/// Without `secret`, what a check prints of a value is shown at `debug` and nowhere else.
#[test]
fn a_value_that_a_check_prints_is_not_shown_at_info() {
    let job = secret_job(
        "file: {path: registry.yaml}",
        "password = {{ key(path=\"pw\") }}\n",
        "    check: {shell: \"cat {staged}; exit 1\"}\n",
    );
    let config = job.read("liveconf.yaml").unwrap().replace(", secret: true", "");
    let job = Job::new(&config)
        .with("in.tera", "password = {{ key(path=\"pw\") }}\n")
        .with("registry.yaml", format!("pw: {CANARY}\n"));
    let output = job.run(&["once"]);
    output.assert_code(1);
    is_clean("the error", &output.stderr);
}

#[test]
fn a_value_that_a_render_refuses() {
    for template in [
        "server {{ key(path=\"pw\") }}{{ key(path=\"pw\") | int }}",
        "server {{ key(path=\"pw\") ~ \"\\n\" | trim }} {{ key(path=\"lines\") }};",
        "{{ key(path=\"pw\") | port }}",
        "{{ (key(path=\"pw\") ~ \"$\") | nginx_quote }}",
        "{{ key(path=\"pw\") | from_json }}",
        "{{ throw(message=\"no \" ~ key(path=\"pw\")) }}",
        "{{ key(path=\"none/\" ~ key(path=\"pw\")) }}",
        "{{ service(name=key(path=\"pw\"), min=1) }}",
        "{% for i in service(name=\"web\") %}{{ i.address }}{{ i.meta.note | port }}{% endfor %}",
        "{{ file(path=key(path=\"pw\"), required=true) }}",
        "{{ env(name=key(path=\"pw\"), required=true) }}",
    ] {
        let registry = format!(
            "pw: {CANARY}-pw\nlines: \"{CANARY}\\nx\"\nservices:\n  web:\n    - {{id: a, address: h, port: 1, meta: {{note: {CANARY}}}}}\n    - {{address: \"{CANARY} x\", port: {CANARY}}}\n"
        );
        let job = secret_job("file: {path: registry.yaml}", template, "").with("registry.yaml", &registry);
        let mut daemon = job.start(&TRACE);
        daemon.wait_for_log("not applied");
        // And where the file itself is wrong, beside the value.
        job.write("registry.yaml", format!("pw: {CANARY}\n  x: [{CANARY}\n"));
        daemon.wait_for_log("does not answer");
        leaves_no_trace(&job, daemon);
        job.write("registry.yaml", &registry);
        commands_are_clean(&job, 1);
    }
}

#[test]
fn a_password_of_etcd_and_what_it_may_not_read() {
    let etcd = Etcd::start();
    let client = etcd.client();
    let password = format!("{CANARY}-password");
    client.put("/app/pw", format!("{CANARY}-value"));
    client.put(&format!("/app/{CANARY}-value"), "1");
    etcd.require_users("root", &password, "/app/");
    // Of what may be read, a question is made that may not.
    let template = "{{ key(path=\"app/pw\") }} {{ key(path=\"secret/\" ~ key(path=\"app/pw\")) }}
{% for i in service(name=key(path=\"app/pw\")) %}{% endfor %}";
    let jobs = [
        (format!("username: reader, password: {password}"), "permission denied"),
        (format!("username: reader, password: {CANARY}-wrong"), "authentication failed"),
        ("username: reader, password_file: pw".to_owned(), "permission denied"),
    ]
    .map(|(credentials, says)| {
        let registry = format!("etcd: {}", etcd.section_with(&format!("{credentials}, denied_interval: 200ms")));
        let job = secret_job(&registry, template, "").with("pw", &password);
        fs::set_permissions(job.folder().path("pw"), fs::Permissions::from_mode(0o600)).unwrap();
        (job, says)
    });
    denied_is_clean(jobs);
}

/// Each of these jobs, side by side: it is never answered, and says so with this text.
#[track_caller]
fn denied_is_clean(jobs: impl IntoIterator<Item = (Job, &'static str)>) {
    thread::scope(|scope| {
        for (job, says) in jobs {
            scope.spawn(move || {
                let mut daemon = job.start(&TRACE);
                daemon.wait_for_log(says);
                leaves_no_trace(&job, daemon);
                commands_are_clean(&job, 3);
            });
        }
    });
}

#[test]
fn a_token_of_consul_and_what_it_may_not_read() {
    let consul = Consul::with_acl();
    let client = consul.client();
    client.put("app/pw", format!("{CANARY}-value"));
    client.register(&json!({"Name": "web", "ID": "a", "Address": format!("{CANARY};"), "Meta": {"note": CANARY}}));
    client.policy("app", r#"key_prefix "app/" { policy = "read" }"#);
    let token = client.token(&["app"]).secret;
    let asks = "{% set v = key(path=\"app/pw\") %}";
    let jobs = [
        (token.clone(), format!("{asks}{{{{ key(path=\"secret/\" ~ v) }}}}"), "not answered"),
        (token.clone(), format!("{asks}{{{{ service(name=v) | length }}}}"), "not answered"),
        (token.clone(), format!("{asks}{{{{ prefix(path=v) | length }}}}"), "not answered"),
        (token.clone(), format!("{asks}{{{{ service(name=\"web\", filter=v ~ \" is\") | length }}}}"), "not answered"),
        (token.clone(), format!("{asks}{{{{ service(name=\"web\", datacenter=v) | length }}}}"), "not answered"),
        (token.clone(), format!("{asks}{{{{ nodes(datacenter=v) | length }}}}"), "not answered"),
        (format!("{CANARY}-unknown"), "{{ key(path=\"app/pw\") }}".to_owned(), "ACL not found"),
    ]
    .map(|(token, template, says)| {
        let registry = format!("consul: {}", consul.section_with(&format!("token: {token}, denied_interval: 200ms")));
        (secret_job(&registry, &template, ""), says)
    });
    let job = secret_job(
        &format!("consul: {}", consul.section_with(&format!("token: {token}"))),
        "{{ key(path=\"none\") }}",
        "",
    );
    let output = job.run(&["once", "--log-level", "trace", "--timeout", "1s"]);
    assert!(!output.stderr.contains(&token), "{}", output.stderr);
    denied_is_clean(jobs);
}

#[test]
fn a_service_of_consul_whose_address_is_refused() {
    let consul = Consul::start();
    let service = json!({
        "Name": "web", "ID": "web-3", "Address": format!("{CANARY};}}server{{"), "Port": 80, "Meta": {"note": CANARY}
    });
    consul.client().register(&service);
    let template = "{{ <nginx.upstream name=\"web\" servers={service(name=\"web\")} /> }}";
    let job = secret_job(&format!("consul: {}", consul.section()), template, "");
    let mut daemon = job.start(&TRACE);
    let line = daemon.wait_for_log("not applied");
    for fragment in ["`address` of instance `web-3` of service `web` on node", "registry `main`"] {
        assert!(line.contains(fragment), "{line}");
    }
    leaves_no_trace(&job, daemon);
    commands_are_clean(&job, 1);
}

#[test]
fn credentials_in_a_configuration_that_is_wrong() {
    for config in [
        format!("registries: {{a: {{etcd: {{endpoints: ['http://me:{CANARY}@h:1'], username: x}}}}}}"),
        format!("registries: {{a: {{etcd: {{pasword: {CANARY}}}}}}}"),
        format!("registries: {{a: {{etcd: {{username: x, password: [{CANARY}]}}}}}}"),
        format!("registries: {{a: {{consul: {{address: 'http://me:{CANARY}@h:1'}}}}}}"),
        format!("registries: {{a: {{consul: {{tokn: {CANARY}}}}}}}"),
        format!("registries: {{a: {{consul: {{token: \"{CANARY}\\n\"}}}}}}\nbad"),
        "registries: {a: {consul: {address: \"${SECRET}\"}}}".to_owned(),
        "registries: {a: {consul: {wait: \"${SECRET}\"}}}".to_owned(),
        "targets: {a: {templates: [{src: x, dest: y, mode: \"${SECRET}\"}]}}".to_owned(),
    ] {
        let job = Job::new(&config);
        for command in ["run", "check"] {
            let mut program = job.command(&[command, "--log-level", "trace"]);
            program.env("SECRET", format!("{CANARY} x")).env("CONSUL_HTTP_TOKEN", CANARY).env("ETCDCTL_USER", CANARY);
            let output = crate::support::liveconf::run_to_end(program);
            output.assert_code(2);
            is_clean(&config, &output.stderr);
        }
    }
}
