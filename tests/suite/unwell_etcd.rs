//! etcd that does what a cluster does on a bad day. In the end the file is the render of what is there.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::support::etcd::Etcd;
use crate::support::etcd_client::{Client, delete, put};
use crate::support::liveconf::Job;
use crate::support::{poll_until, port};

/// What recovery from an outage may take: K1 is 15 s, and the machine may be busy.
const RECOVERY: Duration = Duration::from_secs(40);

/// A target that lists all below `/app/`.
fn job(etcd: &Etcd) -> Job {
    Job::new(&format!(
        "registries: {{main: {{etcd: {}}}}}
targets:
  list:
    templates: [{{src: list.tera, dest: list.conf}}]
    wait: 1ms..20ms
    reload_interval: 0
",
        etcd.section()
    ))
    .with("list.tera", "{% for entry in prefix(path=\"app\") %}\n{{ entry.key }}={{ entry.value }}\n{% endfor %}\n")
}

/// What the target renders to now.
fn rendered(client: &Client) -> String {
    client.prefix("/app/").into_iter().fold(String::new(), |mut text, (key, value)| {
        writeln!(text, "{}={value}", key.strip_prefix("/app/").unwrap()).unwrap();
        text
    })
}

#[test]
fn a_member_is_killed_under_writes() {
    let mut etcd = Etcd::cluster(3);
    let job = job(&etcd);
    etcd.client().put("/app/start", "0");
    let daemon = job.start(&["run"]);
    job.wait_for("list.conf", "start=0\n");
    for victim in 0..3 {
        let survivor = etcd.client_of((victim + 1) % 3);
        let write = |number: u32| {
            let key = format!("/app/k{:02}", number % 40);
            let operation = if number % 7 == 3 { delete(&key) } else { put(&key, format!("{victim}-{number}")) };
            poll_until(RECOVERY, || survivor.try_txn(vec![operation.clone()]).map_err(|status| status.to_string()));
        };
        (0..100).for_each(write);
        etcd.kill(victim);
        (100..300).for_each(write);
        job.wait_for_within(RECOVERY, "list.conf", &rendered(&survivor));
        etcd.restart(victim);
    }
    daemon.stop();
}

#[test]
fn no_change_causes_a_read() {
    let etcd = Etcd::start();
    let client = etcd.client();
    let job = job(&etcd);
    client.put("/app/a", "0");
    let daemon = job.start(&["run"]);
    job.wait_for("list.conf", "a=0\n");
    let started = Instant::now();
    let reads = etcd.metric(0, "etcd_debugging_mvcc_range_total");
    for number in 1..=100 {
        client.put("/app/a", number.to_string());
        job.wait_for("list.conf", &format!("a={number}\n"));
    }
    let more = etcd.metric(0, "etcd_debugging_mvcc_range_total") - reads;
    // An audit once a minute: two ranges for the one query.
    let audits = 2 * (started.elapsed().as_secs() / 60 + 1);
    assert!(more <= audits, "{more} ranges in {:?}", started.elapsed());
    daemon.stop();
}

#[test]
fn a_transaction_over_several_prefixes_is_one_change() {
    let etcd = Etcd::start();
    let client = etcd.client();
    let job = Job::new(&format!(
        "registries: {{main: {{etcd: {{endpoints: {}}}}}}}
targets:
  both:
    templates:
      - content: \"{{% for e in prefix(path='left') %}}{{{{ e.value }}}} {{% endfor %}}{{% for e in prefix(path='right') %}}{{{{ e.value }}}} {{% endfor %}}\"
        dest: both.conf
    reload: {{shell: 'cat both.conf >> seen; echo >> seen'}}
    wait: 0
    reload_interval: 0
",
        etcd.endpoints_yaml()
    ));
    let both = |number: usize| vec![put("/left/a", number.to_string()), put("/right/a", number.to_string())];
    client.txn(both(0));
    let daemon = job.start(&["run"]);
    job.wait_for("both.conf", "0 0 ");
    for number in 1..=200 {
        client.txn(both(number));
    }
    job.wait_for("both.conf", "200 200 ");
    daemon.stop();
    for line in job.read("seen").unwrap().lines() {
        let mut sides = line.split_whitespace();
        assert_eq!(sides.next(), sides.next(), "a state that etcd never had");
    }
}

#[test]
fn tls_and_users() {
    let etcd = Etcd::with_tls();
    etcd.client().put("/app/a", "1");
    etcd.require_users("root-secret", "reader-canary", "/app/");
    let tls = etcd.tls();
    let config = format!(
        "registries:
  main:
    etcd:
      endpoints: {}
      username: reader
      password_file: password
      ca_file: {}
      cert_file: {}
      key_file: {}
targets:
  list:
    templates: [{{src: list.tera, dest: list.conf}}]
    wait: 0
",
        etcd.endpoints_yaml().replace("127.0.0.1", "localhost"),
        tls.ca.display(),
        tls.cert.display(),
        tls.key.display()
    );
    let job = job(&etcd);
    job.write("liveconf.yaml", config);
    job.write("password", "reader-canary\n");
    let daemon = job.start(&["run", "--log-level", "trace"]);
    job.wait_for("list.conf", "a=1\n");
    let mut root = etcd.client();
    root.log_in("root", "root-secret");
    root.put("/app/b", "2");
    job.wait_for("list.conf", "a=1\nb=2\n");
    assert_eq!(daemon.logged("reader-canary"), [] as [&str; 0]);
    daemon.stop();

    job.write("password", "wrong-canary\n");
    let refused = job.run(&["once", "--timeout", "2s"]);
    refused.assert_code(3).assert_says(&["prefix `app`", "main"]);
    assert!(!refused.stderr.contains("canary"), "{}", refused.stderr);
}

#[test]
fn an_outage_is_told_once_and_its_end_too() {
    let mut etcd = Etcd::start();
    let client = etcd.client();
    let job = job(&etcd);
    client.put("/app/a", "1");
    let mut daemon = job.start(&["run"]);
    job.wait_for("list.conf", "a=1\n");
    etcd.kill(0);
    daemon.wait_for_log("registry does not answer");
    let down = Instant::now();
    // Many tries are made in this time, by the growing pauses between them from 0.1 s on.
    poll_until(Duration::from_secs(10), || match down.elapsed() {
        elapsed if elapsed > Duration::from_secs(6) => Ok(()),
        elapsed => Err(format!("down for {elapsed:?}")),
    });
    let lines: Vec<_> =
        daemon.log().into_iter().filter(|line| line.contains("WARN") || line.contains("ERROR")).collect();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    etcd.restart(0);
    etcd.client().put("/app/a", "2");
    job.wait_for_within(RECOVERY, "list.conf", "a=2\n");
    daemon.wait_for_log("answers again");
    assert_eq!(daemon.logged("answers again").len(), 1, "{:#?}", daemon.log());
    daemon.stop();
}

#[test]
fn a_registry_that_is_not_there_is_named_when_once_gives_up() {
    let job = Job::empty().with("in.tera", "{{ key(path=\"app/x\") }}{{ key(path=\"app/y\") }}");
    let nobody = format!("etcd:http://127.0.0.1:{}", port::free());
    let output = job.run(&["once", "--registry", &nobody, "--template", "in.tera:out.conf", "--timeout", "1s"]);
    output.assert_code(3).assert_says(&["key `app/x`"]);
    assert_eq!(job.read("out.conf"), None);
}
