//! Components: where they are defined, and whether their calls fit the definitions.

use std::collections::BTreeSet;
use std::ops::Range;

use tera::{ComponentArg, ComponentArgType, ComponentInfo, Tera};

use super::again::Again;
use super::error::{ErrorKind, TemplateError, did_you_mean, undefined};
use super::lookup;
use super::message::{in_words, name_the_absent};
use super::near::{listed, quoted};
use super::record::Render;
use super::rewrite::closing;
use super::scan::{Token, TokenKind};
use super::source::Source;

/// The name and place of every component that a source defines.
pub(super) fn definitions(source: &Source) -> Vec<(String, Range<usize>)> {
    source
        .pieces()
        .iter()
        .filter(|piece| piece.keyword(&source.text) == "component")
        .filter_map(|piece| name(&source.text, &piece.tokens, 1))
        .collect()
}

/// The names of the components that a source may call: every name that follows a `<`, were it only compared with.
pub(super) fn calls(source: &Source) -> BTreeSet<String> {
    let after_less = |tokens: &Vec<Token>| -> Vec<String> {
        let less = (0..tokens.len()).filter(|&index| tokens[index].of(&source.text) == "<");
        less.filter_map(|index| Some(name(&source.text, tokens, index + 1)?.0)).collect()
    };
    source.pieces().iter().flat_map(|piece| after_less(&piece.tokens)).collect()
}

/// The dotted name of a component that begins at a token, and its place.
pub(super) fn name(source: &str, tokens: &[Token], index: usize) -> Option<(String, Range<usize>)> {
    let first = tokens.get(index).filter(|token| token.kind == TokenKind::Word)?;
    let mut range = first.range.clone();
    let mut name = first.of(source).to_owned();
    let mut at = index + 1;
    while let [dot, part, ..] = tokens.get(at..)?
        && dot.of(source) == "."
        && part.kind == TokenKind::Word
    {
        name.push('.');
        name.push_str(part.of(source));
        range.end = part.range.end;
        at += 2;
    }
    Some((name, range))
}

/// The components that begin as an unknown one does; where none does, how components begin.
pub(super) fn beside(name: &str, known: &BTreeSet<String>) -> Option<String> {
    let first = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    let of_same = listed(name, known.iter().map(String::as_str).filter(|other| first(other) == first(name)));
    of_same.map(|list| format!("components of {}: {list}", quoted(&first(name)))).or_else(|| {
        let all: BTreeSet<String> = known.iter().map(|name| first(name)).collect();
        listed(&first(name), all.iter().map(String::as_str)).map(|list| format!("there are components of {list}"))
    })
}

/// The calls in a source that do not fit the definition of their component.
pub(super) fn misfits(source: &Source, tera: &Tera) -> Vec<TemplateError> {
    let mut errors = Vec::new();
    let error = |range: &Range<usize>, message| source.error(range.clone(), ErrorKind::Syntax, message);
    for tokens in source.pieces().iter().map(|piece| &piece.tokens) {
        for less in (0..tokens.len()).filter(|&index| tokens[index].of(&source.text) == "<") {
            let Some((name, range)) = name(&source.text, tokens, less + 1) else { continue };
            let after = tokens.partition_point(|token| token.range.start < range.end);
            // What is not written like attributes shows that the `<` compares.
            let Some(given) = attributes(&source.text, tokens, after) else { continue };
            let Some(component) = tera.get_component_definition(&name) else { continue };
            let known = || component.args().iter().map(ComponentArg::name);
            for (token, _) in &given.values {
                let written = token.of(&source.text);
                if component.rest_param().is_none() && !known().any(|name| name == written) {
                    let message = format!("component `{name}` has no argument `{written}`");
                    let hint = did_you_mean(written, known());
                    errors.push(error(&token.range, message).available(takes(&component)).hint(hint));
                }
            }
            let is_given =
                |name: &str| given.spread || given.values.iter().any(|(token, _)| token.of(&source.text) == name);
            for argument in component.args().iter().filter(|argument| argument.is_required()) {
                if !is_given(argument.name()) {
                    let message = format!("component `{name}` needs `{}=`", argument.name());
                    errors.push(error(&range, message).available(takes(&component)));
                }
            }
        }
    }
    errors
}

/// The attributes of a call.
struct Attributes<'t> {
    /// The name of each, and where its value stands.
    values: Vec<(&'t Token, Range<usize>)>,
    /// Whether a map is spread into them, of which nothing is known before a render.
    spread: bool,
}

