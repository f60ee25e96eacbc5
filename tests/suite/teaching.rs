//! What the program says of something misspelt in a template: what there is, what may be meant, and no value.

use crate::support::liveconf::Job;

const REGISTRY: &str = "app: {name: hunter2, port: hunter2, db: {host: hunter2}}
services:
  web:
    - {id: w1, address: 10.0.0.1, port: 80, meta: {weight: '5'}}
  api: ['10.0.0.2:80']
";

/// A job that renders one template from a file registry.
fn job(template: &str) -> Job {
    let config = "registries: {local: {file: {path: registry.yaml}}}
targets: {web: {templates: [{src: web.tera, dest: web.conf}]}}
";
    Job::new(config).with("web.tera", template).with("registry.yaml", REGISTRY)
}

#[test]
fn misspelt_names_are_told_with_what_there_is() {
    for (template, said) in [
        (
            "name {{ key(path=\"app/nmae\") }}\n",
            &[
                "web.tera:1:9: what stands here is undefined; not there: key `app/nmae` from registry `local`\n",
                "1 | name {{ key(path=\"app/nmae\") }}\n",
                "  |         ^^^^^^^^^^^^^^^^^^^^\n",
                "= `app` holds `name`, `db/`, `port`\n",
                "= hint: did you mean `app/name`?\n",
            ][..],
        ),
        (
            "{{ key(path=\"ap/name\") }}\n",
            &["= the registry holds `app/`\n", "= hint: did you mean the folder `app`?\n"],
        ),
        (
            "{{ prefix(path=\"app/dbb\", min=1) | length }}\n",
            &["prefix `app/dbb` from registry `local` has 0 entries", "= hint: did you mean the folder `app/db`?\n"],
        ),
        (
            "{{ service(name=\"wbe\", min=1) | length }}\n",
            &["service `wbe` from registry `local` has 0 entries", "= hint: did you mean `web`?\n"],
        ),
        (
            "{% for server in service(name=\"web\") %}\n{{ sevrer.port }}\n{% endfor %}\n",
            &[
                "web.tera:2:4: variable `sevrer` is not defined\n",
                "= in scope: `server`\n",
                "= hint: did you mean `server`?\n",
            ],
        ),
        (
            "{% for server in service(name=\"web\") %}\n{{ server.meta.wieght }}\n{% endfor %}\n",
            &[
                "web.tera:2:16: field `wieght` is not defined\n",
                "= `server` is instance `w1` of service `web`, registry `local`; `server.meta` has `weight`\n",
                "= hint: did you mean `weight`?\n",
            ],
        ),
        (
            "{% for x in key(path=\"app/name\") %}{{ x }}{% endfor %}\n",
            &["web.tera:1:13: `for` goes over a list or a map, not text\n", "= hint: `lines`, `split(pat=\",\")`"],
        ),
        (
            "a\n{{ <nginx.upstream name=\"web\" servers={service(name=\"web\")} options={[\"a;b\"]} /> }}\n",
            &[
                "web.tera:2:71: `options` of component `nginx.upstream`, item 1: `directive` refuses what it was given",
                "{{ <nginx.upstream name=\"web\"",
                "  |                                                                       ^^^^^\n",
            ],
        ),
    ] {
        let output = job(template).run(&["render"]);
        output.assert_code(1).assert_says(said);
        assert!(!output.stderr.contains("hunter2"), "{}", output.stderr);
    }
}

/// What is listed follows the file, though "not there" stays the answer.
#[test]
fn what_is_listed_is_what_the_file_holds_now() {
    let job = job("{{ key(path=\"app/port\") }}\n{{ key(path=\"app/nmae\") }}\n");
    let mut daemon = job.start(&["run"]);
    daemon.wait_for_log("`app` holds `name`");
    job.write("registry.yaml", "app: {nmea: hunter2, port: hunter3}\n");
    let line = daemon.wait_for_log("`app` holds `nmea`, `port`");
    assert!(!line.contains("hunter"), "{line}");
    daemon.stop();
}
