//! Filters that make a value safe for its place in a file. Registry values are hostile: these fail the render rather
//! than let a value inject configuration.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};

use tera::Value;

use super::super::arguments::Arguments;
use super::super::entry::{Entry, Group, optional, or};
use super::super::error::Failure;
use super::super::near::quoted;
use super::super::record::{Render, Stop};
use super::{Filter, text_of, text_or_number, wrong};

/// What makes a value safe for its place in a file.
pub(super) const PLACES: Group<Filter> = Group {
    name: "What makes a value safe for its place",
    entries: &[
        Filter::new(
            ip,
            Entry {
                name: "ip",
                arguments: &[optional("version")],
                takes: "text",
                gives: "an IP address; of `version` 4 or 6",
                empty: "fails",
                example: r#"{{ "2001:DB8::1" | ip }}"#,
                output: "2001:db8::1",
            },
        ),
        Filter::new(
            host,
            Entry {
                name: "host",
                arguments: &[],
                takes: "text",
                gives: "a host name or address, IPv6 in brackets",
                empty: "fails",
                example: r#"{{ "::1" | host }}"#,
                output: "[::1]",
            },
        ),
        Filter::new(
            port,
            Entry {
                name: "port",
                arguments: &[],
                takes: "text, number",
                gives: "a port from 1 to 65535",
                empty: "fails; so for 0",
                example: r#"{{ "80" | port }}"#,
                output: "80",
            },
        ),
        Filter::new(
            token,
            Entry {
                name: "token",
                arguments: &[or("extra", r#""""#)],
                takes: "text, number",
                gives: "letters, digits, `.`, `_`, `-`, and what `extra` holds; no `-` at its beginning, as options have, but for a number",
                empty: "fails",
                example: r#"{{ "a/b" | token(extra="/") }}"#,
                output: "a/b",
            },
        ),
        Filter::new(
            nginx_quote,
            Entry {
                name: "nginx_quote",
                arguments: &[],
                takes: "text, number",
                gives: "text in double quotes for nginx; no `$`, which would begin a variable, no control character",
                empty: r#"`""`"#,
                example: r#"{{ 'a "b";' | nginx_quote }}"#,
                output: r#""a \"b\";""#,
            },
        ),
        Filter::new(
            haproxy_quote,
            Entry {
                name: "haproxy_quote",
                arguments: &[optional("log_format")],
                takes: "text, number",
                gives: "text in single quotes for HAProxy; no `'`, no control character; no `%` unless `log_format` says whether one begins an expression there (`true`: it is doubled) or not",
                empty: "`''`",
                example: r#"{{ "5% b" | haproxy_quote(log_format=false) }}"#,
                output: "'5% b'",
            },
        ),
        Filter::new(
            shell_quote,
            Entry {
                name: "shell_quote",
                arguments: &[],
                takes: "text, number",
                gives: "text in single quotes for a POSIX shell; no control character but a tab",
                empty: "`''`",
                example: r#"{{ "it's $x" | shell_quote }}"#,
                output: r"'it'\''s $x'",
            },
        ),
    ],
};

/// An IP address, of `version=` 4 or 6 if that is given.
pub(super) fn ip(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let text = text_of(value, "ip")?;
    let refused = |why: &str| refused("ip", why, value, render);
    let address: IpAddr = text.parse().map_err(|_| refused("it is no IP address"))?;
    match arguments.count("version")? {
        Some(4) if !address.is_ipv4() => Err(refused("it is no IPv4 address")),
        Some(6) if !address.is_ipv6() => Err(refused("it is no IPv6 address")),
        None | Some(4 | 6) => Ok(Value::from(address.to_string())),
        Some(_) => Err(arguments.refused("version", "it is 4 or 6")),
    }
}

/// A port from 1 to 65535.
pub(super) fn port(value: &Value, _: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let number = match value.as_str() {
        Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        Some(_) => None,
        None if value.is_number() => value.as_u64().and_then(|number| u16::try_from(number).ok()),
        None => return Err(wrong(value, "port", "a number or text")),
    };
    match number {
        Some(number) if number > 0 => Ok(Value::from(number)),
        _ => Err(refused("port", "it is no port from 1 to 65535", value, render)),
    }
}

/// A host name or an IP address; an IPv6 address comes out in brackets, so that a port can follow.
pub(super) fn host(value: &Value, _: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let text = text_of(value, "host")?;
    let unwrapped = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    if let Ok(address) = unwrapped.unwrap_or(text).parse::<Ipv6Addr>() {
        return Ok(Value::from(format!("[{address}]")));
    }
    if is_host_name(text) {
        return Ok(Value::from(text));
    }
    Err(refused("host", "it is no host name or address", value, render))
}

/// RFC 1123 names, with the underscore that real names have; IPv4 addresses are among them.
fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.strip_suffix('.').unwrap_or(text).split('.').all(label)
}

/// A word that needs no quotes anywhere: letters, digits, `.`, `_`, `-`, and the characters in `extra=`. A text does not
/// begin with `-`, so that no program takes it for an option.
pub(super) fn token(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let extra = arguments.text("extra", render)?.unwrap_or_default();
    let text = match value.as_str() {
        Some(text) => text,
        None if value.is_number() => return Ok(Value::from(value.to_string())),
        None => return Err(wrong(value, "token", "text or a number")),
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c) || extra.contains(c);
    // What a template does not hold as it is may be a value.
    let stranger = text.chars().find(|&c| !fits(c)).filter(|_| render.is_written(text));
    let named =
        stranger.map(|c| format!("it has a {}, and takes letters, digits, `.`, `_` and `-`", quoted(&c.to_string())));
    let why = if let Some(named) = &named {
        named
    } else if text.is_empty() || !text.chars().all(fits) {
        "it is empty or has other characters than letters, digits, `.`, `_` and `-`"
    } else if text.starts_with('-') && text.parse::<f64>().is_err() {
        "it begins with `-`, as options do"
    } else {
        return Ok(Value::from(text));
    };
    Err(refused("token", why, value, render))
}

/// A text in double quotes for nginx, which reads `\"`, `\\`, `\t`, `\r` and `\n` in them (`ngx_conf_read_token`). A `$`
/// would begin a variable and cannot be escaped, so it is refused, as control characters are.
pub(super) fn nginx_quote(value: &Value, _: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let text = printable(value, "nginx_quote", render)?;
    if text.contains('$') {
        return Err(refused("nginx_quote", "it holds a `$`, which nginx would read as a variable", value, render));
    }
    Ok(Value::from(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))))
}

