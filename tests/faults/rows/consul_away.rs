//! Consul that goes, falls silent, loses its leader, or wakes up with an older state.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::pace;
use crate::scene::Scene;
use crate::strain::{Strain, state};
use crate::support::consul::Consul;
use crate::support::consul_client::{Client, put};
use crate::support::liveconf::{Daemon, Job, start};
use crate::support::reader::Reader;
use crate::support::{SOON, poll_until};

/// How soon all is right again when a fault has ended.
pub(super) const K1: Duration = Duration::from_secs(15);

/// Clocks of the short run: what is silent is found within two seconds.
pub(super) fn clocks() -> &'static str {
    pace::either("probe_interval: 1s, request_timeout: 1s, retry_interval: 500ms", "")
}

/// Settings of a registry in one line; those that are empty are left out.
pub(super) fn settings(all: &[&str]) -> String {
    all.iter().copied().filter(|one| !one.is_empty()).collect::<Vec<_>>().join(", ")
}

/// A scene on the first server.
pub(super) fn scene(consul: &Consul, settings: &str) -> Scene {
    Scene::new(&format!("consul: {}", consul.section_with(settings)), "    wait: 1ms..20ms\n    reload_interval: 0\n")
}

/// Writes a generation in one transaction.
#[track_caller]
pub(super) fn write(client: &Client, generation: u64) {
    client.txn(Scene::generation(generation).map(|(key, value)| put(&key, value)).collect());
}

// ---- Row 9 ----

/// How the passing instances are read.
const WEB: &str = "/v1/health/service/web?passing";

/// Instances of the agent.
const INSTANCES: u16 = 5;

const TEMPLATE: &str = "\
generation {{ key(path='generation') }}\n\
{% for i in service(name='web') %}server {{ i.endpoint }}\n{% endfor %}";

/// The file with all instances.
fn all_of(generation: u64) -> String {
    let servers: Vec<String> = (1..=INSTANCES).map(|port| format!("server 127.0.0.1:{port}\n")).collect();
    let servers = servers.concat();
    format!("generation {generation}\n{servers}")
}

