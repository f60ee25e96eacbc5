//! What is refused when templates are loaded, all at once, with place and hint.

use proptest::prelude::*;

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
        ("{{ ls(path=\"a\", kind=\"key\") }}", 22, "`kind` cannot be `key`", "did you mean `keys`?"),
        ("{{ service(name=\"a\", status=\"up\") }}", 29, "`status` cannot be `up`", "it is one of `passing`"),
        (
            "{{ service(name=\"a\", status=\"passing,warning\") }}",
            29,
            "`status` cannot be `passing,warning`",
            "several are a list: `status=[\"passing\", \"warning\"]`",
        ),
        ("{{ service(name=\"a\", status=[\"passing\", \"wrning\"]) }}", 41, "`wrning`", "did you mean `warning`?"),
        (
            "{{ service(name=\"blue.web@dc1\") }}",
            17,
            "`blue.web@dc1` is no name of a service: it holds `@`",
            "`datacenter=` after `@`",
        ),
        ("{{ __tera_context }}", 4, "`__tera_context` is refused: it writes out every value", ""),
        (
            "{% include \"liveconf/nginx/upsteam.tera\" %}",
            12,
            "template `liveconf/nginx/upsteam.tera` is not found",
            "did you mean `liveconf/nginx/upstream.tera`?",
        ),
        ("{% if %}", 7, "", ""),
        ("{{ \"a }}", 4, "", ""),
        ("{{ key(\"a\") }}", 4, "", "here it is `key(path=\"a\")`"),
        (
            "{{ <nginx.upstream nme=\"x\" name=\"y\" servers={[]} /> }}",
            20,
            "component `nginx.upstream` has no argument `nme`",
            "did you mean `name`?",
        ),
        ("{{ <nginx.upstream name=\"y\" /> }}", 5, "component `nginx.upstream` needs `servers=`", ""),
        ("{% inclde \"x\" %}", 4, "unknown tag", "did you mean `include`?"),
        ("{{ tree(path=\"a\").b }}", 18, "found `.`", "give the result a name first"),
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
        "{% set m = {} %}{% if false %}{{ <nginx.upstream {...m} /> }}{% endif %}",
        "{% set name = \"a\" %}{% set servers = [] %}{{ <nginx.upstream name servers options={[\"a\"]} /> }}",
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
    bench.environment.registries.insert("other".into(), Arc::new(Fake::Full));
    let errors = bench.refused("{{ key(path=\"a\") }}{{ services() }}{{ key(path=\"a\", registry=\"other\") }}");
    assert_eq!(errors.len(), 2);
    assert_eq!(errors[0].message, "`key` must say which registry it asks: there are several");
    assert_eq!(errors[0].hint.as_deref(), Some("add `registry=`, one of `main`, `other`"));
    bench.environment.registries.clear();
    assert_eq!(bench.refused("{{ key(path=\"a\") }}")[0].message, "`key` has no registry to ask");
    assert!(bench.load(&[inline("{{ env(name=\"A\", default=\"\") }}")]).is_ok());
}

#[test]
fn what_a_registry_cannot_be_asked_is_told_before_a_render() {
    let mut bench = Bench::new();
    bench.environment.registries.insert("other".into(), Arc::new(Fake::Limited));
    let nodes = |more: &str| format!("{{% if false %}}{{{{ nodes({more}) }}}}{{% endif %}}");
    let errors = bench.refused(&nodes("registry=\"other\""));
    assert_eq!((errors[0].column, errors[0].message.as_str()), (18, "registry `other` has no nodes"));
    let errors = bench.refused("{{ service(name=\"a\" ~ \"b\", near=1, registry=\"other\") }}");
    assert_eq!((errors[0].column, errors[0].message.as_str()), (28, "registry `other` has no `near=`"));
    for fine in ["registry=\"main\"", "registry=\"oth\" ~ \"er\""] {
        assert!(bench.load(&[inline(&nodes(fine))]).is_ok(), "{fine}");
    }
    let error = bench.error("{% for name in [\"other\"] %}{{ nodes(registry=name) }}{% endfor %}");
    assert_eq!((error.column, error.message.as_str()), (31, "registry `other` has no nodes"));

    let mut alone = Bench::new();
    alone.environment.registries = BTreeMap::from([("other".into(), Arc::new(Fake::Limited) as Arc<dyn Registry>)]);
    assert_eq!(alone.refused(&nodes("")).len(), 1);
}

