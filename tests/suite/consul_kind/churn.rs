//! Thousands of services of which some change each second.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::many::{ARRIVES, name_of, shown};
use super::{connections, follow};
use crate::support::consul::Consul;
use crate::support::consul_client::{Client, Health, instance};
use crate::support::follower::{Seen, any};
use crate::support::{SOON, poll_until};

const SERVICES: usize = 2000;
const CHANGES_A_SECOND: usize = 20;

/// Requests that the server counted, which it does in intervals of ten seconds.
#[derive(Default)]
struct Requests {
    intervals: BTreeMap<String, u64>,
}

impl Requests {
    fn look(&mut self, client: &Client) {
        let metrics = client.call_json("GET", "/v1/agent/metrics", "");
        let gets = metrics["Samples"].as_array().unwrap().iter().filter(|sample| {
            let name = sample["Name"].as_str().unwrap();
            name.contains("http.GET.") && !name.contains("agent.metrics")
        });
        let count = gets.map(|sample| sample["Count"].as_u64().unwrap()).sum();
        self.intervals.insert(metrics["Timestamp"].as_str().unwrap().to_owned(), count);
    }

    fn each_second(&self) -> Vec<u64> {
        self.intervals.values().map(|count| count / 10).collect()
    }
}

/// Changes a service for the `round`th time: its health, its port, its registration, or by another instance. What is
/// shown of it then.
fn change(client: &Client, round: usize, node: &str, name: &str, before: &str) -> String {
    let port = u16::try_from(2000 + round % 20_000).unwrap();
    match round % 4 {
        0 => {
            client.catalog_register(&instance(node, name, 1000, Health::Critical));
            shown(name, 1000, Health::Critical)
        }
        1 => {
            client.catalog_register(&instance(node, name, port, Health::Passing));
            shown(name, port, Health::Passing)
        }
        2 => {
            client.catalog_deregister(&json!({"Node": node, "ServiceID": format!("{name}-1")}));
            String::new()
        }
        _ => {
            let second = format!("{name}-2");
            let service = json!({"ID": second, "Service": name, "Port": port});
            client.catalog_register(
                &json!({"Node": node, "Address": "10.0.0.1", "SkipNodeUpdate": true, "Service": service}),
            );
            let first = before.split_inclusive(';').filter(|shown| !shown.starts_with(&format!("{name}/{second}@")));
            first.collect::<String>() + &format!("{name}/{second}@10.0.0.1:{port};")
        }
    }
}

/// Twenty changes a second for so long; then all must be right `within` this time.
fn churn(seconds: usize, nodes: usize, within: Duration) {
    let node = |number: usize| format!("node-{}", number % nodes);
    let consul = Consul::start();
    let client = consul.client();
    let mut expected: Vec<String> = Vec::new();
    for number in 0..SERVICES {
        client.catalog_register(&instance(&node(number), &name_of(number), 1000, Health::Passing));
        expected.push(shown(&name_of(number), 1000, Health::Passing));
    }
    let follower = follow(&consul, (0..SERVICES).map(|number| any(&name_of(number))));
    let all_answered = |seen: &Seen| (seen.answers.len() == SERVICES).then_some(());
    follower.wait_for_within(Duration::from_secs(60), "all answered", all_answered);

    let (mut requests, mut most) = (Requests::default(), 0);
    let start = Instant::now();
    for round in 0..seconds * CHANGES_A_SECOND {
        let number = (round * 7919) % SERVICES;
        expected[number] = change(&client, round, &node(number), &name_of(number), &expected[number]);
        if round % CHANGES_A_SECOND == 0 {
            most = most.max(connections(&consul));
            requests.look(&client);
        }
        let next = start + Duration::from_secs(1) * u32::try_from(round + 1).unwrap() / 20;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    let end = Instant::now();
    poll_until(SOON, || {
        let seen = follower.seen();
        let mut wrong = expected.iter().enumerate().filter_map(|(number, expected)| {
            let found = seen.shown(&any(&name_of(number)));
            (found != *expected).then(|| format!("{found:?}, not {expected:?}"))
        });
        wrong.next().map_or(Ok(()), |first| Err(format!("{} wrong: {first}", wrong.count() + 1)))
    });
    let right = end.elapsed();
    println!(
        "{SERVICES} services on {nodes} nodes, {CHANGES_A_SECOND} changes/s for {seconds} s: right {right:?} after the end, \
         at most {most} connections, requests/s in tens of seconds {:?}",
        requests.each_second()
    );
    assert!(right < within, "right only {right:?} after the end");
    assert!(most <= 128, "{most}");
    follower.assert_no_outage();
}

#[test]
fn churn_is_followed() {
    // The machine may be busy.
    churn(5, 50, SOON);
}

#[test]
#[ignore = "takes two minutes on a machine at rest; cargo test --test suite -- --ignored churn_is_followed"]
fn churn_is_followed_for_two_minutes() {
    churn(120, 50, ARRIVES);
}

#[test]
#[ignore = "takes two minutes on a machine at rest; cargo test --test suite -- --ignored churn_is_followed"]
fn churn_is_followed_on_as_many_nodes_as_services() {
    churn(120, SERVICES, ARRIVES);
}
