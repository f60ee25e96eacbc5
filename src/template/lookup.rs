//! What is said of something undefined: the name that is misspelt, or the field, and what there is in its place.
//!
//! Tera says where something is undefined, and seldom what. Names are looked up in the source. Of fields only a render
//! knows, so one that failed is done once more, in which every use of a name at that place says what it has. Nothing of
//! this is done for a render that succeeds.

use std::ops::Range;

use tera::{Kwargs, State, Tera, Value};

use super::again::Again;
use super::arguments::{attribute, type_name};
use super::edit::Edit;
use super::error::{ErrorKind, TemplateError, did_you_mean};
use super::foreign::hint_of_word;
use super::function::functions;
use super::near::{listed, quoted};
use super::record::{self, Render};
use super::scan::{Token, TokenKind};
use super::scope::{Scope, Use, uses};
use super::source::Source;
use super::view::FIELDS;
use crate::registry::Data;

/// The filter that stands behind a name in a render that is to find what a field lacks.
const NOTE: &str = "__note";

/// What lacks a field.
#[derive(Debug)]
pub(super) struct Lack {
    /// The number of the use of a name.
    number: usize,
    /// How many of the fields are there.
    depth: usize,
    /// What lacks the next one.
    what: &'static str,
    /// The names that it has instead and that may be shown.
    names: Vec<String>,
    /// Whether `meta` has it.
    is_in_meta: bool,
}

/// Puts the filter into `tera`.
pub(super) fn register(tera: &mut Tera) {
    tera.register_filter(NOTE, |value: Value, arguments: Kwargs, _: &State| {
        let number = arguments.get::<usize>("number").ok().flatten().unwrap_or_default();
        let fields = arguments.get::<&Value>("fields").ok().flatten().and_then(Value::as_array).unwrap_or_default();
        let fields: Vec<&str> = fields.iter().filter_map(Value::as_str).collect();
        record::with(|render| {
            if let Some(lack) = lack(render, number, &value, &fields) {
                render.lack = Some(lack);
            }
        });
        // The use itself stands behind an `or`.
        Value::from(false)
    });
}

/// What of a value lacks one of the fields; nothing where none is lacking or there is no value at all.
fn lack(render: &Render, number: usize, value: &Value, fields: &[&str]) -> Option<Lack> {
    let mut at = value;
    for (depth, field) in fields.iter().enumerate() {
        if at.is_undefined() {
            return None;
        }
        let next = at.as_map().and_then(|map| map.iter().find(|(name, _)| name.as_str() == Some(field)));
        let Some((_, next)) = next else {
            let is_in_meta = attribute(at, "meta").and_then(|meta| attribute(meta, field)).is_some();
            return Some(Lack { number, depth, what: type_name(at), names: render.fields(at), is_in_meta });
        };
        at = next;
    }
    None
}

impl Render {
    /// The names of the fields of a value that may be shown.
    pub(super) fn fields(&self, value: &Value) -> Vec<String> {
        let names = value.as_map().into_iter().flat_map(|map| map.keys()).map(ToString::to_string);
        // What a secret is made of may be a name in it.
        names.filter(|name| !self.is_secret || self.is_listed(name)).collect()
    }

    /// Whether a name is one of ours, or one that a registry lists.
    fn is_listed(&self, name: &str) -> bool {
        let is_in = |data: &Data| match data {
            Data::Prefix(entries) => entries.iter().any(|entry| entry.key.split('/').any(|part| part == name)),
            Data::Service(instances) => instances.iter().any(|instance| instance.meta.contains_key(name)),
            Data::Nodes(nodes) => nodes.iter().any(|node| node.meta.contains_key(name)),
            _ => false,
        };
        FIELDS.contains(&name)
            || self.reads.iter().filter_map(|asked| self.view.answer(asked)).any(|answer| is_in(&answer.data))
    }
}

/// What names a place of an error sees: those of its source, and of whatever includes it.
fn seen(place: (&Source, usize), callers: &[(&Source, usize)], again: &Again<'_>) -> Vec<String> {
    let mut names = Vec::new();
    for (source, at) in std::iter::once(&place).chain(callers) {
        let scope = Scope::at(&source.text, source.pieces(), *at);
        names.extend(scope.names);
        if scope.is_closed {
            return names;
        }
    }
    names.extend(again.variables().map(str::to_owned));
    names
}

