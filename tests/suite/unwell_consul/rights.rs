//! Tokens that may not what templates ask for, and questions that Consul refuses.

use std::time::Duration;

use super::{complaints, configuration, job, said_once, stays, wait_for_line, wait_for_what_was_missing};
use crate::support::consul::Consul;
use crate::support::consul_client::{Health, Rights, instance};
use crate::support::liveconf::Job;
use crate::support::{SOON, poll_until};

/// Longer than several tries of what is refused, with the pause between them that the tests set.
const SOME_TRIES: Duration = Duration::from_secs(2);
const PAUSE: &str = "denied_interval: 200ms";

/// A poll has the rights of its beginning, and finds out others only when it is sent again.
const SHORT_POLLS: &str = "wait: 1s";

const ALL: &str =
    r#"key_prefix "" { policy = "read" } service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }"#;
const NO_NODES: &str = r#"key_prefix "" { policy = "read" } service_prefix "" { policy = "read" }"#;
const APP_ONLY: &str = r#"key_prefix "app/" { policy = "read" }"#;

/// Every way to ask, a target each: its name, its template, what the file holds, the question in the log and the right.
const ASKED: [(&str, &str, &str, &str, &str); 7] = [
    ("key", "{{ key(path='secret/a') }}", "1", "key `secret/a`", "key:read"),
    ("exists", "{{ exists(path='secret') }}", "true", "whether `secret` exists", "key:read"),
    ("prefix", "{% for e in prefix(path='secret') %}{{ e.key }} {% endfor %}", "a ", "prefix `secret`", "key:read"),
    ("listing", "{% for name in ls(path='secret') %}{{ name }} {% endfor %}", "a ", "listing of `secret`", "key:read"),
    (
        "service",
        "{% for i in service(name='web') %}{{ i.endpoint }} {% endfor %}",
        "10.0.0.1:80 ",
        "service `web`",
        "service:read",
    ),
    ("services", "{% for s in services() %}{{ s.name }} {% endfor %}", "consul web ", "services", "service:read"),
    ("nodes", "{% for n in nodes() %}{{ n.name }} {% endfor %}", "n1 n9 ", "nodes", "node:read"),
];

fn consul() -> Consul {
    let consul = Consul::with_acl();
    let client = consul.client();
    client.put("app/a", "1");
    client.put("secret/a", "1");
    client.catalog_register(&instance("n9", "web", 80, Health::Passing));
    consul
}

fn all_ways(consul: &Consul, settings: &str) -> Job {
    let ours = ("ours", "{{ key(path='app/a') }}");
    let targets: Vec<_> = ASKED.iter().map(|(name, template, ..)| (*name, *template)).chain([ours]).collect();
    job(&consul.section_with(settings), &targets)
}

#[test]
fn a_token_without_rights_is_told_what_it_lacks_and_gets_no_empty_file() {
    let consul = consul();
    let rights = Rights::new(consul.client(), APP_ONLY);
    // What Consul makes of it: nothing is there.
    let reader = consul.client().as_user(&rights.token);
    assert_eq!(reader.call("GET", "/v1/health/service/web", ""), b"[]");
    assert_eq!(reader.prefix("secret/"), []);

    let job = all_ways(&consul, &format!("token: {}, {PAUSE}", rights.token.secret));
    let daemon = job.start(&["run"]);
    job.wait_for("ours.conf", "1");
    for (.., question, right) in ASKED {
        wait_for_line(&daemon, &["not answered", question, &format!("the token lacks `{right}`")]);
    }
    let named = daemon.logged("not answered");
    stays(SOME_TRIES, || {
        for (name, ..) in ASKED {
            assert_eq!(job.read(&format!("{name}.conf")), None, "{name}");
        }
        assert_eq!(daemon.logged("not answered"), named, "what is refused is said once, not at each try");
    });
    consul.client().put("app/a", "2");
    job.wait_for("ours.conf", "2");
    // The state of a target that waits for what it may not have.
    for (target, .., right) in ASKED {
        wait_for_line(&daemon, &["still waits for", right, &format!("target=\"{target}\"")]);
    }

    // A missing right to nodes hides services too, and is what is forgotten most.
    rights.become_(NO_NODES);
    wait_for_line(&daemon, &["not answered", "service `web`", "the token lacks `node:read`"]);
    job.wait_for("prefix.conf", "a ");
    assert_eq!((job.read("service.conf"), job.read("nodes.conf")), (None, None));

    rights.become_(ALL);
    for (name, _, content, ..) in ASKED {
        job.wait_for(&format!("{name}.conf"), content);
    }
    wait_for_line(&daemon, &["answered again after", "`node:read`"]);
    daemon.stop();
}

