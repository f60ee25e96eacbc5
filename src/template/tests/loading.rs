//! What is refused when templates are loaded, all at once, with place and hint.

use super::*;

#[test]
fn misspelt_names_are_found_before_a_render() {
    for (source, column, message, hint) in [
        ("{{ kee(path=\"a\") }}", 4, "unknown function `kee`", "did you mean `key`?"),
        ("{{ 1 | uper }}", 8, "unknown filter `uper`", "did you mean `upper`?"),
        ("{% filter uper %}{% endfilter %}", 11, "unknown filter `uper`", "did you mean `upper`?"),
        ("{% set x | uper %}{% endset %}", 12, "unknown filter `uper`", "did you mean `upper`?"),
        ("{% if 1 is not definde %}{% endif %}", 16, "unknown test `definde`", "did you mean `defined`?"),
        ("{{ <nginx.upstrem /> }}", 5, "unknown component `nginx.upstrem`", "did you mean `nginx.upstream`?"),
        (
            "{% <nginx.upstrem> %}{% </nginx.upstrem> %}",
            5,
            "unknown component `nginx.upstrem`",
            "did you mean `nginx.upstream`?",
        ),
        ("{{ key(pth=\"a\") }}", 8, "function `key` has no argument `pth`", "did you mean `path`?"),
        ("{{ key() }}", 4, "function `key` needs `path=`", ""),
        ("{{ [] | join(separator=\",\") }}", 14, "filter `join` has no argument `separator`", "did you mean `sep`?"),
        ("{{ [] | sort_by }}", 9, "filter `sort_by` needs `attribute=`", ""),
        ("{{ key(path=\"a\", registry=\"mian\") }}", 4, "there is no registry `mian`", "did you mean `main`?"),
        ("{{ key(path=\"a/../b\") }}", 13, "`a/../b` is no path: a path has no `.` or `..` segments", ""),
        ("{{ __tera_context }}", 4, "`__tera_context` is refused: it writes out every value", ""),
        (
            "{% include \"liveconf/nginx/upsteam.tera\" %}",
            12,
            "template `liveconf/nginx/upsteam.tera` is not found",
            "did you mean `liveconf/nginx/upstream.tera`?",
        ),
        ("{% if %}", 7, "", ""),
        ("{{ \"a }}", 4, "", ""),
        (
            "{{ key(\"a\") }}",
            8,
            "",
            "functions and filters take their arguments by name, such as `key(path=\"app/db\")`",
        ),
        ("{% <nginx.upstream a={nope(x=1)}> %}{% </nginx.upstream> %}", 23, "unknown function `nope`", ""),
        ("{{ [f(x=1) for x in [1]] }}", 5, "unknown function `f`", ""),
    ] {
        let errors = Bench::new().refused(&format!("\n{source}"));
        let error = &errors[0];
        if source != "{{ key(path=\"a\", registry=\"mian\") }}" {
            assert_eq!((error.line, error.column), (2, column), "{error}");
        }
        assert!(error.message.contains(message), "{error}");
        assert!(error.hint.as_deref().unwrap_or_default().contains(hint), "{error}");
        assert_eq!(errors.len(), 1, "{source}: {errors:?}");
        assert_eq!(error.kind, ErrorKind::Syntax);
    }
}

#[test]
fn what_is_right_is_not_refused() {
    for source in [
        "{% if 1 < 2 and (1 == 1) or not (2 > 1) %}{% endif %}",
        "{% set a = 1 %}{% if a <a %}{% endif %}",
        "{{ 1 if (true) else (2) }}",
        "{% for x in ([1]) %}{% endfor %}{# key() #}{% raw %}{{ kee() }}{% endraw %}",
        "{% component my.box(title: string = \"(x)\", n = 1) %}{{ title }}{% endcomponent my.box %}{{ <my.box title=\"a\" n={2} /> }}",
        "{{ \"kee()\" }}",
        "{{ range(start=1, end=3) | length }}",
        "{% set x | upper | trim(pat=\"a\") %}{% endset %}",
        "{% filter upper %}a{% endfilter %}",
    ] {
        if let Err(errors) = Bench::new().load(&[inline(source)]) {
            panic!("{source}\n{}", errors[0]);
        }
    }
}

