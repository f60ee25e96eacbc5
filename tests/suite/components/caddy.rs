//! Caddy: `caddy adapt --validate` takes all that is written, and says which upstreams it read.

use std::process::Command;

use serde_json::Value;

use super::{Written, content, serving};
use crate::support::folder::Folder;
use crate::support::process::find;

const PROXY: &str = r#"http://SITE.test:8080 {
{{ <caddy.reverse_proxy servers={service(name="NAME", status="any")} options={["lb_policy least_conn", "header_up Host {upstream_hostport}"]} meta_weight="w" /> }}
}
"#;

fn site(name: &str) -> String {
    name.replace('_', "-")
}

#[test]
fn caddy_takes_what_is_written() {
    let written = Written::of_services(|name, _| PROXY.replace("SITE", &site(name)).replace("NAME", name));
    written.assert_harmless(|_, text| text.split_once('\n').unwrap().1.to_owned());
    let scene = Folder::new();
    let sites: String = written.texts.values().map(String::as_str).collect();
    scene.write("Caddyfile", format!("{{\n\tadmin off\n\tauto_https off\n}}\n{sites}"));
    let mut adapt = Command::new(find("caddy"));
    adapt.args(["adapt", "--validate", "--adapter", "caddyfile", "--config"]).arg(scene.path("Caddyfile"));
    adapt.env("HOME", scene.root()).env_remove("XDG_DATA_HOME").env_remove("XDG_CONFIG_HOME");
    let adapted: Value = serde_json::from_slice(&content(adapt).stdout).unwrap();
    let routes = adapted["apps"]["http"]["servers"]["srv0"]["routes"].as_array().unwrap();
    assert_eq!(routes.len(), written.texts.len());
    for name in written.texts.keys() {
        let host = format!("{}.test", site(name));
        let route = routes.iter().find(|route| route["match"][0]["host"][0] == host.as_str()).expect(name);
        let handler = route["handle"][0]["routes"][0]["handle"][0].clone();
        assert_eq!(handler["handler"], "reverse_proxy", "{name}");
        let dials: Vec<&str> = handler["upstreams"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|upstream| upstream["dial"].as_str().unwrap())
            .collect();
        let meant: Vec<String> = match name.as_str() {
            "twins" => vec!["10.0.0.1:80".into(); 2],
            "v6" => serving(name).iter().map(|address| format!("[{address}]:80")).collect(),
            _ => serving(name).iter().map(|address| format!("{address}:80")).collect(),
        };
        assert_eq!(dials, meant, "{name}");
    }
}
