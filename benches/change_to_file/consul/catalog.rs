//! What is registered in Consul, and how it changes.

use serde_json::{Value, json};

use super::server::Server;

/// Instances of each service, so that none is ever empty. Each has a check.
const INSTANCES: usize = 2;
/// Services whose first instances share a node.
const TO_A_NODE: usize = 10;
/// Spreads changes over all services: it has no divisor in common with their number.
const STEP: usize = 7919;

/// So many services.
#[derive(Clone, Copy)]
pub(super) struct Catalog {
    pub(super) services: usize,
}

impl Catalog {
    /// Registers all of it.
    pub(super) fn fill(self, consul: &Server) {
        for service in 0..self.services {
            for instance in 0..INSTANCES {
                let mut registration = self.registration(service, instance, "passing");
                registration["Service"] = json!({
                    "ID": id(service, instance), "Service": name(service), "Address": address(service, instance),
                    "Port": 8000, "Tags": ["v1"],
                });
                consul.put_json("catalog/register", &registration);
            }
        }
    }

    /// How many services there are, in words.
    pub(super) fn size(self) -> String {
        let plural = if self.services == 1 { "" } else { "s" };
        format!("{} service{plural}", self.services)
    }

    /// The service of a change: each comes twice, there and back.
    pub(super) fn changed(self, number: usize) -> usize {
        number / 2 * STEP % self.services
    }

    /// Makes the first instance of a service fail, or pass again.
    pub(super) fn set_health(self, consul: &Server, service: usize, passing: bool) {
        let status = if passing { "passing" } else { "critical" };
        consul.put_json("catalog/register", &self.registration(service, 0, status));
    }

    /// Registers an instance that is not there otherwise, without a check, or deregisters it.
    pub(super) fn set_extra(self, consul: &Server, service: usize, present: bool) {
        let (node, id) = (self.node(service, 0), id(service, INSTANCES));
        if present {
            let service = json!({
                "ID": id, "Service": name(service), "Address": address(service, INSTANCES), "Port": 8000,
                "Tags": ["v1"],
            });
            let registration = json!({"Node": node, "Address": "10.9.9.9", "SkipNodeUpdate": true, "Service": service});
            consul.put_json("catalog/register", &registration);
        } else {
            consul.put_json("catalog/deregister", &json!({"Node": node, "ServiceID": id}));
        }
    }

    /// A check of an instance, and its node.
    fn registration(self, service: usize, instance: usize, status: &str) -> Value {
        let (node, id) = (self.node(service, instance), id(service, instance));
        json!({
            "Node": node, "Address": "10.9.9.9", "SkipNodeUpdate": true,
            "Check": {"Node": node, "CheckID": format!("service:{id}"), "Name": "alive", "Status": status,
                "ServiceID": id, "Output": "HTTP GET http://10.0.0.1:8000/health: 200 OK Output: ok"},
        })
    }

    fn node(self, service: usize, instance: usize) -> String {
        format!("node-{:03}", (service / TO_A_NODE + instance) % (self.services / TO_A_NODE).max(2))
    }
}

/// The name of a service.
pub(super) fn name(service: usize) -> String {
    format!("service-{service:04}")
}

/// The line of the first instance of a service in a file, without what stands before.
pub(super) fn line(service: usize) -> String {
    format!("{} {}:8000\n", name(service), address(service, 0))
}

/// The line of the instance that is not always there.
pub(super) fn line_of_extra(service: usize) -> String {
    format!("{} {}:8000\n", name(service), address(service, INSTANCES))
}

fn id(service: usize, instance: usize) -> String {
    format!("{}-{instance}", name(service))
}

fn address(service: usize, instance: usize) -> String {
    format!("10.{instance}.{}.{}", service / 250, service % 250)
}
