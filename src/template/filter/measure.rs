//! Durations and sizes: numbers with units.

use std::time::Duration;

use tera::Value;

use super::super::arguments::Arguments;
use super::super::entry::{Entry, Group, optional, or};
use super::super::record::{Render, Stop};
use super::input::{Why, read_or_default, trimmed, whole_number};
use super::{Filter, place};

/// Durations and sizes.
pub(super) const MEASURES: Group<Filter> = Group {
    name: "Durations and sizes",
    entries: &[
        Filter::new(
            from_duration,
            Entry {
                name: "from_duration",
                arguments: &[or("unit", r#""s""#), optional("default")],
                takes: "text",
                gives: "the number of seconds in a duration such as `1h30m`; a unit is needed, but for `0`; `unit` says what is counted: `ns`, `us`, `ms`, `s`, `m`, `h` or `d`",
                empty: "`default`, else fails",
                example: r#"{{ "1h30m" | from_duration }}"#,
                output: "5400",
            },
        ),
        Filter::new(
            to_duration,
            Entry {
                name: "to_duration",
                arguments: &[or("unit", r#""s""#)],
                takes: "text, number",
                gives: "a duration such as `90m`; of one unit, the largest of `h`, `m`, `s`, `ms` that needs no fraction, as nginx, HAProxy, systemd and programs in Go read it",
                empty: "fails; `0s` for 0",
                example: "{{ 5400 | to_duration }}",
                output: "90m",
            },
        ),
        Filter::new(
            from_size,
            Entry {
                name: "from_size",
                arguments: &[optional("base"), optional("default")],
                takes: "text, number",
                gives: "the number of bytes in a size such as `10MiB`; also `10Mi` (of 1024 as well), `10MB` (of 1000), and bytes without a unit; `base` (1000 or 1024) says what `10k`, `10m`, `10g` are, which fail without it",
                empty: "`default`, else fails",
                example: r#"{{ "10MiB" | from_size }} {{ "10m" | from_size(base=1024) }}"#,
                output: "10485760 10485760",
            },
        ),
    ],
};

/// What durations are counted in, and how many nanoseconds that is.
const TIMES: &[(&str, u128)] = &[
    ("s", 1_000_000_000),
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// The units that nginx, `HAProxy`, systemd, Prometheus and programs in Go all read, the largest first.
const WRITTEN: &[&str] = &["h", "m", "s", "ms"];

/// What sizes are counted in. Of what is not listed, programs think differently.
const SIZES: &[(&str, u128)] = &[
    ("", 1),
    ("b", 1),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("ki", 1 << 10),
    ("mi", 1 << 20),
    ("gi", 1 << 30),
    ("ti", 1 << 40),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

/// The letters that are powers of 1000 to some programs and of 1024 to others.
const LETTERS: &[(&str, u32)] = &[("k", 1), ("m", 2), ("g", 3), ("t", 4)];

/// A duration such as `1h30m` as a whole number of `unit=`.
fn from_duration(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let text = trimmed(value, "from_duration")?;
    let unit = unit(arguments, render)?;
    let number = duration(text).and_then(|duration| {
        let nanoseconds = duration.as_nanos();
        if nanoseconds % unit == 0 {
            whole(nanoseconds / unit)
        } else {
            Err("it is no whole number of this `unit`; a smaller one, such as `ms`, gives all of it".into())
        }
    });
    read_or_default(number, value, "from_duration", arguments, render)
}

/// A number of `unit=` as a duration with one unit, the largest that needs no fraction.
fn to_duration(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let number = whole_number(value, "to_duration")?.and_then(|number| u64::try_from(number).ok());
    let number = number.ok_or_else(|| place::refused("to_duration", "it is no whole number from 0", value, render))?;
    let nanoseconds = u128::from(number) * unit(arguments, render)?;
    if nanoseconds == 0 {
        return Ok(Value::from("0s"));
    }
    let mut units = WRITTEN.iter().filter_map(|name| TIMES.iter().find(|(unit, _)| unit == name));
    match units.find(|(_, unit)| nanoseconds % unit == 0) {
        Some((name, unit)) => Ok(Value::from(format!("{}{name}", nanoseconds / unit))),
        None => Err(place::refused("to_duration", "it is no whole number of milliseconds", value, render)),
    }
}

/// A size such as `10MiB` in bytes. `base=` says what `k`, `m`, `g` and `t` alone are powers of.
fn from_size(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let base = match arguments.count("base")? {
        None => None,
        Some(base @ (1000 | 1024)) => Some(base.into()),
        Some(_) => return Err(arguments.refused("base", "it is 1000 or 1024")),
    };
    let read = if let Some(text) = value.as_str() {
        size(text.trim(), base)
    } else {
        let number = whole_number(value, "from_size")?.and_then(|number| u128::try_from(number).ok());
        number.ok_or_else(|| "it is no whole number from 0".into())
    };
    let read = read.and_then(whole);
    read_or_default(read, value, "from_size", arguments, render)
}

fn unit(arguments: &Arguments<'_>, render: &Render) -> Result<u128, Stop> {
    arguments.text("unit", render)?.map_or(Ok(TIMES[0].1), |unit| arguments.one_of("unit", unit, TIMES))
}

fn whole(number: u128) -> Result<Value, Why> {
    u64::try_from(number).map(Value::from).map_err(|_| "it is too large".into())
}

/// A duration, written as those of the configuration are, but without their bound.
fn duration(text: &str) -> Result<Duration, Why> {
    use humantime::DurationError as Error;
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    // The library takes `M` for a month, which nobody means here.
    if let Some(at) = text.find('M') {
        return Err(format!("it has an `M` at byte {at}; a minute is `m`"));
    }
    humantime::parse_duration(text).map_err(|error| match error {
        Error::InvalidCharacter(at) | Error::NumberExpected(at) => {
            format!("it is no duration such as `1h30m`, from byte {at} on")
        }
        Error::UnknownUnit { start, .. } if start < text.len() => {
            format!("there is no such unit as at byte {start}")
        }
        Error::UnknownUnit { .. } => "its unit is missing, such as `s` or `ms`".into(),
        Error::NumberOverflow => "it is too large".into(),
        Error::Empty => "it is no duration such as `1h30m`".into(),
    })
}

fn size(text: &str, base: Option<u128>) -> Result<u128, Why> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = (&text[..digits], text[digits..].trim_start().to_ascii_lowercase());
    if number.is_empty() {
        return Err("it does not begin with a digit".into());
    }
    let number = number.parse::<u128>().ok();
    let factor = match SIZES.iter().find(|(name, _)| *name == unit) {
        Some((_, factor)) => *factor,
        None => match (LETTERS.iter().find(|(letter, _)| *letter == unit), base) {
            (Some((_, power)), Some(base)) => base.pow(*power),
            (Some(_), None) => {
                return Err("its unit may be a power of 1000 or of 1024; `base=` says which".into());
            }
            (None, _) => return Err(format!("there is no such unit as at byte {digits}")),
        },
    };
    number.and_then(|number| number.checked_mul(factor)).ok_or_else(|| "it is too large".into())
}
