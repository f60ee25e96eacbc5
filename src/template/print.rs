//! What is printed: a look at every value on its way into a file.
//!
//! A newline in an address begins a line of its own in a configuration file, and with it a directive of whoever wrote the
//! value (FAULTS R-11). So an expression that shares its line with text prints no newline, and none prints other control
//! characters than newline, carriage return and tab. An expression that has a line to itself may print several, such as
//! a certificate: what stands there is the value's alone anyway. `safe` lets everything through.
//!
//! Tera hands every printed value that is not marked as safe to its escape function, which here is [`write`]. What comes
//! out of components and captured blocks is marked: the values in it were looked at when they were printed there.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::ops::Range;

use tera::{Kwargs, State, Tera, TeraResult, Value};

use super::again::Again;
use super::edit::{Edit, Place};
use super::error::{ErrorKind, Failure, Note};
use super::message;
use super::record::{self, Render};
use super::scan::{Piece, PieceKind, TokenKind};
use super::source::Source;

/// The function that stands before an expression which may print several lines.
pub(super) const LINES: &str = "__lines";

/// The function that stands behind it.
pub(super) const ONE_LINE: &str = "__one_line";

/// The function that stands before what is put into the middle of a line.
pub(super) const WITHIN_LINE: &str = "__within_line";

/// The function that stands behind it.
pub(super) const LINE_AGAIN: &str = "__line_again";

/// The function that stands before every expression in a render that is to find one.
const PRINTING: &str = "__printing";

/// The filters that are there for texts of several lines.
const OF_LINES: &[&str] = &["indent", "to_json", "to_yaml"];

/// Puts what the sources are given into `tera`.
pub(super) fn register(tera: &mut Tera) {
    let set = |lines| {
        record::with(|render| render.prints_lines = lines && render.within_line == 0);
        // It prints nothing.
        Value::none()
    };
    let go = |change: fn(u32) -> u32| {
        record::with(|render| render.within_line = change(render.within_line));
        Value::none()
    };
    tera.register_function(WITHIN_LINE, move |_: Kwargs, _: &State| go(|depth| depth.saturating_add(1)));
    tera.register_function(LINE_AGAIN, move |_: Kwargs, _: &State| go(|depth| depth.saturating_sub(1)));
    tera.register_function(LINES, move |_: Kwargs, _: &State| set(true));
    tera.register_function(ONE_LINE, move |_: Kwargs, _: &State| set(false));
    tera.register_function(PRINTING, |arguments: Kwargs, _: &State| -> TeraResult<Value> {
        let number = |name| arguments.get::<usize>(name).ok().flatten().unwrap_or_default();
        let place = (number("source"), number("start")..number("end"));
        let begun = record::with(|render| {
            render.printing = Some(place);
            render.begun += 1;
            render.begun
        });
        if begun.is_some() && begun == arguments.get::<usize>("last").ok().flatten() {
            return Err(tera::Error::message("the expression that was looked for"));
        }
        Ok(Value::none())
    });
}

/// Writes a value, unless it holds what may not be printed where it stands.
pub(super) fn write(text: &str, out: &mut dyn io::Write) -> io::Result<()> {
    match record::with(|render| render.refuse(text)) {
        Some(Err(failure)) => {
            record::with(|render| render.failure = Some(failure));
            Err(io::ErrorKind::InvalidData.into())
        }
        _ => out.write_all(text.as_bytes()),
    }
}

impl Render {
    fn refuse(&mut self, text: &str) -> Result<(), Failure> {
        // What is printed into a captured block grows beside the output, which counts what it is given.
        self.printed += text.len() as u64;
        let limit = self.environment.limits.output;
        if self.printed > limit {
            let message = format!("the values that are printed have more than {limit} bytes");
            return Err(Failure::of(ErrorKind::Limit, message).hint("raise `limits.output`"));
        }
        let may_stay = |c: char| c == '\t' || self.prints_lines && matches!(c, '\n' | '\r');
        let is_refused = |c: char| c.is_control() && !may_stay(c);
        // Nearly every value is without: their bytes are seen faster than their characters.
        if !text.bytes().any(|byte| byte < b' ' && byte != b'\t' || byte >= 0x7f) {
            return Ok(());
        }
        // While something is missing the output is thrown away, and placeholders are in it.
        let Some(refused) = text.chars().find(|&c| is_refused(c)).filter(|_| self.missing.is_empty()) else {
            return Ok(());
        };
        let origin = self.origin_of_controls(text).map(|origin| format!(", in {origin}")).unwrap_or_default();
        Err(if matches!(refused, '\n' | '\r') {
            Failure::new(format!("what is printed here has more than one line{origin}")).hint(
                "give the expression a line of its own, make the value safe for its place with a filter, or add \
                 `| safe` where all that it may hold is good here",
            )
        } else {
            Failure::new(format!(
                "what is printed here holds the control character U+{:04X}{origin}",
                u32::from(refused)
            ))
            .hint("mend the value, or add `| safe` where all that it may hold is good here")
        })
    }
}

