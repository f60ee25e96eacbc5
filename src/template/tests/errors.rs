//! Errors stand at the right place of the source and say what helps.

use super::*;

#[test]
fn places_are_those_of_the_source() {
    let lines = "# head\n{% if true %}\n  {# note\n     more #}\n{% set x = 1 %}\n{% endif %}\n";
    for (broken, line, column, message) in [
        ("a\n  {{ nope }}\n", 8, 6, "variable `nope` is not defined"),
        ("ä {{ \"x\" | ip }}\n", 7, 12, "`ip` refuses what it was given: it is no IP address"),
        ("{% for a in [1] %}\n\t{{ a.b }}\n{% endfor %}\n", 8, 7, "field `b` is not defined"),
        ("{% for a in [1] %}{{ a / 0 }}{% endfor %}\n", 7, 26, "cannot divide by 0"),
        ("{{ \"a\" ~\n   nope ~ \"b\" }}", 8, 4, "variable `nope` is not defined"),
    ] {
        let error = Bench::new().error(&format!("{lines}{broken}"));
        assert_eq!((error.line, error.column, error.message.as_str()), (line, column, message), "{error}");
    }
}

#[test]
fn the_display_shows_the_line() {
    let error = Bench::new().error("{% if true %}\nlisten {{ \"x\" | port }};\n{% endif %}\n");
    assert_eq!(
        error.to_string(),
        "test.conf:2:17: `port` refuses what it was given: it is no port from 1 to 65535\n  |\n\
         2 | listen {{ \"x\" | port }};\n  |                 ^^^^"
    );
}

#[test]
fn inline_templates_count_the_lines_of_their_file() {
    let source = TemplateSource::Inline {
        content: "a\n{{ x }}".into(),
        file: "liveconf.yaml".into(),
        places: Places::from_line(10),
    };
    let templates = Bench::new().load(&[source]).unwrap_or_else(|errors| panic!("{}", errors[0]));
    let error = templates.render(0, &View::default()).output.unwrap_err();
    assert_eq!((error.file.as_str(), error.line, error.column), ("liveconf.yaml", 11, 4));
}

#[test]
fn errors_in_includes_and_components_say_from_where() {
    let folder = tempfile::tempdir().unwrap();
    let main =
        write(folder.path(), "main.tera", "top\n\n{% if true %}\n  {% include \"sub/inner.tera\" %}\n{% endif %}\n");
    write(folder.path(), "sub/inner.tera", "{# first #}\n{{ <box item={1} /> }}\n");
    write(folder.path(), "sub/box.tera", "");
    let components = write(
        folder.path(),
        "components.tera",
        "{% component box(item) %}\n{% set y = item %}\n  = {{ y.field.more }}\n{% endcomponent %}\n",
    );
    let templates = Bench::new().load(&[main, components]).unwrap_or_else(|errors| panic!("{}", errors[0]));
    let error = templates.render(0, &View::default()).output.unwrap_err();
    let file = |name: &str| folder.path().join(name).display().to_string();
    assert_eq!((error.file.as_str(), error.line), (file("components.tera").as_str(), 3), "{error}");
    let notes: Vec<_> = error.notes.iter().map(|note| (note.file.clone(), note.line, note.column)).collect();
    assert_eq!(notes, [(file("sub/inner.tera"), 2, 4), (file("main.tera"), 4, 14)], "{error}");
}

/// As far as that is known before a render: in whatever order the sources were read, and of a syntax error as well.
#[test]
fn errors_at_load_say_from_where_a_file_is_included() {
    let folder = tempfile::tempdir().unwrap();
    let main = write(folder.path(), "main.tera", "a\n{% include \"sub/middle.tera\" %}\n");
    write(folder.path(), "sub/middle.tera", "{% include \"inner.tera\" %}\n");
    let file = |name: &str| folder.path().join(name).display().to_string();
    for (inner, line) in [("{{ key(path=) }}\n", 1), ("\n{{ kee(path=\"a\") }}\n", 2), ("{% include \"no.tera\" %}", 1)]
    {
        write(folder.path(), "sub/inner.tera", inner);
        let error = &Bench::new().load(std::slice::from_ref(&main)).unwrap_err()[0];
        assert_eq!((error.file.as_str(), error.line), (file("sub/inner.tera").as_str(), line), "{error}");
        let notes: Vec<_> = error.notes.iter().map(|note| (note.file.clone(), note.line)).collect();
        assert_eq!(notes, [(file("sub/middle.tera"), 1), (file("main.tera"), 2)], "{error}");
        assert!(error.to_string().contains(&format!("= called from {}:2:12", file("main.tera"))), "{error}");
    }
}

