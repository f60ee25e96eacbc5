//! YAML as it stands in the file: a tree whose scalars keep their source text and whose nodes know their place.
//!
//! Value types of YAML libraries turn `1.10` into 1.1, `0x1F` into 31 and refuse integers of 20 digits; a registry
//! gives text, so what a file says has to stay what it says. Here `1.10`, `0644`, `yes` and `2020-01-01` are text,
//! and only a plain `null`, `~` or nothing at all is null. JSON is read as well, being YAML.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

/// How deep lists and mappings may stand in each other.
pub const MAX_DEPTH: usize = 128;

/// What the copies that aliases and merge keys make may weigh, in bytes of text and [`NODE_WEIGHT`] for each node:
/// a page of nested aliases would otherwise grow to any size.
const MAX_COPIED: usize = 16 << 20;

/// What a node without its text counts for.
const NODE_WEIGHT: usize = 64;

/// A value with the place where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub value: Value,
    /// Line, from 1. What came through an alias has the place of its anchor, where its text stands.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Text.
    Scalar(Scalar),
    /// A list, in order.
    List(Vec<Node>),
    /// A mapping, in the order of the file; its keys are scalars and differ in their text.
    Map(Vec<(Node, Node)>),
}

/// A scalar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scalar {
    /// Its source text; escapes of quoted text are resolved, lines of block text joined.
    pub text: String,
    /// Written without quotes and not as block text.
    pub plain: bool,
    /// A plain `null` or `~`, or nothing at all.
    pub null: bool,
}

/// Why a text is no YAML, or YAML that is not supported here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct Error {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong: a lowercase fragment.
    pub message: String,
}

impl Node {
    /// The text of a scalar; for null the text that stands there, such as `~`.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) => Some(&scalar.text),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// Whether this is null.
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.null)
    }

    /// The value under `key`, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value)
    }

    /// What it and all below it weigh, and how deep it is.
    fn measure(&self) -> (usize, usize) {
        let sum = |nodes: &mut dyn Iterator<Item = &Node>| {
            nodes.map(Node::measure).fold((NODE_WEIGHT, 0), |(weight, depth), (w, d)| (weight + w, depth.max(d)))
        };
        let (weight, depth) = match &self.value {
            Value::Scalar(scalar) => return (NODE_WEIGHT + scalar.text.len(), 0),
            Value::List(items) => sum(&mut items.iter()),
            Value::Map(entries) => sum(&mut entries.iter().flat_map(|(key, value)| [key, value])),
        };
        (weight, depth + 1)
    }
}

/// Reads one document. An empty one is null. The caller bounds the size of `text`.
pub fn parse(text: &str) -> Result<Node, Error> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| Error::at(*error.marker(), error.info()))?;
        builder.take(event, span.start)?;
    }
    Ok(builder.root.unwrap_or_else(|| Node {
        value: Value::Scalar(Scalar { text: String::new(), plain: true, null: true }),
        line: 1,
        column: 1,
    }))
}

/// Fails on what is no YAML, or has more than [`MAX_DEPTH`] lists and mappings within each other, and reads no further
/// than that: other readers take a time that grows with the square of the depth.
pub fn check_depth(text: &str) -> Result<(), Error> {
    let mut depth = 0_usize;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| Error::at(*error.marker(), error.info()))?;
        match event {
            Event::SequenceStart(..) | Event::MappingStart(..) => depth += 1,
            Event::SequenceEnd | Event::MappingEnd => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(too_deep(span.start));
        }
    }
    Ok(())
}

fn too_deep(mark: Marker) -> Error {
    Error::at(mark, format!("more than {MAX_DEPTH} lists and mappings within each other"))
}

impl Error {
    fn at(mark: Marker, message: impl Into<String>) -> Self {
        Self { line: mark.line(), column: mark.col() + 1, message: message.into() }
    }
}

/// Makes the tree from the parser's events.
#[derive(Default)]
struct Builder {
    /// The lists and mappings that are open, outermost first.
    open: Vec<Open>,
    /// The finished document.
    root: Option<Node>,
    /// What anchors stand for, once they are complete.
    anchors: HashMap<usize, Node>,
    /// What copies weigh so far.
    copied: usize,
}

/// A list or mapping that is not complete.
struct Open {
    mark: Marker,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map {
        entries: Vec<(Node, Node)>,
        /// The line of each key.
        lines: HashMap<String, usize>,
        /// A key that waits for its value.
        key: Option<Node>,
        /// The values of merge keys.
        merges: Vec<Node>,
    },
}

