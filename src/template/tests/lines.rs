//! Block lines, includes and components as they come out of a render.

use super::*;

#[test]
fn block_lines_leave_nothing_behind() {
    let source = "upstream {\n{% for a in [1, 2] %}\n  {# each #}\n  {% if a > 1 %}\n  server {{ a }};\n  {% else %}\n  # {{ a }}\n  {% endif %}\n{% endfor %}\n}\n";
    assert_eq!(Bench::new().output(source), "upstream {\n  # 1\n  server 2;\n}\n");
    let mut bench = Bench::new();
    bench.trim = false;
    assert_eq!(bench.output("{% if true %}\na\n{% endif %}\n"), "\na\n\n");
}

#[test]
fn an_include_on_its_own_line_ends_in_one_newline() {
    for (included, expected) in [
        ("b", "a\nb\nc\n"),
        ("b\n", "a\nb\nc\n"),
        ("b\n\n", "a\nb\nc\n"),
        ("{% for x in [1, 2] %}\n{{ x }}\n{% endfor %}\n", "a\n1\n2\nc\n"),
        ("", "a\nc\n"),
        ("{% component x() %}\n{% endcomponent %}\n", "a\nc\n"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "b.tera", included);
        let main = write(folder.path(), "a.tera", "a\n  {% include \"b.tera\" %}\nc\n");
        let templates = Bench::new().load(&[main]).unwrap_or_else(|errors| panic!("{}", errors[0]));
        let output = templates.render(0, &View::default()).output.unwrap();
        assert_eq!(String::from_utf8(output).unwrap(), expected, "{included:?}");
    }
}

#[test]
fn components_on_their_own_lines_end_in_one_newline() {
    let component = "{% component c(x = 1) %}\n[{{ x }}{{ body | default(value=\"\") }}]\n{% endcomponent %}\n";
    for (source, expected) in [
        ("a\n  {{ <c /> }}\nb\n", "a\n[1]\nb\n"),
        ("a {{ <c /> }} b\n", "a [1]\n b\n"),
        ("{% <c x=2> %}\n  text\n{% </c> %}\nb\n", "[2  text\n]\nb\n"),
        ("{% for i in [1, 2] %}\n{{ <c x=i /> | upper }}\n{% endfor %}\n", "[1]\n[2]\n"),
    ] {
        assert_eq!(
            Bench::new().output(&format!("{component}{source}").replace("x=i", "x={i}").replace("x=2", "x={2}")),
            expected,
            "{source}"
        );
    }
}

#[test]
fn own_delimiters_leave_the_usual_ones_alone() {
    let delimiters = crate::config::Delimiters {
        block: ("<%".into(), "%>".into()),
        variable: ("<<".into(), ">>".into()),
        comment: ("<#".into(), "#>".into()),
    };
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "inner", "<< 1 + 1 >> {{ .Values }}");
    let source = "<% if true %>\n{{ .Values.x }} << key(path=\"a\") >>\n<% endif %>\n<% include \"inner\" %>\n<< <nginx.upstream name=\"web\" servers={[]} /> >>\n";
    let custom = Template { delimiters: Some(delimiters), ..template(write(folder.path(), "main", source)) };
    let usual = template(write(folder.path(), "other", "<% x %> {{ key(path=\"a\") }}"));
    let bench = Bench::new().key("a", "v");
    let templates = load(target(vec![custom, usual]), &bench.environment);
    let templates = templates.unwrap_or_else(|errors| panic!("{}", errors[0]));
    assert_eq!(templates.sources().len(), 3);
    let view = bench.view();
    assert_eq!(
        String::from_utf8(templates.render(0, &view).output.unwrap()).unwrap(),
        "{{ .Values.x }} v\n2 {{ .Values }}\nupstream web {\n    server 127.0.0.1:65535 down; # no instances\n}\n"
    );
    assert_eq!(templates.render(1, &view).output.unwrap(), b"<% x %> v");
}

