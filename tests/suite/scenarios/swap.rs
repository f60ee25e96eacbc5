//! A deploy: new instances come, old ones go, and clients that ask all the while see nothing of it.

use serde_json::{Value, json};

use super::backend::Backend;
use super::traffic::{Seen, Traffic};
use crate::support::consul_client::Client;
use crate::support::{SOON, poll_until};

/// An instance of `web-api` on the agent.
pub fn instance(id: &str, port: u16, meta: &Value) -> Value {
    json!({"ID": id, "Name": "web-api", "Address": "127.0.0.1", "Port": port, "Meta": meta})
}

/// Replaces the only instance of `web-api`, which is `first`, by another one, again and again: what clients of the proxy
/// on `port` saw.
pub fn swap(consul: &Client, first: Backend, port: u16, rounds: usize) -> Seen {
    let traffic = Traffic::start(port);
    let mut old = first;
    for round in 1..=rounds {
        let new = Backend::start(&format!("web-{round}"));
        consul.register(&instance(new.name(), new.port(), &json!({})));
        wait_until(&traffic, &format!("nobody is served by `{}`", new.name()), |seen| seen.from(new.name()) > 10);
        consul.deregister(old.name());
        // It stays up until nobody is sent to it, as whoever deploys waits.
        let mut last = (0, 0);
        wait_until(&traffic, &format!("`{}` is asked without end", old.name()), |seen| {
            if old.served() != last.0 || old.under_way() > 0 {
                last = (old.served(), seen.total());
            }
            seen.total() > last.1 + 200
        });
        old = new;
        // And now it is gone, which nobody may notice.
        let so_far = traffic.seen().total();
        wait_until(&traffic, "nobody is served", |seen| seen.total() > so_far + 100);
    }
    traffic.stop()
}

fn wait_until(traffic: &Traffic, otherwise: &str, mut holds: impl FnMut(&Seen) -> bool) {
    poll_until(SOON, || {
        let seen = traffic.seen();
        assert_eq!(seen.failures, [""; 0], "{seen:?}");
        if holds(&seen) { Ok(()) } else { Err(format!("{otherwise}: {seen:?}")) }
    });
}
