//! Users, permissions and certificates.

use std::path::{Path, PathBuf};

use liveconf::registry::etcd::Config;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};

use super::follower::{Follower, config, fast, key, prefix};
use super::server::Server;

/// A server where `app` may read `/app/` and nothing else.
fn server_with_users() -> Server {
    let server = Server::start();
    for arguments in [
        &["user", "add", "root:root"][..],
        &["user", "grant-role", "root", "root"],
        &["role", "add", "app"],
        &["role", "grant-permission", "app", "--prefix=true", "read", "/app/"],
        &["user", "add", "app:one"],
        &["user", "grant-role", "app", "app"],
        &["put", "/app/x", "1"],
        &["put", "/other/x", "1"],
        &["auth", "enable"],
    ] {
        server.ctl(arguments).unwrap();
    }
    server
}

fn as_root(server: &Server, arguments: &[&str]) {
    server.ctl(&[&["--user", "root:root"], arguments].concat()).unwrap();
}

fn config_of_app(server: &Server) -> (Config, PathBuf) {
    let password_file = server.folder().join("password");
    std::fs::write(&password_file, "one\n").unwrap();
    let config = Config {
        username: Some("app".into()),
        password_file: Some(password_file.clone()),
        clocks: fast(),
        ..config(&server.endpoint())
    };
    (config, password_file)
}

#[tokio::test]
async fn a_denied_range_is_an_error_and_the_others_go_on() {
    let server = server_with_users();
    let follower = Follower::start(config_of_app(&server).0, [prefix("app"), prefix("other"), key("another")]);
    follower.expect(&prefix("app"), "x(app/x)=1;").await;
    let error = "error: permission denied: user `app` may not read keys below `/other/`";
    follower.expect(&prefix("other"), error).await;
    follower.expect(&key("another"), "error: permission denied: user `app` may not read key `/another`").await;
    as_root(&server, &["put", "/app/x", "2"]);
    follower.expect(&prefix("app"), "x(app/x)=2;").await;

    as_root(&server, &["role", "grant-permission", "app", "--prefix=true", "read", "/other/"]);
    follower.expect(&prefix("other"), "x(other/x)=1;").await;
    as_root(&server, &["put", "/other/x", "2"]);
    follower.expect(&prefix("other"), "x(other/x)=2;").await;

    // An open watch outlives the permission; an audit sees that it is gone.
    as_root(&server, &["role", "revoke-permission", "app", "--prefix=true", "/other/"]);
    follower.expect(&prefix("other"), error).await;
    as_root(&server, &["put", "/app/x", "3"]);
    follower.expect(&prefix("app"), "x(app/x)=3;").await;
    assert_eq!(follower.record.outages(), [""; 0]);
}

#[tokio::test]
async fn a_token_that_is_not_taken_any_more_is_renewed() {
    let server = server_with_users();
    let (config, password_file) = config_of_app(&server);
    let follower = Follower::start(config, [prefix("app")]);
    follower.expect(&prefix("app"), "x(app/x)=1;").await;
    // Another password takes away the tokens that were given for the old one.
    std::fs::write(&password_file, "two").unwrap();
    let change = format!(
        "printf 'two\\ntwo\\n' | etcdctl --endpoints {} --user root:root user passwd app --interactive=false",
        server.endpoint()
    );
    let output = std::process::Command::new("sh").args(["-c", &change]).env("ETCDCTL_API", "3").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let before = server.calls("Authenticate");
    follower.want([prefix("app"), key("app/x"), key("app/y")]);
    follower.expect(&key("app/x"), "1").await;
    assert!(server.calls("Authenticate") > before);
    as_root(&server, &["put", "/app/y", "1"]);
    follower.expect(&key("app/y"), "1").await;
    assert_eq!(follower.record.outages(), [""; 0]);
}

