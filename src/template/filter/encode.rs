//! JSON, YAML, base64 and hashes.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use tera::{Map, Value};

use super::super::arguments::Arguments;
use super::super::entry::{Entry, Group, or};
use super::super::record::{Render, Stop};
use super::{Filter, complete, refused, text_of};
use crate::yaml;

/// Encodings.
pub(super) const ENCODINGS: Group<Filter> = Group {
    name: "Encodings",
    entries: &[
        Filter::new(
            base64_encode,
            Entry {
                name: "base64_encode",
                arguments: &[],
                takes: "text",
                gives: "base64 of a text",
                empty: "empty text",
                example: r#"{{ "häh" | base64_encode }}"#,
                output: "aMOkaA==",
            },
        ),
        Filter::new(
            base64_decode,
            Entry {
                name: "base64_decode",
                arguments: &[],
                takes: "text",
                gives: "the text of it, which must be UTF-8",
                empty: "empty text",
                example: r#"{{ "aMOkaA==" | base64_decode }}"#,
                output: "häh",
            },
        ),
        Filter::new(
            sha256,
            Entry {
                name: "sha256",
                arguments: &[],
                takes: "text",
                gives: "64 hexadecimal digits",
                empty: "the hash of nothing, `e3b0…`",
                example: r#"{{ "a" | sha256 | truncate(length=8, end="") }}"#,
                output: "ca978112",
            },
        ),
        Filter::new(
            from_json,
            Entry {
                name: "from_json",
                arguments: &[],
                takes: "text",
                gives: "the value; maps sorted by name, integers with all their digits, at most 128 levels; `null` prints as nothing",
                empty: "fails",
                example: r#"{{ '{"b": [1, 2.5], "a": true}' | from_json }}"#,
                output: r#"{"a": true, "b": [1, 2.5]}"#,
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
            to_json,
            Entry {
                name: "to_json",
                arguments: &[or("pretty", "false")],
                takes: "anything",
                gives: "JSON, on one line or several",
                empty: r#"`""`, `[]`, `{}`"#,
                example: r#"{{ {"a": [1, "x"]} | to_json }}"#,
                output: r#"{"a":[1,"x"]}"#,
            },
        ),
        Filter::new(
            to_yaml,
            Entry {
                name: "to_yaml",
                arguments: &[],
                takes: "anything",
                gives: "YAML, without a newline at its end",
                empty: "`''`, `[]`, `{}`",
                example: r#"{{ {"a": 1, "b": ["x"]} | to_yaml }}"#,
                output: "a: 1\nb:\n- x",
            },
        ),
    ],
};

/// A text as base64 in the standard alphabet.
pub(super) fn base64_encode(value: &Value, _: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    Ok(Value::from(STANDARD.encode(text_of(value, "base64_encode")?)))
}

/// The text that base64 stands for.
pub(super) fn base64_decode(value: &Value, _: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    let encoded = text_of(value, "base64_decode")?;
    let bytes = STANDARD.decode(encoded.trim()).map_err(|_| refused("base64_decode", "it is not base64"))?;
    let text = String::from_utf8(bytes).map_err(|_| refused("base64_decode", "its bytes are not UTF-8"))?;
    Ok(Value::from(text))
}

/// The SHA-256 of a text, as 64 hexadecimal digits.
pub(super) fn sha256(value: &Value, _: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    Ok(Value::from(format!("{:x}", Sha256::digest(text_of(value, "sha256")?))))
}

/// JSON as a value: maps sorted by name, integers of any size with all their digits.
pub(super) fn from_json(value: &Value, _: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    let text = text_of(value, "from_json")?;
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
pub(super) fn from_yaml(value: &Value, _: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    let text = text_of(value, "from_yaml")?;
    let refuse =
        |line, column| refused("from_yaml", &format!("it is not YAML, or too deep (line {line}, column {column})"));
    yaml::check_depth(text).map_err(|error| refuse(error.line, error.column))?;
    serde_yaml::from_str::<Plain>(text).map(|parsed| parsed.value).map_err(|error| match error.location() {
        Some(at) => refuse(at.line(), at.column()),
        None => refused("from_yaml", "it is not YAML"),
    })
}

/// A value as JSON, on one line unless `pretty=true`.
pub(super) fn to_json(value: &Value, arguments: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    complete(value, "to_json")?;
    let pretty = arguments.flag("pretty")?;
    let json = if pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
    json.map(Value::from).map_err(|_| refused("to_json", "it has no form in JSON"))
}

/// A value as YAML, without a newline at its end.
pub(super) fn to_yaml(value: &Value, _: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    complete(value, "to_yaml")?;
    let yaml = serde_yaml::to_string(value).map_err(|_| refused("to_yaml", "it has no form in YAML"))?;
    Ok(Value::from(yaml.trim_end_matches('\n')))
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
