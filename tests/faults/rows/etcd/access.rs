//! Users, passwords and certificates.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::{Duration, Instant};

use super::{K1, Writer, registry, write};
use crate::pace;
use crate::scene::Scene;
use crate::strain::Strain;
use crate::support::certificates::Authority;
use crate::support::etcd::Etcd;
use crate::support::etcd_client::Client;
use crate::support::liveconf::Daemon;
use crate::support::poll_until;
use crate::support::proxy::{End, Proxy};

/// Nothing of this may reach a log.
const PASSWORD: &str = "canary-one";

/// One member whose user `reader` may read `app/`, and a program that is this user.
struct Guarded {
    etcd: Etcd,
    /// Logged in as root.
    root: Client,
    scene: Scene,
    daemon: Daemon,
}

impl Guarded {
    fn start(flags: &[&str], clocks: &str) -> Self {
        let etcd = Etcd::with(flags);
        let mut root = etcd.client();
        write(&root, 1);
        etcd.require_users("root", PASSWORD, "app/");
        root.log_in("root", "root");
        let settings = format!("{clocks}username: reader, password_file: password");
        let section = format!("etcd: {{endpoints: {}, prefix: '', {settings}}}", etcd.endpoints_yaml());
        let scene = Scene::new(&section, "");
        put_password(&scene, PASSWORD);
        let daemon = scene.start();
        scene.wait_for(1);
        Self { etcd, root, scene, daemon }
    }

    /// Ends it in order, and fails if a password was ever logged.
    fn stop(self) {
        assert_eq!(self.daemon.logged("canary"), [""; 0]);
        self.daemon.stop();
    }
}

/// Puts a password into its file, which nobody else may read.
fn put_password(scene: &Scene, password: &str) {
    scene.job.write(".password", format!("{password}\n"));
    let at = |name| scene.job.folder().path(name);
    fs::set_permissions(at(".password"), Permissions::from_mode(0o600)).unwrap();
    fs::rename(at(".password"), at("password")).unwrap();
}

/// The clocks of the short run; those of production in the full.
fn clocks() -> String {
    pace::either(format!("{}, ", super::SHORT_CLOCKS), String::new())
}

/// Tokens expire after 3 s, again and again, under writes: new ones are got, none of the writes is lost, and the file
/// never shows but whole generations in their order.
#[test]
fn row_26_tokens_expire() {
    // An audit less often than a token lives, since each use prolongs its life.
    let Guarded { etcd, root, scene, daemon } = Guarded::start(&["--auth-token-ttl=3"], "audit_interval: 5s, ");
    let reader = scene.forward_reader();
    let before = etcd.calls(0, "Authenticate");
    let writer = Writer::start(root, Duration::from_millis(50));
    thread::sleep(pace::either(Duration::from_secs(14), Duration::from_secs(120)));
    let last = writer.stop();
    scene.wait_for_within(K1, last);
    let again = etcd.calls(0, "Authenticate") - before;
    assert!(again >= 2, "no token has expired: {again} new ones");
    let seen = reader.stop();
    seen.assert_always_whole();
    println!("{last} generations, {again} new tokens, {seen:?}");
    assert!(seen.longest <= Duration::from_secs(4), "a gap: {seen:?}");
    assert!(daemon.logged("WARN").is_empty(), "{:#?}", daemon.log());
    daemon.stop();
}

/// The password is changed in etcd, and in its file a while later: what is written in between is there within 15 s of
/// that, with no restart.
#[test]
fn row_26_the_password_is_rotated() {
    let guarded = Guarded::start(&[], &clocks());
    let Guarded { etcd, root, scene, daemon } = &guarded;
    let reader = scene.forward_reader();
    let strain = Strain::begin(daemon);
    root.change_password("reader", "canary-two");
    let changed = Instant::now();
    write(root, 2);
    // An audit finds that the token is not taken any more, and there is none for the old password.
    poll_until(Duration::from_secs(70), || match daemon.logged("registry does not answer").first() {
        Some(line) if line.contains("authentication failed") => Ok(()),
        other => Err(format!("it should say that the password is wrong: {other:?}")),
    });
    println!("told after {:?}", changed.elapsed());
    write(root, 3);
    put_password(scene, "canary-two");
    scene.wait_for_within(K1, 3);
    reader.stop().assert_always_whole();
    strain.assert_light(daemon);
    assert!(etcd.calls(0, "Authenticate") > 1);
    guarded.stop();
}

