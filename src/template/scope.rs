//! Which names a place of a source sees, and which names its expressions use: for the message about one that is not there.

use std::collections::BTreeSet;
use std::ops::Range;

use super::rewrite::operand_end;
use super::scan::{Piece, PieceKind, Token, TokenKind};

/// The words of expressions that name nothing.
const KEYWORDS: &[&str] = &[
    "and",
    "or",
    "not",
    "in",
    "is",
    "if",
    "elif",
    "else",
    "for",
    "set",
    "set_global",
    "true",
    "false",
    "none",
    "True",
    "False",
    "None",
];

/// The blocks in which no word is the name of a value.
const NAMELESS: &[&str] = &["include", "extends", "block", "component", "endcomponent", "raw", "endraw", "</"];

/// The names that a place sees.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scope {
    /// The names.
    pub(super) names: BTreeSet<String>,
    /// Whether it lies in a component, which sees nothing of whoever calls it.
    pub(super) is_closed: bool,
}

/// What opens a scope, with the names in it.
enum Open {
    For(BTreeSet<String>),
    Component(BTreeSet<String>),
    If,
}

impl Scope {
    /// What is seen at a place of a source. What is set in an `if` counts, though that may not have come about.
    pub(super) fn at(source: &str, pieces: &[Piece], at: usize) -> Self {
        let mut global = BTreeSet::new();
        let mut open: Vec<Open> = Vec::new();
        for piece in pieces.iter().take_while(|piece| piece.range.end <= at) {
            let of = |index: usize| piece.tokens.get(index).map_or("", |token| token.of(source));
            let name = of(1).to_owned();
            match piece.keyword(source) {
                "for" => open.push(Open::For(bound(source, &piece.tokens, 0))),
                "component" => open.push(Open::Component(parameters(source, &piece.tokens))),
                "if" => open.push(Open::If),
                // Behind the `else` of a loop there is no item.
                "else" => {
                    if let Some(Open::For(names)) = open.last_mut() {
                        names.clear();
                    }
                }
                "endfor" | "endcomponent" | "endif" => drop(open.pop()),
                keyword @ ("set" | "set_global") => {
                    let is_inner = |open: &Open| match open {
                        Open::For(_) => keyword == "set",
                        Open::Component(_) => true,
                        Open::If => false,
                    };
                    match open.iter_mut().rev().find(|open| is_inner(open)) {
                        Some(Open::For(names) | Open::Component(names)) => names.insert(name),
                        _ => global.insert(name),
                    };
                }
                _ => {}
            }
        }
        let mut scope = Self::default();
        if let Some(piece) = pieces.iter().find(|piece| piece.range.contains(&at)) {
            scope.names.extend(comprehensions(source, &piece.tokens, at));
        }
        for open in open.into_iter().rev() {
            match open {
                Open::For(names) => scope.names.extend(names),
                Open::Component(names) => {
                    scope.names.extend(names);
                    scope.is_closed = true;
                    return scope;
                }
                Open::If => {}
            }
        }
        scope.names.extend(global);
        scope
    }
}

/// The names between the `for` at an index and its `in`.
fn bound(source: &str, tokens: &[Token], index: usize) -> BTreeSet<String> {
    let words = tokens.iter().skip(index + 1).take_while(|token| token.of(source) != "in");
    words.filter(|token| token.kind == TokenKind::Word).map(|token| token.of(source).to_owned()).collect()
}

/// The names that the brackets around a place give with `[... for NAME in ...]`.
fn comprehensions(source: &str, tokens: &[Token], at: usize) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut brackets: Vec<(usize, BTreeSet<String>)> = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        match token.of(source) {
            "[" | "?[" | "(" | "{" => brackets.push((token.range.start, BTreeSet::new())),
            "]" | ")" | "}" => {
                if let Some((start, bound)) = brackets.pop()
                    && (start..token.range.end).contains(&at)
                {
                    names.extend(bound);
                }
            }
            "for" if index > 0 => {
                if let Some((_, names)) = brackets.last_mut() {
                    names.extend(bound(source, tokens, index));
                }
            }
            _ => {}
        }
    }
    names
}

/// The names of what a component takes: `component NAME(a: list, b: text = "", ...rest)`.
fn parameters(source: &str, tokens: &[Token]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut depth = 0_usize;
    let mut is_next = false;
    for token in tokens {
        match token.of(source) {
            "(" | "[" | "{" => {
                depth += 1;
                is_next = depth == 1;
            }
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            "," => is_next = depth == 1,
            word if is_next && token.kind == TokenKind::Word => {
                names.insert(word.to_owned());
                is_next = false;
            }
            _ => {}
        }
    }
    names
}

/// The use of a name in an expression, with the fields that are asked of it: `a.b["c"]`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Use {
    /// Where the name stands.
    pub(super) root: Range<usize>,
    /// The fields, each with its place.
    pub(super) fields: Vec<(String, Range<usize>)>,
    /// Where the whole operand ends, with its filters.
    pub(super) end: usize,
    /// Whether `default` stands behind it, so that it may be undefined.
    pub(super) is_guarded: bool,
}

impl Use {
    /// Where the name stands with its fields.
    pub(super) fn range(&self) -> Range<usize> {
        self.root.start..self.fields.last().map_or(self.root.end, |(_, range)| range.end)
    }
}

/// All uses of names in the tags of a source.
pub(super) fn uses(source: &str, pieces: &[Piece]) -> Vec<Use> {
    let is_tag = |piece: &&Piece| match piece.kind {
        PieceKind::Variable => true,
        PieceKind::Block => !NAMELESS.contains(&piece.keyword(source)),
        PieceKind::Text | PieceKind::Comment => false,
    };
    pieces.iter().filter(is_tag).flat_map(|piece| in_tag(source, piece)).collect()
}

