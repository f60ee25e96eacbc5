//! The filters of templates.
//!
//! To add one: a Rust function in a file of this folder, and an entry in [`FILTERS`]. A filter fails rather than let
//! something through that it does not understand, and never puts what it was given into its message.

mod encode;
mod list;
mod number;
mod order;
mod place;
mod text;

use tera::{Kwargs, State, Tera, TeraResult, Value};

use super::arguments::{Arguments, type_name};
use super::error::{Failure, undefined};
use super::function::fail;
use super::record::{self, Render, Stop};
use super::trim::LINE_FILTER;

/// What a filter does.
type Call = fn(&Value, &Arguments<'_>, &Render) -> Result<Value, Stop>;

/// A filter of templates: its name, its arguments, and what it does.
pub(super) struct Filter {
    /// Its name.
    pub(super) name: &'static str,
    /// The arguments that must be given.
    pub(super) required: &'static [&'static str],
    /// The arguments that may be given.
    pub(super) optional: &'static [&'static str],
    call: Call,
}

const fn filter(
    name: &'static str,
    required: &'static [&'static str],
    optional: &'static [&'static str],
    call: Call,
) -> Filter {
    Filter { name, required, optional, call }
}

/// All filters of ours. Some replace one of Tera's that is not strict, not sorted, or slow.
pub(super) const FILTERS: &[Filter] = &[
    // Text.
    filter("basename", &[], &[], text::basename),
    filter("dirname", &[], &[], text::dirname),
    filter("lines", &[], &[], text::lines),
    filter("quote", &[], &[], text::quote),
    filter("str", &[], &[], text::str),
    filter(LINE_FILTER, &[], &["crlf"], text::line),
    filter(PRESENT, &[], &[], text::present),
    // Encodings.
    filter("base64_decode", &[], &[], encode::base64_decode),
    filter("base64_encode", &[], &[], encode::base64_encode),
    filter("from_json", &[], &[], encode::from_json),
    filter("from_yaml", &[], &[], encode::from_yaml),
    filter("sha256", &[], &[], encode::sha256),
    filter("to_json", &[], &["pretty"], encode::to_json),
    filter("to_yaml", &[], &[], encode::to_yaml),
    // Numbers.
    filter("to_float", &[], &["default"], number::to_float),
    filter("to_int", &[], &["default"], number::to_int),
    filter(WEIGHT, &["meta"], &[], number::weight),
    // Lists.
    filter("first", &[], &[], list::first),
    filter("join", &[], &["sep"], list::join),
    filter("last", &[], &[], list::last),
    filter("map", &["attribute"], &["default"], list::map),
    filter("nth", &["n"], &[], list::nth),
    filter("where", &["attribute"], &["value"], list::filter_where),
    // Order and groups.
    filter("group_by", &["attribute"], &[], order::group_by),
    filter("natural_sort", &[], &["attribute"], order::natural_sort),
    filter("sort_by", &["attribute"], &["reverse"], order::sort_by),
    filter("unique", &[], &[], order::unique),
    filter("unique_by", &["attribute"], &[], order::unique_by),
    // What makes a value safe for its place in a file.
    filter("haproxy_quote", &[], &["log_format"], place::haproxy_quote),
    filter("host", &[], &[], place::host),
    filter("ip", &[], &["version"], place::ip),
    filter("nginx_quote", &[], &[], place::nginx_quote),
    filter("port", &[], &[], place::port),
    filter("shell_quote", &[], &[], place::shell_quote),
    filter("token", &[], &["extra"], place::token),
];

/// The filter that refuses an undefined value; it is put around the operands of `~`, which writes nothing for one.
pub(super) const PRESENT: &str = "__present";

/// The filter of the built-in components that gives the weight of an instance.
const WEIGHT: &str = "__weight";

