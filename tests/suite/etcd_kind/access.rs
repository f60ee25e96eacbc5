//! Users, permissions and certificates.

use std::thread;
use std::time::Duration;

use super::{FAST, follow, follow_with};
use crate::support::certificates::Authority;
use crate::support::etcd::Etcd;
use crate::support::etcd_client::Client;
use crate::support::folder::Folder;
use crate::support::follower::{Follower, key, prefix};

/// A server whose user `reader` may read `/app/` and nothing else.
struct Scene {
    etcd: Etcd,
    /// Logged in as root.
    client: Client,
    folder: Folder,
}

impl Scene {
    fn start() -> Self {
        let etcd = Etcd::start();
        let mut client = etcd.client();
        client.put("/app/x", "1");
        client.put("/other/x", "1");
        etcd.require_users("root", "one", "/app/");
        client.log_in("root", "root");
        let folder = Folder::new();
        folder.write("password", "one\n");
        Self { etcd, client, folder }
    }

    /// The settings of that user.
    fn reader(&self) -> String {
        format!("username: reader, password_file: '{}', {FAST}", self.folder.path("password").display())
    }
}

#[test]
fn a_denied_range_is_an_error_and_the_others_go_on() {
    let scene = Scene::start();
    let Scene { etcd, client, .. } = &scene;
    let follower = follow_with(etcd, &scene.reader(), [prefix("app"), prefix("other"), key("another")]);
    follower.expect(&prefix("app"), "x(app/x)=1;");
    let error = "error: permission denied: user `reader` may not read keys below `/other/`";
    follower.expect(&prefix("other"), error);
    follower.expect(&key("another"), "error: permission denied: user `reader` may not read key `/another`");
    client.put("/app/x", "2");
    follower.expect(&prefix("app"), "x(app/x)=2;");

    etcd.ctl(["role", "grant-permission", "reads", "--prefix=true", "read", "/other/"]);
    follower.expect(&prefix("other"), "x(other/x)=1;");
    client.put("/other/x", "2");
    follower.expect(&prefix("other"), "x(other/x)=2;");

    // An open watch outlives the permission; an audit sees that it is gone.
    etcd.ctl(["role", "revoke-permission", "reads", "--prefix=true", "/other/"]);
    follower.expect(&prefix("other"), error);
    client.put("/app/x", "3");
    follower.expect(&prefix("app"), "x(app/x)=3;");
    follower.assert_no_outage();
}

#[test]
fn a_token_that_is_not_taken_any_more_is_renewed() {
    let scene = Scene::start();
    let Scene { etcd, client, folder } = &scene;
    let follower = follow_with(etcd, &scene.reader(), [prefix("app")]);
    follower.expect(&prefix("app"), "x(app/x)=1;");
    // Another password takes away the tokens that were given for the old one.
    folder.write("password", "two");
    client.change_password("reader", "two");
    let before = etcd.calls(0, "Authenticate");
    follower.want([prefix("app"), key("app/x"), key("app/y")]);
    follower.expect(&key("app/x"), "1");
    assert!(etcd.calls(0, "Authenticate") > before);
    client.put("/app/y", "1");
    follower.expect(&key("app/y"), "1");
    follower.assert_no_outage();
}

#[test]
fn a_token_that_runs_out_is_renewed() {
    let etcd = Etcd::with(&["--auth-token-ttl=2"]);
    let mut client = etcd.client();
    client.put("/app/x", "1");
    etcd.require_users("root", "one", "/app/");
    // No audit that would keep the token alive.
    let follower = follow_with(&etcd, "username: reader, password: one", [prefix("app")]);
    follower.expect(&prefix("app"), "x(app/x)=1;");
    let before = etcd.calls(0, "Authenticate");
    thread::sleep(Duration::from_secs(4));
    follower.want([prefix("app"), key("app/y")]);
    follower.expect(&key("app/y"), "absent");
    assert!(etcd.calls(0, "Authenticate") > before);
    client.log_in("root", "root");
    client.put("/app/y", "1");
    follower.expect(&key("app/y"), "1");
    follower.assert_no_outage();
}

#[test]
fn a_missing_or_wrong_user_is_an_outage_that_helps() {
    let scene = Scene::start();
    let nobody = follow(&scene.etcd, [key("app/x")]);
    nobody.outage("set `username` and `password_file`");
    scene.folder.write("password", "hunter2");
    let wrong = follow_with(&scene.etcd, &scene.reader(), [key("app/x")]);
    let outage = wrong.outage("authentication failed");
    assert!(!outage.contains("hunter2"), "{outage}");
    let without = scene.reader().replace("/password'", "/none'");
    follow_with(&scene.etcd, &without, [key("app/x")]).outage("cannot read `password_file`");
}

#[test]
fn certificates_are_checked_and_shown() {
    let folder = Folder::new();
    let other = Authority::new(folder.root(), "other").sign("client", &[]);
    let etcd = Etcd::with_tls();
    let endpoint = &etcd.endpoints()[0];
    let good = etcd.tls().clone();
    let follower = follow(&etcd, [key("a")]);
    follower.expect(&key("a"), "absent");

    let [good_ca, other_ca] = [&good, &other].map(|files| files.ca.display());
    let elsewhere = endpoint.replace("127.0.0.1", "127.0.0.2");
    let plain = endpoint.replace("https", "http");
    let at = |endpoint: &str, settings: &str| format!("{{endpoints: [{endpoint}], {settings}, {FAST}}}");
    let own = good.settings();
    let cases = [
        (at(endpoint, &own.replace(&good_ca.to_string(), &other_ca.to_string())), "is not signed by a CA of `ca_file`"),
        (at(endpoint, &format!("ca_file: {good_ca}")), "`cert_file`"),
        (at(endpoint, &other.settings().replace(&other_ca.to_string(), &good_ca.to_string())), "client certificate"),
        (at(endpoint, &own.replace(&good_ca.to_string(), "/none")), "cannot read `ca_file` `/none`"),
        (at(&plain, &own), "https"),
        (at(&elsewhere, &own), "127.0.0.2"),
    ];
    // All at once, since some of them take as long as a connection may.
    let cases = cases.map(|(section, expected)| (Follower::start("etcd", &section, [key("a")]), expected));
    for (follower, expected) in cases {
        println!("{}", follower.outage(expected));
    }
    let plain = Etcd::start();
    let section = at(&plain.endpoints()[0].replace("http", "https"), &format!("ca_file: {good_ca}"));
    Follower::start("etcd", &section, [key("a")]).outage("write `http://`");
}