/// The expressions that may print several lines, by the index of their piece: those that share their line with nothing,
/// and those that are written for lines.
pub(super) fn of_lines(source: &str, pieces: &[Piece]) -> BTreeSet<usize> {
    let is_expression = |&index: &usize| pieces[index].kind == PieceKind::Variable;
    (0..pieces.len())
        .filter(is_expression)
        // A component prints its own expressions, each in its own line.
        .filter(|&index| !calls_component(source, &pieces[index]))
        .filter(|&index| writes_lines(source, &pieces[index]) || has_own_line(source, pieces, index))
        .collect()
}

/// What is put into the middle of a line: includes, components and blocks that share theirs with text or an expression,
/// each from the index of its first piece to that of its last. The first and the last line of such a part are no lines of
/// the file, whatever they are in its own source.
pub(super) fn within_lines(source: &str, pieces: &[Piece]) -> Vec<(usize, usize)> {
    let mut parts = Vec::new();
    let mut open: Vec<(&str, usize)> = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        let part = match piece.keyword(source) {
            "include" => Some((index, index)),
            begin @ ("block" | "<") => {
                open.push((begin, index));
                None
            }
            end @ ("endblock" | "</") => {
                let begin = if end == "endblock" { "block" } else { "<" };
                open.pop_if(|(open, _)| *open == begin).map(|(_, first)| (first, index))
            }
            _ => (piece.kind == PieceKind::Variable && calls_component(source, piece)).then_some((index, index)),
        };
        parts.extend(part.filter(|&(first, last)| !is_whole_lines(source, pieces, first, last)));
    }
    parts
}

/// Whether an expression calls a component, be it among other things.
fn calls_component(source: &str, piece: &Piece) -> bool {
    piece.tokens.windows(2).any(|pair| pair[0].of(source) == "<" && pair[1].kind == TokenKind::Word)
}

/// Whether pieces stand on lines on which there is no text, no expression and no other part.
fn is_whole_lines(source: &str, pieces: &[Piece], first: usize, last: usize) -> bool {
    let is_plain = |piece: &Piece| piece.kind != PieceKind::Variable || starts_component(source, piece);
    let look = |piece: &Piece| match piece.kind {
        _ if piece.control => Line::Shared,
        PieceKind::Variable if !starts_component(source, piece) => Line::Shared,
        _ => Line::GoesOn,
    };
    !pieces[first].control
        && !pieces[last].control
        && is_plain(&pieces[first])
        && line_is_free(source, pieces, first, last, &look)
}

/// Whether a variable is nothing but a component, with filters perhaps.
fn starts_component(source: &str, piece: &Piece) -> bool {
    matches!(&piece.tokens[..], [less, name, ..] if less.of(source) == "<" && name.kind == TokenKind::Word)
}

/// Whether an expression is written for several lines: it has a filter for them, or a newline of its own.
fn writes_lines(source: &str, piece: &Piece) -> bool {
    let is_filter = |index: usize| index > 0 && piece.tokens[index - 1].of(source) == "|";
    piece.tokens.iter().enumerate().any(|(index, token)| match &token.kind {
        TokenKind::Text(text) => text.contains('\n'),
        TokenKind::Word => is_filter(index) && OF_LINES.contains(&token.of(source)),
        _ => false,
    })
}

/// What a neighbour says of a line.
enum Line {
    Ends,
    GoesOn,
    Shared,
}

/// Whether an expression shares its line with nothing but white space, comments and conditions.
fn has_own_line(source: &str, pieces: &[Piece], index: usize) -> bool {
    let look = |piece: &Piece| match piece.kind {
        // The author joins lines.
        _ if piece.control => Line::Shared,
        PieceKind::Text | PieceKind::Comment => Line::GoesOn,
        PieceKind::Block if ["if", "elif", "else", "endif"].contains(&piece.keyword(source)) => Line::GoesOn,
        PieceKind::Block | PieceKind::Variable => Line::Shared,
    };
    !pieces[index].control && line_is_free(source, pieces, index, index, &look)
}

