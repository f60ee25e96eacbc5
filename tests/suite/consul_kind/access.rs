//! Tokens and certificates, and other ways to a server.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{follow_at, follow_with};
use crate::support::consul::Consul;
use crate::support::consul_client::{Health, instance};
use crate::support::folder::Folder;
use crate::support::follower::{Follower, key, service};

#[test]
fn a_token_may_lose_its_rights_and_get_them_back() {
    let consul = Consul::with_acl();
    let client = consul.client();
    let rules = r#"key_prefix "app" { policy = "read" }
        service_prefix "" { policy = "read" }
        node_prefix "" { policy = "read" }"#;
    client.policy("reader", rules);
    let [first, second] = [client.token(&["reader"]), client.token(&["reader"])];
    client.put("app/a", "1");
    client.put("other", "1");
    client.catalog_register(&instance("n2", "web", 80, Health::Passing));

    let folder = Folder::new();
    folder.write("token", format!("{}\n", first.secret));
    let settings = format!("token_file: '{}', denied_interval: 300ms", folder.path("token").display());
    let follower = follow_with(&consul, &settings, [key("app/a"), key("other"), service("web")]);
    follower.expect(&key("app/a"), "1");
    follower.expect(&service("web"), "web/web-1@10.0.0.1:80;");
    let error = follower.failure(&key("other"));
    assert!(error.denied && error.reason.contains("not allowed"), "{error}");

    // Taken away: the answers stay, and what is asked fails.
    client.revoke(&first);
    client.put("app/a", "2");
    client.catalog_register(&instance("n2", "web", 81, Health::Passing));
    let error = follower.failure(&key("app/a")).reason;
    assert!(error.contains("ACL not found"), "{error}");
    follower.failure(&service("web"));
    assert!(follower.seen().answers.contains_key(&service("web")));

    // Another token in the file is taken up at once.
    client.put("app/a", "3");
    folder.write("token", &second.secret);
    follower.expect(&key("app/a"), "3");
    follower.expect(&service("web"), "web/web-1@10.0.0.1:81;");
    client.put("app/a", "4");
    follower.expect(&key("app/a"), "4");
    follower.assert_no_outage();
}

#[test]
fn another_token_is_in_force_at_once_also_where_polls_are_open() {
    let consul = Consul::with_acl();
    let client = consul.client();
    client.policy("all", r#"key_prefix "" { policy = "read" }"#);
    client.policy("none", r#"key_prefix "else" { policy = "read" }"#);
    let [all, none] = [client.token(&["all"]), client.token(&["none"])];
    client.put("a", "1");
    let folder = Folder::new();
    folder.write("token", &all.secret);
    // A poll lasts for 55 s.
    let settings = format!("token_file: '{}'", folder.path("token").display());
    let follower = follow_with(&consul, &settings, [key("a")]);
    follower.expect(&key("a"), "1");
    let since = Instant::now();
    folder.write("token", &none.secret);
    let error = follower.failure(&key("a"));
    assert!(error.denied, "{error}");
    client.put("a", "2");
    folder.write("token", &all.secret);
    follower.expect(&key("a"), "2");
    assert!(since.elapsed() < Duration::from_secs(30), "{:?}", since.elapsed());
    follower.assert_no_outage();
}

#[test]
fn over_tls_one_connection_carries_all_polls() {
    let consul = Consul::with_tls();
    let keys: Vec<_> = (0..80).map(|number| key(&format!("k{number}"))).collect();
    let follower = follow_with(&consul, "", keys.clone());
    for key in &keys {
        follower.expect(key, "absent");
    }
    consul.client().put("k7", "1");
    follower.expect(&keys[7], "1");
    assert_eq!(consul.connections(), 1, "with a poll for each of the keys");

    let without_certificate = format!("ca_file: '{}'", consul.tls().ca.display());
    let stranger = follow_at(&consul.url(), &without_certificate, [key("a")]);
    stranger.outage("ertificate");
    let without_authority = follow_at(&consul.url(), "", [key("a")]);
    let outage = without_authority.wait_for("away", |seen| seen.outages.first().cloned());
    assert!(outage.contains("TLS") || outage.contains("CA certificates"), "{outage}");
}

#[test]
fn a_unix_socket_is_an_address() {
    let folder = Folder::new();
    let socket = folder.path("consul.sock");
    let addresses = format!("127.0.0.1 unix://{}", socket.display());
    let consul = Consul::with(json!({"addresses": {"http": addresses}}));
    consul.client().put("a", "1");
    let follower = Follower::start("consul", &format!("{{address: 'unix://{}'}}", socket.display()), [key("a")]);
    follower.expect(&key("a"), "1");
    consul.client().put("a", "2");
    follower.expect(&key("a"), "2");
}
