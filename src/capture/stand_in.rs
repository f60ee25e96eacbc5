//! Stand-ins: what takes the place of a secret value, of the same kind, so that templates go the same way.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::registry::Text;

/// The host that no name server knows (RFC 2606).
const HOST: &str = "stand-in.invalid";

/// What stands in for the value of a key. It tells nothing of the value but its kind, and names the key where it can, so
/// that a rendered file shows that the right secret is in the right place.
pub(super) fn stand_in(key: &str, value: &Text) -> Text {
    let name = name_of(key);
    match std::str::from_utf8(&value.0) {
        Ok(text) => Text(of_text(&name, text).into()),
        // Bytes that are no text stay bytes that are none.
        Err(_) => Text([b"\xff", name.as_bytes()].concat().into()),
    }
}

/// `stand-in-app-db-password` for `app/db/password`.
fn name_of(key: &str) -> String {
    let mut name = String::from("stand-in");
    for part in key.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty()) {
        name.push('-');
        name.push_str(part);
    }
    name
}

fn of_text(name: &str, text: &str) -> String {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return text.to_owned();
    }
    let end = if text.ends_with('\n') { "\n" } else { "" };
    of_line_or_lines(name, trimmed) + end
}

fn of_line_or_lines(name: &str, text: &str) -> String {
    if let Some(number) = of_number(text) {
        return number;
    }
    if matches!(text, "true" | "false") {
        return "true".to_owned();
    }
    if text.starts_with(['{', '['])
        && let Ok(json) = serde_json::from_str::<Value>(text)
    {
        return of_json(name, json).to_string();
    }
    if let Some(pem) = of_pem(name, text) {
        return pem;
    }
    if text.contains('\n') {
        // As many lines as there were.
        return (1..=text.lines().count()).map(|line| format!("{name}-{line}")).collect::<Vec<_>>().join("\n");
    }
    if text.parse::<std::net::Ipv4Addr>().is_ok() {
        // Both are for documentation alone (RFC 5737, RFC 3849).
        return "192.0.2.1".to_owned();
    }
    if text.parse::<std::net::Ipv6Addr>().is_ok() {
        return "2001:db8::1".to_owned();
    }
    if let Some((scheme, _)) = text.split_once("://").filter(|(scheme, _)| is_scheme(scheme)) {
        return format!("{scheme}://{HOST}/{name}");
    }
    if let Some((host, port)) = text.rsplit_once(':')
        && !host.is_empty()
        && port.parse::<u16>().is_ok()
    {
        return format!("{HOST}:{}", of_number(port).unwrap_or_default());
    }
    if text.len() >= 16 && BASE64_STANDARD.decode(text).is_ok() {
        return BASE64_STANDARD.encode(name);
    }
    name.to_owned()
}

/// A number with as many digits, each of them 1.
fn of_number(text: &str) -> Option<String> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_number = [whole, part].iter().all(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()));
    is_number.then(|| text.bytes().map(|byte| if byte.is_ascii_digit() { '1' } else { char::from(byte) }).collect())
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

/// The same keys with stand-ins for all that is below them.
fn of_json(name: &str, value: Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Bool(_) => Value::Bool(true),
        Value::Number(number) => {
            let number = number.to_string();
            let stand_in = of_number(&number).and_then(|number| serde_json::from_str(&number).ok());
            stand_in.unwrap_or_else(|| Value::from(1))
        }
        Value::String(text) => Value::String(of_text(name, &text)),
        Value::Array(items) => Value::Array(items.into_iter().map(|item| of_json(name, item)).collect()),
        Value::Object(members) => {
            let member = |(key, value): (String, Value)| {
                let value = of_json(&format!("{name}-{}", name_of(&key).trim_start_matches("stand-in-")), value);
                (key, value)
            };
            Value::Object(members.into_iter().map(member).collect())
        }
    }
}