#[test]
fn names_of_other_languages_are_translated() {
    for (source, hint) in [
        (
            "{{ getenv(name=\"A\") }}",
            "`getenv` of confd is `{{ env(name=\"REGION\", default=\"eu\") }}` here; a variable that is set to nothing is empty \
             text, and not the default: `| default(value=\"eu\", boolean=true)` is for both",
        ),
        ("{{ toUpper(path=\"a\") }}", "`toUpper` of confd and consul-template is `{{ \"a\" | upper }}` here"),
        ("{{ \"a\" | upcase }}", "it is `upper` here"),
        ("{{ \"a\" | uper }}", "did you mean `upper`?"),
        ("{{ contains(a=1) }}", "`contains` of confd is `{% if \"b\" in \"abc\" %}yes{% endif %}` here"),
        ("{{ printf(a=1) }}", "`printf` of Go templates"),
        (
            "{{ secret(path=\"a\") }}",
            "`secret` of consul-template and consul-templaterb is not here yet: it is of Vault, and comes with its registry",
        ),
        (
            "{{ plugin(name=\"a\") }}",
            "`plugin` of consul-template is not supported: a program that a render starts has no bound and other answers \
             each time; let it write a file, which `file` follows",
        ),
        (
            "{{ safeLs(path=\"a\") }}",
            "`safeLs` of consul-template is `{{ prefix(path=\"app/db\", glob=\"*\", min=1) | length }}` here; an empty folder fails the \
             render, and the old file stays; or `not_yet`",
        ),
        (
            "{{ connect(name=\"a\") }}",
            "`connect` of consul-template is `{{ service(name=\"web-sidecar-proxy\") | length }}` here; the proxies are \
             services under their own name",
        ),
        ("{{ split(value=\"a\", pat=\",\") }}", "`split` is a filter: `{{ \"a,b\" | split(pat=\",\") }}`"),
        ("{{ defined(value=1) }}", "`defined` is a test: `{% if nothing is defined %}yes{% else %}no{% endif %}`"),
        (
            "{{ \"a\" | key }}",
            "`key` is a function: `{{ key(path=\"app/host\") }}:{{ key(path=\"app/port\", default=\"80\") }}`",
        ),
    ] {
        let errors = Bench::new().refused(source);
        // The notes of the page may follow.
        let given = errors[0].hint.as_deref().unwrap();
        assert!(given.starts_with(hint), "{source}: {given}");
    }
    let errors = Bench::new().refused("{{ zookeeper() }}");
    assert!(errors[0].hint.as_deref().unwrap().starts_with("there is `key`, `exists`,"), "{}", errors[0]);
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
    assert_eq!(shown, ["a.tera:1", "a.tera:2", "b.tera:1", "c.tera:1", "d.tera:1", "gone.tera:0"], "{errors:#?}");
    assert_eq!(errors[5].kind, ErrorKind::Io);
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
fn a_component_belongs_to_its_target() {
    let bench = Bench::new();
    let load = |sources: &[&str]| {
        let targets: Vec<_> = sources.iter().map(|source| target(vec![template(inline(source))])).collect();
        Templates::load(&targets, bench.environment.clone())
    };
    let own = |text: &str| format!("{{% component x() %}}{text}{{% endcomponent %}}{{{{ <x /> }}}}");
    let built_in = "{{ <nginx.upstream name=\"a\" servers={[]} /> }}";
    let loaded = load(&[&own("one"), &own("two"), "plain", built_in]).unwrap();
    let outputs: Vec<_> = loaded
        .iter()
        .map(|templates| String::from_utf8(templates.render(0, &View::default()).output.unwrap()).unwrap())
        .collect();
    assert_eq!(outputs[..3], ["one", "two", "plain"]);
    assert!(outputs[3].starts_with("upstream a {"), "{}", outputs[3]);

    let errors = load(&[&own("one"), "{{ <x /> }}", "{% if %}"]).unwrap_err();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors.iter().any(|error| error.message == "unknown component `x`"), "{errors:?}");
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

#[test]
fn delimiters_that_cannot_be_are_refused() {
    for block in [("<", "%>"), ("{{", "%}"), ("<%%", "%>")] {
        let delimiters = crate::config::Delimiters {
            block: (block.0.into(), block.1.into()),
            variable: ("{{".into(), "}}".into()),
            comment: ("{#".into(), "#}".into()),
        };
        let template = Template { delimiters: Some(delimiters), ..template(inline("ä< {{ 1 }}")) };
        let errors = load(target(vec![template]), &Bench::new().environment).err().unwrap();
        assert!(errors[0].message.starts_with("the delimiters are refused: "), "{}", errors[0]);
    }
}

#[test]
fn templates_may_extend_others() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "base.tera", "a\n{% block body %}\nbase\n{% endblock %}\nz\n");
    let child = "{% extends \"base.tera\" %}\n\n{% block body %}\n{{ super() }}child {{ nope }}\n{% endblock body %}\n";
    let child = write(folder.path(), "child.tera", child);
    let templates = Bench::new().load(&[child]).unwrap_or_else(|errors| panic!("{}", errors[0]));
    let error = templates.render(0, &View::default()).output.unwrap_err();
    assert!(error.file.ends_with("child.tera") && (error.line, error.column) == (4, 23), "{error}");
}