fn in_tag(source: &str, piece: &Piece) -> Vec<Use> {
    let tokens = &piece.tokens;
    let of = |index: usize| tokens.get(index).map_or("", |token| token.of(source));
    let mut uses = Vec::new();
    let mut is_bound = false;
    let first = usize::from(piece.kind == PieceKind::Block);
    for (index, token) in tokens.iter().enumerate().skip(first) {
        let word = token.of(source);
        if word == "for" || (index == 1 && of(0) == "for") {
            is_bound = true;
        }
        if word == "in" {
            is_bound = false;
        }
        let is_set = index == 1 && matches!(of(0), "set" | "set_global");
        if token.kind != TokenKind::Word || is_bound || is_set || KEYWORDS.contains(&word) {
            continue;
        }
        let before = index.checked_sub(1).map_or("", |index| of(index));
        // Two operands never stand side by side: the second is a name of something else, such as an attribute.
        let is_behind_operand = index > first
            && match &tokens[index - 1].kind {
                TokenKind::Text(_) | TokenKind::Number => true,
                TokenKind::Word => !KEYWORDS.contains(&before),
                TokenKind::Symbol => matches!(before, "." | "?." | "|" | "<" | "</" | "}" | ")" | "]"),
            };
        let is_test = before == "is" || (before == "not" && index >= 2 && of(index - 2) == "is");
        if is_behind_operand || is_test || matches!(of(index + 1), "(" | "=") || (index == 1 && of(0) == "filter") {
            continue;
        }
        let mut fields = Vec::new();
        let mut at = index + 1;
        loop {
            match (of(at), tokens.get(at + 1)) {
                (".", Some(name)) if name.kind == TokenKind::Word => {
                    fields.push((name.of(source).to_owned(), name.range.clone()));
                    at += 2;
                }
                ("[", Some(Token { kind: TokenKind::Text(name), range })) if of(at + 2) == "]" => {
                    fields.push((name.clone(), range.clone()));
                    at += 3;
                }
                // An item of a list; its number stands for a name.
                ("[", Some(number)) if number.kind == TokenKind::Number && of(at + 2) == "]" => {
                    fields.push((number.of(source).to_owned(), number.range.clone()));
                    at += 3;
                }
                _ => break,
            }
        }
        let end = operand_end(source, tokens, index).map_or(token.range.end, |last| tokens[last].range.end);
        let is_guarded = of(at) == "|" && of(at + 1) == "default";
        uses.push(Use { root: token.range.clone(), fields, end, is_guarded });
    }
    uses
}

#[cfg(test)]
mod tests {
    use super::super::scan::{default_delimiters, scan};
    use super::*;

    #[test]
    fn a_place_sees_what_is_around_it() {
        for (source, expected) in [
            ("{% set a = 1 %}@{% set b = 1 %}", "a"),
            ("{% for k, v in m %}@{% endfor %}", "k v"),
            ("{% for k, v in m %}{% set s = 1 %}{% set_global g = 1 %}{% endfor %}@", "g"),
            ("{% for x in m %}{% else %}@{% endfor %}", ""),
            ("{% if a %}{% set s = 1 %}{% else %}@{% endif %}", "s"),
            (
                "{% set a = 1 %}{% component c(x: text, y = [1, z], ...rest) %}{% set s = 1 %}@{% endcomponent %}",
                "rest s x y|",
            ),
            ("{% component c(x) %}{% endcomponent %}@", ""),
            ("{% set a %}text{% endset %}{% filter upper %}@{% endfilter %}", "a"),
            ("{{ [@ for x, y in z(a=[1]) if x] }}", "x y"),
            ("{{ [f for x in z] ~ @ }}", ""),
        ] {
            let at = source.find('@').unwrap();
            let source = source.replace('@', "f");
            let pieces = scan(&source, &default_delimiters()).unwrap();
            let Scope { names, is_closed } = Scope::at(&source, &pieces, at);
            let names = names.into_iter().collect::<Vec<_>>().join(" ");
            assert_eq!(format!("{names}{}", if is_closed { "|" } else { "" }), expected, "{source}");
        }
    }

    #[test]
    fn uses_of_names_are_told_from_other_words() {
        for (source, expected) in [
            ("{{ a }} text {# b #}", "a"),
            ("{{ a.b[\"c\"].d[0].e }}", "a.b.c.d.0.e"),
            ("{{ a | f(x=b.c) is not odd and not g(h=true) }}", "a b.c"),
            ("{% for k, v in m.n %}{% endfor %}", "m.n"),
            ("{% if a.b > 1 or c == d?.e %}{% elif f %}{% endif %}", "a.b c d f"),
            ("{% set x = y %}{% set z | upper %}{% endset %}", "y"),
            ("{{ <nginx.upstream name=\"a\" servers={s.t} flag keepalive=5 last /> }}", "s.t"),
            ("{{ [x.y for x in z.w if x] }}", "x.y z.w x"),
            ("{% component c(x: text = \"\") %}{% endcomponent c %}", ""),
            ("{% include \"a\" %}{% filter upper %}{% endfilter %}", ""),
            ("{{ \"t\" ~ -n }}{{ {\"k\": v} }}", "n v"),
        ] {
            let pieces = scan(source, &default_delimiters()).unwrap();
            let shown = |used: &Use| {
                let fields = used.fields.iter().map(|(name, _)| name.as_str());
                std::iter::once(&source[used.root.clone()]).chain(fields).collect::<Vec<_>>().join(".")
            };
            let found: Vec<String> = uses(source, &pieces).iter().map(shown).collect();
            assert_eq!(found.join(" "), expected, "{source}");
        }
    }
}
