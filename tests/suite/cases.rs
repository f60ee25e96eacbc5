//! `liveconf test`: cases of fixture, templates and what they give.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use crate::support::liveconf::Job;

const CONFIG: &str = "registries: {main: {consul: {address: 'http://127.0.0.1:1'}}}
targets:
  web:
    templates:
      - {src: web.conf.tera, dest: /nowhere/web.conf}
      - {content: \"{{ key(path='password') }}\\n\", dest: /nowhere/private, secret: true}
  other:
    templates: [{content: \"{{ env(name='SITE', default='none') }}\\n\", dest: /nowhere/site}]
";

const TEMPLATE: &str = "{% for i in service(name=\"web\") %}\nserver {{ i.endpoint }}\n{% endfor %}\n";

fn job() -> Job {
    Job::new(
        if cfg!(feature = "consul") {
            CONFIG.to_owned()
        } else {
            CONFIG.replace("consul: {address: 'http://127.0.0.1:1'}", "file: {path: x}")
        }
        .as_str(),
    )
    .with("web.conf.tera", TEMPLATE)
    .with("tests/one/fixture.yaml", "password: hunter2\nservices: {web: [\"a:1\", \"b:2\"]}\n")
    .with("tests/one/case.yaml", "target: web\n")
    .with("tests/deep/two/fixture.json", "{\"password\": \"x\"}")
    .with("tests/deep/two/case.yaml", "env: {SITE: north}\n")
    .with("tests/alone/case.yaml", "template: [plain.txt.tera]\nfixture: ../shared.yaml\n")
    .with("tests/alone/plain.txt.tera", "{{ key(path=\"a\") }}\n")
    .with("tests/shared.yaml", "a: 1\n")
    .with("tests/fails/fixture.yaml", "{}\n")
    .with("tests/fails/case.yaml", "target: web\nerror: {says: [\"key `password`\"], at: \"liveconf.yaml:6\"}\n")
}

#[test]
fn what_is_expected_is_written_once_and_then_held_against() {
    let job = job();
    let missing = job.run(&["test", "tests"]);
    missing.assert_code(2).assert_says(&["4 cases: 1 ok, 3 wrong"]);
    assert!(missing.stdout.contains("there is no `tests/one/expected/web.conf`: `--update` writes it"));

    let output = job.run(&["test", "tests", "--update"]);
    output.assert_code(0).assert_says(&["4 cases: 1 ok, 3 updated"]);
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert!(lines[0] == "updated tests/alone" && lines[1] == "  wrote `tests/alone/expected/plain.txt`", "{lines:?}");
    assert!(lines.ends_with(&[
        "ok      tests/fails",
        "updated tests/one",
        lines[lines.len() - 2],
        lines[lines.len() - 1]
    ]));
    assert!(lines.contains(&"  wrote `tests/one/expected/web.conf`"), "{lines:?}");
    assert_eq!(job.read("tests/one/expected/web.conf").as_deref(), Some("server a:1\nserver b:2\n"));
    assert_eq!(job.read("tests/deep/two/expected/other/site").as_deref(), Some("north\n"));
    assert_eq!(job.read("tests/deep/two/expected/web/web.conf").as_deref(), Some(""));
    assert_eq!(job.read("tests/alone/expected/plain.txt").as_deref(), Some("1\n"));
    let output = job.run(&["test", "tests"]);
    output.assert_code(0).assert_says(&["4 cases: 4 ok"]);

    job.write("tests/one/fixture.yaml", "password: hunter3\nservices: {web: [\"a:1\", \"b:3\"]}\n");
    let output = job.run(&["test", "tests"]);
    output.assert_code(1).assert_says(&["4 cases: 3 ok, 1 failed"]);
    assert!(output.stdout.contains("\n server a:1\n-server b:2\n+server b:3\n"), "{}", output.stdout);
    assert!(output.stdout.contains("(secret: the content is not shown)"), "{}", output.stdout);
    assert!(!output.stdout.contains("hunter") && !output.stderr.contains("hunter"), "{}", output.stdout);

    let output = job.run(&["test", "--json", "tests/one"]);
    output.assert_code(1);
    let outcomes: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(outcomes[0]["case"], "tests/one");
    assert_eq!(outcomes[0]["result"], "failed");
    assert_eq!(outcomes[0]["files"][0]["expected"], "tests/one/expected/web.conf");
    assert!(!job.folder().path("state").exists() && !job.folder().path("tests/one/state").exists());
}

#[test]
fn what_is_not_as_expected_is_named() {
    let job = job();
    job.run(&["test", "tests", "--update"]).assert_code(0);
    job.write("tests/one/expected/old.conf", "");
    let output = job.run(&["test", "tests/one"]);
    output.assert_code(1);
    assert!(output.stdout.contains("`tests/one/expected/old.conf` is expected, and no template gives it"));

    // What is behind a link belongs to somebody else.
    job.write("tests/one/expected/gone/older.conf", "");
    job.write("elsewhere/kept.conf", "");
    symlink("../../../elsewhere", job.folder().path("tests/one/expected/link")).unwrap();
    let output = job.run(&["test", "tests/one", "--update"]);
    output.assert_code(1);
    assert!(output.stdout.contains("`tests/one/expected/link/kept.conf` is expected, and no"), "{}", output.stdout);
    assert!(job.folder().path("elsewhere/kept.conf").exists());
    std::fs::remove_file(job.folder().path("tests/one/expected/link")).unwrap();
    job.write("tests/one/expected/old.conf", "");
    job.write("tests/one/expected/gone/older.conf", "");
    let output = job.run(&["test", "tests/one", "--update"]);
    output.assert_code(0).assert_says(&["1 case: 1 updated"]);
    assert_eq!(
        output.stdout,
        "updated tests/one\n  removed `tests/one/expected/gone/older.conf`, which no template gives\n  \
         removed `tests/one/expected/old.conf`, which no template gives\n"
    );
    let output = job.run(&["test", "tests", "tests/one", "./tests/deep"]);
    output.assert_code(0).assert_says(&["4 cases: 4 ok"]);

    let fails = |case: &str| {
        job.write("tests/fails/case.yaml", case);
        let output = job.run(&["test", "tests/fails"]);
        output.assert_code(1);
        output.stdout
    };
    let text = fails("target: web\nerror: {says: nothing like it}\n");
    assert!(text.contains("the error does not say `nothing like it`:\n") && text.contains("key `password`"), "{text}");
    let text = fails("target: web\nerror: {at: 'web.conf.tera:1'}\n");
    assert!(text.contains("the error is not at `web.conf.tera:1`:\n"), "{text}");
    let text = fails("target: other\nerror: {says: x}\n");
    assert!(text.contains("it renders, and an error was expected"), "{text}");
    let text = fails("target: web\n");
    assert!(text.contains("liveconf.yaml:6:") && text.contains("key `password`"), "{text}");
}

#[test]
fn a_wrong_case_is_told_with_its_place() {
    let job = job();
    let wrong = |path: &str, text: &str, says: &str| {
        job.write(path, text);
        let output = job.run(&["test", "tests/one"]);
        output.assert_code(2).assert_says(&["1 case: 1 wrong"]);
        assert!(output.stdout.contains(says), "{}", output.stdout);
    };
    wrong("tests/one/fixture.yaml", "services: {web: [{port: 1}]}\n", "tests/one/fixture.yaml:1:18: ");
    wrong(
        "tests/one/case.yaml",
        "targe: web\n",
        "tests/one/case.yaml:1:1: unknown key `targe` (did you mean `target`?)",
    );
    wrong("tests/one/fixture.yaml", "{}\n", "unknown key");
    wrong("tests/one/case.yaml", "target: wbe\n", "there is no target `wbe`");
    wrong("tests/one/case.yaml", "config: no.yaml\n", "no.yaml");
    wrong(
        "tests/one/case.yaml",
        "fixture: ../no.yaml\n",
        "tests/no.yaml` is not there\n    = hint: `fixture` in `case.yaml`",
    );
    wrong("tests/one/case.yaml", "error: {sais: x}\n", "unknown key `sais` (did you mean `says`?)");
    job.run(&["test", "nowhere"]).assert_code(2).assert_says(&["cannot read `nowhere`"]);
    job.folder().write("empty/x", "");
    job.run(&["test", "empty"]).assert_code(2).assert_says(&["there is no case in `empty`"]);
    job.run(&["test"]).assert_code(2);
    // What is expected, beside a fixture that is called otherwise, is a case that nobody would miss.
    job.write("tests/lost/expected/web.conf", "");
    job.write("tests/lost/fixtures.yaml", "{}");
    let output = job.run(&["test", "tests/lost"]);
    output.assert_code(2);
    assert!(output.stdout.contains("it has no `fixture.yaml`"), "{}", output.stdout);
    assert!(output.stdout.contains("`liveconf capture -o tests/lost/fixture.yaml` writes one"), "{}", output.stdout);
}

#[test]
fn an_error_may_be_expected_inside_of_a_component() {
    let config = "registries: {main: {file: {path: x}}}
targets: {t: {templates: [{src: in.tera, dest: /nowhere/out}]}}
";
    let template = "{{ <nginx.upstream name=key(path=\"name\") servers={service(name=\"web\")} /> }}\n";
    let template = template.replace("name=key(path=\"name\")", "name={key(path=\"name\")}");
    let job = Job::new(config).with("in.tera", template).with("tests/bad/fixture.yaml", "name: a b\n");
    for at in ["liveconf/nginx/upstream.tera", "liveconf/nginx/upstream.tera (built in)", "upstream.tera"] {
        job.write("tests/bad/case.yaml", format!("error: {{at: \"{at}\"}}\n"));
        let output = job.run(&["test", "tests"]);
        assert_eq!(output.stdout, "ok      tests/bad\n", "{at}");
    }
}

#[test]
fn each_file_of_a_for_each_is_expected() {
    let config = "registries: {main: {file: {path: x}}}
targets:
  t:
    templates:
      - {content: \"{{ item.value }}\\n\", for_each: prefix(path=\"sites\"), dest: \"/nowhere/{{ item.key }}.conf\"}
      - {content: \"last\\n\", dest: /nowhere/last}
";
    let job = Job::new(config).with("tests/one/fixture.yaml", "sites: {a: 1, b: 2}\n");
    job.run(&["test", "tests", "--update"]).assert_code(0);
    for (name, text) in [("a.conf", "1\n"), ("b.conf", "2\n"), ("last", "last\n")] {
        assert_eq!(job.read(&format!("tests/one/expected/{name}")).as_deref(), Some(text));
    }
    job.write("tests/one/fixture.yaml", "sites: {a: 1}\n");
    let output = job.run(&["test", "tests"]);
    output.assert_code(1);
    assert!(output.stdout.contains("`tests/one/expected/b.conf` is expected, and no template gives it"));
}

#[test]
fn files_of_one_name_in_several_folders_are_told_apart() {
    let config = "registries: {main: {file: {path: x}}}
targets:
  t:
    templates:
      - {name: one, content: \"{{ item.value }} one\\n\", for_each: prefix(path=\"sites\"), dest: \"out/one/{{ item.key }}.conf\"}
      - {name: two, content: \"{{ item.value }} two\\n\", for_each: prefix(path=\"sites\"), dest: \"/etc/two/{{ item.key }}.conf\"}
      - {name: map, content: \"{{ item.value }} map\\n\", for_each: prefix(path=\"sites\"), dest: \"/etc/two/{{ item.key }}.map\"}
";
    let job = Job::new(config).with("tests/one/fixture.yaml", "sites: {a: 1}\n");
    job.run(&["test", "tests", "--update"]).assert_code(0);
    for (name, text) in [("out/one/a.conf", "1 one\n"), ("etc/two/a.conf", "1 two\n"), ("a.map", "1 map\n")] {
        assert_eq!(job.read(&format!("tests/one/expected/{name}")).as_deref(), Some(text), "{name}");
    }
    job.run(&["test", "tests"]).assert_code(0);
    job.write("tests/one/expected/etc/two/a.conf", "other\n");
    let output = job.run(&["test", "tests"]);
    output.assert_code(1);
    assert!(output.stdout.contains("--- tests/one/expected/etc/two/a.conf"), "{}", output.stdout);
}

#[test]
fn what_is_expected_of_a_secret_template_is_for_its_owner_alone() {
    let job = job();
    let mode = |name: &str| {
        let path = job.folder().path(format!("tests/one/expected/{name}"));
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    job.write("tests/one/expected/private", "");
    job.run(&["test", "tests", "--update"]).assert_code(0);
    assert_eq!(job.read("tests/one/expected/private").as_deref(), Some("hunter2\n"));
    assert_eq!((mode("private"), mode("web.conf") & 0o600), (0o600, 0o600));
    assert_ne!(mode("web.conf"), 0o600);
}
