//! A start without a registry, and what is kept on the disk for it: on real etcd and Consul.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::consul::Consul;
use crate::support::consul_client::{self, Health, instance};
use crate::support::etcd::Etcd;
use crate::support::etcd_client::{Client, delete, put};
use crate::support::liveconf::Job;
use crate::support::{SOON, poll_until};

/// Asks in every way that a registry of any kind answers.
const EVERYTHING: &str = r#"motd {{ key(path="app/motd", default="-") }} {{ exists(path="app/none") }}
{% for entry in prefix(path="app/up") %}
{{ entry.key }}={{ entry.value | quote }} {{ entry.path }}
{% endfor %}
{{ ls(path="app") | join(sep=",") }}
{% for found in services() %}
[{{ found.name }} {{ found.tags | join(sep=",") }}]
{% for i in service(name=found.name, status="any") %}
{{ i.id }} {{ i.name }} {{ i.node }} {{ i.endpoint }} {{ i.tags | join(sep=",") }} {{ i.meta | to_json }} {{ i.weight }} {{ i.status }} {{ i.zone | quote }} {{ i.registry }}
{% endfor %}
passing {{ service(name=found.name) | map(attribute="id") | join(sep=",") }}
{% endfor %}
"#;

/// A target of two files, whose reload is written down, on a registry of this section.
fn config(registry: &str, more: &str) -> String {
    format!(
        "registries: {{main: {{{registry}}}}}
targets:
  web:
    templates:
      - {{src: all.tera, dest: all.conf}}
      - {{content: 'motd {{{{ key(path=\"app/motd\", default=\"-\") }}}}', dest: motd.conf}}
    check: [grep, -q, motd, '{{staged:all.conf}}']
    reload: {{shell: '(cat motd.conf; echo) >> reloads'}}
    wait: 0
    reload_interval: 0
    retry: 50ms..200ms
{more}
"
    )
}

/// Missing files are made of saved answers this soon.
const AT_ONCE: &str = "last_known_good: {after: 300ms}";

/// What is saved of the registry `main`, once it holds this text.
#[track_caller]
fn wait_for_saved(job: &Job, text: &str) -> String {
    poll_until(SOON, || match job.read("state/answers/main.json") {
        Some(saved) if saved.contains(text) => Ok(saved),
        other => Err(format!("`{text}` is not saved: {other:?}")),
    })
}

/// Which file it is, and when it was last written or changed in whatever way.
fn identity(job: &Job, file: &str) -> (u64, i64, i64, i64, i64) {
    let metadata = fs::metadata(job.folder().path(file)).unwrap();
    (metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec())
}

fn remove(job: &Job, file: &str) {
    fs::remove_file(job.folder().path(file)).unwrap();
}

