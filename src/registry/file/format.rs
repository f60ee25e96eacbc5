//! From YAML, JSON and TOML to one tree whose scalars are the text that stands in the file.

use std::ffi::OsStr;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::registry::document::{self, Content, Member, Mistake, Node, Place};
use crate::yaml;

/// Reads a file by its extension; one without a known extension is YAML, which covers JSON. Something must be there:
/// an empty file is rather one that is about to be written.
pub(super) fn parse(path: &Path, text: &str) -> Result<Node, Mistake> {
    let empty = || Mistake::new(Place::Line(1, 1), "the file is empty: write `{}` if nothing is meant to be there");
    let extension = path.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase);
    if text.trim().is_empty() {
        return Err(empty());
    }
    let node = match extension.as_deref() {
        Some("json") => document::json(text)?,
        Some("toml") => parse_toml(text)?,
        _ => parse_yaml(text)?,
    };
    if matches!(node.content, Content::Null) { Err(empty()) } else { Ok(node) }
}

fn parse_yaml(text: &str) -> Result<Node, Mistake> {
    let node = yaml::parse(text).map_err(|error| Mistake::new(Place::Line(error.line, error.column), error.message))?;
    from_yaml(node)
}

fn from_yaml(node: yaml::Node) -> Result<Node, Mistake> {
    let place = Place::Line(node.line, node.column);
    let content = match node.value {
        yaml::Value::Scalar(scalar) if scalar.null => Content::Null,
        yaml::Value::Scalar(scalar) if scalar.plain => Content::Bare(scalar.text),
        yaml::Value::Scalar(scalar) => Content::Quoted(scalar.text),
        yaml::Value::List(items) => Content::List(items.into_iter().map(from_yaml).collect::<Result<_, _>>()?),
        yaml::Value::Map(entries) => {
            let members = entries.into_iter().map(|(key, value)| {
                let place = Place::Line(key.line, key.column);
                let key = from_yaml(key)?.into_text();
                Ok(Member { key, place, node: from_yaml(value)? })
            });
            document::map(members.collect::<Result<_, _>>()?)?
        }
    };
    Ok(Node { place, content })
}

fn parse_toml(text: &str) -> Result<Node, Mistake> {
    let table = DeTable::parse(text).map_err(|error| {
        // The input would be shown with the message; it may hold secrets.
        let place = Place::Offset(error.span().map_or(0, |span| span.start));
        Mistake::new(place, error.message())
    })?;
    let place = Place::Offset(table.span().start);
    Ok(Node { place, content: from_toml_table(table.into_inner(), text)? })
}

