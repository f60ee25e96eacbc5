//! Lists: picking, choosing, joining.

use std::fmt::Write as _;

use tera::Value;

use super::super::arguments::{Arguments, attribute};
use super::super::error::{Failure, undefined};
use super::super::record::{Render, Stop};
use super::list_of;

/// The first item; undefined in an empty list, so that printing it fails.
pub(super) fn first(value: &Value, _: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    Ok(list_of(value, "first")?.first().cloned().unwrap_or_else(Value::undefined))
}

/// The last item; undefined in an empty list.
pub(super) fn last(value: &Value, _: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    Ok(list_of(value, "last")?.last().cloned().unwrap_or_else(Value::undefined))
}

/// The item at `n=`, from 0; undefined beyond the end.
pub(super) fn nth(value: &Value, arguments: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    let n = arguments.count("n")?.ok_or_else(|| arguments.absent("n"))?;
    let item = usize::try_from(n).ok().and_then(|n| value.as_array()?.get(n));
    list_of(value, "nth").map(|_| item.cloned().unwrap_or_else(Value::undefined))
}

/// The items as text, with `sep=` between them.
pub(super) fn join(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let separator = arguments.text("sep", render)?.unwrap_or_default();
    let mut joined = String::new();
    for (index, item) in list_of(value, "join")?.iter().enumerate() {
        if index > 0 {
            joined.push_str(separator);
        }
        match item.as_str() {
            Some(text) => joined.push_str(text),
            None if item.is_undefined() => {
                return Err(undefined(format!("item {index} of the list for `join` is undefined")).into());
            }
            // Writing to a string does not fail.
            None => drop(write!(joined, "{item}")),
        }
    }
    Ok(Value::from(joined))
}

/// One attribute of every item; `default=` stands in where it is not there.
pub(super) fn map(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let path = arguments.required_text("attribute", render)?;
    let default = arguments.value("default")?;
    let pick = |(index, item)| match (attribute(item, path), default) {
        (Some(found), _) => Ok(found.clone()),
        (None, Some(default)) => Ok(default.clone()),
        (None, None) => Err(lacks(index, "map")),
    };
    let items: Result<Vec<Value>, Stop> = list_of(value, "map")?.iter().enumerate().map(pick).collect();
    Ok(Value::from(items?))
}

/// The items whose attribute equals `value=`, or is true, not empty and not 0 when no value is given. An item that
/// lacks the attribute is left out.
pub(super) fn filter_where(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let path = arguments.required_text("attribute", render)?;
    let wanted = arguments.value("value")?;
    let keeps = |item: &&Value| match (attribute(item, path), wanted) {
        (Some(found), Some(wanted)) => found == wanted,
        (Some(found), None) => found.is_truthy(),
        (None, _) => false,
    };
    Ok(Value::from(list_of(value, "where")?.iter().filter(keeps).cloned().collect::<Vec<_>>()))
}

/// The failure of a list in which an item lacks the attribute.
pub(super) fn lacks(index: usize, filter: &str) -> Stop {
    Failure::new(format!("item {index} of the list for `{filter}` does not have the attribute")).into()
}
