//! Consul that takes no more: too many requests, no leader, too many connections.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::consul_away::{K1, scene, stay, write};
use crate::liar::{Liar, reply};
use crate::pace;
use crate::scene::Scene;
use crate::strain::Strain;
use crate::support::consul::Consul;
use crate::support::consul_client::{Health, instance};
use crate::support::{SOON, connections, poll_until};

/// How long a storm lasts, with the clocks as they are by default: what it costs is counted by the minute.
fn storm() -> Duration {
    pace::either(Duration::from_secs(60), Duration::from_secs(300))
}

/// Whatever is asked of one server in a storm may be this much a minute.
const MOST: u32 = 12;

/// A scene with more reads than one.
fn several_reads(port: u16) -> Scene {
    let more = "  more:\n    templates: [{content: \"{{ key(path='app/00') }} {{ service(name='web') | length }} {{ ls(path='app') | \
                length }} {{ services() | length }}\", dest: more.conf}]\n    wait: 0\n    reload_interval: 0\n";
    Scene::new(
        &format!("consul: {{address: 'http://127.0.0.1:{port}'}}"),
        &format!("    wait: 1ms..20ms\n    reload_interval: 0\n{more}"),
    )
}

/// A storm in front of a server, which `begin` calls up and `end` ends. What proves it is for the caller.
fn weather(scene: &Scene, liar: &Liar, begin: impl FnOnce(), end: impl FnOnce()) {
    let daemon = scene.start();
    scene.wait_for(1);
    let reader = scene.forward_reader();
    let strain = Strain::begin(&daemon);
    begin();
    let since = Instant::now();
    stay(since, storm());
    let asked = liar.requests_since(since);
    println!("{asked} requests in {:?}", since.elapsed());
    let minutes = u32::try_from(storm().as_secs() / 60).unwrap();
    // At first it is asked more often: each read once, and the pauses between tries grow.
    let most = MOST * minutes + pace::either(12, 0);
    assert!((2..=most).contains(&u32::try_from(asked).unwrap()), "{asked} requests in {minutes} minutes");
    strain.assert_light(&daemon);
    assert_eq!(scene.shows(1), Ok(()));
    end();
    scene.wait_for_within(K1, 2);
    scene.job.wait_for_within(K1, "more.conf", "2 1 40 2");
    reader.stop().assert_always_whole();
    daemon.stop();
}

/// An agent that lets through hardly any request answers 429 to the rest: it is asked twelve times a minute at most, the file
/// stays, and all of five questions are answered soon after.
#[test]
fn row_28_an_agent_of_consul_answers_429() {
    let mut consul = Consul::start();
    let agent = consul.add_agent();
    let server = consul.client();
    write(&server, 1);
    server.catalog_register(&instance("n9", "web", 80, Health::Passing));
    let liar = Liar::start(consul.port_of(agent));
    let scene = several_reads(liar.port);
    let (local, port) = (consul.client_of(agent), consul.port_of(agent));
    let consul = std::cell::RefCell::new(consul);
    weather(
        &scene,
        &liar,
        || {
            consul.borrow_mut().reconfigure(agent, &json!({"limits": {"rpc_rate": 0.001, "rpc_max_burst": 1}}));
            // The polls that are under way end, and what follows them is refused.
            liar.be_honest();
            poll_until(SOON, || match local.request("GET", "/v1/kv/app/00", "") {
                Ok((429, _)) => Ok(()),
                other => Err(format!("{port}: {other:?}")),
            });
        },
        || {
            assert_eq!(local.request("GET", "/v1/kv/app/00", "").unwrap().0, 429);
            write(&server, 2);
            consul.borrow_mut().reconfigure(agent, &json!({"limits": {"rpc_rate": 1000, "rpc_max_burst": 1000}}));
        },
    );
}

/// A proxy in front of Consul answers 503 to everything, which Consul itself never does: it is asked twelve times a minute at
/// most, the file stays, and all of five questions are answered soon after.
#[test]
fn row_28_a_proxy_of_consul_answers_503() {
    let consul = Consul::start();
    let client = consul.client();
    write(&client, 1);
    client.catalog_register(&instance("n9", "web", 80, Health::Passing));
    let liar = Liar::start(consul.port());
    weather(
        &several_reads(liar.port),
        &liar,
        || liar.lie(|_| reply(503, "", "overloaded")),
        || {
            write(&client, 2);
            liar.be_honest();
        },
    );
}

/// Two of three servers are killed, so that there is no leader: the third is asked twelve times a minute at most, the file
/// stays, and all of five questions are answered soon after a leader is there.
#[test]
fn row_28_consul_has_no_leader() {
    let consul = Consul::cluster(3);
    let client = consul.client();
    write(&client, 1);
    client.catalog_register(&instance("n9", "web", 80, Health::Passing));
    let liar = Liar::start(consul.port());
    let scene = several_reads(liar.port);
    let consul = std::cell::RefCell::new(consul);
    weather(
        &scene,
        &liar,
        || {
            consul.borrow_mut().kill(1);
            consul.borrow_mut().kill(2);
            poll_until(SOON, || match client.request("GET", "/v1/kv/app/00", "") {
                Ok((500, body)) if String::from_utf8_lossy(&body).contains("No cluster leader") => Ok(()),
                other => Err(format!("{other:?}")),
            });
        },
        || {
            consul.borrow_mut().restart_all();
            write(&client, 2);
        },
    );
}

/// Consul takes five connections from one address: three are enough for all that is asked, and every change comes.
#[test]
fn row_29_consul_takes_five_connections() {
    let consul = Consul::with(json!({"limits": {"http_max_conns_per_client": 5}}));
    let client = consul.client();
    write(&client, 1);
    let scene = scene(&consul, "probe_interval: 100ms");
    let daemon = scene.start();
    scene.wait_for(1);
    let reader = scene.forward_reader();
    for generation in 2..=pace::either(50, 1000) {
        write(&client, generation);
        scene.wait_for_within(K1, generation);
        // The kernel's table is not read in one instant, so a connection may be counted beside the one that it replaces.
        let look = |_| {
            thread::sleep(Duration::from_millis(2));
            connections::open_to(consul.port())
        };
        let open = (0..5).map(look).min().unwrap();
        assert!(open <= 3, "{open} connections");
    }
    reader.stop().assert_always_whole();
    assert!(daemon.logged("registry does not answer").is_empty());
    // The limit holds: of five more connections at least one is closed without a word.
    let more: Vec<_> = (0..5).map(|_| TcpStream::connect(("127.0.0.1", consul.port())).unwrap()).collect();
    let is_closed = |mut stream: &TcpStream| {
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.write_all(b"GET /v1/status/leader HTTP/1.1\r\nHost: localhost\r\n\r\n").ok();
        !matches!(stream.read(&mut [0; 64]), Ok(1..))
    };
    assert!(more.iter().any(is_closed));
    daemon.stop();
}
