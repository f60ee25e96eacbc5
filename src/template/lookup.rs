//! What is said of something undefined: the name that is misspelt, or the field, and what there is in its place.
//!
//! Tera says where something is undefined, and seldom what. Names are looked up in the source. Of fields only a render
//! knows, so one that failed is done once more, in which every use of a name at that place says what it has. Nothing of
//! this is done for a render that succeeds.

use std::collections::HashSet;
use std::ops::Range;

use tera::value::Key;
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
use super::view::{FIELDS, MADE};
use crate::registry::{Data, Instance, Node};

/// The filter that stands behind a name in a render that is to find what a field lacks.
const NOTE: &str = "__note";

/// What lacks a field.
pub(super) struct Lack {
    /// The number of the use of a name.
    number: usize,
    /// How many of the fields are there.
    depth: usize,
    /// What lacks the next one.
    at: Value,
    /// What the name stands for.
    root: Value,
}

/// Puts the filter into `tera`.
pub(super) fn register(tera: &mut Tera) {
    tera.register_filter(NOTE, |value: Value, arguments: Kwargs, _: &State| {
        let number = arguments.get::<usize>("number").ok().flatten().unwrap_or_default();
        let fields = arguments.get::<&Value>("fields").ok().flatten().and_then(Value::as_array).unwrap_or_default();
        let fields: Vec<&str> = fields.iter().filter_map(Value::as_str).collect();
        record::with(|render| {
            if let Some(lack) = lack(number, &value, &fields) {
                render.lack = Some(lack);
            }
        });
        // The use itself stands behind an `or`.
        Value::from(false)
    });
}

/// What of a value lacks one of the fields; nothing where none is lacking or there is no value at all.
fn lack(number: usize, value: &Value, fields: &[&str]) -> Option<Lack> {
    let mut at = value;
    for (depth, field) in fields.iter().enumerate() {
        if at.is_undefined() {
            return None;
        }
        let is_meant = |name: &Key<'_>| name.as_str().map_or_else(|| name.to_string() == *field, |name| name == *field);
        let next = match at.as_array() {
            Some(items) => field.parse::<usize>().ok().and_then(|index| items.get(index)),
            None => at.as_map().and_then(|map| map.iter().find(|(name, _)| is_meant(name))).map(|(_, next)| next),
        };
        let Some(next) = next else {
            return Some(Lack { number, depth, at: at.clone(), root: value.clone() });
        };
        at = next;
    }
    None
}

impl Render {
    /// The names of the fields of a value that may be shown, and how many others it has: a map that is made of a value may
    /// have any part of it for a name.
    pub(super) fn fields(&self, value: &Value) -> (Vec<String>, usize) {
        let names = value.as_map().into_iter().flat_map(|map| map.keys()).map(ToString::to_string);
        let known = self.known();
        let (shown, hidden): (Vec<String>, Vec<String>) = names.partition(|name| self.may_name(name, &known));
        if !hidden.is_empty() {
            self.lacks_names.set(true);
        }
        (shown, hidden.len())
    }

    /// What stands behind a list of names that is not all: " and 2 that are not shown".
    pub(super) fn more(&self, hidden: usize) -> String {
        match hidden {
            0 => String::new(),
            _ if self.is_secret => String::new(),
            1 => " and 1 that is not shown".into(),
            _ => format!(" and {hidden} that are not shown"),
        }
    }

    /// Whether the name of a field may be shown: one that is ours or in a template, or that a registry lists; and one that
    /// `from_json` and its like read, as far as that was noted.
    pub(super) fn may_name(&self, name: &str, known: &HashSet<&str>) -> bool {
        known.contains(name)
            || self.is_written(name)
            || self.names.had(name)
            || self.read_names.borrow().as_ref().is_some_and(|names| names.contains(name))
    }

    /// The names that are ours, and those that registries list in the answers that were read.
    pub(super) fn known(&self) -> HashSet<&str> {
        let mut known: HashSet<&str> = FIELDS.iter().chain(MADE).copied().collect();
        for answer in self.reads.iter().filter_map(|asked| self.view.answer(asked)) {
            add_listed(&answer.data, &mut known);
        }
        known
    }

    /// Notes the names in what a whole value of a registry or a file was read as, JSON or its like, in a render that is to
    /// find what another lacked. A text that a template put together may have a value for a name; and of a secret none is
    /// noted, since what it is made of may be a name in it.
    pub(super) fn note_names(&self, text: &Value, read: &Value) {
        if self.is_secret || self.read_names.borrow().is_none() || self.origin(text).is_none() {
            return;
        }
        if let Some(names) = self.read_names.borrow_mut().as_mut() {
            add_names(read, names);
        }
    }
}

