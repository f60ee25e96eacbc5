//! `for_each`: what is an item, and what may be the name of a file.

use std::collections::BTreeMap;

use super::*;
use crate::config::{ForEach, Gone};

/// What a template gives for each item.
fn rendering(bench: Bench, items: &str, name: &str, content: &str) -> Rendering<BTreeMap<String, Vec<u8>>> {
    let for_each = ForEach { items: inline(&format!("{{{{ {items} }}}}")), name: inline(name), gone: Gone::Remove };
    let template = Template { writes: Writes::Each(Box::new(for_each)), ..template(inline(content)) };
    let target = Target { render_timeout: bench.timeout, ..target(vec![template]) };
    let templates = load(target, &bench.environment).unwrap_or_else(|errors| panic!("{}", errors[0]));
    templates.render_each(0, &bench.view()).map(|each| each.files)
}

fn files(bench: Bench, items: &str, name: &str, content: &str) -> Vec<(String, String)> {
    let rendering = rendering(bench, items, name, content);
    assert!(rendering.missing.is_empty(), "{:?}", rendering.missing);
    let files = rendering.output.unwrap_or_else(|error| panic!("{items}\n{error}"));
    files.into_iter().map(|(name, bytes)| (name, String::from_utf8(bytes).unwrap())).collect()
}

fn error(bench: Bench, items: &str, name: &str) -> TemplateError {
    rendering(bench, items, name, "x").output.expect_err(items)
}

#[test]
fn a_file_is_made_of_each_item() {
    for (items, name, content, expected) in [
        ("[\"b\", \"a\"]", "{{ item }}.conf", "is {{ item }}", vec![("a.conf", "is a"), ("b.conf", "is b")]),
        ("[1, 2]", "{{ item }}", "{{ item + 1 }}", vec![("1", "2"), ("2", "3")]),
        ("{\"x\": 1}", "{{ item.key }}", "{{ item.value }}", vec![("x", "1")]),
        ("[]", "{{ item }}", "", vec![]),
        (
            "key(path=\"sites\") | split(pat=\",\")",
            "s-{{ item | upper }}",
            "{{ item }}",
            vec![("s-A", "a"), ("s-B", "b")],
        ),
        ("tree(path=\"app\")", "{{ item.key }}", "{{ item.value }}", vec![("one", "1"), ("two", "2")]),
        (
            "prefix(path=\"app\") | where(attribute=\"key\", value=\"two\")",
            "{{ item.key }}",
            "{{ key(path=\"sites\") }}",
            vec![("two", "a,b")],
        ),
        ("key(path=\"none\", default=[\"d\"])", "{{ item }}", "{{ item }}", vec![("d", "d")]),
    ] {
        let bench = Bench::new().key("sites", "a,b").no_key("none").prefix("app", &[("one", "1"), ("two", "2")]);
        let expected: Vec<(String, String)> = expected.into_iter().map(|(a, b)| (a.into(), b.into())).collect();
        assert_eq!(files(bench, items, name, content), expected, "{items}");
    }
}

#[test]
fn everything_that_is_missing_is_asked_at_once() {
    let all = rendering(Bench::new(), "key(path=\"sites\") | from_json", "{{ item }}", "{{ key(path=\"b\") }}");
    assert_eq!(all.missing, BTreeSet::from([key_of("sites")]), "there are no items yet");
    let bench = Bench::new().key("sites", "[\"a\", \"b\"]");
    let all = rendering(bench, "key(path=\"sites\") | from_json", "{{ item }}", "{{ key(path=\"of/\" ~ item) }}");
    assert_eq!(all.missing, BTreeSet::from([key_of("of/a"), key_of("of/b")]));
    assert_eq!(all.reads, BTreeSet::from([key_of("sites")]));
}

#[test]
fn names_that_lead_elsewhere_are_refused_and_not_shown() {
    let long = "x".repeat(300);
    for (name, expected) in [
        ("../x", "the file of item 2 of 2 (`2`) has a `/` in its name, which would lead into another folder"),
        ("a/b", "the file of item 2 of 2 (`2`) has a `/` in its name, which would lead into another folder"),
        ("", "the file of item 2 of 2 (`2`) has an empty name"),
        (".", "the file of item 2 of 2 (`2`) has the name of a folder"),
        ("..", "the file of item 2 of 2 (`2`) has the name of a folder"),
        (&long, "the file of item 2 of 2 (`2`) has a name of 300 bytes, and 255 are allowed"),
        ("a", "the file of item 2 of 2 (`2`) has the name of that of item 1"),
        ("-rf", "the file of item 2 of 2 (`2`) has a name that begins with `-`, as options of commands do"),
        (
            ".x.conf",
            "the file of item 2 of 2 (`2`) has a name that begins with `.`, which no `*.conf` of a program finds",
        ),
        ("...", "the file of item 2 of 2 (`2`) has a name that begins with `.`, which no `*.conf` of a program finds"),
        (".x.liveconf-0", "the file of item 2 of 2 (`2`) has `.liveconf-` in its name, as our temporary files have"),
    ] {
        let bench = Bench::new().prefix("sites", &[("1", "a"), ("2", name)]);
        let error = error(bench, "prefix(path=\"sites\")", "{{ item.value }}");
        assert_eq!(error.message, expected, "{name}");
        assert!(name.len() < 3 || !error.to_string().contains(name), "{error}");
    }
    for name in
        ["gnp.\u{202e}fnoc", "a\u{2066}b", "a\u{200b}", "\u{feff}a", "a\u{ad}b", "a\u{3164}", "a\u{e0041}", "a\u{fe0f}"]
    {
        let bench = Bench::new().prefix("sites", &[("1", "a"), ("2", name)]);
        let error = error(bench, "prefix(path=\"sites\")", "{{ item.value }}");
        let expected =
            "the file of item 2 of 2 (`2`) has a character in its name that is not seen, or that turns others around";
        assert_eq!(error.message, expected, "{name:?}");
        assert!(!error.to_string().contains(name), "{error}");
    }
    for name in ["a\nb", "a\n", "a\u{7f}", "a\u{85}", "a\0b"] {
        let bench = Bench::new().prefix("sites", &[("1", name)]);
        let error = error(bench, "prefix(path=\"sites\")", "{{ item.value }}");
        assert!(error.message.contains("control character") || error.message.contains("newline"), "{error}");
    }
}

