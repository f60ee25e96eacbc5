//! What a template says about itself, `fail`, `warn` and `not_yet`; and `liveconf functions`.

use serde_json::Value;

use crate::support::liveconf::{Job, Output};
use crate::support::{SOON, poll_until};

/// A target `web` whose template is the test's.
fn job(template: &str, registry: &str) -> Job {
    let config = "registries: {local: {file: {path: registry.yaml}}}
targets:
  web:
    templates: [{src: web.tera, dest: web.conf}]
    wait: 0
    reload_interval: 0
";
    Job::new(config).with("web.tera", template).with("registry.yaml", registry)
}

const NOT_YET: &str = "{% if service(name=\"web\") | length < 2 %}\n{{ not_yet(message=\"two servers of web\") }}\n\
                       {% endif %}\n{{ service(name=\"web\") | map(attribute=\"address\") | join(sep=\" \") }}\n";

fn servers(addresses: &[&str]) -> String {
    let list: Vec<String> = addresses.iter().map(|address| format!("\"{address}:80\"")).collect();
    format!("services: {{web: [{}]}}\n", list.join(", "))
}

#[test]
fn a_template_that_says_not_yet_waits_and_the_old_file_stays() {
    let job = job(NOT_YET, &servers(&["10.0.0.1"]));
    let once = job.run(&["once", "--timeout", "300ms"]);
    once.assert_code(3).assert_says(&["target `web` is not ready after", "two servers of web", "web.tera:2"]);
    assert_eq!(job.read("web.conf"), None);
    job.run(&["render", "--timeout", "300ms"]).assert_code(3);

    let daemon = job.start(&["run"]);
    let status = |reason: &str| {
        poll_until(SOON, || {
            let Output { stdout, .. } = job.run(&["status", "--json"]);
            let status: Value = serde_json::from_str(&stdout).map_err(|error| error.to_string())?;
            let target = status["targets"][0].clone();
            if target["reason"].as_str().unwrap_or_default().contains(reason) { Ok(target) } else { Err(stdout) }
        })
    };
    let target = status("two servers of web");
    assert_eq!((&target["state"], &target["well"]), (&"waiting".into(), &false.into()), "{target:#}");
    assert!(job.run(&["status"]).assert_code(1).stdout.contains("not yet: two servers of web"));

    job.write("registry.yaml", servers(&["10.0.0.1", "10.0.0.2"]));
    job.wait_for("web.conf", "10.0.0.1 10.0.0.2\n");
    // Too few again: the file stays, and so does what is waited for.
    job.write("registry.yaml", servers(&["10.0.0.3"]));
    status("two servers of web");
    assert_eq!(job.read("web.conf").as_deref(), Some("10.0.0.1 10.0.0.2\n"));
    job.write("registry.yaml", servers(&["10.0.0.3", "10.0.0.4"]));
    job.wait_for("web.conf", "10.0.0.3 10.0.0.4\n");
    assert!(job.run(&["status"]).assert_code(0).stdout.contains("settled"));
    daemon.stop();
}

#[test]
fn a_warning_is_logged_with_its_template_once_for_many_renders() {
    let template =
        "{% if not exists(path=\"tls\") %}{{ warn(message=\"without TLS\") }}{% endif %}{{ key(path=\"x\") }}\n";
    let job = job(template, "x: 1\n");
    let mut daemon = job.start(&["run"]);
    let line = daemon.wait_for_log("a template warns: without TLS");
    assert!(line.contains("target=\"web\"") && line.contains("template=\"web.conf\""), "{line}");
    for round in 2..6 {
        job.write("registry.yaml", format!("x: {round}\n"));
        job.wait_for("web.conf", &format!("{round}\n"));
    }
    assert_eq!(daemon.logged("a template warns").len(), 1, "{:#?}", daemon.log());
    daemon.stop();
}

