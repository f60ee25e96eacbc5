//! Sums, extremes and rounding. Whole numbers stay whole and exact; a text that is a number counts as one, since every
//! value of a key is text.

use std::cmp::Ordering;

use tera::{Number, Value};

use super::super::arguments::Arguments;
use super::super::entry::{Entry, Group, optional, or, required};
use super::super::record::{Render, Stop};
use super::input::{self, Why, whole_argument, whole_number};
use super::{Filter, place, wrong};

/// Sums, extremes and rounding.
pub(super) const ARITHMETIC: Group<Filter> = Group {
    name: "Arithmetic",
    entries: &[
        Filter::new(
            sum,
            Entry {
                name: "sum",
                arguments: &[optional("attribute")],
                takes: "list",
                gives: "the sum of numbers, or of one attribute; text that is a number counts as one",
                empty: "0",
                example: r#"{{ [{"weight": 1}, {"weight": "2"}] | sum(attribute="weight") }}"#,
                output: "3",
            },
        ),
        Filter::new(
            min,
            Entry {
                name: "min",
                arguments: &[optional("attribute")],
                takes: "list",
                gives: "the smallest of numbers, or of one attribute; text that is a number counts as one",
                empty: "undefined",
                example: r#"{{ [3, "10"] | min }}"#,
                output: "3",
            },
        ),
        Filter::new(
            max,
            Entry {
                name: "max",
                arguments: &[optional("attribute")],
                takes: "list",
                gives: "the largest of numbers, or of one attribute; text that is a number counts as one",
                empty: "undefined",
                example: r#"{{ [3, "10"] | max }}"#,
                output: "10",
            },
        ),
        Filter::new(
            clamp,
            Entry {
                name: "clamp",
                arguments: &[optional("min"), optional("max")],
                takes: "text, number",
                gives: "the number, but `min` if it is below, `max` if it is above",
                empty: "fails",
                example: r#"{{ "300" | clamp(min=1, max=256) }}"#,
                output: "256",
            },
        ),
        Filter::new(
            round_to,
            Entry {
                name: "round_to",
                arguments: &[required("multiple"), or("method", r#""common""#)],
                takes: "text, number",
                gives: r#"the multiple that is next to a whole number; `method` may be `"ceil"` or `"floor"`"#,
                empty: "fails; 0 for 0",
                example: r#"{{ 7 | round_to(multiple=10, method="ceil") }}"#,
                output: "10",
            },
        ),
    ],
};

/// The ways to round.
#[derive(Clone, Copy)]
enum Method {
    Common,
    Ceil,
    Floor,
}

const METHODS: &[(&str, Method)] = &[("common", Method::Common), ("ceil", Method::Ceil), ("floor", Method::Floor)];

/// The sum of numbers; 0 of none.
fn sum(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let (mut whole, mut fraction, mut is_whole) = (0_i128, 0.0, true);
    for item in input::items(value, "sum", arguments, render)? {
        match item.read("sum", render, number)? {
            Number::Integer(number) => {
                let sum = whole.checked_add(number);
                whole = sum.ok_or_else(|| place::refused("sum", "the sum is too large", value, render))?;
            }
            other => {
                fraction += other.as_float();
                is_whole = false;
            }
        }
    }
    let sum =
        if is_whole { Number::Integer(whole) } else { Number::Float(Number::Integer(whole).as_float() + fraction) };
    given(sum).ok_or_else(|| place::refused("sum", "the sum is too large", value, render))
}

/// The smallest number; undefined in an empty list.
fn min(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    extreme(value, "min", arguments, render, Ordering::Less)
}

/// The largest number; undefined in an empty list.
fn max(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    extreme(value, "max", arguments, render, Ordering::Greater)
}

/// A number, but not below `min=` and not above `max=`.
fn clamp(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let bound = |name| {
        let bound = arguments.value(name)?;
        bound.map(|bound| number(bound).map_err(|why| arguments.refused(name, &why))).transpose()
    };
    let (min, max) = (bound("min")?, bound("max")?);
    if let (Some(min), Some(max)) = (min, max)
        && compare(&min, &max).is_gt()
    {
        return Err(arguments.refused("min", "it is larger than `max`"));
    }
    let mut number = read(value, "clamp", render)?;
    if let Some(min) = min.filter(|min| compare(&number, min).is_lt()) {
        number = min;
    }
    if let Some(max) = max.filter(|max| compare(&number, max).is_gt()) {
        number = max;
    }
    given(number).ok_or_else(|| place::refused("clamp", "it is no number", value, render))
}

/// A whole number, the multiple of `multiple=` next to a number.
fn round_to(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let multiple = whole_argument(arguments, "multiple")?;
    if multiple <= 0 {
        return Err(arguments.refused("multiple", "it is a number from 1"));
    }
    let method = arguments
        .text("method", render)?
        .map_or(Ok(Method::Common), |method| arguments.one_of("method", method, METHODS))?;
    let number = whole_number(value, "round_to")?;
    let why = "it is no whole number, which `round` makes of it";
    let number = number.ok_or_else(|| place::refused("round_to", why, value, render))?;
    let rounded = round(number, multiple, method).and_then(|number| given(Number::Integer(number)));
    rounded.ok_or_else(|| place::refused("round_to", "it is too large", value, render))
}

fn extreme(
    value: &Value,
    filter: &str,
    arguments: &Arguments<'_>,
    render: &Render,
    wanted: Ordering,
) -> Result<Value, Stop> {
    let mut found: Option<Number> = None;
    for item in input::items(value, filter, arguments, render)? {
        let number = item.read(filter, render, number)?;
        if found.is_none_or(|found| compare(&number, &found) == wanted) {
            found = Some(number);
        }
    }
    Ok(found.and_then(given).unwrap_or_else(Value::undefined))
}

/// What is before `multiple`, behind it, or next to it; in the middle away from 0, as `round` does.
fn round(number: i128, multiple: i128, method: Method) -> Option<i128> {
    let above = number.rem_euclid(multiple);
    let up = match method {
        Method::Floor => false,
        Method::Ceil => above > 0,
        Method::Common => match above.cmp(&(multiple - above)) {
            Ordering::Less => false,
            Ordering::Equal => number > 0,
            Ordering::Greater => true,
        },
    };
    if up { number.checked_add(multiple - above) } else { number.checked_sub(above) }
}

fn read(value: &Value, filter: &str, render: &Render) -> Result<Number, Stop> {
    if value.as_str().is_none() && !value.is_number() {
        return Err(wrong(value, filter, "a number, or text that is one"));
    }
    number(value).map_err(|why| place::refused(filter, &why, value, render))
}

/// A number, or a text that is one.
fn number(value: &Value) -> Result<Number, Why> {
    let number = match value.as_str().map(str::trim) {
        Some(text) => text.parse().map(Number::Integer).or_else(|_| text.parse().map(Number::Float)).ok(),
        None => value.as_number(),
    };
    let finite = |number: &Number| number.is_integer() || number.as_float().is_finite();
    number.filter(finite).ok_or_else(|| "it is no number".to_owned())
}

fn compare(left: &Number, right: &Number) -> Ordering {
    left.partial_cmp(right).unwrap_or(Ordering::Equal)
}

fn given(number: Number) -> Option<Value> {
    match number {
        Number::Integer(number) => Some(i64::try_from(number).map_or_else(|_| Value::from(number), Value::from)),
        number => Some(number.as_float()).filter(|number| number.is_finite()).map(Value::from),
    }
}
