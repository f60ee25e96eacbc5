//! The JSON Schema of the configuration, made of the tables of its page, which other tests hold against the readers: so
//! there is no second list of keys. `liveconf schema` writes the file that this test keeps true.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::page::{CONFIGURATION, Row, rows};

/// The kinds of registries, which have a heading each.
const KINDS: [&str; 3] = ["file", "etcd", "consul"];

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
        let object = json!({"type": "object", "properties": properties, "additionalProperties": false});
        assert!(definitions.insert(slug(heading), object).is_none(), "{heading}");
    }
    let kinds: Map<String, Value> =
        KINDS.iter().map(|kind| ((*kind).to_owned(), or_nothing(&reference(kind)))).collect();
    let registry = json!({
        "type": "object", "properties": kinds, "additionalProperties": false, "minProperties": 1, "maxProperties": 1
    });
    definitions.insert("registry".to_owned(), registry);
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Configuration of liveconf",
        "$ref": "#/definitions/top-level",
        "definitions": definitions,
    })
}

/// What stands under one key.
fn property(row: &Row<'_>, headings: &[&str]) -> Value {
    let (key, takes, meaning) = (row.code(0), &*row.cells[1], plain(&row.cells[3]));
    let map = || match (row.heading, key) {
        ("Top level", "registries") => names_of(&reference("registry")),
        ("Top level", "targets") => names_of(&reference("targets")),
        (_, "headers") => json!({"type": "object"}),
        _ => reference(&linked(row, headings)),
    };
    let mut value = match takes {
        "map" => map(),
        "list of maps" => json!({"type": "array", "items": map()}),
        "list or map" => json!({"anyOf": [list(), map()]}),
        "expression or map" => json!({"anyOf": [scalar(), map()]}),
        _ if takes.starts_with("`none` or map") => json!({"anyOf": [words(&["none", "restart"]), map()]}),
        "list" | "list of paths" | "list of arguments" => list(),
        "two texts" => json!({"type": "array", "items": scalar()}),
        _ => match words_of(row) {
            Some(all) => words(&all),
            None => scalar(),
        },
    };
    // What stands beside a reference is not read.
    if value.get("$ref").is_some() {
        value = json!({"allOf": [value]});
    }
    let default = match &*row.cells[2] {
        "" => String::new(),
        default => format!(" Default: {}.", plain(default)),
    };
    let mut value = or_nothing(&value);
    if let Some(members) = value.as_object_mut() {
        members.insert("description".to_owned(), Value::from(format!("Takes {}. {meaning}{default}", plain(takes))));
    }
    value
}

/// The words that a key takes, where it takes nothing else.
fn words_of<'r>(row: &'r Row<'_>) -> Option<Vec<&'r str>> {
    let codes = row.codes(1);
    let is_all = codes.len() > 1 && row.cells[1].replace('`', "").split(", ").eq(codes.iter().copied());
    is_all.then_some(codes)
}

fn words(all: &[&str]) -> Value {
    let word = |word: &&str| match *word {
        "true" => json!(true),
        "false" => json!(false),
        word => json!(word),
    };
    let variable = json!({"type": "string", "pattern": "\\$\\{"});
    json!({"anyOf": [{"enum": all.iter().map(word).collect::<Vec<_>>()}, variable]})
}

/// Any scalar: a text in YAML is whatever stands there.
fn scalar() -> Value {
    json!({"type": ["string", "number", "boolean"]})
}

fn list() -> Value {
    json!({"anyOf": [scalar(), {"type": "array", "items": scalar()}]})
}

fn names_of(value: &Value) -> Value {
    json!({"type": "object", "additionalProperties": or_nothing(value)})
}

fn reference(heading: &str) -> Value {
    json!({"$ref": format!("#/definitions/{}", slug(heading))})
}

/// A key without a value counts as absent.
fn or_nothing(value: &Value) -> Value {
    json!({"anyOf": [value, {"type": "null"}]})
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

#[test]
fn the_schema_is_made_of_the_reference() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/reference/liveconf.schema.json");
    let text = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    if std::env::var_os("LIVECONF_WRITE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let how = "LIVECONF_WRITE=1 cargo test --lib reference::schema";
    assert!(written == text, "`liveconf.schema.json` is not what the reference says; `{how}` writes it anew");
}
