//! The page of the reference about components is what their first comments say, their definitions, and what their
//! examples give.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use tera::{ComponentArg, ComponentArgType, ComponentInfo};

use super::super::builtin::{BUILTINS, Builtin};
use super::*;
use crate::registry::instance::{Place, parse, select};

const PAGE: &str = include_str!("../../reference/components.md");

/// What the examples are rendered with, as the page shows it.
const REGISTRY: &str = r#"services:
  web:
    - {id: w1, node: n1, address: 10.0.0.1, port: 80, weight: 3, zone: a, tags: [blue], meta: {version: "1.10"}}
    - {id: w2, address: "fd00::2", port: 80, zone: b, status: warning}
    - {id: w3, address: 10.0.0.3, port: 80, zone: a, status: maintenance}
    - {id: w4, address: 10.0.0.4, port: 8080, zone: b, status: critical}
  db:
    - {id: d1, address: 10.0.1.1, port: 5432}
    - {id: d2, address: 10.0.1.2, port: 5432}
app: {db: {host: db.internal, password: "a$b\"c"}, log-level: info}
blocked: {a: 10.9.0.0/16, b: 192.0.2.7}
routes: {default: web, shop.example.org: shop}
split: {beta: "2.5", canary: "5"}
"#;

const HEAD: &str = "\
# Components

A component writes a part of a file for a program out of instances or keys. Those on this page are built in and need no
`include`; what defines one, such as `liveconf/nginx/upstream.tera`, can be copied and changed: a component of one's own
goes before a built-in one of its name. This page is made of the comments in these files, and a test keeps it true.

`servers` takes what `service()` gives. By default these are the instances that pass their checks; with
`status=\"any\"` all of them, and each component gives those that are ill or drain the place that its program has for
them. The weight of an instance is that of its registry, or with `meta_weight=\"NAME\"` the entry `NAME` of its `meta`, where
that holds a whole number from 0 to 65535; where it holds something else the log says so, with how many there are.

Values of a registry are hostile: what they hold fails the render where it would be more than a value. `name`, `options`,
`parameters` and their like are the author's. They are held to one line and one directive, and should not come out of
a registry all the same.

The examples are rendered with this registry.

`registry.yaml`:

