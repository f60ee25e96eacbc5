//! The filters of templates.
//!
//! To add one: a Rust function in a file of this folder, and an entry in the group of that file, which holds all that the
//! reference and `liveconf functions` tell of it. To add a group: a file, and a line in [`FILTERS`]. A filter fails rather than let
//! something through that it does not understand, and never puts what it was given into its message.

mod case;
mod encode;
mod format;
mod arithmetic;
mod date;
mod input;
mod list;
mod map;
mod measure;
mod net;
mod number;
mod order;
mod pattern;
mod place;
mod program;
mod table;
mod semver;
mod text;
mod url;

use std::borrow::Cow;

use tera::{Kwargs, State, Tera, TeraResult, Value};

use super::arguments::{Arguments, type_name};
use super::entry::{Entry, Group};
use super::error::{ErrorKind, Failure, undefined};
use super::function::fail;
use super::record::{self, Render, Stop};
use super::trim::LINE_FILTER;

pub(super) use pattern::glob;

/// What a filter does.
type Call = fn(&Value, &Arguments<'_>, &Render) -> Result<Value, Stop>;

/// A filter of templates.
#[derive(Debug)]
pub(super) struct Filter {
    /// What is told of it.
    pub(super) entry: Entry,
    /// What it does; none for one that Tera brings along.
    call: Option<Call>,
}

/// All filters. Some replace one of Tera's that is not strict, not sorted, or slow.
pub(super) const FILTERS: &[&Group<Filter>] = &[
    &map::ABSENCE,
    &text::TEXT,
    &case::CASES,
    &pattern::PATTERNS,
    &format::FORMATS,
    &encode::ENCODINGS,
    &number::NUMBERS,
    &arithmetic::ARITHMETIC,
    &measure::MEASURES,
    &date::DATES,
    &list::LISTS,
    &order::ORDER,
    &map::MAPS,
    &net::NETWORKS,
    &semver::VERSIONS,
    &url::URLS,
    &place::PLACES,
    &program::PROGRAMS,
];

/// The filters that no template names: they are put where they are needed.
const HIDDEN: &[(&str, Call)] = &[(LINE_FILTER, text::line), (PRESENT, text::present), (EACH, list::each)];

/// All filters that a template may name.
pub(super) fn filters() -> impl Iterator<Item = &'static Filter> {
    FILTERS.iter().flat_map(|group| group.entries)
}

/// The filter that refuses an undefined value; it is put around the operands of `~`, which writes nothing for one.
pub(super) const PRESENT: &str = "__present";

/// The filter that refuses a text; it is put around what a loop goes over, which else would be its letters.
pub(super) const EACH: &str = "__each";

/// Puts all filters into `tera`.
pub(super) fn register(tera: &mut Tera) {
    let ours = filters().filter_map(|filter| Some((filter.entry.name, filter.call?)));
    for (name, call) in ours.chain(HIDDEN.iter().copied()) {
        tera.register_filter(name, move |value: Value, kwargs: Kwargs, _: &State| run(name, call, &value, &kwargs));
    }
}

impl Filter {
    const fn new(call: Call, entry: Entry) -> Self {
        Self { entry, call: Some(call) }
    }

    /// One that Tera brings along, and that stays as it is.
    const fn of_tera(entry: Entry) -> Self {
        Self { entry, call: None }
    }
}

fn run(name: &str, call: Call, value: &Value, kwargs: &Kwargs) -> TeraResult<Value> {
    let apply = |render: &mut Render| match apply(call, value, &Arguments::new(name, kwargs), render) {
        Ok(value) => Ok(value),
        Err(Stop::Missing) if name == EACH => Ok(Value::from(Vec::<Value>::new())),
        // What depends on a missing answer stays what it is, and the template goes on asking.
        Err(Stop::Missing | Stop::Denied) => Ok(value.clone()),
        // Tera then marks the value rather than the filter.
        Err(Stop::Failed(failure)) if value.is_undefined() || name == EACH => {
            fail(render, failure);
            let (expected_type, actual_type) = Default::default();
            Err(tera::Error::new(tera::ErrorKind::InvalidArgument { expected_type, actual_type }))
        }
        Err(Stop::Failed(failure)) => Err(fail(render, failure)),
    };
    record::with(apply).unwrap_or_else(|| Err(tera::Error::message("called outside of a render")))
}

fn apply(call: Call, value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    render.check_deadline()?;
    if value.is_undefined() {
        return Err(undefined("what stands here is undefined").into());
    }
    if value.as_str().is_some_and(|text| render.is_placeholder(text)) {
        return Err(Stop::Missing);
    }
    call(value, arguments, render)
}

/// The text that a filter was given.
fn text_of<'v>(value: &'v Value, filter: &str) -> Result<&'v str, Stop> {
    value.as_str().ok_or_else(|| wrong(value, filter, "text"))
}

/// The text that a filter was given, or a number as it is printed.
fn text_or_number<'v>(value: &'v Value, filter: &str) -> Result<Cow<'v, str>, Stop> {
    match value.as_str() {
        Some(text) => Ok(Cow::Borrowed(text)),
        None if value.is_number() => Ok(Cow::Owned(value.to_string())),
        None => Err(wrong(value, filter, "text or a number")),
    }
}

/// The list that a filter was given.
fn list_of<'v>(value: &'v Value, filter: &str) -> Result<&'v [Value], Stop> {
    value.as_array().ok_or_else(|| wrong(value, filter, "a list"))
}

/// Refuses a text that grew over what a file may hold.
fn within_output(text: &str, render: &Render) -> Result<(), Stop> {
    if text.len() as u64 > render.environment.limits.output {
        let failure = Failure::of(ErrorKind::Limit, "what a filter would give is over `limits.output`");
        return Err(failure.hint("raise `limits.output`").into());
    }
    Ok(())
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
