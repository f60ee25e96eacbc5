//! What a wrong configuration gets: exit code 2, the place, what to do, and nothing touched.

#[cfg(feature = "consul")]
use crate::support::liveconf::run_to_end;
use crate::support::liveconf::{Job, Output};

/// One registry, one target, one template, with lines of its own in each.
fn config(template: &str, target: &str, registry: &str) -> String {
    format!(
        "registries:\n  local:\n    file: {{path: registry.yaml}}\n{registry}\
         targets:\n  web:\n    templates:\n      - {{src: in.tera, dest: out.conf{template}}}\n{target}"
    )
}

fn job(config: &str, template: &str) -> Job {
    Job::new(config).with("in.tera", template).with("registry.yaml", "a: 1\n")
}

/// Every command that reads the configuration refuses it alike, and leaves the folder as it was.
#[track_caller]
fn refused(job: &Job, says: &[&str]) -> Output {
    let before = job.folder().names("");
    let mut last = None;
    for command in ["run", "once", "render", "diff", "check"] {
        let output = job.run(&[command]);
        output.assert_code(2).assert_says(says);
        assert_eq!(output.stdout, "", "{command}");
        assert_eq!(job.folder().names(""), before, "{command} touched something");
        last = Some(output);
    }
    last.unwrap()
}

#[test]
fn an_unknown_key() {
    let job = job(&config(", mod: 644", "", ""), "x");
    refused(&job, &["liveconf.yaml:7:40", "`mod`", "did you mean `mode`"]);
}

#[test]
fn a_wrong_type() {
    refused(
        &job(&config(", create_dirs: 7", "", ""), "x"),
        &["liveconf.yaml:7:53", "`create_dirs`", "`true` or `false`"],
    );
}

#[test]
fn a_destination_that_is_there_twice() {
    let more = "      - {src: in.tera, dest: ./x/../out.conf, name: second}\n";
    refused(&job(&config("", more, ""), "x"), &["liveconf.yaml:8:", "out.conf", "liveconf.yaml:7:"]);
}

#[test]
fn a_template_that_cannot_be_read() {
    let missing = Job::new(&config("", "", "")).with("registry.yaml", "");
    refused(&missing, &["in.tera", "there is no such file"]);
    let folder = Job::new(&config("", "", "")).with("registry.yaml", "").with("in.tera/x", "");
    refused(&folder, &["in.tera", "it is a folder"]);
}

#[test]
fn a_syntax_error_in_a_template() {
    refused(&job(&config("", "", ""), "one\n{% if a %}\ntwo {{ }}\n"), &["in.tera:3:"]);
    refused(&job(&config("", "", ""), "one\n{% if true %}\ntwo\n"), &["in.tera:"]);
}

#[test]
fn an_unknown_function_or_filter() {
    refused(
        &job(&config("", "", ""), "one\n  {{ kye(path=\"a\") }}\n"),
        &["in.tera:2:", "`kye`", "did you mean `key`"],
    );
    refused(&job(&config("", "", ""), "{{ \"a\" | upcase }}\n"), &["in.tera:1:", "`upcase`"]);
}

#[test]
fn a_bad_duration() {
    refused(&job(&config("", "    wait: 100..2s\n", ""), "x"), &["liveconf.yaml:8:11", "`wait`", "100ms..2s"]);
    refused(&job(&config("", "    splay: 3 parsecs\n", ""), "x"), &["liveconf.yaml:8:12", "`splay`"]);
}

#[test]
fn a_bad_mode() {
    for mode in ["888", "\"rw-r--r--\"", "-1", "77777"] {
        refused(&job(&config(&format!(", mode: {mode}"), "", ""), "x"), &["liveconf.yaml:7:46", "`mode`", "octal"]);
    }
}

#[test]
fn several_registries_and_a_call_that_names_none() {
    let second = "  other:\n    file: {path: other.yaml}\n";
    let job = job(&config("", "", second), "one\n{{ key(path=\"a\") }}\n").with("other.yaml", "a: 2\n");
    refused(&job, &["in.tera:2:4", "registry=", "`local`", "`other`"]);
}

