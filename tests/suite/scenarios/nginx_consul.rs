//! `examples/nginx-consul`: real nginx follows real Consul.

use std::fs;

use serde_json::json;

use super::backend::Backend;
use super::swap::{instance, swap};
use super::{Scene, wait_for_answer};
use crate::support::consul::Consul;
use crate::support::nginx::Nginx;
use crate::support::{SOON, http, poll_until, port};

const FILE: &str = "conf.d/web-api.conf";
const NOBODY: &str = "server 127.0.0.1:65535 down; # no instances";

fn scene(consul: &Consul, front: u16) -> Scene {
    let variables = [("CONSUL_HTTP_ADDR", consul.address()), ("NGINX_LISTEN", format!("127.0.0.1:{front}"))];
    let scene = Scene::of("nginx-consul", variables);
    fs::create_dir(scene.job.folder().path("conf.d")).unwrap();
    scene
}

fn line(port: u16, weight: &str) -> String {
    format!("server 127.0.0.1:{port} {weight};")
}

#[test]
fn weights_and_nobody_are_as_people_know_them() {
    let consul = Consul::start();
    let client = consul.client();
    let (heavy, light, front) = (Backend::start("heavy"), Backend::start("light"), port::free());
    let scene = scene(&consul, front);

    scene.run(&["once"]).assert_code(0);
    scene.wait_for_servers(FILE, &[NOBODY.into()]);
    let nginx = Nginx::start(scene.job.folder().root(), front);
    assert_eq!(http::get(front, "/").unwrap().0, 502);
    assert_eq!(http::get(front, "/health").unwrap(), (200, "healthy\n".into()));

    let mut daemon = scene.start();
    client.register(&instance("heavy", heavy.port(), &json!({"weight": "5"})));
    client.register(&instance("light", light.port(), &json!({})));
    scene.wait_for_servers(FILE, &[line(heavy.port(), "weight=5"), line(light.port(), "weight=1")]);
    let file = scene.job.read(FILE).unwrap();
    let upstream = file.split_once("upstream backend {\n").unwrap().1.split_once("}\n").unwrap().0;
    assert_eq!(upstream.matches("server ").count(), 2, "{file}");
    for header in ["Host $host", "X-Real-IP $remote_addr", "X-Forwarded-For $proxy_add_x_forwarded_for"] {
        assert!(file.contains(&format!("proxy_set_header {header};\n")), "{file}");
    }

    // Once the reload is through, and the worker that knew of nobody is gone, five of six requests go to the heavy one.
    wait_for_answer(front, "/", 200, "light");
    let workers = format!("/proc/{0}/task/{0}/children", nginx.id());
    poll_until(SOON, || match fs::read_to_string(&workers).unwrap().split_whitespace().count() {
        1 => Ok(()),
        more => Err(format!("nginx has {more} workers")),
    });
    let before = (heavy.served(), light.served());
    for _ in 0..60 {
        assert_eq!(http::get(front, "/").unwrap().0, 200);
    }
    assert_eq!((heavy.served() - before.0, light.served() - before.1), (50, 10));
    let (_, head) = http::get(front, "/echo").unwrap();
    for header in ["Host: localhost", "X-Real-IP: 127.0.0.1", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: http"] {
        assert!(head.contains(&format!("{header}\r\n")), "{head}");
    }

    // The last one stays until somebody says that it is to go.
    client.deregister("light");
    scene.wait_for_servers(FILE, &[line(heavy.port(), "weight=5")]);
    client.deregister("heavy");
    daemon.wait_for_log("the last accepted answer stays");
    scene.wait_for_servers(FILE, &[line(heavy.port(), "weight=5")]);
    assert_eq!(http::get(front, "/").unwrap().0, 200);
    daemon.stop();
    scene.run(&["once"]).assert_code(0);
    scene.wait_for_servers(FILE, &[NOBODY.into()]);
    wait_for_answer(front, "/", 502, "");
    assert_eq!(http::get(front, "/health").unwrap(), (200, "healthy\n".into()));
}

