//! What values may hold when they are printed, and what is said of one that is refused.

use super::*;

/// The value of FAULTS R-11 that opened a listener of HAProxy.
const LISTENER: &str = "10.0.0.1:80 check\n    listen evil\n    bind :6666";

#[test]
fn a_newline_in_a_value_begins_no_line_of_a_file() {
    for source in [
        "server s1 {{ key(path=\"v\") }}",
        "{{ key(path=\"v\") }};",
        "{{ 1 }} {{ key(path=\"v\") }}",
        "{% set v = key(path=\"v\") %}server {{ v }}",
        "{% set v = \"x\" ~ key(path=\"v\") %}server {{ v | trim }}",
        "{% set v %}{{ key(path=\"v\") }}{% endset %}\nserver {{ v }}",
        "{% component c(v: string) %}server {{ v }}{% endcomponent %}\n{{ <c v={key(path=\"v\")} /> }}",
        "server {% if true %}{{ key(path=\"v\") }}{% endif %}",
        "server {% for v in [key(path=\"v\")] %}{{ v }}{% endfor %}",
        "server {{ key(path=\"v\") | default(value=\"\") | replace(from=\"x\", to=\"y\") }}",
        "server {{ [key(path=\"v\")] | join }}",
        "{% component c() %}{{ body }}{% endcomponent %}server {% <c> %}{{ key(path=\"v\") }}{% </c> %}",
    ] {
        let error = Bench::new().key("v", LISTENER).error(source);
        assert!(error.message.contains("more than one line"), "{source}: {error}");
        assert!(error.message.contains("the value of key `v` from registry `main`"), "{source}: {error}");
        assert!(error.line > 0, "{source}: {error}");
        assert!(!error.to_string().contains("evil"), "{source}: {error}");
    }
}

#[test]
fn what_goes_into_the_middle_of_a_line_has_no_line_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let whole = "{{ key(path=\"v\") }}";
    for (part, source, is_refused) in [
        (whole, "server {% include \"part\" %};", true),
        (whole, "server {% if true %}{% include \"part\" %}{% endif %}", true),
        (whole, "server {%- include \"part\" -%} ;", true),
        (whole, "a\n{%- include \"part\" %}\nb", true),
        ("{% if true %}\n{{ key(path=\"v\") }}\n{% endif %}\n", "server {% include \"part\" %};", true),
        ("{% include \"inner\" %}", "server {% include \"part\" %};", true),
        ("{% component c() %}\n{{ key(path=\"v\") }}\n{% endcomponent %}", "{# part #}server {{ <c /> }};", true),
        ("{% component c(v: string) %}\n{{ v }}\n{% endcomponent %}", "server {{ <c v={key(path=\"v\")} /> }};", true),
        ("{% component c() %}\n{{ key(path=\"v\") }}\n{% endcomponent %}", "server {% <c> %}{% </c> %};", true),
        (
            "server {% block b %}x{% endblock %};",
            "{% extends \"part\" %}{% block b %}\n{{ key(path=\"v\") }}\n{% endblock %}",
            true,
        ),
        (whole, "a\n  {% include \"part\" %}\nb", false),
        (whole, "{% for i in [1] %}{% include \"part\" %}{% endfor %}\n", false),
        (whole, "server {% include \"part\" %};\n{% include \"part\" %}", true),
        ("x", "server {% include \"part\" %};\n{{ key(path=\"v\") }}", false),
        ("{% component c() %}\n{{ key(path=\"v\") }}\n{% endcomponent %}", "a\n{{ <c /> }}\n", false),
        (
            "{% block b %}\nx\n{% endblock %}\n",
            "{% extends \"part\" %}{% block b %}\n{{ key(path=\"v\") }}\n{% endblock %}",
            false,
        ),
    ] {
        write(folder.path(), "inner", whole);
        write(folder.path(), "part", part);
        let source = if part.contains("component") { format!("{part}\n{source}") } else { source.to_owned() };
        let source = write(folder.path(), "out.tera", &source);
        let bench = Bench::new().key("v", LISTENER);
        let templates = bench.load(&[source]).unwrap_or_else(|errors| panic!("{part}: {}", errors[0]));
        match templates.render(0, &bench.view()).output {
            Ok(output) => assert!(!is_refused, "{part}: {}", String::from_utf8_lossy(&output)),
            Err(error) => {
                assert!(is_refused && error.message.contains("more than one line"), "{part}: {error}");
                assert!(!error.to_string().contains("evil") && error.line > 0, "{error}");
            }
        }
    }
}

