//! Splits the source of a template into text, tags and the tokens in them.
//!
//! Tera keeps its syntax tree to itself, and its lexer drops what trimming and the checks at load need. This one
//! follows the rules of Tera's lexer to the letter; where Tera would report a syntax error it gives up and leaves the
//! report to Tera.

use std::ops::Range;

use crate::config::Delimiters;

/// A part of a source. The pieces of a source lie end to end and cover it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// What it is.
    pub(super) kind: PieceKind,
    /// Where it stands, delimiters included.
    pub(super) range: Range<usize>,
    /// What stands between the delimiters of a block or variable.
    pub(super) tokens: Vec<Token>,
    /// Whether it has a `-` inside a delimiter, with which the author rules the white space around it.
    pub(super) control: bool,
    /// Whether the closing delimiter is the one with the `-`.
    pub(super) control_end: bool,
}

/// What a piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PieceKind {
    /// Text that is written as it stands, the body of `raw` too.
    Text,
    /// `{% ... %}`, `raw` and `endraw` too.
    Block,
    /// `{{ ... }}`.
    Variable,
    /// `{# ... #}`.
    Comment,
}

/// A token within a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    /// What it is.
    pub(super) kind: TokenKind,
    /// Where it stands.
    pub(super) range: Range<usize>,
}

/// What a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// A name or keyword.
    Word,
    /// A text, without quotes and escapes.
    Text(String),
    /// A number.
    Number,
    /// An operator or bracket.
    Symbol,
}

/// The delimiters that a template has unless it says otherwise.
pub(super) fn default_delimiters() -> Delimiters {
    let pair = |start: &str, end: &str| (start.to_owned(), end.to_owned());
    Delimiters { block: pair("{%", "%}"), variable: pair("{{", "}}"), comment: pair("{#", "#}") }
}

impl Piece {
    /// The keyword of a block, such as `if`; `<` and `</` for components with a body; empty for other pieces.
    pub(super) fn keyword<'s>(&self, source: &'s str) -> &'s str {
        match self.kind {
            PieceKind::Block => self.tokens.first().map_or("", |token| token.of(source)),
            _ => "",
        }
    }

    /// Whether the opening delimiter is the one with the `-`. Every delimiter has two bytes.
    pub(super) fn control_start(&self, source: &str) -> bool {
        self.control && source.get(self.range.start + 2..).is_some_and(|rest| rest.starts_with('-'))
    }

    fn new(kind: PieceKind, range: Range<usize>) -> Self {
        Self { kind, range, tokens: Vec::new(), control: false, control_end: false }
    }
}

impl Token {
    /// The token as it is written.
    pub(super) fn of<'s>(&self, source: &'s str) -> &'s str {
        source.get(self.range.clone()).unwrap_or_default()
    }
}

/// Where a delimiter stands next, remembered: each part of a source is searched once, however many others it has.
pub(super) struct Next<'s> {
    source: &'s str,
    delimiter: &'s str,
    at: Option<usize>,
}

impl<'s> Next<'s> {
    /// A search that begins at the beginning of a source.
    pub(super) fn new(source: &'s str, delimiter: &'s str) -> Self {
        Self { source, delimiter, at: source.find(delimiter) }
    }

    /// The first place from a byte on. The bytes that are asked of one search never go back.
    pub(super) fn from(&mut self, start: usize) -> Option<usize> {
        if self.at? < start {
            self.at = self.source[start..].find(self.delimiter).map(|before| start + before);
        }
        self.at
    }
}

/// Splits a source; nothing when Tera will not parse it either.
pub(super) fn scan(source: &str, delimiters: &Delimiters) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut starts =
        [&delimiters.block.0, &delimiters.variable.0, &delimiters.comment.0].map(|start| Next::new(source, start));
    let mut at = 0;
    while at < source.len() {
        let rest = &source[at..];
        if rest.starts_with(&delimiters.block.0) {
            at = block(source, at, delimiters, &mut pieces)?;
        } else if rest.starts_with(&delimiters.variable.0) {
            let piece = tag(source, at, PieceKind::Variable, &delimiters.variable.1)?;
            at = piece.range.end;
            pieces.push(piece);
        } else if rest.starts_with(&delimiters.comment.0) {
            let piece = comment(source, at, &delimiters.comment.1)?;
            at = piece.range.end;
            pieces.push(piece);
        } else {
            let end = starts.iter_mut().filter_map(|start| start.from(at)).min().unwrap_or(source.len());
            pieces.push(Piece::new(PieceKind::Text, at..end));
            at = end;
        }
    }
    Some(pieces)
}