#[test]
fn what_people_write_into_meta_does_no_harm() {
    let consul = Consul::start();
    let client = consul.client();
    let front = port::free();
    let scene = scene(&consul, front);
    let written = [
        ("5; evil", "weight=1"),
        ("abc", "weight=1"),
        ("-1", "weight=1"),
        ("", "weight=1"),
        ("1.5", "weight=1"),
        ("5\n    server evil:1", "weight=1"),
        ("65536", "weight=1"),
        ("99999999999999999999999999999999999999999", "weight=1"),
        ("65535", "weight=65535"),
        ("7", "weight=7"),
        ("0", "down"),
    ];
    let mut expected = Vec::new();
    for (number, (weight, shown)) in (1..).zip(written) {
        client.register(&instance(&format!("i{number}"), number, &json!({"weight": weight})));
        expected.push(line(number, shown));
    }
    // Where Meta says nothing that counts, Consul's own weight does.
    let mut own = instance("own", 99, &json!({"weight": "?"}));
    own["Weights"] = json!({"Passing": 4, "Warning": 1});
    client.register(&own);
    expected.push(line(99, "weight=4"));
    // nginx's own check is among what it goes through.
    scene.run(&["once"]).assert_code(0);
    scene.wait_for_servers(FILE, &expected);
}

#[test]
fn an_address_that_is_none_leaves_the_file_as_it_is() {
    let consul = Consul::start();
    let client = consul.client();
    let (blue, green, front) = (Backend::start("blue"), Backend::start("green"), port::free());
    let scene = scene(&consul, front);
    client.register(&instance("blue", blue.port(), &json!({})));
    scene.run(&["once"]).assert_code(0);
    let _nginx = Nginx::start(scene.job.folder().root(), front);
    let mut daemon = scene.start();

    // With white space it is not even an instance: it is left out by name, and the others go on to be followed.
    let mut evil = instance("evil", 80, &json!({}));
    evil["Address"] = json!("10.0.0.1:80; } server { listen 1; location / { root /; } } upstream z { server 10.0.0.1");
    client.register(&evil);
    daemon.wait_for_log("`evil`");
    client.register(&instance("green", green.port(), &json!({})));
    let both = [line(blue.port(), "weight=1"), line(green.port(), "weight=1")];
    scene.wait_for_servers(FILE, &both);

    // Without, it is refused where it would be written: the file stays, nginx goes on, and the log names the place.
    evil["Address"] = json!("10.0.0.1;evil");
    client.register(&evil);
    let refusal = daemon.wait_for_log("`host` refuses what it was given");
    assert!(!refusal.contains("10.0.0.1"), "{refusal}");
    client.deregister("blue");
    scene.wait_for_servers(FILE, &both);
    assert_eq!(http::get(front, "/").unwrap().0, 200);
    // Put right, all that happened meanwhile is made up for.
    client.deregister("evil");
    scene.wait_for_servers(FILE, &[line(green.port(), "weight=1")]);
    daemon.stop();
}

#[test]
fn clients_see_nothing_of_a_deploy() {
    let consul = Consul::start();
    let client = consul.client();
    let (first, front) = (Backend::start("first"), port::free());
    let scene = scene(&consul, front);
    client.register(&instance("first", first.port(), &json!({})));
    scene.run(&["once"]).assert_code(0);
    let _nginx = Nginx::start(scene.job.folder().root(), front);
    let daemon = scene.start();
    let seen = swap(&client, first, front, 3);
    println!("nginx, 3 deploys: {} requests, {} sent again; {:?}", seen.total(), seen.sent_again, seen.answers);
    assert_eq!(seen.failures, [""; 0]);
    // nginx closes idle connections when a worker ends: at most both kept ones at each of the six reloads.
    assert!(seen.sent_again <= 12, "{seen:?}");
    daemon.stop();
}
