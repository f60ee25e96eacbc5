//! nginx: `nginx -t` takes all that is written, and a running nginx says what it made of it.

use std::path::Path;
use std::process::Command;

use super::{Written, content, entries};
use crate::support::folder::Folder;
use crate::support::liveconf::Job;
use crate::support::nginx::Nginx;
use crate::support::process::find;
use crate::support::{http, port};

/// Debian has it in a package of its own.
const STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

const UPSTREAM: &str = r#"{{ <nginx.upstream name="up_NAME" servers={service(name="NAME", status="any")} keepalive={4} zone_size="64k"
  prefer_zone="a" options={["least_conn"]} parameters="max_fails=2" meta_weight="w" /> }}
"#;

const STREAMED: &str = r#"{{ <nginx.stream name="stream_NAME" listen="unix:SOCKETS/NAME" servers={service(name="NAME")} options={["proxy_timeout 10m"]}
  upstream_options={["hash $remote_addr"]} /> }}
"#;

const MAP: &str = r#"{{ <nginx.map source="$http_key" variable="$map_NAME" entries={ENTRIES} default="none" hostnames={false} /> }}
"#;

const SPLIT: &str = r#"{{ <nginx.split_clients source="$remote_addr" variable="$split_NAME" entries={ENTRIES} rest="stable" /> }}
"#;

/// Whether `nginx.map` takes a value: a `$` would be a variable, and a control character a line.
fn is_plain(text: &str) -> bool {
    !text.contains(|c: char| c.is_control())
}

#[test]
fn nginx_takes_what_is_written() {
    assert!(Path::new(STREAM).is_file(), "the stream module of nginx is not installed: run .ci/setup");
    let scene = Folder::new();
    let sockets = scene.root().display().to_string();
    let upstreams = Written::of_services(|name, _| UPSTREAM.replace("NAME", name));
    let streams = Written::of_services(|name, _| STREAMED.replace("NAME", name).replace("SOCKETS", &sockets));
    let maps = Written::of_entries(|name, _| MAP.replace("NAME", name));
    let splits = Written::of_entries(|name, _| SPLIT.replace("NAME", name));

    upstreams.assert_harmless(|name, text| {
        text.replace(&format!("_{name} "), "_NAME ")
            .replace(&format!("_{name};"), "_NAME;")
            .replace(&format!("/{name};"), "/NAME;")
    });
    streams.assert_harmless(|name, text| {
        text.replace(&format!("_{name} "), "_NAME ")
            .replace(&format!("_{name};"), "_NAME;")
            .replace(&format!("/{name};"), "/NAME;")
    });
    let servers = |name: &str| -> Vec<&str> {
        let lines = upstreams.texts[name].lines().map(str::trim);
        lines.filter_map(|line| line.strip_prefix("server ")?.strip_suffix(" max_fails=2;")).collect()
    };
    for (name, expected) in [
        ("two", &["10.0.0.1:80 weight=1", "10.0.0.2:80 weight=1 backup"][..]),
        ("ill", &["10.0.0.1:80 weight=1", "10.0.0.2:80 down"]),
        ("warning", &["10.0.0.1:80 weight=1"]),
        ("all_draining", &["10.0.0.2:80 down"]),
        ("weight_0", &["10.0.0.1:80 weight=1", "10.0.0.2:80 down"]),
        ("weight_1000", &["10.0.0.1:80 weight=1", "10.0.0.2:80 weight=1000"]),
        ("weight_70000", &["10.0.0.1:80 weight=1", "10.0.0.2:80 weight=65535"]),
        ("meta_weight", &["10.0.0.1:80 weight=1", "10.0.0.2:80 weight=5"]),
        ("v6", &["[fd00::1]:80 weight=1", "[fd00::2]:80 weight=1"]),
        ("empty", &[]),
    ] {
        assert_eq!(servers(name), expected, "{name}");
    }
    for (name, pairs) in entries() {
        let good = pairs.iter().all(|(key, value)| is_plain(key) && is_plain(value) && !value.contains('$'));
        assert_eq!(maps.texts.contains_key(&name), good, "map {name}: {pairs:?}");
    }
    assert_eq!(splits.texts.keys().collect::<Vec<_>>(), ["none", "percent"]);

    let port = port::free();
    let locations: String = maps.texts.keys().map(|name| answer(&format!("map_{name}"))).collect();
    let split = answer("split_percent") + &answer("split_none");
    let proxied = ["empty", "all_ill", "all_draining", "all_weight_0"]
        .map(|name| format!("location = /up_{name} {{ proxy_pass http://up_{name}; }}\n"))
        .concat();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|of| format!("{of}_temp_path {sockets}/temporary;\n"))
        .concat();
    let include = |written: &Written| format!("include {}/*;", written.folder().display());
    scene.write(
        "nginx.conf",
        format!(
            "load_module {STREAM};\npid {sockets}/nginx.pid;\nerror_log {sockets}/error.log;\nevents {{}}\nhttp {{\n\
             access_log off;\nmap_hash_bucket_size 1024;\n{temporary}{}\n{}\n{}\nserver {{ listen 127.0.0.1:{port};\n\
             location = / {{ return 200 ok; }}\n{locations}{split}{proxied}}}\n}}\nstream {{\n{}\n}}\n",
            include(&upstreams),
            include(&maps),
            include(&splits),
            include(&streams),
        ),
    );
    let mut check = Command::new(find("nginx"));
    check.args(["-t", "-q", "-p"]).arg(scene.root()).arg("-c").arg(scene.path("nginx.conf"));
    content(check);

    let _nginx = Nginx::start(scene.root(), port);
    let ask = |path: &str, key: &str| http::request(port, "GET", path, b"", &[("Key", key)]).unwrap();
    let mut asked = 0;
    for (name, pairs) in entries().iter().filter(|(name, _)| maps.texts.contains_key(name)) {
        for (key, value) in pairs {
            let (status, body) = ask(&format!("/map_{name}"), key);
            assert_eq!((status, String::from_utf8(body).unwrap()), (200, format!("[{value}]")), "{name}: {key:?}");
            asked += 1;
        }
        assert_eq!(ask(&format!("/map_{name}"), "nobody has this key").1, b"[none]", "{name}");
    }
    assert!(asked > 30, "{asked}");
    assert_eq!(ask("/split_none", "").1, b"[stable]");
    for name in ["empty", "all_ill", "all_draining", "all_weight_0"] {
        assert_eq!(ask(&format!("/up_{name}"), "").0, 502, "{name}");
    }
}