fn fill_etcd(client: &Client) {
    client.txn(vec![
        put("/app/motd", "hello \"you\" \u{e4}"),
        put("/app/up/a", ""),
        put("/app/up/b/c", "1.10"),
        put(
            "/services/web/i1",
            r#"{"address": "10.0.0.1", "port": 80, "tags": ["b", "a"], "meta": {"v": "1"}, "weight": 3}"#,
        ),
        put("/services/web/i2", r#"{"host": "::1", "port": 81, "status": "critical", "zone": "z", "node": "n"}"#),
        put("/services/db/i1", "10.0.0.2:5432"),
    ]);
}

/// Lets liveconf write its files and save its answers, and end.
fn first_life(job: &Job) -> (String, String) {
    let daemon = job.start(&["run"]);
    let lines = job.wait_for_lines("reloads", 1);
    assert_eq!(lines.len(), 1);
    daemon.stop();
    (job.read("all.conf").unwrap(), job.read("motd.conf").unwrap())
}

/// The next life is without a registry and has to make what is missing; `back` brings the registry back with another
/// `app/motd`, which is `later`.
fn next_life(job: &Job, (all, motd): (&str, &str), back: impl FnOnce()) {
    remove(job, "all.conf");
    let untouched = identity(job, "motd.conf");
    let mut daemon = job.start(&["run"]);
    job.wait_for("all.conf", all);
    let line =
        daemon.wait_for_log("no first answer within 300ms: files that were missing show the last known good answers");
    for said in ["WARN", "target=\"web\"", "registry=\"main\"", "age="] {
        assert!(line.contains(said), "{said}: {line}");
    }
    assert_eq!(job.wait_for_lines("reloads", 2), [motd, motd]);
    assert_eq!(identity(job, "motd.conf"), untouched, "what is there stays");
    let status: Value = poll_until(SOON, || {
        let output = job.run(&["status", "--json"]);
        let status: Value = serde_json::from_str(&output.stdout).map_err(|error| format!("{error}: {output:?}"))?;
        if status["targets"][0]["saved"][0]["registry"] == "main" { Ok(status) } else { Err(output.stdout) }
    });
    assert_eq!((&status["targets"][0]["state"], &status["targets"][0]["well"]), (&json!("waiting"), &json!(false)));
    assert!(job.run(&["status"]).stdout.contains("files that were missing show answers of registry `main` saved"));

    back();
    job.wait_for("motd.conf", "motd later");
    let newest = all.replace(&motd["motd ".len()..], "later");
    poll_until(SOON, || match job.read("all.conf") {
        Some(file) if file == newest => Ok(()),
        other => Err(format!("{other:?}, and not\n{newest:?}")),
    });
    daemon.wait_for_log("the newest answers are in the place of the saved ones");
    assert_eq!(job.wait_for_lines("reloads", 3)[2], "motd later");
    assert_eq!(daemon.logged("no first answer within").len(), 1);
    daemon.stop();
}

#[test]
fn missing_files_are_made_of_the_saved_answers_of_etcd() {
    let mut etcd = Etcd::start();
    fill_etcd(&etcd.client());
    let job = Job::new(&config(&format!("etcd: {}", etcd.section()), AT_ONCE)).with("all.tera", EVERYTHING);
    let (all, motd) = first_life(&job);
    assert!(all.contains("i2 web n [::1]:81") && all.contains("passing i1\n"), "{all}");
    let saved = wait_for_saved(&job, "10.0.0.2");
    etcd.kill(0);
    // What is saved is a static file that says the same.
    job.write("saved.json", &saved);
    let same = ["render", "--registry", "main=file:saved.json", "--template", "all.tera:all.conf"];
    assert_eq!(job.run(&same).assert_code(0).stdout, all);
    let motd_before = motd.clone();
    next_life(&job, (&all, &motd_before), || {
        etcd.restart(0);
        etcd.client().put("/app/motd", "later");
    });
}

#[test]
fn missing_files_are_made_of_the_saved_answers_of_consul() {
    let mut consul = Consul::start();
    let client = consul.client();
    for (path, value) in [("app/motd", "hello"), ("app/up/a", ""), ("app/up/b/c", "1.10")] {
        client.put(path, value);
    }
    client.catalog_register(&instance("n7", "web", 80, Health::Passing));
    client.catalog_register(&instance("n8", "web", 81, Health::Critical));
    let service = json!({"ID": "db1", "Service": "db", "Port": 5432, "Tags": ["x"], "Meta": {"v": "1"}});
    client.catalog_register(&json!({"Node": "n3", "Address": "::1", "NodeMeta": {"zone": "z"}, "Service": service}));
    // What no static file can say (and not Consul's own node, which is young and changes): an order and a selection of the server's, and another datacenter by name.
    let special = r#"near {{ service(name="web", near="n8", status="any") | map(attribute="id") | join(sep=",") }}
filter {{ service(name="web", filter="Service.Port == 81", status="any") | map(attribute="id") | join(sep=",") }}
dc {{ service(name="db", datacenter="dc1") | map(attribute="node") | join(sep=",") }}
{% for node in nodes() | sort(attribute="name") %}
{% if node.name == "n1" %}{% continue %}{% endif %}
{{ node.name }} {{ node.meta | to_json }} {{ node.datacenter }}
{% endfor %}
"#;
    let section = format!("consul: {}", consul.section());
    let job = Job::new(&config(&section, AT_ONCE)).with("all.tera", format!("{EVERYTHING}{special}"));
    let (all, motd) = first_life(&job);
    assert!(all.contains("dc n3\n") && all.contains("[web "), "{all}");
    wait_for_saved(&job, "Service.Port");
    consul.kill_all();
    next_life(&job, (&all, &motd), || {
        consul.restart_all();
        consul.client().put("app/motd", "later");
    });
}

#[test]
fn files_that_are_there_stay_as_they_are_without_a_registry() {
    let mut etcd = Etcd::start();
    fill_etcd(&etcd.client());
    let job = Job::new(&config(&format!("etcd: {}", etcd.section()), AT_ONCE)).with("all.tera", EVERYTHING);
    let (all, _) = first_life(&job);
    wait_for_saved(&job, "10.0.0.2");
    etcd.kill(0);
    job.write("all.conf", "older, and by hand\n");
    let untouched = ["all.conf", "motd.conf"].map(|file| identity(&job, file));
    let mut daemon = job.start(&["run"]);
    // Longer than it takes to look for missing files, by far.
    daemon.wait_for_log("still waits for");
    assert_eq!(["all.conf", "motd.conf"].map(|file| identity(&job, file)), untouched);
    assert!(daemon.logged("last known good").is_empty());
    assert_eq!(job.wait_for_lines("reloads", 1).len(), 1);
    etcd.restart(0);
    job.wait_for("all.conf", &all);
    daemon.stop();
}

#[test]
fn what_was_never_saved_is_named() {
    let mut etcd = Etcd::start();
    fill_etcd(&etcd.client());
    let text = config(&format!("etcd: {}", etcd.section()), AT_ONCE);
    let job = Job::new(&text).with("all.tera", EVERYTHING);
    first_life(&job);
    wait_for_saved(&job, "10.0.0.2");
    etcd.kill(0);
    remove(&job, "all.conf");
    job.write("all.tera", "{{ key(path=\"app/new\", default=\"motd\") }}\n");
    let mut daemon = job.start(&["run"]);
    let line = daemon.wait_for_log("files are missing and stay so: nothing was saved of this");
    assert!(line.contains("WARN") && line.contains("key `app/new` from registry `main`"), "{line}");
    etcd.restart(0);
    job.wait_for("all.conf", "motd\n");
    assert_eq!(daemon.logged("files are missing").len(), 1);
    daemon.stop();
}

#[test]
fn a_check_that_refuses_saved_answers_keeps_the_file_missing() {
    let mut etcd = Etcd::start();
    fill_etcd(&etcd.client());
    let text = config(&format!("etcd: {}", etcd.section()), AT_ONCE);
    let job = Job::new(&text).with("all.tera", EVERYTHING);
    let (all, _) = first_life(&job);
    wait_for_saved(&job, "10.0.0.2");
    etcd.kill(0);
    remove(&job, "all.conf");
    job.write(
        "liveconf.yaml",
        text.replace("[grep, -q, motd, '{staged:all.conf}']", "{shell: 'test -e agree # {staged:all.conf}'}"),
    );
    let mut daemon = job.start(&["run"]);
    let line = daemon.wait_for_log("files are missing, and could not be made of saved answers");
    assert!(line.contains("ERROR"), "{line}");
    assert_eq!(job.read("all.conf"), None);
    job.write("agree", "");
    job.wait_for("all.conf", &all);
    daemon.stop();
}

#[test]
fn commands_that_end_neither_save_nor_use_answers() {
    let mut etcd = Etcd::start();
    fill_etcd(&etcd.client());
    let job = Job::new(&config(&format!("etcd: {}", etcd.section()), AT_ONCE)).with("all.tera", EVERYTHING);
    job.run(&["once"]).assert_code(0);
    job.run(&["render"]).assert_code(0);
    job.run(&["diff"]).assert_code(0);
    assert!(!job.folder().path("state/answers").exists());
    let daemon = job.start(&["run"]);
    wait_for_saved(&job, "10.0.0.2");
    daemon.stop();
    etcd.kill(0);
    remove(&job, "all.conf");
    for command in ["once", "render", "diff"] {
        job.run(&[command, "--timeout", "1s"]).assert_code(3);
    }
    assert_eq!(job.read("all.conf"), None);
}

// ---- What is on the disk ----

/// Every file below a folder that holds one of these texts.
fn files_with(folder: &Path, texts: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files_with(&entry.path(), texts));
        } else if let Ok(content) = fs::read(entry.path()) {
            let holds = |text: &&str| content.windows(text.len()).any(|window| window == text.as_bytes());
            if texts.iter().any(holds) {
                found.push(entry.path().display().to_string());
            }
        }
    }
    found
}

