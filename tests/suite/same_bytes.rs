//! One template gives the same bytes from a file, from etcd and from Consul that hold the same data.

use serde_json::{Value, json};

use crate::support::consul::Consul;
use crate::support::etcd::Etcd;
use crate::support::liveconf::Job;

/// Keys, with what each kind of registry could read in its own way: numbers, dates, truth values, lines, empty text.
const KEYS: &[(&str, &str)] = &[
    ("app/db/host", "db.local"),
    ("app/db/port", "5432"),
    ("app/flags", r#"{"big": 12345678901234567890123, "debug": false, "ratio": 1.10, "tags": ["b", "a"]}"#),
    ("app/mode", "0644"),
    ("app/names", "b.example, a.example,, b.example"),
    ("app/nothing", ""),
    ("app/on", "Yes"),
    ("app/pem", "-----BEGIN-----\nabc\n-----END-----"),
    ("app/since", "2026-03-29T02:30:00"),
    ("app/table", "host,port\nw10,\"8\"\"0\"\nw9,81"),
    ("app/text", "ünï {{ code }} {% x %} $HOME \\ \" '"),
    ("app/version", "1.10"),
    ("apple", "no"),
    ("sites/shop", "own"),
    ("sites/shop/port", "8080"),
    ("sites/blog/port", "8081"),
    ("sites/blog/backends/b10", "10.0.0.10:80"),
    ("sites/blog/backends/b9", "10.0.0.9:80"),
];

/// Asks for about everything that all three can answer, and takes most filters by the hand.
const TEMPLATE: &str = r#"{% component server(i) %}
server {{ i.id | token }} {{ i.endpoint }} weight {{ i | weight(meta="w") }};
{% endcomponent server %}
{% for e in prefix(path="app") %}{% if e.key not in ["pem", "table"] %}{{ e.key }}={{ e.value | quote }} {{ e.path }}
{% endif %}{% endfor %}
{{ key(path="app/pem") }}
{{ key(path="app/nothing", default="d") | quote }} {{ key(path="app/none", default="d") }} {{ key(path="app/none") or "e" }}
{{ exists(path="app") }} {{ exists(path="app/db") }} {{ exists(path="ap") }} {{ key(path="app/text", base64=true) }}
{{ ls(path="sites") }} {{ ls(path="sites", kind="folders") }} {{ ls(path="/", kind="keys") }} {{ ls(path="none") }}
{{ tree(path="sites") | to_json }}
{{ prefix(path="sites", glob="*/port", min=2) | map(attribute="key") }}
{% set flags = key(path="app/flags") | from_json %}
{{ flags.big }} {{ flags.debug }} {{ flags | to_json }} {{ flags?.none?.more or "-" }}
{{ flags | to_yaml(sorted=true) }}
{{ flags | without(keys=["big"]) | to_toml }}
{{ key(path="app/names") | split_list | unique | sort | join(sep=" ") }} {{ key(path="app/on") | to_bool }}
{{ key(path="app/table") | from_csv | natural_sort(attribute="host") | to_csv(sep=";") }}
{{ key(path="app/since") | from_date(timezone="Europe/Berlin") | to_date }} {{ key(path="app/mode") | int(base=8) }}
{{ key(path="app/version") | semver_compare(with="1.9") }} {{ key(path="app/db/port") | to_int + 1 }} {{ key(path="app/text") | sha256 }}
{% for name in services() | where_not(attribute="name", value="consul") | map(attribute="name") %}
[{{ name }}] {{ loop.index }}/{{ loop.length }}
{% for i in service(name=name, status="any") %}
{{ <server i={i} /> }}
{{ i | to_json }}
{% endfor %}
{% endfor %}
{{ services(tag="blue") | map(attribute="name") }} {{ services() | where(attribute="tags", value="v2") | map(attribute="name") }}
{% for i in service(name="web", tag=["blue", "v=1"], min=1) %}{{ i.id }}{% if not loop.last %},{% endif %}{% else %}none{% endfor %}
{% for zone, list in service(name="web", status=["passing", "warning"]) | group_by(attribute="zone") %}
{{ zone | default(value="-", boolean=true) }}: {{ list | sort_by(attribute=["weight", "id"], reverse=true) | map(attribute="id") | join(sep=" ") }}
{% endfor %}
{{ service(name="web", status="any") | partition(attribute="status", value=["passing", "warning"]) | get(key="others") | map(attribute="status") }}
{{ service(name="web", status="any") | pick(n=2, seed="host-1") | map(attribute="id") }} {{ service(name="web") | sum(attribute="weight") }}
{{ service(name="web") | ip_sort(attribute="address") | map(attribute="address") }} {{ service(name="web") | map(attribute="tags") | flatten | split_map }}
{{ <nginx.upstream name="web" servers={service(name="web", status="any")} /> }}
{% for i in service(name="gone") %}{{ i.id }}{% else %}
server 127.0.0.1:1;
{% endfor %}
"#;

/// The instances as JSON, the way a file and etcd hold them; the weight is that of the status.
fn instances() -> Vec<(&'static str, Value)> {
    let instance = |id: &str, address: &str, port: u16, status: &str, weight: u16, tags: &[&str], meta: &Value| {
        json!({"id": id, "node": format!("node-{id}"), "address": address, "port": port, "status": status,
               "weight": weight, "tags": tags, "meta": meta})
    };
    let web = |id, address, status, weight, tags: &[&str], meta: Value| {
        ("web", instance(id, address, 80, status, weight, tags, &meta))
    };
    vec![
        web("w10", "10.0.0.10", "passing", 5, &["v=1", "blue"], json!({"zone": "z1", "w": "7"})),
        web("w9", "10.0.0.9", "passing", 3, &["green"], json!({"zone": "z2"})),
        web("w6", "fd00::6", "warning", 2, &["blue", "v2"], json!({"zone": "z1", "note": "a;b \"c\""})),
        web("w1", "10.0.0.1", "critical", 1, &[], json!({})),
        ("mail", instance("m1", "10.0.1.1", 25, "passing", 1, &["v=1"], &json!({"w": "many"}))),
    ]
}

fn rendered(registry: &str, job: impl FnOnce(Job) -> Job) -> String {
    let config = format!(
        "registries: {{main: {{{registry}}}}}\ntargets: {{all: {{templates: [{{src: all.tera, dest: all.conf}}]}}}}\n"
    );
    let job = job(Job::new(&config).with("all.tera", TEMPLATE));
    job.run(&["once"]).assert_code(0);
    job.read("all.conf").unwrap()
}

fn from_a_file() -> String {
    let mut registry = serde_json::Map::new();
    for (key, value) in KEYS {
        registry.insert((*key).to_owned(), json!(value));
    }
    // A key that is a folder too.
    let own = registry.remove("sites/shop").unwrap();
    registry.insert("sites".into(), json!({"shop": {"": own}}));
    let mut services = serde_json::Map::new();
    for (service, instance) in instances() {
        services.entry(service).or_insert_with(|| json!([])).as_array_mut().unwrap().push(instance);
    }
    registry.insert("services".into(), Value::Object(services));
    rendered("file: {path: registry.json}", |job| job.with("registry.json", Value::Object(registry).to_string()))
}

fn from_etcd() -> String {
    let etcd = Etcd::start();
    let client = etcd.client();
    for (key, value) in KEYS {
        client.put(&format!("/{key}"), value);
    }
    for (service, instance) in instances() {
        client.put(&format!("/services/{service}/{}", instance["id"].as_str().unwrap()), instance.to_string());
    }
    rendered(&format!("etcd: {}", etcd.section()), |job| job)
}

fn from_consul() -> String {
    let consul = Consul::start();
    let client = consul.client();
    for (key, value) in KEYS {
        client.put(key, value);
    }
    for (service, instance) in instances() {
        let weight = &instance["weight"];
        client.catalog_register(&json!({
            "Node": instance["node"], "Address": "10.9.9.9", "SkipNodeUpdate": true,
            "Service": {"ID": instance["id"], "Service": service, "Address": instance["address"], "Port": instance["port"],
                "Tags": instance["tags"], "Meta": instance["meta"], "Weights": {"Passing": weight, "Warning": weight}},
            "Check": {"Node": instance["node"], "CheckID": format!("check-{}", instance["id"]), "Name": "alive",
                "Status": instance["status"], "ServiceID": instance["id"]},
        }));
    }
    rendered(&format!("consul: {}", consul.section()), |job| job)
}

#[test]
fn a_file_etcd_and_consul_give_the_same_bytes() {
    let file = from_a_file();
    assert_eq!(file, include_str!("same_bytes.txt"), "from a file");
    assert_eq!(from_etcd(), file, "from etcd");
    assert_eq!(from_consul(), file, "from Consul");
}