/// An agent stops in order and comes back. Fails if the file ever had no instance.
fn an_agent_stops(without: Option<&str>) -> Result<(), String> {
    let mut consul = Consul::start();
    let agent = consul.add_agent();
    let server = consul.client();
    for port in 1..=INSTANCES {
        let id = format!("i{port}");
        consul.client_of(agent).register(&json!({"ID": id, "Name": "web", "Port": port}));
    }
    server.put("generation", "1");
    let job = Job::new(&format!(
        "registries: {{main: {{consul: {}}}}}
targets:
  web:
    templates: [{{src: web.tera, dest: web.conf}}]
    reload: {{shell: 'cp web.conf .served && mv .served served'}}
    wait: 1ms..20ms
    reload_interval: 0
",
        consul.section_with(clocks())
    ))
    .with("web.tera", TEMPLATE);
    let mut command = job.command(&["run"]);
    command.envs(without.map(|protection| ("LIVECONF_UNPROTECTED", protection)));
    let mut daemon = start(command);
    job.wait_for("served", &all_of(1));
    let empty = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&empty);
    let reader = Reader::start(job.folder().path("web.conf"), move |content| {
        let has_some = content.windows(7).any(|word| word == b"server ");
        seen.fetch_add(usize::from(!has_some), Ordering::Relaxed);
        has_some
    });

    let before = server.index(WEB);
    consul.stop(agent);
    TcpStream::connect(("127.0.0.1", consul.port_of(agent))).unwrap_err();
    let left = 3;
    poll_until(SOON, || {
        let members = server.call_json("GET", "/v1/agent/members", "");
        let gone = members.as_array().unwrap().iter().any(|member| member["Status"] == left);
        if gone { Ok(()) } else { Err(members.to_string()) }
    });
    // An agent on its way out may put its services into the catalog once more; nobody would ever take them away.
    server.catalog_deregister(&json!({"Node": "n2"}));
    // To whoever asks the server it is a good answer, newer than the one before.
    poll_until(SOON, || match web(&server) {
        (200, body, index) if body == "[]" && index > before => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let begun = Instant::now();
    server.put("generation", "2");
    poll_until(SOON, || match job.read("served") {
        Some(text) if text.starts_with("generation 2\n") => Ok(()),
        text => Err(format!("{text:?}")),
    });
    while begun.elapsed() < Duration::from_secs(5) && empty.load(Ordering::Relaxed) == 0 {
        thread::sleep(Duration::from_millis(10));
    }
    if empty.load(Ordering::Relaxed) > 0 {
        return Err("the file had no instance".to_owned());
    }
    let held = daemon.wait_for_log("the last accepted answer stays");
    assert!(held.contains("service `web`"), "{held}");
    consul.restart(agent);
    job.wait_for_within(K1, "served", &all_of(2));
    job.wait_for("web.conf", &all_of(2));
    let holds = daemon.logged("the last accepted answer stays");
    // A second one where the instances were back for a moment.
    assert!((1..=2).contains(&holds.len()), "{holds:#?}");
    reader.stop().assert_always_whole();
    daemon.stop();
    Ok(())
}

/// The passing instances as a server tells them: status, body, index.
fn web(client: &Client) -> (u16, String, u64) {
    let (status, body) = client.request("GET", WEB, "").unwrap();
    (status, String::from_utf8(body).unwrap(), client.index(WEB))
}

/// A Consul agent with five instances is stopped by SIGTERM for five seconds, and a server says that there is none: the file
/// keeps some, follows a key meanwhile, and has all of them again when the agent is back.
#[test]
fn row_09_an_agent_stops_in_order_and_starts_again() {
    an_agent_stops(None).unwrap();
}

/// The same fails without the guard: the file has no instance.
#[test]
fn row_09_without_the_guard_the_check_fails() {
    assert_eq!(an_agent_stops(Some("guard")).unwrap_err(), "the file had no instance");
}

// ---- Row 10 ----

/// Consul is stopped by SIGSTOP and still takes connections: that is found in time, costs next to no processor, changes no
/// file, and the next generation is served as soon as it goes on.
#[test]
fn row_10_consul_is_stopped_by_sigstop() {
    let mut consul = Consul::start();
    write(&consul.client(), 1);
    let scene = scene(&consul, clocks());
    let daemon = scene.start();
    scene.wait_for(1);
    let reader = scene.forward_reader();
    let strain = Strain::begin(&daemon);
    consul.pause(0);
    let silent = Instant::now();
    poll_until(SOON, || match state(consul.id(0)) {
        'T' => Ok(()),
        state => Err(format!("the server is in state {state}")),
    });
    // The kernel still takes connections in its name.
    TcpStream::connect(("127.0.0.1", consul.port())).unwrap();
    poll_until(pace::either(Duration::from_secs(6), Duration::from_secs(30)), || {
        daemon.logged("registry does not answer").pop().ok_or_else(|| "not noticed".to_owned())
    });
    println!("a silent server was noticed after {:?}", silent.elapsed());
    stay(silent, pace::either(Duration::from_secs(8), Duration::from_secs(60)));
    assert_eq!((state(consul.id(0)), scene.shows(1)), ('T', Ok(())));
    strain.assert_light(&daemon);
    consul.resume(0);
    write(&consul.client(), 2);
    scene.wait_for_within(K1, 2);
    reader.stop().assert_always_whole();
    daemon.stop();
}

/// Lasts until so long after `begun`.
pub(super) fn stay(begun: Instant, so_long: Duration) {
    thread::sleep(so_long.saturating_sub(begun.elapsed()));
}

// ---- Row 23 ----

/// Consul is restored from a snapshot with a lower index while nothing else is written: the older generation is served
/// within the wait of a poll, and those that follow, also where their index was seen before.
#[test]
fn row_23_consul_is_restored_to_a_lower_index() {
    let consul = Consul::start();
    let client = consul.client();
    write(&client, 1);
    let snapshot = consul.snapshot();
    for generation in 2..=20 {
        write(&client, generation);
    }
    let scene = scene(&consul, clocks());
    let daemon = scene.start();
    scene.wait_for(20);
    let reader = scene.reader();
    let before = client.index("/v1/kv/app/?recurse");
    consul.restore(&snapshot);
    let restored = Instant::now();
    let after = client.index("/v1/kv/app/?recurse&consistent");
    assert!(after < before, "{after} is no lower index than {before}");
    // A poll that is sent just after it is held back for its whole wait: its index is one that Consul has yet to reach.
    scene.wait_for_within(Duration::from_secs(65), 1);
    println!("the older generation was served {:?} after the restore", restored.elapsed());
    for generation in 21..=40 {
        write(&client, generation);
        scene.wait_for_within(K1, generation);
    }
    reader.stop().assert_always_whole();
    assert_eq!(complaints(&daemon), [""; 0]);
    daemon.stop();
}

/// The lines of the log that want somebody's attention.
pub(super) fn complaints(daemon: &Daemon) -> Vec<String> {
    daemon.log().into_iter().filter(|line| line.contains(" WARN ") || line.contains(" ERROR ")).collect()
}
