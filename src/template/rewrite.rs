//! What is changed in a source besides its block lines, so that Tera does what templates mean.

use std::collections::HashMap;
use std::ops::Range;

use super::edit::Edit;
use super::filter::{EACH, PRESENT};
use super::function::TICK;
use super::print::{LINE_AGAIN, LINES, ONE_LINE, WITHIN_LINE, of_lines, within_lines};
use super::scan::{Piece, PieceKind, Token, TokenKind};
use crate::config::Delimiters;

/// The file that an `include` or `extends` names.
pub(super) fn inclusion<'p>(source: &str, piece: &'p Piece) -> Option<(&'p Token, &'p str)> {
    match &piece.tokens[..] {
        [keyword, name, ..]
            if piece.kind == PieceKind::Block && ["include", "extends"].contains(&keyword.of(source)) =>
        {
            match &name.kind {
                TokenKind::Text(text) => Some((name, text)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The edits: includes name what they were resolved to, loops look at the clock and refuse texts, `~` refuses what is undefined, for which
/// it would write nothing, and what has a line of its own may print several.
pub(super) fn edits(
    source: &str,
    pieces: &[Piece],
    delimiters: &Delimiters,
    included: &HashMap<usize, String>,
) -> Vec<Edit> {
    let mut edits = Vec::new();
    let (open, close) = (&delimiters.variable.0, &delimiters.variable.1);
    for (first, last) in within_lines(source, pieces) {
        // The calls take the places of the tags for the white space around them.
        let minus = |is_ruled: bool| if is_ruled { "-" } else { "" };
        let (before, behind) = (minus(pieces[first].control_start(source)), minus(pieces[last].control_end));
        edits.push(Edit::insert(pieces[first].range.start, format!("{open}{before} {WITHIN_LINE}() {close}")));
        edits.push(Edit::insert(pieces[last].range.end, format!("{open} {LINE_AGAIN}() {behind}{close}")));
    }
    let of_lines = of_lines(source, pieces);
    for (index, piece) in pieces.iter().enumerate() {
        if let Some((token, _)) = inclusion(source, piece)
            && let Some(name) = included.get(&token.range.start)
        {
            edits.push(Edit { range: token.range.clone(), text: format!("\"{name}\"") });
        }
        if of_lines.contains(&index) {
            let call = |name: &str| format!("{open} {name}() {close}");
            edits.push(Edit::insert(piece.range.start, call(LINES)));
            edits.push(Edit::insert(piece.range.end, call(ONE_LINE)));
        }
        if piece.keyword(source) == "for" {
            // The call takes the place of the tag for the white space that follows it.
            let minus = if piece.control_end { "-" } else { "" };
            edits.push(Edit::insert(piece.range.end, format!("{open} {TICK}() {minus}{close}")));
        }
        for (index, token) in piece.tokens.iter().enumerate() {
            if token.of(source) == "~" {
                let filter = format!(" | {PRESENT}");
                if index > 0 && !is_literal(&piece.tokens[index - 1]) {
                    edits.push(Edit::insert(piece.tokens[index - 1].range.end, &*filter));
                }
                if let Some(last) = operand_end(source, &piece.tokens, index + 1)
                    && !(last == index + 1 && is_literal(&piece.tokens[last]))
                    // Between two `~` the operand is already guarded.
                    && piece.tokens.get(last + 1).is_none_or(|next| next.of(source) != "~")
                {
                    edits.push(Edit::insert(piece.tokens[last].range.end, &*filter));
                }
            }
        }
        // Behind the guards of operands, which may end where these do.
        for (looped, is_operand) in looped_over(source, piece) {
            let (open, close) = if is_operand { ("", "") } else { ("(", ")") };
            edits.push(Edit::insert(looped.start, open));
            edits.push(Edit::insert(looped.end, format!("{close} | {EACH}")));
        }
    }
    edits
}

/// What stands between operands, or before one, so that a filter behind the last would be of that alone.
const OPERATORS: &[&str] = &[
    "or", "and", "not", "in", "is", "if", "else", "~", "+", "-", "*", "/", "//", "%", "**", "==", "!=", "<", ">", "<=",
    ">=",
];

/// What the loops of a tag go over: that of a `for`, and those in `[... for NAME in ...]`; and whether it is one operand,
/// behind which a filter can stand. What Tera refuses counts as one, so that it is refused at its place.
fn looped_over(source: &str, piece: &Piece) -> Vec<(Range<usize>, bool)> {
    let tokens = &piece.tokens;
    let of = |index: usize| tokens.get(index).map_or("", |token| token.of(source));
    let is_block = |index: usize| index == 0 && piece.kind == PieceKind::Block;
    let is_for = |index: &usize| of(*index) == "for" && (is_block(*index) || *index > 0 && of(*index - 1) != ".");
    let looped = |index: usize| {
        let first = (index..tokens.len()).find(|&at| of(at) == "in")? + 1;
        let mut depth = 0_usize;
        let mut operators = Vec::new();
        let is_end = |at: &usize| {
            match of(*at) {
                "(" | "[" | "{" | "?[" => depth += 1,
                ")" | "]" | "}" if depth == 0 => return true,
                ")" | "]" | "}" => depth -= 1,
                "if" if depth == 0 && !is_block(index) => return true,
                operator if depth == 0 && OPERATORS.contains(&operator) => operators.push(operator),
                _ => {}
            }
            false
        };
        let end = (first..tokens.len()).find(is_end).unwrap_or(tokens.len());
        let is_operand = operators.is_empty() || operators.contains(&"if") && !operators.contains(&"else");
        (first < end).then(|| (tokens[first].range.start..tokens[end - 1].range.end, is_operand))
    };
    (0..tokens.len()).filter(is_for).filter_map(looped).collect()
}

fn is_literal(token: &Token) -> bool {
    matches!(token.kind, TokenKind::Text(_) | TokenKind::Number)
}

/// The last token of the operand that begins at `start`, with its attributes, calls and filters.
pub(super) fn operand_end(source: &str, tokens: &[Token], start: usize) -> Option<usize> {
    let of = |index: usize| tokens.get(index).map_or("", |token| token.of(source));
    let mut at = start;
    if of(at) == "-" {
        at += 1;
    }
    let mut last = match of(at) {
        "(" | "[" | "{" => closing(source, tokens, at)?,
        "<" => (at..tokens.len()).find(|&index| of(index) == "/" && of(index + 1) == ">")? + 1,
        "" => return None,
        _ => at,
    };
    loop {
        last = match of(last + 1) {
            "[" | "?[" | "(" => closing(source, tokens, last + 1)?,
            "|" if of(last + 3) == "(" => closing(source, tokens, last + 3)?,
            "." | "?." | "|" => last + 2,
            _ => return (last < tokens.len()).then_some(last),
        };
        if last >= tokens.len() {
            return None;
        }
    }
}

/// The bracket that closes the one at `open`.
pub(super) fn closing(source: &str, tokens: &[Token], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match token.of(source) {
            "(" | "[" | "{" | "?[" => depth += 1,
            ")" | "]" | "}" => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Some(index);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::edit::Edited;
    use super::super::scan::{default_delimiters, scan};
    use super::*;

    #[test]
    fn tilde_guards_its_operands() {
        for (source, expected) in [
            ("{{ \"a\" ~ b }}", "{{ \"a\" ~ b! }}"),
            ("{{ a ~ \"b\" ~ c.d[0] }}", "{{ a! ~ \"b\" ~ c.d[0]! }}"),
            ("{{ a ~ b ~ c }}", "{{ a! ~ b! ~ c! }}"),
            (
                "{{ a ~ key(path=\"x\" ~ b) | default(value=\"\") }}",
                "{{ a! ~ key(path=\"x\" ~ b!) | default(value=\"\")! }}",
            ),
            ("{{ a ~ b | upper == c }}", "{{ a! ~ b | upper! == c }}"),
            ("{{ (a ~ 1) ~ [b] }}", "{{ (a! ~ 1)! ~ [b]! }}"),
            ("{{ \"~\" }} ~ ", "{{ \"~\" }} ~ "),
            ("{{ a ~ }}", "{{ a! ~ }}"),
        ] {
            // Beside a text, so that it has no line of its own.
            let (source, expected) = (format!("x{source}"), format!("x{expected}"));
            let delimiters = default_delimiters();
            let pieces = scan(&source, &delimiters).unwrap();
            let edited = Edited::new(&source, edits(&source, &pieces, &delimiters, &HashMap::new()));
            assert_eq!(edited.text.replace(" | __present", "!"), expected, "{source}");
        }
    }

    #[test]
    fn loops_look_at_the_clock_and_at_what_they_go_over() {
        let delimiters = default_delimiters();
        for (source, expected) in [
            ("{% for a in b %} x", "{% for a in b | __each %}{{ __tick() }} x"),
            ("{% for a in b if a %} x", "{% for a in b if a | __each %}{{ __tick() }} x"),
            ("{% for a in b if c else d %} x", "{% for a in (b if c else d) | __each %}{{ __tick() }} x"),
            ("{% for a in b -%} x", "{% for a in b | __each -%}{{ __tick() -}} x"),
            (
                "{% for k, v in a ~ b or c %} x",
                "{% for k, v in (a | __present ~ b | __present or c) | __each %}{{ __tick() }} x",
            ),
            (
                "x {{ [a.b for a in [c for c in d] if a] }}",
                "x {{ [a.b for a in [c for c in d | __each] | __each if a] }}",
            ),
        ] {
            let pieces = scan(source, &delimiters).unwrap();
            assert_eq!(Edited::new(source, edits(source, &pieces, &delimiters, &HashMap::new())).text, expected);
        }
    }
}
