//! Services whose name is in no catalog, on every kind of registry: one warning for each, and none for those that are
//! there and well for nobody.

use serde_json::json;

use super::{complaints, configuration, said_once, wait_for_line};
use crate::support::consul::Consul;
use crate::support::consul_client::{Health, instance};
use crate::support::etcd::Etcd;
use crate::support::liveconf::Job;
use crate::support::{SOON, poll_until};

/// Two targets that ask for one service, one for its health and one for a tag.
fn twice(service: &str) -> [String; 2] {
    ["status='any'", "tag='x'"]
        .map(|more| format!("{{% for i in service(name='{service}', {more}) %}}{{{{ i.endpoint }}}} {{% endfor %}}"))
}

#[test]
fn in_no_catalog_of_consul() {
    let consul = Consul::start();
    let client = consul.client();
    client.catalog_register(&instance("n9", "web-api", 80, Health::Critical));
    client.put("churn", "0");
    let [any, tagged] = twice("web_api");
    let targets = [
        ("any", any.as_str()),
        ("tagged", &tagged),
        ("filtered", "{{ service(name='web_api', filter='Service.Port == 80') | length }}"),
        ("unlike", "{{ service(name='something-else') | length }}"),
        // These are there, and yet there is nothing to list.
        ("critical", "{{ service(name='web-api') | length }}"),
        ("nothing_tagged", "{{ service(name='web-api', tag='x') | length }}"),
        ("nothing_filtered", "{{ service(name='web-api', filter='Service.Port == 1') | length }}"),
        ("churn", "{{ key(path='churn') }}"),
    ];
    let job = Job::new(&configuration(&[("main", consul.section())], &targets));
    let daemon = job.start(&["run"]);
    for (name, _) in targets.iter().filter(|(name, _)| !["any", "tagged"].contains(name)) {
        job.wait_for(&format!("{name}.conf"), "0");
    }
    job.wait_for("any.conf", "");
    job.wait_for("tagged.conf", "");
    wait_for_line(&daemon, &["no such service", "`web_api` (did you mean `web-api`?)", "registry=\"main\""]);
    let line = wait_for_line(&daemon, &["no such service", "`something-else`"]);
    assert!(!line.contains("`something-else` (did"), "{line}");

    // Whatever else happens does not repeat it: other services, checks, keys.
    for round in 1..=20 {
        client.catalog_register(&instance("n9", &format!("other-{round}"), 80, Health::Passing));
        client.catalog_register(&instance("n9", "web-api", 80 + round, Health::Critical));
        client.put("churn", round.to_string());
        job.wait_for("churn.conf", &round.to_string());
    }
    assert_eq!(complaints(&daemon).join("\n").matches("web_api").count(), 1, "{:#?}", daemon.log());
    assert_eq!(complaints(&daemon).join("\n").matches("something-else").count(), 1, "{:#?}", daemon.log());

    // It comes; when it has gone again that is news, once, and no spelling is suggested for what was there.
    client.catalog_register(&instance("n9", "web_api", 90, Health::Passing));
    job.wait_for("any.conf", "10.0.0.1:90 ");
    client.catalog_deregister(&json!({"Node": "n9", "ServiceID": "web_api-1"}));
    job.wait_for("any.conf", "");
    wait_for_line(&daemon, &["no such service: `web_api` registry"]);
    assert!(daemon.logged("`web-api`").iter().all(|line| line.contains("`web_api` (did")), "{:#?}", daemon.log());
    assert_eq!(complaints(&daemon).join("\n").matches("`web_api`").count(), 2, "{:#?}", daemon.log());
    daemon.stop();
}

#[test]
fn in_no_catalog_of_etcd() {
    let etcd = Etcd::start();
    let client = etcd.client();
    client.put("/services/web-api/1", r#"{"address": "10.0.0.1", "port": 80, "status": "critical"}"#);
    let [any, tagged] = twice("web_api");
    let targets = [
        ("any", any.as_str()),
        ("tagged", &tagged),
        ("critical", "{{ service(name='web-api') | length }}"),
        ("churn", "{{ key(path='churn', default='0') }}"),
    ];
    let config = configuration(&[], &targets);
    let registry = format!("registries:\n  main: {{etcd: {{endpoints: {}}}}}\n", etcd.endpoints_yaml());
    let job = Job::new(&config.replacen("registries:\n", &registry, 1));
    let daemon = job.start(&["run"]);
    job.wait_for("any.conf", "");
    job.wait_for("tagged.conf", "");
    job.wait_for("critical.conf", "0");
    wait_for_line(&daemon, &["no such service: `web_api`", "registry=\"main\""]);
    for round in 1..=20 {
        client.put("/services/other/1", format!("10.0.0.1:{round}"));
        client.put("/churn", round.to_string());
        job.wait_for("churn.conf", &round.to_string());
    }
    said_once(&daemon, "no such service");

    client.put("/services/web_api/1", "10.0.0.1:90");
    job.wait_for("any.conf", "10.0.0.1:90 ");
    client.delete("/services/web_api/1");
    job.wait_for("any.conf", "");
    // What follows within a second is gathered.
    poll_until(SOON, || match complaints(&daemon) {
        lines if lines.len() == 2 => Ok(()),
        lines => Err(lines.join("\n")),
    });
    assert_eq!(complaints(&daemon).join("\n").matches("no such service: `web_api`").count(), 2);
    daemon.stop();
}

#[test]
fn in_no_file() {
    let [any, tagged] = twice("web_api");
    let targets = [("any", any.as_str()), ("tagged", &tagged), ("known", "{{ service(name='web-api') | length }}")];
    let config = configuration(&[], &targets);
    let registry = "registries:\n  main: {file: {path: registry.yaml}}\n";
    let job = Job::new(&config.replacen("registries:\n", registry, 1))
        .with("registry.yaml", "services: {web-api: [{address: 10.0.0.1, status: critical}]}\n");
    let daemon = job.start(&["run"]);
    job.wait_for("any.conf", "");
    job.wait_for("known.conf", "0");
    wait_for_line(&daemon, &["no such service", "`web_api` (did you mean `web-api`?)", "registry=\"main\""]);
    job.write("registry.yaml", "services: {web_api: ['10.0.0.1:90'], web-api: []}\n");
    job.wait_for("any.conf", "10.0.0.1:90 ");
    said_once(&daemon, "no such service");
    assert_eq!(complaints(&daemon).len(), 1, "{:#?}", daemon.log());
    daemon.stop();
}