#[test]
fn names_of_other_languages_are_names() {
    let longest = "é".repeat(127) + "x";
    let names = ["münchen", "東京", "Привет", "नमस्ते", "A", "a", "a b", "a.b", "x-", &longest];
    let keys: Vec<_> = names.iter().map(|name| (*name, *name)).collect();
    let found = files(Bench::new().prefix("sites", &keys), "prefix(path=\"sites\")", "{{ item.value }}", "x");
    assert_eq!(found.len(), names.len());
    let bench = Bench::new().key("sites", &"é".repeat(128));
    let error = error(bench, "[key(path=\"sites\")]", "{{ item }}");
    assert!(error.message.ends_with("has a name of 256 bytes, and 255 are allowed"), "{error}");
}

#[test]
fn a_dot_that_is_written_out_may_begin_a_name() {
    assert_eq!(files(Bench::new(), "[\"a\", \".b\"]", ".{{ item }}", "x"), [("..b", "x"), (".a", "x")].map(owned));
    let error = error(Bench::new(), "[\"a\", \".b\"]", "{{ item }}");
    assert!(error.message.contains("begins with `.`"), "{error}");
}

fn owned((name, text): (&str, &str)) -> (String, String) {
    (name.to_owned(), text.to_owned())
}

/// Names that a registry lists are no values: with them the item is found at once.
#[test]
fn the_item_whose_name_is_refused_is_called_by_a_listed_name() {
    let long = "k".repeat(70);
    for (key, expected) in
        [("b", "(`b`)".to_owned()), ("b\u{7}", "(`b\\u{7}`)".to_owned()), (&long, format!("(`{}…`)", "k".repeat(64)))]
    {
        let bench = Bench::new().prefix("sites", &[("a", "a"), (key, "x/y")]);
        let error = error(bench, "prefix(path=\"sites\")", "{{ item.value }}");
        let expected = format!("the file of item 2 of 2 {expected} has a `/` in its name");
        assert!(error.message.starts_with(&expected), "{error}");
    }
    // A list that is a value shows none.
    let error =
        error(Bench::new().key("sites", "[\"a\", \"hunter/2\"]"), "key(path=\"sites\") | from_json", "{{ item }}");
    assert!(error.message.starts_with("the file of item 2 of 2 has a `/`"), "{error}");
    assert!(!error.to_string().contains("hunter"), "{error}");
}

#[test]
fn what_is_asked_for_a_listed_name_is_shown() {
    let ask = "{{ key(path=\"sites/\" ~ item.key ~ \"/port\") }}";
    let bench = || Bench::new().prefix("sites", &[("a", "hunter2")]);
    let rendering = |ask: &str| rendering(bench(), "prefix(path=\"sites\")", "{{ item.key }}", ask).missing;
    assert!(rendering(ask).iter().all(|asked| asked.to_string().contains("`sites/a/port`")), "{:?}", rendering(ask));
    let computed = rendering(&ask.replace("item.key", "item.value"));
    assert!(computed.iter().all(|asked| asked.query.is_computed()), "{computed:?}");
}

#[test]
fn what_is_no_list_is_refused_at_its_place() {
    for (items, expected) in [
        ("key(path=\"sites\")", "`for_each` takes a list or a map, not text"),
        ("1", "`for_each` takes a list or a map, not a number"),
        ("key(path=\"none\")", "what `for_each` was given is undefined; not there: key `none` from registry `main`"),
        ("range(end=5001)", "`for_each` has 5001 items, and 5000 are allowed"),
    ] {
        let bench = Bench::new().key("sites", "a,b").no_key("none");
        let error = error(bench, items, "{{ item }}");
        assert_eq!((error.message.as_str(), error.line), (expected, 1), "{items}");
    }
}

#[test]
fn what_is_misspelt_is_refused_when_it_is_loaded() {
    for (items, name, expected) in [
        ("servces()", "{{ item }}", "`servces`"),
        ("services(", "{{ item }}", ""),
        ("[1] }}{{ [2]", "{{ item }}", "one expression"),
        ("[1]", "{{ item | uper }}", "`uper`"),
    ] {
        let for_each = ForEach { items: inline(&format!("{{{{ {items} }}}}")), name: inline(name), gone: Gone::Keep };
        let template = Template { writes: Writes::Each(Box::new(for_each)), ..template(inline("x")) };
        let errors = load(target(vec![template]), &Bench::new().environment).err().unwrap_or_else(|| panic!("{items}"));
        assert!(errors[0].message.contains(expected), "{}", errors[0]);
    }
}
