//! A document whose scalars are text: what YAML, JSON and TOML data have in common here.
//!
//! A value in etcd or Consul is text, so a value in a file is the text that stands in the file: `1.10` stays `1.10`
//! and an integer keeps all its digits. The value types of `serde_json` lose this, so JSON is read through raw values.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// How deep lists and maps may stand in each other.
const MAX_DEPTH: usize = 128;

/// A value and where it stands.
#[derive(Debug)]
pub(crate) struct Node {
    /// Where it begins.
    pub(crate) place: Place,
    /// What it is.
    pub(crate) content: Content,
}

/// What stands at a place.
#[derive(Debug)]
pub(crate) enum Content {
    /// `null`, or nothing at all.
    Null,
    /// A scalar without quotes: the text that stands in the source.
    Bare(String),
    /// A scalar in quotes: the text that the quotes stand for.
    Quoted(String),
    /// A list.
    List(Vec<Node>),
    /// A map. Keys are different from each other.
    Map(Vec<Member>),
}

/// One key of a map with its value.
#[derive(Debug)]
pub(crate) struct Member {
    /// The key.
    pub(crate) key: String,
    /// Where the key stands.
    pub(crate) place: Place,
    /// Its value.
    pub(crate) node: Node,
}

/// A place in a source. Lines are only counted when a mistake is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Bytes from the beginning.
    Offset(usize),
    /// Line and column in characters, both from 1.
    Line(usize, usize),
}

impl Place {
    /// Line and column in characters, both from 1.
    pub(crate) fn line_and_column(self, source: &str) -> (usize, usize) {
        match self {
            Self::Line(line, column) => (line, column),
            Self::Offset(offset) => {
                let before = source.as_bytes().get(..offset).unwrap_or(source.as_bytes());
                let lines = before.split(|&byte| byte == b'\n');
                let (line, last) = lines.enumerate().last().unwrap_or_default();
                // Bytes that begin a character; the others continue one.
                let column = last.iter().filter(|&&byte| byte & 0xC0 != 0x80).count() + 1;
                (line + 1, column)
            }
        }
    }
}

/// What is wrong with a document, and where. The message holds names, never values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// Where it is.
    pub(crate) place: Place,
    /// What is wrong: a lowercase fragment.
    pub(crate) message: String,
}

impl Mistake {
    /// A mistake at `place`.
    pub(crate) fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, message: message.into() }
    }
}

impl Node {
    /// The text of a scalar: empty for `null`, nothing for a list or a map.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Null => Some(""),
            Content::Bare(text) | Content::Quoted(text) => Some(text),
            Content::List(_) | Content::Map(_) => None,
        }
    }

    /// The text of a scalar; compact JSON for a list or a map.
    pub(crate) fn into_text(self) -> String {
        match self.content {
            Content::Null => String::new(),
            Content::Bare(text) | Content::Quoted(text) => text,
            Content::List(_) | Content::Map(_) => {
                let mut out = String::new();
                self.write_json(&mut out);
                out
            }
        }
    }

    /// Compact JSON. A bare scalar that JSON knows (a number, `true`, `false`) stands as it is, so that `1.10` keeps
    /// its zero; any other is a string.
    fn write_json(&self, out: &mut String) {
        match &self.content {
            Content::Null => out.push_str("null"),
            Content::Bare(text) if is_json_literal(text) => out.push_str(text),
            Content::Bare(text) | Content::Quoted(text) => write_json_string(text, out),
            Content::List(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    item.write_json(out);
                }
                out.push(']');
            }
            Content::Map(members) => {
                out.push('{');
                for (index, member) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    write_json_string(&member.key, out);
                    out.push(':');
                    member.node.write_json(out);
                }
                out.push('}');
            }
        }
    }
}

fn is_json_literal(text: &str) -> bool {
    // The parser would skip white space around the value.
    !text.starts_with(char::is_whitespace)
        && !text.ends_with(char::is_whitespace)
        && text.starts_with(|first: char| first == '-' || first.is_ascii_digit() || first == 't' || first == 'f')
        && serde_json::from_str::<&RawValue>(text).is_ok()
}

fn write_json_string(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

/// Refuses a key that is given twice.
pub(crate) fn map(members: Vec<Member>) -> Result<Content, Mistake> {
    let mut seen = HashSet::with_capacity(members.len());
    for member in &members {
        if !seen.insert(member.key.as_str()) {
            return Err(Mistake::new(member.place, format!("`{}` is given twice", member.key)));
        }
    }
    Ok(Content::Map(members))
}

/// Reads JSON.
pub(crate) fn json(source: &str) -> Result<Node, Mistake> {
    let raw: &RawValue = serde_json::from_str(source).map_err(|error| json_mistake(source, 0, &error))?;
    Json { source }.node(raw, 0)
}

struct Json<'a> {
    source: &'a str,
}

