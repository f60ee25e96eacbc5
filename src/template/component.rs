//! Components: where they are defined, and whether their calls fit the definitions.

use std::collections::BTreeSet;
use std::ops::Range;

use tera::{ComponentArg, Tera};

use super::error::{ErrorKind, TemplateError, did_you_mean};
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
            for token in &given.names {
                let written = token.of(&source.text);
                if component.rest_param().is_none() && !known().any(|name| name == written) {
                    let list = known().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
                    let hint = did_you_mean(written, known()).unwrap_or_else(|| format!("it has {list}"));
                    let message = format!("component `{name}` has no argument `{written}`");
                    errors.push(error(&token.range, message).hint(hint));
                }
            }
            let is_given = |name: &str| given.spread || given.names.iter().any(|token| token.of(&source.text) == name);
            for argument in component.args().iter().filter(|argument| argument.is_required()) {
                if !is_given(argument.name()) {
                    errors.push(error(&range, format!("component `{name}` needs `{}=`", argument.name())));
                }
            }
        }
    }
    errors
}

/// The attributes of a call.
struct Attributes<'t> {
    names: Vec<&'t Token>,
    /// Whether a map is spread into them, of which nothing is known before a render.
    spread: bool,
}

fn attributes<'t>(source: &str, tokens: &'t [Token], mut at: usize) -> Option<Attributes<'t>> {
    let of = |index: usize| tokens.get(index).map_or("", |token| token.of(source));
    let mut attributes = Attributes { names: Vec::new(), spread: false };
    loop {
        let token = tokens.get(at)?;
        match of(at) {
            "/" | ">" => return Some(attributes),
            "{" => {
                attributes.spread = true;
                at = closing(source, tokens, at)? + 1;
            }
            _ if token.kind == TokenKind::Word => {
                attributes.names.push(token);
                at = match (of(at + 1), of(at + 2)) {
                    ("=", "{") => closing(source, tokens, at + 2)? + 1,
                    ("=", _) => at + 3,
                    _ => at + 1,
                };
            }
            _ => return None,
        }
    }
}
