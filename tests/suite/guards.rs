//! Guards: an upstream that is emptied or gutted in the registry goes on in the file, on real servers.

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::consul::Consul;
use crate::support::consul_client;
use crate::support::etcd::Etcd;
use crate::support::etcd_client::{Client, delete, put};
use crate::support::liveconf::{Daemon, Job};
use crate::support::{SOON, poll_until};

/// The instances of `web`, and a key beside them.
const TEMPLATE: &str = r#"motd {{ key(path="app/motd", default="-") }}
{% for instance in service(name="web") %}
server {{ instance.id }};
{% else %}
server 127.0.0.1:65535; # force a 502
{% endfor %}
"#;

/// How [`TEMPLATE`] renders these instances.
fn rendered(motd: &str, instances: impl IntoIterator<Item = u16>) -> String {
    let mut lines: Vec<String> = instances.into_iter().map(|number| format!("server i{number};")).collect();
    if lines.is_empty() {
        lines.push("server 127.0.0.1:65535; # force a 502".to_owned());
    }
    format!("motd {motd}\n{}\n", lines.join("\n"))
}

/// A target whose `guard` is this.
fn job(registry: &str, guard: &str) -> Job {
    Job::new(&config(registry, guard)).with("web.tera", TEMPLATE)
}

fn config(registry: &str, guard: &str) -> String {
    format!(
        "registries: {{main: {{{registry}}}}}
targets:
  web:
    templates: [{{src: web.tera, dest: web.conf}}]
    guard: {guard}
    wait: 0
    reload_interval: 0
"
    )
}

fn section(etcd: &Etcd) -> String {
    format!("etcd: {{endpoints: {}}}", etcd.endpoints_yaml())
}

/// Makes these the instances of `web`, in one transaction.
fn instances(client: &Client, before: impl IntoIterator<Item = u16>, after: impl IntoIterator<Item = u16>) {
    let after: Vec<u16> = after.into_iter().collect();
    let key = |number: u16| format!("/services/web/i{number}");
    let gone = before.into_iter().filter(|number| !after.contains(number)).map(|number| delete(&key(number)));
    let there = after.iter().map(|number| put(&key(*number), format!("10.0.0.1:{number}")));
    client.txn(gone.chain(there).collect());
}

/// etcd with so many instances, and liveconf that has written them.
fn started(guard: &str, count: u16) -> (Etcd, Job, Daemon) {
    started_with(guard, "", count)
}

/// The same with more in the section of the registry.
fn started_with(guard: &str, more: &str, count: u16) -> (Etcd, Job, Daemon) {
    let etcd = Etcd::start();
    instances(&etcd.client(), [], 1..=count);
    let job = job(&format!("etcd: {{endpoints: {}, {more}}}", etcd.endpoints_yaml()), guard);
    let daemon = job.start(&["run"]);
    job.wait_for("web.conf", &rendered("-", 1..=count));
    (etcd, job, daemon)
}

/// Whether the file still shows all three instances after they have vanished. The key is written after that, so a file
/// that shows it has been rendered since.
fn keeps_what_vanished(guard: &str) -> Result<(), String> {
    let (etcd, job, daemon) = started(guard, 3);
    instances(&etcd.client(), 1..=3, []);
    etcd.client().put("/app/motd", "later");
    let file = poll_until(SOON, || {
        let file = job.read("web.conf").unwrap();
        if file.starts_with("motd later\n") { Ok(file) } else { Err(format!("not rendered yet: {file}")) }
    });
    daemon.stop();
    if file == rendered("later", 1..=3) { Ok(()) } else { Err(file) }
}

#[test]
fn an_emptied_upstream_keeps_its_instances_and_the_rest_of_the_file_goes_on() {
    assert_eq!(keeps_what_vanished("{}"), Ok(()));
    // The same without the guard shows that it is the guard.
    assert_eq!(keeps_what_vanished("{empty_after: 0s}"), Err(rendered("later", [])));
}

#[test]
fn instances_that_return_end_the_hold_at_once() {
    let (etcd, job, mut daemon) = started("{}", 3);
    instances(&etcd.client(), 1..=3, []);
    let line = daemon.wait_for_log("the last accepted answer stays until something is there again");
    for said in ["WARN", "target=\"web\"", "service `web` from registry `main`", "before=3", "after=0"] {
        assert!(line.contains(said), "{said}: {line}");
    }
    assert_eq!(job.read("web.conf"), Some(rendered("-", 1..=3)));
    instances(&etcd.client(), [], [7]);
    job.wait_for("web.conf", &rendered("-", [7]));
    let line = daemon.wait_for_log("the newest answer passes after");
    assert!(line.contains("INFO") && line.contains("enough is there again"), "{line}");
    assert_eq!(daemon.logged("the last accepted answer stays").len(), 1);
    daemon.stop();
}