/// Reads the block at `at`, with its body when it is `raw`; gives where it ends.
fn block(source: &str, at: usize, delimiters: &Delimiters, pieces: &mut Vec<Piece>) -> Option<usize> {
    let (open, close) = (&delimiters.block.0, &delimiters.block.1);
    let after_open = at + open.len();
    let Some((body, raw_control_end)) = whole_tag(source, after_open, "raw", close) else {
        let piece = tag(source, at, PieceKind::Block, close)?;
        let end = piece.range.end;
        pieces.push(piece);
        return Some(end);
    };
    let mut search = body;
    loop {
        let found = search + source.get(search..)?.find(open.as_str())?;
        search = found + open.len();
        if let Some((end, end_control)) = whole_tag(source, search, "endraw", close) {
            let mut start_piece = Piece::new(PieceKind::Block, at..body);
            start_piece.control = raw_control_end || source[after_open..].starts_with('-');
            start_piece.control_end = raw_control_end;
            let mut end_piece = Piece::new(PieceKind::Block, found..end);
            end_piece.control = end_control || source[search..].starts_with('-');
            end_piece.control_end = end_control;
            pieces.push(start_piece);
            if body < found {
                pieces.push(Piece::new(PieceKind::Text, body..found));
            }
            pieces.push(end_piece);
            return Some(end);
        }
    }
}

/// Reads `-? name -? close` at `at`: where it ends, and whether the second `-` is there.
fn whole_tag(source: &str, at: usize, name: &str, close: &str) -> Option<(usize, bool)> {
    let space = |c: char| c.is_ascii_whitespace();
    // Tera takes one `-` with the delimiter and skips another before `raw`.
    let rest = &source[at..];
    let rest = if name == "raw" { rest.strip_prefix('-').unwrap_or(rest) } else { rest };
    let rest = rest.strip_prefix('-').unwrap_or(rest).trim_start_matches(space);
    let rest = rest.strip_prefix(name)?.trim_start_matches(space);
    let (rest, control) = rest.strip_prefix('-').map_or((rest, false), |rest| (rest, true));
    let rest = rest.strip_prefix(close)?;
    Some((source.len() - rest.len(), control))
}

fn comment(source: &str, at: usize, close: &str) -> Option<Piece> {
    // Both delimiters have two bytes; the search begins where Tera begins it.
    let mut body = at + 2;
    let control_start = source[body..].starts_with('-');
    body += usize::from(control_start);
    let end = body + source.get(body..)?.find(close)?;
    let mut piece = Piece::new(PieceKind::Comment, at..end + close.len());
    piece.control_end = end > body && source.as_bytes()[end - 1] == b'-';
    piece.control = control_start || piece.control_end;
    Some(piece)
}

fn tag(source: &str, at: usize, kind: PieceKind, close: &str) -> Option<Piece> {
    let mut piece = Piece::new(kind, at..at);
    let mut at = at + 2;
    if source.get(at..)?.starts_with('-') {
        piece.control = true;
        at += 1;
    }
    loop {
        let rest = source.get(at..)?;
        let trimmed = rest.trim_start_matches(|c: char| c.is_ascii_whitespace());
        at += rest.len() - trimmed.len();
        if let Some(after) = trimmed.strip_prefix('-').and_then(|rest| rest.strip_prefix(close)) {
            piece.control = true;
            piece.control_end = true;
            piece.range.end = source.len() - after.len();
            return Some(piece);
        }
        if trimmed.starts_with(close) {
            piece.range.end = at + close.len();
            return Some(piece);
        }
        let (kind, length) = token(trimmed)?;
        piece.tokens.push(Token { kind, range: at..at + length });
        at += length;
    }
}

