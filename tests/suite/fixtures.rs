//! `capture`, and what is rendered from its fixtures.

use std::os::unix::fs::PermissionsExt as _;

use crate::support::liveconf::Job;

/// A configuration of one target for these registries, with a template `in.tera`.
fn config(registries: &str) -> String {
    format!("registries: {{{registries}}}\ntargets: {{t: {{templates: [{{src: in.tera, dest: out}}]}}}}\n")
}

/// What `render` gives, live or from a fixture.
#[track_caller]
fn render(job: &Job, fixture: Option<&str>) -> String {
    let mut arguments = vec!["render"];
    arguments.extend(fixture.iter().flat_map(|fixture| ["--fixture", fixture]));
    let output = job.run(&arguments);
    output.assert_code(0);
    output.stdout
}

#[cfg(feature = "consul")]
mod consul {
    use serde_json::json;

    use super::{config, render};
    use crate::support::consul::Consul;
    use crate::support::consul_client::{Health, instance};
    use crate::support::liveconf::Job;

    /// Every question that a template can put to Consul, also those that no file can answer by itself.
    const ALL: &str = r#"
{% for service in services() %}
{{ service.name }} {{ service.tags | join(sep=",") }}
{% for i in service(name=service.name, status="any") %}
  {{ i | to_json }}
{% endfor %}
{% for i in service(name=service.name) %}
  passing {{ i.endpoint }}
{% endfor %}
{% endfor %}
{{ services(tag="blue") | map(attribute="name") }}
{{ service(name="s07", tag="blue", status=["passing", "warning"]) | map(attribute="endpoint") }}
{{ service(name="s07", status="any", near="_agent") | map(attribute="node") }}
{{ service(name="s07", status="any", filter="Service.Port == 8107", datacenter="dc1") | map(attribute="id") }}
{{ service(name="nobody") }} {{ nodes() | to_json }} {{ nodes(datacenter="dc1") | map(attribute="name") }}
{{ datacenters() }} {{ node(name="node1") | to_json }} {{ node(name="node2", datacenter="dc1") | get(key="services") | length }}
{{ node(name="nobody", default="no such node") }}
{{ prefix(path="app") | to_json }} {{ tree(path="app") | to_json }} {{ ls(path="app", kind="folders") }}
{{ key(path="app/name") }} {{ key(path="app/none", default="none") }} {{ exists(path="app/db") }} {{ exists(path="no") }}
{{ key(path="motd") }}
"#;

    /// 50 services with three instances each, in every state, with tags, metadata, weights and zones.
    fn filled() -> Consul {
        let consul = Consul::start();
        consul.wait_until_synced();
        let client = consul.client();
        for node in 0..3 {
            for service in 0..50 {
                let health = [Health::Passing, Health::Warning, Health::Critical][(service + node) % 3];
                let port = u16::try_from(8100 + service).unwrap();
                let mut entry = instance(&format!("node{node}"), &format!("s{service:02}"), port, health);
                entry["Address"] = json!(format!("10.0.{node}.1"));
                entry["NodeMeta"] = json!({"zone": format!("z{node}"), "rack": "1.10"});
                entry["SkipNodeUpdate"] = json!(false);
                let mine = &mut entry["Service"];
                mine["ID"] = json!(format!("s{service:02}-{node}"));
                mine["Tags"] = json!(if service % 2 == 0 { vec!["green", "v1"] } else { vec!["blue"] });
                mine["Meta"] = json!({"weight": service.to_string(), "path": "/a b\"c", "empty": ""});
                mine["Weights"] = json!({"Passing": service + 1, "Warning": 1});
                if service % 5 == 0 {
                    mine["Address"] = json!("fd00::1");
                }
                entry["Check"]["ServiceID"] = json!(format!("s{service:02}-{node}"));
                client.catalog_register(&entry);
            }
        }
        for (key, value) in [
            ("app/name", "shop"),
            ("app/db/port", "5432"),
            ("app/version", "1.10"),
            ("app/odd name", " ~: #[x] "),
            ("motd", "hello\n\n  world\ttab\n"),
        ] {
            client.put(key, value);
        }
        consul
    }