#[test]
fn a_large_loss_passes_after_its_hold_by_itself() {
    let (etcd, job, mut daemon) = started("{hold: 2s}", 9);
    let begun = Instant::now();
    instances(&etcd.client(), 1..=9, 1..=4);
    etcd.client().put("/app/motd", "later");
    job.wait_for("web.conf", &rendered("later", 1..=9));
    job.wait_for("web.conf", &rendered("later", 1..=4));
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    let line = daemon.wait_for_log("the newest answer passes after");
    assert!(line.contains("INFO") && line.ends_with("from registry `main`"), "{line}");
    assert!(line.contains(": a consistent read shows the same"), "{line}");

    // Half is no large loss, and goes at once.
    instances(&etcd.client(), 1..=4, 1..=2);
    job.wait_for("web.conf", &rendered("later", 1..=2));
    assert_eq!(daemon.logged("the last accepted answer stays").len(), 1);
    daemon.stop();
}

#[test]
fn a_loss_that_is_mended_in_time_is_never_seen() {
    let (etcd, job, mut daemon) = started("{hold: 10m}", 9);
    instances(&etcd.client(), 1..=9, 1..=2);
    daemon.wait_for_log("for 10m and until a consistent read shows the same");
    instances(&etcd.client(), [], 1..=8);
    job.wait_for("web.conf", &rendered("-", 1..=8));
    daemon.stop();
}

#[test]
fn a_hold_lasts_while_nobody_can_confirm_the_loss() {
    let (mut etcd, job, mut daemon) = started("{empty_after: 500ms}", 3);
    etcd.client().put("/app/motd", "before");
    job.wait_for("web.conf", &rendered("before", 1..=3));
    instances(&etcd.client(), 1..=3, []);
    daemon.wait_for_log("the last accepted answer stays");
    etcd.kill(0);
    daemon.wait_for_log("registry does not answer");
    // Nothing is waited for: that nothing comes of all this time is what is looked at.
    thread::sleep(Duration::from_secs(2));
    assert_eq!(job.read("web.conf"), Some(rendered("before", 1..=3)));
    etcd.restart(0);
    job.wait_for("web.conf", &rendered("before", []));
    daemon.wait_for_log(": a consistent read shows the same");
    daemon.stop();
}

#[test]
fn a_minimum_is_never_undercut() {
    let (etcd, job, mut daemon) = started("{min_instances: 2, empty_after: 1ms, hold: 1ms}", 5);
    instances(&etcd.client(), 1..=5, [1]);
    daemon.wait_for_log("the last accepted answer stays until there are 2 or more");
    instances(&etcd.client(), [1], []);
    etcd.client().put("/app/motd", "later");
    job.wait_for("web.conf", &rendered("later", 1..=5));
    instances(&etcd.client(), [], 1..=2);
    job.wait_for("web.conf", &rendered("later", 1..=2));
    daemon.stop();
}

#[test]
fn keys_are_guarded_where_the_configuration_says_so() {
    let etcd = Etcd::start();
    let client = etcd.client();
    client.txn(vec![put("/app/up/a", "1"), put("/app/up/b", "1"), put("/app/free/a", "1")]);
    let template = "{% for up in prefix(path=\"app/up\") %}\nup {{ up.key }}\n{% endfor %}\n\
                    {% for name in ls(path=\"app/free\") %}\nfree {{ name }}\n{% endfor %}\n";
    let job = job(&section(&etcd), "{prefixes: [/app/up/]}").with("web.tera", template);
    let daemon = job.start(&["run"]);
    job.wait_for("web.conf", "up a\nup b\nfree a\n");
    client.txn(vec![delete("/app/up/a"), delete("/app/up/b"), delete("/app/free/a")]);
    job.wait_for("web.conf", "up a\nup b\n");
    client.put("/app/up/c", "1");
    job.wait_for("web.conf", "up c\n");
    daemon.stop();
}

#[test]
fn a_hold_goes_on_when_the_configuration_is_loaded_anew() {
    let (etcd, job, mut daemon) = started("{}", 3);
    instances(&etcd.client(), 1..=3, []);
    daemon.wait_for_log("the last accepted answer stays");
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_log("loaded the new configuration");
    etcd.client().put("/app/motd", "later");
    job.wait_for("web.conf", &rendered("later", 1..=3));

    // What the log advises lets it pass.
    job.write("liveconf.yaml", config(&section(&etcd), "{empty_after: 0s}"));
    daemon.signal(Signal::SIGHUP);
    job.wait_for("web.conf", &rendered("later", []));
    daemon.stop();
}

