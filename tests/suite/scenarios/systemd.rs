//! `examples/systemd`: the unit as systemd reads it, and what its lines do.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::json;

use super::swap::instance;
use super::{Scene, wait_for_answer};
use crate::support::consul::Consul;
use crate::support::folder::Folder;
use crate::support::liveconf::{BINARY, example, run_to_end, start};
use crate::support::nginx::Nginx;
use crate::support::notify::Manager;
use crate::support::port;
use crate::support::process::{bound, find};

use super::backend::Backend;

const CONFIG: &str = "/etc/liveconf/liveconf.yaml";

/// The units: beside nginx, beside HAProxy, and for any program.
const UNITS: [&str; 3] = [NGINX, "liveconf-haproxy.service", "liveconf@.service"];

/// The one that most of this is about.
const NGINX: &str = "liveconf.service";

fn text_of(unit: &str) -> String {
    fs::read_to_string(example("systemd").join(unit)).unwrap()
}

/// What stands behind a key of the unit beside nginx that is there once.
fn setting(key: &str) -> String {
    setting_of(NGINX, key)
}

fn setting_of(unit: &str, key: &str) -> String {
    let unit = text_of(unit);
    let mut found = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let value = found.next().unwrap_or_else(|| panic!("the unit has no `{key}`")).to_owned();
    assert_eq!(found.next(), None, "{key}");
    value
}

#[test]
fn systemd_takes_the_units() {
    assert_eq!(setting("ExecStart"), format!("/usr/bin/liveconf run --config {CONFIG}"));
    for unit in UNITS {
        assert_eq!(setting_of(unit, "Type"), "notify", "{unit}");
        assert!(setting_of(unit, "WatchdogSec").ends_with('s'), "{unit}");
    }
    // Only a machine with systemd can tell more.
    if !Path::new("/usr/bin/systemd-analyze").exists() {
        return;
    }
    let folder = Folder::new();
    for unit in UNITS {
        folder.write(unit, text_of(unit).replace("/usr/bin/liveconf", BINARY));
    }
    let drop_in = folder.path("liveconf.service.d");
    fs::create_dir(&drop_in).unwrap();
    fs::copy(example("systemd").join("credentials.conf"), drop_in.join("credentials.conf")).unwrap();
    for unit in [NGINX, "liveconf-haproxy.service", "liveconf@squid.service"] {
        let mut command = Command::new(find("systemd-analyze"));
        let output = command.args(["verify", "--man=no"]).arg(folder.path(unit)).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{unit}: {said}");
    }
}

/// How much of the machine the units leave open, as systemd counts it: from 0 to 10.
#[test]
fn the_units_leave_little_open() {
    const MOST: f64 = 2.0;
    if !Path::new("/usr/bin/systemd-analyze").exists() {
        return;
    }
    for unit in UNITS {
        let mut command = Command::new(find("systemd-analyze"));
        command.args(["security", "--offline=yes", "--no-pager"]).arg(example("systemd").join(unit));
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let overall = said.lines().find(|line| line.contains("Overall exposure level"));
        let overall = overall.unwrap_or_else(|| panic!("{unit}: {said}"));
        let score = overall.split_whitespace().find_map(|word| word.parse::<f64>().ok()).unwrap();
        assert!(score <= MOST, "{unit}: {said}");
    }
}

/// Every opening of a unit is there for something, and says for what.
#[test]
fn every_capability_of_the_units_is_explained() {
    for unit in UNITS {
        let granted = setting_of(unit, "CapabilityBoundingSet");
        assert_eq!(granted, setting_of(unit, "AmbientCapabilities"));
        for capability in granted.split(' ') {
            let comment = format!("# {capability} ");
            assert!(text_of(unit).lines().any(|line| line.starts_with(&comment)), "{unit}: {capability}");
        }
    }
}

