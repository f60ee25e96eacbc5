//! `examples/two-registries`: the servers of nginx from real Consul, its settings from real etcd.

use serde_json::json;

use super::backend::Backend;
use super::swap::instance;
use super::{Scene, wait_for_answer};
use crate::support::consul::Consul;
use crate::support::etcd::Etcd;
use crate::support::nginx::Nginx;
use crate::support::port;

const FILE: &str = "conf.d/web-api.conf";

#[test]
fn one_file_follows_both() {
    let (mut consul, mut etcd) = (Consul::start(), Etcd::start());
    let (blue, green, front) = (Backend::start("blue"), Backend::start("green"), port::free());
    let variables = [
        ("CONSUL_HTTP_ADDR", consul.address()),
        ("ETCDCTL_ENDPOINTS", etcd.endpoints()[0].clone()),
        ("NGINX_LISTEN", format!("127.0.0.1:{front}")),
    ];
    let scene = Scene::of("two-registries", variables);
    std::fs::create_dir(scene.job.folder().path("conf.d")).unwrap();
    consul.client().register(&instance("blue", blue.port(), &json!({})));
    scene.run(&["once"]).assert_code(0);
    let _nginx = Nginx::start(scene.job.folder().root(), front);
    let mut daemon = scene.start();
    wait_for_answer(front, "/", 200, "blue");
    assert!(scene.job.read(FILE).unwrap().contains("    proxy_read_timeout 30s;\n"));

    etcd.client().put("/web-api/maintenance", "on");
    wait_for_answer(front, "/", 503, "back soon");
    wait_for_answer(front, "/health", 200, "healthy");
    etcd.client().delete("/web-api/maintenance");
    wait_for_answer(front, "/", 200, "blue");

    // While one is away, the other is followed, and what the one said last stays.
    etcd.client().put("/web-api/timeout", "7s");
    scene.wait_for_text(FILE, "    proxy_read_timeout 7s;\n");
    etcd.stop(0);
    consul.client().register(&instance("green", green.port(), &json!({})));
    consul.client().deregister("blue");
    wait_for_answer(front, "/", 200, "green");
    scene.wait_for_text(FILE, "    proxy_read_timeout 7s;\n");
    etcd.restart(0);
    consul.stop(0);
    etcd.client().put("/web-api/timeout", "8s");
    scene.wait_for_text(FILE, "    proxy_read_timeout 8s;\n");
    wait_for_answer(front, "/", 200, "green");
    consul.restart(0);

    // A setting that is more than one word is refused where it would be written.
    etcd.client().put("/web-api/timeout", "8s; } server {");
    daemon.wait_for_log("`token` refuses what it was given");
    assert!(scene.job.read(FILE).unwrap().contains("    proxy_read_timeout 8s;\n"));
    daemon.stop();
}

#[test]
fn a_call_that_could_mean_either_is_refused() {
    let scene = Scene::of("two-registries", []);
    let template = scene.job.read("web-api.conf.tera").unwrap();
    scene.run(&["check"]).assert_code(0);
    scene.job.write("web-api.conf.tera", template.replace(", registry=\"catalog\"", ""));
    scene.run(&["check"]).assert_code(2).assert_says(&["web-api.conf.tera:", "registry", "`catalog`", "`settings`"]);
}