#[test]
fn several_registries_need_a_name() {
    let mut bench = Bench::new();
    bench.environment.registries.insert("other".into(), Arc::new(Fake));
    let errors = bench.refused("{{ key(path=\"a\") }}{{ services() }}{{ key(path=\"a\", registry=\"other\") }}");
    assert_eq!(errors.len(), 2);
    assert_eq!(errors[0].message, "`key` must say which registry it asks: there are several");
    assert_eq!(errors[0].hint.as_deref(), Some("add `registry=`, one of `main`, `other`"));
    bench.environment.registries.clear();
    assert_eq!(bench.refused("{{ key(path=\"a\") }}")[0].message, "`key` has no registry to ask");
    assert!(bench.load(&[inline("{{ env(name=\"A\", default=\"\") }}")]).is_ok());
}

#[test]
fn every_problem_of_every_template_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let sources = [
        write(folder.path(), "a.tera", "{{ kee(path=\"a\") }}\n{{ 1 | uper }}\n"),
        write(folder.path(), "b.tera", "{% if %}"),
        write(folder.path(), "c.tera", "{% include \"d.tera\" %}{% include \"nowhere.tera\" %}"),
        TemplateSource::File(folder.path().join("gone.tera")),
    ];
    write(folder.path(), "d.tera", "{{ loop.x }}{% endfor %}");
    let errors = Bench::new().load(&sources).err().unwrap();
    let shown: Vec<String> =
        errors.iter().map(|error| format!("{}:{}", error.file.rsplit('/').next().unwrap(), error.line)).collect();
    assert_eq!(shown, ["c.tera:1", "gone.tera:0", "a.tera:1", "a.tera:2", "b.tera:1", "d.tera:1"], "{errors:#?}");
    assert_eq!(errors[1].kind, ErrorKind::Io);
}

#[test]
fn includes_are_found_beside_then_in_the_folders_then_built_in() {
    let folder = tempfile::tempdir().unwrap();
    let shared = tempfile::tempdir().unwrap();
    write(shared.path(), "both.tera", "shared both");
    write(shared.path(), "only.tera", "shared only {% include \"both.tera\" %}");
    write(folder.path(), "sub/both.tera", "beside {% include \"../up.tera\" %}");
    write(folder.path(), "up.tera", "up");
    let main =
        "{% include \"both.tera\" %}\n{% include \"only.tera\" %}\n{% include \"liveconf/nginx/upstream.tera\" %}\n";
    let main = write(folder.path(), "sub/main.tera", main);
    let mut bench = Bench::new();
    bench.environment.template_dirs = vec![shared.path().into()];
    let templates = bench.load(&[main]).unwrap_or_else(|errors| panic!("{}", errors[0]));
    let output = String::from_utf8(templates.render(0, &View::default()).output.unwrap()).unwrap();
    assert_eq!(output, "beside up\nshared only shared both\n");
    let mut files: Vec<_> =
        templates.sources().iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect();
    files.sort_unstable();
    assert_eq!(files, ["both.tera", "both.tera", "main.tera", "only.tera", "up.tera"]);
}

#[test]
fn a_cycle_of_includes_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let a = write(folder.path(), "a.tera", "x\n{% include \"b.tera\" %}");
    write(folder.path(), "b.tera", "{% include \"./a.tera\" %}");
    let errors = Bench::new().load(&[a]).err().unwrap();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].message.starts_with("a template includes itself: "), "{}", errors[0]);
    assert_eq!(errors[0].line, 1);
}

#[test]
fn a_component_has_one_definition() {
    let folder = tempfile::tempdir().unwrap();
    let a = write(folder.path(), "a.tera", "{% component x() %}{% endcomponent %}");
    let b = write(folder.path(), "b.tera", "\n{% component x() %}{% endcomponent %}");
    let errors = Bench::new().load(&[a, b]).err().unwrap();
    assert_eq!((errors.len(), errors[0].line, errors[0].column), (1, 2, 14), "{errors:?}");
    assert!(errors[0].message.contains("is defined in"));
}

#[test]
fn a_file_that_is_not_text_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a"), b"a\nb\xff").unwrap();
    let errors = Bench::new().load(&[TemplateSource::File(folder.path().join("a"))]).err().unwrap();
    assert_eq!(errors[0].message, "the template is not UTF-8 in line 2");
}

#[test]
fn templates_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Templates>();
    shared::<TemplateError>();
}
