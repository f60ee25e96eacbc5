//! What the health part of the API answers.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::catalog::NodeRow;
use crate::registry::instance::{read_address, sort_by_service};
use crate::registry::{Instance, Node, NodeServices, Status};

/// One element of `GET /v1/health/service/NAME`
/// (<https://developer.hashicorp.com/consul/api-docs/health#list-service-instances-for-service>).
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    node: NodeRow,
    service: ServiceRow,
    checks: Option<Vec<CheckRow>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ServiceRow {
    #[serde(rename = "ID")]
    id: String,
    service: String,
    tags: Option<Vec<String>>,
    #[serde(default)]
    address: String,
    meta: Option<BTreeMap<String, String>>,
    #[serde(default)]
    port: i64,
    weights: Option<Weights>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Weights {
    #[serde(default)]
    passing: i64,
    #[serde(default)]
    warning: i64,
}

/// Output, notes and definition are not read: they change without a change of health.
#[derive(Deserialize)]
struct CheckRow {
    #[serde(rename = "CheckID")]
    id: String,
    #[serde(rename = "Status")]
    status: String,
    /// Empty for a check of the node.
    #[serde(rename = "ServiceID", default)]
    service_id: String,
}

impl CheckRow {
    fn status(&self) -> Status {
        // Maintenance is a critical check with a name of its own.
        if self.id == "_node_maintenance" || self.id.starts_with("_service_maintenance:") {
            return Status::Maintenance;
        }
        match self.status.as_str() {
            "passing" => Status::Passing,
            "warning" => Status::Warning,
            _ => Status::Critical,
        }
    }
}

/// The instances of a service, in the order of the reply. One that cannot be read is left out.
pub(super) fn instances(
    body: &[u8],
    registry: &Arc<str>,
    left_out: &mut Vec<String>,
) -> Result<Vec<Arc<Instance>>, serde_json::Error> {
    let rows: Vec<&RawValue> = serde_json::from_slice(body)?;
    let mut instances = Vec::with_capacity(rows.len());
    for row in rows {
        let Row { node, service, checks } = serde_json::from_str(row.get())?;
        let (name, id) = (service.service.clone(), service.id.clone());
        let checks = checks.unwrap_or_default();
        match instance(&node, service, checks.iter().map(CheckRow::status), registry) {
            Ok(instance) => instances.push(Arc::new(instance)),
            Err(reason) => left_out.push(named(&name, &id, &node.node, reason)),
        }
    }
    Ok(instances)
}

/// A node with its services and checks. Of 1.8.7, whose `/v1/internal/ui/node/NAME` answers "not found" where there is none.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NodeWithServices {
    #[serde(flatten)]
    node: NodeRow,
    services: Option<Vec<ServiceRow>>,
    checks: Option<Vec<CheckRow>>,
}

/// A node and what runs on it. An instance that cannot be read is left out. The answer does not say of which datacenter the
/// node is; none is the agent's own, which is then not known.
pub(super) fn node(
    body: &[u8],
    datacenter: Option<&str>,
    registry: &Arc<str>,
    left_out: &mut Vec<String>,
) -> Result<Option<NodeServices>, serde_json::Error> {
    let found: Option<NodeWithServices> = serde_json::from_slice(body)?;
    let Some(NodeWithServices { node, services, checks }) = found else { return Ok(None) };
    let checks = checks.unwrap_or_default();
    let mut instances = Vec::new();
    for service in services.unwrap_or_default() {
        let (name, id) = (service.service.clone(), service.id.clone());
        let own = checks.iter().filter(|check| check.service_id.is_empty() || check.service_id == id);
        match instance(&node, service, own.map(CheckRow::status), registry) {
            Ok(instance) => instances.push(Arc::new(instance)),
            Err(reason) => left_out.push(named(&name, &id, &node.node, reason)),
        }
    }
    sort_by_service(&mut instances);
    let node = Node {
        name: node.node,
        address: node.address,
        meta: node.meta.unwrap_or_default(),
        datacenter: datacenter.unwrap_or_default().to_owned(),
    };
    Ok(Some(NodeServices { node, services: instances }))
}

/// Says which instance cannot be read.
fn named(service: &str, id: &str, node: &str, reason: &str) -> String {
    format!(
        "instance `{}` of service `{}` on node `{}`: {reason}",
        id.escape_debug(),
        service.escape_debug(),
        node.escape_debug()
    )
}

