//! What filters give for each sort of input, by their groups: what is usual, what is empty, what is odd, and what is
//! refused.

use super::*;

/// Renders expressions, each of which gives a text.
fn give(table: &[(&str, &str)]) {
    for (expression, expected) in table {
        // The value is marked, so that newlines may stand where they come.
        let source = format!("{{{{ {expression} | safe }}}}");
        assert_eq!(Bench::new().output(&source), *expected, "{expression}");
    }
}

/// Renders expressions, each of which fails with a message that has this part.
fn refuse(table: &[(&str, &str)]) {
    for (expression, part) in table {
        let error = Bench::new().error(&format!("{{{{ {expression} }}}}"));
        assert!(error.message.contains(part), "{expression}: {error}");
    }
}

#[test]
fn case() {
    give(&[
        (r#""max_open-conns 2x" | snake_case"#, "max_open_conns_2x"),
        (r#""maxOpenConns" | snake_case"#, "max_open_conns"),
        (r#""HTTPServer2Go" | snake_case"#, "http_server2_go"),
        (r#""__a--b__" | snake_case"#, "a_b"),
        (r#""" | snake_case"#, ""),
        (r#""---" | kebab_case"#, ""),
        (r#""ÄpfelUndÖl" | kebab_case"#, "äpfel-und-öl"),
        (r#""HTTP server" | camel_case"#, "httpServer"),
        (r#""" | camel_case"#, ""),
        (r#""ID" | camel_case"#, "id"),
        (r#""http_server" | pascal_case"#, "HttpServer"),
        (r#""école" | pascal_case"#, "École"),
        (r#""" | pascal_case"#, ""),
    ]);
}

#[test]
fn texts() {
    give(&[
        (r#""vv1" | trim_prefix(pat="v")"#, "v1"),
        (r#""v1" | trim_prefix(pat="")"#, "v1"),
        (r#""" | trim_prefix(pat="v")"#, ""),
        (r#""a.b.b" | trim_suffix(pat=".b")"#, "a.b"),
        (r#""a" | trim_suffix(pat="a")"#, ""),
        (r#""ä" | pad_start(width=3, fill="·")"#, "··ä"),
        (r#""abc" | pad_start(width=2)"#, "abc"),
        (r#""" | pad_start(width=2, fill="-")"#, "--"),
        (r"5 | pad_start(width=0)", "5"),
        (r#"-5 | pad_end(width=4, fill="_")"#, "-5__"),
        (r#"" a, b,,c ,\n" | split_list"#, r#"["a", "b", "c"]"#),
        (r#""a b\n c" | split_list(pat="\n")"#, r#"["a b", "c"]"#),
        (r#""ä" | split_list(pat="::")"#, r#"["ä"]"#),
        (r#""" | split_list"#, "[]"),
        (r#"" , " | split_list"#, "[]"),
        (r#""ab" | repeat(n=0)"#, ""),
        (r#""" | repeat(n=1000000000000)"#, ""),
        ("\"a\\t b\\n\u{a0}c\" | nospace", "abc"),
    ]);
    refuse(&[
        ("[1] | pad_start(width=3)", "takes text or a number"),
        ("[1] | split_list", "takes text, not a list"),
        ("\"a\" | split_list(pat=\"\")", "`pat` of `split_list` is refused: it is empty"),
        ("1 | pad_start(width=3, fill=\"ab\")", "`fill` of `pad_start` is refused"),
        ("1 | pad_end(width=3, fill=\"\")", "one character"),
        ("1 | pad_end(width=-1)", "a number from 0"),
        ("\"ab\" | repeat(n=1000000000000)", "over `limits.output`"),
        ("\"a\" | pad_start(width=9223372036854775807)", "over `limits.output`"),
    ]);
}

#[test]
fn patterns() {
    give(&[
        (r#""abc" | regex_match(pat="b")"#, "true"),
        (r#""abc" | regex_match(pat="^b")"#, "false"),
        (r#""" | regex_match(pat="^$")"#, "true"),
        (r#""" | regex_match(pat="")"#, "true"),
        (r#""Äpfel" | regex_match(pat="(?i)^ä\\w+$")"#, "true"),
        (r#""abc" | regex_find(pat="x") | default(value="-")"#, "-"),
        (r#""abc" | regex_find(pat="(x)?c", group=1) | default(value="-")"#, "-"),
        (r#""port=80" | regex_find(pat="port=(?<port>\\d+)", group=1)"#, "80"),
        (r#""a1b22" | regex_find_all(pat="[a-z](\\d+)", group=1)"#, r#"["1", "22"]"#),
        (r#""" | regex_find_all(pat="a")"#, "[]"),
        (r#""aaa" | regex_find_all(pat="")"#, r#"["", "", "", ""]"#),
        (r#""a.b" | regex_replace(pat="\\.", to="-")"#, "a-b"),
        (r#""ab" | regex_replace(pat="(?<x>a)", to="${x}$$$9")"#, "a$b"),
        (r#""äb" | regex_replace(pat="", to="-")"#, "-ä-b-"),
        (r#""" | regex_replace(pat="a", to="b")"#, ""),
        (r#""a, b" | regex_split(pat=",\\s*")"#, r#"["a", "b"]"#),
        (r#""" | regex_split(pat=",")"#, r#"[""]"#),
        (r#""" | regex_escape"#, ""),
        (r#""a.b*(c)|ä-$^[x]{1}?+ #\\\"" | regex_escape"#, r#"a\.b\*\(c\)\|ä\-\$\^\[x\]\{1\}\?\+ \#\\""#),
        (r#""xa.bx" | regex_match(pat="a.b" | regex_escape)"#, "true"),
        (r#""xaxbx" | regex_match(pat="a.b" | regex_escape)"#, "false"),
        (r#""app/db/host" | glob_match(pat="app/*/host")"#, "true"),
        (r#""app/a/db/host" | glob_match(pat="app/*/host")"#, "false"),
        (r#""app/a/db/host" | glob_match(pat="app/**/host")"#, "true"),
        (r#""a.b" | glob_match(pat="a?b")"#, "true"),
        (r#""a/b" | glob_match(pat="a?b")"#, "false"),
        (r#""axb" | glob_match(pat="a.b")"#, "false"),
        ("\"[a]\\n\" | glob_match(pat=\"[a]*\")", "true"),
        (r#""" | glob_match(pat="*")"#, "true"),
        (r#""" | glob_match(pat="?")"#, "false"),
    ]);
    refuse(&[
        ("\"a\" | regex_match(pat=\"(\")", "`pat` of `regex_match` is refused: it is no pattern: unclosed group"),
        ("\"a\" | regex_match(pat=\"(?=a)\")", "look-around"),
        ("\"a\" | regex_match(pat=\"(a)\\\\1\")", "backreferences are not supported"),
        ("\"a\" | regex_match(pat=\"\\\\w{1000}{1000}\")", "the pattern is too large"),
        ("\"a\" | regex_find(pat=\"(a)\", group=2)", "groups up to 1"),
        ("1 | regex_find(pat=\"a\")", "takes text, not a number"),
    ]);
}

#[test]
fn a_hostile_pattern_or_text_ends_in_time() {
    // Engines that go back take 2^60 steps for this.
    let text = "a".repeat(60);
    let bench = Bench::new().key("text", &text).key("pat", "^(a+)+b$");
    assert_eq!(bench.output("{{ key(path=\"text\") | regex_match(pat=key(path=\"pat\")) }}"), "false");
    // A replacement that is much longer than what it replaces.
    let bench = Bench::new().key("text", &"a".repeat(100_000)).key("to", &"b".repeat(100_000));
    let error = bench.error("{{ key(path=\"text\") | regex_replace(pat=\"a\", to=key(path=\"to\")) }}");
    assert_eq!(error.kind, ErrorKind::Limit, "{error}");
    // More patterns than a render keeps.
    let source = "{% for n in range(end=300) %}{% set p = \"^\" ~ n ~ \"$\" %}{% if 7 | str | regex_match(pat=p) %}{{ n }}{% endif %}{% endfor %}";
    assert_eq!(Bench::new().output(source), "7");
    let mut bench = Bench::new().key("text", &"a".repeat(2_000_000));
    bench.timeout = Duration::from_millis(50);
    let started = std::time::Instant::now();
    let error = bench.error(
        "{{ key(path=\"text\") | regex_find_all(pat=\"[a-z]\") | length }}{% for a in range(end=9) %}{% endfor %}",
    );
    assert_eq!(error.kind, ErrorKind::Timeout, "{error}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn encodings() {
    give(&[
        (r#""" | base64_encode"#, ""),
        (r#""a?>" | base64_encode"#, "YT8+"),
        (r#""a?>" | base64_encode(url=true)"#, "YT8-"),
        (r#""ab" | base64_encode(url=true, padding=false)"#, "YWI"),
        (r#""ab" | base64_encode(padding=false)"#, "YWI"),
        (r#""YWI" | base64_decode"#, "ab"),
        (r#"" YWI= " | base64_decode"#, "ab"),
        (r#""YT8-" | base64_decode(url=true)"#, "a?>"),
        (r#""" | base64_decode"#, ""),
        (r#""ä" | hex_encode"#, "c3a4"),
        (r#""C3a4" | hex_decode"#, "ä"),
        (r#""" | hex_decode"#, ""),
        // FIPS 180-4 and RFC 1321: of nothing, and of `abc`.
        (r#""" | sha1"#, "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
        (r#""abc" | sha1"#, "a9993e364706816aba3e25717850c26c9cd0d89d"),
        (r#""" | md5"#, "d41d8cd98f00b204e9800998ecf8427e"),
        (r#""abc" | md5"#, "900150983cd24fb0d6963f7d28e17f72"),
        (r#""abc" | sha256"#, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            r#""abc" | sha512"#,
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        ),
        // RFC 4231 and RFC 2202, test case 2.
        (
            r#""what do ya want for nothing?" | hmac(key="Jefe")"#,
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (
            r#""what do ya want for nothing?" | hmac(key="Jefe", hash="sha512")"#,
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
        ),
        (
            r#""what do ya want for nothing?" | hmac(key="Jefe", hash="sha1")"#,
            "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
        ),
        (r#""" | hmac(key="") | length"#, "64"),
    ]);
    refuse(&[
        ("\"YT8+\" | base64_decode(url=true)", "it is not base64"),
        ("\"/w==\" | base64_decode", "not UTF-8"),
        ("\"abc\" | hex_decode", "no even number"),
        ("\"zz\" | hex_decode", "hexadecimal"),
        ("\"+1\" | hex_decode", "hexadecimal"),
        ("\"ff\" | hex_decode", "not UTF-8"),
        ("\"a\" | hmac(key=\"k\", hash=\"md5\")", "none of the names"),
        ("\"a\" | hmac(key=1)", "must be text"),
        ("1 | md5", "takes text"),
    ]);
}

#[test]
fn formats() {
    give(&[
        (
            r#"{"b": {"d": 1, "c": 2}, "a": [{"z": 1, "y": 2}] } | to_json(sorted=true)"#,
            r#"{"a":[{"y":2,"z":1}],"b":{"c":2,"d":1}}"#,
        ),
        (r#"{"b": 1, "a": 2} | to_json"#, r#"{"b":1,"a":2}"#),
        (r#"{"b": 1, "a": 2} | to_yaml(sorted=true)"#, "a: 2\nb: 1"),
        (r#""" | to_json"#, "\"\""),
        ("[] | to_json(pretty=true)", "[]"),
        (r#""" | to_yaml"#, "''"),
        (r"{} | to_yaml", "{}"),
        (r#""" | from_toml"#, "{}"),
        (
            r#""a = 9007199254740993\nb = 1979-05-27T07:32:00Z\nc = [1.5, true]" | from_toml | to_json"#,
            r#"{"a":9007199254740993,"b":"1979-05-27T07:32:00Z","c":[1.5,true]}"#,
        ),
        (r#""z = 1\n[a.b]\nc = 2" | from_toml | to_json"#, r#"{"a":{"b":{"c":2}},"z":1}"#),
        ("{} | to_toml", ""),
        (
            r#"{"t": {"x": 1}, "b": "ä\"", "l": [{"n": 1}, {"n": 2}] } | to_toml"#,
            "b = 'ä\"'\n\n[t]\nx = 1\n\n[[l]]\nn = 1\n\n[[l]]\nn = 2",
        ),
        (r#"{"b": 1, "a": [1, 2]} | to_toml(sorted=true, pretty=true)"#, "a = [\n    1,\n    2,\n]\nb = 1"),
        (r#""a,b\n1,\"x, \"\"y\"\"\"\r\n2,\n" | from_csv | to_json"#, r#"[{"a":"1","b":"x, \"y\""},{"a":"2","b":""}]"#),
        (r#""a;b" | from_csv(header=false, sep=";")"#, r#"[["a", "b"]]"#),
        (r#""a,b" | from_csv"#, "[]"),
        (r#""" | from_csv"#, "[]"),
        (r#"[{"a": 1, "b": "x,y"}, {"b": "q\"", "a": true}] | to_csv"#, "a,b\n1,\"x,y\"\ntrue,\"q\"\"\""),
        (r#"[{"a": 1, "b": 2}] | to_csv(columns=["b"], header=false)"#, "2"),
        (r#"[["a", 1], ["b"]] | to_csv(sep="|")"#, "a|1\nb"),
        (r"[] | to_csv", ""),
        (r#"[] | to_csv(columns=["a", "b"])"#, "a,b"),
        (r#""a = 1 ; b;;c=x=y" | split_map(pat=";")"#, r#"{"a": "1", "b": "", "c": "x=y"}"#),
        (r#""" | split_map"#, "{}"),
        (r#""version: 1.2" | split_map(sep=":")"#, r#"{"version": "1.2"}"#),
        (r#"["blue", "b=1,2", " a = x=y "] | split_map"#, r#"{"a": "x=y", "b": "1,2", "blue": ""}"#),
        ("[] | split_map", "{}"),
    ]);
    refuse(&[
        ("\"a = \\n\" | from_toml", "not TOML, or too deep (line 1)"),
        ("\"a = 1\\na = 2\" | from_toml", "(line 2)"),
        ("[1] | to_toml", "takes a map, not a list"),
        ("{\"a\": \"null\" | from_json} | to_toml", "no `null`"),
        ("\"{\\\"a\\\": 18446744073709551615}\" | from_json | to_toml", "more than 64 bits"),
        ("{\"a\": nothing} | to_toml", "undefined"),
        ("\"a,b\\n1\" | from_csv", "as many fields"),
        ("\"a,a\\n1,2\" | from_csv", "comes twice"),
        ("\"a\" | from_csv(sep=\"ä\")", "`sep` of `from_csv` is refused"),
        ("\"a\" | from_csv(sep=\"\\\"\")", "no quote"),
        ("[1] | to_csv", "item 1 is neither a map nor a list"),
        ("[{\"a\": 1}, {\"b\": 1}] | to_csv", "item 2 lacks one of the columns"),
        ("[[{}]] | to_csv", "a list or a map"),
        ("[[nothing]] | to_csv", "undefined"),
        ("\"a=1,a=2\" | split_map", "comes twice"),
        ("[\"a=1\", \"a=2\"] | split_map", "comes twice"),
        ("[1] | split_map", "an item is no text"),
        ("1 | split_map", "takes text or a list of texts, not a number"),
        ("\"a\" | split_map(pat=\"\")", "`pat` of `split_map` is refused: it is empty"),
    ]);
    let deep = "a = ".to_owned() + &"[".repeat(100_000);
    let error = Bench::new().key("a", &deep).error("{{ key(path=\"a\") | from_toml }}");
    assert!(error.message.contains("not TOML, or too deep"), "{error}");
}

#[test]
fn lists() {
    let of = |expression: &str| format!(r#"[{{"n": "a", "z": 1}}, {{"n": "b", "z": 2}}, {{"n": "c"}}] | {expression}"#);
    let table = [
        (r#"where_not(attribute="z", value=1) | map(attribute="n")"#, r#"["b", "c"]"#),
        (r#"where_not(attribute="z") | map(attribute="n")"#, r#"["c"]"#),
        (r#"partition(attribute="z", value=2) | get(key="matched") | map(attribute="n")"#, r#"["b"]"#),
        (r#"partition(attribute="z", value=2) | get(key="others") | map(attribute="n")"#, r#"["a", "c"]"#),
        (r#"slice(start=-1) | map(attribute="n")"#, r#"["c"]"#),
        (r#"difference(with=[{"n": "c"}]) | map(attribute="n")"#, r#"["a", "b"]"#),
    ];
    for (expression, expected) in table {
        give(&[(&of(expression), expected)]);
    }
    give(&[
        (r#"[{"t": ["x", "y"]}, {"t": ["z"]}, {"t": []}] | where(attribute="t", value="x")"#, r#"[{"t": ["x", "y"]}]"#),
        (r#"[{"t": ["x"]}, {"t": ["z"]}] | where_not(attribute="t", value="x")"#, r#"[{"t": ["z"]}]"#),
        (
            r#"[{"z": "a"}, {"z": "b"}, {"z": "c"}] | where(attribute="z", value=["c", "a"]) | map(attribute="z")"#,
            r#"["a", "c"]"#,
        ),
        (r#"[{"z": ["a"]}, {"z": "a"}] | where(attribute="z", value=["a"])"#, r#"[{"z": ["a"]}, {"z": "a"}]"#),
        (r#"[{"z": "a"}] | where(attribute="z", value=[])"#, "[]"),
        ("[] | where_not(attribute=\"a\")", "[]"),
        ("[] | partition(attribute=\"a\")", r#"{"matched": [], "others": []}"#),
        ("[] | append(value=[1])", "[[1]]"),
        ("[] | concat(with=[])", "[]"),
        ("[1] | concat(with=[1])", "[1, 1]"),
        ("[1, 2, 3] | slice", "[1, 2, 3]"),
        ("[1, 2, 3] | slice(start=5)", "[]"),
        ("[1, 2, 3] | slice(start=2, end=1)", "[]"),
        ("[1, 2, 3] | slice(start=-9, end=-2)", "[1]"),
        ("[] | slice(start=-1)", "[]"),
        ("[] | chunk(size=3)", "[]"),
        ("[1, 2] | chunk(size=9)", "[[1, 2]]"),
        ("[1, 2] | zip(with=[3])", "[[1, 3]]"),
        ("[] | zip(with=[3])", "[]"),
        ("[] | flatten", "[]"),
        ("\"[[1, [2]], []]\" | from_json | flatten", "[1, [2]]"),
        ("[2, 1, 2, [3]] | intersect(with=[[3], 2])", "[2, [3]]"),
        ("[] | intersect(with=[1])", "[]"),
        ("[2, 1, 2] | difference(with=[])", "[2, 1]"),
        ("[1, \"1\"] | difference(with=[1])", r#"["1"]"#),
        ("[1.0, 1.5] | difference(with=[1])", "[1.5]"),
        ("[1, 1.0, \"1\", 1.5, 1.5] | unique", r#"[1, "1", 1.5]"#),
        (
            r#"'[{"a": 1, "b": [1.0]}, {"b": [1], "a": 1}, {"a": 1}, [], [[]], [], {}, {}]' | from_json | unique"#,
            r#"[{"a": 1, "b": [1.0]}, {"a": 1}, [], [[]], {}]"#,
        ),
        (
            r#"[{"p": "2"}, {}, {"p": "1"}] | sort_by(attribute="p", default="9") | to_json"#,
            r#"[{"p":"1"},{"p":"2"},{}]"#,
        ),
        (
            r#"[{"p": "w10"}, {}, {"p": "w9"}] | natural_sort(attribute="p", default="w1", reverse=true) | to_json"#,
            r#"[{"p":"w10"},{"p":"w9"},{}]"#,
        ),
        (r#"[{"p": "a"}, {}] | group_by(attribute="p", default="none") | to_json"#, r#"{"a":[{"p":"a"}],"none":[{}]}"#),
        (r#"[{}, {"p": "a"}, {}] | unique_by(attribute="p", default="a")"#, "[{}]"),
        (r#"["ccc", "a", "bb", "d"] | sort_by_length"#, r#"["a", "d", "bb", "ccc"]"#),
        (
            r#"[{"p": "/"}, {"p": "/ä"}] | sort_by_length(attribute="p", reverse=true) | map(attribute="p")"#,
            r#"["/ä", "/"]"#,
        ),
        ("[] | sort_by_length", "[]"),
        (
            r#"[{"i": 1, "t": ["x", "y"]}, {"i": 2, "t": ["y", "y"]}, {"i": 3, "t": []}] | group_by(attribute="t") | get(key="y") | map(attribute="i")"#,
            "[1, 2]",
        ),
    ]);
    refuse(&[
        ("[1] | concat(with=2)", "`with` of `concat` must be a list"),
        ("[1] | append(value=nothing)", "variable `nothing` is not defined"),
        ("[1] | chunk(size=0)", "at least 1"),
        ("[1] | slice(start=\"1\")", "a whole number"),
        ("[1] | sort_by_length", "item 1 is no text"),
        ("[{}] | sort_by_length(attribute=\"a\")", "does not have the attribute"),
        ("{} | flatten", "takes a list"),
    ]);
}

#[test]
fn maps() {
    give(&[
        (r#"{} | merge(with={"a": 1})"#, r#"{"a": 1}"#),
        (r#"{"a": 1} | merge(with={})"#, r#"{"a": 1}"#),
        (r#"{"a": {"x": 1} } | merge(with={"a": 2})"#, r#"{"a": 2}"#),
        (r#"{"a": [1]} | merge(with={"a": [2]})"#, r#"{"a": [2]}"#),
        (
            r#"{"a": {"b": {"c": 1} } } | merge(with={"a": {"b": {"d": 2} } }) | to_json"#,
            r#"{"a":{"b":{"c":1,"d":2}}}"#,
        ),
        (r#"{} | insert(key="a b", value=[1])"#, r#"{"a b": [1]}"#),
        (r#"{"a": 1} | insert(key="a", value=2)"#, r#"{"a": 2}"#),
        (r#"{"a": 1} | only(keys=[])"#, "{}"),
        (r#"{"a": 1, "b": 2} | only(keys=["b", "x"])"#, r#"{"b": 2}"#),
        (r#"{} | without(keys=["b"])"#, "{}"),
        ("[] | from_pairs", "{}"),
        (r#"[["a", 1], ["a", 2], [3, 4]] | from_pairs | to_json"#, r#"{"a":2,"3":4}"#),
        (r#"{"a": 1} | pairs | from_pairs"#, r#"{"a": 1}"#),
        ("{} | nest", "{}"),
        (r#"{"/a/b/": 1, "a": 2, "c": 3} | nest | to_json"#, r#"{"a":{"":2,"b":1},"c":3}"#),
        (r#"{"a.b": 1} | nest(sep=".") | to_json"#, r#"{"a":{"b":1}}"#),
    ]);
    refuse(&[
        ("{} | merge(with=[])", "`with` of `merge` must be a map"),
        ("[] | merge(with={})", "takes a map, not a list"),
        ("{} | insert(key=1, value=2)", "must be text"),
        ("[[1]] | from_pairs", "item 1 is no pair"),
        ("\"[[[1], 2]]\" | from_json | from_pairs", "item 1 is no pair"),
        ("{} | nest(sep=\"\")", "it is empty"),
        ("{\"a\": 1} | only(keys=1)", "must be text"),
    ]);
    let deep = "{\"".to_owned() + &"a/".repeat(200) + "\": 1}";
    let error = Bench::new().key("a", &deep).error("{{ key(path=\"a\") | from_json | nest }}");
    assert!(error.message.contains("more than 128 segments"), "{error}");
}

#[test]
fn truth_values() {
    for (truth, words) in [
        ("true", ["true", "True", " YES\\n", "on", "T", "y", "1"]),
        ("false", ["false", "FALSE", "no", "Off", "f", "N", "0"]),
    ] {
        for word in words {
            give(&[(&format!("\"{word}\" | to_bool"), truth)]);
        }
    }
    give(&[
        ("1 | to_bool", "true"),
        ("0 | to_bool", "false"),
        ("true | to_bool", "true"),
        ("\"\" | to_bool(default=false)", "false"),
        ("\"maybe\" | to_bool(default=\"x\")", "x"),
    ]);
    refuse(&[
        ("\"\" | to_bool", "it is no truth value"),
        ("\"11\" | to_bool", "it is no truth value"),
        ("2 | to_bool", "it is no truth value"),
        ("1.5 | to_bool", "it is no truth value"),
        ("[] | to_bool", "takes text, a number or a truth value, not a list"),
    ]);
}

/// The ids of the instances that a host picks of so many.
fn picked(of: usize, n: usize, seed: &str) -> Vec<String> {
    let ids: Vec<String> = (0..of).map(|id| format!("{{\"id\": \"i{id}\"}}")).collect();
    let source = format!(
        "{{{{ [{}] | pick(n={n}, seed=\"{seed}\") | map(attribute=\"id\") | join(sep=\" \") }}}}",
        ids.join(", ")
    );
    Bench::new().output(&source).split_whitespace().map(str::to_owned).collect()
}

#[test]
fn a_choice_changes_as_little_as_can_be() {
    let of_ten = picked(10, 3, "host");
    assert_eq!(of_ten.len(), 3);
    assert_eq!(of_ten, picked(10, 3, "host"));
    for more in 11..40 {
        // What comes takes at most one place.
        let (before, now) = (picked(more - 1, 3, "host"), picked(more, 3, "host"));
        assert!(before.iter().filter(|id| !now.contains(id)).count() <= 1, "{before:?} {now:?}");
    }
    // Every instance is the choice of about as many hosts: 200 of 2,000 each, within six standard deviations.
    let hosts = (0..2_000).map(|host| picked(10, 1, &format!("host-{host}")).remove(0));
    let mut counts = BTreeMap::<String, usize>::new();
    hosts.for_each(|id| *counts.entry(id).or_default() += 1);
    assert!(counts.len() == 10 && counts.values().all(|count| (120..280).contains(count)), "{counts:?}");
    give(&[
        ("[] | pick(n=2, seed=\"a\")", "[]"),
        ("[\"a\", \"b\"] | pick(n=5, seed=\"a\")", r#"["a", "b"]"#),
        ("[\"a\", \"b\"] | pick(n=0, seed=\"a\")", "[]"),
    ]);
    refuse(&[
        ("[1] | pick(n=1, seed=\"a\")", "does not have the attribute"),
        ("[{\"id\": 1}] | pick(n=1, seed=\"a\")", "item 1 is no text"),
        ("[{\"id\": \"a\"}] | pick(n=1, seed=1)", "`seed` of `pick` must be text"),
    ]);
}