    #[test]
    fn fifty_services_give_the_same_bytes_without_consul() {
        let consul = filled();
        // Consul counts the polls of a program that has ended for as long as they may take: few, so that those of several
        // runs stay below its limit.
        let section = consul.section_with("max_connections: 40");
        let job = Job::new(&config(&format!("main: {{consul: {section}}}"))).with("in.tera", ALL);
        let live = render(&job, None);
        assert!(live.matches("\"status\":\"critical\"").count() >= 50 && live.contains("passing [fd00::1]:"), "{live}");
        for fixture in ["fixture.yaml", "fixture.json"] {
            let output = job.run(&["capture", "-o", fixture]);
            output.assert_code(0).assert_says(&["captured: 1", " questions in `fixture."]);
            assert!(!output.stderr.contains("warning"), "{}", output.stderr);
        }
        job.write("out", &live);
        drop(consul);
        for fixture in ["fixture.yaml", "fixture.json"] {
            assert_eq!(render(&job, Some(fixture)), live, "{fixture}");
            job.run(&["diff", "--fixture", fixture]).assert_code(0);
        }
        std::fs::remove_file(job.folder().path("out")).unwrap();
        job.run(&["once", "--fixture", "fixture.yaml"]).assert_code(0);
        assert_eq!(job.read("out").as_deref(), Some(&*live));

        // The file stays one that somebody can edit.
        let fixture = job.read("fixture.yaml").unwrap();
        let id = "id: s07-0, node: node0, address: 10.0.0.1";
        assert!(fixture.contains(id), "{fixture}");
        job.write(
            "edited.yaml",
            fixture.replace(id, "id: s07-0, node: node0, address: 10.9.9.9").replace("shop", "store"),
        );
        let edited = render(&job, Some("edited.yaml"));
        assert!(
            edited.contains("\"address\":\"10.9.9.9\"") && edited.contains("\nstore none true false\n"),
            "{edited}"
        );

        // What was not asked then is not known, which is no empty answer.
        job.write("in.tera", "{{ key(path=\"other\", default=\"x\") }}");
        let says = ["in.tera:1:", "no answer to key `other` in the fixture `fixture.yaml`: capture it again"];
        job.run(&["render", "--fixture", "fixture.yaml"]).assert_code(1).assert_says(&says);
        job.write("in.tera", "{{ service(name=\"s07\", near=\"node1\") | length }}");
        let says = ["no answer to service `s07` with `near=` in the fixture"];
        job.run(&["render", "--fixture", "fixture.yaml"]).assert_code(1).assert_says(&says);
        job.write("in.tera", "{{ key(path=\"added\") }} {{ service(name=\"added\") | map(attribute=\"endpoint\") }}");
        let fixture = format!("added: 1\n{}", fixture.replace("services:\n", "services:\n  added: [\"h:1\"]\n"));
        job.write("more.yaml", fixture);
        assert_eq!(render(&job, Some("more.yaml")), "1 [\"h:1\"]");
    }

    #[test]
    fn what_may_not_be_asked_stays_so() {
        let consul = Consul::with_acl();
        let client = consul.client();
        client.put("app/name", "shop");
        client.put("locked", "x");
        client.policy("app", "key_prefix \"app\" { policy = \"read\" }");
        let token = client.token(&["app"]).secret;
        let section = consul.section_with(&format!("token: {token}"));
        let job = Job::new(&config(&format!("main: {{consul: {section}}}"))).with(
            "in.tera",
            "{{ key(path=\"app/name\") }} {{ key(path=\"locked\", optional=true, default=\"denied\") }}\n",
        );
        assert_eq!(render(&job, None), "shop denied\n");
        job.run(&["capture", "-o", "fixture.yaml"]).assert_code(0);
        assert!(job.read("fixture.yaml").unwrap().contains("{query: {key: locked}, denied: true}"));
        drop(consul);
        assert_eq!(render(&job, Some("fixture.yaml")), "shop denied\n");
        job.write("in.tera", "{{ key(path=\"locked\", default=\"x\") }}");
        let output = job.run(&["render", "--fixture", "fixture.yaml", "--timeout", "2s"]);
        output.assert_code(3).assert_says(&["not allowed when the fixture was captured"]);
    }
}