/// The lines that say what it is, each with one line of a stand-in behind it that begins it. None where it is no PEM, or
/// is one on fewer lines than RFC 7468 asks for: whatever shares a line with those words may be the secret itself.
fn of_pem(name: &str, text: &str) -> Option<String> {
    let mut lines = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(label) = label_of("-----BEGIN ", line) {
            lines.extend([format!("-----BEGIN {label}-----"), BASE64_STANDARD.encode(name)]);
        } else if let Some(label) = label_of("-----END ", line) {
            lines.push(format!("-----END {label}-----"));
        } else if line.contains("-----") {
            return None;
        }
    }
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// What a line names that consists of `begin`, a label of capitals, digits and blanks, and the dashes that end it.
fn label_of<'line>(begin: &str, line: &'line str) -> Option<&'line str> {
    let label = line.strip_prefix(begin)?.strip_suffix("-----")?;
    let is_label = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b' ';
    (!label.is_empty() && label.bytes().all(is_label)).then_some(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_of_the_same_kind_and_tells_no_more() {
        for (value, expected) in [
            ("hunter2", "stand-in-db-pass"),
            ("hunter2\n", "stand-in-db-pass\n"),
            ("", ""),
            (" ", " "),
            ("5432", "1111"),
            ("-3.14", "-1.11"),
            ("false", "true"),
            ("a\nb\nc", "stand-in-db-pass-1\nstand-in-db-pass-2\nstand-in-db-pass-3"),
            ("10.1.2.3", "192.0.2.1"),
            ("fe80::1", "2001:db8::1"),
            ("postgres://me:hunter2@db:5432/x", "postgres://stand-in.invalid/stand-in-db-pass"),
            ("db.internal:5432", "stand-in.invalid:1111"),
            ("aHVudGVyMmh1bnRlcjI=", "c3RhbmQtaW4tZGItcGFzcw=="),
            (
                r#"{"user":"me","n":25,"deep":[{"on":false}],"none":null}"#,
                r#"{"user":"stand-in-db-pass-user","n":11,"deep":[{"on":true}],"none":null}"#,
            ),
            (
                "-----BEGIN X-----\nAAAA\nBBBB\n-----END X-----\n",
                "-----BEGIN X-----\nc3RhbmQtaW4tZGItcGFzcw==\n-----END X-----\n",
            ),
        ] {
            let text = stand_in("db/pass", &Text(value.to_owned().into()));
            assert_eq!(String::from_utf8(text.0.to_vec()).unwrap(), expected, "{value}");
        }
        let bytes = stand_in("db/pass", &Text(vec![0x80, 0x81].into()));
        assert!(std::str::from_utf8(&bytes.0).is_err());
    }

    #[test]
    fn of_a_pem_nothing_but_its_label_is_told() {
        let canary = "Q0FOQVJZ";
        for (value, expected) in [
            (r"-----BEGIN X-----\nQ0FOQVJZ\n-----END X-----", "stand-in-tls"),
            ("-----BEGIN X----- Q0FOQVJZ -----END X-----", "stand-in-tls"),
            ("-----BEGIN X-----Q0FOQVJZ-----END X-----\n", "stand-in-tls\n"),
            ("-----BEGIN X-----Q0FOQVJZ-----", "stand-in-tls"),
            ("-----BEGIN Q0FOQVJZ\n-----END X-----", "stand-in-tls-1\nstand-in-tls-2"),
            ("-----BEGIN X-----\nAAAA\nQ0FOQVJZ-----END X-----", "stand-in-tls-1\nstand-in-tls-2\nstand-in-tls-3"),
            ("-----BEGIN X-----\nAAAA\n-----END X-----Q0FOQVJZ", "stand-in-tls-1\nstand-in-tls-2\nstand-in-tls-3"),
            ("-----BEGIN q/Q0FOQVJZ=-----\nAAAA", "stand-in-tls-1\nstand-in-tls-2"),
            (
                r#"{"key":"-----BEGIN X-----\\nQ0FOQVJZ\\n-----END X-----","all":["-----BEGIN X----- Q0FOQVJZ"]}"#,
                r#"{"key":"stand-in-tls-key","all":["stand-in-tls-all"]}"#,
            ),
            (
                r#"{"key":"-----BEGIN RSA KEY 2-----\nQ0FOQVJZ\n-----END RSA KEY 2-----\n"}"#,
                r#"{"key":"-----BEGIN RSA KEY 2-----\nc3RhbmQtaW4tdGxzLWtleQ==\n-----END RSA KEY 2-----\n"}"#,
            ),
        ] {
            let text = String::from_utf8(stand_in("tls", &Text(value.to_owned().into())).0.to_vec()).unwrap();
            assert_eq!(text, expected, "{value}");
            assert!(!text.contains(canary), "{value}");
        }
    }
}