/// A location that answers with the value of a variable of its name.
fn answer(variable: &str) -> String {
    format!("location = /{variable} {{ return 200 \"[${variable}]\"; }}\n")
}

/// The whole of it: a service, a component, a check by nginx, and the file.
#[test]
fn a_run_with_a_check_by_nginx() {
    let job = Job::new(
        "registries: {main: {file: {path: registry.yaml}}}
targets:
  nginx:
    templates: [{src: in.tera, dest: upstreams.conf}]
    check:
      command: [nginx, -t, -q, -c, '{wrapper}']
      wrapper: 'pid /dev/null; error_log stderr; events {} http { access_log off; include {staged}; }'
",
    )
    .with("registry.yaml", "services: {web: ['10.0.0.1:80', '[fd00::1]:80'], none: []}\n");
    let template = |options: &str| {
        format!(
            "{{{{ <nginx.upstream name=\"web\" servers={{service(name=\"web\")}} options={{[{options}]}} /> }}}}\n\
             {{{{ <nginx.upstream name=\"none\" servers={{service(name=\"none\")}} /> }}}}\n"
        )
    };
    job.write("in.tera", template("\"least_conn\""));
    job.run(&["once"]).assert_code(0);
    let expected = "upstream web {\n    least_conn;\n    server 10.0.0.1:80 weight=1;\n    server [fd00::1]:80 weight=1;\n}\n\
                    upstream none {\n    server 127.0.0.1:65535 down; # no instances\n}\n";
    assert_eq!(job.read("upstreams.conf").as_deref(), Some(expected));
    // What the author of the template gets wrong is for nginx to find, or ends nothing.
    job.write("in.tera", template("\"least_con\""));
    job.run(&["once"]).assert_code(1).assert_says(&["check `nginx` refuses the files"]);
    job.write("in.tera", template("\"least_conn; } server { listen 6666\""));
    job.run(&["once"]).assert_code(1).assert_says(&["`directive` refuses"]);
    assert_eq!(job.read("upstreams.conf").as_deref(), Some(expected));
}
