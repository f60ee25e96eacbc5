//! Where templates are refused that stand in the configuration itself, and what people are told who bring templates of
//! other tools along.

use crate::support::liveconf::Job;

/// What `check` says of a configuration with these lines in its one target, but for the empty lines of its excerpts.
fn said(lines: &str, files: &[(&str, &str)]) -> String {
    let config = format!("registries:\n  local: {{file: {{path: registry.yaml}}}}\ntargets:\n  web:\n{lines}");
    let job = Job::new(&config).with("registry.yaml", "app: {host: h}\n");
    let job = files.iter().fold(job, |job, (name, text)| job.with(name, text));
    let output = job.run(&["check"]);
    output.assert_code(2);
    output
        .stderr
        .replace(&format!("{}/", job.folder().path("").display()), "")
        .replace(&job.folder().path("").display().to_string(), "")
}

#[test]
fn a_template_in_the_configuration_is_refused_at_its_place_there() {
    for (lines, expected) in [
        (
            "    templates:\n      - dest: out\n        content: |\n          # x\n          {{ kee(path=\"a\") }}\n",
            "error: liveconf.yaml:9:14: unknown function `kee`\n  |\n9 |           {{ kee(path=\"a\") }}\n  |              ^^^\n  \
             = hint: did you mean `key`?\n",
        ),
        (
            "    templates: [{dest: out, content: \"a {{ kee(path=\\\"a\\\") }}\"}]\n",
            "error: liveconf.yaml:5:44: unknown function `kee`\n  |\n\
             5 |     templates: [{dest: out, content: \"a {{ kee(path=\\\"a\\\") }}\"}]\n  \
             |                                            ^^^\n  = hint: did you mean `key`?\n",
        ),
        (
            "    templates:\n      - dest: out\n        content: >-\n          x {{ 1 }}\n          {{ 1 | uper }}\n",
            "error: liveconf.yaml:9:18: unknown filter `uper`\n  |\n9 |           {{ 1 | uper }}\n  |                  ^^^^\n  \
             = hint: did you mean `upper`?\n",
        ),
        (
            "    templates:\n      - {for_each: 'services() | wher(a=1)', dest: \"x/{{ item.name }}\", content: x}\n",
            "error: liveconf.yaml:6:34: unknown filter `wher`\n  |\n\
             6 |       - {for_each: 'services() | wher(a=1)', dest: \"x/{{ item.name }}\", content: x}\n  \
             |                                  ^^^^\n  = hint: did you mean `where`?\n",
        ),
        (
            "    templates:\n      - for_each:\n          items: services(\n        dest: x/{{ item.name }}\n        content: x\n",
            "error: liveconf.yaml:7:27: found `}}` but expected ,\n  |\n7 |           items: services(\n  |                           ^\n  \
             = hint: `(` is not closed\n",
        ),
        (
            "    templates:\n      - for_each: services()\n        dest: /a/${NO:-b}/x-{{ item.name | uper }}.conf\n        content: x\n",
            "error: liveconf.yaml:7:44: unknown filter `uper`\n  |\n\
             7 |         dest: /a/${NO:-b}/x-{{ item.name | uper }}.conf\n  \
             |                                            ^^^^\n  = hint: did you mean `upper`?\n",
        ),
        (
            "    templates: [{dest: out, content: 'it''s {{ 1 | uper }}', reload_password: hunter2}]\n",
            "error: liveconf.yaml:5:62: unknown key `reload_password`\n",
        ),
    ] {
        let said = said(lines, &[]);
        if expected.matches('\n').count() > 1 {
            assert_eq!(said, expected);
        } else {
            assert!(said.contains(expected), "{said}");
        }
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn a_template_of_consul_template_is_converted_step_by_step() {
    let template = r#"upstream web {
{{- range service "blue.web@dc1" }}
  server {{ .Address }}:{{ .Port }} weight={{ keyOrDefault "app/weight" "1" }};
{{- else }}
  server 127.0.0.1:65535;
{{- end }}
}
{{ with $d := key "app/settings" | parseJSON }}{{ if eq $d.mode "a" }}a{{ end }}{{ end }}
"#;
    let lines = "    templates: [{src: in.ctmpl, dest: out}]\n";
    let first = said(lines, &[("in.ctmpl", template)]);
    let hints: Vec<&str> = first.lines().filter_map(|line| line.trim().strip_prefix("= hint: here it is ")).collect();
    assert_eq!(
        hints,
        [
            "`{%- for instance in service(name=\"web\", tag=\"blue\", datacenter=\"dc1\") %}`; the page \"coming from confd, \
             consul-template or remco\" of the reference has the rest",
            "`{{ instance.address }}`",
            "`{{ instance.port }}`",
            "`{{ key(path=\"app/weight\", default=\"1\") }}`",
            "`{%- else %}`",
            "`{%- endfor %}`",
            "`{% set d = key(path=\"app/settings\") | from_json %}{% if d %}`",
            "`{% if d.mode == \"a\" %}`",
            "`{% endif %}`",
            "`{% endif %}`",
        ],
        "{first}"
    );
}

#[test]
fn a_template_of_ruby_is_doubted() {
    let config = "targets:\n  web:\n    templates: [{src: in.erb, dest: out}]\n";
    let erb = "a\n<% service('web').each do |i| %>\n<%= i['Port'] %>\n<% end %>\n";
    let output = Job::new(config).with("in.erb", erb).run(&["check"]);
    output.assert_code(0).assert_says(&[
        "in.erb:2:1: this is the syntax of ERB, as of consul-templaterb, and is written into the file as it stands",
        "2 | <% service('web').each do |i| %>",
    ]);
    for fine in ["a <% b", "{# <% of the file itself %> #}<%= x %>", "100%>"] {
        let output = Job::new(config).with("in.erb", fine).run(&["check"]);
        output.assert_code(0);
        assert!(!output.stderr.contains("ERB"), "{}", output.stderr);
    }
}

#[test]
fn an_expression_that_yaml_takes_for_its_own_is_told_to_be_put_in_quotes() {
    for (items, expected) in [
        ("[item for item in services()]", ["6:19: `for_each` takes an expression", "hint: put it in quotes"]),
        ("{items: [item for item in services()]}", ["`items` takes an expression", "hint: put it in quotes"]),
        (
            "{{ services(tag=\"a\") }}",
            ["6:20: a mapping cannot be a key", "text that begins with `{{` is put in quotes"],
        ),
        ("'{{ services() }}'", ["6:19: `for_each` takes an expression", "hint: write it without braces and in quotes"]),
    ] {
        let said =
            said(&format!("    templates:\n      - for_each: {items}\n        dest: x/y\n        content: x\n"), &[]);
        assert!(expected.iter().all(|expected| said.contains(expected)), "{items}\n{said}");
    }
}

#[test]
fn two_templates_with_for_each_are_told_how_to_be_named() {
    let lines = "    templates:\n      - {for_each: services(), dest: \"a/{{ item.name }}.conf\", content: x}\n      \
                 - {for_each: services(), dest: \"b/{{ item.name }}.conf\", content: x}\n";
    let said = said(lines, &[]);
    assert!(
        said.contains(
            "liveconf.yaml:7:38: a template of this target is called `*.conf` already, at liveconf.yaml:6:38"
        ),
        "{said}"
    );
    assert!(
        said.contains(
            "hint: it is called after its file: write a `name` of its own beside its `dest`, such as `name: b`"
        ),
        "{said}"
    );
}

#[test]
fn a_check_of_many_files_is_told_where_it_belongs() {
    let each = "    templates: [{for_each: services(), dest: \"a/{{ item.name }}\", content: x}]\n";
    let check = said(&format!("{each}    check: [test, -f, \"{{staged}}\"]\n"), &[]);
    assert!(check.contains("`{staged}` stands for no file here: every template writes many"), "{check}");
    assert!(
        check.contains(
            "hint: give the template with `for_each` a `check` of its own, in which it stands for each of its files"
        ),
        "{check}"
    );
}

#[test]
fn an_error_of_a_file_of_many_says_of_which() {
    let job = |more: &str, name: &str| {
        let config = format!(
            "registries:\n  local: {{file: {{path: registry.yaml}}}}\ntargets:\n  web:\n    templates:\n      \
             - {{for_each: \"ls(path='sites')\", dest: \"x/{name}\", content: \"{{{{ key(path='of/' ~ item) }}}}\"{more}}}\n"
        );
        Job::new(&config).with("registry.yaml", "sites: {one: 1, two: 2, three: 3}\nof: {one: 1, three: 3}\n")
    };
    let open = job("", "{{ item }}.conf").run(&["render"]);
    open.assert_code(1).assert_says(&["for item 3 of 3, whose file is `two.conf`"]);
    let secret = job(", secret: true", "{{ item }}.conf").run(&["render"]);
    secret.assert_code(1).assert_says(&["for item 3 of 3\n"]);
    assert!(!secret.stderr.contains("two.conf"), "{}", secret.stderr);
}
