//! Lists: picking, choosing, joining.

use std::fmt::Write as _;

use tera::Value;

use super::super::arguments::{Arguments, attribute};
use super::super::entry::{Entry, Group, optional, or, required};
use super::super::error::{Failure, undefined};
use super::super::record::{Render, Stop};
use super::{Filter, list_of};

/// Lists.
pub(super) const LISTS: Group<Filter> = Group {
    name: "Lists",
    entries: &[
        Filter::of_tera(Entry {
            name: "length",
            arguments: &[],
            takes: "text, list, map",
            gives: "of a list or map; of a text the characters",
            empty: "0",
            example: "{{ [1, 2] | length }}",
            output: "2",
        }),
        Filter::new(
            first,
            Entry {
                name: "first",
                arguments: &[],
                takes: "list",
                gives: "the first item",
                empty: "undefined",
                example: "{{ [1, 2] | first }}",
                output: "1",
            },
        ),
        Filter::new(
            last,
            Entry {
                name: "last",
                arguments: &[],
                takes: "list",
                gives: "the last item",
                empty: "undefined",
                example: "{{ [1, 2] | last }}",
                output: "2",
            },
        ),
        Filter::new(
            nth,
            Entry {
                name: "nth",
                arguments: &[required("n")],
                takes: "list",
                gives: "the item at `n`, from 0",
                empty: "undefined; so beyond the end",
                example: "{{ [1, 2] | nth(n=1) }}",
                output: "2",
            },
        ),
        Filter::new(
            join,
            Entry {
                name: "join",
                arguments: &[or("sep", r#""""#)],
                takes: "list",
                gives: "the items as text; an undefined one fails",
                empty: "empty text",
                example: r#"{{ ["a", 1] | join(sep=", ") }}"#,
                output: "a, 1",
            },
        ),
        Filter::new(
            map,
            Entry {
                name: "map",
                arguments: &[required("attribute"), optional("default")],
                takes: "list",
                gives: "one attribute of every item; `default` where there is none, else the render fails",
                empty: "`[]`",
                example: r#"{{ [{"a": 1}, {}] | map(attribute="a", default=0) }}"#,
                output: "[1, 0]",
            },
        ),
        Filter::new(
            filter_where,
            Entry {
                name: "where",
                arguments: &[required("attribute"), optional("value")],
                takes: "list",
                gives: "the items whose attribute equals `value`; without it those where it is true, not empty and not 0",
                empty: "`[]`",
                example: r#"{{ [{"a": 1}, {"a": 2}] | where(attribute="a", value=2) }}"#,
                output: r#"[{"a": 2}]"#,
            },
        ),
        Filter::of_tera(Entry {
            name: "reverse",
            arguments: &[],
            takes: "text, list",
            gives: "from its end",
            empty: "itself",
            example: "{{ [1, 2] | reverse }}",
            output: "[2, 1]",
        }),
    ],
};

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
