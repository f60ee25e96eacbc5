//! Every built-in component on a table of services: an ordinary one, an empty one, instances that are ill, that drain, that
//! have odd weights, and that are hostile. What is written goes to the program itself where Debian has it, all of it
//! in one run, and what the program understood is held against what was meant.

mod caddy;
mod data;
mod dnsmasq;
mod environment;
mod haproxy;
mod keepalived;
mod nginx;
mod pgbouncer;
mod prometheus;
mod systemd;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::{Map, Value, json};

use crate::support::folder::Folder;
use crate::support::liveconf::Job;

/// What every hostile value holds.
const MARK: &str = "evil";

/// Values that mean more than themselves in one format or another.
const HOSTILE: [&str; 24] = [
    "evil\n    server 10.6.6.6:66;",
    "evil\r\nbind 10.6.6.6:66",
    "evil; } server { listen 6666; } upstream z { server 10.6.6.6:66",
    "evil;",
    "evil}",
    "}evil",
    "{evil",
    "{{ evil }}",
    "{% evil %}",
    "\"evil",
    "evil\", \"labels\": {\"a\": \"b",
    "'evil",
    "evil' host='10.6.6.6",
    "#evil",
    "evil # more",
    "$evil",
    "${evil}",
    "`evil`$(evil)",
    "%[env(evil)] %%i",
    "evil\\",
    "\\nevil\\x41",
    "~^evil",
    "-evil: [*a, &b] !!c",
    "evil two  words",
];

/// The services: the name of each, and its instances.
fn services() -> Vec<(String, Value)> {
    let at = |address: &str| json!({"id": address, "address": address, "port": 80});
    let with = |address: &str, field: &str, value: Value| {
        let mut instance = at(address);
        instance[field] = value;
        instance
    };
    let mut services: Vec<(String, Value)> = [
        ("empty", json!([])),
        ("one", json!([at("10.0.0.1")])),
        ("two", json!([with("10.0.0.1", "zone", json!("a")), with("10.0.0.2", "zone", json!("b"))])),
        ("ill", json!([at("10.0.0.1"), with("10.0.0.2", "status", json!("critical"))])),
        ("all_ill", json!([with("10.0.0.2", "status", json!("critical"))])),
        ("warning", json!([with("10.0.0.1", "status", json!("warning"))])),
        ("draining", json!([at("10.0.0.1"), with("10.0.0.2", "status", json!("maintenance"))])),
        ("all_draining", json!([with("10.0.0.2", "status", json!("maintenance"))])),
        ("weight_0", json!([at("10.0.0.1"), with("10.0.0.2", "weight", json!(0))])),
        ("all_weight_0", json!([with("10.0.0.2", "weight", json!(0))])),
        ("weight_1000", json!([at("10.0.0.1"), with("10.0.0.2", "weight", json!(1000))])),
        ("weight_70000", json!([at("10.0.0.1"), with("10.0.0.2", "weight", json!(70000))])),
        ("meta_weight", json!([at("10.0.0.1"), with("10.0.0.2", "meta", json!({"w": "5"}))])),
        ("twins", json!([at("10.0.0.1"), with("10.0.0.1", "id", json!("twin"))])),
        ("long", json!([with("10.0.0.1", "id", json!("x".repeat(300)))])),
    ]
    .map(|(name, instances)| (name.to_owned(), instances))
    .into();
    services.push(("v6".into(), json!([at("fd00::1"), at("fd00::2")])));
    services.push(("address_long".into(), json!([at(&"x".repeat(300))])));
    for (number, value) in HOSTILE.iter().enumerate() {
        let texts = json!({
            "id": value, "name": value, "node": value, "zone": value, "tags": [value], "address": "10.0.0.1", "port": 80,
            "meta": {"w": value, "note": value, *value: "x"},
        });
        services.push((format!("hostile_{number}"), json!([texts])));
        services.push((format!("address_{number}"), json!([at(value)])));
    }
    services
}

/// The addresses of a service that take requests now.
fn serving(service: &str) -> &'static [&'static str] {
    match service {
        "empty" | "all_ill" | "all_draining" | "all_weight_0" => &[],
        "two" | "weight_1000" | "weight_70000" | "meta_weight" => &["10.0.0.1", "10.0.0.2"],
        "v6" => &["fd00::1", "fd00::2"],
        name if name.starts_with("address_") => &[],
        _ => &["10.0.0.1"],
    }
}