#[test]
fn rights_that_are_taken_away_empty_no_file() {
    let consul = consul();
    let client = consul.client();
    let rights = Rights::new(consul.client(), ALL);
    let job = all_ways(&consul, &format!("token: {}, {PAUSE}, {SHORT_POLLS}", rights.token.secret));
    let daemon = job.start(&["run"]);
    for (name, _, content, ..) in ASKED {
        job.wait_for(&format!("{name}.conf"), content);
    }
    rights.become_(APP_ONLY);
    // Something changes everywhere; to the token all of it is gone.
    client.put("secret/b", "2");
    client.put("secret/a", "2");
    client.catalog_register(&instance("n99", "web", 81, Health::Passing));
    client.catalog_register(&instance("n99", "new", 81, Health::Passing));
    let reader = client.as_user(&rights.token);
    assert_eq!(reader.call("GET", "/v1/health/service/web", ""), b"[]");
    for (.., question, right) in ASKED {
        let line = wait_for_line(&daemon, &["not answered", question, &format!("the token lacks `{right}`")]);
        assert!(line.contains("the last answer stays"), "{line}");
    }
    let afterwards = [
        ("key", "2"),
        ("exists", "true"),
        ("prefix", "a b "),
        ("listing", "a b "),
        ("service", "10.0.0.1:80 10.0.0.1:81 "),
        ("services", "consul new web "),
        ("nodes", "n1 n9 n99 "),
    ];
    stays(SOME_TRIES, || {
        for ((name, _, before, ..), (_, after)) in ASKED.iter().zip(afterwards) {
            // A poll that was under way has the rights of its beginning, once.
            let now = job.read(&format!("{name}.conf")).unwrap();
            assert!([*before, after].contains(&now.as_str()), "{name}: {now:?}");
        }
    });
    rights.become_(ALL);
    for (name, content) in afterwards {
        job.wait_for(&format!("{name}.conf"), content);
    }
    daemon.stop();
}

#[test]
fn what_a_token_may_not_read_can_be_left_out() {
    let consul = consul();
    let rights = Rights::new(consul.client(), APP_ONLY);
    let targets = [
        ("filtered", "{{ service(name='web', registry='filtered') | length }}"),
        ("optional", "{{ service(name='web', registry='strict', optional=true) | length }}"),
    ];
    let token = format!("token: {}", rights.token.secret);
    let registries = [
        ("filtered", consul.section_with(&format!("{token}, allow_filtered: true"))),
        ("strict", consul.section_with(&token)),
    ];
    let job = Job::new(&configuration(&registries, &targets));
    job.run(&["once"]).assert_code(0);
    assert_eq!((job.read("filtered.conf").as_deref(), job.read("optional.conf").as_deref()), (Some("0"), Some("0")));
}

