//! `examples/nginx-etcd`: real nginx follows real etcd.

use super::backend::Backend;
use super::{Scene, wait_for_answer};
use crate::support::etcd::Etcd;
use crate::support::nginx::Nginx;
use crate::support::{http, port};

#[test]
fn nginx_serves_what_etcd_says() {
    let etcd = Etcd::start();
    let client = etcd.client();
    let (blue, green, front) = (Backend::start("blue"), Backend::start("green"), port::free());
    let variables =
        [("ETCDCTL_ENDPOINTS", etcd.endpoints()[0].clone()), ("NGINX_LISTEN", format!("127.0.0.1:{front}"))];
    let scene = Scene::of("nginx-etcd", variables);
    std::fs::create_dir(scene.job.folder().path("conf.d")).unwrap();
    let instance = |backend: &Backend| format!(r#"{{"address": "127.0.0.1", "port": {}}}"#, backend.port());
    let served = |expected: &str| wait_for_answer(front, "/", 200, expected);

    client.put("/services/web/blue", instance(&blue));
    scene.run(&["once"]).assert_code(0);
    let _nginx = Nginx::start(scene.job.folder().root(), front);
    served("blue");
    assert_eq!(http::get(front, "/health").unwrap(), (200, "healthy\n".into()));
    let mut daemon = scene.start();
    client.put("/services/web/blue", instance(&green));
    served("green");

    // A value that would break out of its place is no instance; one that nginx does not take is refused by the check.
    // Both times nginx goes on with what it has.
    let good = scene.job.read("conf.d/web.conf");
    client.put("/services/web/evil", r#"{"address": "127.0.0.1; } server { listen 1", "port": 1}"#);
    daemon.wait_for_log("/services/web/evil");
    client.put("/services/web/evil", r#"{"address": "no-such-host.invalid", "port": 1}"#);
    // What nginx says of it may hold values; the log names the line of the new file.
    let refusal = daemon.wait_for_log("`nginx` refuses the files");
    assert!(
        refusal.contains(" of the new `") && refusal.contains("web.conf`") && !refusal.contains("no-such-host"),
        "{refusal}"
    );
    assert_eq!(scene.job.read("conf.d/web.conf"), good);
    served("green");
    client.delete("/services/web/evil");

    // A lease that ends removes its instance.
    let lease = client.lease(600);
    client.put_with_lease("/services/web/leased", &instance(&blue), lease);
    client.delete("/services/web/blue");
    served("blue");
    client.put("/services/web/green", instance(&green));
    client.revoke(lease);
    scene.wait_for_servers("conf.d/web.conf", &[format!("server 127.0.0.1:{} weight=1;", green.port())]);
    served("green");
    client.delete("/services/web/green");
    daemon.wait_for_log("the last accepted answer stays");
    served("green");
    daemon.stop();
    scene.run(&["once"]).assert_code(0);
    wait_for_answer(front, "/", 502, "");
    assert!(scene.job.read("conf.d/web.conf").unwrap().contains("    server 127.0.0.1:65535 down; # no instances\n"));
}
