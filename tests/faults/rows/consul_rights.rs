//! What a token may not, and what a certificate proves.

use std::time::{Duration, Instant};

use super::consul_away::{K1, clocks, settings, stay, write};
use crate::pace;
use crate::scene::Scene;
use crate::strain::Strain;
use crate::support::certificates::{Authority, TlsFiles};
use crate::support::consul::Consul;
use crate::support::consul_client::{Health, Rights, instance};
use crate::support::folder::Folder;
use crate::support::reader::Reader;
use crate::support::{SOON, poll_until};
use crate::tap::Tap;

const ALL: &str =
    r#"key_prefix "" { policy = "read" } service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }"#;

/// How soon somebody is told that a right is gone. A poll has the rights of its beginning, so it takes one `wait`.
const ALERT: Duration = Duration::from_secs(70);

/// The right to a prefix and to services is taken away, so that Consul answers that there is nothing: no file is emptied, the
/// log names the right in time, and what came meanwhile is served when the right is back.
#[test]
fn row_27_the_rights_to_a_prefix_and_a_service_are_taken_away() {
    let consul = Consul::with_acl();
    let client = consul.client();
    write(&client, 1);
    client.catalog_register(&instance("n9", "web", 80, Health::Passing));
    let rights = Rights::new(consul.client(), ALL);
    let reader = client.as_user(&rights.token);
    let waits = pace::either("wait: 1s, denied_interval: 500ms", "");
    let settings = settings(&[&format!("token: {}", rights.token.secret), clocks(), waits]);
    let services = "  web:\n    templates: [{content: \"{% for i in service(name='web') %}{{ i.endpoint }}\\n{% endfor %}\", dest: \
                    web.conf}]\n";
    let scene = Scene::new(
        &format!("consul: {}", consul.section_with(&settings)),
        &format!("    wait: 1ms..20ms\n    reload_interval: 0\n{services}"),
    );
    let daemon = scene.start();
    scene.wait_for(1);
    scene.job.wait_for("web.conf", "10.0.0.1:80\n");
    let watched = scene.forward_reader();
    let web = Reader::start(scene.job.folder().path("web.conf"), |content| !content.is_empty());
    let strain = Strain::begin(&daemon);

    rights.become_(r#"key_prefix "other/" { policy = "read" }"#);
    let taken = Instant::now();
    // Something changes everywhere; to the token all of it is gone, with an index as if that were so.
    write(&client, 2);
    client.catalog_register(&instance("n9", "web", 81, Health::Passing));
    poll_until(SOON, || match reader.request("GET", "/v1/kv/app/?recurse", "").unwrap() {
        (404, _) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert!(reader.index("/v1/kv/app/?recurse") > 1);
    assert_eq!(reader.call("GET", "/v1/health/service/web?passing", ""), b"[]");
    for right in ["`key:read`", "`service:read`"] {
        let within = pace::either(SOON, ALERT).saturating_sub(taken.elapsed());
        poll_until(within, || {
            let lines = daemon.logged("not answered");
            lines.iter().any(|line| line.contains(right)).then_some(()).ok_or_else(|| format!("{right}: {lines:#?}"))
        });
    }
    println!("who lost the rights was told after {:?}", taken.elapsed());
    stay(taken, pace::either(Duration::from_secs(4), Duration::from_secs(90)));
    // A poll that was under way brought what came after, once.
    assert!([Some(1), Some(2)].contains(&scene.shown()), "{:?}", scene.shown());
    strain.assert_light(&daemon);

    write(&client, 3);
    rights.become_(ALL);
    scene.wait_for_within(K1, 3);
    scene.job.wait_for_within(K1, "web.conf", "10.0.0.1:81\n");
    watched.stop().assert_always_whole();
    web.stop().assert_always_whole();
    assert!(daemon.logged(&rights.token.secret).is_empty());
    daemon.stop();
}

/// Consul shows certificates that are expired, of another name and of an authority that is not trusted: each is refused and named
/// while the file stays, nothing is sent in the clear, and a right one, or another authority on disk, is enough to go on.
#[test]
fn row_30_consul_certificates_are_wrong_and_renewed() {
    const TOKEN: &str = "hunter2-canary";
    let mut consul = Consul::with_tls();
    let folder = Folder::new();
    let (ours, other) = (Authority::new(folder.root(), "ours"), Authority::new(folder.root(), "other"));
    let good = ours.server("good");
    let client = ours.client("client");
    let server_files = consul.tls().ca.parent().unwrap().to_owned();
    // The server goes on to take our certificate.
    std::fs::copy(&client.ca, server_files.join("ca.pem")).unwrap();
    let show = |consul: &mut Consul, files: &TlsFiles| {
        consul.stop(0);
        std::fs::copy(&files.cert, server_files.join("server.pem")).unwrap();
        std::fs::copy(&files.key, server_files.join("server.key")).unwrap();
        consul.restart(0);
    };
    show(&mut consul, &good);
    write(&consul.client(), 1);
    let trusted = folder.path("trusted.pem");
    std::fs::copy(&client.ca, &trusted).unwrap();
    let tap = Tap::start(consul.port());
    let tls = TlsFiles { ca: trusted.clone(), ..client };
    let all = settings(&[&tls.settings(), clocks(), &format!("token: {TOKEN}")]);
    let scene = Scene::new(
        &format!("consul: {{address: 'https://127.0.0.1:{}', {all}}}", tap.port),
        "    wait: 1ms..20ms\n    reload_interval: 0\n",
    );
    let daemon = scene.start();
    scene.wait_for(1);
    let reader = scene.forward_reader();
    let mut generation = 1;
    let wrong = [
        (ours.expired("expired"), "expired"),
        (ours.sign("elsewhere", &["elsewhere.example"]), "not valid for name"),
        (other.server("untrusted"), "UnknownIssuer"),
    ];
    for (files, reason) in &wrong {
        let before = daemon.logged("registry does not answer").len();
        show(&mut consul, files);
        generation += 1;
        write(&consul.client(), generation);
        // The one that runs tells of an outage once, and this one began with a server that stopped; another one says why it
        // goes on.
        scene.job.run(&["render", "--timeout", "3s"]).assert_code(3).assert_says(&["no TLS connection", reason]);
        assert_eq!(scene.shows(generation - 1), Ok(()), "{reason}");
        show(&mut consul, &good);
        scene.wait_for_within(K1, generation);
        assert_eq!(daemon.logged("registry does not answer").len(), before + 1, "{reason}");
    }

    // Another authority: it is enough to put its certificate in the place of the old one.
    show(&mut consul, &other.server("renewed"));
    generation += 1;
    write(&consul.client(), generation);
    std::fs::copy(folder.path("other.pem"), &trusted).unwrap();
    scene.wait_for_within(K1, generation);
    reader.stop().assert_always_whole();
    daemon.stop();
    let sent = tap.sent();
    assert!(sent.len() > 2 * wrong.len(), "{} connections", sent.len());
    for bytes in sent.iter().filter(|bytes| !bytes.is_empty()) {
        // A record of TLS, of a handshake.
        assert_eq!(bytes[..2], [0x16, 0x03], "{}", bytes.escape_ascii());
        assert!(!bytes.windows(TOKEN.len()).any(|window| window == TOKEN.as_bytes()));
    }
}
