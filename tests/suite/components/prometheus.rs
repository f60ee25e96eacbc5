//! Prometheus: `promtool check config` takes every file of targets, and what stands in them is what was meant.

use std::process::Command;

use serde_json::{Value, json};

use super::{HOSTILE, Written, content};
use crate::support::folder::Folder;
use crate::support::process::find;

const FILE_SD: &str = r#"{{ <prometheus.file_sd servers={service(name="NAME", status="any")} labels={ {"team": "shop"} } meta={["note"]} /> }}
"#;

#[test]
fn promtool_takes_what_is_written() {
    let written = Written::of_services(|name, _| FILE_SD.replace("NAME", name));
    written.assert_complete();
    let scene = Folder::new();
    for (name, text) in &written.texts {
        scene.write(format!("{name}.json"), text);
    }
    let files = scene.path("*.json").display().to_string();
    let config = json!({"scrape_configs": [{"job_name": "a", "file_sd_configs": [{"files": [files]}]}]});
    scene.write("prometheus.yml", config.to_string());
    let mut check = Command::new(find("promtool"));
    check.args(["check", "config"]).arg(scene.path("prometheus.yml"));
    content(check);

    let targets = |name: &str| serde_json::from_str::<Value>(&written.texts[name]).unwrap();
    assert_eq!(targets("empty"), json!([]));
    let endpoints = |name: &str| -> Vec<Value> {
        targets(name).as_array().unwrap().iter().map(|target| target["targets"][0].clone()).collect()
    };
    assert_eq!(endpoints("ill"), ["10.0.0.1:80", "10.0.0.2:80"]);
    assert_eq!(endpoints("v6"), ["[fd00::1]:80", "[fd00::2]:80"]);
    for (number, value) in HOSTILE.iter().enumerate() {
        let labels = json!({
            "team": "shop", "service": value, "node": value, "zone": value, "note": value,
            "__meta_liveconf_id": value, "__meta_liveconf_status": "passing", "__meta_liveconf_weight": "1",
            "__meta_liveconf_tags": format!(",{value},"),
        });
        let meant = json!([{"targets": ["10.0.0.1:80"], "labels": labels}]);
        assert_eq!(targets(&format!("hostile_{number}")), meant, "{value:?}");
    }
}