/// Whether the line before the piece `first` and the one behind the piece `last` hold nothing else, as far as `look` says
/// that a tag is nothing.
fn line_is_free(source: &str, pieces: &[Piece], first: usize, last: usize, look: &dyn Fn(&Piece) -> Line) -> bool {
    let look = |piece: &Piece, ends: &dyn Fn(&str) -> Option<bool>| match piece.kind {
        PieceKind::Text if !piece.control => match ends(&source[piece.range.clone()]) {
            Some(true) => Line::Ends,
            Some(false) => Line::Shared,
            None => Line::GoesOn,
        },
        _ => look(piece),
    };
    let is_blank = |text: &str| text.trim_matches([' ', '\t', '\r']).is_empty();
    // Whether the line is blank up to its end; none where it does not end within the text.
    let before = |text: &str| match text.rsplit_once('\n') {
        Some((_, last)) => Some(is_blank(last)),
        None => (!is_blank(text)).then_some(false),
    };
    let after = |text: &str| match text.split_once('\n') {
        Some((first, _)) => Some(is_blank(first)),
        None => (!is_blank(text)).then_some(false),
    };
    let ends = |neighbours: &mut dyn Iterator<Item = &Piece>, ends: &dyn Fn(&str) -> Option<bool>| {
        let mut neighbours = neighbours.peekable();
        while let Some(piece) = neighbours.next() {
            match look(piece, ends) {
                Line::GoesOn => {}
                Line::Shared => return false,
                // A tag beyond it may take the newline away.
                Line::Ends => {
                    let is_white = source[piece.range.clone()].trim().is_empty();
                    return !(is_white && neighbours.peek().is_some_and(|next| next.control));
                }
            }
        }
        true
    };
    ends(&mut pieces[..first].iter().rev(), &before) && ends(&mut pieces[last + 1..].iter(), &after)
}

impl Again<'_> {
    /// The error of a render that failed when an expression was printed. Where that stands is found by a render in which
    /// every expression says where it is, and from where it was reached by one more that ends before it: the first one
    /// cannot tell, since a look at a value knows nothing of its place.
    pub(super) fn find_refused(&self) -> Option<(&Source, Range<usize>, Vec<Note>)> {
        let numbers: HashMap<&str, usize> =
            self.parsed.sources.iter().enumerate().map(|(number, source)| (source.name.as_str(), number)).collect();
        let mark = |source: &Source, text: &str, last: &str| {
            let (open, close) = &self.parsed.dialect.delimiters.variable;
            let pieces = self.pieces(text);
            let expressions = pieces.iter().filter(|piece| {
                let is_ours = piece.tokens.first().is_some_and(|token| token.of(text).starts_with("__"));
                piece.kind == PieceKind::Variable && !is_ours
            });
            let number = numbers.get(source.name.as_str()).copied().unwrap_or_default();
            let mark = |piece: &Piece| {
                let (start, end) = (source.edited.origin(piece.range.start), source.edited.origin(piece.range.end - 1));
                let call = format!("{open} {PRINTING}(source={number}, start={start}, end={end}{last}) {close}");
                Edit::insert(piece.range.start, call)
            };
            expressions.map(mark).collect()
        };
        let found = self.render(|source, text| mark(source, text, ""))?.render;
        let (number, range) = found.printing?;
        let last = format!(", last={}", found.begun);
        let callers = self.render(|source, text| mark(source, text, &last)).map(|outcome| {
            let callers = outcome.result.as_ref().err().map(message::callers).unwrap_or_default();
            let note = |(name, place): (String, Place)| {
                self.origin(&outcome, &name, place).map(|(source, at)| source.note(at))
            };
            callers.into_iter().filter_map(note).collect()
        });
        Some((self.parsed.sources.get(number)?, range.start..range.end + 1, callers.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::scan::{default_delimiters, scan};
    use super::*;

    #[test]
    fn expressions_that_may_print_lines() {
        for (source, expected) in [
            ("{{ a }}", true),
            ("x\n  {{ a }}\r\ny", true),
            ("{% if a %}{{ a }}{% endif %}{# c #}\n", true),
            ("{% if a %}\n{{ a }}\n{% endif %}", true),
            ("x {{ a }}", false),
            ("{{ a }};\n", false),
            ("{{ a }} {{ b }}\n", false),
            ("{% set x %}{{ a }}{% endset %}", false),
            ("{% set x %}\n{{ a }}\n{% endset %}", true),
            ("{% for x in a %}{{ x }}{% endfor %}", false),
            ("{% component c() %}{{ a }}{% endcomponent %}", false),
            ("x\n{{- a }}\n", false),
            ("x {% if a -%}\n{{ a }}\n{% endif %}", false),
            ("{{ a }}\n{%- if a %}x{% endif %}", false),
            ("{{ <c x={a} /> }}", false),
            ("{{ a ~ <c /> }}", false),
            ("x {{ a | join(sep=\"\\n\") }}", true),
            ("x {{ a | to_yaml | indent }}", true),
            ("x {{ indent }}", false),
        ] {
            let pieces = scan(source, &default_delimiters()).unwrap();
            assert_eq!(!of_lines(source, &pieces).is_empty(), expected, "{source:?}");
        }
    }
}
