//! What filters of numbers, addresses, versions and times are given: a text that has to be read, or a list of things
//! that are read one by one.

use std::cmp::Ordering;

use tera::Value;

use super::super::arguments::{Arguments, attribute};
use super::super::error::undefined;
use super::super::record::{Render, Stop};
use super::list::lacks;
use super::{list_of, place};

/// What is wrong with a text, for a message: never the text, only where in it and why.
pub(super) type Why = String;

/// What was read; else `default=`, else the failure that says why, and where the value came from.
pub(super) fn read_or_default(
    read: Result<Value, Why>,
    value: &Value,
    filter: &str,
    arguments: &Arguments<'_>,
    render: &Render,
) -> Result<Value, Stop> {
    match (read, arguments.value("default")?) {
        (Ok(value), _) => Ok(value),
        (Err(_), Some(default)) => Ok(default.clone()),
        (Err(why), None) => Err(place::refused(filter, &why, value, render)),
    }
}

/// An item of a list.
pub(super) struct Item<'v> {
    /// Where it stands, from 0.
    index: usize,
    /// What it is looked at for: itself, or the attribute that `attribute=` names.
    key: &'v Value,
    /// The whole of it.
    whole: &'v Value,
}

/// The items of a list, each with what it is looked at for.
pub(super) fn items<'v>(
    value: &'v Value,
    filter: &str,
    arguments: &Arguments<'_>,
    render: &Render,
) -> Result<Vec<Item<'v>>, Stop> {
    let path = arguments.text("attribute", render)?;
    let item = |(index, whole): (usize, &'v Value)| {
        let key = match path {
            Some(path) => attribute(whole, path).ok_or_else(|| lacks(path, index, whole, filter, render))?,
            None => whole,
        };
        if key.is_undefined() {
            return Err(undefined(format!("item {} of the list for `{filter}` is undefined", index + 1)).into());
        }
        if key.as_str().is_some_and(|text| render.is_placeholder(text)) {
            return Err(Stop::Missing);
        }
        Ok(Item { index, key, whole })
    };
    list_of(value, filter)?.iter().enumerate().map(item).collect()
}

impl Item<'_> {
    /// What `read` makes of the item, or the failure that says which one is wrong.
    pub(super) fn read<T>(
        &self,
        filter: &str,
        render: &Render,
        read: impl FnOnce(&Value) -> Result<T, Why>,
    ) -> Result<T, Stop> {
        read(self.key).map_err(|why| {
            let why = format!("item {} of the list: {why}", self.index + 1);
            place::refused(filter, &why, self.key, render)
        })
    }
}

/// The items of a list in the order of what `read` makes of them. Equal ones keep their order.
pub(super) fn sorted<T>(
    value: &Value,
    filter: &str,
    arguments: &Arguments<'_>,
    render: &Render,
    read: impl Fn(&Value) -> Result<T, Why>,
    compare: impl Fn(&T, &T) -> Ordering,
) -> Result<Value, Stop> {
    let reverse = arguments.flag("reverse")?;
    let decorated = items(value, filter, arguments, render)?
        .into_iter()
        .map(|item| Ok((item.read(filter, render, &read)?, item.whole)));
    let mut decorated = decorated.collect::<Result<Vec<_>, Stop>>()?;
    decorated.sort_by(|(left, _), (right, _)| {
        let order = compare(left, right);
        if reverse { order.reverse() } else { order }
    });
    Ok(Value::from(decorated.into_iter().map(|(_, whole)| whole.clone()).collect::<Vec<_>>()))
}

/// A whole number, or text that is one; nothing for another number or text. `/` gives 2.0 for 4 and 2, so that is one.
pub(super) fn whole_number(value: &Value, filter: &str) -> Result<Option<i128>, Stop> {
    match value.as_str() {
        Some(text) => Ok(text.trim().parse().ok()),
        None if value.is_number() => Ok(value.as_number().and_then(|number| number.as_integer())),
        None => Err(super::wrong(value, filter, "a number, or text that is one")),
    }
}

/// A whole number that an argument must give.
pub(super) fn whole_argument<'a>(arguments: &Arguments<'a>, name: &'a str) -> Result<i128, Stop> {
    let value = arguments.value(name)?.ok_or_else(|| arguments.absent(name))?;
    let number = value.as_number().and_then(|number| number.as_integer());
    number.ok_or_else(|| arguments.refused(name, "it is no whole number"))
}

/// The text that has to be read, without white space around it: values of registries often end in a newline.
pub(super) fn trimmed<'v>(value: &'v Value, filter: &str) -> Result<&'v str, Stop> {
    super::text_of(value, filter).map(str::trim)
}