proptest! {
    /// Whatever is written, loading and rendering end in bytes or in an error that can be shown.
    #[test]
    fn no_source_is_too_strange(parts in prop::collection::vec(part(), 0..10)) {
        let bench = Bench::new().key("a", "v");
        match bench.load(&[inline(&parts.concat())]) {
            Ok(templates) => {
                let _ = templates.render(0, &bench.view()).output.map_err(|error| error.to_string());
            }
            Err(errors) => {
                prop_assert!(!errors.is_empty());
                for error in errors {
                    prop_assert!(!error.to_string().contains("template-"), "{error}");
                }
            }
        }
    }

    /// The scanner gives up only where Tera does.
    #[test]
    fn the_scanner_accepts_what_tera_accepts(parts in prop::collection::vec(part(), 0..10)) {
        use super::super::scan::{default_delimiters, scan};
        let source = parts.concat();
        if scan(&source, &default_delimiters()).is_none() {
            let error = tera::Tera::default().add_raw_template("x", &source).unwrap_err();
            prop_assert!(matches!(error.kind(), tera::ErrorKind::SyntaxError(_)), "{source}");
        }
    }
}

fn part() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("{% if true %}".to_owned()),
        Just("{% for x in [1, 2] %}".to_owned()),
        Just("{%- endfor -%}".to_owned()),
        Just("{% endif %}".to_owned()),
        Just("{% endif %}\n".to_owned()),
        Just("{% raw %}".to_owned()),
        Just("{%- endraw %}".to_owned()),
        Just("{{ key(path=\"a\" ~ x) ~ y.z }}".to_owned()),
        Just("{% set x %}".to_owned()),
        Just("{% endset %}\r\n".to_owned()),
        Just("{# ä".to_owned()),
        Just(" -#}".to_owned()),
        Just("{{ <nginx.upstream name=\"a\" servers={[]} /> }}\n".to_owned()),
        Just("{% component c(a = 1) %}".to_owned()),
        Just("{% endcomponent %}\n".to_owned()),
        Just("  {% <c a={1}> %}\n".to_owned()),
        Just("{% </c> %}\n".to_owned()),
        Just("\n".to_owned()),
        "(\\{%|%\\}|\\{\\{|\\}\\}|\\{#|#\\}|-|raw|endraw|include \"a\"|<a|/>|\"|'|~|\\||\\(|\\)|[ \n\tä]|\\PC){0,6}",
    ]
}