/// The filters of Tera that stay as they are, with their arguments: Tera itself ignores those it does not know.
pub(super) const TERA_FILTERS: &[(&str, &[&str])] = &[
    ("abs", &[]),
    ("capitalize", &[]),
    ("default", &["value", "boolean"]),
    ("escape", &[]),
    ("escape_html", &[]),
    ("escape_xml", &[]),
    ("float", &[]),
    ("get", &["key", "default"]),
    ("indent", &["width", "indentation", "first", "blank"]),
    ("int", &["base"]),
    ("keys", &[]),
    ("length", &[]),
    ("lower", &[]),
    ("newlines_to_br", &[]),
    ("pairs", &[]),
    ("pluralize", &["singular", "plural"]),
    ("replace", &["from", "to"]),
    ("reverse", &[]),
    ("round", &["method", "precision"]),
    ("safe", &[]),
    ("sort", &["attribute"]),
    ("split", &["pat"]),
    ("title", &[]),
    ("trim", &["pat"]),
    ("trim_end", &["pat"]),
    ("trim_start", &["pat"]),
    ("truncate", &["length", "end"]),
    ("upper", &[]),
    ("values", &[]),
    ("wordcount", &[]),
];

/// The tests of Tera, with their arguments.
pub(super) const TERA_TESTS: &[(&str, &[&str])] = &[
    ("array", &[]),
    ("bool", &[]),
    ("containing", &["pat"]),
    ("defined", &[]),
    ("divisible_by", &["divisor"]),
    ("ending_with", &["pat"]),
    ("even", &[]),
    ("float", &[]),
    ("integer", &[]),
    ("iterable", &[]),
    ("map", &[]),
    ("none", &[]),
    ("number", &[]),
    ("odd", &[]),
    ("starting_with", &["pat"]),
    ("string", &[]),
    ("undefined", &[]),
];

/// Puts all filters into `tera`.
pub(super) fn register(tera: &mut Tera) {
    for filter in FILTERS {
        tera.register_filter(filter.name, move |value: Value, kwargs: Kwargs, _: &State| filter.run(&value, &kwargs));
    }
}

impl Filter {
    fn run(&self, value: &Value, kwargs: &Kwargs) -> TeraResult<Value> {
        let call = |render: &mut Render| {
            let arguments = Arguments::new(self.name, kwargs);
            match self.apply(value, &arguments, render) {
                Ok(value) => Ok(value),
                // What depends on a missing answer stays what it is, and the template goes on asking.
                Err(Stop::Missing | Stop::Denied) => Ok(value.clone()),
                // Tera then marks the value rather than the filter.
                Err(Stop::Failed(failure)) if value.is_undefined() => {
                    fail(render, failure);
                    let (expected_type, actual_type) = Default::default();
                    Err(tera::Error::new(tera::ErrorKind::InvalidArgument { expected_type, actual_type }))
                }
                Err(Stop::Failed(failure)) => Err(fail(render, failure)),
            }
        };
        record::with(call).unwrap_or_else(|| Err(tera::Error::message("called outside of a render")))
    }

    fn apply(&self, value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
        render.check_deadline()?;
        if value.is_undefined() {
            return Err(undefined("what stands here is undefined").into());
        }
        if value.as_str().is_some_and(|text| render.is_placeholder(text)) {
            return Err(Stop::Missing);
        }
        (self.call)(value, arguments, render)
    }
}

/// The text that a filter was given.
fn text_of<'v>(value: &'v Value, filter: &str) -> Result<&'v str, Stop> {
    value.as_str().ok_or_else(|| wrong(value, filter, "text"))
}

/// The list that a filter was given.
fn list_of<'v>(value: &'v Value, filter: &str) -> Result<&'v [Value], Stop> {
    value.as_array().ok_or_else(|| wrong(value, filter, "a list"))
}

/// The failure of a filter that was given another type than it takes.
fn wrong(value: &Value, filter: &str, wanted: &str) -> Stop {
    Failure::new(format!("`{filter}` takes {wanted}, not {}", type_name(value))).into()
}

/// The failure of a filter whose input is of the right type and yet refused.
fn refused(filter: &str, why: &str) -> Stop {
    Failure::new(format!("`{filter}` refuses what it was given: {why}")).into()
}

/// Refuses a value in which something is undefined: it would be written as nothing, or as `null`.
fn complete(value: &Value, filter: &str) -> Result<(), Stop> {
    if holds_undefined(value) {
        return Err(undefined(format!("`{filter}` was given something undefined")).into());
    }
    Ok(())
}

fn holds_undefined(value: &Value) -> bool {
    match (value.as_array(), value.as_map()) {
        (Some(items), _) => items.iter().any(holds_undefined),
        (_, Some(map)) => map.values().any(holds_undefined),
        _ => value.is_undefined(),
    }
}
