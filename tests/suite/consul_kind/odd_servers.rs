//! What newer servers and proxies say, and how hard a server is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use liveconf::registry::Query;
use serde_json::json;

use super::fake::{Fake, Request, reply, silence};
use super::many::name_of;
use super::{connections, follow_at, follow_with};
use crate::support::consul::Consul;
use crate::support::follower::{any, key};
use crate::support::{SOON, poll_until};

#[test]
fn an_answer_that_was_filtered_is_no_answer() {
    let fake = Fake::start(|target, _| match target {
        target if target.contains("index=") => silence(),
        _ => reply(200, "X-Consul-Index: 5\r\nX-Consul-Results-Filtered-By-ACLs: true\r\n", "[]"),
    });
    let follower = follow_at(&fake.address, "", [any("web")]);
    let error = follower.failure(&any("web")).reason;
    assert!(error.contains("may not read all"), "{error}");
    assert!(follower.seen().answers.is_empty());
    let follower = follow_at(&fake.address, "allow_filtered: true", [any("web")]);
    follower.expect(&any("web"), "");
}

#[test]
fn what_was_filtered_tells_a_scout_and_is_no_answer() {
    let fake = Fake::start(|target, _| match target {
        target if target.contains("index=") => silence(),
        target if target.contains("catalog/services") => {
            reply(200, "X-Consul-Index: 5\r\nX-Consul-Results-Filtered-By-ACLs: true\r\n", r#"{"s1": []}"#)
        }
        _ => reply(200, "X-Consul-Index: 5\r\n", "[]"),
    });
    let list = Query::Services { tag: None };
    let services: Vec<Query> = (0..10).map(|number| any(&name_of(number))).collect();
    let follower = follow_at(&fake.address, "max_connections: 6", services.iter().cloned().chain([list.clone()]));
    let error = follower.failure(&list).reason;
    assert!(error.contains("may not read all"), "{error}");
    for service in &services {
        follower.expect(service, "");
    }
    assert!(!follower.seen().answers.contains_key(&list));
    // It goes on to scout.
    poll_until(SOON, || match fake.times("/v1/catalog/services") {
        times if times.len() > 1 => Ok(()),
        _ => Err(format!("{:?}", fake.requests())),
    });
}

#[test]
fn a_pause_that_consul_asks_for_is_kept() {
    for (status, outages) in [(429, 0), (503, 1)] {
        let fake = Fake::start(move |target, before| match before {
            0 => reply(status, "Retry-After: 1\r\n", ""),
            _ if target.contains("index=") => silence(),
            _ => reply(200, "X-Consul-Index: 5\r\n", r#"[{"Key": "a", "Value": "MQ=="}]"#),
        });
        let follower = follow_at(&fake.address, "", [key("a")]);
        follower.expect(&key("a"), "1");
        let times = fake.times("/v1/kv/a");
        let pause = times[1] - times[0];
        assert!((Duration::from_secs(1)..Duration::from_secs(4)).contains(&pause), "{status}: {pause:?}");
        assert_eq!(follower.seen().outages.len(), outages, "{status}");
    }
}

#[test]
fn another_server_is_asked_at_once_what_one_may_not_serve() {
    let fake = Fake::start(|target, before| match before {
        0 => reply(429, "", ""),
        _ if target.contains("index=") => silence(),
        _ => reply(200, "X-Consul-Index: 5\r\n", r#"[{"Key": "a", "Value": "MQ=="}]"#),
    });
    let follower = follow_at(&fake.address, "", [key("a")]);
    follower.expect(&key("a"), "1");
    let reads: Vec<_> = fake.requests().into_iter().filter(|request| request.path() == "/v1/kv/a").collect();
    let pause = reads[1].at - reads[0].at;
    assert!(pause < Duration::from_millis(500), "{pause:?}");
    assert_ne!(reads[0].peer, reads[1].peer, "another connection may lead to another server");
    follower.assert_no_outage();
}

#[test]
fn one_read_asks_for_all_that_were_not_served() {
    const READS: usize = 30;
    for settings in ["", "max_connections: 6"] {
        let serves = Arc::new(AtomicBool::new(false));
        let serving = Arc::clone(&serves);
        let fake = Fake::start(move |target, _| match target {
            _ if !serving.load(Ordering::Relaxed) => reply(429, "", ""),
            target if target.contains("index=") => silence(),
            _ => reply(200, "X-Consul-Index: 5\r\n", r#"[{"Key": "k0", "Value": "MQ=="}]"#),
        });
        let keys: Vec<Query> = (0..READS).map(|number| key(&format!("k{number}"))).collect();
        let follower = follow_at(&fake.address, settings, keys.iter().cloned());
        for key in &keys {
            follower.failure(key);
        }
        thread::sleep(Duration::from_secs(5));
        let asked = fake.requests().iter().filter(|request| request.path().starts_with("/v1/kv/")).count();
        // Each of them twice, a scout, and the one that tries for all with growing pauses.
        assert!(asked <= 2 * READS + 12, "{settings}: {asked}");
        serves.store(true, Ordering::Relaxed);
        for (number, key) in keys.iter().enumerate() {
            follower.expect(key, if number == 0 { "1" } else { "absent" });
        }
        follower.assert_no_outage();
    }
}

#[test]
fn a_server_without_rest_is_asked_in_measure() {
    // Every answer is new, or every one is as old as the one before.
    let rising: fn(usize) -> usize = |before| before + 2;
    let standing: fn(usize) -> usize = |_| 7;
    for index in [rising, standing] {
        let fake = Fake::start(move |_, before| {
            let pair = format!(r#"[{{"Key": "a", "Value": "MQ==", "Flags": {before}}}]"#);
            reply(200, &format!("X-Consul-Index: {}\r\n", index(before)), &pair)
        });
        let begun = Instant::now();
        let follower = follow_at(&fake.address, "", [key("a")]);
        follower.expect(&key("a"), "1");
        thread::sleep(Duration::from_secs(1));
        let asked = fake.times("/v1/kv/a").len();
        // Ten a second, after two at once.
        let most = 3 + usize::try_from(begun.elapsed().as_millis() / 100).unwrap();
        assert!((3..=most).contains(&asked), "{asked} in {:?}", begun.elapsed());
        follower.assert_no_outage();
    }
}

#[test]
fn a_token_goes_into_a_header_only() {
    let fake = Fake::start(|target, _| match target {
        target if target.contains("index=") => silence(),
        _ => reply(404, "X-Consul-Index: 5\r\n", ""),
    });
    let address = format!("{}/consul/", fake.address);
    let follower = follow_at(&address, "token: hunter2, datacenter: dc2, namespace: team", [key("a")]);
    follower.expect(&key("a"), "absent");
    let requests = fake.requests();
    assert!(requests.iter().all(|request| request.head.contains("\r\nx-consul-token: hunter2\r\n")), "{requests:?}");
    let targets: Vec<_> = requests.iter().map(Request::target).collect();
    assert!(targets.iter().all(|target| !target.contains("hunter2")), "{targets:?}");
    assert!(targets.contains(&"/consul/v1/kv/a?dc=dc2&ns=team&consistent"), "{targets:?}");
}

#[test]
fn a_query_that_is_asked_anew_is_read_consistently_and_answered_again() {
    let fake = Fake::start(|target, _| match target {
        target if target.contains("index=") => silence(),
        _ => reply(200, "X-Consul-Index: 5\r\n", r#"[{"Key": "a", "Value": "MQ=="}]"#),
    });
    let follower = follow_at(&fake.address, "", [key("a")]);
    follower.expect(&key("a"), "1");
    let asked = |what: &str| fake.requests().iter().filter(|request| request.target().contains(what)).count();
    for number in 1..=3 {
        // Its poll is under way, and would be for long.
        poll_until(
            SOON,
            || if asked("index=5") == number { Ok(()) } else { Err(format!("{} polls", asked("index="))) },
        );
        let before = follower.published();
        follower.want_as(number as u64, [key("a")]);
        follower.wait_for("published", |seen| (seen.publications.len() > before).then_some(()));
        assert_eq!(asked("consistent"), 1 + number);
    }
    follower.assert_no_outage();
}

#[test]
fn few_connections_are_used_where_few_are_allowed() {
    let consul = Consul::with(json!({"limits": {"http_max_conns_per_client": 5}}));
    let follower = follow_with(&consul, "probe_interval: 50ms", [key("a"), key("b")]);
    for round in 0..20 {
        consul.client().put("a", round.to_string());
        follower.expect(&key("a"), &round.to_string());
    }
    let connections = connections(&consul);
    assert!(connections <= 3, "{connections}");
    follower.assert_no_outage();
}
