//! `registry=` where there are several: what is missing or wrong is told before anything starts, wherever it stands.

use super::{config, target};
use crate::support::liveconf::Job;

/// Three registries, of which only the file is there; nothing here asks them.
fn job(template: &str) -> Job {
    let registries = [
        "local: {file: {path: registry.yaml}}".to_owned(),
        "settings: {etcd: {endpoints: 'http://127.0.0.1:1'}}".to_owned(),
        "catalog: {consul: {address: 'http://127.0.0.1:1'}}".to_owned(),
    ];
    Job::new(&config(&registries, &["out"])).with("registry.yaml", "k: 1\n").with("out.tera", template)
}

/// Every command that reads templates refuses these alike, with these words.
#[track_caller]
fn refused(job: &Job, says: &[&str]) {
    for command in ["check", "run", "once", "render", "diff"] {
        let output = job.run(&[command]);
        output.assert_code(2).assert_says(says);
        assert_eq!(output.stderr.matches("error:").count(), 1, "{}", output.stderr);
    }
    assert_eq!(job.read("out.conf"), None);
}

const WHICH: [&str; 2] = ["must say which registry it asks", "add `registry=`, one of `catalog`, `local`, `settings`"];

#[test]
fn a_call_that_names_none_is_refused_wherever_it_stands() {
    let call = "{{ key(path=\"k\") }}";
    for (template, place) in [
        (format!("one\n{{% if false %}}\n  {call}\n{{% endif %}}\n"), "out.tera:3:6"),
        (format!("{{% for x in [] %}}{call}{{% endfor %}}\n"), "out.tera:1:21"),
        ("{% set x = false and services() %}\n".to_owned(), "out.tera:1:22"),
        ("{{ key(path=\"a\", registry=\"local\", default=key(path=\"b\")) }}\n".to_owned(), "out.tera:1:44"),
        (format!("{{% component box() %}}\n{call}\n{{% endcomponent box %}}\n"), "out.tera:2:4"),
    ] {
        refused(&job(&template), &[place, WHICH[0], WHICH[1]]);
    }
    // In what is included, and in a component that comes with it and is never called.
    for (included, place) in [
        (format!("one\n{call}\n"), "part.tera:2:4"),
        (format!("{{% component box() %}}{call}{{% endcomponent box %}}\n"), "part.tera:1:25"),
    ] {
        let job = job("{% if false %}{% include \"part.tera\" %}{% endif %}\n").with("part.tera", included);
        refused(&job, &[place, WHICH[0], WHICH[1]]);
    }
}

#[test]
fn a_template_in_the_configuration_has_its_place_there() {
    let job = job("");
    let inline = "content: 'x {{ key(path=\"k\") }}'";
    job.write("liveconf.yaml", job.read("liveconf.yaml").unwrap().replace("src: out.tera", inline));
    refused(&job, &["liveconf.yaml:7:", WHICH[0], WHICH[1]]);
}

#[test]
fn a_name_that_no_registry_has_is_refused_with_the_nearest() {
    for (name, hint) in [
        ("setting", "did you mean `settings`?"),
        ("lcoal", "did you mean `local`?"),
        ("vault", "there is `catalog`, `local`, `settings`"),
        ("", "there is `catalog`, `local`, `settings`"),
    ] {
        let template = format!("one\n{{% if false %}}{{{{ key(path=\"k\", registry=\"{name}\") }}}}{{% endif %}}\n");
        refused(&job(&template), &["out.tera:2:18", &format!("there is no registry `{name}`"), hint]);
    }
}

#[test]
fn what_a_registry_cannot_be_asked_is_refused() {
    for (call, column, refusal) in [
        ("service(name=\"a\", registry=\"local\", near=\"_agent\")", 40, "registry `local` has no `near=`"),
        ("service(name=\"a\", filter=\"x\" ~ 1, registry=\"local\")", 22, "registry `local` has no `filter=`"),
        ("service(name=k, datacenter=\"b\", registry=\"settings\")", 20, "registry `settings` has no `datacenter=`"),
        ("nodes(registry=\"settings\")", 4, "registry `settings` has no nodes"),
        ("nodes(datacenter=\"b\", registry=\"local\")", 10, "registry `local` has no `datacenter=`"),
    ] {
        let template = format!("{{% if false %}}{{% set k = \"k\" %}}\n{{{{ {call} }}}}{{% endif %}}\n");
        refused(&job(&template), &[&format!("out.tera:2:{column}"), refusal]);
    }
    // Consul can be asked all of it, and what only a render can tell is left to the render.
    let fine = "{% if false %}
{{ service(name=\"a\", near=\"_agent\", datacenter=\"b\", filter=\"c\", registry=\"catalog\") }}
{{ nodes(datacenter=\"b\", registry=\"catalog\") }}
{% for name in [\"catalog\"] %}{{ nodes(registry=name) }}{% endfor %}
{% endif %}
";
    job(fine).run(&["check"]).assert_code(0);
}

#[test]
fn what_only_a_render_can_tell_fails_it_at_its_place() {
    let job = job("one\n{% for name in [\"local\", \"lcoal\"] %}{{ key(path=\"k\", registry=name) }}{% endfor %}\n");
    job.run(&["check"]).assert_code(0);
    let output = job.run(&["once"]);
    output.assert_code(1).assert_says(&["out.tera:2:40", "there is no registry of this name", "there is `catalog`"]);

    job.write("out.tera", "{% for name in [\"local\"] %}{{ nodes(datacenter=\"b\", registry=name) }}{% endfor %}");
    job.run(&["check"]).assert_code(0);
    job.run(&["once"]).assert_code(1).assert_says(&["out.tera:1:31", "registry `local` has no `datacenter=`"]);
    assert_eq!(job.read("out.conf"), None);
}

#[test]
fn every_call_is_told_of_at_once() {
    let job = job("{{ key(path=\"a\") }}\n{{ services() }}\n").with("x.tera", "{{ nodes(registry=\"catalogue\") }}");
    job.write("liveconf.yaml", job.read("liveconf.yaml").unwrap() + &target("x"));
    let output = job.run(&["check"]);
    output.assert_code(2).assert_says(&["out.tera:1:4", "out.tera:2:4", "x.tera:1:4", "did you mean `catalog`?"]);
}
