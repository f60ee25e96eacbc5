//! Agents and servers that go, come back, fall silent, or wake up with an older state.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{RECOVERY, complaints, job, said_once, stays, wait_for_line};
use crate::support::consul::Consul;
use crate::support::consul_client::{Client, Health, instance};
use crate::support::liveconf::Job;
use crate::support::{SOON, poll_until};

/// One target of keys and one of instances: what one is told says nothing of the other.
const TARGETS: [(&str, &str); 2] = [
    ("keys", "{% for e in prefix(path='app') %}{{ e.key }}={{ e.value }} {% endfor %}"),
    ("web", "{% for i in service(name='web') %}{{ i.endpoint }} {% endfor %}"),
];

/// Long enough for many tries of what is away.
const AWAY: Duration = Duration::from_secs(3);

fn assert_refuses_connections(port: u16) {
    let refused = TcpStream::connect(("127.0.0.1", port)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

/// The state of a process as the kernel gives it: `S` sleeps, `T` is stopped.
fn state_of(id: u32) -> char {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    stat.rsplit(") ").next().unwrap().chars().next().unwrap()
}

/// The highest index of a key below `app/`.
fn index(client: &Client) -> u64 {
    let pairs = client.call_json("GET", "/v1/kv/app/?recurse&consistent", "");
    pairs.as_array().unwrap().iter().map(|pair| pair["ModifyIndex"].as_u64().unwrap()).max().unwrap()
}

#[track_caller]
fn wait_for(job: &Job, keys: &str, web: &str) {
    job.wait_for_within(RECOVERY, "keys.conf", keys);
    job.wait_for_within(RECOVERY, "web.conf", web);
}

#[track_caller]
fn stay(job: &Job, keys: &str, web: &str) {
    stays(AWAY, || {
        assert_eq!(job.read("keys.conf").as_deref(), Some(keys));
        assert_eq!(job.read("web.conf").as_deref(), Some(web));
    });
}

#[test]
fn the_agent_dies_and_comes_back() {
    let mut consul = Consul::start();
    let client = consul.client();
    client.put("app/a", "1");
    client.catalog_register(&instance("n9", "web", 80, Health::Passing));
    let job = job(&consul.section(), &TARGETS);
    let daemon = job.start(&["run"]);
    wait_for(&job, "a=1 ", "10.0.0.1:80 ");
    consul.kill(0);
    assert_refuses_connections(consul.port());
    wait_for_line(&daemon, &["registry does not answer", &consul.address(), "the last answers stay"]);
    stay(&job, "a=1 ", "10.0.0.1:80 ");
    consul.restart(0);
    let back = Instant::now();
    client.put("app/a", "2");
    client.catalog_register(&instance("n9", "web", 81, Health::Passing));
    wait_for(&job, "a=2 ", "10.0.0.1:81 ");
    println!("after the agent was back: {:?}", back.elapsed());
    said_once(&daemon, "registry answers again");
    assert_eq!(complaints(&daemon).len(), 1, "{:#?}", daemon.log());
    daemon.stop();
}

#[test]
fn an_agent_leaves_and_comes_back() {
    let mut consul = Consul::start();
    let agent = consul.add_agent();
    let (server, local) = (consul.client(), consul.client_of(agent));
    server.put("app/a", "1");
    let service = json!({"ID": "web-1", "Name": "web", "Address": "10.0.0.1", "Port": 80});
    local.register(&service);
    // One liveconf asks the server, the other the agent on its own machine, as is usual.
    let above = job(&consul.section(), &TARGETS);
    let beside = job(&format!("{{address: '{}'}}", consul.url_of(agent)), &TARGETS);
    let (daemon_above, daemon_beside) = (above.start(&["run"]), beside.start(&["run"]));
    for job in [&above, &beside] {
        wait_for(job, "a=1 ", "10.0.0.1:80 ");
    }
    consul.leave(agent);
    assert_refuses_connections(consul.port_of(agent));
    // Who is told that the service is gone, and no more, follows; who is told nothing more keeps what it has. Whether
    // the agent still told that its own service goes is left to chance.
    let left = 3;
    poll_until(SOON, || {
        let members = server.call_json("GET", "/v1/agent/members", "");
        let gone = members.as_array().unwrap().iter().any(|member| member["Status"] == left);
        if gone { Ok(()) } else { Err(members.to_string()) }
    });
    // An agent on its way out may put its services into the catalog once more; nobody would ever take them away.
    server.catalog_deregister(&json!({"Node": "n2"}));
    above.wait_for_within(RECOVERY, "web.conf", "");
    wait_for_line(&daemon_above, &["no such service: `web`"]);
    wait_for_line(&daemon_beside, &["registry does not answer", &consul.address_of(agent)]);
    let web = beside.read("web.conf").unwrap();
    assert!(["", "10.0.0.1:80 "].contains(&web.as_str()), "{web}");
    stay(&beside, "a=1 ", &web);
    server.put("app/a", "2");
    above.wait_for("keys.conf", "a=2 ");

    consul.restart(agent);
    let back = Instant::now();
    local.register(&service);
    for job in [&above, &beside] {
        wait_for(job, "a=2 ", "10.0.0.1:80 ");
    }
    println!("after the agent was back: {:?}", back.elapsed());
    let others = complaints(&daemon_above).into_iter().filter(|line| !line.contains("no such service: `web`"));
    assert_eq!(others.collect::<Vec<_>>(), [""; 0]);
    daemon_above.stop();
    daemon_beside.stop();
}

#[test]
fn a_server_is_stopped_in_order_while_the_others_go_on() {
    let mut consul = Consul::cluster(3);
    let other = consul.client_of(1);
    other.put("app/a", "1");
    other.catalog_register(&instance("n9", "web", 80, Health::Passing));
    let job = job(&consul.section(), &TARGETS);
    let daemon = job.start(&["run"]);
    wait_for(&job, "a=1 ", "10.0.0.1:80 ");
    consul.stop(0);
    assert_refuses_connections(consul.port());
    poll_until(RECOVERY, || other.try_put("app/a", "2"));
    wait_for_line(&daemon, &["registry does not answer", &consul.address()]);
    stay(&job, "a=1 ", "10.0.0.1:80 ");
    consul.restart(0);
    wait_for(&job, "a=2 ", "10.0.0.1:80 ");
    said_once(&daemon, "registry answers again");
    other.put("app/a", "3");
    other.catalog_register(&instance("n9", "web", 81, Health::Passing));
    wait_for(&job, "a=3 ", "10.0.0.1:81 ");
    daemon.stop();
}

#[test]
fn the_leader_of_a_cluster_dies_while_a_follower_is_asked() {
    let mut consul = Consul::cluster(3);
    consul.client().put("app/a", "1");
    consul.client().catalog_register(&instance("n9", "web", 80, Health::Passing));
    let leader = consul.client().call_json("GET", "/v1/status/leader", "");
    let members = consul.client().call_json("GET", "/v1/operator/raft/configuration", "");
    let servers = members["Servers"].as_array().unwrap();
    let name = servers.iter().find(|server| server["Address"] == leader).unwrap()["Node"].as_str().unwrap();
    let leader: usize = name.trim_start_matches('n').parse::<usize>().unwrap() - 1;
    let follower = (leader + 1) % 3;
    let job = job(&format!("{{address: '{}'}}", consul.url_of(follower)), &TARGETS);
    let daemon = job.start(&["run"]);
    wait_for(&job, "a=1 ", "10.0.0.1:80 ");
    consul.kill(leader);
    let client = consul.client_of(follower);
    poll_until(RECOVERY, || client.try_put("app/a", "2"));
    client.catalog_register(&instance("n9", "web", 81, Health::Passing));
    wait_for(&job, "a=2 ", "10.0.0.1:81 ");
    daemon.stop();
}

#[test]
fn a_snapshot_with_a_lower_index_is_restored() {
    let consul = Consul::start();
    let client = consul.client();
    client.put("app/kept", "old");
    client.catalog_register(&instance("n9", "web", 80, Health::Passing));
    let snapshot = consul.snapshot();
    for number in 0..50 {
        client.put("app/lost", number.to_string());
    }
    client.put("app/kept", "new");
    client.catalog_register(&instance("n9", "web", 81, Health::Passing));
    let job = job(&consul.section(), &TARGETS);
    let daemon = job.start(&["run"]);
    wait_for(&job, "kept=new lost=49 ", "10.0.0.1:81 ");

    let before = index(&client);
    let restored = Instant::now();
    consul.restore(&snapshot);
    // Nothing is written from here on, so nothing else makes Consul tell.
    wait_for(&job, "kept=old ", "10.0.0.1:80 ");
    println!("after the restore: {:?}", restored.elapsed());
    assert!(restored.elapsed() < Duration::from_secs(10), "{:?}", restored.elapsed());
    let after = index(&client);
    assert!(after < before, "{after} is no regression from {before}");
    client.put("app/kept", "later");
    client.catalog_register(&instance("n9", "web", 82, Health::Passing));
    wait_for(&job, "kept=later ", "10.0.0.1:82 ");
    assert_eq!(complaints(&daemon), [""; 0]);
    daemon.stop();
}

/// How long it takes until a server that was stopped is found silent.
fn stopped(settings: &str, within: Duration) {
    let mut consul = Consul::start();
    let client = consul.client();
    client.put("app/a", "1");
    client.catalog_register(&instance("n9", "web", 80, Health::Passing));
    let job = job(&consul.section_with(settings), &TARGETS);
    let daemon = job.start(&["run"]);
    wait_for(&job, "a=1 ", "10.0.0.1:80 ");
    consul.pause(0);
    let silent = Instant::now();
    poll_until(SOON, || match state_of(consul.id(0)) {
        'T' => Ok(()),
        state => Err(format!("the server is in state {state}")),
    });
    // The kernel still takes connections in its name.
    TcpStream::connect(("127.0.0.1", consul.port())).unwrap();
    let line = poll_until(within + RECOVERY, || {
        daemon.logged("registry does not answer").pop().ok_or_else(|| "not noticed".to_owned())
    });
    println!("a silent server was noticed after {:?}", silent.elapsed());
    assert!(silent.elapsed() < within && line.contains("no answer within"), "{:?}: {line}", silent.elapsed());
    stay(&job, "a=1 ", "10.0.0.1:80 ");
    assert_eq!(state_of(consul.id(0)), 'T');
    consul.resume(0);
    let back = Instant::now();
    client.put("app/a", "2");
    client.catalog_register(&instance("n9", "web", 81, Health::Passing));
    wait_for(&job, "a=2 ", "10.0.0.1:81 ");
    println!("and followed {:?} after it went on", back.elapsed());
    said_once(&daemon, "registry answers again");
    assert_eq!(complaints(&daemon).len(), 1, "{:#?}", daemon.log());
    daemon.stop();
}

#[test]
fn a_server_that_falls_silent_is_noticed_by_the_deadline() {
    stopped("probe_interval: 1s, request_timeout: 1s", Duration::from_secs(10));
}

/// K2: silence is noticed within 30 s.
#[test]
#[ignore = "takes half a minute"]
fn a_server_that_falls_silent_is_noticed_with_the_times_of_production() {
    stopped("", Duration::from_secs(30));
}
