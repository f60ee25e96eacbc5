//! What Debian has no checker for, or needs none: JSON, YAML, Envoy and Traefik, read by parsers.

use serde_json::{Value, json};

use super::{HOSTILE, Written, services};

const JSON: &str = "{{ <json.service servers={service(name=\"NAME\", status=\"any\")} /> }}\n";

const YAML: &str = "{{ <yaml.service servers={service(name=\"NAME\", status=\"any\")} fields={[\"id\", \"tags\", \"meta\", \"port\"]} /> }}\n";

const ENVOY: &str =
    "{{ <envoy.endpoints cluster=\"NAME\" servers={service(name=\"NAME\", status=\"any\")} meta_weight=\"w\" /> }}\n";

const TRAEFIK: &str = "http:\n  services:\n{{ <traefik.http_service name=\"NAME\" servers={service(name=\"NAME\", status=\"any\")} meta_weight=\"w\" /> }}\n";

fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn json_and_yaml_are_what_was_meant() {
    let (as_json, as_yaml) = (
        Written::of_services(|name, _| JSON.replace("NAME", name)),
        Written::of_services(|name, _| YAML.replace("NAME", name)),
    );
    for (name, _) in services() {
        let read: Value = serde_json::from_str(&as_json.texts[&name]).unwrap();
        let fields = ["id", "tags", "meta", "port"];
        let chosen: Vec<Value> = read
            .as_array()
            .unwrap()
            .iter()
            .map(|instance| fields.iter().map(|field| ((*field).to_owned(), instance[*field].clone())).collect())
            .collect();
        assert_eq!(yaml(&as_yaml.texts[&name]), json!(chosen), "{name}");
        let expected = if name == "empty" { 0 } else { chosen.len() };
        assert_eq!(as_json.texts[&name].lines().count(), expected + 2, "{name}");
    }
    for (number, value) in HOSTILE.iter().enumerate() {
        let read: Value = serde_json::from_str(&as_json.texts[&format!("hostile_{number}")]).unwrap();
        let instance = json!({
            "id": value, "name": value, "node": value, "address": "10.0.0.1", "port": 80, "endpoint": "10.0.0.1:80",
            "tags": [value], "meta": {"note": value, "w": value, *value: "x"}, "weight": 1, "status": "passing",
            "zone": value, "registry": "main",
        });
        assert_eq!(read, json!([instance]), "{value:?}");
    }
}

/// The fields are those of `envoy.config.endpoint.v3.ClusterLoadAssignment` in a `DiscoveryResponse`.
#[test]
fn the_endpoints_of_envoy_are_what_was_meant() {
    let written = Written::of_services(|name, _| ENVOY.replace("NAME", name));
    written.assert_complete();
    let assignment = |name: &str| -> Value {
        let response: Value = serde_json::from_str(&written.texts[name]).unwrap();
        let [assignment] = &response["resources"].as_array().unwrap()[..] else { panic!("{response}") };
        assert_eq!(assignment["@type"], "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment");
        assert_eq!(assignment["cluster_name"], name);
        assignment["endpoints"].clone()
    };
    let endpoint = |address: &str, health: &str, weight: u32| {
        json!({
            "endpoint": {"address": {"socket_address": {"address": address, "port_value": 80}}},
            "health_status": health, "load_balancing_weight": weight,
        })
    };
    let nowhere = |endpoints: Value| json!([{"locality": {}, "lb_endpoints": endpoints}]);
    let first = || endpoint("10.0.0.1", "HEALTHY", 1);
    assert_eq!(assignment("empty"), json!([]));
    assert_eq!(assignment("ill"), nowhere(json!([first(), endpoint("10.0.0.2", "UNHEALTHY", 1)])));
    assert_eq!(assignment("draining"), nowhere(json!([first(), endpoint("10.0.0.2", "DRAINING", 1)])));
    assert_eq!(assignment("weight_0"), nowhere(json!([first(), endpoint("10.0.0.2", "DRAINING", 1)])));
    assert_eq!(assignment("weight_70000"), nowhere(json!([first(), endpoint("10.0.0.2", "HEALTHY", 65535)])));
    assert_eq!(assignment("meta_weight"), nowhere(json!([first(), endpoint("10.0.0.2", "HEALTHY", 5)])));
    let v6 = |address| endpoint(address, "HEALTHY", 1);
    assert_eq!(assignment("v6"), nowhere(json!([v6("fd00::1"), v6("fd00::2")])));
    for (number, value) in HOSTILE.iter().enumerate() {
        let meant = json!([{"locality": {"zone": value}, "lb_endpoints": [first()]}]);
        assert_eq!(assignment(&format!("hostile_{number}")), meant, "{value:?}");
    }
}

#[test]
fn the_service_of_traefik_is_what_was_meant() {
    let written = Written::of_services(|name, _| TRAEFIK.replace("NAME", name));
    written.assert_harmless(|name, text| text.replace(name, "NAME"));
    let server = |url: &str, weight: u32| json!({"url": url, "weight": weight});
    let first = || server("http://10.0.0.1:80", 1);
    for (name, servers) in [
        ("empty", json!([{"url": "http://127.0.0.1:65535"}])),
        ("all_draining", json!([{"url": "http://127.0.0.1:65535"}])),
        ("ill", json!([first()])),
        ("weight_0", json!([first()])),
        ("weight_1000", json!([first(), server("http://10.0.0.2:80", 1000)])),
        ("v6", json!([server("http://[fd00::1]:80", 1), server("http://[fd00::2]:80", 1)])),
    ] {
        let meant = json!({"http": {"services": {name: {"loadBalancer": {"servers": servers}}}}});
        assert_eq!(yaml(&written.texts[name]), meant, "{name}");
    }
}