```yaml
";

/// The blocks of the comment that a template begins with, without its indentation.
fn blocks(source: &str) -> Vec<String> {
    let comment = source.strip_prefix("{# ").and_then(|rest| rest.split_once(" #}\n")).expect("a comment").0;
    comment.split("\n\n").map(|block| block.replace("\n   ", "\n").trim_start_matches("   ").to_owned()).collect()
}

/// The lines of a block that have two columns, where it has.
fn columns(block: &str) -> Option<Vec<(String, String)>> {
    let mut rows: Vec<(String, String)> = Vec::new();
    for line in block.lines() {
        if let Some((term, meaning)) = line.split_once("  ").filter(|_| !line.starts_with(' ')) {
            rows.push((term.to_owned(), meaning.trim().to_owned()));
        } else {
            let (_, meaning) = rows.last_mut()?;
            meaning.push(' ');
            meaning.push_str(line.trim());
        }
    }
    Some(rows)
}

fn table(head: &str, rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = format!("{head}\n|{}\n", "---|".repeat(head.matches('|').count() - 1));
    for row in rows {
        let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
        let line = format!("| {} |", cells.join(" | ")).replace("|  |", "| |");
        writeln!(table, "{line}").unwrap();
    }
    table
}

fn takes(argument: &ComponentArg) -> &'static str {
    match argument.arg_type() {
        Some(ComponentArgType::String) => "text",
        Some(ComponentArgType::Bool) => "`true`, `false`",
        Some(ComponentArgType::Integer) => "whole number",
        Some(ComponentArgType::Array) => "list",
        Some(ComponentArgType::Map) => "map",
        other => panic!("`{}` has the type {other:?}", argument.name()),
    }
}

fn definition(builtin: &Builtin, example: &str) -> ComponentInfo {
    let templates = Bench::new().load(&[inline(example)]).unwrap_or_else(|errors| panic!("{}", errors[0]));
    let found = templates.entries[0].content.0.tera.get_component_definition(builtin.component);
    found.unwrap_or_else(|| panic!("`{}` does not define `{}`", builtin.name, builtin.component))
}

/// What an example gives.
fn given(example: &str) -> String {
    let registry: serde_json::Value = serde_yaml::from_str(REGISTRY).unwrap();
    let mut bench = Bench::new();
    for (name, listed) in registry["services"].as_object().unwrap() {
        let place = Place { service: name, id: "", registry: &Arc::from("main") };
        let read = |item: &serde_json::Value| Arc::new(parse(item.to_string().as_bytes(), &place).unwrap());
        let all: Vec<Arc<Instance>> = listed.as_array().unwrap().iter().map(read).collect();
        let passing = ServiceQuery::passing(name);
        for query in [ServiceQuery { status: StatusFilter::All, ..passing.clone() }, passing] {
            let found = select(&all, &query);
            bench = bench.answer(Query::Service(query), Data::Service(found));
        }
    }
    for (folder, tree) in registry.as_object().unwrap().iter().filter(|(name, _)| *name != "services") {
        let mut entries = Vec::new();
        leaves("", tree, &mut entries);
        let entries: Vec<(&str, &str)> = entries.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        bench = bench.prefix(folder, &entries);
    }
    bench.output(example)
}

fn leaves(path: &str, tree: &serde_json::Value, entries: &mut Vec<(String, String)>) {
    for (name, value) in tree.as_object().unwrap() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
        match value.as_str() {
            Some(text) => entries.push((path, text.to_owned())),
            None => leaves(&path, value, entries),
        }
    }
}

/// What the page says of a component.
fn section(builtin: &Builtin) -> String {
    let blocks = blocks(builtin.source);
    let [summary, example, arguments, rest @ ..] = &blocks[..] else { panic!("{}", builtin.name) };
    let definition = definition(builtin, example);
    let explained = columns(arguments).unwrap_or_else(|| panic!("{}: the arguments", builtin.name));
    let known: BTreeSet<&str> = definition.args().iter().map(ComponentArg::name).collect();
    assert_eq!(explained.iter().map(|(name, _)| name.as_str()).collect::<BTreeSet<_>>(), known, "{}", builtin.name);
    let rows = explained.into_iter().map(|(name, meaning)| {
        let argument = definition.args().iter().find(|argument| argument.name() == name).unwrap();
        let default = argument.default().map(|value| format!("`{}`", serde_json::to_string(value).unwrap()));
        vec![format!("`{name}`"), takes(argument).to_owned(), default.unwrap_or_default(), meaning]
    });
    let mut section = format!(
        "### `{}`\n\n{summary}\n\n{}\n",
        builtin.component,
        table("| argument | takes | default | meaning |", rows)
    );
    for block in rest {
        match columns(block) {
            Some(states) => {
                let rows = states.into_iter().map(|(state, becomes)| vec![state, becomes]);
                writeln!(section, "{}", table("| what there is | what becomes of it |", rows)).unwrap();
            }
            None => writeln!(section, "{block}\n").unwrap(),
        }
    }
    let output = given(example);
    write!(section, "`in.tera`:\n\n```jinja\n{example}\n```\n\ngives:\n\n```text\n{output}```\n").unwrap();
    section
}

fn page() -> String {
    let mut page = format!("{HEAD}{REGISTRY}```\n");
    let mut program = "";
    for builtin in BUILTINS {
        let of = builtin.component.split('.').next().unwrap();
        if of != program {
            write!(page, "\n## `{of}`\n").unwrap();
            program = of;
        }
        write!(page, "\n{}", section(builtin)).unwrap();
    }
    page
}

/// Written anew by `LIVECONF_WRITE=1 cargo test --lib components`.
#[test]
fn the_page_about_components_is_what_they_say() {
    let page = page();
    if std::env::var_os("LIVECONF_WRITE").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/reference/components.md"), page).unwrap();
    } else {
        assert!(page == PAGE, "`LIVECONF_WRITE=1 cargo test --lib components` writes it anew");
    }
}