#[tokio::test]
async fn a_token_that_runs_out_is_renewed() {
    let server = Server::start_with("http", &["--auth-token-ttl", "2"]);
    for arguments in [
        &["user", "add", "root:one"][..],
        &["user", "grant-role", "root", "root"],
        &["put", "/app/x", "1"],
        &["auth", "enable"],
    ] {
        server.ctl(arguments).unwrap();
    }
    let password = liveconf::secret::Secret::new("one");
    // No audit that would keep the token alive.
    let config = Config { username: Some("root".into()), password: Some(password), ..config(&server.endpoint()) };
    let follower = Follower::start(config, [prefix("app")]);
    follower.expect(&prefix("app"), "x(app/x)=1;").await;
    let before = server.calls("Authenticate");
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    follower.want([prefix("app"), key("app/y")]);
    follower.expect(&key("app/y"), "absent").await;
    server.ctl(&["--user", "root:one", "put", "/app/y", "1"]).unwrap();
    follower.expect(&key("app/y"), "1").await;
    assert!(server.calls("Authenticate") > before);
    assert_eq!(follower.record.outages(), [""; 0]);
}

#[tokio::test]
async fn a_missing_or_wrong_user_is_an_outage_that_helps() {
    let server = server_with_users();
    let nobody = Follower::start(config(&server.endpoint()), [key("app/x")]);
    nobody.outage("set `username` and `password_file`").await;
    let (mut wrong, password_file) = config_of_app(&server);
    std::fs::write(&password_file, "hunter2").unwrap();
    let follower = Follower::start(wrong.clone(), [key("app/x")]);
    let outage = follower.outage("authentication failed").await;
    assert!(!outage.contains("hunter2"), "{outage}");
    wrong.password_file = Some(server.folder().join("none"));
    Follower::start(wrong, [key("app/x")]).outage("cannot read `password_file`").await;
}

/// A CA with a certificate for the server and one for us, as files.
struct Certificates {
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Certificates {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        Self { ca: CertifiedIssuer::self_signed(params, key).unwrap() }
    }

    fn write(&self, folder: &Path, name: &str, hosts: &[&str]) -> [String; 3] {
        let mut params =
            CertificateParams::new(hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>()).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.ca).unwrap();
        let files = [("ca", self.ca.pem()), ("cert", certificate.pem()), ("key", key.serialize_pem())];
        files.map(|(kind, pem)| {
            let path = folder.join(format!("{name}-{kind}.pem"));
            std::fs::write(&path, pem).unwrap();
            path.to_str().unwrap().to_owned()
        })
    }
}

#[tokio::test]
async fn certificates_are_checked_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    let ours = Certificates::new("ours");
    let [ca, cert, key_file] = ours.write(folder.path(), "server", &["127.0.0.1", "localhost"]);
    let [_, client_cert, client_key] = ours.write(folder.path(), "client", &[]);
    let [other_ca, other_cert, other_key] = Certificates::new("other").write(folder.path(), "other", &["127.0.0.1"]);
    let server = Server::start_with(
        "https",
        &["--cert-file", &cert, "--key-file", &key_file, "--trusted-ca-file", &ca, "--client-cert-auth"],
    );
    let good = Config {
        ca_file: Some(ca.clone().into()),
        cert_file: Some(client_cert.into()),
        key_file: Some(client_key.into()),
        clocks: fast(),
        ..config(&server.endpoint())
    };
    let follower = Follower::start(good.clone(), [key("a")]);
    follower.expect(&key("a"), "absent").await;

    let cases: [(Config, &str); 6] = [
        (Config { ca_file: Some(other_ca.into()), ..good.clone() }, "is not signed by a CA of `ca_file`"),
        (Config { cert_file: None, key_file: None, ..good.clone() }, "`cert_file`"),
        (
            Config { cert_file: Some(other_cert.into()), key_file: Some(other_key.into()), ..good.clone() },
            "client certificate",
        ),
        (Config { ca_file: Some("/none".into()), ..good.clone() }, "cannot read `ca_file` `/none`"),
        (Config { endpoints: vec![server.endpoint().replace("https", "http")], ..good.clone() }, "https"),
        (Config { endpoints: vec![format!("https://127.0.0.2:{}", server.client_port)], ..good }, "127.0.0.2"),
    ];
    for (config, expected) in cases {
        println!("{}", Follower::start(config, [key("a")]).outage(expected).await);
    }
    let plain = Server::start();
    let config = Config { ca_file: Some(ca.into()), ..config(&plain.endpoint().replace("http", "https")) };
    Follower::start(config, [key("a")]).outage("write `http://`").await;
}
