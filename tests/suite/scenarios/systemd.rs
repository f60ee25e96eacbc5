//! `examples/systemd`: the unit as systemd reads it, and what its lines do.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::swap::instance;
use super::{Scene, wait_for_answer};
use crate::support::consul::Consul;
use crate::support::folder::Folder;
use crate::support::liveconf::{BINARY, example, start};
use crate::support::nginx::Nginx;
use crate::support::port;
use crate::support::process::{find, search_path};

use super::backend::Backend;

const CONFIG: &str = "/etc/liveconf/liveconf.yaml";

/// What stands behind a key of the unit that is there once.
fn setting(key: &str) -> String {
    let unit = fs::read_to_string(example("systemd").join("liveconf.service")).unwrap();
    let mut found = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let value = found.next().unwrap_or_else(|| panic!("the unit has no `{key}`")).to_owned();
    assert_eq!(found.next(), None, "{key}");
    value
}

#[test]
fn systemd_takes_the_unit() {
    assert_eq!(setting("ExecStart"), format!("/usr/bin/liveconf run --config {CONFIG}"));
    // Only a machine with systemd can tell more.
    if !Path::new("/usr/bin/systemd-analyze").exists() {
        return;
    }
    let unit = fs::read_to_string(example("systemd").join("liveconf.service")).unwrap();
    let folder = Folder::new();
    folder.write("liveconf.service", unit.replace("/usr/bin/liveconf", BINARY));
    let mut command = Command::new(find("systemd-analyze"));
    let output = command.args(["verify", "--man=no"]).arg(folder.path("liveconf.service")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

/// Its configuration, started and reloaded by the lines of the unit, beside real nginx. In the place of `systemctl`
/// stands a script that does what the unit of nginx does, since there is no systemd to ask.
#[test]
fn the_lines_of_the_unit_start_reload_and_stop_it() {
    let consul = Consul::start();
    let (blue, front) = (Backend::start("blue"), port::free());
    let scene = Scene::of("systemd", []);
    let folder = scene.job.folder();
    fs::create_dir(folder.path("conf.d")).unwrap();
    fs::create_dir(folder.path("state")).unwrap();
    folder.write(
        "nginx.conf",
        format!(
            "pid nginx.pid; events {{}} http {{ access_log off; include conf.d/*.conf;
             server {{ listen 127.0.0.1:{front}; location / {{ proxy_pass http://backend; }} }} }}"
        ),
    );
    folder.write(
        "systemctl",
        format!(
            "#!/bin/sh
             case \"$*\" in
             *show*) printf 'LoadState=loaded\\nActiveState=active\\nMainPID=%s\\n' $(cat {0}/nginx.pid) ;;
             *) kill -HUP $(cat {0}/nginx.pid); echo \"$@\" >> {0}/told ;;
             esac
            ",
            folder.root().display()
        ),
    );
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(folder.path("systemctl"), mode).unwrap();

    let line = setting("ExecStart").replace(CONFIG, folder.path("liveconf.yaml").to_str().unwrap());
    let arguments: Vec<_> = line.split(' ').skip(1).collect();
    let mut command = scene.job.command(&arguments);
    command.env_remove("LIVECONF_STATE_DIR").env("STATE_DIRECTORY", folder.path("state"));
    command.env("PATH", format!("{}:{}", folder.root().display(), search_path()));
    // What liveconf.default says, with the addresses of this test.
    command.env("CONSUL_HTTP_ADDR", consul.url()).env("NGINX_CONF_D", folder.path("conf.d"));
    scene.job.write("conf.d/web-api.conf", "upstream backend { server 127.0.0.1:65535; }\n");
    let _nginx = Nginx::start(folder.root(), front);
    let mut daemon = start(command);
    consul.client().register(&instance("blue", blue.port(), &json!({})));
    wait_for_answer(front, "/", 200, "blue");
    assert_eq!(scene.job.wait_for_lines("told", 1)[0], "--no-ask-password try-reload-or-restart -- nginx.service");

    let reload = || {
        let hook = setting("ExecReload").replace("$MAINPID", &daemon.id().to_string());
        let mut words = hook.split(' ');
        let status = Command::new(words.next().unwrap()).args(words).status().unwrap();
        assert!(status.success(), "{hook}");
    };
    let config = scene.job.read("liveconf.yaml").unwrap();
    scene.job.write("liveconf.yaml", format!("{config}\n  motd:\n    templates: [{{content: hello, dest: motd}}]\n"));
    reload();
    scene.job.wait_for("motd", "hello");
    scene.job.write("liveconf.yaml", "targets: 1\n");
    reload();
    daemon.wait_for_log("not loaded");
    assert!(daemon.is_running());
    assert!(folder.path("state/nginx.json").is_file(), "the record is where systemd says");
    // Within `TimeoutStopSec`.
    daemon.stop();
}
