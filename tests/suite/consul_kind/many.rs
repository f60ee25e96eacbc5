//! Many services: what they cost, and how soon a change in any of them arrives.

use std::thread;
use std::time::{Duration, Instant};

use liveconf::registry::{Data, Query};
use serde_json::json;

use super::{connections, follow, follow_with};
use crate::support::consul::Consul;
use crate::support::consul_client::{Health, instance};
use crate::support::follower::{any, key};
use crate::support::liveconf::Job;
use crate::support::{SOON, poll_until};

/// What a change in any of them must beat, however busy the machine is: the time after which everything is read again
/// though nothing seems to have changed. How soon it arrives in fact is for the benchmark to say.
pub const ARRIVES: Duration = Duration::from_secs(20);

pub fn node_of(number: usize) -> String {
    format!("node-{}", number % 50)
}

pub fn name_of(number: usize) -> String {
    format!("service-{number}")
}

/// The only instance of a service, as it is shown.
pub fn shown(name: &str, port: u16, health: Health) -> String {
    match health {
        Health::Passing => format!("{name}/{name}-1@10.0.0.1:{port};"),
        other => format!("{name}/{name}-1@10.0.0.1:{port} {};", other.as_str()),
    }
}

/// Consul goes on with a poll whose asker is gone, and takes 200 connections from one address.
#[test]
fn commands_in_a_row_leave_few_polls_behind() {
    let consul = Consul::start();
    let template = "{% for n in range(end=110) %}{{ key(path=\"k/\" ~ n, default=\"-\") }}{% endfor %}";
    let job = Job::new(&format!(
        "registries: {{main: {{consul: {}}}}}\ntargets: {{t: {{templates: [{{content: '{template}', dest: out}}]}}}}\n",
        consul.section()
    ));
    for _ in 0..5 {
        let output = job.run(&["render"]);
        output.assert_code(0);
        assert_eq!((output.stdout, output.stderr), ("-".repeat(110), String::new()));
    }
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

/// Registers `count` services and follows all of them; ten of them change in their health, and ten in their
/// port. There may be `most` connections.
fn follow_many(consul: &Consul, count: usize, most: usize) {
    let client = consul.client();
    for number in 0..count {
        client.catalog_register(&instance(&node_of(number), &name_of(number), 1000, Health::Passing));
    }
    let start = Instant::now();
    let follower = follow(consul, (0..count).map(|number| any(&name_of(number))));
    follower.wait_for("all answered", |seen| (seen.answers.len() == count).then_some(()));
    println!("{count} services: all answered after {:?}", start.elapsed());
    let replies: usize = follower.seen().publications.iter().map(Vec::len).sum();
    assert!(replies <= count * 2, "{replies}");

    for (what, first_port) in [("health", 1000), ("port", 2000)] {
        let mut latencies = Vec::new();
        for round in 0..10 {
            // Away from the change before, so that they do not help each other.
            thread::sleep(Duration::from_millis(37 * (u64::from(round) % 7)));
            let number = (usize::from(round) * 7919) % count;
            let port = if first_port == 1000 { 1000 } else { first_port + round };
            let start = Instant::now();
            client.catalog_register(&instance(&node_of(number), &name_of(number), port, Health::Critical));
            follower.expect(&any(&name_of(number)), &shown(&name_of(number), port, Health::Critical));
            latencies.push(start.elapsed());
        }
        latencies.sort_unstable();
        let [p50, p95, worst] = [50, 95, 100].map(|percent| percentile(&latencies, percent));
        println!("{count} services, {what}: p50 {p50:?}, p95 {p95:?}, worst {worst:?}");
        assert!(worst < ARRIVES, "{worst:?}");
    }
    let connections = connections(consul);
    println!("{count} services: {connections} connections");
    assert!(connections <= most, "{connections}");
    follower.assert_no_outage();
}

#[test]
fn a_hundred_services_have_a_poll_each() {
    // One asks whether Consul is there, and on a busy machine a few are on their way out.
    follow_many(&Consul::start(), 100, 105);
}

#[test]
fn three_hundred_services_are_within_the_limit_of_consul() {
    follow_many(&Consul::start(), 300, 128);
}

#[test]
fn two_thousand_services_are_followed() {
    follow_many(&Consul::start(), 2000, 128);
}

#[test]
fn over_tls_two_thousand_services_have_a_poll_each() {
    follow_many(&Consul::with_tls(), 2000, 25);
}

#[test]
fn what_is_wanted_may_grow_beyond_the_connections_and_shrink_again() {
    let consul = Consul::start();
    let client = consul.client();
    for number in 0..20 {
        client.catalog_register(&instance(&node_of(number), &name_of(number), 1000, Health::Passing));
    }
    let list = Query::Services { tag: None };
    let queries = |count: usize| {
        let services = (0..count).map(|number| any(&name_of(number)));
        services.chain([list.clone(), Query::Nodes { datacenter: None }])
    };
    let follower = follow_with(&consul, "max_connections: 6", []);
    let mut most = 0;
    for (port, count) in [(2000, 2), (2001, 20), (2002, 3), (2003, 15), (2004, 1)] {
        follower.want(queries(count));
        follower.wait_for_within(ARRIVES, "all answered", |seen| {
            (0..count).all(|number| seen.answers.contains_key(&any(&name_of(number)))).then_some(())
        });
        for (number, health) in [(0, Health::Critical), (count - 1, Health::Warning), (0, Health::Passing)] {
            client.catalog_register(&instance(&node_of(number), &name_of(number), port, health));
            follower.expect_within(ARRIVES, &any(&name_of(number)), &shown(&name_of(number), port, health));
            most = most.max(connections(&consul));
        }
        let name = format!("new-{port}");
        client.catalog_register(&instance("n9", &name, 80, Health::Passing));
        follower.wait_for_within(ARRIVES, "listed", |seen| {
            let Data::Services(services) = &seen.answers.get(&list)?.data else { return None };
            services.iter().any(|service| service.name == name).then_some(())
        });
    }
    assert!(most <= 6, "{most}");
    follower.assert_no_outage();
}

/// Consul holds the polls of a program that has ended until their wait is over, and counts their connections.
#[test]
fn polls_that_were_left_behind_shut_nobody_out() {
    const COUNT: usize = 20;
    let consul = Consul::with(json!({"limits": {"http_max_conns_per_client": 40}}));
    let client = consul.client();
    for number in 0..COUNT {
        client.catalog_register(&instance(&node_of(number), &name_of(number), 1000, Health::Passing));
    }
    let mut last = None;
    let start = Instant::now();
    for round in 1..=3 {
        let queries = (0..COUNT).map(|number| any(&name_of(number)));
        let follower = follow_with(&consul, "wait: 6s, request_timeout: 2s", queries);
        follower.wait_for("all answered", |seen| (seen.answers.len() == COUNT).then_some(()));
        let port = 1000 + round;
        client.catalog_register(&instance(&node_of(7), &name_of(7), port, Health::Passing));
        follower.expect(&any(&name_of(7)), &shown(&name_of(7), port, Health::Passing));
        follower.assert_no_outage();
        let connections = consul.connections();
        // On a busy machine the wait of the first polls may be over by now.
        if start.elapsed() < Duration::from_secs(5) {
            assert_eq!(connections >= COUNT, round == 1, "{connections} in round {round}");
        }
        // The one before has ended by now.
        last = (round == 3).then_some(follower);
    }
    // Once they are over, there are connections for a poll each.
    poll_until(SOON, || match consul.connections() {
        COUNT.. => Ok(()),
        few => Err(format!("{few} connections")),
    });
    last.unwrap().assert_no_outage();
}

#[test]
fn changes_of_nodes_reach_swept_services() {
    let consul = Consul::start();
    let client = consul.client();
    for number in 0..20 {
        client.catalog_register(&instance(&node_of(number), &name_of(number), 1000, Health::Passing));
    }
    let queries = (0..20).map(|number| any(&name_of(number))).chain([key("k1"), key("k2")]);
    let follower = follow_with(&consul, "max_connections: 6", queries);
    // An instance without an address of its own has that of its node.
    let expect = |number: usize, expected: &str| follower.expect_within(ARRIVES, &any(&name_of(number)), expected);
    expect(3, "service-3/service-3-1@10.0.0.1:1000;");
    client.catalog_register(&json!({"Node": "node-3", "Address": "10.9.9.9"}));
    expect(3, "service-3/service-3-1@10.9.9.9:1000;");
    // Critical by a check of the node, and back.
    for (status, expected) in [
        ("critical", "service-4/service-4-1@10.0.0.1:1000 critical;"),
        ("passing", "service-4/service-4-1@10.0.0.1:1000;"),
    ] {
        let check = json!({"Node": "node-4", "CheckID": "alive", "Name": "alive", "Status": status});
        client.catalog_register(
            &json!({"Node": "node-4", "Address": "10.0.0.1", "SkipNodeUpdate": true, "Check": check}),
        );
        expect(4, expected);
    }
    client.catalog_deregister(&json!({"Node": "node-5"}));
    expect(5, "");
    client.put("k2", "x");
    follower.expect(&key("k2"), "x");
    let connections = connections(&consul);
    assert!(connections <= 6, "{connections}");
    follower.assert_no_outage();
}
