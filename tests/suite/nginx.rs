//! Real nginx follows real etcd, as `examples/nginx-etcd` says.

use std::fs;

use crate::support::etcd::Etcd;
use crate::support::folder::Folder;
use crate::support::liveconf::{Job, example, run_to_end};
use crate::support::nginx::Nginx;
use crate::support::{SOON, http, poll_until, port};

#[test]
fn nginx_serves_the_new_upstream() {
    let etcd = Etcd::start();
    let client = etcd.client();
    let folder = Folder::copy_of(example("nginx-etcd"));
    let [front, blue, green] = [port::free(), port::free(), port::free()];
    let config = fs::read_to_string(folder.path("nginx.conf")).unwrap();
    let ports = [("18080", front), ("18081", blue), ("18082", green)];
    let config = ports.iter().fold(config, |config, (from, to)| config.replace(from, &to.to_string()));
    folder.write("nginx.conf", config);
    fs::create_dir(folder.path("conf.d")).unwrap();
    let job = Job::of(folder);
    let command = |arguments: &[&str]| {
        let mut command = job.command(arguments);
        command.env("ETCD_ENDPOINT", &etcd.endpoints()[0]);
        command
    };
    let instance = |port: u16| format!(r#"{{"address": "127.0.0.1", "port": {port}}}"#);
    let served = |expected: &str| {
        poll_until(SOON, || match http::get(front, "/") {
            Ok((200, body)) if body == expected => Ok(()),
            other => Err(format!("should serve {expected:?}, but gave {other:?}")),
        });
    };

    client.put("/services/web/blue", instance(blue));
    run_to_end(command(&["once"])).assert_code(0);
    let _nginx = Nginx::start(job.folder().root(), front);
    served("blue\n");
    let mut daemon = crate::support::liveconf::start(command(&["run"]));
    client.put("/services/web/blue", instance(green));
    served("green\n");

    // A value that would break out of its place is no instance; one that nginx does not take is refused by the check.
    // Both times nginx goes on with what it has.
    let good = job.read("conf.d/upstreams.conf");
    client.put("/services/web/evil", r#"{"address": "127.0.0.1; } server { listen 1", "port": 1}"#);
    daemon.wait_for_log("/services/web/evil");
    client.put("/services/web/evil", r#"{"address": "127.0.0.1", "port": 1, "weight": 0}"#);
    // What nginx says of it may hold values; the log names the line of the new file.
    let refusal = daemon.wait_for_log("`nginx` refuses the files");
    assert!(refusal.contains("upstreams.conf:") && !refusal.contains("weight"), "{refusal}");
    assert_eq!(job.read("conf.d/upstreams.conf"), good);
    served("green\n");
    client.delete("/services/web/evil");

    // A lease that ends removes its instance.
    let lease = client.lease(600);
    client.put_with_lease("/services/web/leased", &instance(blue), lease);
    client.delete("/services/web/blue");
    served("blue\n");
    client.put("/services/web/green", instance(green));
    client.revoke(lease);
    served("green\n");
    daemon.stop();
}

#[test]
fn haproxy_serves_the_new_upstream() {
    let folder = Folder::new();
    let [front, blue, green] = [port::free(), port::free(), port::free()];
    let answer = |name: &str, port: u16| {
        format!(
            "frontend {name}\n bind 127.0.0.1:{port}\n http-request return status 200 content-type text/plain string {name}\n"
        )
    };
    folder.write(
        "haproxy.cfg.tera",
        format!(
            "defaults\n mode http\n timeout client 5s\n timeout connect 5s\n timeout server 5s\n\
             frontend front\n bind 127.0.0.1:{front}\n default_backend web\n\
             backend web\n\
             {{% for instance in service(name=\"web\") %}}\n server {{{{ instance.id }}}} {{{{ instance.endpoint }}}}\n{{% endfor %}}\n\
             {}{}",
            answer("blue", blue),
            answer("green", green)
        ),
    );
    folder.write(
        "liveconf.yaml",
        "registries: {local: {file: {path: registry.yaml}}}
targets:
  haproxy:
    templates: [{src: haproxy.cfg.tera, dest: haproxy.cfg}]
    check: [haproxy, -c, -q, -f, \"{staged}\"]
    reload: {signal: USR2, pid_file: haproxy.pid}
    wait: 0
",
    );
    let instance = |port: u16| format!("services:\n  web:\n    - {{id: s1, address: 127.0.0.1, port: {port}}}\n");
    folder.write("registry.yaml", instance(blue));
    let job = Job::of(folder);
    job.run(&["once"]).assert_code(0);
    let _haproxy = crate::support::haproxy::Haproxy::start(job.folder().root(), front);
    let daemon = job.start(&["run"]);
    job.write("registry.yaml", instance(green));
    poll_until(SOON, || match http::get(front, "/") {
        Ok((200, body)) if body == "green" => Ok(()),
        other => Err(format!("should serve green, but gave {other:?}")),
    });
    daemon.stop();
}