const CANARIES: &[&str] = &["canary-7f3a", "canary/key"];

#[test]
fn what_is_not_to_be_remembered_is_not_in_the_state_folder() {
    let etcd = Etcd::start();
    let client = etcd.client();
    client.txn(vec![put("/app/motd", "canary-7f3a"), put("/canary/key", "1"), put("/app/other", "1")]);
    let section = |remember: &str| format!("etcd: {}", etcd.section_with(&format!("remember: {remember}")));
    let template = "{{ key(path=\"canary/key\") }} motd\n";
    let job = Job::new(&config(&section("true"), "")).with("all.tera", template);
    let state = job.folder().path("state");
    let mut daemon = job.start(&["run"]);
    // The canary sings where it may: this test sees what is there.
    wait_for_saved(&job, "canary-7f3a");
    assert!(files_with(&state, CANARIES).len() > 1, "there are earlier versions, too");
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!((mode(&state.join("answers")), mode(&state.join("answers/main.json"))), (0o700, 0o600));

    job.write("liveconf.yaml", config(&section("false"), ""));
    daemon.signal(Signal::SIGHUP);
    // Neither the answers nor the earlier versions of the files that showed them, wherever they were kept until now.
    poll_until(SOON, || match &files_with(&state, CANARIES)[..] {
        [] => Ok(()),
        files => Err(format!("{files:?}")),
    });
    client.put("/app/motd", "canary-7f3a again");
    job.wait_for("motd.conf", "motd canary-7f3a again");
    daemon.stop();
    let daemon = job.start(&["run"]);
    client.put("/app/motd", "canary-7f3a at last");
    job.wait_for("motd.conf", "motd canary-7f3a at last");
    // All that is to be saved is saved at the end.
    daemon.stop();
    assert_eq!(files_with(&state, CANARIES), [""; 0]);
    client.put("/app/motd", "canary-7f3a once more");
    job.run(&["once"]).assert_code(0);
    assert_eq!(files_with(&state, CANARIES), [""; 0]);
}