#[test]
fn functions_are_told_of() {
    let job = Job::empty();
    let list = job.run(&["functions"]).assert_code(0).stdout.clone();
    for line in ["Keys and folders (functions)\n", "  key(path=, [default=]", "  | to_json(", "Tests (tests)\n"] {
        assert!(list.contains(line), "{line}: {list}");
    }
    let one = job.run(&["functions", "pad_start"]).assert_code(0).stdout.clone();
    for line in ["VALUE | pad_start(width=, fill=\" \")\n", "  takes: text, number;", "  {{ 7 | pad_start(", "  007\n"]
    {
        assert!(one.contains(line), "{line}: {one}");
    }
    // What a file registry cannot answer is not shown with one.
    let lookup = job.run(&["functions", "lookup"]).assert_code(0).stdout.clone();
    assert!(lookup.contains("kind `dns`, or with the fixture\n\n  ./registries:\n    names:\n"), "{lookup}");
    assert!(!lookup.contains("with the registry"), "{lookup}");
    // A filter and a test have this name.
    let both = job.run(&["functions", "map", "--json"]).assert_code(0).stdout.clone();
    let both: Value = serde_json::from_str(&both).unwrap();
    let sorts: Vec<&str> = both.as_array().unwrap().iter().map(|entry| entry["sort"].as_str().unwrap()).collect();
    assert_eq!(sorts, ["filter", "test"]);
    assert_eq!(both[0]["arguments"][0], serde_json::json!({"name": "attribute", "required": true}));

    job.run(&["functions", "base_name"]).assert_code(2).assert_says(&["`base_name`", "did you mean `basename`?"]);
    job.run(&["functions", "getv"]).assert_code(2).assert_says(&["`getv` of confd", "`{{ key(path="]);
    job.run(&["functions", "xyzzy"]).assert_code(2).assert_says(&["`liveconf functions` lists all"]);
}

#[test]
fn the_time_is_that_of_the_machine_unless_a_variable_says_it() {
    let job = job("{{ now(every=\"1d\") | to_date(format=\"%Y-%m-%d\") }}\n", "{}\n");
    let mut command = job.command(&["render"]);
    command.env("SOURCE_DATE_EPOCH", "1769847000");
    assert_eq!(String::from_utf8(command.output().unwrap().stdout).unwrap(), "2026-01-31\n");
    let days = || std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() / 86_400;
    let before = days();
    job.write("web.tera", "{{ now(every=\"1d\") // 86400 }}\n");
    let rendered: u64 = job.run(&["render"]).assert_code(0).stdout.trim().parse().unwrap();
    assert!((before..=days()).contains(&rendered), "{rendered}");
}

#[test]
fn components_are_told_of_and_their_sources_can_be_changed() {
    let job = job(
        "{% include \"upstream.tera\" %}\n{{ <nginx.upstream name=\"web\" servers={service(name=\"web\")} /> }}\n",
        &servers(&["10.0.0.1"]),
    );
    let list = job.run(&["functions"]).assert_code(0).stdout.clone();
    for line in
        ["\nnginx (components)\n", "  <nginx.upstream name= servers= ... />     An upstream of nginx with a server"]
    {
        assert!(list.contains(line), "{line}: {list}");
    }
    let one = job.run(&["functions", "nginx.upstream"]).assert_code(0).stdout.clone();
    for line in [
        "  component `nginx.upstream`, built in\n",
        "    name         text, must be given: name of the upstream\n",
        "    keepalive    whole number, default 0: idle connections",
        "    no instances           one server that is `down`",
        "  Reads `address`, `port`,",
        "  {{ <nginx.upstream name=\"web\" servers={service(name=\"web\", status=\"any\")}",
        "      server 10.0.0.1:80 weight=3;\n",
        "      - {id: w1, node: n1, address: 10.0.0.1,",
    ] {
        assert!(one.contains(line), "{line}: {one}");
    }
    let records = job.run(&["functions", "nginx.upstream", "--json"]).assert_code(0).stdout.clone();
    let records: Value = serde_json::from_str(&records).unwrap();
    assert_eq!((&records[0]["sort"], &records[0]["group"]), (&"component".into(), &"nginx".into()));
    let servers = serde_json::json!({"name": "servers", "required": true, "takes": "list",
                                     "meaning": "instances, as `service()` gives them"});
    assert_eq!(records[0]["arguments"][1], servers);
    let all = job.run(&["functions", "--json"]).assert_code(0).stdout.clone();
    let all: Value = serde_json::from_str(&all).unwrap();
    assert_eq!(all.as_array().unwrap().iter().filter(|record| record["sort"] == "component").count(), 21);

    let source = job.run(&["functions", "nginx.upstream", "--source"]).assert_code(0).stdout.clone();
    assert!(source.starts_with("{# An upstream of nginx"), "{source}");
    job.write("upstream.tera", source.replace(" weight={{", " max_conns=9 weight={{"));
    job.run(&["once"]).assert_code(0);
    assert_eq!(
        job.read("web.conf").as_deref(),
        Some("upstream web {\n    server 10.0.0.1:80 max_conns=9 weight=1;\n}\n")
    );

    for (name, hint) in [
        ("nginx.upstraem", "did you mean `nginx.upstream`?"),
        ("file_sd", "did you mean the component `prometheus.file_sd`"),
        ("haproxy", "the components for it are `haproxy.acl`, `haproxy.backend`, "),
    ] {
        job.run(&["functions", name]).assert_code(2).assert_says(&[hint]);
    }
    job.run(&["functions", "key", "--source"]).assert_code(2).assert_says(&["`key` is part of the program"]);
    job.run(&["functions", "--source"]).assert_code(2);
}