#[cfg(feature = "etcd")]
#[test]
fn etcd_beside_a_file_gives_the_same_bytes_without_either() {
    use crate::support::etcd::Etcd;
    use crate::support::etcd_client::put_bytes;

    let etcd = Etcd::start();
    let client = etcd.client();
    for (key, value) in [
        ("/app/name", "shop"),
        ("/app/port", "8080"),
        ("/app/lines", "a\nb\n\n"),
        ("/services/web/one", "{\"address\": \"10.0.0.1\", \"port\": 80, \"tags\": [\"b\", \"a\"], \"weight\": 3}"),
        ("/services/web/two", "10.0.0.2:81"),
        ("/services/api/one", "{\"host\": \"::1\", \"port\": \"90\", \"status\": \"unhealthy\"}"),
    ] {
        client.put(key, value);
    }
    client.txn(vec![put_bytes(b"/bytes", [0xff, 0x00, 0x80])]);
    let registries = format!("main: {{etcd: {}}}, site: {{file: {{path: site.yaml}}}}", etcd.section());
    let job = Job::new(&config(&registries)).with("site.yaml", "name: north\n").with(
        "in.tera",
        r#"{% for entry in prefix(path="app", registry="main") %}
{{ entry.key }}={{ entry.value | to_json }}
{% endfor %}
{% for s in services(registry="main") %}
{{ service(name=s.name, registry="main", status="any") | to_json }}
{% endfor %}
{{ key(path="name", registry="site") }} {{ services(registry="site") }} {{ exists(path="bytes", registry="main") }}
"#,
    );
    let live = render(&job, None);
    assert!(live.contains("\"weight\":3") && live.ends_with("north [] true\n"), "{live}");
    for fixture in ["fixture.yaml", "fixture.json"] {
        job.run(&["capture", "-o", fixture]).assert_code(0);
    }
    assert!(
        job.read("fixture.yaml").unwrap().contains("\n./registries:\n  \"main\":\n    app/lines: \"a\\nb\\n\\n\"\n")
    );
    drop(etcd);
    std::fs::remove_file(job.folder().path("site.yaml")).unwrap();
    for fixture in ["fixture.yaml", "fixture.json"] {
        assert_eq!(render(&job, Some(fixture)), live, "{fixture}");
    }
    job.write("one.yaml", "app: {name: x}\n");
    let output = job.run(&["render", "--fixture", "one.yaml"]);
    output.assert_code(2).assert_says(&["there are several registries: put what each answers under `./registries`"]);
}