#[test]
fn without_memory_nothing_takes_an_existing_file_before_it_is_confirmed() {
    let (etcd, job, mut daemon) = started_with("{hold: 2s}", "remember: false", 3);
    instances(&etcd.client(), 1..=3, []);
    daemon.wait_for_log("the last accepted answer stays");
    daemon.signal(Signal::SIGTERM);
    daemon.wait(SOON);
    poll_until(SOON, || match &daemon.logged("stopped with an older answer")[..] {
        [_] => Ok(()),
        _ => Err(daemon.log().join("\n")),
    });

    let begun = Instant::now();
    let mut daemon = job.start(&["run"]);
    let line = daemon.wait_for_log("the existing files stay until enough is there again");
    assert!(line.contains("WARN") && line.contains("after=0"), "{line}");
    assert_eq!(job.read("web.conf"), Some(rendered("-", 1..=3)));
    job.wait_for("web.conf", &rendered("-", []));
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    daemon.stop();

    // It is true by now, so the next start has nothing to hold back; and a file that is not there is made at once.
    let daemon = job.start(&["run"]);
    etcd.client().put("/app/motd", "later");
    job.wait_for("web.conf", &rendered("later", []));
    daemon.stop();
    std::fs::remove_file(job.folder().path("web.conf")).unwrap();
    let daemon = job.start(&["run"]);
    job.wait_for("web.conf", &rendered("later", []));
    assert!(daemon.logged("stay").is_empty());
    daemon.stop();
}

#[test]
fn files_of_items_stay_as_long_as_it_is_not_confirmed_that_they_are_gone() {
    let etcd = Etcd::start();
    instances(&etcd.client(), [], 1..=2);
    let registry = format!("etcd: {{endpoints: {}, remember: false}}", etcd.endpoints_yaml());
    let job = Job::new(&config(&registry, "{hold: 2s}").replace(
        "{src: web.tera, dest: web.conf}",
        "{for_each: service(name=\"web\"), content: '{{ item.endpoint }}', dest: 'out/{{ item.id }}'}",
    ));
    let job = job.with("out/.keep", "");
    let daemon = job.start(&["run"]);
    job.wait_for("out/i2", "10.0.0.1:2");
    daemon.stop();
    instances(&etcd.client(), 1..=2, []);
    let begun = Instant::now();
    let mut daemon = job.start(&["run"]);
    daemon.wait_for_log("the existing files stay");
    assert!(job.read("out/i1").is_some() && job.read("out/i2").is_some(), "{:#?}", daemon.log());
    let gone = || match (job.read("out/i1"), job.read("out/i2")) {
        (None, None) => Ok(()),
        left => Err(format!("{left:?} is left")),
    };
    poll_until(SOON, gone);
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    daemon.stop();
}

#[test]
fn instances_that_return_after_a_restart_without_memory_end_the_hold_at_once() {
    let (etcd, job, mut daemon) = started_with("{hold: 10m}", "remember: false", 3);
    instances(&etcd.client(), 1..=3, []);
    daemon.wait_for_log("the last accepted answer stays");
    daemon.kill();
    let mut daemon = job.start(&["run"]);
    daemon.wait_for_log("the existing files stay");
    instances(&etcd.client(), [], [5]);
    job.wait_for("web.conf", &rendered("-", [5]));
    daemon.wait_for_log("enough is there again");
    daemon.stop();
}

#[test]
fn once_render_and_diff_hold_nothing_back() {
    let (etcd, job, mut daemon) = started("{}", 3);
    instances(&etcd.client(), 1..=3, []);
    daemon.wait_for_log("the last accepted answer stays");
    let output = job.run(&["render"]);
    assert_eq!(output.assert_code(0).stdout, rendered("-", []));
    assert!(job.run(&["diff"]).assert_code(4).stdout.contains("+server 127.0.0.1:65535; # force a 502"));
    assert_eq!(job.read("web.conf"), Some(rendered("-", 1..=3)));
    daemon.stop();
    job.run(&["once"]).assert_code(0);
    assert_eq!(job.read("web.conf"), Some(rendered("-", [])));
}

// ---- Consul ----

/// Instances on one node, so that all of them go at once with it.
fn register(client: &consul_client::Client, node: &str, numbers: impl IntoIterator<Item = u16>) {
    for number in numbers {
        let service = json!({"ID": format!("i{number}"), "Service": "web", "Port": number});
        client.catalog_register(&json!({"Node": node, "Address": "10.0.0.1", "Service": service}));
    }
}