/// The user is deleted while its watch is open, which etcd does not end: that is told within 70 s (in the short run a
/// few), the file shows nothing that is written after, and all is well 15 s after the user is back.
#[test]
fn row_26_the_user_is_deleted() {
    let guarded = Guarded::start(&[], &clocks());
    let Guarded { etcd, root, scene, daemon } = &guarded;
    let reader = scene.forward_reader();
    etcd.ctl(["user", "delete", "reader"]);
    let deleted = Instant::now();
    poll_until(Duration::from_secs(70), || match daemon.logged("registry does not answer").first() {
        Some(_) => Ok(()),
        None => Err(format!("nobody tells: {:#?}", daemon.log())),
    });
    println!("told after {:?}", deleted.elapsed());
    let strain = Strain::begin(daemon);
    write(root, 2);
    thread::sleep(pace::either(Duration::from_secs(3), Duration::from_secs(60)));
    assert_eq!(scene.shown(), Some(1), "a user that is deleted reads on");
    strain.assert_light(daemon);
    etcd.ctl(["user", "add", &format!("reader:{PASSWORD}")]);
    etcd.ctl(["user", "grant-role", "reader", "reads"]);
    scene.wait_for_within(K1, 2);
    reader.stop().assert_always_whole();
    guarded.stop();
}

/// The server shows a certificate that is expired, for another name, or signed by somebody else: nothing is said to it in
/// the clear, `status` says which it is, and the file stays; with a certificate of a new authority, whose own is put in
/// place of the old on disk, all is well 15 s later without a restart.
#[test]
fn row_30_etcd_certificates() {
    let etcd = Etcd::with_tls();
    let client = etcd.client();
    let proxy = Proxy::start(etcd.port_of(0));
    let endpoint = proxy.endpoint().replace("http://", "https://");
    let scene = Scene::new(&registry(&[endpoint], &etcd.tls().settings()), "");
    write(&client, 1);
    let daemon = scene.start();
    scene.wait_for(1);
    let reader = scene.forward_reader();

    let authority = etcd.authority();
    let folder = etcd.tls().ca.parent().unwrap().to_owned();
    let hosts = ["localhost", "127.0.0.1"];
    let stranger = Authority::new(&folder, "stranger");
    let show: [(&str, &dyn Fn(), &str); 3] = [
        ("expired", &|| drop(authority.expired("server")), "has expired"),
        ("of another name", &|| drop(authority.sign("server", &["other.example"])), "for other names"),
        ("of a stranger", &|| drop(stranger.sign("server", &hosts)), "not signed by a CA of `ca_file`"),
    ];
    for (number, (what, make, told)) in (2..).zip(show) {
        make();
        proxy.cut(End::Reset);
        write(&client, number);
        poll_until(K1, || {
            let status = scene.job.run(&["status"]).stdout;
            if status.contains(told) { Ok(()) } else { Err(format!("{what}: {status}")) }
        });
        assert_eq!(scene.shown(), Some(1), "{what}");
    }
    // Signed by a new authority, which nobody knows yet.
    let renewed = Authority::new(&folder, "renewed");
    renewed.server("server");
    write(&client, 9);
    fs::rename(folder.join("renewed.pem"), &etcd.tls().ca).unwrap();
    scene.wait_for_within(K1, 9);

    let heard = proxy.heard();
    let contains = |text: &[u8]| heard.windows(text.len()).any(|window| window == text);
    assert!(heard.len() > 1000 && !contains(b"HTTP/2") && !contains(b"app/"), "something was said in the clear");
    reader.stop().assert_always_whole();
    daemon.stop();
}