#[test]
fn secrets_have_stand_ins_unless_they_are_asked_for() {
    let job = Job::new(
        "registries: {main: {file: {path: registry.yaml}}}
targets:
  t:
    templates:
      - {content: \"{{ key(path='app/name') }} {{ prefix(path='app') | length }}\", dest: open}
      - {content: \"{{ key(path='app/password') }} {{ key(path='app/port') | port }}\", dest: private, secret: true}
",
    )
    .with("registry.yaml", "app: {name: shop, password: hunter2, port: 5432}\n");
    let live = render(&job, None);
    let output = job.run(&["capture", "-o", "fixture.yaml"]);
    output.assert_code(0).assert_says(&["stand-ins for 2 values", "key `app/password` from registry `main`"]);
    let fixture = job.read("fixture.yaml").unwrap();
    assert!(!fixture.contains("hunter2") && !fixture.contains("5432"), "{fixture}");
    assert!(!output.stderr.contains("hunter2") && !output.stderr.contains("warning"), "{}", output.stderr);
    job.write("kept.yaml", "");
    std::os::unix::fs::symlink("kept.yaml", job.folder().path("link.yaml")).unwrap();
    job.run(&["capture", "-o", "link.yaml"]).assert_code(0).assert_says(&[" in `link.yaml`"]);
    assert!(job.folder().path("link.yaml").is_symlink() && job.read("kept.yaml").is_some_and(|text| !text.is_empty()));
    let output = job.run(&["capture", "-o", "-"]);
    assert!(output.assert_code(0).stdout.contains("./snapshot") && !job.folder().path("-").exists());
    let rendered = render(&job, Some("fixture.yaml"));
    assert_eq!(rendered, live.replace("hunter2", "stand-in-app-password").replace("5432", "1111"));

    let output = job.run(&["capture", "--with-secrets", "-o", "fixture.yaml"]);
    output.assert_code(0).assert_says(&["warning: it holds secrets in clear"]);
    let mode = std::fs::metadata(job.folder().path("fixture.yaml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "also where it replaces one that everybody may read");
    assert_eq!(render(&job, Some("fixture.yaml")), live);

    // An open template that shows what a secret one asks for by its name does not stay the same, which is said.
    let config = job.read("liveconf.yaml").unwrap().replace("| length", "| to_json");
    job.write("liveconf.yaml", config);
    let output = job.run(&["capture"]);
    output.assert_code(0).assert_says(&["warning: `open` of target `t` has other bytes from the fixture"]);
    assert!(!output.stdout.contains("hunter2"), "{}", output.stdout);
}

/// A fixture of a registry that did not allow a question.
const LOCKED: &str = "./snapshot:
  version: 1
  registry: main
  saved: 2026-05-03T03:09:37Z
  answers:
    - {query: {key: locked}, denied: true}
";

#[test]
fn what_a_fixture_refuses_is_not_waited_for() {
    let job = Job::new(&config("main: {file: {path: registry.yaml}}"))
        .with("in.tera", "{{ key(path=\"locked\") }}")
        .with("fixture.yaml", LOCKED);
    for command in ["render", "diff", "once", "capture"] {
        let started = std::time::Instant::now();
        let output = job.run(&[command, "--fixture", "fixture.yaml", "--timeout", "50s"]);
        let says = ["`t` is not ready after", "key `locked`", "not allowed when the fixture was captured"];
        output.assert_code(3).assert_says(&says);
        assert!(started.elapsed() < std::time::Duration::from_secs(25), "{command}: {:?}", started.elapsed());
    }
}

#[test]
fn nothing_is_written_that_is_not_complete() {
    let job = Job::new(&config("main: {file: {path: registry.yaml}}"))
        .with("registry.yaml", "a: 1\n")
        .with("in.tera", "{{ key(path=\"b\") }}");
    job.run(&["capture", "-o", "fixture.yaml"]).assert_code(1).assert_says(&["in.tera:1:", "`b`"]);
    job.run(&["capture", "-o", "fixture.yaml", "--wait-for-keys", "--timeout", "200ms"]).assert_code(3);
    job.run(&["capture", "-o", "fixture.toml"]).assert_code(2).assert_says(&["YAML or JSON"]);
    job.run(&["capture", "--target", "other"]).assert_code(2);
    job.write("in.tera", "{{ key(path=\"a\") }}\n");
    job.run(&["capture", "-o", "no/folder/fixture.yaml"]).assert_code(1).assert_says(&["no/folder/fixture.yaml"]);
    job.run(&["render", "--fixture", "fixture.yaml"]).assert_code(2).assert_says(&["cannot read `fixture.yaml`"]);
    assert_eq!(job.folder().names("."), ["in.tera", "liveconf.yaml", "registry.yaml"]);
    let output = job.run(&["capture"]);
    output.assert_code(0);
    job.write("fixture.yaml", &output.stdout);
    assert_eq!(render(&job, Some("fixture.yaml")), "1\n");
}

#[test]
fn a_secret_file_for_each_item_is_captured_with_stand_ins() {
    let each = |items: &str, name: &str| {
        format!(
            "registries: {{main: {{file: {{path: registry.yaml}}}}}}
targets:
  t:
    templates:
      - for_each: '{items}'
        content: \"{{{{ {name} }}}} {{{{ key(path='users/' ~ {name} ~ '/password') }}}}\"
        dest: 'out/{{{{ {name} }}}}.conf'
        secret: true
"
        )
    };
    let registry = "tenants: 'acme, b'\njson: '[\"acme\", \"b\"]'\nlist: {acme: x, b: y}\nhidden: hunter2\n\
                    users: {acme: {password: hunter2}, b: {password: hunter3}, hunter2: {password: hunter4}}\n";
    for (items, name) in [
        // Names that a registry lists, and names that are made of a value and are those of files.
        ("ls(path=\"list\")", "item"),
        ("prefix(path=\"list\")", "item.key"),
        ("key(path=\"tenants\") | split(pat=\", \")", "item"),
        ("key(path=\"json\") | from_json", "item"),
    ] {
        let job = Job::new(&each(items, name)).with("registry.yaml", registry);
        let output = job.run(&["capture", "-o", "fixture.yaml"]);
        output.assert_code(0).assert_says(&["key `users/acme/password`"]);
        assert!(!output.stderr.contains("warning"), "{items}: {}", output.stderr);
        let fixture = job.read("fixture.yaml").unwrap();
        assert!(!fixture.contains("hunter"), "{items}: {fixture}");
        let rendered = render(&job, Some("fixture.yaml"));
        assert!(rendered.contains("out/acme.conf <==\nacme stand-in-users-acme-password"), "{items}: {rendered}");
        assert!(rendered.contains("out/b.conf <==\nb stand-in-users-b-password"), "{items}: {rendered}");
        // Cases hold against it, and what they expect holds the stand-ins.
        job.write("tests/one/fixture.yaml", &fixture);
        job.run(&["test", "tests", "--update"]).assert_code(0);
        let expected = job.read("tests/one/expected/acme.conf");
        assert_eq!(expected.as_deref(), Some("acme stand-in-users-acme-password"), "{items}");
    }
    // A question that is computed from a secret stays out.
    let config = each("ls(path=\"list\")", "item").replace("'users/' ~ item ~", "'users/' ~ key(path='hidden') ~");
    let job = Job::new(&config).with("registry.yaml", registry);
    let output = job.run(&["capture", "-o", "fixture.yaml"]);
    output.assert_code(0).assert_says(&["left out 1 question that a `secret` template computes"]);
    assert!(!job.read("fixture.yaml").unwrap().contains("hunter"), "{:?}", job.read("fixture.yaml"));
}