/// The token that `rest` begins with, and its length.
fn token(rest: &str) -> Option<(TokenKind, usize)> {
    if rest.starts_with("...") {
        return Some((TokenKind::Symbol, 3));
    }
    if ["//", "**", "==", "!=", ">=", "<=", "</", "?.", "?["].iter().any(|symbol| rest.starts_with(symbol)) {
        return Some((TokenKind::Symbol, 2));
    }
    let bytes = rest.as_bytes();
    match *bytes.first()? {
        quote @ (b'"' | b'\'' | b'`') => text(rest, quote),
        b'0'..=b'9' => {
            let mut point = false;
            let length = bytes
                .iter()
                .take_while(|&&byte| byte.is_ascii_digit() || (byte == b'.' && !std::mem::replace(&mut point, true)))
                .count();
            Some((TokenKind::Number, length))
        }
        byte if byte == b'_' || byte.is_ascii_alphabetic() => {
            let length = bytes.iter().take_while(|&&byte| byte == b'_' || byte.is_ascii_alphanumeric()).count();
            Some((TokenKind::Word, length))
        }
        byte if b"+-*/%!.,:~|=><()[]{}@".contains(&byte) => Some((TokenKind::Symbol, 1)),
        _ => None,
    }
}

fn text(rest: &str, quote: u8) -> Option<(TokenKind, usize)> {
    let mut content = String::new();
    let mut characters = rest.char_indices().skip(1);
    loop {
        let (index, character) = characters.next()?;
        match character {
            '\\' => content.push(match characters.next()?.1 {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                other @ ('"' | '\'' | '/' | '\\') => other,
                _ => return None,
            }),
            _ if character == char::from(quote) => return Some((TokenKind::Text(content), index + 1)),
            _ => content.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(source: &str) -> String {
        let Some(pieces) = scan(source, &default_delimiters()) else { return "none".into() };
        pieces
            .iter()
            .map(|piece| {
                let mark = match piece.kind {
                    PieceKind::Text => 'T',
                    PieceKind::Block => 'B',
                    PieceKind::Variable => 'V',
                    PieceKind::Comment => 'C',
                };
                format!("{mark}[{}]{}", &source[piece.range.clone()], if piece.control { "-" } else { "" })
            })
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn pieces_are_those_of_tera() {
        for (source, expected) in [
            ("a{{ b }}c", "T[a] V[{{ b }}] T[c]"),
            ("{% if \"%}\" %}x", "B[{% if \"%}\" %}] T[x]"),
            ("{% raw %}{{ x }}{% endraw %}", "B[{% raw %}] T[{{ x }}] B[{% endraw %}]"),
            ("{%- raw -%}{% x {%- endraw %}", "B[{%- raw -%}]- T[{% x ] B[{%- endraw %}]-"),
            ("{# {% if %} #}x", "C[{# {% if %} #}] T[x]"),
            ("{#- a -#}", "C[{#- a -#}]-"),
            ("{{ '}}' ~ `{{` }}", "V[{{ '}}' ~ `{{` }}]"),
            ("{{ \"a\\\"}}\" }}", "V[{{ \"a\\\"}}\" }}]"),
            ("{% raw %}", "none"),
            ("{{ \"a", "none"),
            ("{# a", "none"),
            ("{{ ä }}", "none"),
        ] {
            assert_eq!(shape(source), expected, "{source}");
        }
    }

    #[test]
    fn tokens_have_their_text() {
        let source = r#"{{ key(path="a\"b", n=1.5) | default(value='x') }}"#;
        let pieces = scan(source, &default_delimiters()).unwrap();
        let tokens: Vec<_> = pieces[0].tokens.iter().map(|token| token.of(source)).collect();
        assert_eq!(tokens.join(" "), r#"key ( path = "a\"b" , n = 1.5 ) | default ( value = 'x' )"#);
        assert_eq!(pieces[0].tokens[4].kind, TokenKind::Text("a\"b".into()));
    }
}
