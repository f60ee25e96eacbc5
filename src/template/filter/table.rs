//! Tables in one text: CSV, and `name=value,...`.

use std::collections::BTreeMap;

use csv::{ReaderBuilder, StringRecord, WriterBuilder};
use tera::value::Key;
use tera::{Map, Value};

use super::super::arguments::Arguments;
use super::super::record::{Render, Stop};
use super::{complete, list_of, refused, text_of, wrong};

/// CSV (RFC 4180) as maps whose names are in the first line, or with `header=false` as lists.
pub(super) fn from_csv(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let text = text_of(value, "from_csv")?;
    let has_header = is_on("header", arguments)?;
    let mut table = ReaderBuilder::new()
        .has_headers(has_header)
        .delimiter(separator(arguments, render)?)
        .from_reader(text.as_bytes());
    let refuse = |error: &csv::Error| {
        let line = error.position().map(|position| format!(" (line {})", position.line())).unwrap_or_default();
        refused("from_csv", &format!("it is not CSV, or its lines have not as many fields each{line}"))
    };
    let names =
        if has_header { table.headers().map_err(|error| refuse(&error))?.clone() } else { StringRecord::default() };
    let mut doubled: Vec<&str> = names.iter().collect();
    doubled.sort_unstable();
    if doubled.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(refused("from_csv", "a name comes twice in its first line"));
    }
    let mut rows = Vec::new();
    for record in table.records() {
        render.check_deadline()?;
        let record = record.map_err(|error| refuse(&error))?;
        rows.push(if has_header {
            let fields = names.iter().zip(&record).map(|(name, field)| (name.to_owned().into(), Value::from(field)));
            Value::from(fields.collect::<Map>())
        } else {
            Value::from(record.iter().map(Value::from).collect::<Vec<_>>())
        });
    }
    Ok(Value::from(rows))
}

/// Maps or lists as CSV, without a newline at its end.
pub(super) fn to_csv(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let rows = list_of(value, "to_csv")?;
    let of_first = || rows.first().and_then(Value::as_map).map(|map| map.keys().map(ToString::to_string).collect());
    let columns: Option<Vec<String>> = match arguments.value("columns")? {
        Some(_) => Some(arguments.texts("columns", render)?.into_iter().map(str::to_owned).collect()),
        None => of_first(),
    };
    let separator = separator(arguments, render)?;
    let mut writer = WriterBuilder::new().flexible(true).delimiter(separator).from_writer(Vec::new());
    let unwritten = |_: csv::Error| refused("to_csv", "it has no form in CSV");
    if let Some(columns) = columns.as_ref().filter(|columns| !columns.is_empty())
        && is_on("header", arguments)?
    {
        writer.write_record(columns).map_err(unwritten)?;
    }
    for (index, row) in rows.iter().enumerate() {
        render.check_deadline()?;
        let fields: Result<Vec<String>, Stop> = match (row.as_map(), row.as_array(), &columns) {
            (Some(map), _, Some(columns)) => {
                let lacks = || refused("to_csv", &format!("item {} lacks one of the columns", index + 1));
                let fields = columns.iter().map(|name| map.get(&Key::Str(name)).ok_or_else(lacks).and_then(field));
                fields.collect()
            }
            (_, Some(items), _) => items.iter().map(field).collect(),
            _ => Err(refused("to_csv", &format!("item {} is neither a map nor a list", index + 1))),
        };
        writer.write_record(fields?).map_err(unwritten)?;
    }
    let bytes = writer.into_inner().map_err(|_| refused("to_csv", "it has no form in CSV"))?;
    let text = String::from_utf8(bytes).map_err(|_| refused("to_csv", "it has no form in CSV"))?;
    Ok(Value::from(text.trim_end_matches('\n')))
}

/// What stands in a field: text, or what is printed as one word.
fn field(value: &Value) -> Result<String, Stop> {
    complete(value, "to_csv")?;
    if value.is_array() || value.is_map() {
        return Err(refused("to_csv", "a field holds a list or a map"));
    }
    Ok(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

/// A map out of `name=value,...`, or of a list of `name=value`.
pub(super) fn split_map<'v>(value: &'v Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let pat = arguments.text("pat", render)?.unwrap_or(",");
    let separator = arguments.text("sep", render)?.unwrap_or("=");
    for (name, argument) in [("pat", pat), ("sep", separator)] {
        if argument.is_empty() {
            return Err(arguments.refused(name, "it is empty"));
        }
    }
    let parts: Vec<&str> = match (value.as_str(), value.as_array()) {
        (Some(text), _) => text.split(pat).collect(),
        (_, Some(items)) => {
            let text = |item: &'v Value| item.as_str().ok_or_else(|| refused("split_map", "an item is no text"));
            items.iter().map(text).collect::<Result<_, _>>()?
        }
        _ => return Err(wrong(value, "split_map", "text or a list of texts")),
    };
    let mut fields = BTreeMap::new();
    for part in parts.into_iter().map(str::trim).filter(|part| !part.is_empty()) {
        let (name, field) = part.split_once(separator).unwrap_or((part, ""));
        if fields.insert(name.trim(), field.trim()).is_some() {
            return Err(refused("split_map", "a name comes twice"));
        }
    }
    let fields = fields.into_iter().map(|(name, field)| (name.to_owned().into(), Value::from(field)));
    Ok(Value::from(fields.collect::<Map>()))
}

/// What separates the fields of a line.
fn separator(arguments: &Arguments<'_>, render: &Render) -> Result<u8, Stop> {
    match arguments.text("sep", render)?.unwrap_or(",").as_bytes() {
        [byte] if byte.is_ascii() && !b"\"\r\n".contains(byte) => Ok(*byte),
        _ => Err(arguments.refused("sep", "it is one ASCII character, and no quote or newline")),
    }
}

/// A flag that is on unless it is given as `false`.
fn is_on(name: &'static str, arguments: &Arguments<'_>) -> Result<bool, Stop> {
    Ok(arguments.value(name)?.is_none() || arguments.flag(name)?)
}
