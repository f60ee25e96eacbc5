//! What a guard holds back, and `release`, with Consul.

use serde_json::json;

use super::{asked, wait_for_state, wait_for_target};
use crate::support::consul::Consul;
use crate::support::liveconf::Job;

#[test]
fn what_is_held_is_shown_explained_and_released() {
    let consul = Consul::start();
    let client = consul.client();
    let instance =
        |service: &str, number: u16| json!({"ID": format!("{service}{number}"), "Name": service, "Port": number});
    for service in ["web", "api"] {
        client.register(&instance(service, 1));
        client.register(&instance(service, 2));
    }
    let job = Job::new(&format!(
        "registries: {{main: {{consul: {}}}}}\ntargets:\n  site:\n    templates: [{{src: out.tera, dest: out.conf}}]\n    wait: 0\n    reload_interval: 0\n",
        consul.section()
    ))
    .with("out.tera", "{{ service(name=\"web\") | length }} {{ service(name=\"api\") | length }}");
    let mut daemon = job.start(&["run"]);
    job.wait_for("out.conf", "2 2");
    job.run(&["release", "site"]).assert_code(1).assert_says(&["nothing is held back"]);
    for service in ["web", "api"] {
        for number in 1..=2 {
            client.deregister(&format!("{service}{number}"));
        }
    }
    let held = wait_for_target(&job, |target| target["held"].as_array().is_some_and(|held| held.len() == 2));
    assert_eq!((&held["state"], &held["well"]), (&"settled".into(), &false.into()));
    let api = &held["held"][0];
    assert_eq!((&api["query"], &api["reason"], &api["after"]), (&"service `api`".into(), &"nothing".into(), &0.into()));
    assert!(api["since"].is_string() && api["until"].is_null(), "{api:#}");
    let text = job.run(&["status"]).assert_code(1).stdout.clone();
    assert!(text.contains("service `web` from registry `main`, ") && text.contains("liveconf release site"), "{text}");
    let (explained, _) = asked(&job, &["explain", "site"]);
    assert!(explained["queries"].as_array().unwrap().iter().all(|query| query["held"] == true), "{explained:#}");

    job.run(&["release", "site", "other"]).assert_code(1).assert_says(&["no answer of that name", "service `api`"]);
    let (outcome, code) = asked(&job, &["release", "site", "api"]);
    assert_eq!((code, outcome["released"].as_array().unwrap().len()), (0, 1), "{outcome:#}");
    assert_eq!(outcome["targets"][0]["held"].as_array().unwrap().len(), 1);
    let file = job.read("out.conf").unwrap();
    assert!(file.ends_with(" 0") && !file.starts_with('0'), "{file}");
    daemon.wait_for_log("the operator released it");
    let (explained, _) = asked(&job, &["explain", "site"]);
    assert_eq!(
        explained["commit"]["queries"],
        json!([{"registry": "main", "query": "service `api`"}]),
        "{explained:#}"
    );

    job.run(&["release", "site"]).assert_code(0);
    assert_eq!(job.read("out.conf").as_deref(), Some("0 0"));
    assert_eq!(wait_for_state(&job, "settled")["well"], true);
    daemon.stop();
}