#[test]
fn every_file_in_templates_is_built_in() {
    let mut files = Vec::new();
    for folder in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/templates")).unwrap() {
        let folder = folder.unwrap();
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let name = file.unwrap().file_name();
            files.push(format!("liveconf/{}/{}", folder.file_name().to_str().unwrap(), name.to_str().unwrap()));
        }
    }
    files.sort();
    assert_eq!(files, BUILTINS.iter().map(|builtin| builtin.name).collect::<Vec<_>>());
    for Builtin { name, component, source } in BUILTINS {
        assert_eq!(*name, format!("liveconf/{}.tera", component.replace('.', "/")));
        let defined: Vec<&str> =
            source.lines().filter_map(|line| line.strip_prefix("{% component ")?.split('(').next()).collect();
        assert_eq!(defined, [*component], "{name}");
    }
}

/// What is wrong beyond a single value.
#[test]
fn what_does_not_fit_fails_the_render() {
    let entries = |entries: &str| format!("entries={{[{entries}]}}");
    let entry = |key: &str, value: &str| format!("{{\"key\": \"{key}\", \"value\": \"{value}\"}}");
    let twins = entries(&[entry("a/b", "1"), entry("A_b", "2")].join(", "));
    let shares = entries(&[entry("a", "60"), entry("b", "40.01")].join(", "));
    let servers = "servers={service(name=\"web\")}";
    for (call, message) in [
        (format!("<haproxy.slots slots={{1}} {servers} />"), "raise `slots` of `haproxy.slots`"),
        (format!("<env.file {twins} prefix=\"\" />"), "keys `a/b` and `A_b` have one name, `A_B`"),
        (format!("<systemd.drop_in {twins} prefix=\"\" />"), "keys `a/b` and `A_b` have one name, `A_B`"),
        (
            format!("<nginx.split_clients source=\"$a\" variable=\"$b\" {shares} rest=\"c\" />"),
            "the shares of `nginx.split_clients` are from 0 to 100 percent, and 100 in all",
        ),
        (format!("<pgbouncer.database name=\"a\" {servers} />"), "have different ports, and PgBouncer takes one"),
        (
            format!("<keepalived.virtual_server address=\"192.0.2.1\" port={{80}} {servers} />"),
            "`ip` refuses what it was given: it is no IPv4 address: `address` of instance `w2`",
        ),
    ] {
        let instances = vec![instance("w1", "10.0.0.1", 80), instance("w2", "fd00::2", 81)];
        let error = Bench::new().service("web", instances).error(&format!("{{{{ {call} }}}}\n"));
        assert!(error.message.contains(message), "{call}: {error}");
    }
}

/// An entry of `meta` without a name is no weight.
#[test]
fn no_meta_weight_is_asked_for_by_default() {
    let mut odd = instance("w1", "10.0.0.1", 80);
    odd.meta.insert(String::new(), "0".into());
    let call = "{{ <nginx.upstream name=\"a\" servers={service(name=\"web\")} /> }}";
    assert!(Bench::new().service("web", vec![odd]).output(call).contains("server 10.0.0.1:80 weight=1;"));
}

/// Also where another built-in component calls it.
#[test]
fn a_component_of_the_user_goes_before_the_built_in_one() {
    let source = "{% component haproxy.servers(servers: array, ...rest) %}\n    server mine\n{% endcomponent %}\n\
                  {{ <haproxy.backend name=\"web\" servers={[]} /> }}\n";
    assert_eq!(Bench::new().output(source), "backend web\n    server mine\n");
}

#[test]
fn nodes_have_lines_in_hosts_too() {
    let node = |name: &str, address: &str| Node {
        name: name.into(),
        address: address.into(),
        meta: BTreeMap::new(),
        datacenter: "dc1".into(),
    };
    let nodes = |nodes: Vec<Node>| Bench::new().answer(Query::Nodes { datacenter: None }, Data::Nodes(nodes));
    let call = "{{ <hosts.entries servers={nodes()} domain=\"internal\" /> }}\n";
    let good = vec![node("n1", "10.0.0.1"), node("n2", "fd00::2")];
    assert_eq!(nodes(good).output(call), "10.0.0.1 n1.internal n1\nfd00::2 n2.internal n2\n");
    for bad in [node("n1\n10.0.0.1 bank.example", "10.0.0.1"), node("n1", "10.0.0.1 bank.example")] {
        assert_eq!(nodes(vec![bad]).error(call).kind, ErrorKind::Function);
    }
}