#[test]
fn a_value_with_a_line_of_its_own_keeps_its_lines() {
    let certificate = "-----BEGIN CERTIFICATE-----\r\nMIIB\r\n\t-----END CERTIFICATE-----\r\n";
    for source in [
        "{{ key(path=\"v\") }}",
        "{% if true %}\n  {{ key(path=\"v\") }}\n{% endif %}",
        "cert = '''{{ key(path=\"v\") | safe }}'''",
        "cert: {{ key(path=\"v\") | to_json }}",
        "cert: |\n  {{ key(path=\"v\") | indent(width=2) }}\n",
        "{% set v %}\n{{ key(path=\"v\") }}\n{% endset %}\nx = {{ v }}",
        "{% for e in prefix(path=\"p\") %}\n{{ e.value }}\n{% endfor %}",
    ] {
        let bench = Bench::new().key("v", certificate).prefix("p", &[("a", certificate)]);
        assert!(bench.output(source).contains("MIIB"), "{source}");
    }
    let lines = "x {{ [\"a\", \"b\"] | join(sep=\"\\n\") }} y";
    assert_eq!(Bench::new().output(lines), "x a\nb y", "the newline is the template's");
}

#[test]
fn other_control_characters_are_refused_wherever_they_are() {
    for character in ['\0', '\u{1}', '\u{8}', '\u{b}', '\u{1b}', '\u{7f}', '\u{85}', '\u{9b}'] {
        let value = format!("canary{character}");
        for source in ["{{ key(path=\"v\") }}", "x {{ key(path=\"v\") }}"] {
            let error = Bench::new().key("v", &value).error(source);
            let named = format!("U+{:04X}, in the value of key `v`", u32::from(character));
            assert!(error.message.contains(&named), "{error}");
            assert!(!error.to_string().contains("canary"), "{error}");
            assert_eq!((error.line, error.column), (1, source.find("{{").unwrap() + 1));
        }
        let safe = Bench::new().key("v", &value).output("x {{ key(path=\"v\") | safe }}");
        assert_eq!(safe, format!("x {value}"));
    }
    let lone = Bench::new().key("v", "a\rb").error("x {{ key(path=\"v\") }}");
    assert!(lone.message.contains("more than one line"), "{lone}");
    assert_eq!(Bench::new().key("v", "a\tb é\u{a0}ü").output("x {{ key(path=\"v\") }}"), "x a\tb é\u{a0}ü");
}

#[test]
fn a_refused_value_is_named_by_where_it_came_from() {
    let place = "instance `a` of service `web` on node `n1`, registry `main`";
    for (spoil, source, expected) in [
        (
            (|i: &mut Instance| "10.0.0.1:80; }".clone_into(&mut i.address)) as fn(&mut Instance),
            "{{ i.address | host }}",
            format!("it is no host name or address: `address` of {place}"),
        ),
        (|i| i.port = 0, "{{ i.port | port }}", format!("it is no port from 1 to 65535: `port` of {place}")),
        (
            |i| drop(i.meta.insert("path".into(), "/; }".into())),
            "{{ i.meta.path | token(extra=\"/\") }}",
            format!("`path` in `meta` of {place}"),
        ),
        (
            |i| drop(i.meta.insert("path".into(), "a\n}".into())),
            "server {{ i.meta.path }};",
            format!("more than one line, in `path` in `meta` of {place}"),
        ),
        (|i| i.tags.push("a b".into()), "{{ i.tags | last | token }}", format!("a tag of {place}")),
        (
            |i| "evil x".clone_into(&mut i.id),
            "{{ i.id | token }}",
            "`id` of an instance of service `web` on node `n1`, registry `main`".into(),
        ),
        (
            |i| {
                "e;vil".clone_into(&mut i.address);
                "e;vil:80".clone_into(&mut i.id);
            },
            "{{ i.address | host }}",
            "`address` of an instance of service `web` on node `n1`, registry `main`".into(),
        ),
    ] {
        let mut bad = instance("a", "10.0.0.1", 80);
        spoil(&mut bad);
        let hostile = [bad.address.clone(), bad.meta.get("path").cloned().unwrap_or("}".into())];
        let bench = Bench::new().service("web", vec![bad, instance("b", "10.0.0.2", 80)]);
        let error = bench.error(&format!("{{% for i in service(name=\"web\") %}}\n{source}\n{{% endfor %}}"));
        assert!(error.message.contains(&expected), "{error}");
        assert_eq!(error.line, 2, "{error}");
        assert!(!hostile.iter().any(|value| value.contains(['}', ';']) && error.message.contains(value)), "{error}");
    }
}

#[test]
fn the_place_of_a_refused_value_is_found_in_includes_and_components_too() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "part", "first\n  x {{ key(path=\"v\") }}\n");
    let main = write(folder.path(), "main", "top\n{% include \"part\" %}\n");
    let bench = Bench::new().key("v", "a\nb");
    let templates = bench.load(&[main]).unwrap();
    let error = templates.render(0, &bench.view()).output.unwrap_err();
    assert!(error.file.ends_with("part"), "{error}");
    assert_eq!((error.line, error.column), (2, 5), "{error}");
}

#[test]
fn what_is_captured_counts_as_output() {
    let mut bench = Bench::new().key("v", &"x".repeat(1000));
    bench.environment.limits.output = 100_000;
    let source = "{% set all %}{% for i in range(end=99999) %}{{ key(path=\"v\") }}{% endfor %}{% endset %}";
    let error = bench.error(source);
    assert_eq!(error.kind, ErrorKind::Limit);
    assert!(error.to_string().contains("limits.output"), "{error}");
}