#[test]
fn a_damaged_file_is_told_once_and_replaced() {
    let etcd = Etcd::start();
    fill_etcd(&etcd.client());
    let job = Job::new(&config(&format!("etcd: {}", etcd.section()), "")).with("all.tera", EVERYTHING);
    first_life(&job);
    let saved = wait_for_saved(&job, "10.0.0.2");
    for (damaged, reason) in [
        (saved[..saved.len() / 2].to_owned(), "answers/main.json:"),
        (saved.replace("\"version\": 1", "\"version\": 99"), "is of version 99"),
        ("\u{0}".repeat(100), "answers/main.json:"),
    ] {
        job.write("state/answers/main.json", &damaged);
        let mut daemon = job.start(&["run"]);
        let line = daemon.wait_for_log("ignored the saved answers");
        assert!(line.contains("WARN") && line.contains(reason), "{line}");
        assert!(!line.contains("hello"), "{line}");
        wait_for_saved(&job, "10.0.0.2");
        assert_eq!(daemon.logged("ignored").len(), 1);
        daemon.stop();
    }
}

// ---- Guards over a restart ----

const INSTANCES: &str = r#"motd {{ key(path="app/motd", default="-") }}
{% for instance in service(name="web") %}
server {{ instance.id }};
{% else %}
none
{% endfor %}
"#;

fn with_instances(registry: &str, guards: [&str; 2]) -> Job {
    let target = |name: &str, guard: &str| {
        format!(
            "  {name}: {{templates: [{{src: in.tera, dest: {name}.conf}}], wait: 0, reload_interval: 0, guard: {guard}}}\n"
        )
    };
    let config = format!(
        "registries: {{main: {{{registry}}}}}\ntargets:\n{}{}",
        target("web", guards[0]),
        target("open", guards[1])
    );
    Job::new(&config).with("in.tera", INSTANCES)
}

fn rendered(motd: &str, instances: &[u16]) -> String {
    let lines: Vec<String> = instances.iter().map(|number| format!("server i{number};\n")).collect();
    format!("motd {motd}\n{}", if lines.is_empty() { "none\n".to_owned() } else { lines.concat() })
}

/// The keys of the three instances of `web`.
fn keys() -> impl Iterator<Item = String> {
    (1..=3).map(|number| format!("/services/web/i{number}"))
}

#[test]
fn a_hold_outlives_a_kill_and_a_stop() {
    let etcd = Etcd::start();
    let client = etcd.client();
    client.txn(keys().map(|key| put(&key, "10.0.0.1:80")).collect());
    let job = with_instances(&format!("etcd: {}", etcd.section()), ["{hold: 1ms}", "{empty_after: 0s}"]);
    let mut daemon = job.start(&["run"]);
    job.wait_for("web.conf", &rendered("-", &[1, 2, 3]));
    job.wait_for("open.conf", &rendered("-", &[1, 2, 3]));
    wait_for_saved(&job, "i3");
    client.txn(keys().map(|key| delete(&key)).collect());
    client.put("/app/motd", "1");
    job.wait_for("web.conf", &rendered("1", &[1, 2, 3]));
    job.wait_for("open.conf", &rendered("1", &[]));
    daemon.wait_for_log("the last accepted answer stays until something is there again");
    // Both are on the disk: what the one accepted, and what the other holds on to.
    let saved = wait_for_saved(&job, "\"targets\": {");
    assert!(saved.contains("i3"), "{saved}");
    daemon.kill();

    for motd in ["2", "3"] {
        client.put("/app/motd", motd);
        let mut daemon = job.start(&["run"]);
        job.wait_for("web.conf", &rendered(motd, &[1, 2, 3]));
        job.wait_for("open.conf", &rendered(motd, &[]));
        let line = daemon.wait_for_log("the last accepted answer stays until something is there again");
        assert!(line.contains("before=3") && line.contains("after=0"), "{line}");
        daemon.stop();
    }
    // With the file gone it is made of what is held on to.
    remove(&job, "web.conf");
    let daemon = job.start(&["run"]);
    job.wait_for("web.conf", &rendered("3", &[1, 2, 3]));
    job.run(&["release", "web"]).assert_code(0);
    job.wait_for("web.conf", &rendered("3", &[]));
    daemon.stop();
    // What was released has passed for good.
    let daemon = job.start(&["run"]);
    client.put("/app/motd", "4");
    job.wait_for("web.conf", &rendered("4", &[]));
    assert!(daemon.logged("stays").is_empty());
    daemon.stop();
}

