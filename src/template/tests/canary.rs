//! A value of a registry is never part of an error, whatever a template does with it.

use super::*;

#[test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn no_error_holds_a_value() {
    let mut wrong = Vec::new();
    for expression in [
        "v | int",
        "v | float",
        "v | int(base=16)",
        "v | to_int",
        "v | to_float",
        "v | abs",
        "v | round",
        "v | ip",
        "v | port",
        "(v ~ \"_-\") | host",
        "(v ~ \" \") | token",
        "(v ~ \"$\") | nginx_quote",
        "(v ~ \"'\") | haproxy_quote",
        "(v ~ \"%\") | haproxy_quote",
        "(v ~ k0) | shell_quote",
        "v ~ k0",
        "(v ~ \";\") | token",
        "v | from_json",
        "(v ~ \": [\") | from_yaml",
        "(\"[\" ~ v) | from_yaml",
        "v | base64_decode",
        "v | first",
        "v | join",
        "v + 1",
        "v * 2",
        "-v",
        "v < 1",
        "1 in 5",
        "v.field.more",
        "m.b.c",
        "m.b",
        "k.b.c",
        "k.b",
        "[v][v]",
        "v[1:v]",
        "{\"a\": 1} | get(key=v)",
        "[{\"a\": v}, {\"a\": 1}] | sort_by(attribute=\"a\")",
        "[v, 1] | sort",
        "[{\"a\": 1}] | sort(attribute=v)",
        "[{\"a\": 1}] | group_by(attribute=v)",
        "[{}] | map(attribute=v)",
        "throw(message=v)",
        "throw(message=\"x\" ~ v)",
        "fail(message=v)",
        "not_yet(message=v)",
        "warn(message=v) | port",
        "range(end=v)",
        "range(end=n)",
        "1 | round(method=v)",
        "1 is divisible_by(divisor=v)",
        "1.5 is odd",
        "key(path=\"a\", registry=v)",
        "key(path=v ~ \"/../x\")",
        "service(name=\"x\", status=v)",
        "ls(path=\"x\", kind=v)",
        "prefix(path=\"p\", min=v)",
        "prefix(path=\"bad\")",
        "tree(path=\"bad\")",
        "(\"{\\\"\" ~ v ~ \"\\\": 1}\") | from_json | get(key=\"x\")",
        "(\"a: !\" ~ v ~ \" {\") | from_yaml",
        "<c {...k} />",
        "<c x={v} />",
        "v | indent(indentation=v)",
        "v | pluralize",
        "v | values",
        "v | nth(n=v)",
        "v | token(extra=1)",
        "9223372036854775807 ** n ** n",
        "v | truncate(length=v)",
        "n ** v",
        "(n * n * n * n * n) | int",
        "[v] | unique_by(attribute=v)",
        "v | ip(version=n)",
        "key(path=\"binary\")",
        "(v ~ \"(\") | regex_match(pat=v ~ \"(\")",
        "v | regex_find(pat=\"[\" ~ v)",
        "v | regex_find_all(pat=\"a\", group=n)",
        "v | regex_replace(pat=v ~ \"{\" ~ v, to=v)",
        "v | regex_split(pat=\"(?P<\" ~ v)",
        "v | from_toml",
        "(\"a = \" ~ v) | from_toml",
        "(v ~ \"\\n1,2\") | from_csv",
        "(v ~ \",\" ~ v ~ \"\\n\") | from_csv",
        "(v ~ \"=1,\" ~ v ~ \"=2\") | split_map",
        "[v] | to_csv",
        "[{\"a\": 1}] | to_csv(columns=[v])",
        "[v] | to_toml",
        "{\"a\": n * n * n} | to_toml",
        "(v ~ \"!\") | hex_decode",
        "(v ~ \"!\") | base64_decode(url=true)",
        "v | hmac(key=n)",
        "\"a\" | hmac(key=v, hash=v)",
        "v | pad_start(width=9, fill=v)",
        "v | repeat(n=n)",
        "[v] | slice(start=v)",
        "[v] | chunk(size=v)",
        "[v] | concat(with=v)",
        "[n] | sort_by_length",
        "[{\"id\": n}] | pick(n=1, seed=v)",
        "m | merge(with=v)",
        "m | insert(key=n, value=v)",
        "[v] | from_pairs",
        "m | nest(sep=n)",
    ] {
        let source = format!(
            "{{% component c(x: integer) %}}{{{{ x }}}}{{% endcomponent %}}\n\
             {{% set v = key(path=\"secret\") %}}\n{{% set n = key(path=\"number\") | int %}}\n\
             {{% set m = {{\"a\": v}} %}}{{% set k0 = key(path=\"control\") %}}{{% set k = (\"{{\\\"\" ~ v ~ \"\\\": {{}}}}\") | from_json %}}\n{{{{ {expression} }}}}\n"
        );
        // The names of what a value is made of are shown, but where it is a secret.
        let secret = expression.contains("k.") || expression.contains("...k");
        let bench = Bench { secret, ..Bench::new() }
            .key("secret", "hunter2")
            .key("number", "123454321999")
            .key("control", "\u{1b}")
            .answer(Query::Key(path("binary")), Data::Key(Some(Text(b"hunter2\xff".to_vec().into()))))
            .prefix("p", &[("a", "hunter2")])
            .answer(
                Query::Prefix(path("bad")),
                Data::Prefix(vec![Arc::new(Entry::new("a", "bad/a", Text(b"hunter2\xff".to_vec().into())))]),
            );
        let templates = match bench.load(&[inline(&source)]) {
            Ok(templates) => templates,
            Err(errors) => {
                wrong.push(format!("does not load: {expression}: {}", errors[0].message));
                continue;
            }
        };
        match templates.render(0, &bench.view()).output {
            Ok(_) => wrong.push(format!("renders: {expression}")),
            Err(error) => {
                let shown = format!("{error}\n{error:?}");
                if shown.contains("hunter2") || shown.contains("123454321999") {
                    wrong.push(format!("shows a value: {expression}: {shown}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn variables_are_not_shown() {
    let mut bench = Bench::new();
    bench.environment.variables = BTreeMap::from([("NAME".into(), "hunter2".into())]);
    let shown = format!("{:?}", bench.environment);
    assert!(shown.contains("NAME") && !shown.contains("hunter2"));
}

/// What a template asks with these answers, as it stands in messages.
fn asked(bench: Bench, source: &str) -> Vec<String> {
    bench.render(source).missing.iter().map(ToString::to_string).collect()
}

#[test]
fn no_question_holds_a_value() {
    for (source, expected) in [
        ("{{ key(path=v) }}", "key `[computed]` from registry `main`"),
        ("{{ key(path=\"app/\" ~ v ~ \"/x\") }}", "key `app/[computed]/x` from registry `main`"),
        ("{{ key(path=\"app/x-\" ~ v) }}", "key `app/[computed]` from registry `main`"),
        ("{{ exists(path=v) }}", "whether `[computed]` exists from registry `main`"),
        ("{% for e in prefix(path=v) %}{% endfor %}", "prefix `[computed]` from registry `main`"),
        ("{% for e in ls(path=v ~ \"/a\") %}{% endfor %}", "listing of `[computed]/a` from registry `main`"),
        ("{% for i in service(name=v) %}{% endfor %}", "service `[computed]` from registry `main`"),
        ("{% for i in service(name=\"web\", tag=v) %}{% endfor %}", "service `web` from registry `main`"),
        (
            "{% for i in service(name=\"web\", filter=\"a == \" ~ v) %}{% endfor %}",
            "service `web` from registry `main`",
        ),
        ("{% for s in services(tag=v) %}{% endfor %}", "services with a tag from registry `main`"),
        ("{% for n in nodes(datacenter=v) %}{% endfor %}", "nodes from registry `main`"),
        ("{{ file(path=\"certs/\" ~ v ~ \".pem\") }}", "file `/base/certs/[computed]`"),
        ("{{ file(path=v) }}", "file `/base/[computed]`"),
    ] {
        let source = format!("{{% set v = key(path=\"secret\") %}}{source}");
        assert_eq!(asked(Bench::new().key("secret", "hunter2"), &source), [expected], "{source}");
    }
}

#[test]
fn what_is_written_or_listed_is_shown() {
    for (source, expected) in [
        ("{% set v = \"app\" %}{{ key(path=v ~ \"/x\") }}", "key `app/x`"),
        ("{{ key(path=env(name=\"REGION\", default=\"eu\")) }}", "key `eu`"),
        ("{% for e in prefix(path=\"p\") %}{{ key(path=\"q/\" ~ e.key) }}{% endfor %}", "key `q/one`"),
        ("{% for s in services() %}{{ service(name=s.name) | length }}{% endfor %}", "service `web`"),
        ("{% for n in nodes() %}{{ key(path=\"node/\" ~ n.name) }}{% endfor %}", "key `node/n1`"),
        ("{% for f in ls(path=\"l\") %}{{ key(path=\"l/\" ~ f) }}{% endfor %}", "key `l/below`"),
    ] {
        let node = Node { name: "n1".into(), address: "a".into(), meta: BTreeMap::new(), datacenter: "d".into() };
        let names = Names { keys: vec!["below".into()], folders: Vec::new() };
        let bench = Bench::new()
            .prefix("p", &[("one", "1")])
            .answer(
                Query::Services { tag: None },
                Data::Services(vec![ServiceName { name: "web".into(), tags: vec![] }]),
            )
            .answer(Query::Nodes { datacenter: None }, Data::Nodes(vec![node]))
            .answer(Query::Listing(path("l")), Data::Listing(names));
        assert_eq!(asked(bench, source), [format!("{expected} from registry `main`")], "{source}");
    }
}

#[test]
fn an_error_about_what_is_absent_names_no_value() {
    for source in [
        "{{ key(path=\"a/\" ~ v) }}",
        "{{ key(path=\"a/\" ~ v, required=true) }}",
        "{{ env(name=v) }}",
        "{{ env(name=v, required=true) }}",
        "{{ service(name=v, min=1) }}",
    ] {
        let bench = Bench::new()
            .key("secret", "hunter2")
            .no_key("a/hunter2")
            .answer(Query::Service(ServiceQuery::passing("hunter2")), Data::Service(Vec::new()));
        let error = bench.error(&format!("{{% set v = key(path=\"secret\") %}}{source}"));
        let shown = format!("{error}");
        assert!(shown.contains("[computed]") && !shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn names_that_are_made_of_values_are_not_shown() {
    let bench = |secret: bool| {
        let entries = [("user", "s3cret-a"), ("token", "s3cret-b")];
        let mut bench = Bench::new()
            .prefix("app", &entries)
            .key("pairs", "s3cret-c=1,s3cret-e=2")
            .key("json", "{\"listen_on\": 1}");
        bench.secret = secret;
        bench.service("web", vec![instance("a", "s3cret-d", 80)])
    };
    let pairs = "{% set m = key(path=\"pairs\") | split_map(pat=\",\", sep=\"=\") %}";
    let prefix = |filter: &str| format!("{{% set m = prefix(path=\"app\") | {filter} %}}{{{{ m.user }}}}");
    let list = "prefix(path=\"app\") | map(attribute=\"value\")";
    let component = "{% component c(a=1) %}{{ a }}{% endcomponent c %}";
    let sources = [
        format!("{pairs}{{{{ m.user }}}}"),
        format!("{pairs}{{{{ [m] | map(attribute=\"user\") }}}}"),
        format!("{pairs}{{{{ m | get(key=\"user\") }}}}"),
        format!("{component}{pairs}{{{{ <c {{...m}} /> }}}}"),
        prefix("group_by(attribute=\"value\")"),
        format!("{{% set m = [[{list} | first, 1]] | from_pairs %}}{{{{ m.user }}}}"),
        format!("{{% set m = {{}} | insert(key={list} | first, value=1) %}}{{{{ m.user }}}}"),
        "{% set m = service(name=\"web\") | group_by(attribute=\"address\") %}{{ m.user }}".into(),
    ];
    for source in &sources {
        for secret in [false, true] {
            let error = bench(secret).error(source);
            assert!(!format!("{error}\n{error:?}").contains("s3cret"), "{source}: {error}");
        }
    }
    let error = bench(false).error(&sources[0]).to_string();
    assert!(error.contains("`m` has 2 names, which may come from a value and are not shown"), "{error}");
    // What was read as JSON has names that its author chose, as keys have.
    let json = "{% set m = key(path=\"json\") | from_json %}";
    for source in ["{{ m.lisetn_on }}", "{{ [m] | map(attribute=\"lisetn_on\") }}"] {
        let error = bench(false).error(&format!("{json}{source}")).to_string();
        assert!(error.contains("hint: did you mean `listen_on`?"), "{error}");
        let error = bench(true).error(&format!("{json}{source}")).to_string();
        assert!(!error.contains("listen_on"), "{error}");
    }
}