#[test]
fn an_agent_that_stops_empties_no_upstream() {
    let mut consul = Consul::start();
    let agent = consul.add_agent();
    let client = consul.client_of(agent);
    for number in 1..=3 {
        client.register(&json!({"ID": format!("i{number}"), "Name": "web", "Port": number}));
    }
    let job = job(&format!("consul: {}", consul.section()), "{}");
    let mut daemon = job.start(&["run"]);
    job.wait_for("web.conf", &rendered("-", 1..=3));
    // The services of an agent that leaves vanish one by one, and the last of them is held on to.
    consul.stop(agent);
    daemon.wait_for_log("the last accepted answer stays");
    consul.client().put("app/motd", "later");
    let file = poll_until(SOON, || {
        let file = job.read("web.conf").unwrap();
        if file.starts_with("motd later\n") { Ok(file) } else { Err(format!("not rendered yet: {file}")) }
    });
    assert!(file.contains("server i"), "{file}");
    consul.restart(agent);
    job.wait_for("web.conf", &rendered("later", 1..=3));
    daemon.stop();
}

/// A loss that passes when Consul has read it again, consistently.
fn passes_on_consul(settings: &str, others: usize) {
    let consul = Consul::start();
    let client = consul.client();
    register(&client, "one", 1..=4);
    register(&client, "two", 5..=9);
    let more: Vec<_> = (0..others).map(|number| format!("{{{{ service(name=\"s{number}\") | length }}}}")).collect();
    let job = job(&format!("consul: {}", consul.section_with(settings)), "{hold: 2s}")
        .with("web.tera", format!("{TEMPLATE}{}\n", more.concat()));
    let rendered = |motd: &str, count| format!("{}{}\n", rendered(motd, 1..=count), "0".repeat(others));
    let mut daemon = job.start(&["run"]);
    job.wait_for("web.conf", &rendered("-", 9));
    let begun = Instant::now();
    client.catalog_deregister(&json!({"Node": "two"}));
    daemon.wait_for_log("the last accepted answer stays");
    client.put("app/motd", "later");
    job.wait_for("web.conf", &rendered("later", 9));
    job.wait_for("web.conf", &rendered("later", 4));
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    daemon.wait_for_log(": a consistent read shows the same");
    daemon.stop();
}

#[test]
fn a_large_loss_on_consul_passes_after_its_hold() {
    passes_on_consul("", 0);
}

#[test]
fn a_large_loss_among_swept_services_passes_after_its_hold() {
    passes_on_consul("max_connections: 6", 12);
}

/// What the line about a hold says of rights, when a loss begins while the token has these rights at the end.
fn said_of_rights(rules_after: Option<&str>) -> String {
    let all =
        r#"key_prefix "" { policy = "read" } service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }"#;
    let consul = Consul::with_acl();
    let client = consul.client();
    register(&client, "one", 1..=4);
    register(&client, "two", 5..=9);
    let policy = json!({"Name": "changing", "Rules": all}).to_string();
    let policy = client.call_json("PUT", "/v1/acl/policy", policy);
    let token = client.token(&["changing"]);
    let settings = format!("token: {}, wait: 1s", token.secret);
    let job = job(&format!("consul: {}", consul.section_with(&settings)), "{hold: 10m}");
    let mut daemon = job.start(&["run"]);
    job.wait_for("web.conf", &rendered("-", 1..=9));
    if let Some(rules) = rules_after {
        let id = policy["ID"].as_str().unwrap();
        let body = json!({"ID": id, "Name": "changing", "Rules": rules}).to_string();
        client.call("PUT", &format!("/v1/acl/policy/{id}"), body);
        // A poll has the rights of its beginning.
        register(&client, "two", [10]);
    } else {
        client.catalog_deregister(&json!({"Node": "two"}));
    }
    let line = daemon.wait_for_log("the last accepted answer stays");
    assert!(line.contains("before=9 after=4"), "{line}");
    assert!(!daemon.log().join("\n").contains(&token.secret));
    daemon.stop();
    line
}

#[test]
fn a_hold_says_what_the_token_may_read() {
    let line = said_of_rights(None);
    assert!(line.contains(r#"rights="the token may read it""#), "{line}");
    let line = said_of_rights(Some(
        r#"key_prefix "" { policy = "read" } service_prefix "" { policy = "read" } node "one" { policy = "read" }"#,
    ));
    assert!(line.contains(r#"rights="the token may read it, but not every node: "#), "{line}");
}