#[test]
fn an_agent_that_stops_while_liveconf_does_not_run_empties_no_upstream() {
    let mut consul = Consul::start();
    let agent = consul.add_agent();
    let own = consul.client_of(agent);
    for number in 1..=3 {
        own.register(&json!({"ID": format!("i{number}"), "Name": "web", "Port": number}));
    }
    let job = with_instances(&format!("consul: {}", consul.section()), ["{}", "{empty_after: 0s}"]);
    let daemon = job.start(&["run"]);
    job.wait_for("web.conf", &rendered("-", &[1, 2, 3]));
    job.wait_for("open.conf", &rendered("-", &[1, 2, 3]));
    daemon.stop();
    consul.stop(agent);
    wait_until_gone(&consul.client());
    consul.client().put("app/motd", "later");

    let mut daemon = job.start(&["run"]);
    job.wait_for("web.conf", &rendered("later", &[1, 2, 3]));
    // The same without the guard shows that it is the guard.
    job.wait_for("open.conf", &rendered("later", &[]));
    let line = daemon.wait_for_log("the last accepted answer stays until something is there again");
    assert!(line.contains("before=3 after=0") && line.contains("rights=\"whoever comes"), "{line}");
    consul.restart(agent);
    daemon.wait_for_log("the newest answer passes after");
    job.wait_for("web.conf", &rendered("later", &[1, 2, 3]));
    job.wait_for("open.conf", &rendered("later", &[1, 2, 3]));
    daemon.stop();
}

/// Waits until nothing is left of `web`, as Consul answers it after an agent has stopped. One that is as young as in a test
/// may put its services into the catalog once more on its way out.
fn wait_until_gone(client: &consul_client::Client) {
    poll_until(SOON, || {
        client.catalog_deregister(&json!({"Node": "n2"}));
        match &client.call("GET", "/v1/health/service/web?passing", "")[..] {
            b"[]" => Ok(()),
            other => Err(String::from_utf8_lossy(other).into_owned()),
        }
    });
}

/// A registry that is away keeps nothing that was saved from being known once more.
#[test]
fn what_waits_for_its_registry_loses_nothing_meanwhile() {
    let mut etcd = Etcd::start();
    fill_etcd(&etcd.client());
    let own =
        "  side: {templates: [{content: '{{ key(path=\"x\", registry=\"site\") }}', dest: side.conf}], wait: 0}\n";
    let text = |main: &str| {
        config(main, AT_ONCE)
            .replace("registries: {", "registries: {site: {file: {path: site.yaml}}, ")
            .replace("targets:\n", &format!("targets:\n{own}"))
            .replace("key(path=\"app/motd\"", "key(registry=\"main\", path=\"app/motd\"")
    };
    let template =
        EVERYTHING.replace("(path=", "(registry=\"main\", path=").replace("services()", "services(registry=\"main\")");
    let template = template.replace("service(name=", "service(registry=\"main\", name=");
    let job =
        Job::new(&text(&format!("etcd: {}", etcd.section()))).with("all.tera", &template).with("site.yaml", "x: 1\n");
    let (all, _) = first_life(&job);
    wait_for_saved(&job, "10.0.0.2");
    etcd.kill(0);
    // Twice, since the first of these lives might spoil it for the second.
    for x in ["2", "3"] {
        job.write("site.yaml", format!("x: {x}\n"));
        remove(&job, "all.conf");
        let daemon = job.start(&["run"]);
        job.wait_for("side.conf", x);
        job.wait_for("all.conf", &all);
        daemon.stop();
        let site = job.read("state/answers/site.json").unwrap();
        assert!(site.contains(&format!("\"x\": \"{x}\"")), "{site}");
    }
}
