//! Lists: picking, choosing, joining.

use std::fmt::Write as _;

use tera::{Map, Value};

use super::super::absence::Beside;
use super::super::arguments::{Arguments, attribute, type_name};
use super::super::entry::{Entry, Group, optional, or, required};
use super::super::error::{Failure, did_you_mean, undefined};
use super::super::lookup::unshown;
use super::super::near::{listed, quoted};
use super::super::record::{Render, Stop};
use super::order::Members;
use super::{Filter, filters, list_of};

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
                gives: "the items whose attribute equals `value`, is one of it where that is a list, or has it in it where the attribute is a list, such as `tags`; without `value` those where it is true, not empty and not 0",
                empty: "`[]`",
                example: r#"{{ [{"a": 1}, {"a": 2}] | where(attribute="a", value=2) }}"#,
                output: r#"[{"a": 2}]"#,
            },
        ),
        Filter::new(
            where_not,
            Entry {
                name: "where_not",
                arguments: &[required("attribute"), optional("value")],
                takes: "list",
                gives: "the other items: those that `where` leaves out",
                empty: "`[]`",
                example: r#"{{ [{"a": 1}, {"a": 2}] | where_not(attribute="a", value=2) }}"#,
                output: r#"[{"a": 1}]"#,
            },
        ),
        Filter::new(
            partition,
            Entry {
                name: "partition",
                arguments: &[required("attribute"), optional("value")],
                takes: "list",
                gives: "map of two lists; `matched` is what `where` gives, `others` what `where_not` does",
                empty: "both empty",
                example: r#"{% set parts = service(name="web") | partition(attribute="zone", value="z1") %}{{ parts.matched | map(attribute="id") }} {{ parts.others | map(attribute="id") }}"#,
                output: r#"["a"] ["b"]"#,
            },
        ),
        Filter::new(
            append,
            Entry {
                name: "append",
                arguments: &[required("value")],
                takes: "list",
                gives: "the list with one more item",
                empty: "a list of `value`",
                example: "{{ [1] | append(value=2) }}",
                output: "[1, 2]",
            },
        ),
        Filter::new(
            concat,
            Entry {
                name: "concat",
                arguments: &[required("with")],
                takes: "list",
                gives: "the items of both lists",
                empty: "`with`",
                example: "{{ [1] | concat(with=[2, 3]) }}",
                output: "[1, 2, 3]",
            },
        ),
        Filter::new(
            slice,
            Entry {
                name: "slice",
                arguments: &[or("start", "0"), optional("end")],
                takes: "list",
                gives: "the items from `start` on, without `end`; negative ones count from the end",
                empty: "`[]`; so beyond the end",
                example: "{{ [1, 2, 3, 4] | slice(start=1, end=-1) }}",
                output: "[2, 3]",
            },
        ),
        Filter::new(
            chunk,
            Entry {
                name: "chunk",
                arguments: &[required("size")],
                takes: "list",
                gives: "list of lists of so many items, of which the last may have fewer",
                empty: "`[]`",
                example: "{{ [1, 2, 3] | chunk(size=2) }}",
                output: "[[1, 2], [3]]",
            },
        ),
        Filter::new(
            zip,
            Entry {
                name: "zip",
                arguments: &[required("with")],
                takes: "list",
                gives: "list of pairs, as many as the shorter list has items",
                empty: "`[]`",
                example: r#"{% for pair in ["a", "b"] | zip(with=[1, 2]) %}{{ pair[0] }}{{ pair[1] }} {% endfor %}"#,
                output: "a1 b2 ",
            },
        ),
        Filter::new(
            flatten,
            Entry {
                name: "flatten",
                arguments: &[],
                takes: "list",
                gives: "the items of the lists in it, one level; what is no list stays",
                empty: "`[]`",
                example: "{{ [[1, 2], [3], 4] | flatten }}",
                output: "[1, 2, 3, 4]",
            },
        ),
        Filter::new(
            intersect,
            Entry {
                name: "intersect",
                arguments: &[required("with")],
                takes: "list",
                gives: "the items that are in both lists, each once, in their order",
                empty: "`[]`",
                example: r#"{{ ["a", "b"] | intersect(with=["b", "c"]) }}"#,
                output: r#"["b"]"#,
            },
        ),
        Filter::new(
            difference,
            Entry {
                name: "difference",
                arguments: &[required("with")],
                takes: "list",
                gives: "the items that are not in `with`, each once",
                empty: "`[]`",
                example: r#"{{ ["a", "b"] | difference(with=["b", "c"]) }}"#,
                output: r#"["a"]"#,
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
                return Err(undefined(format!("item {} of the list for `join` is undefined", index + 1)).into());
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
        (None, None) => Err(lacks(path, index, item, "map", render)),
    };
    let items: Result<Vec<Value>, Stop> = list_of(value, "map")?.iter().enumerate().map(pick).collect();
    Ok(Value::from(items?))
}

