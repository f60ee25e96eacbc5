//! The filters for the files of single programs, on tables of values.

use super::*;

/// What a filter makes of values; nothing where it refuses one, which it must not show.
fn gives(filter: &str, table: &[(&str, Option<&str>)]) {
    for &(value, expected) in table {
        let source = format!("{{{{ key(path=\"a\") | {filter} }}}}");
        if let Some(expected) = expected {
            let output = Bench::new().key("a", value).output(&source);
            assert_eq!(output, expected, "{filter}: {value:?}");
        } else {
            let error = Bench::new().key("a", value).error(&source);
            let origin = ": the value of key `a` from registry `main`";
            assert!(error.message.ends_with(origin), "{filter}: {value:?}: {error}");
        }
    }
}

#[test]
fn variables_of_the_environment() {
    gives(
        "env_name",
        &[
            ("db/host", Some("DB_HOST")),
            ("log-level.x", Some("LOG_LEVEL_X")),
            ("_1", Some("_1")),
            ("", None),
            ("1a", None),
            ("a b", None),
            ("a=b", None),
            ("ä", None),
            ("a\nb", None),
        ],
    );
    gives(
        "env_quote",
        &[
            ("", Some("\"\"")),
            ("a'b;#\t", Some("\"a'b;#\t\"")),
            ("$a`b`\"\\", Some("\"\\$a\\`b\\`\\\"\\\\\"")),
            ("a\nb", None),
            ("\u{1b}", None),
        ],
    );
    gives(
        "systemd_quote",
        &[
            ("", Some("\"\"")),
            ("5% $a 'b'", Some("\"5%% $a 'b'\"")),
            ("\"\\", Some("\"\\\"\\\\\"")),
            ("a\nb", None),
            ("\t", None),
        ],
    );
}

#[test]
fn words_of_programs() {
    gives("pgbouncer_quote", &[("", Some("''")), ("a' b\\", Some("'a'' b\\'")), ("a\n", None)]);
    gives(
        "label_name",
        &[
            ("a-b.c", Some("a_b_c")),
            ("A1", Some("A1")),
            ("", None),
            ("1a", None),
            ("__name__", None),
            ("--a", None),
            ("a b", None),
        ],
    );
    gives(
        "nginx_map_key",
        &[
            ("", Some("\"\"")),
            ("a;{}$b\"", Some("\"a;{}$b\\\"\"")),
            ("default", Some("\"\\\\default\"")),
            ("defaults", Some("\"defaults\"")),
            ("~a", Some("\"\\\\~a\"")),
            ("\\a", Some("\"\\\\\\\\a\"")),
            ("a\n", None),
        ],
    );
    let patterns = [("a", Some("a")), ("", None), ("#a", None), ("a#", Some("a#")), (" a", None), ("a\t", None)];
    gives("haproxy_pattern", &[&patterns[..], &[("a b", Some("a b"))]].concat());
    gives("haproxy_pattern(word=true)", &[&patterns[..], &[("a b", None), ("a\u{a0}b", None)]].concat());
    gives("directive", &[("", Some("")), ("a; b", Some("a; b")), ("a\nb", None), ("a\tb", None)]);
    gives("directive(without=\";{}\")", &[("a b", Some("a b")), ("a;", None), ("}", None)]);
}

#[test]
fn what_is_no_text_is_refused() {
    for filter in [
        "directive",
        "env_name",
        "env_quote",
        "haproxy_pattern",
        "label_name",
        "nginx_map_key",
        "pgbouncer_quote",
        "systemd_quote",
    ] {
        let error = Bench::new().error(&format!("{{{{ [5] | {filter} }}}}"));
        let takes = if ["env_name", "label_name"].contains(&filter) { "text" } else { "text or a number" };
        assert_eq!(error.message, format!("`{filter}` takes {takes}, not a list"));
        let error = Bench::new().error(&format!("{{% set map = {{}} %}}{{{{ map.a | {filter} }}}}"));
        assert!(matches!(error.kind, ErrorKind::Undefined { .. }), "{error}");
    }
}
