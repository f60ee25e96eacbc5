//! `examples/haproxy-consul`: real HAProxy follows real Consul.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::json;

use super::backend::Backend;
use super::swap::{instance, swap};
use super::{Scene, wait_for_answer};
use crate::support::consul::Consul;
use crate::support::consul_client::Health;
use crate::support::haproxy::Haproxy;
use crate::support::{SOON, http, poll_until, port};

const FILE: &str = "haproxy.cfg";

fn scene(consul: &Consul, front: u16, statistics: u16) -> Scene {
    Scene::of(
        "haproxy-consul",
        [
            ("CONSUL_HTTP_ADDR", consul.address()),
            ("HAPROXY_BIND", format!("127.0.0.1:{front}")),
            ("HAPROXY_STATISTICS", format!("127.0.0.1:{statistics}")),
        ],
    )
}

fn line(port: u16, rest: &str) -> String {
    format!("server 127.0.0.1:{port} 127.0.0.1:{port} {rest}")
}

/// What HAProxy says of each server: its state and its weight.
fn servers(statistics: u16) -> Result<BTreeMap<String, String>, String> {
    let (status, table) = http::get(statistics, "/;csv").map_err(|error| error.to_string())?;
    assert_eq!(status, 200);
    let rows = table.lines().map(|row| row.split(',').collect::<Vec<_>>());
    let rows = rows.filter(|row| row[0] == "web-api" && row[1] != "BACKEND");
    Ok(rows.map(|row| (row[1].to_owned(), format!("{} {}", row[17], row[18]))).collect())
}

/// Asks with a cookie or without: the body, and the cookie that was set.
fn session(port: u16, cookie: Option<&str>) -> (String, Option<String>) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let cookie = cookie.map(|cookie| format!("Cookie: {cookie}\r\n")).unwrap_or_default();
    write!(stream, "GET / HTTP/1.0\r\nHost: shop.example\r\n{cookie}\r\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    let set = head.lines().find_map(|line| line.to_ascii_lowercase().starts_with("set-cookie: ").then(|| &line[12..]));
    (body.to_owned(), set.map(|value| value.split(';').next().unwrap().to_owned()))
}

#[test]
fn instances_in_every_state_are_what_haproxy_expects() {
    let consul = Consul::start();
    let client = consul.client();
    let backends = ["heavy", "warned", "drained", "broken"].map(Backend::start);
    let [heavy, warned, drained, broken] = &backends;
    let (front, statistics) = (port::free(), port::free());
    let scene = scene(&consul, front, statistics);

    scene.run(&["once"]).assert_code(0);
    scene.wait_for_servers(FILE, &[]);
    let haproxy = Haproxy::start(scene.job.folder().root(), front);
    assert_eq!(http::get(front, "/").unwrap().0, 503);
    assert_eq!(http::get(front, "/health").unwrap().0, 200);

    let mut daemon = scene.start();
    // It was not there when its file was written first.
    daemon.wait_for_log("INFO reloaded");
    for backend in &backends {
        let mut instance = instance(backend.name(), backend.port(), &json!({}));
        instance["Check"] = json!({"CheckID": backend.name(), "Name": "alive", "TTL": "1h", "Status": "passing"});
        instance["Weights"] = json!({"Passing": 8, "Warning": 2});
        if backend.name() == "heavy" {
            instance["Meta"] = json!({"weight": "1000"});
        }
        client.register(&instance);
    }
    let heaviest = line(heavy.port(), "weight 256");
    let usual = |backend: &Backend| line(backend.port(), "weight 8");
    scene.wait_for_servers(FILE, &[heaviest.clone(), usual(warned), usual(drained), usual(broken)]);
    // Somebody has a session with the one that is to be drained, and somebody with the one that will break.
    let mut sessions = BTreeMap::new();
    poll_until(SOON, || {
        if let (body, Some(cookie)) = session(front, None) {
            sessions.insert(body, cookie);
        }
        if sessions.len() == 4 { Ok(()) } else { Err(format!("should have found all four: {sessions:?}")) }
    });

    client.set_check("warned", Health::Warning);
    client.maintain("drained", true);
    client.set_check("broken", Health::Critical);
    scene.wait_for_servers(
        FILE,
        &[
            heaviest.clone(),
            line(warned.port(), "weight 2"),
            line(drained.port(), "weight 0"),
            line(broken.port(), "weight 8 disabled"),
        ],
    );
    let expected = BTreeMap::from(
        [(heavy, "UP 256"), (warned, "UP 2"), (drained, "UP 0"), (broken, "MAINT 8")]
            .map(|(backend, state)| (format!("127.0.0.1:{}", backend.port()), state.to_owned())),
    );
    poll_until(SOON, || match servers(statistics)? {
        found if found == expected => Ok(()),
        found => Err(format!("HAProxy should say {expected:?}, but says {found:?}")),
    });
    // Once the worker from before takes no more connections, new sessions go to neither of the two; one that is there goes
    // on with what drains, and leaves what is critical.
    poll_until(SOON, || {
        let before = (drained.served(), broken.served());
        (0..50).for_each(|_| drop(session(front, None)));
        if (drained.served(), broken.served()) == before { Ok(()) } else { Err("new sessions go there".into()) }
    });
    assert_eq!(session(front, Some(&sessions["drained"])).0, "drained");
    assert_ne!(session(front, Some(&sessions["broken"])).0, "broken");

    // Back, and gone.
    client.maintain("drained", false);
    client.set_check("broken", Health::Passing);
    client.deregister("warned");
    scene.wait_for_servers(FILE, &[heaviest, usual(drained), usual(broken)]);
    assert!(haproxy.pid_file().is_file());
    daemon.wait_for_log("changed without a reload");
    assert_eq!((daemon.logged("INFO reloaded").len(), daemon.logged("haproxy needs a reload").len()), (1, 0));
    daemon.stop();
}

