//! A snapshot as YAML for people: what a captured fixture looks like, to be read in a review and edited by hand.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

use super::{InstanceForm, NodeForm, SECTION, Snapshot, Split, VERSION, written};

/// The columns by which what stands in something is indented.
const STEP: usize = 2;

impl Snapshot {
    /// The file as YAML, every line of it indented by so many columns. It says the same as what [`Snapshot::write`] writes.
    pub fn to_yaml(&self, indent: usize) -> String {
        let split = Split::of(self);
        let mut out = String::new();
        let pad = " ".repeat(indent);
        for (path, value) in &split.general.keys {
            // These names mean something else.
            let slash = if matches!(*path, "services" | "nodes") { "/" } else { "" };
            let key = scalar(&format!("{slash}{path}"));
            let value = std::str::from_utf8(&value.0).unwrap_or_default();
            // Writing to a text cannot fail.
            let _ = writeln!(out, "{pad}{key}: {}", block(value, indent + STEP).unwrap_or_else(|| scalar(value)));
        }
        if !split.catalog.is_empty() {
            catalog(&split, &pad, &mut out);
        }
        let _ = writeln!(out, "{pad}{SECTION}:");
        let _ = writeln!(out, "{pad}  version: {VERSION}");
        let _ = writeln!(out, "{pad}  registry: {}", scalar(&self.registry));
        let _ = writeln!(out, "{pad}  saved: {}", quoted(&written(self.saved)));
        let mut items = split.items(self).peekable();
        let none = if items.peek().is_none() { " []" } else { "" };
        let _ = writeln!(out, "{pad}  answers:{none}");
        for item in items {
            let _ = writeln!(out, "{pad}    - {}", flow_of(&item));
        }
        out
    }
}

fn catalog(split: &Split<'_>, pad: &str, out: &mut String) {
    if !split.general.services.is_empty() {
        let _ = writeln!(out, "{pad}services:");
    }
    for (name, instances) in &split.general.services {
        let none = if instances.is_empty() { " []" } else { "" };
        let _ = writeln!(out, "{pad}  {}:{none}", scalar(name));
        for instance in instances.values() {
            let _ = writeln!(out, "{pad}    - {}", flow_of(&InstanceForm::of(instance, name)));
        }
    }
    if !split.general.nodes.is_empty() {
        let _ = writeln!(out, "{pad}nodes:");
    }
    for node in split.general.nodes.values() {
        let _ = writeln!(out, "{pad}  - {}", flow_of(&NodeForm::of(node)));
    }
}

/// A value on one line: `{id: a, port: 80}`.
fn flow_of(value: &impl Serialize) -> String {
    let mut out = String::new();
    flow(&serde_json::to_value(value).unwrap_or_default(), &mut out);
    out
}

fn flow(value: &Value, out: &mut String) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => out.push_str(&value.to_string()),
        Value::String(text) => out.push_str(&scalar(text)),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { ", " });
                flow(item, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (index, (key, item)) in members.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { ", " });
                out.push_str(&scalar(key));
                out.push_str(": ");
                flow(item, out);
            }
            out.push('}');
        }
    }
}

/// A text on one line, without quotes where every reader of YAML takes it for a text.
fn scalar(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { quoted(text) }
}

/// Whether a text needs no quotes: a name, a path or an IPv4 address, and no word that means something else to somebody.
fn is_plain(text: &str) -> bool {
    const WORDS: &[&str] = &["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    let is_name = text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '_'))
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '.' | '-'));
    let is_address = text.parse::<std::net::Ipv4Addr>().is_ok();
    is_address || (is_name && !WORDS.contains(&text.to_ascii_lowercase().as_str()))
}

/// A text in double quotes, with every character escaped that is not seen or that ends a line.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if is_unseen(c) => _ = write!(out, "\\U{:08X}", u32::from(c)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A text of several lines as a literal block with so many columns before each line; none where that could not give it again.
fn block(text: &str, indent: usize) -> Option<String> {
    let body = text.strip_suffix('\n').unwrap_or(text);
    let is_odd = |c: char| c != '\n' && is_unseen(c);
    let first = body.lines().next()?;
    if !body.contains('\n')
        || body.ends_with('\n')
        || first.trim() != first
        || first.is_empty()
        || body.contains(is_odd)
    {
        return None;
    }
    let mut out = String::from(if body.len() < text.len() { "|" } else { "|-" });
    for line in body.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            out.push_str(&" ".repeat(indent));
            out.push_str(line);
        }
    }
    Some(out)
}

/// Control characters, ends of lines of other kinds, and what is in no text of YAML.
fn is_unseen(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_text_to_everybody_goes_without_quotes() {
        for plain in ["web", "app/db_host", "a-b.c", "10.0.0.1", "/services", "_x"] {
            assert_eq!(scalar(plain), plain);
        }
        for (text, written) in [
            ("", "\"\""),
            ("8080", "\"8080\""),
            ("1.10", "\"1.10\""),
            ("-x", "\"-x\""),
            ("Yes", "\"Yes\""),
            ("null", "\"null\""),
            ("a: b", "\"a: b\""),
            ("a\"\\b", "\"a\\\"\\\\b\""),
            ("\u{85}\u{0}\n", "\"\\U00000085\\U00000000\\n\""),
        ] {
            assert_eq!(scalar(text), written);
        }
    }

    #[test]
    fn lines_are_a_block_where_that_gives_them_again() {
        assert_eq!(block("a\n\n  b\n", 2).as_deref(), Some("|\n  a\n\n    b"));
        assert_eq!(block("a\nb", 4).as_deref(), Some("|-\n    a\n    b"));
        for text in ["a", "a\n", " a\nb", "\na\nb", "a\nb\n\n", "a\r\nb", "a\n\u{0}"] {
            assert_eq!(block(text, 2), None, "{text:?}");
        }
    }
}