/// A text in single quotes for `HAProxy`, in which nothing has a meaning (configuration manual, 2.2). A single quote
/// in it and control characters are refused. A `%` begins an expression where a log format is taken (8.2.4), such as
/// `%[env(NAME)]`, and is a `%` elsewhere: `log_format=` says which of the two it is.
pub(super) fn haproxy_quote(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let text = printable(value, "haproxy_quote", render)?;
    if text.contains('\'') {
        return Err(refused("haproxy_quote", "it holds a single quote", value, render));
    }
    let is_format = match arguments.value("log_format")? {
        None if text.contains('%') => {
            let hint =
                "`log_format=true` doubles it, for a place that takes a log format; `log_format=false` lets it be";
            let why = "it holds a `%`, which begins an expression in a log format";
            return Err(refusal("haproxy_quote", why, value, render).hint(hint).into());
        }
        None => false,
        Some(_) => arguments.flag("log_format")?,
    };
    Ok(Value::from(if is_format { format!("'{}'", text.replace('%', "%%")) } else { format!("'{text}'") }))
}

/// A text in single quotes for a POSIX shell, in which nothing has a meaning; a single quote in it stands outside of
/// them, behind a backslash (POSIX.1, XCU 2.2.2). Control characters are refused, but for a tab.
pub(super) fn shell_quote(value: &Value, _: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let text = text_or_number(value, "shell_quote")?;
    if text.chars().any(|c| c.is_control() && c != '\t') {
        return Err(refused("shell_quote", "it holds a control character", value, render));
    }
    Ok(Value::from(format!("'{}'", text.replace('\'', "'\\''"))))
}

/// A text without control characters, or a number.
pub(super) fn printable<'v>(value: &'v Value, filter: &str, render: &Render) -> Result<Cow<'v, str>, Stop> {
    let text = text_or_number(value, filter)?;
    if text.chars().any(char::is_control) {
        return Err(refused(filter, "it holds a control character", value, render));
    }
    Ok(text)
}

/// The failure of a filter whose input may not stand in its place, with where that came from.
fn refusal(filter: &str, why: &str, value: &Value, render: &Render) -> Failure {
    if let Some(text) = value.as_str() {
        render.note_refused(text);
    }
    let origin = render.origin(value).map(|origin| format!(": {origin}")).unwrap_or_default();
    Failure::new(format!("`{filter}` refuses what it was given: {why}{origin}"))
}

/// The failure of a filter that refuses its input, with where that came from.
pub(super) fn refused(filter: &str, why: &str, value: &Value, render: &Render) -> Stop {
    refusal(filter, why, value, render).into()
}