/// The items whose attribute equals `value=`, is in it or has it in it, or is true, not empty and not 0 when no value is given. An item that
/// lacks the attribute is left out.
pub(super) fn filter_where(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    Ok(Value::from(halves(value, "where", arguments, render)?.0))
}

/// The items that `where` leaves out.
pub(super) fn where_not(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    Ok(Value::from(halves(value, "where_not", arguments, render)?.1))
}

/// Both, by name.
pub(super) fn partition(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let (matched, others) = halves(value, "partition", arguments, render)?;
    let halves = [("matched", matched), ("others", others)];
    Ok(Value::from(halves.into_iter().map(|(name, items)| (name.into(), Value::from(items))).collect::<Map>()))
}

/// The items whose attribute is as wanted, and the others.
fn halves(
    value: &Value,
    filter: &str,
    arguments: &Arguments<'_>,
    render: &Render,
) -> Result<(Vec<Value>, Vec<Value>), Stop> {
    let path = arguments.required_text("attribute", render)?;
    let wanted = arguments.value("value")?;
    let among = wanted.and_then(Value::as_array).map(|items| Members::of(items, render)).transpose()?;
    let matches = |item: &Value| match (attribute(item, path), wanted) {
        (Some(found), Some(wanted)) => {
            found == wanted
                || among.as_ref().is_some_and(|among| among.has(found))
                || found.as_array().is_some_and(|items| items.contains(wanted))
        }
        (Some(found), None) => found.is_truthy(),
        (None, _) => false,
    };
    let items = list_of(value, filter)?;
    // Every field of an instance is always there: one that is not is misspelt, and would match none without a word.
    let field = path.split('.').next().unwrap_or(path);
    let is_instance =
        |item: &Value| ["endpoint", "registry", "status"].iter().all(|name| attribute(item, name).is_some());
    if let Some(item) = items.iter().find(|item| is_instance(item))
        && attribute(item, field).is_none()
    {
        let failure = Failure::new(format!("`attribute` of `{filter}` names no field of an instance"));
        let beside = if render.is_written(path) { beside_attribute(field, item, render) } else { Beside::default() };
        return Err(failure.teach(beside).into());
    }
    Ok(items.iter().cloned().partition(matches))
}

/// The list with one more item.
pub(super) fn append(value: &Value, arguments: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    let item = arguments.value("value")?.ok_or_else(|| arguments.absent("value"))?;
    Ok(Value::from(list_of(value, "append")?.iter().chain([item]).cloned().collect::<Vec<_>>()))
}

/// The items of both lists.
pub(super) fn concat(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let with = arguments.list("with", render)?;
    Ok(Value::from(list_of(value, "concat")?.iter().chain(with).cloned().collect::<Vec<_>>()))
}

/// The items from `start=` on, without `end=`; negative ones count from the end.
pub(super) fn slice(value: &Value, arguments: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    let items = list_of(value, "slice")?;
    let place = |at: i64| {
        let from_end = usize::try_from(at.unsigned_abs()).unwrap_or(usize::MAX);
        if at < 0 { items.len().saturating_sub(from_end) } else { from_end.min(items.len()) }
    };
    let start = place(arguments.integer("start")?.unwrap_or_default());
    let end = arguments.integer("end")?.map_or(items.len(), place);
    Ok(Value::from(items.get(start..end).unwrap_or_default().to_vec()))
}

/// Lists of `size=` items.
pub(super) fn chunk(value: &Value, arguments: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    let size = arguments.count("size")?.ok_or_else(|| arguments.absent("size"))?;
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if size == 0 {
        return Err(arguments.refused("size", "it is at least 1"));
    }
    let chunks = list_of(value, "chunk")?.chunks(size).map(|chunk| Value::from(chunk.to_vec()));
    Ok(Value::from(chunks.collect::<Vec<_>>()))
}

/// Pairs of an item of each list.
pub(super) fn zip(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let with = arguments.list("with", render)?;
    let pairs = list_of(value, "zip")?.iter().zip(with);
    Ok(Value::from(pairs.map(|(left, right)| Value::from(vec![left.clone(), right.clone()])).collect::<Vec<_>>()))
}

