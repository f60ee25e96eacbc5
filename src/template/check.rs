//! What is wrong with a template before it is rendered: every misspelt name, with its place and what was meant.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Environment;
use super::catalog::Sort;
use super::component;
use super::entry::{Default, Entry};
use super::error::{ErrorKind, MOST, TemplateError, did_you_mean};
use super::filter::filters;
use super::foreign::translated;
use super::function::{functions, own_name};
use super::literal;
use super::predicate::TESTS;
use super::scan::{Piece, PieceKind, Token, TokenKind};
use super::source::Source;
use crate::registry::{Path, Query, Registry};

/// Words that may stand before a bracket and are no functions.
const KEYWORDS: &[&str] = &["and", "or", "not", "in", "if", "elif", "else", "is", "for", "set", "set_global", "filter"];

/// A call or mention of something by name.
#[derive(Clone)]
struct Call<'s> {
    name: &'s str,
    token: &'s Token,
    arguments: Vec<(&'s Token, &'s [Token])>,
    /// Whether something in the brackets has no name; Tera refuses it.
    malformed: bool,
}

/// Everything that is wrong with the names in a source, up to the tag with which it is [`MOST`]. `components` are those that there are, if that is known.
pub(super) fn check(
    source: &Source,
    environment: &Environment,
    components: Option<&BTreeSet<String>>,
) -> Vec<TemplateError> {
    let mut checker = Checker { source, environment, components, errors: Vec::new() };
    for piece in source.pieces() {
        checker.piece(piece);
        if checker.errors.len() >= MOST {
            break;
        }
    }
    checker.errors
}

struct Checker<'c> {
    source: &'c Source,
    environment: &'c Environment,
    components: Option<&'c BTreeSet<String>>,
    errors: Vec<TemplateError>,
}

impl<'c> Checker<'c> {
    fn piece(&mut self, piece: &'c Piece) {
        let tokens = &piece.tokens;
        let keyword = piece.keyword(&self.source.text);
        for (index, token) in tokens.iter().enumerate() {
            if token.kind != TokenKind::Word {
                continue;
            }
            let before = index.checked_sub(1).map_or("", |index| self.of(tokens, index));
            let after = self.of(tokens, index + 1);
            let negated = before == "not" && index >= 2 && self.of(tokens, index - 2) == "is";
            if self.of(tokens, index) == "__tera_context" {
                let message = "`__tera_context` is refused: it writes out every value";
                self.errors.push(self.source.error(token.range.clone(), ErrorKind::Syntax, message));
            } else if before == "|" || (keyword == "filter" && index == 1) {
                self.filter(&self.call(tokens, index));
            } else if before == "is" && self.of(tokens, index) != "not" || negated {
                self.test(&self.call(tokens, index));
            } else if before == "<" && self.begins_component(piece, index) {
                self.component(tokens, index);
            } else if after == "("
                && !matches!(before, "." | "?.")
                && !KEYWORDS.contains(&self.of(tokens, index))
                && keyword != "component"
            {
                self.function(&self.call(tokens, index));
            }
        }
    }

    fn function(&mut self, call: &Call<'c>) {
        let call = &Call { name: own_name(call.name), ..call.clone() };
        let known: Vec<&Entry> = functions().map(|function| &function.entry).collect();
        let question = functions().find(|function| function.entry.name == call.name).and_then(|ours| ours.question);
        let extra: &[&str] = if question.is_some() { &["registry", "optional"] } else { &[] };
        if self.known(Sort::Function, call, &known, extra)
            && let Some(question) = question
        {
            let query = question(&|argument| self.written(call, argument));
            if let Some((name, registry)) = self.registry(call, query.as_ref())
                && let Some(query) = query
                && let Err(refusal) = registry.supports(&query)
            {
                self.unsupported(call, name, &refusal);
            }
            self.path(call);
            self.literals(call);
        }
    }

    fn filter(&mut self, call: &Call<'c>) {
        let known: Vec<&Entry> = filters().map(|filter| &filter.entry).collect();
        self.known(Sort::Filter, call, &known, &[]);
    }