/// An instance on a node, by these states of its checks and those of the node.
fn instance(
    node: &NodeRow,
    service: ServiceRow,
    checks: impl Iterator<Item = Status>,
    registry: &Arc<str>,
) -> Result<Instance, &'static str> {
    // The worst of them; without any it passes, as Consul has it.
    let status = checks.max().unwrap_or(Status::Passing);
    let written = if service.address.is_empty() { &node.address } else { &service.address };
    let address = read_address(written).ok_or("its address is no host or address")?;
    let port = u16::try_from(service.port).map_err(|_| "its port is not from 0 to 65535")?;
    let weight = service.weights.map_or(1, |weights| match status {
        Status::Warning => weights.warning,
        Status::Passing | Status::Critical | Status::Maintenance => weights.passing,
    });
    let meta = service.meta.unwrap_or_default();
    let zone = meta.get("zone").or_else(|| node.meta.as_ref()?.get("zone")).cloned().unwrap_or_default();
    let mut tags = service.tags.unwrap_or_default();
    tags.sort_unstable();
    tags.dedup();
    Ok(Instance {
        id: service.id,
        name: service.service,
        node: node.node.clone(),
        address,
        port,
        tags,
        meta,
        weight: weight.max(0),
        status,
        zone,
        registry: registry.clone(),
        view: OnceLock::new(),
    })
}

/// One check of `GET /v1/health/state/any`: whose it is, and the index at which it last changed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct FoundCheck {
    pub(super) node: String,
    #[serde(rename = "CheckID")]
    pub(super) id: String,
    /// Empty for a check of the node.
    #[serde(default)]
    pub(super) service_name: String,
    #[serde(default)]
    pub(super) modify_index: u64,
}

