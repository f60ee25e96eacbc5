//! Templates of other tools: each tag that is not understood is refused with what it is here.

use super::*;

/// The source with every tag that is refused replaced by what its hint says.
fn converted(source: &str) -> String {
    let mut lines: Vec<String> = source.lines().map(str::to_owned).collect();
    for error in Bench::new().refused(source).iter().rev() {
        let hint = error.hint.as_deref().unwrap_or_else(|| panic!("{error}"));
        let hint = hint.strip_prefix("here it is `").unwrap_or_else(|| panic!("{error}"));
        let (written, _) = hint.split_once('`').unwrap();
        let line: Vec<char> = lines[error.line - 1].chars().collect();
        let (start, width) = (error.column - 1, error.snippet.as_ref().unwrap().width);
        let (before, after) = (&line[..start], &line[start + width..]);
        lines[error.line - 1] =
            format!("{}{written}{}", before.iter().collect::<String>(), after.iter().collect::<String>());
    }
    lines.join("\n")
}

#[test]
fn a_go_template_is_converted_by_its_hints() {
    for (source, here) in [
        (r#"{{ key "app/host" }}"#, r#"{{ key(path="app/host") }}"#),
        (r#"{{key "app/host"}}"#, r#"{{ key(path="app/host") }}"#),
        (r#"{{- key "x" -}}"#, r#"{{- key(path="x") -}}"#),
        (r#"{{getv "/app/host"}}"#, r#"{{ key(path="/app/host") }}"#),
        (r#"{{getv "/app/host" "h"}}"#, r#"{{ key(path="/app/host", default="h") }}"#),
        (r#"{{ keyOrDefault "a" "b" }}"#, r#"{{ key(path="a", default="b") }}"#),
        (r#"{{ key "x" | toUpper }}"#, r#"{{ key(path="x") | upper }}"#),
        (r#"{{ key "x" | parseJSON | toYAML }}"#, r#"{{ key(path="x") | from_json | to_yaml }}"#),
        (
            r#"{{ env "A" }}:{{ getenv "B" "b" }}"#,
            r#"{{ env(name="A", default="") }}:{{ env(name="B", default="b") }}"#,
        ),
        (r#"{{ base64URLDecode "YT8-" }}"#, r#"{{ "YT8-" | base64_decode(url=true) }}"#),
        (
            r#"{{range gets "/sites/*"}}{{base .Key}}={{.Value}};{{end}}"#,
            r#"{% for entry in prefix(path="/sites", glob="*") %}{{ entry.path | basename }}={{ entry.value }};{% endfor %}"#,
        ),
        (
            r#"{{ range service "web" }}server {{ .Address }}:{{ .Port }};{{ else }}none{{ end }}"#,
            r#"{% for instance in service(name="web") %}server {{ instance.address }}:{{ instance.port }};{% else %}none{% endfor %}"#,
        ),
        (
            r#"{{ range $i, $s := service "blue.web@dc2~_agent|any" }}{{ $i }}{{ $s.ServiceMeta.zone }}{{ end }}"#,
            r#"{% for s in service(name="web", tag="blue", datacenter="dc2", near="_agent", status="any") %}{{ loop.index0 }}{{ s.meta.zone }}{% endfor %}"#,
        ),
        (
            r#"{{ range datacenters }}{{ range service (printf "web@%s" .) }}{{ .Port }}{{ end }}{{ end }}"#,
            r#"{% for name in datacenters() %}{% for instance in service(name="web", datacenter=name) %}{{ instance.port }}{% endfor %}{% endfor %}"#,
        ),
        (
            r#"{{ range service "web" "passing,warning" }}{{ .ID }}{{ end }}"#,
            r#"{% for instance in service(name="web", status=["passing", "warning"]) %}{{ instance.id }}{% endfor %}"#,
        ),
        (
            r#"{{ range services }}{{ range service .Name }}{{ .Node }}{{ end }}{{ .Tags | join "," }}{{ end }}"#,
            r#"{% for service in services() %}{% for instance in service(name=service.name) %}{{ instance.node }}{% endfor %}{{ service.tags | join(sep=",") }}{% endfor %}"#,
        ),
        (
            r#"{{ range $tag, $all := service "web" | byTag }}{{ $tag }}{{ range $all }}{{ .Name }}{{ end }}{{ end }}"#,
            r#"{% for tag, all in service(name="web") | group_by(attribute="tags") %}{{ tag }}{% for instance in all %}{{ instance.name }}{% endfor %}{% endfor %}"#,
        ),
        (
            r#"{{ with $d := key "x" | parseJSON }}{{ $d.name }}{{ end }}"#,
            r#"{% set d = key(path="x") | from_json %}{% if d %}{{ d.name }}{% endif %}"#,
        ),
        (
            r#"{{ with key "x" }}{{ . }}{{ end }}"#,
            r#"{% set value = key(path="x") %}{% if value %}{{ value }}{% endif %}"#,
        ),
        (
            r#"{{ $a := key "x" }}{{ if eq $a "b" }}1{{ else if and (ne $a "c") (not $a) }}2{{ else }}3{{ end }}"#,
            r#"{% set a = key(path="x") %}{% if a == "b" %}1{% elif (a != "c") and (not a) %}2{% else %}3{% endif %}"#,
        ),
        (
            r#"{{ range ls "app" }}{{ .Key }}={{ .Value }}{{ end }}"#,
            r#"{% for entry in prefix(path="app", glob="*") %}{{ entry.key }}={{ entry.value }}{% endfor %}"#,
        ),
        (
            r#"{{range ls "/app"}}{{getv (printf "/app/%s/port" .)}}{{end}}"#,
            r#"{% for name in ls(path="/app") %}{{ key(path="/app/" ~ name ~ "/port") }}{% endfor %}"#,
        ),
        (
            r#"{{range gets "/a/*"}}{{$d := json .Value}}{{$d.host}}{{range split $d.names ","}}{{.}}{{end}}{{end}}"#,
            r#"{% for entry in prefix(path="/a", glob="*") %}{% set d = entry.value | from_json %}{{ d.host }}{% for item in d.names | split(pat=",") %}{{ item }}{% endfor %}{% endfor %}"#,
        ),
        (
            r#"{{ range service "web" }}{{ if .Tags | contains "blue" }}b{{ end }}{{ end }}"#,
            r#"{% for instance in service(name="web") %}{% if "blue" in instance.tags %}b{% endif %}{% endfor %}"#,
        ),
        (
            r#"{{ if gt (len (service "web")) 2 }}many{{ end }}"#,
            r#"{% if service(name="web") | length > 2 %}many{% endif %}"#,
        ),
        (
            r#"{{range getvs "/sites/*/port"}}{{.}}{{end}}"#,
            r#"{% for item in prefix(path="/sites", glob="*/port") | map(attribute="value") %}{{ item }}{% endfor %}"#,
        ),
        (
            r#"{{ $l := service "web" }}{{ with index $l 0 }}{{ .Address }}{{ end }}"#,
            r#"{% set l = service(name="web") %}{% set value = l[0] %}{% if value %}{{ value.address }}{% endif %}"#,
        ),
        (
            r#"{{ range service "web" }}{{ .Weights.Passing }}{{ .Checks.AggregatedStatus }}{{ end }}"#,
            r#"{% for instance in service(name="web") %}{{ instance.weight }}{{ instance.status }}{% endfor %}"#,
        ),
        (
            r#"{{ with get "/a" }}{{ .Value }}{{ end }}"#,
            r#"{% set value = key(path="/a") %}{% if value %}{{ value }}{% endif %}"#,
        ),
        (
            r#"{{ toUpper (getv "/a") }}{{ len (service "web") }}{{ (key "a") | toUpper }}"#,
            r#"{{ key(path="/a") | upper }}{{ service(name="web") | length }}{{ key(path="a") | upper }}"#,
        ),
        (r#"{{ key (printf "a/%s" (env "X")) }}"#, r#"{{ key(path="a/" ~ env(name="X", default="")) }}"#),
        (
            r#"{{range gets "/a/*"}}{{toUpper (replace (base .Key) "-" "_" -1)}}{{end}}"#,
            r#"{% for entry in prefix(path="/a", glob="*") %}{{ entry.path | basename | replace(from="-", to="_") | upper }}{% endfor %}"#,
        ),
        (r"{{/* a comment */}}{{ $x := 1 }}", "{# a comment #}{% set x = 1 %}"),
        (r"{{ $l := loop 3 }}{{ index $l 0 }}", "{% set l = range(end=3) %}{{ l[0] }}"),
        (r"{% for x in [1] %}{{ x }}{{ end }}", "{% for x in [1] %}{{ x }}{% endfor %}"),
        (r#"{{ key "päth" }}ä{{ key "b" }}"#, r#"{{ key(path="päth") }}ä{{ key(path="b") }}"#),
    ] {
        let converted = converted(source);
        assert_eq!(converted, here, "{source}");
        if let Err(errors) = Bench::new().load(&[inline(here)]) {
            panic!("{here}\n{}", errors[0]);
        }
    }
}

/// A field of what is not known is not guessed at: what its row says is told.
#[test]
fn what_cannot_be_taken_as_it_is_is_not_given() {
    for (source, number, row) in [
        (r"{{range gets $dir}}{{.Value}}{{end}}", 1, "`.Value` is "),
        (r#"{{range gets (printf "/%s/*" .)}}{{.Value}}{{end}}"#, 1, "`.Value` is "),
        (r"{{ $s := index . 0 }}{{ $s.Address }}", 1, "`.Address` is "),
        (
            r#"{{ range $k, $p := tree "x" | byKey }}{{ range $pair := $p }}{{ .Value }}{{ end }}{{ end }}"#,
            2,
            "`.Value` is ",
        ),
        (r"{{ with node }}{{ .Node.Node }}{{ end }}", 1, "`.Node` is "),
        (r#"{{ range $j, $v := getvs (printf "/%s" .A) }}{{ if $j }},{{ end }}{{ end }}"#, 1, "a condition is "),
        (r#"{{ range service "web" }}{{ .NodeAddress }}{{ end }}"#, 1, "`.NodeAddress` is "),
        (r#"{{ range service "web" }}{{ .NodeMeta.x }}{{ end }}"#, 1, "`.NodeMeta` is "),
        (r#"{{ range service "web" }}{{ .ServiceTaggedAddresses }}{{ end }}"#, 1, "`.ServiceTaggedAddresses` is "),
        (r#"{{ with get "/a" }}{{ .Key }}{{ end }}"#, 1, "`.Key` is "),
    ] {
        let errors = Bench::new().refused(source);
        let hint = errors[number].hint.as_deref().unwrap();
        assert!(hint.starts_with(row), "{source}: {hint}");
    }
}

#[test]
fn a_name_of_another_tool_that_stands_alone_gives_its_row() {
    for name in ["hostname", "datetime", "timestamp"] {
        let error = Bench::new().render(&format!("{{{{ {name} }}}}")).output.unwrap_err();
        let hint = error.hint.as_deref().unwrap();
        assert!(hint.starts_with(&format!("`{name}` of ")), "{hint}");
    }
}

#[test]
fn what_a_bracket_leaves_open_is_not_called_missing() {
    for error in Bench::new().refused("{{ key(path=\"app/host\" }}") {
        assert!(!error.message.contains("needs"), "{error}");
    }
}

#[test]
fn a_layout_of_go_is_no_format() {
    let error = Bench::new().render("{{ 0 | to_date(format=\"2006-01-02\") }}").output.unwrap_err();
    assert!(error.hint.as_deref().unwrap().contains("`%Y-%m-%d`"), "{error}");
    assert_eq!(Bench::new().output("{{ 0 | to_date(format=\"%Y-%m-%d\") }}"), "1970-01-01");
}

#[test]
fn habits_of_other_languages_are_told_what_they_are_here() {
    for (source, column, hint) in [
        ("{{ getv(\"/x\") }}", 4, "here it is `key(path=\"/x\")`"),
        ("{% for k in gets(\"/a/*\") %}{% endfor %}", 13, "here it is `prefix(path=\"/a\", glob=\"*\")`"),
        ("{{ getenv(\"A\", 'b') }}", 4, "here it is `env(name=\"A\", default='b')`"),
        ("{{ key(\"a\", \"b\") }}", 4, "here it is `key(path=\"a\", default=\"b\")`"),
        ("{{ upper(\"a\") }}", 4, "here it is `\"a\" | upper`"),
        ("{{ split(x, \",\") }}", 4, "here it is `x | split(pat=\",\")`"),
        ("{{ x | split(\",\") }}", 8, "here it is `split(pat=\",\")`"),
        ("{{ x|default:\"y\" }}", 13, "here it is `| default(value=\"y\")`"),
        ("{{ x | upper | join: \",\" }}", 20, "here it is `| join(sep=\",\")`"),
        ("{{ getv(printf(\"/x/%s/port\", dir)) }}", 4, "here it is `key(path=\"/x/\" ~ dir ~ \"/port\")`"),
        ("{{ lsdir(\"/a\") }}", 4, "here it is `ls(path=\"/a\", kind=\"folders\")`"),
        (
            "{% include nginx.upstream %}",
            12,
            "a component is called, and not included: `{{ <nginx.upstream ... /> }}`; `liveconf functions nginx.upstream` shows it",
        ),
        ("{% include part.tera %}", 12, "the name of a file stands in quotes: `include \"part.tera\"`"),
        ("{{ key(path=\"app/host\" }}", 24, "`(` is not closed"),
        ("{{ key(x) }}", 4, "here it is `key(path=x)`"),
        ("{% for i in range(3) %}{% endfor %}", 13, "here it is `range(end=3)`"),
        ("{% for i in range(1, 3) %}{% endfor %}", 13, "here it is `range(start=1, end=3)`"),
        (
            "{% macro f(a) %}{% endmacro %}",
            4,
            "a macro is a component: `{% component name(argument) %}...{% endcomponent %}`, called as \
             `{{ <name argument=\"a\" /> }}`",
        ),
        (
            "{% do x.append(1) %}",
            4,
            "a list grows by `{% set_global list = list | append(value=...) %}`, a map by `| insert(key=..., value=...)`",
        ),
        ("{% if x %}{% elseif y %}{% endif %}", 14, "it is `{% elif ... %}` here"),
        ("{% if x %}{% else if y %}{% endif %}", 19, "it is `{% elif ... %}` here"),
        ("{% for x in y %}{% empty %}{% endfor %}", 20, "what stands for an empty list begins with `{% else %}`"),
        ("{% if x %}a{% endfor %}", 15, "open is `if` of line 1, which ends with `endif`"),
        ("{% endif %}", 4, "nothing is open here that `endif` could belong to"),
        ("{% for x in [1] %}", 19, "`{% for ... %}` of line 1 is not closed: `{% endfor %}` is missing"),
        ("{% raw %}{{ .x }}", 1, "what `raw` begins ends with `{% endraw %}`"),
        ("{{ (key(path=\"(\") }}", 19, "`(` is not closed"),
        ("{% if a && b %}{% endif %}", 9, "both of two conditions are `a and b`"),
        ("{% if a || b %}{% endif %}", 10, "one of two conditions is `a or b`"),
        ("{% if !a %}{% endif %}", 7, "the contrary of a condition is `not a`"),
        ("{% for k, v in m.items() %}{% endfor %}", 18, "a map has no methods: `{% for key, value in map %}`"),
        ("{{ s.split(\",\") }}", 6, "`split` is a filter: `{{ \"a,b\" | split(pat=\",\") }}`"),
        ("{{ \"a\".upper() }}", 7, "`upper` is a filter: `{{ \"a\" | upper }}`"),
        ("{{ if not x }}", 7, "a tag stands in other brackets: `{% if not x %}`"),
        ("{{ for x in y }}", 8, "a tag stands in other brackets: `{% for x in y %}`"),
        ("{{ x if y }}", 11, "a choice has both sides: `{{ a if condition else \"\" }}`"),
        (
            "{% for x in y if x.a %}{% endfor %}",
            22,
            "a list of some items is `[item for item in list if item.port > 0]`, and a loop goes through that",
        ),
        ("{% for i in 1..3 %}{% endfor %}", 15, "numbers in a row are `range(start=1, end=4)`, without the last"),
    ] {
        let errors = Bench::new().refused(source);
        let told: Vec<_> =
            errors.iter().map(|error| (error.column, error.hint.as_deref().unwrap_or_default())).collect();
        assert!(told.contains(&(column, hint)), "{source}: {errors:#?}");
        assert!(errors.len() <= 2, "{source}: {errors:#?}");
    }
}

#[test]
fn what_is_no_go_template_is_not_called_one() {
    for source in [
        "{{ item name }}",
        "{{ if x }}",
        "{{ if not x }}y{{ end }}",
        "{{ name \"x\" }}",
        "{{ key path=\"x\" }}",
        "{{ a if b }}",
        "{{ not a b }}",
        "{% for x in [1] %}{{ end }}{% endfor %}{{ 1 1 }}",
        "{{ end }}{{ 1 1 }}",
        "{{ else }}{{ 1 1 }}",
        "{{ \"a\" \"b\" }}",
        "{{ key(\"x\") }}",
        "{{ x | default \"y\" z }}",
    ] {
        for error in Bench::new().refused(source) {
            assert!(!error.message.contains("Go templates"), "{source}: {error}");
        }
    }
}

#[test]
fn what_is_refused_besides_is_told_too() {
    let source =
        "{{ key \"a\" }}\n{% if %}\n{{ kee(path=\"a\") }}\n{{ key \"b\" | toUpper }}\n{{ sockaddr \"GetPrivateIP\" }}";
    let errors: Vec<String> = Bench::new().refused(source).iter().map(ToString::to_string).collect();
    assert_eq!(
        errors,
        [
            "test.conf:1:1: this is the syntax of Go templates, as of confd and consul-template\n  |\n\
             1 | {{ key \"a\" }}\n  | ^^^^^^^^^^^^^\n  = hint: here it is `{{ key(path=\"a\") }}`; the page \"coming from \
             confd, consul-template or remco\" of the reference has the rest",
            "test.conf:3:4: unknown function `kee`\n  |\n3 | {{ kee(path=\"a\") }}\n  |    ^^^\n  = hint: did you mean `key`?",
            "test.conf:4:1: this is the syntax of Go templates, as of confd and consul-template\n  |\n\
             4 | {{ key \"b\" | toUpper }}\n  | ^^^^^^^^^^^^^^^^^^^^^^^\n  = hint: here it is `{{ key(path=\"b\") | upper }}`",
            "test.conf:5:1: this is the syntax of Go templates, as of confd and consul-template\n  |\n\
             5 | {{ sockaddr \"GetPrivateIP\" }}\n  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^\n  = hint: `sockaddr` of consul-template is \
             `{{ env(name=\"POD_IP\", default=\"127.0.0.1\") | ip }}` here; whoever starts the program knows its address, and \
             gives it as a variable; `in_network` and `from_cidr` tell of networks",
        ]
    );
}