#[test]
fn output_and_time_are_bounded() {
    let mut bench = Bench::new();
    bench.environment.limits.output = 10;
    assert_eq!(bench.error("{{ \"12345678901\" }}").kind, ErrorKind::Limit);
    for source in [
        // Writes, writes nothing, writes into a captured text.
        "{% for a in range(end=100000) %}{% for b in range(end=100000) %}{{ b }}{% endfor %}{% endfor %}",
        "{% set l = range(end=100000) %}{% for a in l %}{% for b in l %}{% endfor %}{% endfor %}",
        "{% set l = range(end=100000) %}{% set x %}{% for a in l %}{% for b in l %}{% endfor %}{% endfor %}{% endset %}",
        "{% set l = range(end=100000) %}{% for a in l %}{{ l | join | sha256 | length }}{% endfor %}",
    ] {
        let mut bench = Bench::new();
        bench.timeout = Duration::from_millis(50);
        bench.environment.limits.output = u64::MAX;
        let started = std::time::Instant::now();
        assert_eq!(bench.error(source).kind, ErrorKind::Timeout, "{source}");
        assert!(started.elapsed() < Duration::from_secs(5), "{source}");
    }
}

#[test]
fn throw_shows_literal_messages_only() {
    let error = Bench::new().error("{{ throw(message=\"no backend\") }}");
    assert_eq!(error.message, "no backend");
    let error = Bench::new().key("a", "hunter2").error("{{ throw(message=\"bad: \" ~ key(path=\"a\")) }}");
    assert!(!error.to_string().contains("hunter2") && error.message.contains("not shown"), "{error}");
}

#[test]
fn fields_are_suggested() {
    let bench = || Bench::new().service("web", vec![instance("w1", "10.0.0.1", 80)]);
    let error = bench().error("{% for s in service(name=\"web\") %}{{ s.adress }}{% endfor %}");
    assert_eq!(error.message, "field `adress` is not defined");
    assert_eq!(error.hint.as_deref(), Some("did you mean `address`?"));
    let error =
        Bench::new().prefix("a", &[("host", "x"), ("prt", "y")]).error("{% set t = tree(path=\"a\") %}{{ t.port }}");
    assert_eq!(error.hint.as_deref(), Some("did you mean `prt`?"));
}

#[test]
fn a_folder_that_is_asked_for_as_a_key_is_named() {
    let folder = "`app` is a folder: `prefix`, `tree` and `ls` give what is in a folder";
    for source in [
        "{{ key(path=\"app\") }}{{ prefix(path=\"app\") | length }}",
        "{{ prefix(path=\"app\") | length }}{{ key(path=\"app\") }}",
        "{% if exists(path=\"app\") %}{{ key(path=\"app\") }}{% endif %}",
        "{% for name in ls(path=\"/\") %}{{ key(path=name) }}{% endfor %}",
    ] {
        let names = Names { keys: Vec::new(), folders: vec!["app".into()] };
        let bench = Bench::new().no_key("app").prefix("app", &[("port", "80")]);
        let bench = bench.answer(Query::Exists(path("app")), Data::Exists(true));
        let error = bench.answer(Query::Listing(Path::root()), Data::Listing(names)).error(source);
        assert_eq!(error.hint.as_deref(), Some(folder), "{source}: {error}");
    }
    let error = Bench::new().error("{{ env(name=\"NONE\") }}");
    assert_eq!(error.hint.as_deref(), Some("give `default=`, or ask with `if` before using it"));
}

#[test]
fn a_registry_that_is_not_there_is_refused_at_its_place_and_not_shown() {
    let mut bench = Bench::new().key("where", "canary");
    bench.environment.registries.insert("other".into(), Arc::new(Fake::Full));
    let source = "{% set name = key(path=\"where\", registry=\"main\") %}\n{{ key(path=\"a\", registry=name) }}";
    let error = bench.error(source);
    assert_eq!(
        (error.line, error.message.as_str()),
        (2, "`registry` of `key` is refused: there is no registry of this name")
    );
    assert_eq!(error.hint.as_deref(), Some("there is `main`, `other`"));
}
