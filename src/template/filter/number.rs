//! Numbers and truth values out of text.

use tera::Value;
use tera::value::Key;

use super::super::arguments::{Arguments, attribute};
use super::super::entry::{Entry, Group, optional, or};
use super::super::record::{Render, Stop};
use super::{Filter, refused, wrong};

/// Numbers and truth values.
pub(super) const NUMBERS: Group<Filter> = Group {
    name: "Numbers and truth values",
    entries: &[
        Filter::new(
            to_int,
            Entry {
                name: "to_int",
                arguments: &[optional("default")],
                takes: "text, number",
                gives: "a whole number out of text; `default` for text that is none",
                empty: "`default`, else fails",
                example: r#"{{ " 42 " | to_int + 1 }}"#,
                output: "43",
            },
        ),
        Filter::new(
            to_float,
            Entry {
                name: "to_float",
                arguments: &[optional("default")],
                takes: "text, number",
                gives: "a number out of text; `default` for text that is none",
                empty: "`default`, else fails",
                example: r#"{{ "x" | to_float(default=0.5) }}"#,
                output: "0.5",
            },
        ),
        Filter::new(
            to_bool,
            Entry {
                name: "to_bool",
                arguments: &[optional("default")],
                takes: "text, number, truth value",
                gives: "a truth value out of text; `true`, `yes`, `on`, `t`, `y`, `1` and their opposites `false`, `no`, `off`, `f`, `n`, `0`, in upper or lower case; `default` for any other text",
                empty: "`default`, else fails",
                example: r#"{% if key(path="app/tls", default="no") | to_bool %}on{% else %}off{% endif %}"#,
                output: "off",
            },
        ),
        Filter::of_tera(Entry {
            name: "int",
            arguments: &[or("base", "10")],
            takes: "text, number",
            gives: "a whole number out of text in another base",
            empty: "fails",
            example: r#"{{ "ff" | int(base=16) }}"#,
            output: "255",
        }),
        Filter::of_tera(Entry {
            name: "float",
            arguments: &[],
            takes: "text, number",
            gives: "a number out of text",
            empty: "fails",
            example: r#"{{ "1.5" | float }}"#,
            output: "1.5",
        }),
        Filter::of_tera(Entry {
            name: "abs",
            arguments: &[],
            takes: "number",
            gives: "without its sign",
            empty: "0",
            example: "{{ -5 | abs }}",
            output: "5",
        }),
        Filter::of_tera(Entry {
            name: "round",
            arguments: &[optional("method"), or("precision", "0")],
            takes: "number",
            gives: r#"rounded; `method` may be `"ceil"` or `"floor"`"#,
            empty: "0",
            example: r#"{{ 2.44 | round(method="ceil") }}"#,
            output: "3.0",
        }),
        Filter::new(
            weight,
            Entry {
                name: "weight",
                arguments: &[or("meta", r#""""#)],
                takes: "map",
                gives: "the weight of an instance; what its `meta` holds under the name `meta`, where that is a whole number from 0 to 65535, else that of its registry",
                empty: "fails",
                example: r#"{{ {"weight": 3, "meta": {"w": "5"} } | weight(meta="w") }}"#,
                output: "5",
            },
        ),
    ],
};

/// The words for true, and in the same order those for false.
const TRUE: &[&str] = &["true", "yes", "on", "t", "y", "1"];
const FALSE: &[&str] = &["false", "no", "off", "f", "n", "0"];

/// A whole number out of text; `default=` stands in for text that is none.
pub(super) fn to_int(value: &Value, arguments: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    let read = match value.as_str() {
        Some(text) => text.trim().parse::<i128>().ok(),
        None if value.is_number() => value.as_number().and_then(|number| number.as_integer()),
        None => return Err(wrong(value, "to_int", "text or a number")),
    };
    let small = |number: i128| i64::try_from(number).map_or_else(|_| Value::from(number), Value::from);
    or_default(read.map(small), arguments, "to_int", "it is no whole number")
}

/// A number out of text; `default=` stands in for text that is none.
pub(super) fn to_float(value: &Value, arguments: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    let read = match value.as_str() {
        Some(text) => text.trim().parse::<f64>().ok().filter(|number| number.is_finite()),
        None if value.is_number() => value.as_number().map(|number| number.as_float()),
        None => return Err(wrong(value, "to_float", "text or a number")),
    };
    or_default(read.map(Value::from), arguments, "to_float", "it is no number")
}

/// A truth value out of text, a number or itself; `default=` stands in for what is none.
pub(super) fn to_bool(value: &Value, arguments: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    let read = match (value.as_bool(), value.as_str()) {
        (Some(truth), _) => Some(truth),
        (_, Some(text)) => {
            let text = text.trim();
            let is_one_of = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
            is_one_of(TRUE).then_some(true).or_else(|| is_one_of(FALSE).then_some(false))
        }
        _ if value.is_number() => match value.as_i64() {
            Some(1) => Some(true),
            Some(0) => Some(false),
            _ => None,
        },
        _ => return Err(wrong(value, "to_bool", "text, a number or a truth value")),
    };
    or_default(read.map(Value::from), arguments, "to_bool", "it is no truth value such as `true` or `off`")
}

/// The weight of an instance: what its entry called `meta` holds, where that is a whole number from 0 to 65535, else that of
/// its registry. Whoever wrote something else there is counted.
pub(super) fn weight(instance: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let entry = arguments.text("meta", render)?.unwrap_or_default();
    let written = attribute(instance, "meta").and_then(|meta| meta.as_map()?.get(&Key::Str(entry))?.as_str());
    let written = written.filter(|_| !entry.is_empty());
    if let Some(written) = written.map(str::trim).filter(|written| !written.is_empty()) {
        if let Ok(weight) = written.parse::<u16>() {
            return Ok(Value::from(weight));
        }
        render.no_weights.set(render.no_weights.get() + 1);
    }
    attribute(instance, "weight").cloned().ok_or_else(|| wrong(instance, "weight", "an instance"))
}

fn or_default(read: Option<Value>, arguments: &Arguments<'_>, filter: &str, why: &str) -> Result<Value, Stop> {
    match (read, arguments.value("default")?) {
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default.clone()),
        (None, None) => Err(refused(filter, why)),
    }
}
