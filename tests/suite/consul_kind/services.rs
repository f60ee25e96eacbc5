//! Services, their instances and the nodes.

use std::sync::Arc;

use liveconf::registry::{Data, NodeQuery, Query, ServiceQuery};
use serde_json::{Value, json};

use super::follow;
use crate::support::consul::Consul;
use crate::support::consul_client::Health;
use crate::support::follower::{any, key, service};
use crate::support::{SOON, poll_until};

/// An instance of `web` with a check that is told what to say.
fn web(id: &str, more: &Value) -> Value {
    let check = json!({"CheckID": format!("check-{id}"), "TTL": "60s", "Status": "passing"});
    let mut service =
        json!({"ID": id, "Name": "web", "Address": "10.1.0.1", "Port": 80, "Tags": ["b", "a"], "Check": check});
    for (key, value) in more.as_object().unwrap() {
        service[key] = value.clone();
    }
    service
}

#[test]
fn services_are_followed() {
    let consul = Consul::start();
    let client = consul.client();
    client.register(&web("web-1", &json!({"Weights": {"Passing": 5, "Warning": 2}, "Meta": {"zone": "z1"}})));
    client.register(&web("web-2", &json!({"Port": 81, "Tags": ["a"], "Address": ""})));
    let tagged = |tags: &[&str]| {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        Query::Service(ServiceQuery { tags, ..ServiceQuery::passing("web") })
    };
    let filtered = Query::Service(ServiceQuery {
        filter: Some("Service.Port == 81".to_owned()),
        near: Some("_agent".to_owned()),
        datacenter: Some("dc1".to_owned()),
        ..ServiceQuery::passing("web")
    });
    let services = Query::Services { tag: None };
    let with_b = Query::Services { tag: Some("b".to_owned()) };
    let nodes = Query::Nodes { datacenter: None };
    let follower = follow(
        &consul,
        [
            service("web"),
            any("web"),
            tagged(&["b"]),
            tagged(&["a", "b"]),
            filtered.clone(),
            services.clone(),
            with_b.clone(),
            nodes.clone(),
            any("none"),
        ],
    );
    follower.expect(&service("web"), "web/web-1@10.1.0.1:80*5;web/web-2@127.0.0.1:81;");
    follower.expect(&tagged(&["b"]), "web/web-1@10.1.0.1:80*5;");
    follower.expect(&tagged(&["a", "b"]), "web/web-1@10.1.0.1:80*5;");
    follower.expect(&filtered, "web/web-2@127.0.0.1:81;");
    follower.expect(&any("none"), "");
    let Data::Service(instances) = follower.answer(&any("web")) else { unreachable!() };
    let first = &instances[0];
    assert_eq!((first.node.as_str(), first.zone.as_str(), &*first.registry), ("n1", "z1", "main"));
    assert_eq!(first.tags, ["a", "b"]);
    follower.expect(&services, "consul[];web[a,b];");
    follower.expect(&with_b, "web[a,b];");
    follower.expect(&nodes, "n1@127.0.0.1;");
    let Data::Nodes(found) = follower.answer(&nodes) else { unreachable!() };
    assert_eq!(found[0].datacenter, "dc1");

    client.set_check("check-web-1", Health::Warning);
    follower.expect(&any("web"), "web/web-1@10.1.0.1:80*2 warning;web/web-2@127.0.0.1:81;");
    follower.expect(&service("web"), "web/web-2@127.0.0.1:81;");
    client.set_check("check-web-1", Health::Critical);
    follower.expect(&any("web"), "web/web-1@10.1.0.1:80*5 critical;web/web-2@127.0.0.1:81;");
    client.maintain("web-2", true);
    follower.expect(&any("web"), "web/web-1@10.1.0.1:80*5 critical;web/web-2@127.0.0.1:81 maintenance;");
    follower.expect(&service("web"), "");
    client.maintain_node(true);
    follower.expect(&any("web"), "web/web-1@10.1.0.1:80*5 maintenance;web/web-2@127.0.0.1:81 maintenance;");
    client.maintain_node(false);
    client.maintain("web-2", false);
    client.set_check("check-web-1", Health::Passing);
    follower.expect(&service("web"), "web/web-1@10.1.0.1:80*5;web/web-2@127.0.0.1:81;");
    client.deregister("web-1");
    follower.expect(&service("web"), "web/web-2@127.0.0.1:81;");
    follower.expect(&with_b, "");

    // A check that nobody keeps alive.
    let check = json!({"TTL": "1s", "Status": "passing"});
    client.register(&json!({"ID": "web-3", "Name": "web", "Port": 83, "Check": check}));
    follower.expect(&any("web"), "web/web-2@127.0.0.1:81;web/web-3@127.0.0.1:83 critical;");
    follower.assert_no_outage();
}