/// As another user than root, with the capabilities of the unit and no way to others: a file of root's is replaced, checked
/// by real nginx, and its master, which is root's, is signalled. None of the system calls is one that the unit refuses.
#[test]
fn what_the_unit_allows_is_what_a_check_and_a_reload_need() {
    if !is_root() || !Path::new("/usr/bin/systemd-analyze").exists() {
        println!("not run: needs root and systemd-analyze");
        return;
    }
    let consul = Consul::start();
    let (blue, front) = (Backend::start("blue"), port::free());
    let scene = Scene::of("systemd", []);
    let folder = scene.job.folder();
    fs::create_dir(folder.path("conf.d")).unwrap();
    nginx_conf(folder, front);
    scene.job.write("conf.d/web-api.conf", "upstream backend { server 127.0.0.1:65535; }\n");
    let nginx = Nginx::start(folder.root(), front);
    consul.client().register(&instance("blue", blue.port(), &json!({})));

    let capabilities = setting("CapabilityBoundingSet").to_lowercase().replace("cap_", "+").replace(' ', ",");
    let calls = folder.path("calls");
    let mut command = bound(Signal::SIGKILL, find("strace"));
    command.args(["-f", "-qq", "-s", "0", "-o"]).arg(&calls).arg(find("setpriv"));
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"]);
    for set in ["bounding-set", "inh-caps", "ambient-caps"] {
        command.arg(format!("--{set}=-all,{capabilities}"));
    }
    command.arg(BINARY);
    let mut command = scene.job.prepare(command, &["once"]);
    fs::create_dir(folder.path("state")).unwrap();
    command.env("CONSUL_HTTP_ADDR", consul.url()).env("NGINX_CONF_D", folder.path("conf.d"));
    command.env("NGINX_PID_FILE", nginx.pid_file());
    run_to_end(command).assert_code(0);
    wait_for_answer(front, "/", 200, "blue");

    let allowed = allowed_calls();
    let text = fs::read_to_string(&calls).unwrap();
    let mut refused: Vec<&str> = text
        .lines()
        // Those of setpriv itself come before the program does.
        .skip_while(|line| !line.contains("execve(") || !line.contains("= 0") || line.contains("setpriv"))
        .filter_map(|line| line.split_whitespace().nth(1)?.split_once('(').map(|(name, _)| name))
        // What strace writes of a thread that was ended before it could be asked what it does.
        .filter(|name| *name != "???" && !allowed.contains(*name))
        .collect();
    refused.sort_unstable();
    refused.dedup();
    assert!(text.contains("execve(") && text.contains("rename"), "the trace shows the run");
    assert_eq!(refused, [""; 0], "the unit refuses what the run needed");
}

/// The system calls that the lines of the unit leave, groups within groups resolved.
fn allowed_calls() -> BTreeSet<String> {
    let members = |group: &str| -> Vec<String> {
        let output = Command::new(find("systemd-analyze")).args(["syscall-filter", group]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .skip(1)
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(str::to_owned)
            .collect()
    };
    let resolve = |group: &str| -> BTreeSet<String> {
        let mut open = vec![group.to_owned()];
        let mut calls = BTreeSet::new();
        while let Some(name) = open.pop() {
            if name.starts_with('@') { open.extend(members(&name)) } else { calls.extend([name]) }
        }
        calls
    };
    // Whatever the list, systemd allows those that every program needs.
    let mut allowed = resolve("@default");
    let unit = text_of(NGINX);
    for list in unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        let (takes, list) = list.strip_prefix('~').map_or((true, list), |list| (false, list));
        for name in list.split(' ').flat_map(resolve) {
            _ = if takes { allowed.insert(name) } else { allowed.remove(&name) };
        }
    }
    allowed
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn nginx_conf(folder: &Folder, front: u16) {
    folder.write(
        "nginx.conf",
        format!(
            "pid nginx.pid; events {{}} http {{ access_log off; include conf.d/*.conf;
             server {{ listen 127.0.0.1:{front}; location / {{ proxy_pass http://backend; }} }} }}"
        ),
    );
}

/// Its configuration, started and reloaded by the lines of the unit, beside real nginx.
#[test]
fn the_lines_of_the_unit_start_reload_and_stop_it() {
    let consul = Consul::start();
    let (blue, front) = (Backend::start("blue"), port::free());
    let scene = Scene::of("systemd", []);
    let folder = scene.job.folder();
    fs::create_dir(folder.path("conf.d")).unwrap();
    fs::create_dir(folder.path("state")).unwrap();
    nginx_conf(folder, front);

    let line = setting("ExecStart").replace(CONFIG, folder.path("liveconf.yaml").to_str().unwrap());
    let arguments: Vec<_> = line.split(' ').skip(1).collect();
    let mut command = scene.job.command(&arguments);
    command.env_remove("LIVECONF_STATE_DIR").env("STATE_DIRECTORY", folder.path("state"));
    // What liveconf.default says, with the addresses of this test.
    command.env("CONSUL_HTTP_ADDR", consul.url()).env("NGINX_CONF_D", folder.path("conf.d"));
    command.env("NGINX_PID_FILE", folder.path("nginx.pid"));
    scene.job.write("conf.d/web-api.conf", "upstream backend { server 127.0.0.1:65535; }\n");
    let _nginx = Nginx::start(folder.root(), front);
    let manager = Manager::at_path();
    command.env("NOTIFY_SOCKET", manager.address());
    let mut daemon = start(command);
    manager.wait_for(1, "READY=1");
    consul.client().register(&instance("blue", blue.port(), &json!({})));
    wait_for_answer(front, "/", 200, "blue");
    daemon.wait_for_log("reloaded");

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
    manager.wait_for(1, "RELOADING=1");
    manager.wait_for(2, "READY=1");
    scene.job.write("liveconf.yaml", "targets: 1\n");
    reload();
    daemon.wait_for_log("not loaded");
    assert!(daemon.is_running());
    assert!(folder.path("state/nginx.json").is_file(), "the record is where systemd says");
    // Within `TimeoutStopSec`.
    daemon.stop();
}
