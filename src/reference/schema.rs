//! The JSON Schema of the configuration, made of the tables of its page, which other tests hold against the readers: so
//! there is no second list of keys. `liveconf schema` writes the file that this test keeps true.
//!
//! A value that takes a list or a map is told by one schema, not by alternatives: keywords of JSON Schema concern only
//! values of their own type, and an editor blames the key itself for what is wrong, and not the whole of the alternatives.

pub(crate) mod judge;
mod rules;
mod scalar;
mod tests;

use nix::sys::signal::Signal;
use serde_json::{Map, Value, json};

use super::page::{CONFIGURATION, Row, rows};
use rules::{must_be_given, rules};
use scalar::with;

/// The kinds of registries, which have a heading each.
const KINDS: [&str; 4] = ["file", "etcd", "consul", "dns"];

/// The whole schema.
fn schema() -> Value {
    let rows: Vec<Row<'_>> = rows(CONFIGURATION).into_iter().filter(|row| row.table == "key").collect();
    let mut headings: Vec<&str> = rows.iter().map(|row| row.heading).collect();
    headings.dedup();
    let mut definitions = Map::new();
    for heading in &headings {
        let keys = rows.iter().filter(|row| row.heading == *heading);
        let properties: Map<String, Value> =
            keys.map(|row| (row.code(0).to_owned(), property(row, &headings))).collect();
        let mut object = json!({"properties": properties, "additionalProperties": false});
        let rules = rules(heading);
        if !rules.is_empty() {
            object = with(object, &json!({"allOf": rules}));
        }
        assert!(definitions.insert(slug(heading), object).is_none(), "{heading}");
    }
    let kinds: Map<String, Value> = KINDS.iter().map(|kind| ((*kind).to_owned(), of(kind, kind_types(kind)))).collect();
    let registry = json!({
        "properties": kinds, "additionalProperties": false, "minProperties": 1, "maxProperties": 1
    });
    definitions.insert("registry".to_owned(), registry);
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Configuration of liveconf",
        "type": "object",
        "allOf": [{"$ref": "#/definitions/top-level"}],
        "definitions": definitions,
    })
}

/// A kind without settings may have nothing behind it.
fn kind_types(kind: &str) -> &'static [&'static str] {
    if rules(&format!("`{kind}`")).is_empty() { &["object", "null"] } else { &["object"] }
}

/// What stands under one key.
fn property(row: &Row<'_>, headings: &[&str]) -> Value {
    let (key, takes) = (row.code(0), &*row.cells[1]);
    let map = |types: &[&str]| match (row.heading, key) {
        ("Top level", "registries") => names_of("registry"),
        ("Top level", "targets") => names_of("targets"),
        (_, "headers") => headers(),
        _ => of(&linked(row, headings), types),
    };
    let value = match takes {
        "map" => map(&["object"]),
        "list of maps" => json!({"type": "array", "items": map(&["object"]), "minItems": 1}),
        "list or map" => with(map(&["array", "object"]), &arguments()),
        "expression or map" => both(map(&["object"]), &scalar::scalar("`for_each`", key, "expression").unwrap()),
        _ if takes.starts_with("`none` or map") => {
            let word = scalar::text("^(none|restart)$", "`none`, `restart` with a `process`, or a map");
            both(map(&["object"]), &with(word, &json!({"type": "string"})))
        }
        "list of arguments" => with(json!({"type": "array"}), &arguments()),
        "list" | "list of paths" => list(row),
        "two texts" => {
            let text = scalar::text("^..$", "two characters, such as `<%`");
            json!({"type": "array", "items": text, "minItems": 2, "maxItems": 2})
        }
        _ => match (words_of(row), scalar::scalar(row.heading, key, takes)) {
            (_, Some(value)) => value,
            (Some(all), None) => scalar::words(&all),
            (None, None) => panic!("the schema does not know what `{takes}` is, which `{key}` takes"),
        },
    };
    let value = if must_be_given(row.heading, key) { value } else { or_nothing(value) };
    with(value, &json!({"description": described(row)}))
}

/// What an editor shows of a key: the cells of its row, as sentences.
fn described(row: &Row<'_>) -> String {
    let sentence = |text: &str| {
        let mut letters = text.chars();
        let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
        let stop = if text.is_empty() || text.ends_with('.') { "" } else { "." };
        format!("{first}{}{stop}", letters.as_str())
    };
    let default = Some(plain(&row.cells[2])).filter(|default| !default.is_empty());
    let sentences = [
        sentence(&plain(&row.cells[3])),
        format!("Takes {}.", plain(&row.cells[1])),
        default.map(|default| format!("Default: {default}.")).unwrap_or_default(),
    ];
    sentences.into_iter().filter(|sentence| !sentence.is_empty()).collect::<Vec<_>>().join(" ")
}