/// Notes the names in a value, at any depth.
fn add_names(value: &Value, names: &mut HashSet<String>) {
    for item in value.as_array().unwrap_or_default() {
        add_names(item, names);
    }
    for (name, field) in value.as_map().into_iter().flatten() {
        names.insert(name.to_string());
        add_names(field, names);
    }
}

/// Notes the names that a registry lists in an answer.
fn add_listed<'d>(data: &'d Data, known: &mut HashSet<&'d str>) {
    let of_instance = |instance: &'d Instance| {
        let names = instance.meta.keys().chain(&instance.tags).chain([&instance.name]);
        names.map(String::as_str)
    };
    let of_node = |node: &'d Node| node.meta.keys().chain([&node.name, &node.datacenter]).map(String::as_str);
    match data {
        Data::Prefix(entries) => known.extend(entries.iter().flat_map(|entry| {
            let whole = [entry.key.as_str(), entry.path.as_str()];
            entry.path.split('/').chain(whole)
        })),
        Data::Listing(names) => known.extend(names.keys.iter().chain(&names.folders).map(String::as_str)),
        Data::Services(services) => {
            let names = services.iter().flat_map(|service| service.tags.iter().chain([&service.name]));
            known.extend(names.map(String::as_str));
        }
        Data::Service(instances) => known.extend(instances.iter().flat_map(|instance| of_instance(instance))),
        Data::Nodes(nodes) => known.extend(nodes.iter().flat_map(of_node)),
        Data::Node(Some(found)) => {
            known.extend(of_node(&found.node));
            known.extend(found.services.iter().flat_map(|instance| of_instance(instance)));
        }
        Data::Datacenters(names) => known.extend(names.iter().map(String::as_str)),
        _ => {}
    }
}

/// How many names are not shown: "`m` has 3 names, which may be values and are not shown".
pub(super) fn unshown(parent: &str, hidden: usize) -> String {
    let (names, are) = if hidden == 1 { ("name", "is") } else { ("names", "are") };
    format!("{parent} has {hidden} {names}, which may come from a value and {are} not shown")
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
    let (Lack { number, depth, at, root }, render) = again.lack(source, &at_place)?;
    let used = at_place.get(number)?;
    let (field, place) = used.fields.get(depth)?;
    let before = depth.checked_sub(1).and_then(|index| used.fields.get(index));
    let end = before.map_or(used.root.end, |(_, range)| range.end);
    let bracket = usize::from(source.text[end..].starts_with(']') && before.is_some());
    let written = source.text.get(used.root.start..end + bracket)?;
    let parent = quoted(written);
    if let (Some(items), Ok(index)) = (at.as_array(), field.parse::<usize>()) {
        let there = match items.len() {
            0 => format!("{parent} is an empty list"),
            1 => format!("{parent} has one item, which is `[0]`"),
            many => format!("{parent} has {many} items, `[0]` to `[{}]`", many - 1),
        };
        let hint = format!("ask `{{% if {written} | length > {index} %}}` first, or go through the list with `for`");
        return Some(error(place, format!("{parent} has no item `[{index}]`")).available(there).hint(hint));
    }
    let (names, hidden) = render.fields(&at);
    let own = || names.iter().map(String::as_str);
    let (available, hint) = match (type_name(&at), listed(field, own())) {
        ("a map", Some(list)) => {
            let in_meta = || {
                attribute(attribute(&at, "meta")?, field)?;
                Some(format!("did you mean `meta.{field}`?"))
            };
            (Some(format!("{parent} has {list}{}", render.more(hidden))), did_you_mean(field, own()).or_else(in_meta))
        }
        ("a map", None) if again.given.is_secret => (None, None),
        ("a map", None) if hidden > 0 => (Some(unshown(&parent, hidden)), None),
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
    // All things of a sort have the same fields, so that only what lies deeper is a matter of one of them.
    let one = before.and_then(|_| render.thing(&root));
    let available = match one.map(|one| format!("{} is {one}", quoted(&source.text[used.root.clone()]))) {
        Some(one) => Some(available.map_or_else(|| one.clone(), |available| format!("{one}; {available}"))),
        None => available,
    };
    let is_of_meta = before.is_some_and(|(name, _)| name == "meta");
    let otherwise = || {
        is_of_meta
            .then(|| format!("`{{{{ {} or \"...\" }}}}` gives a value where there is none", &source.text[used.range()]))
    };
    let hint = hint.or_else(otherwise);
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
    fn lack(&self, source: &Source, at_place: &[&Use]) -> Option<(Lack, Render)> {
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
        let mut render = self.render(edits)?.render;
        Some((render.lack.take()?, render))
    }
}