/// Keys with values, by a name for each: ordinary ones, none, and hostile ones on either side.
fn entries() -> Vec<(String, Vec<(String, String)>)> {
    let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
    let long = "x".repeat(300);
    let mut entries = vec![
        ("some".to_owned(), pairs(&[("db/host", "db.internal"), ("log-level", "info")])),
        ("none".to_owned(), pairs(&[])),
        ("words".to_owned(), pairs(&[("default", "include"), ("hostnames", "volatile"), ("include", "default")])),
        ("long".to_owned(), pairs(&[(&long, &long)])),
        ("blank".to_owned(), pairs(&[("blank", "")])),
        ("percent".to_owned(), pairs(&[("a", "5"), ("b", "0.25"), ("c", "0")])),
        ("too_much".to_owned(), pairs(&[("a", "60"), ("b", "50")])),
        ("same".to_owned(), pairs(&[("a/b", "1"), ("a_b", "2")])),
    ];
    for (number, value) in HOSTILE.iter().enumerate() {
        entries.push((format!("key_{number}"), pairs(&[(value, "value")])));
        entries.push((format!("value_{number}"), pairs(&[("key", value)])));
    }
    entries
}

/// What a component wrote for each case of a table, by its name.
struct Written {
    job: Job,
    texts: BTreeMap<String, String>,
}

impl Written {
    /// Renders a template for each service, with all of its instances, in one run. `template` gets a name and a number.
    fn of_services(template: impl Fn(&str, usize) -> String) -> Self {
        let services = services();
        let names: Vec<String> = services.iter().map(|(name, _)| name.clone()).collect();
        Self::render(&json!({"services": Map::from_iter(services)}), names, template)
    }

    /// Renders a template for each list of entries, which it finds in `ENTRIES`.
    fn of_entries(template: impl Fn(&str, usize) -> String) -> Self {
        let list = |pairs: &[(String, String)]| {
            let maps: Vec<Value> = pairs.iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
            Value::from(json!(maps).to_string())
        };
        let lists: Map<String, Value> = entries().iter().map(|(name, pairs)| (name.clone(), list(pairs))).collect();
        let names = lists.keys().cloned().collect();
        Self::render(&json!({"lists": lists}), names, |name, number| {
            let entries = format!("key(path=\"lists/{name}\") | from_json");
            template(name, number).replace("ENTRIES", &entries)
        })
    }

    fn render(registry: &Value, names: Vec<String>, template: impl Fn(&str, usize) -> String) -> Self {
        let target = |(number, name): (usize, &String)| {
            let file = json!({"content": template(name, number), "dest": format!("out/{name}"), "create_dirs": true});
            (name.clone(), json!({"templates": [file]}))
        };
        let targets: Map<String, Value> = names.iter().enumerate().map(target).collect();
        let config = json!({"registries": {"main": {"file": {"path": "registry.json"}}}, "targets": targets});
        let job = Job::of(Folder::in_memory()).with("liveconf.yaml", config.to_string());
        let job = job.with("registry.json", registry.to_string());
        let output = job.run(&["once"]);
        assert!(!output.stderr.contains(MARK), "a value is shown: {}", output.stderr);
        let read = |name: String| job.read(&format!("out/{name}")).map(|text| (name, text));
        let texts: BTreeMap<String, String> = names.into_iter().filter_map(read).collect();
        assert!(output.code <= 1 && !texts.is_empty(), "{}", output.stderr);
        Self { job, texts }
    }

    /// The folder in which what was written lies, each under its name.
    fn folder(&self) -> PathBuf {
        self.job.folder().path("out")
    }

    /// Fails unless every service of which no address is hostile was rendered; hostile texts beside a good address lead to
    /// what the same address leads to without them; and where an address is hostile the render failed, or the registry
    /// left the instance out. `plain` takes out of a text what depends on the name of the service.
    fn assert_harmless(&self, plain: impl Fn(&str, &str) -> String) {
        self.assert_complete();
        let plain = |name: &str| self.texts.get(name).map(|text| plain(name, text));
        for (number, value) in HOSTILE.iter().enumerate() {
            assert_eq!(plain(&format!("hostile_{number}")), plain("one"), "{value:?}");
        }
        for (name, instances) in services().iter().filter(|(name, _)| name.starts_with("address_")) {
            let written = plain(name);
            assert!(written.is_none() || written == plain("empty"), "{instances}: {written:?}");
        }
    }

    /// Fails unless every service of which no address is hostile was rendered.
    fn assert_complete(&self) {
        for (name, _) in services().iter().filter(|(name, _)| !name.starts_with("address_")) {
            assert!(self.texts.contains_key(name), "{name}");
        }
    }
}

/// Runs a checker to its end; fails unless it is content.
#[track_caller]
fn content(mut command: Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}{}", String::from_utf8_lossy(&output.stdout));
    output
}
