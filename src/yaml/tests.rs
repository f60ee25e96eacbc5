use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

/// The tree on one line: plain text bare, other text quoted, null as `~`.
fn show(node: &Node) -> String {
    match &node.value {
        Value::Scalar(scalar) if scalar.null => "~".into(),
        Value::Scalar(scalar) if scalar.plain => scalar.text.clone(),
        Value::Scalar(scalar) => format!("{:?}", scalar.text),
        Value::List(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(", ")),
        Value::Map(entries) => {
            let entries: Vec<_> =
                entries.iter().map(|(key, value)| format!("{}: {}", show(key), show(value))).collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

#[test]
fn scalars_are_their_source_text() {
    for text in [
        "1.10",
        "0x1F",
        "0644",
        "0o644",
        "yes",
        "2020-01-01",
        "12345678901234567890",
        "1e3",
        ".inf",
        "true",
        "-0",
        "1_000",
    ] {
        let node = parse(&format!("a: {text}")).unwrap();
        assert_eq!(node.get("a").unwrap().value, Value::Scalar(Scalar { text: text.into(), plain: true, null: false }));
    }
}

#[test]
fn documents_read_as_trees() {
    let table = [
        ("", "~"),
        ("# nothing\n", "~"),
        ("---\na: 1\n...\n", "{a: 1}"),
        ("a:\nb: ~\nc: null\nd: ''\ne: 'null'\nf: !!str null", "{a: ~, b: ~, c: ~, d: \"\", e: \"null\", f: null}"),
        ("- 1\n- [2, {x: 3}]\n-\n", "[1, [2, {x: 3}], ~]"),
        ("a: |\n  one\n  two\nb: >\n  one\n  two\n", "{a: \"one\\ntwo\\n\", b: \"one two\\n\"}"),
        (r#"{"a": "\u00e4\n", "b": [1.50, null, true]}"#, "{\"a\": \"ä\\n\", \"b\": [1.50, ~, true]}"),
        ("\u{feff}a: 1", "{a: 1}"),
        ("a: &x [1, 2]\nb: *x", "{a: [1, 2], b: [1, 2]}"),
        ("base: &x {p: 1, q: 2}\na:\n  q: 3\n  <<: *x", "{base: {p: 1, q: 2}, a: {q: 3, p: 1}}"),
        (
            "x: &x {p: 1}\ny: &y {p: 2, q: 2}\na: {<<: [*x, *y], r: 3}",
            "{x: {p: 1}, y: {p: 2, q: 2}, a: {r: 3, p: 1, q: 2}}",
        ),
        ("'<<': 1", "{\"<<\": 1}"),
        ("a: x\r\nb: y\r\n", "{a: x, b: y}"),
        ("a: http://h:1/#x", "{a: http://h:1/#x}"),
    ];
    for (text, tree) in table {
        assert_eq!(show(&parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"))), tree, "{text:?}");
    }
}

#[test]
fn nodes_know_their_place() {
    let node = parse("a:\n  - x\n  - ä: {b: y}\n    c: |\n      text\n").unwrap();
    let item = |node: &Node, index: usize| match &node.value {
        Value::List(items) => items[index].clone(),
        _ => panic!("no list"),
    };
    let place = |node: &Node| (node.line, node.column);
    let list = node.get("a").unwrap();
    assert_eq!(place(list), (2, 3));
    assert_eq!(place(&item(list, 0)), (2, 5));
    assert_eq!(place(&item(list, 1)), (3, 5));
    assert_eq!(place(item(list, 1).get("ä").unwrap()), (3, 8));
    assert_eq!(place(item(list, 1).get("ä").unwrap().get("b").unwrap()), (3, 12));
    // Block text begins where its text does, not at its `|`.
    assert_eq!(place(item(list, 1).get("c").unwrap()), (5, 7));
}

#[test]
fn what_is_wrong_has_its_place() {
    let table = [
        ("a: 1\nb: 2\na: 3", 3, 1, "key `a` stands twice, first at line 1"),
        ("x: {p: 1, 'p': 2}", 1, 11, "key `p` stands twice, first at line 1"),
        ("a: 1\n---\nb: 2", 2, 1, "a second document begins here, and one file holds one document"),
        ("a: !Ref x", 1, 4, "the tag `!Ref` is not supported"),
        ("a: !!binary aGk=", 1, 4, "the tag `tag:yaml.org,2002:binary` is not supported"),
        ("[a, b]: 1", 1, 1, "a list cannot be a key"),
        ("a: {{ b }}", 1, 5, "a mapping cannot be a key; text that begins with `{{` is put in quotes"),
        ("<<: 1", 1, 5, "`<<` takes a mapping or a list of mappings"),
        ("a: &x [*x]", 1, 8, "this alias stands within what it is an alias of"),
    ];
    for (text, line, column, message) in table {
        let error = parse(text).unwrap_err();
        assert_eq!((error.line, error.column, &*error.message), (line, column, message), "{text:?}");
    }
    // The words are the parser's own here; the place is what counts.
    for (text, line) in [
        ("a: [1, 2", 1),
        ("a:\n\t- 1", 2),
        ("a: 'x", 1),
        ("a: *x", 1),
        ("a: 1\n b: 2", 2),
        ("a: \"\\q\"", 1),
        ("a: }", 1),
        ("a: b: c", 1),
    ] {
        let error = parse(text).map(|node| show(&node)).unwrap_err();
        assert!(error.line >= line && error.line <= line + 1 && error.column >= 1, "{text:?}: {error}");
        assert!(!error.message.is_empty());
    }
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    parse(&nested(MAX_DEPTH)).unwrap();
    for depth in [MAX_DEPTH + 1, 300, 100_000] {
        let error = parse(&nested(depth)).unwrap_err();
        assert!(error.message.contains("128") || error.message == "recursion limit exceeded", "{error}");
    }
    // Aliases cannot go deeper than what is written either.
    let mut text = format!("a0: &a0 {}\n", nested(100));
    for step in 1..5 {
        writeln!(text, "a{step}: &a{step} {}*a{}{}", "[".repeat(20), step - 1, "]".repeat(20)).unwrap();
    }
    assert!(parse(&text).unwrap_err().message.contains("128"));
}

#[test]
fn aliases_cannot_grow_without_bound() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for step in 1..12 {
        let aliases = vec![format!("*a{}", step - 1); 10].join(", ");
        writeln!(text, "a{step}: &a{step} [{aliases}]").unwrap();
    }
    let error = parse(&text).unwrap_err();
    assert_eq!(error.message, "the aliases make this document too large");
}

proptest! {
    #[test]
    fn any_text_reads_or_says_where_it_does_not(text in "[ \\-:{}\\[\\],&*!|>'\"#%@`?~<a-c0-2\\n\\t\\\\.é]{0,60}") {
        if let Err(error) = parse(&text) {
            prop_assert!(error.line >= 1 && error.column >= 1);
        }
    }

    #[test]
    fn quoted_text_comes_back(text in "\\PC{0,40}") {
        let node = parse(&format!("a: {}", serde_json::to_string(&text).unwrap())).unwrap();
        prop_assert_eq!(node.get("a").unwrap().text(), Some(&*text));
    }
}
