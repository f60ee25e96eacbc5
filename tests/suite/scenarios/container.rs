//! `examples/container`: the commands of its `compose.yaml`, in any order, on folders in the place of volumes.

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::json;

use super::backend::Backend;
use super::swap::instance;
use super::{Scene, wait_for_answer};
use crate::support::consul::Consul;
use crate::support::liveconf::{BINARY, Daemon, start};
use crate::support::port;
use crate::support::process::{Process, bound, search_path};

const FILE: &str = "shared/web-api.conf";

struct Containers {
    scene: Scene,
    consul: Consul,
    front: u16,
}

impl Containers {
    /// None has started; where Consul will be is known.
    fn new() -> Self {
        let mut consul = Consul::start();
        consul.kill(0);
        let front = port::free();
        let variables = [("CONSUL_HTTP_ADDR", consul.url()), ("NGINX_LISTEN", format!("127.0.0.1:{front}"))];
        let scene = Scene::of("container", variables);
        for volume in ["shared", "state"] {
            fs::create_dir(scene.job.folder().path(volume)).unwrap();
        }
        Self { scene, consul, front }
    }

    /// What a service of `compose.yaml` runs.
    fn command(&self, service: &str) -> Command {
        let compose = self.scene.job.read("compose.yaml").unwrap();
        let compose: serde_json::Value = serde_yaml::from_str(&compose).unwrap();
        let words = compose["services"][service]["command"].as_array().unwrap();
        let words: Vec<_> = words.iter().map(|word| word.as_str().unwrap()).collect();
        let program = words[0].replace("./", &format!("{}/", self.scene.job.folder().root().display()));
        let mut command = self.scene.job.prepare(bound(Signal::SIGTERM, program), &words[1..]);
        // Of the image.
        command.env("PATH", format!("{}:{}", Path::new(BINARY).parent().unwrap().display(), search_path()));
        command.env_remove("LIVECONF_STATE_DIR");
        self.scene.with_variables(command)
    }

    fn liveconf(&self) -> Daemon {
        start(self.command("liveconf"))
    }

    fn nginx(&self) -> Process {
        Process::start(self.command("nginx")).with_workers()
    }

    fn register(&self, backend: &Backend) {
        self.consul.client().register(&instance(backend.name(), backend.port(), &json!({})));
    }

    fn serves(&self, backend: &Backend) {
        wait_for_answer(self.front, "/", 200, backend.name());
    }
}

#[test]
fn liveconf_before_consul_before_nginx() {
    let mut containers = Containers::new();
    let (blue, green) = (Backend::start("blue"), Backend::start("green"));
    let mut liveconf = containers.liveconf();
    liveconf.wait_for_log("registry does not answer");
    assert_eq!(containers.scene.job.read(FILE), None);

    containers.consul.restart(0);
    containers.register(&blue);
    containers.scene.wait_for_servers(FILE, &[format!("server 127.0.0.1:{} weight=1;", blue.port())]);
    // Nobody is there to be told, which is no failure.
    liveconf.wait_for_log("not running, the reload is owed");

    let mut nginx = containers.nginx();
    containers.serves(&blue);
    // It has read the file at its start: only what changes from now on is a reload.
    containers.register(&green);
    containers.consul.client().deregister("blue");
    containers.serves(&green);
    assert!(!liveconf.logged("reloaded").is_empty());
    assert!(liveconf.is_running() && nginx.ended().is_none());
    liveconf.stop();
}

#[test]
fn nginx_waits_for_its_file_and_outlives_its_sidecar() {
    let mut containers = Containers::new();
    let (blue, green) = (Backend::start("blue"), Backend::start("green"));
    let mut nginx = containers.nginx();
    let mut liveconf = containers.liveconf();
    liveconf.wait_for_log("registry does not answer");
    assert!(liveconf.is_running() && nginx.ended().is_none());

    containers.consul.restart(0);
    containers.register(&blue);
    containers.serves(&blue);
    // The sidecar is replaced by a newer one; what changes meanwhile is made up for.
    liveconf.stop();
    containers.register(&green);
    containers.consul.client().deregister("blue");
    let liveconf = containers.liveconf();
    containers.serves(&green);
    assert!(nginx.ended().is_none());
    liveconf.stop();
}
