//! Numbers out of text.

use tera::Value;

use super::super::arguments::Arguments;
use super::super::record::{Render, Stop};
use super::{refused, wrong};

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

fn or_default(read: Option<Value>, arguments: &Arguments<'_>, filter: &str, why: &str) -> Result<Value, Stop> {
    match (read, arguments.value("default")?) {
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default.clone()),
        (None, None) => Err(refused(filter, why)),
    }
}
