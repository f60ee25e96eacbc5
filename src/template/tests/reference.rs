//! The reference names every function, filter, test, field and built-in template, and its examples give what is shown.

use super::super::builtin::{BUILTINS, Builtin};
use super::super::filter::{FILTERS, TERA_FILTERS, TERA_TESTS};
use super::super::function::{FUNCTIONS, TERA_FUNCTIONS};
use super::super::view::FIELDS;
use super::*;
use crate::reference::page::{Row, TEMPLATES, rows, terms};

/// A name with the names of its arguments, sorted.
type Signature = (String, Vec<String>);

fn signature(name: &str, arguments: impl IntoIterator<Item = impl AsRef<str>>) -> Signature {
    let mut arguments: Vec<String> = arguments.into_iter().map(|name| name.as_ref().to_owned()).collect();
    arguments.sort();
    (name.to_owned(), arguments)
}

/// What is written as `name(argument=default, ...)`.
fn written(term: &str) -> Signature {
    let (name, arguments) = term.split_once('(').unwrap_or((term, ""));
    let arguments = arguments.trim_end_matches(')').split(", ").filter(|argument| !argument.is_empty());
    signature(name, arguments.map(|argument| argument.split_once('=').unwrap_or_else(|| panic!("{term}")).0))
}

fn sorted(signatures: impl IntoIterator<Item = Signature>) -> Vec<Signature> {
    let mut signatures: Vec<_> = signatures.into_iter().collect();
    signatures.sort();
    signatures
}

fn explained(table: &str) -> Vec<Signature> {
    let rows = rows(TEMPLATES).into_iter().filter(|row| row.table == table);
    sorted(rows.flat_map(|row| row.codes(0).into_iter().map(written).collect::<Vec<_>>()))
}

#[test]
fn every_function_is_explained() {
    let ours = FUNCTIONS.iter().map(|it| signature(it.name, it.required.iter().chain(it.optional)));
    let tera = TERA_FUNCTIONS.iter().map(|(name, arguments)| signature(name, *arguments));
    assert_eq!(explained("call"), sorted(ours.chain(tera)));
}

#[test]
fn every_filter_and_test_is_explained() {
    let ours = FILTERS.iter().filter(|it| !it.name.starts_with("__"));
    let ours = ours.map(|it| signature(it.name, it.required.iter().chain(it.optional)));
    let tera = TERA_FILTERS.iter().map(|(name, arguments)| signature(name, *arguments));
    assert_eq!(explained("filter"), sorted(ours.chain(tera)));
    assert_eq!(explained("test"), sorted(TERA_TESTS.iter().map(|(name, arguments)| signature(name, *arguments))));
}

#[test]
fn every_filter_gives_what_is_shown() {
    for row in rows(TEMPLATES).into_iter().filter(|row| row.table == "filter") {
        let (example, name) = (row.code(2), written(row.code(0)).0);
        assert!(example.contains(&format!("| {name}")), "{row:?}");
        assert_eq!(Bench::new().output(&format!("{{{{ {example} }}}}")), row.code(3), "{row:?}");
    }
}

/// The default that is written in the call of a function or filter is the one that stands in.
#[test]
fn written_defaults_change_nothing() {
    for row in rows(TEMPLATES).into_iter().filter(|row| row.table == "filter") {
        let term = row.code(0).to_owned();
        let Some((name, arguments)) = term.split_once('(') else { continue };
        for argument in arguments.trim_end_matches(')').split(", ").filter(|argument| !argument.ends_with('=')) {
            let (key, _) = argument.split_once('=').unwrap();
            let example = row.code(2).to_owned();
            if example.contains(&format!("{key}=")) {
                continue;
            }
            let given = match example.split_once(&format!("| {name}(")) {
                Some((before, after)) => format!("{before}| {name}({argument}, {after}"),
                None => example.replace(&format!("| {name}"), &format!("| {name}({argument})")),
            };
            assert_eq!(Bench::new().output(&format!("{{{{ {given} }}}}")), row.code(3), "{given}");
        }
    }
}

#[test]
fn every_field_is_explained() {
    let fields = Bench::new()
        .service("web", vec![instance("w1", "10.0.0.1", 80)])
        .output("{{ service(name=\"web\") | first | keys | join(sep=\" \") }}");
    assert_eq!(terms(TEMPLATES, "The instance", "field").join(" "), fields);
    let functions: String =
        rows(TEMPLATES).iter().filter(|row| row.table == "call").map(|row| row.cells[1].clone()).collect();
    for field in FIELDS {
        let word = |text: &str| text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == *field);
        assert!(fields.split(' ').any(|known| known == *field) || word(&functions), "{field}");
    }
}

#[test]
fn every_state_and_built_in_template_is_explained() {
    let rows = rows(TEMPLATES);
    let row = |name: &str| rows.iter().find(|row: &&Row<'_>| row.table == "field" && row.code(0) == name).unwrap();
    assert_eq!(row("status").codes(1), Status::NAMES.map(|(name, _)| name));
    for Builtin { name, components, source } in BUILTINS {
        assert!(TEMPLATES.contains(name), "{name}");
        let defined = source.lines().filter_map(|line| line.strip_prefix("{% component ")?.split('(').next());
        assert!(defined.eq(components.iter().copied()), "{name}");
        for component in *components {
            let explained = terms(TEMPLATES, "Includes and components", "built in");
            assert!(explained.iter().any(|term| written(term).0 == *component), "{component}");
        }
    }
}