fn from_toml(value: Spanned<DeValue<'_>>, text: &str) -> Result<Node, Mistake> {
    let span = value.span();
    let place = Place::Offset(span.start);
    let content = match value.into_inner() {
        DeValue::String(text) => Content::Quoted(text.into_owned()),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {
            Content::Bare(text.get(span).unwrap_or_default().to_owned())
        }
        DeValue::Array(items) => {
            Content::List(items.into_iter().map(|item| from_toml(item, text)).collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => from_toml_table(table, text)?,
    };
    Ok(Node { place, content })
}

fn from_toml_table(table: DeTable<'_>, text: &str) -> Result<Content, Mistake> {
    let members = table.into_iter().map(|(key, value)| {
        let place = Place::Offset(key.span().start);
        Ok(Member { key: key.into_inner().into_owned(), place, node: from_toml(value, text)? })
    });
    document::map(members.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `path = text` for each scalar and list, joined.
    fn shown(path: &str, text: &str) -> String {
        fn walk(node: Node, path: &str, out: &mut Vec<String>) {
            match node.content {
                Content::Map(members) => {
                    for member in members {
                        walk(member.node, &format!("{path}/{}", member.key), out);
                    }
                }
                content => {
                    let text = Node { place: node.place, content }.into_text();
                    out.push(format!("{} = {text}", path.trim_start_matches('/')));
                }
            }
        }
        let mut out = Vec::new();
        walk(parse(Path::new(path), text).unwrap_or_else(|mistake| panic!("{text}: {mistake:?}")), "", &mut out);
        out.join("; ")
    }

    #[test]
    fn scalars_are_the_text_that_stands_in_the_file() {
        for scalar in
            ["1.10", "0x1F", "12345678901234567890", "-0", "true", "1e400", "2020-01-01", "1979-05-27T07:32:00Z"]
        {
            assert_eq!(shown("a.yaml", &format!("a: {scalar}\n")), format!("a = {scalar}"));
            assert_eq!(shown("a.toml", &format!("a = {scalar}\n")), format!("a = {scalar}"));
        }
        for scalar in ["1.10", "12345678901234567890", "-0", "true", "1e400"] {
            assert_eq!(shown("a.json", &format!("{{\"a\": {scalar}}}")), format!("a = {scalar}"));
        }
        for scalar in ["0644", "yes", "No", "0o17", "1_000", ".5", "1:30", "on"] {
            assert_eq!(shown("a.yaml", &format!("a: {scalar}\n")), format!("a = {scalar}"));
        }
        for scalar in ["1_000", "0b101", "inf", "1979-05-27 07:32:00.10"] {
            assert_eq!(shown("a.toml", &format!("a = {scalar} # note\n")), format!("a = {scalar}"));
        }
    }

    #[test]
    fn the_formats_say_the_same() {
        let expected = "a/b/c = x y; a/d/e = 1.10; l = [1.10,\"x\",{\"z\":true,\"y\":[]}]; n = ";
        for (path, text) in [
            ("x.yaml", "a: {b/c: 'x y', d: {e: 1.10}}\nl: [1.10, x, {z: true, y: []}]\nn: null\n"),
            ("x.yml", "a:\n  b/c: x y\n  d:\n    e: 1.10\nl:\n- 1.10\n- x\n- z: true\n  y: []\nn:\n"),
            ("x.JSON", r#"{"a": {"b/c": "x y", "d": {"e": 1.10}}, "l": [1.10, "x", {"z": true, "y": []}], "n": null}"#),
            ("x", r#"{"a": {"b/c": "x y", "d": {"e": 1.10}}, "l": [1.10, "x", {"z": true, "y": []}], "n": null}"#),
            ("x.toml", "a.\"b/c\" = 'x y'\na.d.e = 1.10\nl = [1.10, \"x\", {z = true, y = []}]\nn = ''\n"),
            ("x.toml", "a = {\"b/c\" = 'x y', d.e = 1.10}\nl = [1.10, 'x', {z = true, y = []}]\nn = ''\n"),
        ] {
            assert_eq!(shown(path, text), expected, "{path}: {text}");
        }
    }

    #[test]
    fn mistakes_have_their_place() {
        for (path, text, line, column, message) in [
            ("a.yaml", "a: 1\nb:\n  c: 1\n  c: 2\n", 4, 3, "twice"),
            ("a.json", "{\n \"a\": 1, \"a\": 2}", 2, 10, "twice"),
            ("a.toml", "b = 1\na = 1\na = 2\n", 3, 1, "duplicate key"),
            ("a.yaml", "a: [1, 2\n", 2, 1, ""),
            ("a.json", "{\"a\": secret}", 1, 7, "expected value"),
            ("a.toml", "a = secret\n", 1, 5, ""),
            ("a.yaml", " \n\t", 1, 1, "write `{}`"),
            ("a.json", "", 1, 1, "write `{}`"),
            ("a.toml", "\n", 1, 1, "write `{}`"),
            ("a.yaml", "# soon\n---\n", 1, 1, "write `{}`"),
            ("a.json", "null", 1, 1, "write `{}`"),
        ] {
            let mistake = parse(Path::new(path), text).unwrap_err();
            assert!(mistake.message.contains(message), "{path}: {text}: {}", mistake.message);
            assert!(!mistake.message.contains("secret"), "{path}: {text}: {}", mistake.message);
            assert_eq!(mistake.place.line_and_column(text), (line, column), "{path}: {text}: {}", mistake.message);
        }
    }
}