#[test]
fn an_unknown_registry_kind() {
    refused(&job(&config("", "", "  other:\n    fiel: {}\n"), "x"), &["liveconf.yaml:5:5", "`fiel`", "`file`"]);
}

#[test]
fn a_variable_that_is_not_set() {
    refused(&job(&config("", "    splay: ${NO_SUCH}\n", ""), "x"), &["liveconf.yaml:8:12", "NO_SUCH"]);
}

#[test]
fn placeholders_that_mean_nothing() {
    let unknown = "    check: [test, -s, \"{staged:nobody}\"]\n";
    refused(&job(&config("", unknown, ""), "x"), &["liveconf.yaml:8:", "nobody"]);
    let several = "      - {src: in.tera, dest: second.conf}\n    check: [test, -s, \"{staged}\"]\n";
    refused(&job(&config("", several, ""), "x"), &["liveconf.yaml:9:", "{staged:"]);
}

#[test]
fn not_even_yaml() {
    refused(&job("registries: {\ntargets:\n", "x"), &["liveconf.yaml:"]);
}

#[test]
fn no_configuration_at_all() {
    refused(&Job::empty(), &["liveconf.yaml"]);
    let output = Job::empty().run(&["once", "--config", "elsewhere.yaml"]);
    output.assert_code(2).assert_says(&["elsewhere.yaml"]);
}

#[test]
fn every_problem_is_told_at_once() {
    let job = job(&config(", mod: 644, mode: 9", "    splay: never\n    wiat: 0\n", ""), "x");
    let output = refused(&job, &["`mod`", "`mode`", "`splay`", "`wiat`"]);
    assert_eq!(output.stderr.matches("liveconf.yaml:").count(), 4, "{}", output.stderr);
}

#[test]
fn a_bad_command_line() {
    let job = Job::empty().with("in.tera", "x").with("registry.yaml", "");
    for (arguments, says) in [
        (&["onec"][..], "once"),
        (&["once", "--no-such"], "--no-such"),
        (&["once", "--timeout", "soon"], "soon"),
        (&["once", "--registry", "zookeeper:host", "--template", "in.tera:out"], "zookeeper"),
        (&["once", "--registry", "file:registry.yaml", "--template", "in.tera"], "in.tera"),
    ] {
        job.run(arguments).assert_code(2).assert_says(&[says]);
    }
    assert_eq!(job.folder().names(""), ["in.tera", "registry.yaml"]);
}

#[test]
fn a_target_that_is_not_there() {
    let job = job(&config("", "", ""), "x");
    job.run(&["once", "--target", "wbe"]).assert_code(2).assert_says(&["`wbe`", "web"]);
}

#[cfg(feature = "consul")]
#[test]
fn variables_of_consul_that_do_nothing_are_told() {
    let config = "registries: {main: {consul: {}}}\ntargets: {app: {templates: [{content: x, dest: out}]}}\n";
    let job = Job::new(config);
    let check = |variables: &[(&str, &str)]| {
        let mut command = job.command(&["check"]);
        command.envs(variables.iter().copied());
        let output = run_to_end(command);
        output.assert_code(0);
        output.stderr
    };
    let told = check(&[("CONSUL_HTTP_AUTH", "me:canary"), ("CONSUL_HTTP_SSL_VERIFY", "false")]);
    for variable in ["CONSUL_HTTP_AUTH", "CONSUL_HTTP_SSL_VERIFY"] {
        assert!(told.contains(&format!("`{variable}` is set, and does nothing here")), "{told}");
    }
    assert!(!told.contains("canary"), "{told}");
    let silent = check(&[("CONSUL_HTTP_AUTH", ""), ("CONSUL_HTTP_SSL_VERIFY", "true")]);
    assert!(!silent.contains("does nothing"), "{silent}");
}