/// All checks.
pub(super) fn checks(body: &[u8]) -> Result<Vec<FoundCheck>, serde_json::Error> {
    serde_json::from_slice(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Consul 1.8.7 answers, with other values in the places that `changes` names.
    fn row(changes: &[(&str, &str)]) -> String {
        let mut row = r#"{
            "Node": {"ID": "9f6e", "Node": "vm", "Address": "10.0.0.1", "Datacenter": "dc1",
                "TaggedAddresses": {"lan": "127.0.0.1", "wan": "127.0.0.1"}, "Meta": {"zone": "nz"},
                "CreateIndex": 10, "ModifyIndex": 12},
            "Service": {"ID": "web-1", "Service": "web", "Tags": ["b", "a"], "Address": "",
                "Meta": {"k": "v"}, "Port": 80, "Weights": {"Passing": 5, "Warning": 2},
                "EnableTagOverride": false, "Proxy": {"MeshGateway": {}, "Expose": {}}, "Connect": {},
                "CreateIndex": 24, "ModifyIndex": 24},
            "Checks": [
                {"Node": "vm", "CheckID": "serfHealth", "Name": "Serf Health Status", "Status": "passing", "Notes": "",
                    "Output": "Agent alive and reachable", "ServiceID": "", "ServiceName": "", "ServiceTags": [],
                    "Type": "", "Definition": {}, "CreateIndex": 10, "ModifyIndex": 10},
                {"Node": "vm", "CheckID": "service:web-1", "Name": "Service 'web' check", "Status": "STATUS",
                    "Notes": "", "Output": "OUTPUT", "ServiceID": "web-1", "ServiceName": "web",
                    "ServiceTags": ["b", "a"], "Type": "ttl", "Definition": {}, "CreateIndex": 24, "ModifyIndex": 24}
            ]
        }"#
        .to_owned();
        for (from, to) in changes {
            assert!(row.contains(from), "{from}");
            row = row.replace(from, to);
        }
        format!("[{}]", row.replace("STATUS", "passing"))
    }

    fn read(changes: &[(&str, &str)]) -> Result<Arc<Instance>, String> {
        let mut left_out = Vec::new();
        let instances = instances(row(changes).as_bytes(), &"main".into(), &mut left_out).unwrap();
        instances.first().cloned().ok_or_else(|| left_out.concat())
    }

    fn shown(changes: &[(&str, &str)]) -> String {
        let i = read(changes).unwrap();
        let (tags, meta, status) = (i.tags.join(","), &i.meta, i.status.as_str());
        format!("{} {} {} {} [{tags}] {meta:?} {} {status} {}", i.id, i.name, i.node, i.endpoint(), i.weight, i.zone)
    }

    #[test]
    fn an_instance_has_all_its_fields() {
        for (changes, expected) in [
            (&[][..], r#"web-1 web vm 10.0.0.1:80 [a,b] {"k": "v"} 5 passing nz"#),
            (
                &[("\"Address\": \"\"", "\"Address\": \"fd00::1\"")],
                r#"web-1 web vm [fd00::1]:80 [a,b] {"k": "v"} 5 passing nz"#,
            ),
            (&[("\"k\": \"v\"", "\"zone\": \"sz\"")], r#"web-1 web vm 10.0.0.1:80 [a,b] {"zone": "sz"} 5 passing sz"#),
            (&[("STATUS", "warning")], r#"web-1 web vm 10.0.0.1:80 [a,b] {"k": "v"} 2 warning nz"#),
            (&[("STATUS", "critical")], r#"web-1 web vm 10.0.0.1:80 [a,b] {"k": "v"} 5 critical nz"#),
            (
                &[("STATUS", "critical"), ("service:web-1", "_service_maintenance:web-1")],
                r#"web-1 web vm 10.0.0.1:80 [a,b] {"k": "v"} 5 maintenance nz"#,
            ),
            (&[("serfHealth", "_node_maintenance")], r#"web-1 web vm 10.0.0.1:80 [a,b] {"k": "v"} 5 maintenance nz"#),
            (
                &[
                    (r#""Weights": {"Passing": 5, "Warning": 2},"#, ""),
                    (r#"{"k": "v"}"#, "null"),
                    (r#"["b", "a"],"#, "null,"),
                ],
                "web-1 web vm 10.0.0.1:80 [] {} 1 passing nz",
            ),
            (&[("\"Port\": 80", "\"Port\": 0")], r#"web-1 web vm 10.0.0.1 [a,b] {"k": "v"} 5 passing nz"#),
        ] {
            assert_eq!(shown(changes), expected);
        }
    }

    #[test]
    fn the_output_of_a_check_makes_no_difference() {
        assert_eq!(read(&[]).unwrap(), read(&[("OUTPUT", "200 OK in 3 ms")]).unwrap());
    }

    #[test]
    fn what_cannot_be_read_is_left_out_by_name() {
        for (change, reason) in [
            (("\"Port\": 80", "\"Port\": 65536"), "port"),
            (("\"Address\": \"\"", "\"Address\": \"evil; }\""), "address"),
            (("10.0.0.1", ""), "address"),
        ] {
            let error = read(&[change]).unwrap_err();
            assert!(error.contains("`web-1`") && error.contains(reason) && !error.contains("evil"), "{error}");
        }
    }

    #[test]
    fn a_node_is_read_with_the_worst_of_its_own_checks_and_those_of_each_instance() {
        // As Consul 1.8.7 answers, shortened.
        let body = |of_node: &str| {
            format!(
                r#"{{"ID": "9f6e", "Node": "vm", "Address": "10.0.0.1", "Meta": {{"zone": "nz"}}, "Services": [
                {{"ID": "web-1", "Service": "web", "Tags": ["b", "a"], "Address": "", "Meta": {{"k": "v"}}, "Port": 80,
                 "Weights": {{"Passing": 5, "Warning": 2}}}},
                {{"ID": "api-1", "Service": "api", "Tags": null, "Address": "10.0.0.9", "Meta": null, "Port": 81,
                 "Weights": {{"Passing": 1, "Warning": 1}}}},
                {{"ID": "bad", "Service": "web", "Tags": [], "Address": "evil; }}", "Port": 1}}],
                "Checks": [
                {{"Node": "vm", "CheckID": "serfHealth", "Status": "{of_node}", "ServiceID": "", "ServiceName": ""}},
                {{"Node": "vm", "CheckID": "c", "Status": "warning", "ServiceID": "web-1", "ServiceName": "web"}}]}}"#
            )
        };
        for (of_node, expected) in
            [("passing", "api-1 passing 1, web-1 warning 2"), ("critical", "api-1 critical 1, web-1 critical 5")]
        {
            let mut left_out = Vec::new();
            let found = node(body(of_node).as_bytes(), Some("dc2"), &"main".into(), &mut left_out).unwrap().unwrap();
            let shown = found.services.iter().map(|i| format!("{} {} {}", i.id, i.status.as_str(), i.weight));
            assert_eq!(shown.collect::<Vec<_>>().join(", "), expected);
            let Node { name, address, datacenter, .. } = found.node;
            assert_eq!([name.as_str(), &address, &datacenter], ["vm", "10.0.0.1", "dc2"]);
            assert_eq!((found.services[0].zone.as_str(), found.services[0].node.as_str()), ("nz", "vm"));
            assert!(
                left_out.len() == 1 && left_out[0].contains("`bad`") && !left_out[0].contains("evil"),
                "{left_out:?}"
            );
        }
        assert_eq!(node(b"null", None, &"main".into(), &mut Vec::new()).unwrap(), None);
    }

    #[test]
    fn checks_name_their_service() {
        let checks = checks(
            br#"[{"Node": "vm", "CheckID": "service:web-1", "Name": "x", "Status": "passing", "Notes": "", "Output": "",
                  "ServiceID": "web-1", "ServiceName": "web", "ServiceTags": [], "Type": "ttl", "Definition": {},
                  "CreateIndex": 24, "ModifyIndex": 25}]"#,
        )
        .unwrap();
        let check = &checks[0];
        assert_eq!((check.node.as_str(), check.id.as_str()), ("vm", "service:web-1"));
        assert_eq!((check.service_name.as_str(), check.modify_index), ("web", 25));
    }
}
