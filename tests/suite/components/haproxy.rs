//! HAProxy: `haproxy -c` takes all that is written, and a running HAProxy says what it made of it.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use super::{Written, content, entries};
use crate::support::folder::Folder;
use crate::support::haproxy::{Haproxy, ask, servers};
use crate::support::liveconf::Job;
use crate::support::port;
use crate::support::process::find;

const BACKEND: &str = r#"{{ <haproxy.backend name="be_NAME" servers={service(name="NAME", status="any")} options={["balance leastconn"]}
  parameters="maxconn 9" prefer_zone="a" meta_weight="w" /> }}
"#;

const SLOTS: &str = r#"backend slots_NAME
{{ <haproxy.slots slots={3} servers={service(name="NAME", status="any")} meta_weight="w" /> }}
"#;

const MAP: &str = "{{ <haproxy.map entries={ENTRIES} /> }}\n";

const ACL: &str = "{{ <haproxy.acl patterns={ENTRIES | map(attribute=\"value\")} /> }}\n";

fn is_pattern(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('#') && text.trim() == text && !text.contains(|c: char| c.is_control())
}

/// What the socket says of a map or a list, without the address in memory that each line begins with.
fn shown(scene: &Folder, what: &str) -> Vec<String> {
    let answer = ask(&scene.path("admin.sock"), what).unwrap();
    let lines = answer.lines().filter_map(|line| line.split_once(' '));
    lines.map(|(_, rest)| rest.to_owned()).collect()
}

#[test]
fn haproxy_takes_what_is_written() {
    let scene = Folder::new();
    let backends = Written::of_services(|name, _| BACKEND.replace("NAME", name));
    let slots = Written::of_services(|name, _| SLOTS.replace("NAME", name));
    let maps = Written::of_entries(|_, _| MAP.to_owned());
    let lists = Written::of_entries(|_, _| ACL.to_owned());

    for written in [&backends, &slots] {
        written.assert_harmless(|name, text| text.replacen(&format!("_{name}\n"), "_NAME\n", 1));
    }
    let lines = |name: &str| -> Vec<&str> { backends.texts[name].lines().skip(2).map(str::trim).collect() };
    for (name, expected) in [
        ("empty", &[][..]),
        (
            "two",
            &[
                "server 10.0.0.1:80 10.0.0.1:80 weight 1 maxconn 9",
                "server 10.0.0.2:80 10.0.0.2:80 weight 1 backup maxconn 9",
            ],
        ),
        ("all_ill", &["server 10.0.0.2:80 10.0.0.2:80 weight 1 disabled maxconn 9"]),
        ("all_draining", &["server 10.0.0.2:80 10.0.0.2:80 weight 0 maxconn 9"]),
        ("all_weight_0", &["server 10.0.0.2:80 10.0.0.2:80 weight 0 maxconn 9"]),
    ] {
        assert_eq!(lines(name), expected, "{name}");
    }
    for (name, pairs) in entries() {
        let words = pairs.iter().all(|(key, _)| is_pattern(key) && !key.contains(' '));
        let patterns = pairs.iter().all(|(_, value)| is_pattern(value));
        assert_eq!(maps.texts.contains_key(&name), words && patterns, "map {name}: {pairs:?}");
        assert_eq!(lists.texts.contains_key(&name), patterns, "list {name}: {pairs:?}");
    }

    let port = port::free();
    let mut config = format!(
        "global\n    stats socket {} level admin\ndefaults\n    mode http\n    timeout connect 1s\n    timeout client 1s\n    \
         timeout server 1s\nfrontend main\n    bind 127.0.0.1:{port}\n    http-request return status 200 if {{ path / }}\n",
        scene.path("admin.sock").display()
    );
    for name in maps.texts.keys() {
        let file = maps.folder().join(name);
        writeln!(config, "    http-request set-header x-map %[req.hdr(key),map({})]", file.display()).unwrap();
    }
    for name in lists.texts.keys() {
        let file = lists.folder().join(name);
        writeln!(config, "    acl listed req.hdr(key) -f {}", file.display()).unwrap();
    }
    config.extend(backends.texts.values().chain(slots.texts.values()).map(String::as_str));
    scene.write("haproxy.cfg", config);
    let mut check = Command::new(find("haproxy"));
    check.args(["-c", "-q", "-f"]).arg(scene.path("haproxy.cfg"));
    let said = String::from_utf8(content(check).stderr).unwrap();
    assert_eq!(said, "", "HAProxy has something to say");

    let _haproxy = Haproxy::start(scene.root(), port);
    let mut compared = 0;
    for (name, pairs) in entries() {
        if maps.texts.contains_key(&name) {
            let meant: Vec<String> = pairs.iter().map(|(key, value)| format!("{key} {value}")).collect();
            let file = maps.folder().join(&name);
            assert_eq!(shown(&scene, &format!("show map {}", file.display())), meant, "{name}");
            compared += meant.len();
        }
        if lists.texts.contains_key(&name) {
            let meant: Vec<String> = pairs.iter().map(|(_, value)| value.clone()).collect();
            let file = lists.folder().join(&name);
            assert_eq!(shown(&scene, &format!("show acl {}", file.display())), meant, "{name}");
            compared += meant.len();
        }
    }
    assert!(compared > 40, "{compared}");
    let of = |section: &str| -> Vec<String> {
        let known = servers(&scene.path("admin.sock"), section);
        known.into_iter().map(|(name, state)| format!("{name} = {state}")).collect()
    };
    assert_eq!(of("be_weight_1000"), ["10.0.0.1:80 = 10.0.0.1:80 1 0", "10.0.0.2:80 = 10.0.0.2:80 256 0"]);
    assert_eq!(of("be_v6"), ["fd00::1:80 = fd00::1:80 1 0", "fd00::2:80 = fd00::2:80 1 0"]);
    assert_eq!(of("slots_ill"), ["srv1 = 10.0.0.1:80 1 0", "srv2 = 10.0.0.2:80 1 5", "srv3 = 127.0.0.1:65535 1 5"]);
    assert!(fs::metadata(scene.path("admin.sock")).is_ok());
}

