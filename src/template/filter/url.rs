//! URLs, their parts, and the encoding of what stands in them.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use tera::value::Key;
use tera::{Map, Value};
use url::{Host, Url};

use super::super::arguments::Arguments;
use super::super::entry::{Entry, Group, optional, or};
use super::super::record::{Render, Stop};
use super::input::{Why, read_or_default};
use super::{Filter, complete, place, refused, text_of, wrong};

/// URLs.
pub(super) const URLS: Group<Filter> = Group {
    name: "URLs",
    entries: &[
        Filter::new(
            from_url,
            Entry {
                name: "from_url",
                arguments: &[optional("default")],
                takes: "text",
                gives: "map of the parts of a URL; `scheme`, `username`, `password`, `host`, `port`, `endpoint`, `path`, `query`, `fragment`, each empty, or 0, where there is none; read as browsers do, which know the port of `http` and `https`",
                empty: "`default`, else fails",
                example: r#"{% set url = "postgres://app:p%40s@db.local:5432/shop" | from_url %}{{ url.endpoint }} {{ url.password }} {{ url.path }}"#,
                output: "db.local:5432 p@s /shop",
            },
        ),
        Filter::new(
            from_query,
            Entry {
                name: "from_query",
                arguments: &[or("lists", "false"), optional("default")],
                takes: "text",
                gives: "map of the names and values of a query string, sorted; a name that comes twice fails, unless `lists=true` makes a list of the values of each",
                empty: "`{}`",
                example: r#"{{ "b=2&a=x%20y" | from_query }}"#,
                output: r#"{"a": "x y", "b": "2"}"#,
            },
        ),
        Filter::new(
            to_query,
            Entry {
                name: "to_query",
                arguments: &[],
                takes: "map",
                gives: "the query string of a map, sorted; the items of a list come each with the name",
                empty: "empty text",
                example: r#"{{ {"b": [1, 2], "a": "x y"} | to_query }}"#,
                output: "a=x%20y&b=1&b=2",
            },
        ),
        Filter::new(
            url_encode,
            Entry {
                name: "url_encode",
                arguments: &[or("extra", r#""""#)],
                takes: "text, number",
                gives: "a text encoded for a URL; letters, digits, `-._~` and what `extra` holds stay",
                empty: "empty text",
                example: r#"{{ "a b/c" | url_encode(extra="/") }}"#,
                output: "a%20b/c",
            },
        ),
        Filter::new(
            url_decode,
            Entry {
                name: "url_decode",
                arguments: &[or("plus", "false")],
                takes: "text",
                gives: "a text without this encoding; with `plus=true` a `+` is a space",
                empty: "empty text",
                example: r#"{{ "a%20b" | url_decode }}"#,
                output: "a b",
            },
        ),
    ],
};

/// What is encoded: all but the unreserved characters of RFC 3986, 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The parts of a URL that has a host or, as `file:///a` has, an empty one.
fn from_url(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    read_or_default(parts(text_of(value, "from_url")?), value, "from_url", arguments, render)
}

/// The names and values of a query string.
fn from_query(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let lists = arguments.flag("lists")?;
    let read = pairs(text_of(value, "from_query")?).and_then(|pairs| map(pairs, lists));
    read_or_default(read, value, "from_query", arguments, render)
}

/// The query string of a map, with a name for every item of a list.
fn to_query(value: &Value, _: &Arguments<'_>, _: &Render) -> Result<Value, Stop> {
    let map = value.as_map().ok_or_else(|| wrong(value, "to_query", "a map"))?;
    complete(value, "to_query")?;
    let mut pairs: Vec<(String, &Value)> = map.iter().map(|(name, value)| (name.to_string(), value)).collect();
    pairs.sort_by(|(left, _), (right, _)| left.cmp(right));
    let mut query = String::new();
    for (name, value) in &pairs {
        let one = std::slice::from_ref(*value);
        for value in value.as_array().unwrap_or(one) {
            if value.as_map().is_some() || value.as_array().is_some() || value.is_none() {
                return Err(refused(
                    "to_query",
                    "the value of a name is text, a number, true or false, or a list of these",
                ));
            }
            let between = if query.is_empty() { "" } else { "&" };
            query.extend([between, &encoded(name, ""), "=", &encoded(&value.to_string(), "")]);
        }
    }
    Ok(Value::from(query))
}

/// A text with all that means something in a URL encoded; the characters of `extra=` stay.
fn url_encode(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let extra = arguments.text("extra", render)?.unwrap_or_default();
    let text = match value.as_str() {
        Some(text) => text.to_owned(),
        None if value.is_number() => value.to_string(),
        None => return Err(wrong(value, "url_encode", "text or a number")),
    };
    Ok(Value::from(encoded(&text, extra)))
}

/// A text without the encoding. A `+` stays one, but for `plus=true`, where it is a space as in a query string.
fn url_decode(value: &Value, arguments: &Arguments<'_>, render: &Render) -> Result<Value, Stop> {
    let (text, plus) = (text_of(value, "url_decode")?, arguments.flag("plus")?);
    decoded(text, plus).map(Value::from).map_err(|why| place::refused("url_decode", &why, value, render))
}

fn encoded(text: &str, extra: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(|c| extra.contains(c)) {
        let kept = rest[at..].chars().next().map_or(0, char::len_utf8);
        encoded.extend(utf8_percent_encode(&rest[..at], RESERVED));
        encoded.push_str(&rest[at..at + kept]);
        rest = &rest[at + kept..];
    }
    encoded.extend(utf8_percent_encode(rest, RESERVED));
    encoded
}

fn decoded(text: &str, plus: bool) -> Result<String, Why> {
    let bytes = text.as_bytes();
    let bad = |at: &usize| {
        bytes[*at] == b'%' && !bytes.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
    };
    if let Some(at) = (0..bytes.len()).find(bad) {
        return Err(format!("there are no two hexadecimal digits behind the `%` at byte {at}"));
    }
    let spaced = if plus { text.replace('+', " ") } else { text.to_owned() };
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded.map(Into::into).map_err(|_| "what it encodes is not UTF-8".to_owned())
}

fn parts(text: &str) -> Result<Value, Why> {
    // The library would leave these out without a word, and read what remains.
    if let Some(at) = text.find(|c: char| c.is_control() || c == ' ' || c == '\\') {
        return Err(format!("it has a space, a backslash or a control character at byte {at}"));
    }
    let Some((scheme, _)) = text.split_once("://") else {
        return Err("there is no `://` behind its scheme".into());
    };
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err("it does not begin with a scheme such as `https`".into());
    }
    let url = Url::parse(text).map_err(|error| match error {
        url::ParseError::InvalidPort => "its port is none",
        url::ParseError::EmptyHost => "it has no host",
        _ => "its host is none",
    })?;
    // A host of another scheme than the web's is kept as it is written.
    let (host, bracketed) = match url.host() {
        Some(Host::Ipv6(ip)) => (ip.to_string(), format!("[{ip}]")),
        Some(host) => (host.to_string(), host.to_string()),
        None => (String::new(), String::new()),
    };
    let port = url.port_or_known_default().unwrap_or_default();
    let endpoint = if port == 0 { bracketed } else { format!("{bracketed}:{port}") };
    let parts = [
        ("scheme", Value::from(url.scheme())),
        ("username", decoded_part(url.username(), "user name")?),
        ("password", decoded_part(url.password().unwrap_or_default(), "password")?),
        ("host", Value::from(host)),
        ("port", Value::from(port)),
        ("endpoint", Value::from(endpoint)),
        ("path", Value::from(url.path())),
        ("query", Value::from(url.query().unwrap_or_default())),
        ("fragment", Value::from(url.fragment().unwrap_or_default())),
    ];
    Ok(Value::from(parts.into_iter().map(|(name, part)| (name.into(), part)).collect::<Map>()))
}

fn decoded_part(text: &str, part: &str) -> Result<Value, Why> {
    decoded(text, false).map(Value::from).map_err(|_| format!("its {part} has a `%` that encodes nothing"))
}

/// The names and values of a query string, decoded.
fn pairs(query: &str) -> Result<Vec<(String, String)>, Why> {
    let query = query.strip_prefix('?').unwrap_or(query);
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).enumerate().map(|(index, pair)| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let place = |why| format!("pair {}: {why}", index + 1);
        Ok((decoded(name, true).map_err(place)?, decoded(value, true).map_err(place)?))
    });
    pairs.collect()
}

/// A map of the pairs, sorted; with `lists` every value is a list of all that its name is given.
fn map(pairs: Vec<(String, String)>, lists: bool) -> Result<Value, Why> {
    let mut found: std::collections::BTreeMap<String, Vec<Value>> = std::collections::BTreeMap::new();
    for (index, (name, value)) in pairs.into_iter().enumerate() {
        let values = found.entry(name).or_default();
        if !lists && !values.is_empty() {
            return Err(format!("pair {} has a name that was there before; `lists=true` gives all of them", index + 1));
        }
        values.push(Value::from(value));
    }
    let value = |mut values: Vec<Value>| match values.pop() {
        Some(only) if !lists => only,
        last => Value::from(values.into_iter().chain(last).collect::<Vec<_>>()),
    };
    let entries = found.into_iter().map(|(name, values)| (Key::String(name.into()), value(values)));
    Ok(Value::from(entries.collect::<Map>()))
}