/// What is undefined at a place of a source, if that can be told: a name that is not in scope, or a field.
pub(super) fn undefined(
    message: &str,
    source: &Source,
    range: &Range<usize>,
    callers: &[(&Source, usize)],
    again: &Again<'_>,
) -> Option<TemplateError> {
    let range = argument(message, source, range).unwrap_or_else(|| range.clone());
    let all = uses(&source.text, source.pieces());
    let open = || all.iter().filter(|used| !used.is_guarded);
    let is_within = |used: &&Use| used.range().start < range.end && range.start < used.range().end;
    let mut at_place: Vec<&Use> = open().filter(is_within).collect();
    if at_place.is_empty() {
        // Tera's own filters and tests are the place of an error about what stands before them.
        at_place = open().filter(|used| used.root.start <= range.start && range.end <= used.end).collect();
    }
    let error = |range: &Range<usize>, message: String| {
        source.error(range.clone(), ErrorKind::Undefined { absent: Vec::new() }, message)
    };
    for used in &at_place {
        let name = &source.text[used.root.clone()];
        let names = seen((source, used.root.start), callers, again);
        if name == "loop" || names.iter().any(|seen| seen == name) {
            continue;
        }
        let own = || names.iter().map(String::as_str);
        let function = || functions().find(|function| function.entry.name == name && used.fields.is_empty());
        let hint = did_you_mean(name, own())
            .or_else(|| function().map(|ours| format!("`{name}` is a function: `{}`", ours.entry.signature())))
            .or_else(|| used.fields.is_empty().then(|| hint_of_word(name)).flatten())
            .or_else(|| used.fields.is_empty().then(|| format!("a key is read with `key(path=\"{name}\")`")));
        let scope =
            listed(name, own()).map_or_else(|| "nothing is in scope here".into(), |list| format!("in scope: {list}"));
        return Some(error(&used.root, format!("variable `{name}` is not defined")).available(scope).hint(hint));
    }
    if at_place.iter().all(|used| used.fields.is_empty()) {
        return None;
    }
    let Lack { number, depth, what, names, is_in_meta } = again.lack(source, &at_place)?;
    let used = at_place.get(number)?;
    let (field, place) = used.fields.get(depth)?;
    let before = depth.checked_sub(1).and_then(|index| used.fields.get(index));
    let end = before.map_or(used.root.end, |(_, range)| range.end);
    let bracket = usize::from(source.text[end..].starts_with(']') && before.is_some());
    let parent = quoted(source.text.get(used.root.start..end + bracket)?);
    let own = || names.iter().map(String::as_str);
    let (available, hint) = match (what, listed(field, own())) {
        ("a map", Some(list)) => {
            let in_meta = || is_in_meta.then(|| format!("did you mean `meta.{field}`?"));
            (Some(format!("{parent} has {list}")), did_you_mean(field, own()).or_else(in_meta))
        }
        ("a map", None) if again.given.is_secret => (None, None),
        ("a map", None) => (Some(format!("{parent} is empty")), None),
        ("text", _) => (
            Some(format!("{parent} is text, which has no fields")),
            Some("`from_json` and its like make a map of a text".into()),
        ),
        ("a list", _) => (
            Some(format!("{parent} is a list, whose items may have fields")),
            Some("`{% for %}` goes through a list; `first`, `last` and `nth` give one of its items".into()),
        ),
        (what, _) => (Some(format!("{parent} is {what}, which has no fields")), None),
    };
    Some(error(place, format!("field {} is not defined", quoted(field))).available(available).hint(hint))
}

/// Where the argument stands that a message is about: "`path` of `key` is undefined".
fn argument(message: &str, source: &Source, range: &Range<usize>) -> Option<Range<usize>> {
    let (name, _) = message.strip_prefix('`')?.split_once("` of ")?;
    let tokens: Vec<&Token> = source
        .pieces()
        .iter()
        .flat_map(|piece| &piece.tokens)
        .filter(|token| token.range.start >= range.start && token.range.end <= range.end)
        .collect();
    let is_named = |pair: &[&Token]| {
        pair[0].kind == TokenKind::Word && pair[0].of(&source.text) == name && pair[1].of(&source.text) == "="
    };
    let start = tokens.windows(2).position(is_named)? + 2;
    let mut depth = 0_usize;
    let mut end = range.end;
    for token in &tokens[start..] {
        match token.of(&source.text) {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" | "," if depth == 0 => break,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        end = token.range.end;
    }
    Some(tokens.get(start)?.range.start..end)
}

impl Again<'_> {
    /// What lacks a field of one of the uses, as a render says that asks each of them.
    fn lack(&self, source: &Source, at_place: &[&Use]) -> Option<Lack> {
        let edits = |changed: &Source, text: &str| {
            if changed.name != source.name {
                return Vec::new();
            }
            let number_of = |used: &Use| {
                at_place.iter().position(|other| changed.edited.origin(used.root.start) == other.root.start)
            };
            let mut edits = Vec::new();
            for used in uses(text, &self.pieces(text)) {
                let Some(number) = number_of(&used).filter(|_| !used.fields.is_empty()) else { continue };
                let name = &text[used.root.clone()];
                let fields: Vec<String> = used
                    .fields
                    .iter()
                    .map(|(_, range)| {
                        let written = &text[range.clone()];
                        if written.starts_with(['"', '\'', '`']) {
                            written.to_owned()
                        } else {
                            format!("\"{written}\"")
                        }
                    })
                    .collect();
                let fields = fields.join(", ");
                edits.push(Edit::insert(
                    used.root.start,
                    format!("({name} | {NOTE}(number={number}, fields=[{fields}]) or "),
                ));
                edits.push(Edit::insert(used.end, ")"));
            }
            edits
        };
        self.render(edits)?.render.lack
    }
}