#[test]
fn the_upstream_of_nginx() {
    let source = "{{ <nginx.upstream name=\"web\" servers={service(name=\"web\")} options={[\"least_conn\"]} parameters=\"max_fails=3\" /> }}\n";
    let mut heavy = instance("w2", "2001:db8::1", 81);
    heavy.weight = 5;
    let mut drained = instance("w3", "web3.internal", 82);
    drained.weight = 0;
    let instances = vec![instance("w1", "10.0.0.1", 80), heavy, drained];
    assert_eq!(
        Bench::new().service("web", instances).output(source),
        "upstream web {\n    least_conn;\n    server 10.0.0.1:80 weight=1 max_fails=3;\n    \
         server [2001:db8::1]:81 weight=5 max_fails=3;\n    server web3.internal:82 down max_fails=3;\n}\n"
    );
    for (address, port) in [("10.0.0.1; } server {", 80), ("10.0.0.1", 0), ("a\nb", 80)] {
        let error = Bench::new().service("web", vec![instance("w1", address, port)]).error(source);
        assert_eq!(error.kind, ErrorKind::Function, "{error}");
        assert_eq!(error.file, "liveconf/nginx/upstream.tera (built in)");
        assert_eq!((error.notes[0].file.as_str(), error.notes[0].line), ("test.conf", 1));
    }
}

#[test]
fn the_servers_of_haproxy() {
    let source = "{{ <haproxy.servers servers={service(name=\"web\")} parameters=\"check\" /> }}\n";
    let in_state = |id: &str, address: &str, status| {
        let mut instance = instance(id, address, 80);
        (instance.status, instance.weight) = (status, 300);
        instance
    };
    let instances = vec![
        in_state("w1", "10.0.0.1", Status::Passing),
        in_state("w2", "10.0.0.1", Status::Critical),
        in_state("w3", "10.0.0.3", Status::Maintenance),
        in_state("w4", "2001:db8::1", Status::Warning),
    ];
    assert_eq!(
        Bench::new().service("web", instances).output(source),
        "    server 10.0.0.1:80 10.0.0.1:80 weight 256 check\n    \
         server 10.0.0.1:80:2 10.0.0.1:80 weight 256 disabled check\n    \
         server 10.0.0.3:80 10.0.0.3:80 weight 0 check\n    \
         server 2001:db8::1:80 [2001:db8::1]:80 weight 256 check\n"
    );
    assert_eq!(Bench::new().service("web", vec![]).output(source), "");
    let error = Bench::new().service("web", vec![instance("w1", "10.0.0.1\n bind :1", 80)]).error(source);
    assert_eq!((error.kind, error.file.as_str()), (ErrorKind::Function, "liveconf/haproxy/servers.tera (built in)"));
}

/// What stands in `meta` is a weight only where it is one.
#[test]
fn a_weight_out_of_meta() {
    for (written, nginx, haproxy) in [
        ("5", "weight=5", "weight 5"),
        ("0", "down", "weight 0"),
        ("65535", "weight=65535", "weight 256"),
        ("65536", "weight=3", "weight 3"),
        ("-1", "weight=3", "weight 3"),
        ("", "weight=3", "weight 3"),
        ("5; evil", "weight=3", "weight 3"),
        ("1e3", "weight=3", "weight 3"),
    ] {
        let mut instance = instance("w1", "10.0.0.1", 80);
        instance.weight = 3;
        instance.meta.insert("weight".into(), written.into());
        let source = "{{ <nginx.upstream name=\"web\" servers={service(name=\"web\")} meta_weight=\"weight\" /> }}\n\
                      {{ <haproxy.servers servers={service(name=\"web\")} meta_weight=\"weight\" /> }}\n";
        assert_eq!(
            Bench::new().service("web", vec![instance]).output(source),
            format!(
                "upstream web {{\n    server 10.0.0.1:80 {nginx};\n}}\n    server 10.0.0.1:80 10.0.0.1:80 {haproxy}\n"
            ),
            "{written:?}"
        );
    }
}

#[test]
fn a_component_of_the_user_goes_before_a_built_in_one() {
    let source = "{% component nginx.upstream() %}\nmine\n{% endcomponent %}\n{{ <nginx.upstream /> }}";
    assert_eq!(Bench::new().output(source), "mine\n");
}

#[test]
fn line_ends_of_windows_stay() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "b.tera", "b\r\n");
    let main = "a\r\n{% if true %}\r\n  {% include \"b.tera\" %}\r\n{% endif %}\r\nc\r\n";
    let broken = format!("{main}  {{{{ nope }}}}\r\n");
    let sources = [write(folder.path(), "a.tera", main), write(folder.path(), "c.tera", &broken)];
    let templates = Bench::new().load(&sources).unwrap_or_else(|errors| panic!("{}", errors[0]));
    assert_eq!(templates.render(0, &View::default()).output.unwrap(), b"a\r\nb\r\nc\r\n");
    let error = templates.render(1, &View::default()).output.unwrap_err();
    assert_eq!((error.line, error.column), (6, 6));
    assert!(error.to_string().contains("\n6 |   {{ nope }}\n"), "{error}");
}