impl Builder {
    fn take(&mut self, event: Event<'_>, mark: Marker) -> Result<(), Error> {
        match event {
            Event::DocumentStart(_) if self.root.is_some() => {
                Err(Error::at(mark, "a second document begins here, and one file holds one document"))
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                let tagged_text = check_tag(tag.as_deref(), mark)? == Some("str");
                let plain = style == ScalarStyle::Plain;
                let null = plain && !tagged_text && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let value = Value::Scalar(Scalar { text: text.into_owned(), plain, null });
                self.complete(value, mark, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                check_tag(tag.as_deref(), mark)?;
                self.begin(Open { mark, anchor, content: Content::List(Vec::new()) })
            }
            Event::MappingStart(anchor, tag) => {
                check_tag(tag.as_deref(), mark)?;
                let content =
                    Content::Map { entries: Vec::new(), lines: HashMap::new(), key: None, merges: Vec::new() };
                self.begin(Open { mark, anchor, content })
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(mark),
            Event::Alias(anchor) => self.alias(anchor, mark),
        }
    }

    fn begin(&mut self, open: Open) -> Result<(), Error> {
        if self.open.len() >= MAX_DEPTH {
            return Err(too_deep(open.mark));
        }
        self.open.push(open);
        Ok(())
    }

    fn end(&mut self, mark: Marker) -> Result<(), Error> {
        let Some(open) = self.open.pop() else {
            return Err(Error::at(mark, "a list or mapping ends here that did not begin"));
        };
        let value = match open.content {
            Content::List(items) => Value::List(items),
            Content::Map { mut entries, mut lines, merges, key: _ } => {
                for source in merges {
                    merge(source, &mut entries, &mut lines)?;
                }
                Value::Map(entries)
            }
        };
        self.complete(value, open.mark, open.anchor)
    }

    fn alias(&mut self, anchor: usize, mark: Marker) -> Result<(), Error> {
        // The parser refuses an alias without an anchor, so one that is not here is not complete yet.
        let Some(node) = self.anchors.get(&anchor) else {
            return Err(Error::at(mark, "this alias stands within what it is an alias of"));
        };
        let (weight, depth) = node.measure();
        if self.open.len() + depth > MAX_DEPTH {
            return Err(too_deep(mark));
        }
        self.charge(weight, mark)?;
        let node = self.anchors[&anchor].clone();
        self.place(node)
    }

    /// Counts a copy.
    fn charge(&mut self, weight: usize, mark: Marker) -> Result<(), Error> {
        self.copied = self.copied.saturating_add(weight);
        if self.copied > MAX_COPIED {
            return Err(Error::at(mark, "the aliases make this document too large"));
        }
        Ok(())
    }

    fn complete(&mut self, value: Value, mark: Marker, anchor: usize) -> Result<(), Error> {
        let node = Node { value, line: mark.line(), column: mark.col() + 1 };
        if anchor != 0 {
            self.charge(node.measure().0, mark)?;
            self.anchors.insert(anchor, node.clone());
        }
        self.place(node)
    }

    /// Puts a complete node where it belongs: into the innermost open list or mapping.
    fn place(&mut self, node: Node) -> Result<(), Error> {
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.root = Some(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map { entries, lines, key, merges }) => match key.take() {
                None => {
                    let Value::Scalar(name) = &node.value else {
                        return Err(node.error(if matches!(node.value, Value::Map(_)) {
                            "a mapping cannot be a key; text that begins with `{{` is put in quotes"
                        } else {
                            "a list cannot be a key"
                        }));
                    };
                    let merging = name.plain && name.text == "<<";
                    if let Some(first) = lines.insert(name.text.clone(), node.line).filter(|_| !merging) {
                        return Err(node.error(format!("key `{}` stands twice, first at line {first}", name.text)));
                    }
                    *key = Some(node);
                }
                Some(key) if matches!(&key.value, Value::Scalar(name) if name.plain && name.text == "<<") => {
                    merges.push(node);
                }
                Some(key) => entries.push((key, node)),
            },
        }
        Ok(())
    }
}

impl Node {
    /// An error at its place.
    fn error(&self, message: impl Into<String>) -> Error {
        Error { line: self.line, column: self.column, message: message.into() }
    }
}

/// Adds the entries of `source`, or of the mappings in it, that the mapping does not have itself: what is written
/// in the mapping wins, then the first source (<https://yaml.org/type/merge.html>).
fn merge(source: Node, entries: &mut Vec<(Node, Node)>, keys: &mut HashMap<String, usize>) -> Result<(), Error> {
    match source.value {
        Value::Map(added) => {
            for (key, value) in added {
                let name = key.text().unwrap_or_default();
                if !keys.contains_key(name) {
                    keys.insert(name.to_owned(), key.line);
                    entries.push((key, value));
                }
            }
            Ok(())
        }
        Value::List(sources) if sources.iter().all(|source| matches!(source.value, Value::Map(_))) => {
            sources.into_iter().try_for_each(|source| merge(source, entries, keys))
        }
        Value::List(_) | Value::Scalar(_) => Err(source.error("`<<` takes a mapping or a list of mappings")),
    }
}

/// The name of a tag of the YAML core schema, which says nothing that the text does not say; other tags are refused.
fn check_tag(tag: Option<&Tag>, mark: Marker) -> Result<Option<&str>, Error> {
    match tag {
        None => Ok(None),
        Some(tag)
            if tag.is_yaml_core_schema()
                && matches!(&*tag.suffix, "str" | "int" | "float" | "bool" | "null" | "seq" | "map") =>
        {
            Ok(Some(&tag.suffix))
        }
        // `! text` is the tag that says that the text is text.
        Some(tag) if tag.handle.is_empty() && tag.suffix == "!" => Ok(Some("str")),
        Some(tag) => Err(Error::at(mark, format!("the tag `{}{}` is not supported", tag.handle, tag.suffix))),
    }
}

#[cfg(test)]
mod tests;
