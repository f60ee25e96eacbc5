//! JSON, YAML and TOML, in and out.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use tera::{Map, Value};

use super::super::arguments::Arguments;
use super::super::entry::{Entry, Group, optional, or};
use super::super::record::{Render, Stop};
use super::table::{from_csv, split_map, to_csv};
use super::{Filter, complete, refused, text_of, wrong};
use crate::yaml;

/// Formats.
pub(super) const FORMATS: Group<Filter> = Group {
    name: "Formats",
    entries: &[
        Filter::new(
            from_json,
            Entry {
                name: "from_json",
                arguments: &[],
                takes: "text",
                gives: "the value; maps sorted by name, integers with all their digits, at most 128 levels; `null` prints as nothing",
                empty: "fails",
                example: r#"{% for host in key(path="app/hosts") | from_json %}{{ host }};{% endfor %}"#,
                output: "a.example;b.example;",
            },
        ),
        Filter::new(
            from_yaml,
            Entry {
                name: "from_yaml",
                arguments: &[],
                takes: "text",
                gives: "the same of YAML",
                empty: "`none`",
                example: r#"{{ "[1, x]" | from_yaml | last }}"#,
                output: "x",
            },
        ),
        Filter::new(
            from_toml,
            Entry {
                name: "from_toml",
                arguments: &[],
                takes: "text",
                gives: "the same of TOML; dates are texts",
                empty: "`{}`",
                example: r#"{{ "[db]\npool = 10" | from_toml }}"#,
                output: r#"{"db": {"pool": 10}}"#,
            },
        ),
        Filter::new(
            from_csv,
            Entry {
                name: "from_csv",
                arguments: &[or("header", "true"), or("sep", r#"",""#)],
                takes: "text",
                gives: "list of maps, whose names are in the first line; with `header=false` list of lists of texts; every line has as many fields",
                empty: "`[]`",
                example: r#"{{ "host,port\na,80" | from_csv }}"#,
                output: r#"[{"host": "a", "port": "80"}]"#,
            },
        ),
        Filter::new(
            split_map,
            Entry {
                name: "split_map",
                arguments: &[or("pat", r#"",""#), or("sep", r#""=""#)],
                takes: "text, list",
                gives: "map of texts out of `name=value,...`, or of a list of `name=value` such as tags; white space around names and values is dropped, a part without `sep` has an empty value, a name that comes twice fails",
                empty: "`{}`",
                example: r#"{{ "a=1, b=2" | split_map }}"#,
                output: r#"{"a": "1", "b": "2"}"#,
            },
        ),
        Filter::new(
            to_json,
            Entry {
                name: "to_json",
                arguments: &[or("pretty", "false"), or("sorted", "false")],
                takes: "anything",
                gives: "JSON, on one line or several; maps in their order, or sorted by name",
                empty: r#"`""`, `[]`, `{}`"#,
                example: r#"{{ {"b": [1, "x"], "a": 2} | to_json(sorted=true) }}"#,
                output: r#"{"a":2,"b":[1,"x"]}"#,
            },
        ),
        Filter::new(
            to_yaml,
            Entry {
                name: "to_yaml",
                arguments: &[or("sorted", "false")],
                takes: "anything",
                gives: "YAML, without a newline at its end",
                empty: "`''`, `[]`, `{}`",
                example: r#"{{ {"a": 1, "b": ["x"]} | to_yaml }}"#,
                output: "a: 1\nb:\n- x",
            },
        ),
        Filter::new(
            to_toml,
            Entry {
                name: "to_toml",
                arguments: &[or("pretty", "false"), or("sorted", "false")],
                takes: "map",
                gives: "TOML, without a newline at its end; `none` and whole numbers beyond 64 bits have no form in it and fail",
                empty: "empty text",
                example: r#"{{ {"a": 1, "b": {"c": ["x"]} } | to_toml }}"#,
                output: "a = 1\n\n[b]\nc = [\"x\"]",
            },
        ),
        Filter::new(
            to_csv,
            Entry {
                name: "to_csv",
                arguments: &[optional("columns"), or("header", "true"), or("sep", r#"",""#)],
                takes: "list",
                gives: "CSV of maps, or of lists; `columns` is the list of the names that are written, else those of the first map",
                empty: "empty text; the header where `columns` is given",
                example: r#"{{ [{"host": "a", "port": 80}] | to_csv }}"#,
                output: "host,port\na,80",
            },
        ),
    ],
};

/// JSON as a value: maps sorted by name, integers of any size with all their digits.
pub(super) fn from_json(value: &Value, _: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let read = read_json(text_of(value, "from_json")?)?;
    render.note_names(value, &read);
    Ok(read)
}

fn read_json(text: &str) -> Result<Value, Stop> {
    let parsed = serde_json::from_str::<Plain>(text).map_err(|error| {
        let why = format!("it is not JSON (line {}, column {})", error.line(), error.column());
        refused("from_json", &why)
    })?;
    if !parsed.inexact {
        return Ok(parsed.value);
    }
    exact(text).map_err(|_| refused("from_json", "it is not JSON"))
}

/// YAML as a value: maps sorted by name.
pub(super) fn from_yaml(value: &Value, _: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let read = read_yaml(text_of(value, "from_yaml")?)?;
    render.note_names(value, &read);
    Ok(read)
}

fn read_yaml(text: &str) -> Result<Value, Stop> {
    let refuse =
        |line, column| refused("from_yaml", &format!("it is not YAML, or too deep (line {line}, column {column})"));
    yaml::check_depth(text).map_err(|error| refuse(error.line, error.column))?;
    serde_yaml::from_str::<Plain>(text).map(|parsed| parsed.value).map_err(|error| match error.location() {
        Some(at) => refuse(at.line(), at.column()),
        None => refused("from_yaml", "it is not YAML"),
    })
}

/// TOML as a value: maps sorted by name, dates as text.
pub(super) fn from_toml(value: &Value, _: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let read = read_toml(text_of(value, "from_toml")?)?;
    render.note_names(value, &read);
    Ok(read)
}

fn read_toml(text: &str) -> Result<Value, Stop> {
    toml::from_str::<Plain>(text).map(|parsed| parsed.value).map_err(|error| {
        let before = text.get(..error.span().unwrap_or_default().start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        refused("from_toml", &format!("it is not TOML, or too deep (line {line})"))
    })
}

/// A value as JSON, on one line unless `pretty=true`.
pub(super) fn to_json(value: &Value, arguments: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    let value = in_order(value, arguments, "to_json")?;
    let pretty = arguments.flag("pretty")?;
    let json = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
    json.map(Value::from).map_err(|_| refused("to_json", "it has no form in JSON"))
}

/// A value as YAML, without a newline at its end.
pub(super) fn to_yaml(value: &Value, arguments: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    let value = in_order(value, arguments, "to_yaml")?;
    let yaml = serde_yaml::to_string(&value).map_err(|_| refused("to_yaml", "it has no form in YAML"))?;
    Ok(Value::from(yaml.trim_end_matches('\n')))
}

/// A map as TOML, without a newline at its end.
pub(super) fn to_toml(value: &Value, arguments: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    if !value.is_map() {
        return Err(wrong(value, "to_toml", "a map"));
    }
    let value = in_order(value, arguments, "to_toml")?;
    if has_wide_number(&value) {
        // The writer has no such scruples, and most readers refuse them.
        return Err(refused("to_toml", "a whole number in it has more than 64 bits"));
    }
    let pretty = arguments.flag("pretty")?;
    let toml = if pretty { toml::to_string_pretty(&value) } else { toml::to_string(&value) };
    let toml = toml.map_err(|_| refused("to_toml", "it has no form in TOML, which knows no `null`"))?;
    Ok(Value::from(toml.trim_end_matches('\n')))
}

/// A value in which nothing is undefined, with `sorted=true` all maps in it in the order of their names.
fn in_order(value: &Value, arguments: &Arguments<'_>, filter: &str) -> Result<Value, Stop> {
    complete(value, filter)?;
    Ok(if arguments.flag("sorted")? { sorted_within(value) } else { value.clone() })
}

/// Whether a whole number in a value is none of 64 bits with a sign.
fn has_wide_number(value: &Value) -> bool {
    match (value.as_array(), value.as_map()) {
        (Some(items), _) => items.iter().any(has_wide_number),
        (_, Some(map)) => map.values().any(has_wide_number),
        _ => value.is_number() && !value.is_f64() && value.as_i64().is_none(),
    }
}

fn sorted_within(value: &Value) -> Value {
    if let Some(items) = value.as_array() {
        return Value::from(items.iter().map(sorted_within).collect::<Vec<_>>());
    }
    match value.as_map() {
        Some(map) => sorted(map.iter().map(|(name, field)| (name.to_string(), sorted_within(field))).collect()),
        None => value.clone(),
    }
}

/// A value out of JSON or YAML.
struct Plain {
    value: Value,
    /// Whether a number in it may have lost digits.
    inexact: bool,
}

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PlainVisitor)
    }
}

struct PlainVisitor;

impl Plain {
    fn exact(value: impl Into<Value>) -> Self {
        Self { value: value.into(), inexact: false }
    }
}

impl<'de> Visitor<'de> for PlainVisitor {
    type Value = Plain;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Plain, E> {
        Ok(Plain::exact(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Plain, E> {
        Ok(Plain::exact(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Plain, E> {
        Ok(Plain::exact(value))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Plain, E> {
        Ok(Plain::exact(value))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Plain, E> {
        Ok(Plain::exact(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Plain, E> {
        // From here on serde_json gives an integer as a float.
        Ok(Plain { value: value.into(), inexact: value.abs() >= 9.2e18 })
    }

    fn visit_str<E>(self, value: &str) -> Result<Plain, E> {
        Ok(Plain::exact(value))
    }

    fn visit_unit<E>(self) -> Result<Plain, E> {
        Ok(Plain::exact(Value::none()))
    }

    fn visit_none<E>(self) -> Result<Plain, E> {
        Ok(Plain::exact(Value::none()))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Plain, D::Error> {
        Plain::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Plain, A::Error> {
        let mut items = Vec::new();
        let mut inexact = false;
        while let Some(item) = access.next_element::<Plain>()? {
            inexact |= item.inexact;
            items.push(item.value);
        }
        Ok(Plain { value: items.into(), inexact })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Plain, A::Error> {
        let mut fields = BTreeMap::new();
        let mut inexact = false;
        while let Some((name, field)) = access.next_entry::<Plain, Plain>()? {
            if name.value.is_array() || name.value.is_map() {
                return Err(A::Error::custom("a name is text"));
            }
            inexact |= field.inexact;
            fields.insert(name.value.to_string(), field.value);
        }
        // In this form the reader of TOML gives a date.
        if fields.len() == 1
            && let Some(date) = fields.remove("$__toml_private_datetime")
        {
            return Ok(Plain::exact(date));
        }
        Ok(Plain { value: sorted(fields), inexact })
    }
}

fn sorted(fields: BTreeMap<String, Value>) -> Value {
    Value::from(fields.into_iter().map(|(name, value)| (name.into(), value)).collect::<Map>())
}

/// Reads JSON that holds numbers beyond 64 bits. It reads each level anew, so it is kept for texts that need it; they
/// have been read once, so they nest no deeper than `serde_json` allows.
fn exact(json: &str) -> serde_json::Result<Value> {
    let json = json.trim();
    match json.as_bytes().first() {
        Some(b'{') => {
            let fields: BTreeMap<String, &RawValue> = serde_json::from_str(json)?;
            let fields = fields.into_iter().map(|(name, raw)| Ok((name, exact(raw.get())?)));
            Ok(sorted(fields.collect::<serde_json::Result<_>>()?))
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(json)?;
            let items: serde_json::Result<Vec<Value>> = items.into_iter().map(|raw| exact(raw.get())).collect();
            Ok(Value::from(items?))
        }
        Some(b'-' | b'0'..=b'9') if json.bytes().skip(1).all(|byte| byte.is_ascii_digit()) => {
            let number = json.parse::<i64>().map(Value::from);
            let number = number.or_else(|_| json.parse::<i128>().map(Value::from));
            // Beyond 128 bits the digits are kept as text.
            Ok(number.or_else(|_| json.parse::<u128>().map(Value::from)).unwrap_or_else(|_| Value::from(json)))
        }
        _ => Ok(serde_json::from_str::<Plain>(json)?.value),
    }
}
