//! What is wrong with a template before it is rendered: every misspelt name, with its place and what was meant.

use std::collections::BTreeSet;

use super::Environment;
use super::component;
use super::error::{ErrorKind, TemplateError, did_you_mean};
use super::filter::{FILTERS, TERA_FILTERS, TERA_TESTS};
use super::function::{FUNCTIONS, Function, TERA_FUNCTIONS};
use super::scan::{Piece, PieceKind, Token, TokenKind};
use super::source::Source;
use crate::registry::Path;

/// Words that may stand before a bracket and are no functions.
const KEYWORDS: &[&str] = &["and", "or", "not", "in", "if", "elif", "else", "is", "for", "set", "set_global", "filter"];

/// A call or mention of something by name.
struct Call<'s> {
    name: &'s str,
    token: &'s Token,
    arguments: Vec<(&'s Token, &'s [Token])>,
    /// Whether something in the brackets has no name; Tera refuses it.
    malformed: bool,
}

/// What a template may call a thing of one sort, for one name.
struct Known<'k> {
    name: &'k str,
    required: &'k [&'k str],
    optional: &'k [&'k str],
}

/// Everything that is wrong with the names in a source. `components` are those that there are, if that is known.
pub(super) fn check(
    source: &Source,
    environment: &Environment,
    components: Option<&BTreeSet<String>>,
) -> Vec<TemplateError> {
    let mut checker = Checker { source, environment, components, errors: Vec::new() };
    for piece in source.pieces() {
        checker.piece(piece);
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
        let known = || {
            let ours = FUNCTIONS.iter().map(|function| Known {
                name: function.name,
                required: function.required,
                optional: function.optional,
            });
            ours.chain(TERA_FUNCTIONS.iter().map(|(name, optional)| Known { name, required: &[], optional }))
        };
        let ours = FUNCTIONS.iter().find(|function| function.name == call.name);
        let extra: &[&str] =
            if ours.is_some_and(|function| function.registry) { &["registry", "optional"] } else { &[] };
        if self.known("function", call, known(), extra)
            && let Some(function) = ours
        {
            self.registry(function, call);
            self.literals(function, call);
        }
    }

    fn filter(&mut self, call: &Call<'c>) {
        let ours = FILTERS.iter().filter(|filter| !filter.name.starts_with("__"));
        let ours = ours.map(|filter| Known { name: filter.name, required: filter.required, optional: filter.optional });
        let tera = TERA_FILTERS.iter().map(|(name, optional)| Known { name, required: &[], optional });
        self.known("filter", call, ours.chain(tera), &[]);
    }

    fn test(&mut self, call: &Call<'c>) {
        let tests = TERA_TESTS.iter().map(|(name, optional)| Known { name, required: &[], optional });
        self.known("test", call, tests, &[]);
    }

    /// Checks the name and the arguments of a call; whether the name is known.
    fn known<'k>(
        &mut self,
        sort: &str,
        call: &Call<'c>,
        known: impl Iterator<Item = Known<'k>> + Clone,
        extra: &[&'static str],
    ) -> bool {
        let Some(found) = known.clone().find(|known| known.name == call.name) else {
            let hint = did_you_mean(call.name, known.map(|known| known.name));
            self.problem(call.token, format!("unknown {sort} `{}`", call.name), hint);
            return false;
        };
        let names = || found.required.iter().chain(found.optional).chain(extra).copied();
        for (argument, _) in &call.arguments {
            let written = argument.of(&self.source.text);
            if !names().any(|name| name == written) {
                let list = names().map(|name| format!("`{name}=`")).collect::<Vec<_>>().join(", ");
                let takes = if list.is_empty() { "it takes no arguments".into() } else { format!("it takes {list}") };
                let hint = did_you_mean(written, names()).unwrap_or(takes);
                self.problem(argument, format!("{sort} `{}` has no argument `{written}`", call.name), Some(hint));
            }
        }
        let unsure = call.malformed
            || call.arguments.iter().any(|(name, _)| !names().any(|known| known == name.of(&self.source.text)));
        for required in found.required {
            if self.argument(call, required).is_none() && !unsure {
                self.problem(call.token, format!("{sort} `{}` needs `{required}=`", call.name), None);
            }
        }
        true
    }

    fn registry(&mut self, function: &Function, call: &Call<'c>) {
        if !function.registry {
            return;
        }
        let names = || self.environment.registries.keys().map(|name| &**name);
        let list = || names().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        match self.argument(call, "registry") {
            None if names().count() > 1 => {
                let message = format!("`{}` must say which registry it asks: there are several", call.name);
                self.problem(call.token, message, Some(format!("add `registry=`, one of {}", list())));
            }
            None if names().count() == 0 => {
                let message = format!("`{}` has no registry to ask", call.name);
                self.problem(call.token, message, Some("add one under `registries:`".into()));
            }
            Some([Token { kind: TokenKind::Text(name), .. }]) if !names().any(|known| known == name) => {
                let hint = did_you_mean(name, names()).unwrap_or_else(|| format!("there is {}", list()));
                self.problem(call.token, format!("there is no registry `{name}`"), Some(hint));
            }
            _ => {}
        }
    }

    /// Checks arguments that are written out.
    fn literals(&mut self, function: &Function, call: &Call<'c>) {
        let Some([token @ Token { kind: TokenKind::Text(path), .. }]) = self.argument(call, "path") else { return };
        if function.registry
            && let Err(error) = Path::parse(path)
        {
            self.problem(token, format!("`{path}` is no path: {error}"), None);
        }
    }

    fn component(&mut self, tokens: &'c [Token], index: usize) {
        let Some((name, range)) = component::name(&self.source.text, tokens, index) else { return };
        if let Some(known) = self.components
            && !known.contains(&name)
        {
            let hint = did_you_mean(&name, known.iter().map(String::as_str));
            let message = format!("unknown component `{name}`");
            self.errors.push(self.source.error(range, ErrorKind::Syntax, message).hint(hint));
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
                break;
            }
        }
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
