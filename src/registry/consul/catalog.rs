//! What the catalog part of the API answers.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::registry::{Node, ServiceName};

/// A node, and the index at which it last changed.
#[derive(Debug)]
pub(super) struct FoundNode {
    pub(super) node: Node,
    pub(super) modified: u64,
}

/// One node of `GET /v1/catalog/nodes` (<https://developer.hashicorp.com/consul/api-docs/catalog#list-nodes>), and
/// the `Node` of `GET /v1/health/service/NAME`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NodeRow {
    pub(super) node: String,
    #[serde(default)]
    pub(super) address: String,
    #[serde(default)]
    pub(super) datacenter: Option<String>,
    pub(super) meta: Option<BTreeMap<String, String>>,
    #[serde(default)]
    modify_index: u64,
}

/// An instance on a node, and the index at which it last changed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct FoundService {
    #[serde(rename = "ID")]
    pub(super) id: String,
    pub(super) service: String,
    #[serde(default)]
    pub(super) modify_index: u64,
}

/// What is registered on a node
/// (<https://developer.hashicorp.com/consul/api-docs/catalog#retrieve-map-of-services-for-a-node>); nothing if there is no such node.
pub(super) fn registered(body: &[u8]) -> Result<Vec<FoundService>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Row {
        #[serde(rename = "Services")]
        services: Option<BTreeMap<String, FoundService>>,
    }
    let row: Option<Row> = serde_json::from_slice(body)?;
    Ok(row.and_then(|row| row.services).unwrap_or_default().into_values().collect())
}

/// The datacenter of the node that such an answer is about; empty if there is no such node.
pub(super) fn datacenter(body: &[u8]) -> Result<String, serde_json::Error> {
    #[derive(Deserialize)]
    struct Row {
        #[serde(rename = "Node")]
        node: Option<NodeRow>,
    }
    let row: Option<Row> = serde_json::from_slice(body)?;
    Ok(row.and_then(|row| row.node?.datacenter).unwrap_or_default())
}

/// The names of the datacenters (<https://developer.hashicorp.com/consul/api-docs/catalog#list-datacenters>), sorted: Consul
/// gives them by their distance, which is not the same at any two moments.
pub(super) fn datacenters(body: &[u8]) -> Result<Vec<String>, serde_json::Error> {
    let mut names: Vec<String> = serde_json::from_slice(body)?;
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

/// The services, sorted by name.
pub(super) fn services(body: &[u8]) -> Result<Vec<ServiceName>, serde_json::Error> {
    let services: BTreeMap<String, Option<Vec<String>>> = serde_json::from_slice(body)?;
    let sorted = services.into_iter().map(|(name, tags)| {
        let mut tags = tags.unwrap_or_default();
        tags.sort_unstable();
        tags.dedup();
        ServiceName { name, tags }
    });
    Ok(sorted.collect())
}

/// The nodes, in the order of the reply.
pub(super) fn nodes(body: &[u8]) -> Result<Vec<FoundNode>, serde_json::Error> {
    let rows: Vec<NodeRow> = serde_json::from_slice(body)?;
    let nodes = rows.into_iter().map(|row| FoundNode {
        modified: row.modify_index,
        node: Node {
            name: row.node,
            address: row.address,
            meta: row.meta.unwrap_or_default(),
            datacenter: row.datacenter.unwrap_or_default(),
        },
    });
    Ok(nodes.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_a_node_is_read() {
        let found = registered(
            br#"{"Node": {"Node": "vm"}, "Services": {"web-1": {"ID": "web-1", "Service": "web", "Tags": [], "Port": 80,
                 "CreateIndex": 24, "ModifyIndex": 26}}}"#,
        )
        .unwrap();
        assert_eq!((found[0].id.as_str(), found[0].service.as_str(), found[0].modify_index), ("web-1", "web", 26));
        assert!(registered(b"null").unwrap().is_empty());
        assert_eq!(
            datacenter(br#"{"Node": {"Node": "vm", "Datacenter": "dc1", "Meta": null}, "Services": {}}"#).unwrap(),
            "dc1"
        );
        assert_eq!(datacenter(b"null").unwrap(), "");
    }

    #[test]
    fn services_and_nodes_are_read() {
        assert_eq!(datacenters(br#"["dc2", "dc1", "dc2"]"#).unwrap(), ["dc1", "dc2"]);
        assert!(datacenters(b"{}").is_err());
        let services = services(br#"{"web": ["b", "a", "b"], "consul": [], "old": null}"#).unwrap();
        let services: Vec<_> = services.iter().map(|service| (service.name.as_str(), service.tags.concat())).collect();
        assert_eq!(services, [("consul", String::new()), ("old", String::new()), ("web", "ab".to_owned())]);
        // As Consul 1.8.7 answers.
        let nodes = nodes(
            br#"[{"ID": "9f6ee8af-51b3-6eca-1edb-958b01689d52", "Node": "vm", "Address": "127.0.0.1",
                  "Datacenter": "dc1", "TaggedAddresses": null, "Meta": null, "CreateIndex": 10, "ModifyIndex": 12}]"#,
        )
        .unwrap();
        let expected = Node {
            name: "vm".to_owned(),
            address: "127.0.0.1".to_owned(),
            meta: BTreeMap::new(),
            datacenter: "dc1".to_owned(),
        };
        assert_eq!((&nodes[0].node, nodes[0].modified), (&expected, 12));
    }
}