#[test]
fn a_node_is_followed_with_what_runs_on_it() {
    let consul = Consul::start();
    let client = consul.client();
    client.register(&web("web-1", &json!({"Weights": {"Passing": 5, "Warning": 2}})));
    let node = |name: &str| Query::Node(NodeQuery::named(name));
    let elsewhere = Query::Node(NodeQuery { datacenter: Some("dc9".to_owned()), ..NodeQuery::named("n1") });
    let asked = [node("n1"), node("later"), elsewhere.clone(), Query::Datacenters];
    let follower = follow(&consul, asked);
    follower.expect(&Query::Datacenters, "dc1");
    let own = follower.answer(&node("n1"));
    let Data::Node(Some(found)) = &own else { panic!("{own:?}") };
    assert_eq!((found.node.name.as_str(), found.node.datacenter.as_str()), ("n1", "dc1"));
    let server = found.services.iter().find(|instance| instance.name == "consul").unwrap().endpoint();
    let with = |rest: &str| format!("n1@127.0.0.1 in dc1: consul/consul@{server};{rest}");
    follower.expect(&node("n1"), &with("web/web-1@10.1.0.1:80*5;"));
    follower.expect(&node("later"), "absent");
    assert!(follower.failure(&elsewhere).reason.contains("dc9"), "{:?}", follower.failure(&elsewhere));

    client.set_check("check-web-1", Health::Warning);
    follower.expect(&node("n1"), &with("web/web-1@10.1.0.1:80*2 warning;"));
    client.register(&json!({"ID": "api-1", "Name": "api", "Port": 81}));
    follower.expect(
        &node("n1"),
        &format!("n1@127.0.0.1 in dc1: api/api-1@127.0.0.1:81;consul/consul@{server};web/web-1@10.1.0.1:80*2 warning;"),
    );
    client.deregister("api-1");
    client.set_check("check-web-1", Health::Passing);
    follower.expect(&node("n1"), &with("web/web-1@10.1.0.1:80*5;"));

    // One that comes, and goes again.
    let registration =
        json!({"Node": "later", "Address": "10.2.0.1", "Service": {"ID": "db", "Service": "db", "Port": 1}});
    client.call("PUT", "/v1/catalog/register", registration.to_string());
    follower.expect(&node("later"), "later@10.2.0.1 in dc1: db/db@10.2.0.1:1;");
    client.call("PUT", "/v1/catalog/deregister", json!({"Node": "later"}).to_string());
    follower.expect(&node("later"), "absent");
    follower.assert_no_outage();
}

#[test]
fn output_of_checks_wakes_nobody() {
    let consul = Consul::with(json!({"check_update_interval": "0s"}));
    let client = consul.client();
    client.register(&web("web-1", &json!({})));
    let follower = follow(&consul, [service("web"), key("end")]);
    follower.expect(&service("web"), "web/web-1@10.1.0.1:80;");
    follower.expect(&key("end"), "absent");
    let Data::Service(before) = follower.answer(&service("web")) else { unreachable!() };
    for round in 0..3 {
        let output = format!("took {round} ms");
        client.set_check_with_output("check-web-1", Health::Passing, &output);
        poll_until(SOON, || {
            let checks = client.call_json("GET", "/v1/health/checks/web", "").to_string();
            if checks.contains(&output) { Ok(()) } else { Err(checks) }
        });
    }
    client.put("end", "1");
    follower.expect(&key("end"), "1");
    let Data::Service(after) = follower.answer(&service("web")) else { unreachable!() };
    assert_eq!(before, after);
    assert!(Arc::ptr_eq(&before[0], &after[0]), "an instance that stays is shared with the answer before");
}
