//! Templates that read from several registries, of one kind or of several.

use super::trap::Trap;
use super::{config, register};
use crate::support::consul::Consul;
use crate::support::etcd::Etcd;
use crate::support::liveconf::{Job, Output, run_to_end};

#[test]
fn one_template_reads_three_kinds() {
    let (etcd, consul) = (Etcd::start(), Consul::start());
    let (settings, catalog) = (etcd.client(), consul.client());
    settings.put("/web/timeout", "5s");
    register(&catalog, "web", 80);
    let registries = [
        format!("settings: {{etcd: {{endpoints: {}}}}}", etcd.endpoints_yaml()),
        format!("catalog: {{consul: {}}}", consul.section()),
        "site: {file: {path: site.yaml}}".to_owned(),
    ];
    let job = Job::new(&config(&registries, &["web"])).with("site.yaml", "name: north\n").with(
        "web.tera",
        "site {{ key(path=\"name\", registry=\"site\") }}
timeout {{ key(path=\"web/timeout\", registry=\"settings\") }}
{% for i in service(name=\"web\", registry=\"catalog\") %}
server {{ i.endpoint }} of {{ i.registry }}
{% endfor %}
",
    );
    let daemon = job.start(&["run"]);
    let file = |site: &str, timeout: &str, ports: &[u16]| {
        let server = |port: &u16| format!("server 10.0.0.1:{port} of catalog\n");
        format!("site {site}\ntimeout {timeout}\n{}", ports.iter().map(server).collect::<String>())
    };
    job.wait_for("web.conf", &file("north", "5s", &[80]));
    settings.put("/web/timeout", "9s");
    job.wait_for("web.conf", &file("north", "9s", &[80]));
    register(&catalog, "web", 81);
    job.wait_for("web.conf", &file("north", "9s", &[80, 81]));
    job.write("site.yaml", "name: south\n");
    job.wait_for("web.conf", &file("south", "9s", &[80, 81]));
    catalog.deregister("web-80");
    job.wait_for("web.conf", &file("south", "9s", &[81]));
    daemon.stop();
}

#[test]
fn two_of_each_kind_keep_apart() {
    let (old, new) = (Etcd::start(), Etcd::start());
    let (east, west) = (Consul::start(), Consul::start());
    let registries = [
        format!("old: {{etcd: {{endpoints: {}}}}}", old.endpoints_yaml()),
        format!("new: {{etcd: {{endpoints: {}}}}}", new.endpoints_yaml()),
        format!("east: {{consul: {}}}", east.section()),
        format!("west: {{consul: {}}}", west.section()),
        "a: {file: {path: a.yaml}}".to_owned(),
        "b: {file: {path: b.yaml}}".to_owned(),
    ];
    let job = Job::new(&config(&registries, &["all"])).with("a.yaml", "k: a1\n").with("b.yaml", "k: b1\n").with(
        "all.tera",
        "{% for name in [\"old\", \"new\", \"east\", \"west\", \"a\", \"b\"] %}
{{ name }}={{ key(path=\"k\", registry=name) }}
{% endfor %}
{% for name in [\"east\", \"west\"] %}
{% for i in service(name=\"web\", registry=name) %}
{{ i.registry }} {{ i.endpoint }}
{% endfor %}
{% endfor %}
",
    );
    let file = |old: &str, new: &str, east: &str, west: &str, b: &str, port: u16| {
        format!("old={old}\nnew={new}\neast={east}\nwest={west}\na=a1\nb={b}\neast 10.0.0.1:80\nwest 10.0.0.1:{port}\n")
    };
    for (client, value) in [(old.client(), "o1"), (new.client(), "n1")] {
        client.put("/k", value);
    }
    for (client, value, port) in [(east.client(), "e1", 80), (west.client(), "w1", 81)] {
        client.put("k", value);
        register(&client, "web", port);
    }
    let daemon = job.start(&["run"]);
    job.wait_for("all.conf", &file("o1", "n1", "e1", "w1", "b1", 81));
    old.client().put("/k", "o2");
    job.wait_for("all.conf", &file("o2", "n1", "e1", "w1", "b1", 81));
    west.client().put("k", "w2");
    job.wait_for("all.conf", &file("o2", "n1", "e1", "w2", "b1", 81));
    west.client().deregister("web-81");
    register(&west.client(), "web", 82);
    job.wait_for("all.conf", &file("o2", "n1", "e1", "w2", "b1", 82));
    new.client().put("/k", "n2");
    job.write("b.yaml", "k: b2\n");
    job.wait_for("all.conf", &file("o2", "n2", "e1", "w2", "b2", 82));
    daemon.stop();
}

#[test]
fn what_one_registry_says_is_asked_of_another() {
    let (etcd, consul) = (Etcd::start(), Consul::start());
    let (settings, catalog) = (etcd.client(), consul.client());
    for (service, port) in [("blue", 80), ("green", 90)] {
        register(&catalog, service, port);
    }
    settings.put("/live/shop", "blue");
    settings.put("/weights/green", "3");
    let registries = [
        format!("settings: {{etcd: {{endpoints: {}}}}}", etcd.endpoints_yaml()),
        format!("catalog: {{consul: {}}}", consul.section()),
        "site: {file: {path: site.yaml}}".to_owned(),
    ];
    let job = Job::new(&config(&registries, &["chain", "all"]))
        .with("site.yaml", "app: shop\n")
        .with(
            "chain.tera",
            "{% set live = key(path=\"live/\" ~ key(path=\"app\", registry=\"site\"), registry=\"settings\") %}
{% for i in service(name=live, registry=\"catalog\") %}
{{ i.name }} {{ i.endpoint }}
{% endfor %}
",
        )
        .with(
            "all.tera",
            "{% for s in services(registry=\"catalog\") %}
{% if s.name != \"consul\" %}
{{ s.name }} {{ key(path=\"weights/\" ~ s.name, registry=\"settings\", default=\"1\") }}
{% endif %}
{% endfor %}
",
        );
    let daemon = job.start(&["run"]);
    job.wait_for("chain.conf", "blue 10.0.0.1:80\n");
    job.wait_for("all.conf", "blue 1\ngreen 3\n");
    settings.put("/live/shop", "green");
    job.wait_for("chain.conf", "green 10.0.0.1:90\n");
    register(&catalog, "red", 70);
    job.wait_for("all.conf", "blue 1\ngreen 3\nred 1\n");
    settings.put("/weights/red", "7");
    job.wait_for("all.conf", "blue 1\ngreen 3\nred 7\n");
    // What is named has no answer yet when it is named first, and one template goes on while the other waits.
    settings.put("/live/forum", "red");
    job.write("site.yaml", "app: forum\n");
    job.wait_for("chain.conf", "red 10.0.0.1:70\n");
    daemon.stop();
}

#[test]
fn a_registry_may_be_named_by_another() {
    let registries = ["a: {file: {path: a.yaml}}".to_owned(), "b: {file: {path: b.yaml}}".to_owned()];
    let job = Job::new(&config(&registries, &["out"]))
        .with("a.yaml", "where: b\nk: in a\n")
        .with("b.yaml", "k: in b\n")
        .with("out.tera", "# head\n{{ key(path=\"k\", registry=key(path=\"where\", registry=\"a\")) }}\n");
    job.run(&["check"]).assert_code(0);
    let mut daemon = job.start(&["run"]);
    job.wait_for("out.conf", "# head\nin b\n");
    job.write("a.yaml", "where: canary\nk: in a\n");
    let line = daemon.wait_for_log("there is no registry of this name");
    assert!(line.contains("out.tera:2:4"), "{line}");
    daemon.wait_for_log("there is `a`, `b`");
    assert_eq!(daemon.logged("canary"), [] as [&str; 0], "what was asked for is a value");
    job.write("a.yaml", "where: a\nk: in a\n");
    job.wait_for("out.conf", "# head\nin a\n");
    daemon.stop();
}

#[test]
fn flags_may_name_several() {
    let job = Job::empty()
        .with("a.yaml", "k: 1\n")
        .with("b.yaml", "k: 2\n")
        .with("in.tera", "{{ key(path=\"k\", registry=\"a\") }}{{ key(path=\"k\", registry=\"b\") }}\n");
    let flags = ["--registry", "a=file:a.yaml", "--registry", "b=file:b.yaml", "--template", "in.tera:out.conf"];
    job.run(&[&["once"], &flags[..]].concat()).assert_code(0);
    assert_eq!(job.read("out.conf").as_deref(), Some("12\n"));
}

/// Runs `once` where Consul's own variables say everything about a registry.
fn once_with_variables(job: &Job, trap: &Trap) -> Output {
    let mut command = job.command(&["once", "--timeout", "4s"]);
    command.env("CONSUL_HTTP_ADDR", trap.url()).env("CONSUL_HTTP_TOKEN", "canary");
    run_to_end(command)
}

#[test]
fn variables_of_consul_fill_the_only_registry_of_its_kind_and_no_other() {
    let (filled, named) = (Trap::set(), Trap::set());
    let job = Job::new(&config(&["main: {consul: {}}".to_owned()], &["out"])).with("out.tera", "{{ key(path=\"k\") }}");
    once_with_variables(&job, &filled).assert_code(3).assert_says(&["key `k` from registry `main`"]);
    assert!(filled.caught().iter().any(|request| request.to_lowercase().contains("x-consul-token: canary")));

    // A token is for one Consul. With a second one nobody can tell which.
    let other = Trap::set();
    let consul = |name: &str, trap: &Trap| format!("{name}: {{consul: {{address: '{}'}}}}", trap.url());
    let registries = [consul("main", &named), consul("other", &other)];
    let job = Job::new(&config(&registries, &["out"]))
        .with("out.tera", "{{ key(path=\"k\", registry=\"main\") }}{{ key(path=\"k\", registry=\"other\") }}");
    let output = once_with_variables(&job, &filled);
    output.assert_code(3).assert_says(&["from registry `main`", "from registry `other`"]);
    for trap in [&named, &other] {
        assert!(trap.caught().iter().any(|request| request.starts_with("GET /v1/")), "{:?}", trap.caught());
        assert!(!trap.caught().concat().contains("canary"), "{:?}", trap.caught());
    }
    let told = "liveconf.yaml:2:18: `CONSUL_HTTP_TOKEN` is set and fills nothing: there are several registries";
    assert_eq!(output.stderr.matches(told).count(), 1, "{}", output.stderr);
    assert!(!output.stderr.contains("canary"), "{}", output.stderr);
}

#[test]
fn variables_of_etcd_fill_the_only_registry_of_its_kind_and_no_other() {
    let (etcd, other) = (Etcd::start(), Etcd::start());
    etcd.client().put("/k", "filled");
    other.client().put("/k", "other");
    let run = |job: &Job| {
        let mut command = job.command(&["once", "--timeout", "20s"]);
        command.env("ETCDCTL_ENDPOINTS", &etcd.endpoints()[0]);
        run_to_end(command)
    };
    let job = Job::new(&config(&["main: {etcd: {}}".to_owned()], &["out"])).with("out.tera", "{{ key(path=\"k\") }}");
    run(&job).assert_code(0);
    assert_eq!(job.read("out.conf").as_deref(), Some("filled"));

    let named = format!("main: {{etcd: {{endpoints: {}}}}}", other.endpoints_yaml());
    let job = Job::new(&config(&[named, "spare: {etcd: {}}".to_owned()], &["out"]))
        .with("out.tera", "{{ key(path=\"k\", registry=\"main\") }}");
    run(&job).assert_code(0).assert_says(&["liveconf.yaml:3:", "`ETCDCTL_ENDPOINTS` is set and fills nothing"]);
    assert_eq!(job.read("out.conf").as_deref(), Some("other"));
}
