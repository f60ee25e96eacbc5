//! Points in time. The clock is never asked: a template that depends on it would be rendered for ever.

use std::sync::LazyLock;

use jiff::civil::DateTime;
use jiff::fmt::strtime::{self, BrokenDownTime};
use jiff::tz::{Offset, TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, Zoned};
use tera::Value;

use super::super::arguments::Arguments;
use super::super::entry::{Entry, Group, optional, or};
use super::super::record::{Render, Stop};
use super::input::{Why, read_or_default, trimmed, whole_number};
use super::{Filter, place};

/// Points in time.
pub(super) const DATES: Group<Filter> = Group {
    name: "Dates",
    entries: &[
        Filter::new(
            from_date,
            Entry {
                name: "from_date",
                arguments: &[optional("format"), optional("timezone"), or("unit", r#""s""#), optional("default")],
                takes: "text",
                gives: "the Unix time of a time in the form of RFC 3339; or in another `format`, as of `strftime`; `timezone` is needed where the text does not say how far it is from UTC; `unit` is `s`, `ms`, `us` or `ns`",
                empty: "`default`, else fails",
                example: r#"{{ "31.01.2026 09:00" | from_date(format="%d.%m.%Y %H:%M", timezone="Europe/Berlin") }}"#,
                output: "1769846400",
            },
        ),
        Filter::new(
            to_date,
            Entry {
                name: "to_date",
                arguments: &[optional("format"), or("timezone", r#""UTC""#), or("unit", r#""s""#)],
                takes: "text, number",
                gives: "a Unix time in the form of RFC 3339; or in another `format`, as of `strftime`, with names in English",
                empty: "fails; 1970 for 0",
                example: r#"{{ 1769846400 | to_date }} {{ 1769846400 | to_date(format="%d %b %Y %H:%M", timezone="-05:00") }}"#,
                output: "2026-01-31T08:00:00Z 31 Jan 2026 03:00",
            },
        ),
    ],
};

/// The time zones that are in the program, not those of the machine: a container often has none, and the bytes of a
/// file should not depend on the age of another package.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// What Unix times may be counted in, and how many nanoseconds that is.
const UNITS: &[(&str, i128)] = &[("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000), ("ns", 1)];

/// The Unix time of a time that is written with its distance from UTC, or in `timezone=`.
fn from_date(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let text = trimmed(value, "from_date")?;
    let format = arguments.text("format", render)?;
    let zone = arguments.text("timezone", render)?.map(|name| zone(name, arguments)).transpose()?;
    let nanoseconds = unit(arguments, render)?;
    if let Some(format) = format {
        check(format, arguments)?;
    }
    let read = time(text, format, zone).map(|time| {
        // A part of a second is cut off towards the past, also before 1970.
        let whole = time.as_nanosecond().div_euclid(nanoseconds);
        i64::try_from(whole).map_or_else(|_| Value::from(whole), Value::from)
    });
    read_or_default(read, value, "from_date", arguments, render)
}

/// A Unix time as text, in the form of RFC 3339 or another one.
fn to_date(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let number = whole_number(value, "to_date")?;
    let zone = arguments.text("timezone", render)?.map_or(Ok(TimeZone::UTC), |name| zone(name, arguments))?;
    let nanoseconds = unit(arguments, render)?;
    let format = arguments.text("format", render)?;
    format.map_or(Ok(()), |format| check(format, arguments))?;
    let time = number
        .ok_or("it is no whole number")
        .and_then(|number| number.checked_mul(nanoseconds).ok_or("it is too far away"))
        .and_then(|number| Timestamp::from_nanosecond(number).map_err(|_| "it is too far away"))
        .map_err(|why| place::refused("to_date", why, value, render))?;
    let text = match format {
        None if zone == TimeZone::UTC => Ok(time.to_string()),
        None => strtime::format("%Y-%m-%dT%H:%M:%S%.f%:z", &time.to_zoned(zone)),
        Some(format) => strtime::format(format, &time.to_zoned(zone)),
    };
    text.map(Value::from).map_err(|_| arguments.refused("format", FORMAT))
}

const FORMAT: &str = "it is no format such as `%Y-%m-%d %H:%M:%S`";

/// Whether a format is one: what it is given to read may be wrong as well.
fn check(format: &str, arguments: &Arguments<'_>) -> Result<(), Stop> {
    // The layouts of Go are none, and would be written as they stand.
    if !format.contains('%') {
        let refusal = arguments.refusal("format", "nothing in it begins with `%`, so it would give itself");
        return Err(refusal.hint("a date is `%Y-%m-%d`, a time `%H:%M:%S`, as of `strftime`").into());
    }
    let any = Zoned::new(Timestamp::UNIX_EPOCH, TimeZone::UTC);
    strtime::format(format, &any).map(drop).map_err(|_| arguments.refused("format", FORMAT))
}

fn unit(arguments: &Arguments<'_>, render: &Render) -> Result<i128, Stop> {
    arguments.text("unit", render)?.map_or(Ok(UNITS[0].1), |unit| arguments.one_of("unit", unit, UNITS))
}

/// A time zone by its name, such as `Europe/Berlin`, or by its distance from UTC, such as `+02:00`.
fn zone(name: &str, arguments: &Arguments<'_>) -> Result<TimeZone, Stop> {
    if name.starts_with(['+', '-']) {
        return offset(name).ok_or_else(|| arguments.refused("timezone", "it is no offset such as `+02:00`"));
    }
    ZONES.get(name).map_err(|_| {
        let refusal = arguments.refusal("timezone", "there is no time zone of this name");
        refusal.hint("names are such as `UTC`, `Europe/Berlin`; `+02:00` is an offset").into()
    })
}

fn offset(text: &str) -> Option<TimeZone> {
    let (hours, minutes) = text[1..].split_once(':')?;
    let number = |digits: &str| {
        let plain = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| digits.parse::<i32>().ok()).flatten()
    };
    let seconds = number(hours)? * 3600 + number(minutes).filter(|minutes| *minutes < 60)? * 60;
    let signed = if text.starts_with('-') { -seconds } else { seconds };
    // Further than 14 hours from UTC nobody lives.
    let offset = Offset::from_seconds(signed).ok().filter(|_| seconds <= 14 * 3600)?;
    Some(TimeZone::fixed(offset))
}

/// A time as it is written. One that a change of the clock skips or repeats is taken as RFC 5545 says: as if the clock
/// had not been changed yet, and the first of the two.
fn time(text: &str, format: Option<&str>, zone: Option<TimeZone>) -> Result<Timestamp, Why> {
    let needs_zone = || "it does not say how far it is from UTC, so `timezone=` is needed".to_owned();
    let in_zone = |local: DateTime, zone: Option<TimeZone>| {
        let time = zone.ok_or_else(needs_zone)?.to_ambiguous_timestamp(local).compatible();
        time.map_err(|_| "it is too far away".to_owned())
    };
    let Some(format) = format else {
        let other = || "it is no time such as `2026-01-31T08:00:00Z`".to_owned();
        // What stands in brackets (RFC 9557) would be passed over.
        if text.contains('[') {
            return Err(other());
        }
        return match text.parse() {
            Ok(time) => Ok(time),
            Err(_) => in_zone(text.parse().map_err(|_| other())?, zone),
        };
    };
    let parts = strtime::parse(format, text).map_err(|_| "it does not have the format".to_owned())?;
    if let Ok(time) = parts.to_timestamp() {
        return Ok(time);
    }
    let named = parts.iana_time_zone().map(|name| ZONES.get(name)).transpose();
    let named = named.map_err(|_| "it names a time zone that there is not".to_owned())?;
    in_zone(local(&parts)?, named.or(zone))
}

/// The date with the time of day, which is midnight where the format has none.
fn local(parts: &BrokenDownTime) -> Result<DateTime, Why> {
    let date = parts.to_date().map_err(|_| "its format gives no date, or one that there is not".to_owned())?;
    let time = match parts.hour() {
        None => jiff::civil::Time::midnight(),
        Some(_) => parts.to_time().map_err(|_| "its format gives no time of day".to_owned())?,
    };
    Ok(date.to_datetime(time))
}