impl<'a> Json<'a> {
    fn node(&self, raw: &'a RawValue, depth: usize) -> Result<Node, Mistake> {
        let text = raw.get();
        let offset = self.offset(raw);
        let place = Place::Offset(offset);
        if depth > MAX_DEPTH {
            return Err(Mistake::new(place, format!("more than {MAX_DEPTH} levels of lists and maps")));
        }
        let content = match text.as_bytes().first() {
            Some(b'{') => {
                let Members(members) =
                    serde_json::from_str(text).map_err(|error| json_mistake(self.source, offset, &error))?;
                let members = members.into_iter().map(|(key, value)| {
                    Ok(Member {
                        key: self.string(key)?,
                        place: Place::Offset(self.offset(key)),
                        node: self.node(value, depth + 1)?,
                    })
                });
                map(members.collect::<Result<_, _>>()?)?
            }
            Some(b'[') => {
                let items: Vec<&RawValue> =
                    serde_json::from_str(text).map_err(|error| json_mistake(self.source, offset, &error))?;
                Content::List(items.into_iter().map(|item| self.node(item, depth + 1)).collect::<Result<_, _>>()?)
            }
            Some(b'"') => Content::Quoted(self.string(raw)?),
            _ if text == "null" => Content::Null,
            _ => Content::Bare(text.to_owned()),
        };
        Ok(Node { place, content })
    }

    fn string(&self, raw: &'a RawValue) -> Result<String, Mistake> {
        serde_json::from_str(raw.get()).map_err(|error| json_mistake(self.source, self.offset(raw), &error))
    }

    /// Raw values borrow from the source, so their address says where they stand.
    fn offset(&self, raw: &'a RawValue) -> usize {
        (raw.get().as_ptr() as usize).saturating_sub(self.source.as_ptr() as usize)
    }
}

/// The members of an object in their order, as they stand in the source.
struct Members<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de> serde::Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ReadMembers;
        impl<'de> Visitor<'de> for ReadMembers {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(ReadMembers)
    }
}

/// The parser counts lines within the text that it was given, which begins `offset` bytes into the source.
fn json_mistake(source: &str, offset: usize, error: &serde_json::Error) -> Mistake {
    let text = &source[offset..];
    let line_start = if error.line() <= 1 {
        0
    } else {
        text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').nth(error.line() - 2).map_or(0, |(at, _)| at + 1)
    };
    let place = Place::Offset(offset + line_start + error.column().saturating_sub(1));
    let message = error.to_string();
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
    Mistake::new(place, message.replace("EOF", "the text ends"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compact(source: &str) -> String {
        json(source).unwrap().into_text()
    }

    #[test]
    fn scalars_are_their_source_text() {
        for (source, text) in [
            ("1.10", "1.10"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("1e400", "1e400"),
            ("true", "true"),
            ("null", ""),
            (r#""a\u00e4\n""#, "aä\n"),
            (r#"[1.10, "1.10", null, {"b": [], "a": "x\"y"}]"#, r#"[1.10,"1.10",null,{"b":[],"a":"x\"y"}]"#),
        ] {
            assert_eq!(compact(source), text, "{source}");
        }
    }

    #[test]
    fn a_bare_scalar_that_json_does_not_know_becomes_a_string() {
        let bare = |text: &str| Node { place: Place::Offset(0), content: Content::Bare(text.into()) };
        let list = ["1.10", "0x1F", "0644", "yes", "true", "-1", "- 1", "2020-01-01"];
        let list = Node { place: Place::Offset(0), content: Content::List(list.map(bare).into()) };
        assert_eq!(list.into_text(), r#"[1.10,"0x1F","0644","yes",true,-1,"- 1","2020-01-01"]"#);
    }

    #[test]
    fn mistakes_have_their_place() {
        for (source, line, column, message) in [
            ("{\"a\": 1,\n \"b\": {\"c\": 1,\n  \"ä\": 1, \"c\": 2}}", 3, 11, "`c` is given twice"),
            ("{\"a\": 1,\n  oops}", 2, 3, "key must be a string"),
            ("{\"a\": [1, 2", 1, 11, "the text ends while parsing a list"),
            ("{\"a\":\n {\"b\":\n  \"\\ud800\"}}", 3, 10, "unexpected end of hex escape"),
        ] {
            let mistake = json(source).unwrap_err();
            assert_eq!(mistake.message, message, "{source}");
            assert_eq!(mistake.place.line_and_column(source), (line, column), "{source}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let deep = "[".repeat(10_000) + &"]".repeat(10_000);
        assert!(json(&deep).unwrap_err().message.contains("levels"));
    }
}
