//! Consul as the tests start it.

use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::support::connections;
use crate::support::consul::Consul;
use crate::support::consul_client::{self, Health};
use crate::support::liveconf::Job;
use crate::support::{SOON, poll_until};

#[test]
fn keeps_its_data_over_a_restart_and_takes_an_older_state_back() {
    let mut consul = Consul::start();
    consul.client().put("app/a b?", "1");
    let snapshot = consul.snapshot();
    let more =
        [consul_client::put("app/b", "2"), consul_client::put("app/c/d", "3"), consul_client::delete("app/a b?")];
    consul.client().txn(more.into());
    consul.kill(0);
    consul.restart(0);
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(consul.client().prefix("app/"), [pair("app/b", "2"), pair("app/c/d", "3")]);
    consul.client().txn(vec![consul_client::delete_below("app/c/")]);
    assert_eq!(consul.client().get("app/c/d"), None);
    consul.stop(0);
    consul.restart(0);
    assert_eq!(consul.client().get("app/b").as_deref(), Some("2"));
    consul.restore(&snapshot);
    assert_eq!(consul.client().prefix(""), [pair("app/a b?", "1")]);
    consul.client().delete("app/a b?");
    consul.client().delete_below("none/");
    assert_eq!(consul.client().prefix(""), []);
}

#[test]
fn with_three_servers_and_an_agent_outlives_its_leader() {
    let mut consul = Consul::cluster(3);
    let agent = consul.add_agent();
    let client = consul.client_of(agent);
    client.put("a", "1");
    consul.kill(0);
    poll_until(SOON, || client.try_put("a", "2"));
    consul.restart(0);
    consul.kill_all();
    consul.restart_all();
    assert_eq!(consul.client_of(2).get("a").as_deref(), Some("2"));
    consul.pause(1);
    poll_until(SOON, || consul.client().try_put("a", "3").or_else(|_| consul.client_of(2).try_put("a", "3")));
    consul.resume(1);
}

#[test]
fn is_told_when_an_agent_leaves() {
    let mut consul = Consul::start();
    let agent = consul.add_agent();
    assert_eq!(consul.url_of(agent), format!("http://{}", consul.address_of(agent)));
    let server = consul.client();
    let states = || {
        let members = server.call_json("GET", "/v1/agent/members", "");
        members.as_array().unwrap().iter().map(|member| member["Status"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    let (alive, left) = (1, 3);
    assert_eq!(states(), [alive, alive]);
    consul.leave(agent);
    poll_until(SOON, || if states().contains(&left) { Ok(()) } else { Err(format!("{:?}", states())) });
}

#[test]
fn tells_the_health_of_services() {
    let consul = Consul::start();
    let client = consul.client();
    let check = json!({"CheckID": "check-1", "TTL": "60s", "Status": "passing"});
    client.register(&json!({"ID": "web-1", "Name": "web", "Port": 80, "Check": check}));
    client.catalog_register(&consul_client::instance("n9", "web", 81, Health::Warning));
    let states = |expected: &[&str]| {
        poll_until(SOON, || {
            let checks = client.call_json("GET", "/v1/health/checks/web?consistent", "");
            let states: Vec<_> = checks.as_array().unwrap().iter().map(|check| check["Status"].clone()).collect();
            if states == expected { Ok(()) } else { Err(format!("{states:?}, not {expected:?}")) }
        });
    };
    states(&["passing", "warning"]);
    client.set_check("check-1", Health::Critical);
    states(&["critical", "warning"]);
    client.set_check("check-1", Health::Passing);
    client.maintain("web-1", true);
    states(&["critical", "passing", "warning"]);
    client.maintain("web-1", false);
    client.catalog_deregister(&json!({"Node": "n9"}));
    states(&["passing"]);
    client.deregister("web-1");
    states(&[]);
    client.maintain_node(true);
    client.maintain_node(false);
}

#[test]
fn with_tls_lets_nobody_in_without_a_certificate() {
    let consul = Consul::with_tls();
    let curl = |arguments: &[&str]| {
        let url = format!("{}/v1/status/leader", consul.url());
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--max-time", "20", "--cacert"]).arg(&consul.tls().ca);
        command.args(arguments).arg(url).output().unwrap()
    };
    let [cert, key] = [&consul.tls().cert, &consul.tls().key].map(|file| file.to_str().unwrap());
    let welcome = curl(&["--cert", cert, "--key", key]);
    assert!(welcome.status.success() && welcome.stdout.len() > 10, "{welcome:?}");
    assert!(!curl(&[]).status.success());

    consul.client().put("team/a", "1");
    let registry = format!("registries: {{main: {{consul: {}}}}}", consul.section_with("prefix: team"));
    let target = "targets: {a: {templates: [{content: '{{ key(path=\"a\") }}', dest: a.conf}]}}";
    let job = Job::new(&format!("{registry}\n{target}\n"));
    job.run(&["once"]).assert_code(0);
    assert_eq!(job.read("a.conf").as_deref(), Some("1"));
}

#[test]
fn with_acls_lets_the_right_ones_in() {
    let consul = Consul::with_acl();
    let client = consul.client();
    client.put("app/a", "1");
    client.policy("reader", r#"key_prefix "app/" { policy = "read" }"#);
    let token = client.token(&["reader"]);
    let reader = client.as_user(&token);
    assert_eq!(reader.get("app/a").as_deref(), Some("1"));
    let refused = reader.try_put("app/a", "2").unwrap_err();
    assert!(refused.contains("403"), "{refused}");
    client.revoke(&token);
    poll_until(Duration::from_secs(60), || match reader.try_call("GET", "/v1/kv/app/a", "") {
        Err(refused) if refused.contains("ACL not found") => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[test]
fn connections_are_counted_at_the_side_of_the_server() {
    let consul = Consul::with(json!({"limits": {"http_max_conns_per_client": 10}}));
    assert_eq!(consul.section(), format!("{{address: 'http://{}'}}", consul.address()));
    assert_eq!(consul.connections(), 0, "calls of the client leave none");
    let open: Vec<_> = (0..3).map(|_| TcpStream::connect(consul.address()).unwrap()).collect();
    assert_eq!((consul.connections(), connections::open_to(consul.port())), (3, 3));
    drop(open);
}
