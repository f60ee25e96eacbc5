//! Filters of text.

use std::fmt::Write as _;

use tera::Value;

use super::super::arguments::Arguments;
use super::super::error::{ErrorKind, Failure};
use super::super::record::{Render, Stop};
use super::{complete, refused, text_of};

/// The last segment of a path.
pub(super) fn basename(value: &Value, _: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    let path = text_of(value, "basename")?.trim_end_matches('/');
    Ok(Value::from(path.rsplit('/').next().unwrap_or_default()))
}

/// The path without its last segment; empty for a single segment.
pub(super) fn dirname(value: &Value, _: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    let path = text_of(value, "dirname")?.trim_end_matches('/');
    let directory =
        path.rsplit_once('/').map_or("", |(directory, _)| if directory.is_empty() { "/" } else { directory });
    Ok(Value::from(directory))
}

/// The lines of a text, without their ends.
pub(super) fn lines(value: &Value, _: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    Ok(Value::from(text_of(value, "lines")?.lines().map(Value::from).collect::<Vec<_>>()))
}

/// A text in double quotes, with the escapes of JSON, which C, TOML, YAML and most formats read alike.
pub(super) fn quote(value: &Value, _: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    let text = text_of(value, "quote")?;
    serde_json::to_string(text).map(Value::from).map_err(|_| refused("quote", "it cannot be quoted"))
}

/// Any value as it would be printed.
pub(super) fn str(value: &Value, _: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    complete(value, "str")?;
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write!(text, "{value}");
    Ok(Value::from(text))
}

/// The output of an include or a component that stands on a line of its own: one newline ends it, nothing stays
/// nothing.
pub(super) fn line(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let newline = if arguments.flag("crlf")? { "\r\n" } else { "\n" };
    let output = text_of(value, "include")?;
    if output.len() as u64 > render.environment.limits.output {
        return Err(Failure::of(ErrorKind::Limit, "the output is over `limits.output`").into());
    }
    let content = output.trim_end_matches(['\n', '\r']);
    let line = if output.is_empty() { String::new() } else { format!("{content}{newline}") };
    // Every value in it was looked at when it was printed.
    Ok(Value::from(line).mark_safe())
}

/// What it was given; undefined was refused before.
#[expect(clippy::unnecessary_wraps, reason = "all filters have one signature")]
pub(super) fn present(value: &Value, _: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    Ok(value.clone())
}