#[test]
fn a_token_is_revoked_and_another_one_given() {
    let consul = consul();
    let client = consul.client();
    client.policy("reader", ALL);
    let (first, second) = (client.token(&["reader"]), client.token(&["reader"]));
    let job = all_ways(&consul, &format!("token_file: token, {PAUSE}, {SHORT_POLLS}"));
    job.write("token", format!("{}\n", first.secret));
    let daemon = job.start(&["run"]);
    for (name, _, content, ..) in ASKED {
        job.wait_for(&format!("{name}.conf"), content);
    }
    client.revoke(&first);
    let reader = client.as_user(&first);
    poll_until(SOON, || match reader.try_call("GET", "/v1/kv/app/a", "") {
        Err(refused) if refused.contains("ACL not found") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    // Polls that are under way still bring what they were sent for.
    client.put("secret/a", "while polling");
    client.catalog_register(&instance("n99", "web", 81, Health::Passing));
    for (.., question, _) in ASKED {
        wait_for_line(&daemon, &["not answered", question, "does not know the token"]);
    }
    wait_for_line(&daemon, &["not answered", "key `app/a`", "does not know the token"]);
    client.put("secret/a", "afterwards");
    let named = daemon.logged("not answered");
    stays(SOME_TRIES, || {
        assert_ne!(job.read("key.conf").as_deref(), Some("afterwards"));
        assert!(!job.read("service.conf").unwrap().is_empty());
        assert_eq!(daemon.logged("not answered"), named);
    });
    for (.., question, _) in ASKED {
        let lines = named.iter().filter(|line| line.contains(question)).count();
        assert_eq!(lines, 1, "{question}: {named:#?}");
    }

    job.write("token", format!("{}\n", second.secret));
    job.wait_for("key.conf", "afterwards");
    job.wait_for("service.conf", "10.0.0.1:80 10.0.0.1:81 ");
    said_once(&daemon, "the token of Consul was read anew");
    wait_for_line(&daemon, &["answered again after", "does not know the token"]);
    client.put("secret/a", "and on");
    job.wait_for("key.conf", "and on");
    assert!(daemon.logged(&first.secret).is_empty() && daemon.logged(&second.secret).is_empty());
    daemon.stop();
}

#[test]
fn questions_that_consul_refuses_stop_nobody_else() {
    let consul = Consul::start();
    let client = consul.client();
    client.put("a", "1");
    client.catalog_register(&instance("n9", "web", 80, Health::Passing));
    let targets = [
        ("key", "{{ key(path='a', registry='main') }}"),
        ("service", "{% for i in service(name='web', registry='main') %}{{ i.endpoint }}{% endfor %}"),
        ("nowhere", "{{ service(name='web', datacenter='nowhere', registry='main') | length }}"),
        ("filter", "{{ service(name='web', filter='foo bar', registry='main') | length }}"),
        ("elsewhere", "{{ key(path='a', registry='elsewhere') }}"),
    ];
    let registries = [
        ("main", consul.section_with(PAUSE)),
        ("elsewhere", consul.section_with(&format!("datacenter: atlantis, {PAUSE}"))),
    ];
    let job = Job::new(&configuration(&registries, &targets));
    let daemon = job.start(&["run"]);
    job.wait_for("key.conf", "1");
    job.wait_for("service.conf", "10.0.0.1:80");
    let refused = [
        ("nowhere", "datacenter `nowhere` is unknown to Consul"),
        ("filter", "the filter `foo bar` is refused"),
        ("elsewhere", "datacenter `atlantis` is unknown to Consul"),
    ];
    for (_, reason) in refused {
        wait_for_line(&daemon, &["not answered", reason]);
    }
    let mut value = 1;
    stays(SOME_TRIES, || {
        value += 1;
        client.put("a", value.to_string());
        job.wait_for("key.conf", &value.to_string());
        assert_eq!(daemon.logged("not answered").len(), 3, "{:#?}", daemon.log());
        for (target, _) in refused {
            assert_eq!(job.read(&format!("{target}.conf")), None);
        }
    });
    for (target, reason) in refused {
        wait_for_line(&daemon, &["still waits for", reason, &format!("target=\"{target}\"")]);
    }
    assert_eq!(complaints(&daemon).len(), 6, "{:#?}", daemon.log());
    daemon.stop();
}

#[test]
fn once_says_at_once_what_is_refused_and_names_it_when_it_gives_up() {
    let consul = consul();
    let rights = Rights::new(consul.client(), APP_ONLY);
    let cases = [
        ("{{ key(path='secret/a') }}", rights.token.secret.as_str(), "the token lacks `key:read`"),
        ("{{ prefix(path='secret') | length }}", &rights.token.secret, "the token lacks `key:read`"),
        ("{{ service(name='web') | length }}", &rights.token.secret, "the token lacks `service:read`"),
        ("{{ key(path='app/a') }}", "8e0f4d3c-no-such-token", "Consul does not know the token"),
        ("{{ service(name='web', datacenter='nowhere') | length }}", &rights.token.secret, "datacenter `nowhere`"),
        ("{{ service(name='web', filter='foo bar') | length }}", &rights.token.secret, "the filter `foo bar`"),
    ];
    for (template, token, reason) in cases {
        let job = job(&consul.section_with(&format!("token: {token}")), &[("it", template)]);
        let mut once = job.start(&["once", "--timeout", "2s"]);
        wait_for_line(&once, &["not answered", reason]);
        assert!(once.is_running(), "it was said before the end");
        assert_eq!(once.wait(SOON), 3, "{:#?}", once.log());
        wait_for_what_was_missing(&once, reason);
        assert_eq!(said_once(&once, "not answered").matches(reason).count(), 1);
        assert!(once.logged(token).is_empty(), "{:#?}", once.log());
        assert_eq!(job.read("it.conf"), None);
    }
}