fn attributes<'t>(source: &str, tokens: &'t [Token], mut at: usize) -> Option<Attributes<'t>> {
    let of = |index: usize| tokens.get(index).map_or("", |token| token.of(source));
    let mut attributes = Attributes { values: Vec::new(), spread: false };
    loop {
        let token = tokens.get(at)?;
        match of(at) {
            "/" | ">" => return Some(attributes),
            "{" => {
                attributes.spread = true;
                at = closing(source, tokens, at)? + 1;
            }
            _ if token.kind == TokenKind::Word => {
                let name = token;
                at = match (of(at + 1), of(at + 2)) {
                    ("=", "{") => closing(source, tokens, at + 2)? + 1,
                    ("=", _) => at + 3,
                    _ => at + 1,
                };
                let value = tokens.get(at.checked_sub(1)?)?;
                attributes.values.push((name, name.range.start..value.range.end));
            }
            _ => return None,
        }
    }
}

/// What a component takes: "it takes `name` (text), `servers` (list), and may take `keepalive` (whole number)".
fn takes(component: &ComponentInfo) -> String {
    let list = |is_required: bool| {
        let arguments = component.args().iter().filter(|argument| argument.is_required() == is_required);
        let shown = |argument: &ComponentArg| match argument.arg_type() {
            Some(of_type) => format!("`{}` ({})", argument.name(), type_name(of_type)),
            None => format!("`{}`", argument.name()),
        };
        arguments.map(shown).collect::<Vec<_>>().join(", ")
    };
    match (list(true).as_str(), list(false).as_str()) {
        ("", "") => "it takes nothing".to_owned(),
        (required, "") => format!("it takes {required}"),
        ("", optional) => format!("it may take {optional}"),
        (required, optional) => format!("it takes {required}, and may take {optional}"),
    }
}

/// What a type of an argument is called.
pub(super) fn type_name(of_type: ComponentArgType) -> &'static str {
    match of_type {
        ComponentArgType::String => "text",
        ComponentArgType::Bool => "`true` or `false`",
        ComponentArgType::Integer => "whole number",
        ComponentArgType::Float | ComponentArgType::Number => "number",
        ComponentArgType::Array => "list",
        ComponentArgType::Map => "map",
        _ => "bytes",
    }
}

/// Where the call of a component holds a text as it is: "`options` of component `nginx.upstream`, item 1", and the place of
/// the text.
pub(super) fn holding(text: &str, source: &Source, at: usize) -> Option<(String, Range<usize>)> {
    let piece = source.pieces().iter().find(|piece| piece.range.contains(&at))?;
    let tokens = &piece.tokens;
    let lesses = (0..tokens.len()).filter(|&index| tokens[index].of(&source.text) == "<");
    lesses.into_iter().find_map(|less| {
        let (name, place) = name(&source.text, tokens, less + 1)?;
        let after = tokens.partition_point(|token| token.range.start < place.end);
        attributes(&source.text, tokens, after)?.values.into_iter().find_map(|(argument, range)| {
            let within: Vec<&Token> = tokens
                .iter()
                .filter(|token| range.start <= token.range.start && token.range.end <= range.end)
                .collect();
            let is_text = |token: &&Token| matches!(&token.kind, TokenKind::Text(written) if written == text);
            let found = within.iter().position(is_text)?;
            let of = |token: &&Token| token.of(&source.text).to_owned();
            let opens = within[..found].iter().map(of).collect::<Vec<_>>();
            // Only in a list itself is it plain which item it is.
            let item = match &opens[..] {
                [_, equals, brace, bracket, before @ ..]
                    if equals == "="
                        && brace == "{"
                        && bracket == "["
                        && !before.iter().any(|word| ["[", "(", "{"].contains(&word.as_str())) =>
                {
                    format!(", item {}", before.iter().filter(|word| *word == ",").count() + 1)
                }
                _ => String::new(),
            };
            let argument = argument.of(&source.text);
            Some((format!("`{argument}` of component `{name}`{item}"), within[found].range.clone()))
        })
    })
}

/// What is wrong with the call of a component that only a render can tell.
pub(super) struct Misfit {
    range: Range<usize>,
    message: String,
    available: String,
    hint: Option<String>,
    is_undefined: bool,
}