/// A program and its arguments.
fn arguments() -> Value {
    json!({"items": scalar::any(), "minItems": 1})
}

/// A list of scalars, or one of them.
fn list(row: &Row<'_>) -> Value {
    let item = match (row.heading, row.code(0), &*row.cells[1]) {
        (_, "expect" | "refused" | "status", _) => scalar::status(),
        (_, "forward", _) => scalar::signal_of([Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGWINCH]),
        // Those of keys, which no shell would read either.
        (_, "prefixes", _) => scalar::any(),
        (_, _, "list of paths") => scalar::path(),
        _ => scalar::any(),
    };
    let empty = usize::from(matches!(row.code(0), "endpoints" | "expect" | "status"));
    with(both(json!({"type": "array"}), &item), &json!({"items": item, "minItems": empty}))
}

/// A value of two types; the keywords of each concern no other.
fn both(value: Value, other: &Value) -> Value {
    let types: Vec<Value> = [&value["type"], &other["type"]].into_iter().flat_map(as_list).collect();
    with(with(value, other), &json!({"type": types}))
}

/// The words that a key takes, where it takes nothing else.
fn words_of<'r>(row: &'r Row<'_>) -> Option<Vec<&'r str>> {
    let codes = row.codes(1);
    let is_all = codes.len() > 1 && row.cells[1].replace('`', "").split(", ").eq(codes.iter().copied());
    is_all.then_some(codes)
}

/// A map of names to what stands under this heading, which is something.
fn names_of(heading: &str) -> Value {
    json!({
        "type": "object",
        "propertyNames": {"pattern": format!("^{}$", scalar::NAME), "errorMessage": format!("a name has {}", scalar::A_NAME)},
        "additionalProperties": of(heading, &["object"]),
    })
}

fn headers() -> Value {
    let from_file = json!({
        "properties": {"file": scalar::path(), "before": or_nothing(scalar::any())},
        "additionalProperties": false,
        "required": ["file"],
    });
    let value = both(with(json!({"type": "object"}), &from_file), &scalar::any());
    json!({
        "type": "object",
        "propertyNames": {"pattern": "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"},
        "additionalProperties": value,
    })
}

/// What stands under a heading, for a value of these types.
fn of(heading: &str, types: &[&str]) -> Value {
    // What stands beside a reference is not read.
    let reference = json!({"$ref": format!("#/definitions/{}", slug(heading))});
    json!({"type": if let [one] = types { json!(one) } else { json!(types) }, "allOf": [reference]})
}

/// A key without a value counts as absent.
fn or_nothing(mut value: Value) -> Value {
    if let Some(alternatives) = value.get_mut("anyOf") {
        alternatives.as_array_mut().unwrap().push(json!({"type": "null"}));
        return value;
    }
    let types: Vec<Value> = as_list(&value["type"]).into_iter().chain([json!("null")]).collect();
    with(value, &json!({"type": types}))
}

fn as_list(types: &Value) -> Vec<Value> {
    types.as_array().cloned().unwrap_or_else(|| vec![types.clone()])
}

/// The heading that tells what stands under the key of a row: what its meaning links to, or the one of that name.
fn linked(row: &Row<'_>, headings: &[&str]) -> String {
    let known = |anchor: &str| headings.iter().any(|heading| slug(heading) == anchor);
    let link = row.cells[3].split("](#").nth(1).and_then(|rest| rest.split(')').next());
    let anchor = match link.filter(|_| row.cells[3].starts_with("see [")).unwrap_or(row.code(0)) {
        // It has the keys of a check, and no table of its own.
        "verify" => "check",
        anchor => anchor,
    };
    assert!(known(anchor), "the reference does not say what `{}` under {} holds", row.code(0), row.heading);
    anchor.to_owned()
}

/// The anchor of a heading.
fn slug(heading: &str) -> String {
    heading.to_lowercase().replace('`', "").replace(' ', "-")
}

/// Text without links.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("](") {
        let (head, shown) = before.rsplit_once('[').unwrap_or(("", before));
        out.push_str(head);
        out.push_str(shown);
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    out + rest
}