/// The items of the lists in a list.
pub(super) fn flatten(value: &Value, _: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    let items = list_of(value, "flatten")?.iter();
    let items = items.flat_map(|item| item.as_array().unwrap_or(std::slice::from_ref(item)));
    Ok(Value::from(items.cloned().collect::<Vec<_>>()))
}

/// The items that are in both lists, each once.
pub(super) fn intersect(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let with = Members::of(arguments.list("with", render)?, render)?;
    each_once(list_of(value, "intersect")?, |item| with.has(item), render)
}

/// The items that are not in the other list, each once.
pub(super) fn difference(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let with = Members::of(arguments.list("with", render)?, render)?;
    each_once(list_of(value, "difference")?, |item| !with.has(item), render)
}

pub(super) fn each_once(items: &[Value], keeps: impl Fn(&Value) -> bool, render: &Render) -> Result<Value, Stop> {
    let mut seen = Members::default();
    let mut kept = Vec::new();
    for item in items {
        render.check_deadline()?;
        if keeps(item) && seen.insert(item) {
            kept.push(item.clone());
        }
    }
    Ok(Value::from(kept))
}

/// The failure of a list in which an item lacks the attribute: which one, and what it has instead.
pub(super) fn lacks(path: &str, index: usize, item: &Value, filter: &str, render: &Render) -> Stop {
    // What a template computes may be a value.
    let is_written = render.is_written(path);
    let attribute = if is_written { format!("the attribute {}", quoted(path)) } else { "the attribute".into() };
    // All things of a sort have the same fields, so that only what lies deeper is a matter of one of them.
    let is_deeper = path.split_once('.').is_some_and(|(first, _)| self::attribute(item, first).is_some());
    let one = if is_deeper { render.thing(item) } else { None };
    let one = one.map(|one| format!(" ({one})")).unwrap_or_default();
    let message = format!("item {} of the list for `{filter}`{one} does not have {attribute}", index + 1);
    let takes_default = || {
        let takes = |filter: &&Filter| filter.entry.arguments.iter().any(|argument| argument.name == "default");
        filters().find(|known| known.entry.name == filter).filter(takes)
    };
    let beside = if is_written { beside_attribute(path, item, render) } else { Beside::default() };
    let hint = || takes_default().map(|_| "`default=` stands in for it where it is not there".to_owned());
    let hint = beside.hint.or_else(|| hint().filter(|_| is_deeper));
    Failure::new(message).teach(Beside { hint, ..beside }).into()
}

/// What an item has in the place of an attribute.
fn beside_attribute(path: &str, item: &Value, render: &Render) -> Beside {
    let (mut above, mut written, mut parent) = (String::new(), path, item);
    while let Some((first, rest)) = written.split_once('.')
        && let Some(next) = attribute(parent, first)
    {
        above = format!("{above}{first}.");
        (written, parent) = (rest, next);
    }
    if parent.as_map().is_none() {
        let what = type_name(parent);
        let who = if above.is_empty() { "it".to_owned() } else { quoted(above.trim_end_matches('.')) };
        return Beside { available: Some(format!("{who} is {what}, which has no attributes")), hint: None };
    }
    let (names, hidden) = render.fields(parent);
    let names: Vec<String> = names.into_iter().map(|name| format!("{above}{name}")).collect();
    let own = || names.iter().map(String::as_str);
    let in_meta = || {
        render
            .fields(attribute(item, "meta")?)
            .0
            .contains(&written.to_owned())
            .then(|| format!("did you mean `meta.{written}`?"))
    };
    Beside {
        available: match listed(path, own()) {
            Some(list) => Some(format!("it has {list}{}", render.more(hidden))),
            None => (hidden > 0 && !render.is_secret).then(|| unshown("it", hidden)),
        },
        hint: did_you_mean(path, own()).or_else(in_meta),
    }
}

/// What a loop goes over: a list or a map. Tera would go through the letters of a text.
pub(super) fn each(value: &Value, _: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    if value.is_array() || value.is_map() || value.as_bytes().is_some() {
        return Ok(value.clone());
    }
    let failure = Failure::new(format!("`for` goes over a list or a map, not {}", type_name(value)));
    Err(if value.is_string() {
        failure.hint("`lines`, `split(pat=\",\")` and `from_json` make a list of a text")
    } else {
        failure
    }
    .into())
}