    fn test(&mut self, call: &Call<'c>) {
        self.known(Sort::Test, call, &TESTS.entries.iter().collect::<Vec<_>>(), &[]);
    }

    /// Checks the name and the arguments of a call; whether the name is known.
    fn known(&mut self, sort: Sort, call: &Call<'c>, known: &[&Entry], extra: &[&'static str]) -> bool {
        let Some(found) = known.iter().find(|known| known.name == call.name) else {
            let names = || known.iter().map(|known| known.name);
            let list = || {
                let all: Vec<String> = names().map(|name| format!("`{name}`")).collect();
                // There are too many filters to read through.
                (all.len() <= 20).then(|| format!("there is {}", all.join(", ")))
            };
            let hint = translated(sort, call.name).or_else(|| did_you_mean(call.name, names())).or_else(list);
            self.problem(call.token, format!("unknown {} `{}`", sort.as_str(), call.name), hint);
            return false;
        };
        let names = || found.arguments.iter().map(|argument| argument.name).chain(extra.iter().copied());
        for (argument, _) in &call.arguments {
            let written = argument.of(&self.source.text);
            if !names().any(|name| name == written) {
                let list = names().map(|name| format!("`{name}=`")).collect::<Vec<_>>().join(", ");
                let takes = if list.is_empty() { "it takes no arguments".into() } else { format!("it takes {list}") };
                let hint = did_you_mean(written, names()).unwrap_or(takes);
                self.problem(
                    argument,
                    format!("{} `{}` has no argument `{written}`", sort.as_str(), call.name),
                    Some(hint),
                );
            }
        }
        let unsure = call.malformed
            || call.arguments.iter().any(|(name, _)| !names().any(|known| known == name.of(&self.source.text)));
        let required = found.arguments.iter().filter(|argument| argument.default == Default::Required);
        for required in required.map(|argument| argument.name) {
            if self.argument(call, required).is_none() && !unsure {
                self.problem(call.token, format!("{} `{}` needs `{required}=`", sort.as_str(), call.name), None);
            }
        }
        true
    }

    /// The registry that a call asks, where that can be told before a render. It complains where none is named and one
    /// has to be, and where there is none of the name.
    fn registry(&mut self, call: &Call<'c>, query: Option<&Query>) -> Option<(&'c Arc<str>, &'c Arc<dyn Registry>)> {
        let registries = &self.environment.registries;
        let of_its_sort: BTreeMap<_, _> = match query {
            Some(query) => self.environment.registries_for(query).collect(),
            None => registries.iter().collect(),
        };
        let list = || of_its_sort.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        match self.argument(call, "registry") {
            None if of_its_sort.len() > 1 => {
                let message = format!("`{}` must say which registry it asks: there are several", call.name);
                self.problem(call.token, message, Some(format!("add `registry=`, one of {}", list())));
                None
            }
            None if of_its_sort.is_empty() => {
                let message = format!("`{}` has no registry to ask", call.name);
                let of_dns = if matches!(query, Some(Query::Lookup(_))) { " of kind `dns`" } else { "" };
                self.problem(call.token, message, Some(format!("add one{of_dns} under `registries:`")));
                None
            }
            None => of_its_sort.into_iter().next(),
            Some([Token { kind: TokenKind::Text(name), .. }]) => {
                let found = registries.get_key_value(name.as_str());
                if found.is_none() {
                    let hint = did_you_mean(name, registries.keys().map(|name| &**name));
                    let hint = hint.unwrap_or_else(|| format!("there is {}", list()));
                    self.problem(call.token, format!("there is no registry `{name}`"), Some(hint));
                }
                found
            }
            Some(_) => None,
        }
    }

    /// An argument as far as it can be told before a render.
    fn written(&self, call: &Call<'c>, name: &str) -> Option<String> {
        match self.argument(call, name)? {
            [Token { kind: TokenKind::Text(text), .. }] => Some(text.clone()),
            _ => Some("any".to_owned()),
        }
    }

    /// Complains that a registry cannot answer a call, at the argument that it does not take if that is the reason.
    fn unsupported(&mut self, call: &Call<'c>, registry: &str, refusal: &str) {
        let is_named = |argument: &Token| refusal.contains(&format!("`{}=`", argument.of(&self.source.text)));
        let named = call.arguments.iter().map(|(argument, _)| *argument).find(|argument| is_named(argument));
        self.problem(named.unwrap_or(call.token), format!("registry `{registry}` {refusal}"), None);
    }

    /// Checks the path of a call where it is written out.
    fn path(&mut self, call: &Call<'c>) {
        if let Some([token @ Token { kind: TokenKind::Text(path), .. }]) = self.argument(call, "path")
            && let Err(error) = Path::parse(path)
        {
            self.problem(token, format!("`{path}` is no path: {error}"), None);
        }
    }

    /// Checks what is written out of the other arguments, alone or in a list.
    fn literals(&mut self, call: &Call<'c>) {
        let is_literal = |token: &Token| match token.kind {
            TokenKind::Text(_) => true,
            _ => matches!(token.of(&self.source.text), "[" | "," | "]"),
        };
        // What is worked out of several things is judged when it is there.
        let literals = call.arguments.iter().filter(|(_, value)| value.iter().all(is_literal));
        for (argument, value) in literals {
            for token in *value {
                if let TokenKind::Text(text) = &token.kind
                    && let Some((message, hint)) = literal::refusal(call.name, argument.of(&self.source.text), text)
                {
                    self.problem(token, message, hint);
                }
            }
        }
    }

    fn component(&mut self, tokens: &'c [Token], index: usize) {
        let Some((name, range)) = component::name(&self.source.text, tokens, index) else { return };
        if let Some(known) = self.components
            && !known.contains(&name)
        {
            let hint = did_you_mean(&name, known.iter().map(String::as_str));
            let message = format!("unknown component `{name}`");
            let error = self.source.error(range, ErrorKind::Syntax, message);
            self.errors.push(error.available(component::beside(&name, known)).hint(hint));
        }
    }

    /// Whether the `<` before this word begins a component rather than compares.
    fn begins_component(&self, piece: &Piece, index: usize) -> bool {
        let tokens = &piece.tokens;
        if piece.kind == PieceKind::Block && index == 1 {
            return true;
        }
        // What stands before a comparison is an operand.
        match index.checked_sub(2).map(|index| &tokens[index]) {
            None => true,
            Some(token) => match token.of(&self.source.text) {
                ")" | "]" | "}" => false,
                word if token.kind == TokenKind::Word => KEYWORDS.contains(&word),
                _ => token.kind == TokenKind::Symbol,
            },
        }
    }

    fn call(&self, tokens: &'c [Token], index: usize) -> Call<'c> {
        let name = self.of(tokens, index);
        let mut call = Call { name, token: &tokens[index], arguments: Vec::new(), malformed: false };
        if self.of(tokens, index + 1) != "(" {
            return call;
        }
        let mut depth = 0_usize;
        let mut start = index + 2;
        for at in index + 1..tokens.len() {
            match self.of(tokens, at) {
                "(" | "[" | "{" | "?[" => depth += 1,
                ")" | "]" | "}" => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 || (depth == 1 && self.of(tokens, at) == ",") {
                if self.of(tokens, start + 1) == "=" && start + 1 < at {
                    call.arguments.push((&tokens[start], &tokens[start + 2..at]));
                } else {
                    call.malformed |= start < at;
                }
                start = at + 1;
            }
            if depth == 0 {
                return call;
            }
        }
        // What is not closed may have more arguments.
        call.malformed = true;
        call
    }

    fn argument(&self, call: &Call<'c>, name: &str) -> Option<&'c [Token]> {
        call.arguments.iter().find(|(argument, _)| argument.of(&self.source.text) == name).map(|(_, value)| *value)
    }

    fn of(&self, tokens: &[Token], index: usize) -> &'c str {
        tokens.get(index).map_or("", |token| token.of(&self.source.text))
    }

    fn problem(&mut self, token: &Token, message: String, hint: Option<String>) {
        self.errors.push(self.source.error(token.range.clone(), ErrorKind::Syntax, message).hint(hint));
    }
}