/// What is wrong with the call of a component at a place, if that is what Tera says there.
pub(super) fn misfit(
    message: &str,
    source: &Source,
    range: &Range<usize>,
    again: &Again<'_>,
    render: &Render,
) -> Option<Misfit> {
    let between = |text: &'_ str, before: &str| -> Option<String> {
        Some(text.split_once(before)?.1.split_once('`')?.0.to_owned())
    };
    let (argument, types) = if message.starts_with("Component argument `") {
        let types = (between(message, "(type: `")?, between(message, "expected type: `")?);
        (between(message, "Component argument `")?, Some(types))
    } else if message.starts_with("Argument `") || message.starts_with("Implicit argument `") {
        (between(message, "rgument `")?, None)
    } else if message.starts_with("Unknown argument(s) `") {
        (between(message, "Unknown argument(s) `")?, None)
    } else {
        return None;
    };
    let piece = source.pieces().iter().find(|piece| piece.range.contains(&range.start))?;
    let tokens = &piece.tokens;
    let of = |index: usize| tokens.get(index).map_or("", |token: &Token| token.of(&source.text));
    let is_call = |index: &usize| of(*index) == "<" && tokens[*index].range.end >= range.start;
    let less = (0..tokens.len()).find(is_call).or_else(|| (0..tokens.len()).rfind(|&index| of(index) == "<"))?;
    let (name, place) = name(&source.text, tokens, less + 1)?;
    let component = again.parsed.tera.get_component_definition(&name)?;
    let after = tokens.partition_point(|token| token.range.start < place.end);
    let given = attributes(&source.text, tokens, after);
    let written = given.iter().flat_map(|given| &given.values).find(|(token, _)| token.of(&source.text) == argument);
    let range = written.map_or(place, |(_, range)| range.clone());
    let available = takes(&component);
    let misfit = |message: String, hint: Option<String>, is_undefined| {
        Some(Misfit { range, message, available, hint, is_undefined })
    };
    match types {
        Some((given, _)) if given == "undefined" => {
            misfit(format!("`{argument}` of component `{name}` is undefined"), None, true)
        }
        Some((given, wanted)) => {
            let (given, wanted) = (in_words(&format!("`{given}`")), in_words(&format!("`{wanted}`")));
            let hint = match (wanted.as_str(), given.as_str()) {
                ("a whole number" | "a number", "text") => {
                    Some(format!("a number stands in braces, `{argument}={{8}}`, and `int` makes one of a text"))
                }
                ("a list", "text") => Some("`split`, `lines` and `from_json` make a list of a text".to_owned()),
                ("a list", "a map") => Some("a list of one is `[...]`; `values` makes a list of a map".to_owned()),
                ("a truth value", _) => Some(format!("it is `{argument}={{true}}` or `{argument}={{false}}`")),
                ("text", "a number") => Some(format!("text stands in quotes: `{argument}=\"8\"`")),
                ("a map", "text") => Some("`from_json` and its like make a map of a text".to_owned()),
                _ => None,
            };
            misfit(format!("`{argument}` of component `{name}` must be {wanted}, not {given}"), hint, false)
        }
        None if message.starts_with("Unknown") => {
            let known = component.args().iter().map(ComponentArg::name);
            // It comes of a map, which may be made of a value.
            let may_show = render.may_name(&argument, &render.known());
            let shown = if may_show {
                format!(" {}", quoted(&argument))
            } else {
                " of a name in the map that is spread".into()
            };
            let hint = did_you_mean(&argument, known).filter(|_| may_show);
            misfit(format!("component `{name}` has no argument{shown}"), hint, false)
        }
        None => misfit(format!("component `{name}` needs `{argument}=`"), None, false),
    }
}

impl Misfit {
    /// The error, with what is undefined where that is what is wrong.
    pub(super) fn error(
        self,
        source: &Source,
        callers: &[(&Source, usize)],
        again: &Again<'_>,
        render: &Render,
    ) -> TemplateError {
        let Self { range, message, available, hint, is_undefined } = self;
        if is_undefined {
            let found = lookup::undefined("", source, &range, callers, again);
            return found.unwrap_or_else(|| {
                let failure = name_the_absent(undefined(message), source, &range, render);
                let available = failure.available.clone().unwrap_or(available);
                failure.at(source, range).available(available)
            });
        }
        source.error(range, ErrorKind::Function, message).available(available).hint(hint)
    }
}