/// The whole of it: a service, a component, a check by HAProxy, and the file.
#[test]
fn a_run_with_a_check_by_haproxy() {
    let job = Job::new(
        "registries: {main: {file: {path: registry.yaml}}}
targets:
  haproxy:
    templates: [{src: in.tera, dest: haproxy.cfg}, {src: map.tera, dest: routes.map}]
    check: [haproxy, -c, -q, -f, '{staged:haproxy.cfg}']
",
    )
    .with(
        "registry.yaml",
        "services:\n  web: [{address: 10.0.0.1, port: 80, status: critical}, '[fd00::1]:80']\nroutes: {a.example: web}\n",
    )
    .with("map.tera", "{{ <haproxy.map entries={prefix(path=\"routes\")} /> }}\n");
    let head = format!(
        "defaults\n    timeout connect 1s\n    timeout client 1s\n    timeout server 1s\nfrontend main\n    bind \
         127.0.0.1:{}\n",
        port::free()
    );
    let template = |options: &str| {
        let backend =
            r#"{{ <haproxy.backend name="web" servers={service(name="web", status="any")} options={[OPTIONS]} /> }}"#;
        format!("{head}{}\n", backend.replace("OPTIONS", options))
    };
    job.write("in.tera", template("\"balance leastconn\""));
    job.run(&["once"]).assert_code(0);
    let expected = format!(
        "{head}backend web\n    balance leastconn\n    server 10.0.0.1:80 10.0.0.1:80 weight 1 disabled\n    \
         server fd00::1:80 [fd00::1]:80 weight 1\n"
    );
    assert_eq!(job.read("haproxy.cfg").as_ref(), Some(&expected));
    assert_eq!(job.read("routes.map").as_deref(), Some("a.example web\n"));
    job.write("in.tera", template("\"balance leastcon\""));
    job.run(&["once"]).assert_code(1).assert_says(&["check `haproxy` refuses the files"]);
    assert_eq!(job.read("haproxy.cfg").as_ref(), Some(&expected));
}
