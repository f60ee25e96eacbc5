//! The filters: what they give, and what they refuse.

use std::fmt::Write as _;

use super::*;

fn output(source: &str) -> String {
    Bench::new().output(source)
}

#[test]
fn filters_give() {
    let list = r#"{% set l = [{"n": "b", "p": 2, "m": {"z": "1"}}, {"n": "a", "p": 2, "m": {"z": "2"}}, {"n": "c", "p": 1, "m": {}}] %}"#;
    for (source, expected) in [
        (r#"{{ "a/b/c/" | basename }} {{ "c" | basename }} {{ "" | basename }}"#, "c c "),
        (r#"{{ "a/b/c" | dirname }} {{ "/c" | dirname }} {{ "c" | dirname }}"#, "a/b / "),
        (r#"{{ "a\r\nb\nc\n" | lines }}"#, r#"["a", "b", "c"]"#),
        (r#"{{ 'a"\\b' | quote }}"#, r#""a\"\\b""#),
        (r#"{{ 5 | str ~ "" }}{{ [1] | str }}"#, "5[1]"),
        (r#"{{ "häh" | base64_encode }} {{ "aMOkaA==" | base64_decode }}"#, "aMOkaA== häh"),
        (r#"{{ "" | sha256 }}"#, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (r#"{{ '{"b": [1, 2.5, null], "a": true}' | from_json }}"#, r#"{"a": true, "b": [1, 2.5, ]}"#),
        (r#"{{ '{"b": [1, null], "a": true}' | from_json | to_json }}"#, r#"{"a":true,"b":[1,null]}"#),
        (
            r#"{{ '{"a": [9007199254740993, 18446744073709551615]}' | from_json | to_json }}"#,
            r#"{"a":[9007199254740993,18446744073709551615]}"#,
        ),
        (
            r#"{{ '[123456789012345678901, -99999999999999999999, 1.5, "x"]' | from_json | to_json }}"#,
            r#"[123456789012345678901,-99999999999999999999,1.5,"x"]"#,
        ),
        (r#"{{ '{"a": 1e300}' | from_json | to_json }}"#, r#"{"a":1e+300}"#),
        (r#"{{ {"a": [1]} | to_json(pretty=true) }}"#, "{\n  \"a\": [\n    1\n  ]\n}"),
        (
            r#"{{ "b: 1\na: [x, 2.5]\n3: 20000000000000000000000" | from_yaml | to_json }}"#,
            r#"{"3":20000000000000000000000,"a":["x",2.5],"b":1}"#,
        ),
        (r#"{{ {"a": [1, "x"]} | to_yaml }}"#, "a:\n- 1\n- x"),
        (r#"{{ " 42 " | to_int + 1 }} {{ "x" | to_int(default=7) }} {{ 3.0 | to_int }}"#, "43 7 3"),
        (r#"{{ "1.5" | to_float }} {{ "x" | to_float(default=0) }}"#, "1.5 0"),
        (
            r#"{{ [1, 2] | first }}{{ [1, 2] | last }}{{ [1, 2] | nth(n=1) }}{{ [] | first | default(value="-") }}"#,
            "122-",
        ),
        (r#"{{ ["a", 1, true] | join(sep=", ") }}{{ [] | join }}"#, "a, 1, true"),
        (r#"{{ "a,b" | split(pat=",") | join(sep="-") }}"#, "a-b"),
        (
            r#"{{ l | map(attribute="n") }} {{ l | map(attribute="m.z", default="-") }}"#,
            r#"["b", "a", "c"] ["1", "2", "-"]"#,
        ),
        (r#"{{ l | where(attribute="p", value=2) | map(attribute="n") }}"#, r#"["b", "a"]"#),
        (
            r#"{{ l | where(attribute="m.z") | map(attribute="n") }}{{ l | where(attribute="no", value=1) }}"#,
            r#"["b", "a"][]"#,
        ),
        (r#"{{ l | sort_by(attribute="n") | map(attribute="n") }}"#, r#"["a", "b", "c"]"#),
        (r#"{{ l | sort_by(attribute=["p", "n"]) | map(attribute="n") }}"#, r#"["c", "a", "b"]"#),
        (
            r#"{{ l | sort_by(attribute="p", reverse=true) | map(attribute="n") }}{{ [] | sort_by(attribute="p") }}"#,
            r#"["b", "a", "c"][]"#,
        ),
        (
            r#"{% for p, items in l | group_by(attribute="p") %}{{ p }}:{{ items | map(attribute="n") }} {% endfor %}"#,
            r#"1:["c"] 2:["b", "a"] "#,
        ),
        (r#"{{ l | unique_by(attribute="p") | map(attribute="n") }}"#, r#"["b", "c"]"#),
        (r#"{{ [2, 1, 2, "2", [1], [1]] | unique }}"#, r#"[2, 1, "2", [1]]"#),
        (r#"{{ ["web10", "web2", "web02", "a"] | natural_sort }}"#, r#"["a", "web02", "web2", "web10"]"#),
        (
            r#"{{ [{"n": "x9"}, {"n": "x10"}, {"n": "x"}] | natural_sort(attribute="n") | map(attribute="n") }}"#,
            r#"["x", "x9", "x10"]"#,
        ),
        (r#"{{ "10.0.0.1" | ip }} {{ "2001:DB8::1" | ip }} {{ "::1" | ip(version=6) }}"#, "10.0.0.1 2001:db8::1 ::1"),
        (r#"{{ 80 | port }} {{ "65535" | port }}"#, "80 65535"),
        (
            r#"{{ "a-b.example_1.com." | host }} {{ "10.0.0.1" | host }} {{ "::1" | host }} {{ "[::1]" | host }}"#,
            "a-b.example_1.com. 10.0.0.1 [::1] [::1]",
        ),
        (r#"{{ "a.b_c-1" | token }} {{ 5 | token }} {{ "a/b" | token(extra="/") }}"#, "a.b_c-1 5 a/b"),
        (r#"{{ 'a "b" \\c;{}' | nginx_quote }}"#, r#""a \"b\" \\c;{}""#),
        (r#"{{ 'a "b" \\$c #' | haproxy_quote }}"#, r#"'a "b" \$c #'"#),
        ("{{ '5%' | haproxy_quote(log_format=true) }}{{ '5%' | haproxy_quote(log_format=false) }}", "'5%%''5%'"),
        (r#"{{ "it's $(x) `y`\t\\ " | shell_quote }}{{ "" | shell_quote }}"#, "'it'\\''s $(x) `y`\t\\ '''"),
        (r#"{{ -1 | token }} {{ "-1.5" | token }}"#, "-1 -1.5"),
        (
            "{{ 80 | quote }}{{ 80 | nginx_quote }}{{ 80 | haproxy_quote }}{{ 80 | shell_quote }}{{ 80 | env_quote }}{{ 1.5 | quote }}",
            r#""80""80"'80''80'"80""1.5""#,
        ),
    ] {
        assert_eq!(output(&format!("{list}{source}")), expected, "{source}");
    }
}

#[test]
fn filters_refuse() {
    for source in [
        "1 | basename",
        "1 | lines",
        "[1] | quote",
        "1 | sha256",
        "[1] | base64_encode",
        "\"!\" | base64_decode",
        "\"/w==\" | base64_decode",
        "\"{\" | from_json",
        "\"a: [\" | from_yaml",
        "1 | from_json",
        "\"x\" | to_int",
        "\"\" | to_int",
        "[1] | to_int",
        "\"1.5\" | to_int",
        "\"nan\" | to_float",
        "1 | first",
        "1 | join",
        "[{}] | map(attribute=\"a\")",
        "[1] | map(attribute=\"a\")",
        "1 | where(attribute=\"a\")",
        "[{\"a\": 1}, {\"a\": \"x\"}] | sort_by(attribute=\"a\")",
        "[{}] | sort_by(attribute=\"a\")",
        "[{}] | group_by(attribute=\"a\")",
        "[{\"a\": [{}]}] | group_by(attribute=\"a\")",
        "1 | unique",
        "[{\"a\": [1]}] | unique_by(attribute=\"a\")",
        "\"10.0.0\" | ip",
        "\"10.0.0.1;\" | ip",
        "\"::1\" | ip(version=4)",
        "1 | ip",
        "0 | port",
        "65536 | port",
        "\"\" | port",
        "\"80;\" | port",
        "\"+80\" | port",
        "-1 | port",
        "true | port",
        "\"\" | host",
        "\"a b\" | host",
        "\"a;b\" | host",
        "\"-a\" | host",
        "\"a..b\" | host",
        "\"a\\nb\" | host",
        "\".\" | host",
        "\"\" | token",
        "\"a b\" | token",
        "\"a;\" | token",
        "\"ä\" | token",
        "\"a\\nb\" | token",
        "\"a\\nb\" | nginx_quote",
        "\"$a\" | nginx_quote",
        "\"a\\nb\" | haproxy_quote",
        "\"a'b\" | haproxy_quote",
        "\"a%b\" | haproxy_quote",
        "\"a\\nb\" | shell_quote",
        "true | shell_quote",
        "\"-rf\" | token",
        "[] | first",
        "[1] | nth(n=1)",
    ] {
        let error = Bench::new().error(&format!("\n{{{{ {source} }}}}"));
        assert_eq!(error.line, 2, "{error}");
    }
}

#[test]
fn a_yaml_bomb_is_refused_in_time() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let before = format!("*a{}", level - 1);
        writeln!(bomb, "a{level}: &a{level} [{}]", vec![before; 10].join(", ")).unwrap();
    }
    let error = Bench::new().key("a", &bomb).error("{{ key(path=\"a\") | from_yaml }}");
    assert!(error.message.contains("not YAML"), "{error}");
    let deep = "[".repeat(100_000);
    let error = Bench::new().key("a", &deep).error("{{ key(path=\"a\") | from_yaml }}");
    assert!(error.message.contains("too deep (line 1, column 256)"), "{error}");
    let error = Bench::new().key("a", &deep).error("{{ key(path=\"a\") | from_json }}");
    assert!(error.message.contains("not JSON"), "{error}");
}

/// What a filter makes of a text, unless it refuses it.
fn quoted(text: &str, filter: &str) -> Option<String> {
    let rendering = Bench::new().key("v", text).render(&format!("{{{{ key(path=\"v\") | {filter} }}}}"));
    rendering.output.ok().map(|bytes| String::from_utf8(bytes).unwrap())
}

/// What `sh` makes of a quoted text, printed as one word between others.
fn through_sh(text: &str) -> Option<String> {
    let script = format!("printf '%s|' before {} after", quoted(text, "shell_quote")?);
    let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{text:?}: {output:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_shell_reads_what_was_quoted() {
    for text in
        ["", "'", "''", "\\", "\\'", "$(id)", "`id`", "a;b", "-n", "*", "!!", "~", "\t\u{2028}", "\"", "#", "\u{feff}"]
    {
        assert_eq!(through_sh(text).unwrap(), format!("before|{text}|after|"), "{text:?}");
    }
    for text in ["a\nb", "\r", "\0", "\u{1b}[", "\u{7f}", "\u{85}"] {
        assert_eq!(through_sh(text), None, "{text:?}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(200))]

    #[test]
    fn a_shell_reads_whatever_was_quoted(text in "[ -~\t\u{a0}-\u{d7ff}]{0,40}|[-$`'\"\\\\!*?~#;&|<>(){}\\[\\] a]{0,20}") {
        proptest::prop_assert_eq!(through_sh(&text).unwrap(), format!("before|{text}|after|"));
    }
}

#[test]
fn a_misspelt_field_of_an_instance_matches_no_list_without_a_word() {
    for (filter, expected) in [
        (
            "where(attribute=\"statuss\", value=\"passing\")",
            Err("`attribute` of `where` names no field of an instance"),
        ),
        ("where_not(attribute=\"zon\", value=\"a\")", Err("`attribute` of `where_not` names no field of an instance")),
        ("where(attribute=\"meta.none\", value=\"a\")", Ok("[]")),
        ("where(attribute=\"zone\", value=\"none\")", Ok("[]")),
    ] {
        let source = format!("{{{{ service(name=\"web\") | {filter} }}}}");
        let bench = Bench::new().service("web", vec![instance("a", "10.0.0.1", 80)]);
        match expected {
            Ok(output) => assert_eq!(bench.output(&source), output),
            Err(message) => {
                let error = bench.error(&source);
                assert_eq!(error.message, message);
                assert!(error.hint.unwrap().contains("did you mean"), "{filter}");
            }
        }
    }
}
