//! The functions: present, absent, empty, missing, wrong.

use super::*;

#[test]
fn key_gives_text_default_or_undefined() {
    let bench = || Bench::new().key("app/host", "db1").key("app/empty", "").no_key("app/no");
    for (source, expected) in [
        (r#"{{ key(path="app/host") }}"#, "db1"),
        (r#"{{ key(path="/app//host/") }}"#, "db1"),
        (r#"[{{ key(path="app/empty") }}]"#, "[]"),
        (r#"[{{ key(path="app/empty", default="x") }}]"#, "[]"),
        (r#"{{ key(path="app/no", default="x") }}"#, "x"),
        (r#"{{ key(path="app/no") | default(value="x") }}"#, "x"),
        (r#"{{ key(path="app/no") or "x" }}"#, "x"),
        (r#"{% if key(path="app/no") %}a{% else %}b{% endif %}"#, "b"),
        (r#"{{ key(path="app/host", base64=true) }}"#, "ZGIx"),
        (r#"{{ key(path="app/" ~ "host", registry="main") }}"#, "db1"),
        (r#"{{ "{{ 1 }}" ~ key(path="app/host") }}"#, "{{ 1 }}db1"),
    ] {
        assert_eq!(bench().output(source), expected, "{source}");
    }
}

#[test]
fn absent_keys_are_named() {
    for (source, line, column) in [
        ("a\n  {{ key(path=\"app/no\") }}", 2, 6),
        ("{% if key(path=\"app/no\", required=true) %}{% endif %}", 1, 7),
        ("{% set x = key(path=\"app/no\") %}\n{{ x }}", 2, 4),
        ("{{ \"host \" ~ key(path=\"app/no\") }}", 1, 14),
        ("{{ key(path=\"app/no\") | upper }}", 1, 4),
        ("{% for x in key(path=\"app/no\") %}{% endfor %}", 1, 13),
        ("{{ [key(path=\"app/no\")] | join }}", 1, 27),
        ("{{ {\"a\": key(path=\"app/no\")} | to_json }}", 1, 32),
    ] {
        let error = Bench::new().no_key("app/no").error(source);
        assert_eq!(error.kind, ErrorKind::Undefined { absent: vec![key_of("app/no")] }, "{source}: {error}");
        assert!(error.message.contains("key `app/no` from registry `main`"), "{error}");
        assert_eq!((error.file.as_str(), error.line, error.column), ("test.conf", line, column), "{source}\n{error}");
    }
}

#[test]
fn what_an_error_needs_is_what_it_names() {
    let source = "{% if not key(path=\"a\") %}{{ key(path=\"b\") }}{% endif %}";
    let error = Bench::new().no_key("a").no_key("b").error(source);
    assert_eq!(error.kind, ErrorKind::Undefined { absent: vec![key_of("b")] }, "{error}");
    let error = Bench::new().error("{{ nothing }}");
    assert_eq!(error.kind, ErrorKind::Undefined { absent: Vec::new() });
    assert_eq!(error.message, "variable `nothing` is not defined");
}

#[test]
fn default_never_covers_an_error() {
    let data = || Data::Key(Some(Text(vec![0xff].into())));
    let bench = || Bench::new().answer(Query::Key(path("a")), data());
    let error = bench().error("{{ key(path=\"a\", default=\"x\") }}");
    assert_eq!(error.message, "the value of key `a` from registry `main` is not UTF-8");
    assert!(error.hint.unwrap().contains("base64=true"));
    assert_eq!(bench().output("{{ key(path=\"a\", base64=true) }}"), "/w==");
}

#[test]
fn a_value_must_be_below_the_limit() {
    for (source, big) in [
        ("{{ key(path=\"a\") }}", Bench::new().key("a", "12345")),
        ("{{ key(path=\"a\", base64=true) }}", Bench::new().key("a", "12345")),
        ("{{ prefix(path=\"b\") }}", Bench::new().prefix("b", &[("x", "1"), ("a", "12345")])),
        ("{{ tree(path=\"b\") }}", Bench::new().prefix("b", &[("a", "12345")])),
        ("{{ file(path=\"f\") }}", Bench::new().answer(Query::File("/base/f".into()), Data::Key(Some(text("12345"))))),
    ] {
        let mut bench = big;
        bench.environment.limits.value = 5;
        let error = bench.error(source);
        assert_eq!(error.kind, ErrorKind::Limit, "{error}");
        assert!(error.message.contains("has 5 bytes; the limit is 5"), "{error}");
    }
    // Also when the answer has been shown before, under another limit.
    let mut bench = Bench::new();
    let view = View::of([(key_of("a"), Answer::new(Data::Key(Some(text("12345"))), 1))]);
    let sources = [inline("{{ key(path=\"a\") }}")];
    assert_eq!(bench.load(&sources).unwrap_or_else(|_| panic!()).render(0, &view).output.unwrap(), b"12345");
    bench.environment.limits.value = 5;
    assert!(bench.load(&sources).unwrap_or_else(|_| panic!()).render(0, &view).output.is_err());
}

#[test]
fn exists_prefix_tree_and_ls() {
    let bench = || {
        Bench::new()
            .answer(Query::Exists(path("a")), Data::Exists(true))
            .answer(Query::Exists(path("b")), Data::Exists(false))
            .prefix("a", &[("db", "0"), ("db-x", "1"), ("db/host", "h"), ("db/port", "5"), ("z", "2")])
            .prefix("empty", &[])
            .answer(
                Query::Listing(path("a")),
                Data::Listing(Names { keys: vec!["b".into(), "c".into()], folders: vec!["a".into(), "b".into()] }),
            )
            .answer(Query::Listing(path("no")), Data::Listing(Names::default()))
    };
    for (source, expected) in [
        ("{{ exists(path=\"a\") }} {{ exists(path=\"b\") }}", "true false"),
        (
            "{% for e in prefix(path=\"a\") %}{{ e.key }}={{ e.value }}@{{ e.path }} {% endfor %}",
            "db=0@a/db db-x=1@a/db-x db/host=h@a/db/host db/port=5@a/db/port z=2@a/z ",
        ),
        ("{{ prefix(path=\"empty\") }}{{ tree(path=\"empty\") }}{{ ls(path=\"no\") }}", "[]{}[]"),
        ("{{ tree(path=\"a\") }}", r#"{"db": {"": "0", "host": "h", "port": "5"}, "db-x": "1", "z": "2"}"#),
        ("{% set t = tree(path=\"a\") %}{{ t.db.host }}", "h"),
        ("{{ ls(path=\"a\") }}", r#"["a", "b", "c"]"#),
        ("{{ ls(path=\"a\", kind=\"keys\") }}", r#"["b", "c"]"#),
        ("{{ ls(path=\"a\", kind=\"folders\") }}", r#"["a", "b"]"#),
        ("{{ prefix(path=\"a\", min=5) | length }}", "5"),
        ("{{ prefix(path=\"a\", glob=\"*\", min=3) | map(attribute=\"key\") }}", r#"["db", "db-x", "z"]"#),
        ("{{ prefix(path=\"a\", glob=\"db/*\") | map(attribute=\"value\") }}", r#"["h", "5"]"#),
        ("{{ prefix(path=\"a\", glob=\"*/host\") | map(attribute=\"path\") }}", r#"["a/db/host"]"#),
        ("{{ prefix(path=\"a\", glob=\"**\") | length }}{{ prefix(path=\"a\", glob=\"\") }}", "5[]"),
        ("{{ prefix(path=\"empty\", glob=\"*\") }}", "[]"),
        ("{{ tree(path=\"a\", min=3) | length }}{{ ls(path=\"a\", min=3) | length }}", "33"),
    ] {
        assert_eq!(bench().output(source), expected, "{source}");
    }
    let error = bench().error("{{ prefix(path=\"a\", min=6) }}");
    assert_eq!(error.message, "prefix `a` from registry `main` has 5 entries, and `min=6` are wanted");
    for (source, expected) in [
        (
            "prefix(path=\"a\", glob=\"*\", min=4)",
            "prefix `a` from registry `main` has 3 entries, and `min=4` are wanted",
        ),
        ("tree(path=\"empty\", min=1)", "prefix `empty` from registry `main` has 0 entries, and `min=1` is wanted"),
        (
            "ls(path=\"a\", kind=\"keys\", min=3)",
            "listing of `a` from registry `main` has 2 entries, and `min=3` are wanted",
        ),
        ("prefix(path=\"a\", glob=1)", "`glob` of `prefix` must be text, not a number"),
    ] {
        assert_eq!(bench().error(&format!("{{{{ {source} }}}}")).message, expected, "{source}");
    }
    let error = bench().error("{{ ls(path=\"a\", kind=\"ke\" ~ \"y\") }}");
    assert_eq!(error.hint.as_deref(), Some("did you mean `keys`?"));
}

/// What a glob leaves out is not looked at.
#[test]
fn a_value_that_is_not_text_harms_only_who_asks_for_it() {
    let bench = || {
        let entry =
            |key: &str, value: &[u8]| Arc::new(Entry::new(key, format!("c/{key}"), Text(value.to_vec().into())));
        let entries = vec![entry("a.der", b"\xff"), entry("a.pem", b"text")];
        Bench::new().answer(Query::Prefix(path("c")), Data::Prefix(entries))
    };
    assert_eq!(bench().output("{{ prefix(path=\"c\", glob=\"*.pem\") | map(attribute=\"value\") }}"), r#"["text"]"#);
    for source in ["{{ prefix(path=\"c\") }}", "{{ prefix(path=\"c\", glob=\"*.der\") }}", "{{ tree(path=\"c\") }}"] {
        assert!(bench().error(source).message.contains("is not UTF-8"), "{source}");
    }
}

#[test]
fn a_tree_may_not_be_too_deep() {
    let deep = vec!["a"; 200].join("/");
    let error = Bench::new().prefix("r", &[(&deep, "1")]).error("{{ tree(path=\"r\") }}");
    assert_eq!(error.kind, ErrorKind::Limit);
}

#[test]
fn instances_have_every_field_in_one_order() {
    let bench = || Bench::new().service("web", vec![instance("w1", "10.0.0.1", 80), instance("w2", "::1", 0)]);
    assert_eq!(
        bench().output("{{ service(name=\"web\") | first }}"),
        "{\"id\": \"w1\", \"name\": \"web\", \"node\": \"n1\", \"address\": \"10.0.0.1\", \"port\": 80, \
         \"endpoint\": \"10.0.0.1:80\", \"tags\": [\"a\", \"b\"], \"meta\": {\"canary\": \"yes\"}, \"weight\": 1, \
         \"status\": \"passing\", \"zone\": \"z\", \"registry\": \"main\"}"
    );
    let source = "{% for s in service(name=\"web\") %}{{ s.endpoint }} {{ s.meta.canary }} {% endfor %}";
    assert_eq!(bench().output(source), "10.0.0.1:80 yes [::1] yes ");
    assert!(bench().error("{{ service(name=\"web\", min=3) }}").message.contains("2 entries"));
}

#[test]
fn a_service_query_is_all_of_its_arguments() {
    let query = |change: fn(&mut ServiceQuery)| {
        let mut query = ServiceQuery::passing("web");
        change(&mut query);
        Asked { registry: "main".into(), query: Query::Service(query) }
    };
    for (arguments, expected) in [
        ("", query(|_| ())),
        (", status=\"passing\"", query(|_| ())),
        (", status=\"any\"", query(|query| query.status = StatusFilter::All)),
        (
            ", status=[\"warning\", \"passing\"]",
            query(|query| query.status = StatusFilter::Any([Status::Passing, Status::Warning].into())),
        ),
        (", tag=\"a\"", query(|query| query.tags = ["a".into()].into())),
        (", tag=[\"b\", \"a\"]", query(|query| query.tags = ["a".into(), "b".into()].into())),
        (", near=\"_agent\"", query(|query| query.near = Some("_agent".into()))),
        (", datacenter=\"d\"", query(|query| query.datacenter = Some("d".into()))),
        (", filter=\"f\"", query(|query| query.filter = Some("f".into()))),
    ] {
        let rendering = Bench::new().render(&format!("{{{{ service(name=\"web\"{arguments}) }}}}"));
        assert_eq!(rendering.missing, [expected].into(), "{arguments}");
        assert_eq!(rendering.output.unwrap(), b"[]");
    }
    let error = Bench::new().error("{{ service(name=\"web\", status=\"pass\" ~ \"ng\") }}");
    assert_eq!(error.hint.as_deref(), Some("did you mean `passing`?"));
    assert!(Bench::new().error("{{ service(name=\"web\", tag=1) }}").message.contains("must be text, not a number"));
}

#[test]
fn services_and_nodes() {
    let services = vec![ServiceName { name: "web".into(), tags: vec!["a".into()] }];
    let node = Node {
        name: "n1".into(),
        address: "10.0.0.1".into(),
        meta: BTreeMap::from([("rack".into(), "r1".into())]),
        datacenter: "dc1".into(),
    };
    let bench = Bench::new()
        .answer(Query::Services { tag: None }, Data::Services(services))
        .answer(Query::Services { tag: Some("x".into()) }, Data::Services(Vec::new()))
        .answer(Query::Nodes { datacenter: None }, Data::Nodes(vec![node]));
    assert_eq!(
        bench.output("{{ services() }}{{ services(tag=\"x\") }}{{ nodes() }}"),
        "[{\"name\": \"web\", \"tags\": [\"a\"], \"registry\": \"main\"}][][{\"name\": \"n1\", \"address\": \
         \"10.0.0.1\", \"meta\": {\"rack\": \"r1\"}, \"datacenter\": \"dc1\"}]"
    );
}

#[test]
fn a_node_is_a_map_with_its_services() {
    let node = Node {
        name: "n1".into(),
        address: "10.0.0.1".into(),
        meta: BTreeMap::from([("rack".into(), "r1".into())]),
        datacenter: "dc1".into(),
    };
    let services = vec![Arc::new(instance("w1", "10.0.0.1", 80))];
    let elsewhere = NodeQuery { datacenter: Some("dc2".into()), ..NodeQuery::named("n1") };
    let bench = || {
        Bench::new()
            .answer(
                Query::Node(NodeQuery::named("n1")),
                Data::Node(Some(NodeServices { node: node.clone(), services: services.clone() })),
            )
            .answer(
                Query::Node(elsewhere.clone()),
                Data::Node(Some(NodeServices { node: node.clone(), services: Vec::new() })),
            )
            .answer(Query::Node(NodeQuery::named("gone")), Data::Node(None))
            .answer(Query::Datacenters, Data::Datacenters(vec!["dc1".into(), "dc2".into()]))
            .key("bad", "n1\n")
    };
    for (source, expected) in [
        (
            "{{ node(name=\"n1\") }}",
            "{\"name\": \"n1\", \"address\": \"10.0.0.1\", \"meta\": {\"rack\": \"r1\"}, \"datacenter\": \"dc1\", \
             \"services\": [{\"id\": \"w1\", \"name\": \"web\", \"node\": \"n1\", \"address\": \"10.0.0.1\", \"port\": 80, \
             \"endpoint\": \"10.0.0.1:80\", \"tags\": [\"a\", \"b\"], \"meta\": {\"canary\": \"yes\"}, \"weight\": 1, \
             \"status\": \"passing\", \"zone\": \"z\", \"registry\": \"main\"}]}",
        ),
        ("{% set n = node(name=\"n1\", datacenter=\"dc2\") %}{{ n.services | length }}", "0"),
        ("{{ node(name=\"gone\", default=\"none\") }}", "none"),
        ("{% if node(name=\"gone\") %}a{% else %}b{% endif %}", "b"),
        ("{{ datacenters() | join(sep=\",\") }}", "dc1,dc2"),
        (
            "{% for dc in datacenters() %}{% set n = node(name=\"n1\", datacenter=\"dc2\") %}{{ n.name }}{% endfor %}",
            "n1n1",
        ),
    ] {
        assert_eq!(bench().output(source), expected, "{source}");
    }
    for (source, expected) in [
        ("{% set n = node(name=\"gone\") %}{{ n.address }}", "node `gone` from registry `main`"),
        ("{% if node(name=\"gone\", required=true) %}{% endif %}", "is not there, and it is required"),
        ("{{ node(name=\"\") }}", "`name` of `node` is refused: it is empty"),
        ("{{ node(name=1) }}", "`name` of `node` must be text, not a number"),
        ("{{ node(name=\"n1\", datacenter=[]) }}", "`datacenter` of `node` must be text, not a list"),
    ] {
        let error = bench().error(source);
        assert!(error.to_string().contains(expected), "{source}: {error}");
    }
    assert!(bench().refused("{{ node() }}")[0].message.contains("needs `name=`"));
    assert!(bench().refused("{{ datacenters(near=\"x\") }}")[0].message.contains("has no argument `near`"));
    // What is not answered yet does not fail on the way.
    let rendering =
        Bench::new().render("{% set n = node(name=\"n1\") %}{% for i in n.services %}{% endfor %}{{ datacenters() }}");
    let missing: Vec<String> = rendering.missing.iter().map(|asked| asked.query.to_string()).collect();
    assert!(missing.contains(&"node `n1`".to_owned()), "{missing:?}");
    // A name that was computed is not told.
    let error = bench().answer(Query::Node(NodeQuery::named("n1\n")), Data::Node(None));
    let error = error.error("{{ node(name=key(path=\"bad\")) }}");
    assert!(error.to_string().contains("node `[computed]`") && !error.to_string().contains("n1"), "{error}");
}

#[test]
fn names_are_looked_up() {
    let of = |name: &str, record| Query::Lookup(LookupQuery { record, ..LookupQuery::addresses(name) });
    let records = |texts: &[&str]| Data::Records(texts.iter().map(|text| (*text).to_owned()).collect());
    let server = Instance { meta: BTreeMap::from([("priority".into(), "10".into())]), ..instance("s", "a.b", 80) };
    let bench = || {
        Bench::new()
            .with_names()
            .answer(of("db", RecordType::A), records(&["10.0.0.1", "10.0.0.2"]))
            .answer(of("db", RecordType::Aaaa), records(&[]))
            .answer(of("db", RecordType::Txt), records(&["a\nb"]))
            .answer(of("_web._tcp.x", RecordType::Srv), Data::Service(vec![Arc::new(server.clone())]))
            .answer(of("_no._tcp.x", RecordType::Srv), Data::Service(Vec::new()))
            .key("name", "db")
            .key("secret", "hunter2")
            .answer(of("hunter2", RecordType::A), records(&[]))
    };
    for (source, expected) in [
        ("{{ lookup(name=\"db\") | join(sep=\",\") }}", "10.0.0.1,10.0.0.2"),
        ("{{ lookup(name=\"db\", type=\"A\", registry=\"names\") | length }}", "2"),
        ("{{ lookup(name=key(path=\"name\")) | length }}", "2"),
        ("{{ lookup(name=\"db\", type=\"AAAA\", default=[]) | length }}", "0"),
        ("{% if lookup(name=\"db\", type=\"AAAA\") %}a{% else %}b{% endif %}", "b"),
        (
            "{% for i in lookup(name=\"_web._tcp.x\", type=\"SRV\") %}{{ i.endpoint }} {{ i.meta.priority }}{% endfor %}",
            "a.b:80 10",
        ),
        ("{{ lookup(name=\"_no._tcp.x\", type=\"SRV\", default=\"none\") }}", "none"),
        ("{{ lookup(name=\"db\", min=2) | first }}", "10.0.0.1"),
    ] {
        assert_eq!(bench().output(source), expected, "{source}");
    }
    for (source, expected) in [
        ("{{ lookup(name=\"db\", type=\"AAAA\") }}", "not there: AAAA records of `db` from registry `names`"),
        ("{% for i in lookup(name=\"_no._tcp.x\", type=\"SRV\") %}{% endfor %}", "SRV records of `_no._tcp.x`"),
        ("{{ lookup(name=\"db\", type=\"AAAA\", required=true) }}", "is not there, and it is required"),
        (
            "{{ lookup(name=\"db\", min=3) }}",
            "A records of `db` from registry `names` has 2 entries, and `min=3` are wanted",
        ),
        ("{{ lookup(name=\"\") }}", "`name` of `lookup` is refused: it is empty"),
        ("{{ lookup(name=[\"db\"]) }}", "`name` of `lookup` must be text, not a list"),
        ("{{ lookup(name=\"db\", type=\"S\" ~ \"OA\") }}", "`type` of `lookup` is none of the names it may be"),
        // What is computed is not shown, and a value is safe in its place or refused.
        ("{{ lookup(name=key(path=\"secret\")) }}", "A records of `[computed]`"),
        ("{{ lookup(name=\"db\", type=\"TXT\") | first | token }}", "one of the TXT records of `db`"),
    ] {
        let error = bench().error(source).to_string();
        assert!(error.contains(expected) && !error.contains("hunter2"), "{source}: {error}");
    }
    for (source, expected) in [
        ("{{ lookup() }}", "needs `name=`"),
        ("{{ lookup(name=\"db\", type=\"a\") }}", "`type` cannot be `a`"),
        ("{{ lookup(name=\"db\", registry=\"main\") }}", "registry `main` does no DNS look-ups"),
    ] {
        let message = bench().refused(source)[0].message.clone();
        assert!(message.contains(expected), "{source}: {message}");
    }
    // Nobody is asked for a name without a registry for names, and one for names is in nobody's way.
    let errors = Bench::new().refused("{{ lookup(name=\"db\") }}");
    assert_eq!(errors[0].message, "`lookup` has no registry to ask");
    assert_eq!(errors[0].hint.as_deref(), Some("add one of kind `dns` under `registries:`"));
    assert_eq!(bench().output("{{ key(path=\"name\") }}"), "db");
}

#[test]
fn env_and_file() {
    let bench = || {
        let mut bench = Bench::new()
            .answer(Query::File("/base/a/b.txt".into()), Data::Key(Some(text("content\n"))))
            .answer(Query::File("/no".into()), Data::Key(None));
        bench.environment.variables = BTreeMap::from([("HOME".into(), "/root".into())]);
        bench
    };
    for (source, expected) in [
        ("{{ env(name=\"HOME\") }}", "/root"),
        ("{{ env(name=\"NO\", default=\"d\") }}", "d"),
        ("{% if env(name=\"NO\") %}a{% endif %}", ""),
        ("{{ file(path=\"a/b.txt\") }}", "content\n"),
        ("{{ file(path=\"/no\", default=\"d\") }}", "d"),
    ] {
        assert_eq!(bench().output(source), expected, "{source}");
    }
    let error = bench().error("{{ env(name=\"NO\") }}");
    assert!(error.message.ends_with("not there: variable `NO`"), "{error}");
    let error = bench().error("{{ file(path=\"/no\") }}");
    let asked = Asked { registry: LOCAL_FILES.into(), query: Query::File("/no".into()) };
    assert_eq!(error.kind, ErrorKind::Undefined { absent: vec![asked] });
}

#[test]
fn now_is_the_begin_of_a_step() {
    let hour = Query::Time { every: 3600.try_into().unwrap() };
    let asked = || Bench::new().answer(hour.clone(), Data::Key(Some(text("1769846400"))));
    assert_eq!(asked().output("{{ now(every=\"1h\") }} {{ now(every=\"60m\") - 3600 }}"), "1769846400 1769842800");
    assert_eq!(asked().output("{{ now(every=\"1h\") | to_date }}"), "2026-01-31T08:00:00Z");
    let missing = Bench::new().render("{{ now(every=\"1h\") | to_date }}").missing;
    assert_eq!(missing, [Asked { registry: CLOCK.into(), query: hour }].into());

    let set = |time: &str| {
        let mut bench = Bench::new();
        bench.environment.variables = BTreeMap::from([("SOURCE_DATE_EPOCH".into(), time.into())]);
        bench
    };
    for (every, time) in [("1m", "1769847000"), ("1h", "1769846400"), ("1d", "1769817600"), ("90s", "1769846940")] {
        assert_eq!(set("1769847001").output(&format!("{{{{ now(every=\"{every}\") }}}}")), time, "{every}");
    }
    let error = set("secret").error("{{ now(every=\"1h\") }}").message;
    assert!(error.contains("the variable `SOURCE_DATE_EPOCH` is no number of seconds") && !error.contains("secret"));
    for every in ["59s", "0", "1m500ms", "1h30", "", "hour", "-1h"] {
        let error = set("0").error(&format!("{{{{ now(every=\"{every}\") }}}}")).message;
        assert!(error.contains("`every`"), "{every}: {error}");
    }
    assert!(set("0").error("{{ now(every=60) }}").message.contains("`every`"));
}

#[test]
fn a_path_of_a_file_that_is_put_together_stays_in_its_folders() {
    let bench = |name: &str| {
        let mut bench = Bench::new().key("name", name);
        bench.environment.roots = vec!["/etc/ssl".into()];
        bench
    };
    let put_together = |before: &str| format!("{{{{ file(path=\"{before}\" ~ key(path=\"name\"), default=\"d\") }}}}");
    for (before, name) in [
        ("", "a.pem"),
        ("certs/", "../a.pem"),
        ("certs/", "a/../b"),
        ("/etc/ssl/", "a.pem"),
        ("", "/etc/ssl/private/a.pem"),
        ("", "/base/a"),
        ("../base/", "a"),
    ] {
        let rendering = bench(name).render(&put_together(before));
        assert_eq!(rendering.missing.len(), 1, "{before}{name}: {:?}", rendering.output);
    }
    for (before, name) in [
        ("", "/etc/shadow"),
        ("certs/", "../../etc/shadow"),
        ("", ".."),
        ("", "."),
        ("/etc/ssl/", "../shadow"),
        ("", "/etc/sslx/a"),
        ("", "/basement"),
        ("/", "etc/shadow"),
    ] {
        let error = bench(name).error(&put_together(before));
        assert!(error.message.contains("`path` of `file` is refused: it is put together"), "{before}{name}: {error}");
        assert!(!error.to_string().contains("shadow") && error.hint.is_some(), "{error}");
    }
    // What the author of the template wrote is his.
    let rendering = bench("").render("{% set path = \"/srv/../etc/motd\" %}{{ file(path=path) }}");
    assert_eq!(rendering.missing.len(), 1);
    // A service may be called what it likes.
    let services = vec![ServiceName { name: "../etc/motd".into(), tags: Vec::new() }];
    let bench = bench("").answer(Query::Services { tag: None }, Data::Services(services));
    let error = bench.error("{% for s in services() %}{{ file(path=s.name) }}{% endfor %}");
    assert!(error.message.contains("it is put together"), "{error}");
}

#[test]
fn a_template_gives_up_waits_and_warns_with_what_it_holds() {
    for (function, kind) in
        [("fail", ErrorKind::Function), ("throw", ErrorKind::Function), ("not_yet", ErrorKind::NotYet)]
    {
        let error = Bench::new().error(&format!("a\n{{{{ {function}(message=\"no backend\") }}}}"));
        assert_eq!((error.message.as_str(), error.line, &error.kind), ("no backend", 2, &kind), "{error}");
        let source = format!("{{{{ {function}(message=\"bad: \" ~ key(path=\"a\")) }}}}");
        let error = Bench::new().key("a", "hunter2").error(&source);
        assert!(!error.to_string().contains("hunter2") && error.message.contains("not shown"), "{error}");
        assert_eq!(error.kind, kind);
        // While an answer is missing it is not known whether it comes to that.
        let rendering = Bench::new().render(&format!("{{{{ key(path=\"a\") }}}}{{{{ {function}(message=\"x\") }}}}"));
        assert_eq!(rendering.missing, [key_of("a")].into());
        assert!(Bench::new().error(&format!("{{{{ {function}(message=1) }}}}")).message.contains("must be text"));
        let errors = Bench::new().refused(&format!("{{{{ {function}() }}}}"));
        assert!(errors[0].message.contains("needs `message=`"), "{}", errors[0]);
    }
    let source = "{{ warn(message=\"b\") }}{% for n in [1, 2] %}{{ warn(message=\"a\") }}{% endfor %}{{ warn(message=key(path=\"a\")) }}.";
    let rendering = Bench::new().key("a", "hunter2").render(source);
    assert_eq!(rendering.output.unwrap(), b".");
    assert_eq!(
        rendering.warnings.iter().map(String::as_str).collect::<Vec<_>>(),
        ["a", "a message that is not shown: a value may be part of it", "b"]
    );
    assert!(Bench::new().error("{{ warn(message=1) }}").message.contains("must be text"));
}

#[test]
fn discovery_goes_on_behind_what_is_missing() {
    let source = r#"{% component c(name: string) %}{{ key(path="c/" ~ name) }}{% endcomponent %}
{{ key(path="a") }}{% for s in services() %}{{ service(name=s.name) }}{% endfor %}
{{ <c name="x" /> }}{% if exists(path="e") %}{{ key(path="not") }}{% endif %}
{{ key(path=key(path="a")) }}{{ tree(path="t") }}{{ prefix(path="p", min=2) }}{{ ls(path="l") }}
{{ key(path="j") | from_json | to_json }}{{ key(path="i") | ip }}{{ file(path="f") }}"#;
    let rendering = Bench::new().render(source);
    let missing: Vec<String> = rendering.missing.iter().map(|asked| asked.query.to_string()).collect();
    assert_eq!(
        missing,
        [
            "file `/base/f`",
            "key `a`",
            "key `c/x`",
            "key `i`",
            "key `j`",
            "whether `e` exists",
            "prefix `p`",
            "prefix `t`",
            "listing of `l`",
            "services",
        ]
    );
    assert!(rendering.reads.is_empty());
}

#[test]
fn reads_are_what_was_asked_and_answered() {
    let rendering =
        Bench::new().key("a", "b").key("b", "c").key("unused", "").render("{{ key(path=key(path=\"a\")) }}");
    assert_eq!(rendering.reads, [key_of("a"), key_of("b")].into());
    assert!(rendering.missing.is_empty());
    // A value of the registry that looks like the placeholder is no placeholder.
    let error = Bench::new().key("a", "\0").error("{{ key(path=key(path=\"a\")) }}");
    assert_eq!(error.message, "`path` of `key` is refused: a path has no control characters");
}
