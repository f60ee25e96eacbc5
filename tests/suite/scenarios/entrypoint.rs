//! `examples/entrypoint`: the entrypoint of its `Containerfile`, on this machine.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use super::backend::Backend;
use super::swap::instance;
use super::{Scene, wait_for_answer};
use crate::support::consul::Consul;
use crate::support::liveconf::{BINARY, Daemon, start};
use crate::support::port;
use crate::support::process::{bound, search_path};

const FILE: &str = "conf.d/web-api.conf";

/// Runs what the image would.
fn run(scene: &Scene) -> Daemon {
    let containerfile = scene.job.read("Containerfile").unwrap();
    let entrypoint = containerfile.lines().find_map(|line| line.strip_prefix("ENTRYPOINT ")).unwrap();
    let words: Vec<String> = serde_json::from_str(entrypoint).unwrap();
    let arguments: Vec<_> = words[1..].iter().map(String::as_str).collect();
    let mut command = scene.job.prepare(bound(Signal::SIGTERM, &words[0]), &arguments);
    command.env("PATH", format!("{}:{}", Path::new(BINARY).parent().unwrap().display(), search_path()));
    start(scene.with_variables(command))
}

/// Whether liveconf has a child, which is its nginx.
fn has_nginx(daemon: &Daemon) -> bool {
    let id = daemon.id();
    let threads = fs::read_dir(format!("/proc/{id}/task")).unwrap().flatten();
    threads.flat_map(|thread| fs::read_to_string(thread.path().join("children"))).any(|list| !list.trim().is_empty())
}

#[test]
fn liveconf_before_consul_before_nginx() {
    let mut consul = Consul::start();
    consul.kill(0);
    let front = port::free();
    let variables = [("CONSUL_HTTP_ADDR", consul.url()), ("NGINX_LISTEN", format!("127.0.0.1:{front}"))];
    let scene = Scene::of("entrypoint", variables);
    let (blue, green) = (Backend::start("blue"), Backend::start("green"));
    let mut daemon = run(&scene);
    daemon.wait_for_log("registry does not answer");
    assert!(scene.job.read(FILE).is_none() && !has_nginx(&daemon), "it starts with its file, and not before");

    consul.restart(0);
    let register = |backend: &Backend| {
        consul.client().register(&instance(backend.name(), backend.port(), &json!({})));
    };
    register(&blue);
    wait_for_answer(front, "/", 200, "blue");
    assert!(has_nginx(&daemon));
    register(&green);
    consul.client().deregister("blue");
    wait_for_answer(front, "/", 200, "green");
    wait_for_answer(front, "/health", 200, "healthy");
    daemon.wait_for_log("reloaded");
    assert_eq!(daemon.logged("started").len(), 1, "changes are reloads");
    // The signal of its `STOPSIGNAL`: nginx leaves with 0, and so does liveconf.
    daemon.signal(Signal::SIGQUIT);
    assert_eq!(daemon.wait(Duration::from_secs(30)), 0);
}

#[test]
fn it_serves_what_it_knew_while_consul_is_away() {
    let mut consul = Consul::start();
    let front = port::free();
    let variables = [("CONSUL_HTTP_ADDR", consul.url()), ("NGINX_LISTEN", format!("127.0.0.1:{front}"))];
    let scene = Scene::of("entrypoint", variables);
    let config = scene.job.read("liveconf.yaml").unwrap();
    scene.job.write("liveconf.yaml", format!("{config}\nlast_known_good: {{after: 500ms}}\n"));
    let blue = Backend::start("blue");
    consul.client().register(&instance(blue.name(), blue.port(), &json!({})));
    let daemon = run(&scene);
    wait_for_answer(front, "/", 200, "blue");
    // What it saw is saved at the stop, if not before.
    daemon.stop();

    // A new container of the same state: the files of the old one are gone with it.
    consul.kill(0);
    fs::remove_file(scene.job.folder().path(FILE)).unwrap();
    let mut daemon = run(&scene);
    daemon.wait_for_log("show the last known good answers");
    wait_for_answer(front, "/", 200, "blue");
    daemon.stop();
}

#[test]
fn its_configuration_is_checked_without_its_program() {
    let scene = Scene::of("entrypoint", []);
    scene.run(&["check"]).assert_code(0).assert_says(&["liveconf run -- COMMAND"]);
}