#[test]
fn names_are_valid_whatever_the_ids_are() {
    let consul = Consul::start();
    let client = consul.client();
    let scene = scene(&consul, port::free(), port::free());
    client.register(&instance("web api/1 \"x\"", 80, &json!({"weight": "5; evil"})));
    client.register(&instance("web-api", 81, &json!({"weight": "-1"})));
    // The same id on another node, the same address under another id, and IPv6.
    for (node, address) in [("other", "10.0.0.1"), ("third", "10.0.0.1"), ("six", "2001:db8::1")] {
        client.catalog_register(&json!({"Node": node, "Address": address,
            "Service": {"ID": "web-api", "Service": "web-api", "Port": 81}}));
    }
    // HAProxy's own check is among what it goes through.
    scene.run(&["once"]).assert_code(0);
    let [first, second] = ["", ":2"].map(|more| format!("server 10.0.0.1:81{more} 10.0.0.1:81 weight 1"));
    let six = "server 2001:db8::1:81 [2001:db8::1]:81 weight 1".to_owned();
    scene.wait_for_servers(FILE, &[line(80, "weight 1"), line(81, "weight 1"), first, second, six]);
}

#[test]
fn an_address_that_is_none_leaves_the_file_as_it_is() {
    let consul = Consul::start();
    let client = consul.client();
    let (blue, front) = (Backend::start("blue"), port::free());
    let scene = scene(&consul, front, port::free());
    client.register(&instance("blue", blue.port(), &json!({})));
    scene.run(&["once"]).assert_code(0);
    let _haproxy = Haproxy::start(scene.job.folder().root(), front);
    let mut daemon = scene.start();
    let before = scene.job.read(FILE);
    let mut evil = instance("evil", 80, &json!({}));
    evil["Address"] = json!("10.0.0.1#evil");
    client.register(&evil);
    daemon.wait_for_log("`host` refuses what it was given");
    assert_eq!(scene.job.read(FILE), before);
    wait_for_answer(front, "/", 200, "blue");
    daemon.stop();
}

#[test]
fn clients_see_nothing_of_a_deploy() {
    let consul = Consul::start();
    let client = consul.client();
    let (first, front) = (Backend::start("first"), port::free());
    let scene = scene(&consul, front, port::free());
    client.register(&instance("first", first.port(), &json!({})));
    scene.run(&["once"]).assert_code(0);
    let _haproxy = Haproxy::start(scene.job.folder().root(), front);
    let daemon = scene.start();
    let seen = swap(&client, first, front, 3);
    println!("HAProxy, 3 deploys: {} requests, {} sent again; {:?}", seen.total(), seen.sent_again, seen.answers);
    assert_eq!(seen.failures, [""; 0]);
    assert_eq!(seen.sent_again, 0, "no kept connection is closed under the hands of a client");
    daemon.stop();
}
