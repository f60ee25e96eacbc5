//! Block lines: a line that holds nothing but white space and block tags or comments leaves nothing behind.
//!
//! Tera itself cannot do this. The rules:
//!
//! * Such a line vanishes with its indentation and its newline; tags may run over several lines.
//! * A tag that shares its line with text changes nothing, and neither does a line on which the author rules white
//!   space with `{%-` or `-%}`.
//! * A line that is only an `include` or a component is replaced by its output, which then ends in exactly one
//!   newline; no output leaves nothing. The [`LINE_FILTER`] does that while rendering.

use std::collections::BTreeMap;
use std::ops::Range;

use super::edit::Edit;
use super::scan::{Piece, PieceKind, TokenKind};
use crate::config::Delimiters;

/// The filter that makes an output end in exactly one newline.
pub(super) const LINE_FILTER: &str = "__line";

/// The edits that make block lines vanish.
pub(super) fn edits(source: &str, pieces: &[Piece], delimiters: &Delimiters) -> Vec<Edit> {
    let mut lines = lines(source, pieces);
    keep_halves(&mut lines);

    let (open, close) = (&delimiters.block.0, &delimiters.block.1);
    let carriage = if source.contains("\r\n") { "(crlf=true)" } else { "" };
    let filter = format!("{open} filter {LINE_FILTER}{carriage} {close}");
    let end_filter = format!("{open} endfilter {close}");

    let mut edits = Vec::new();
    for line in lines.into_iter().filter(|line| line.vanishes) {
        for tag in &line.tags {
            if matches!(tag.role, Role::Output | Role::Open(_)) {
                edits.push(Edit::insert(tag.range.start, &*filter));
            }
            if matches!(tag.role, Role::Output | Role::Close(_)) {
                edits.push(Edit::insert(tag.range.end, &*end_filter));
            }
        }
        edits.extend(line.spaces.into_iter().map(Edit::delete));
    }
    edits
}

/// A line of the source, together with those that its tags run over.
#[derive(Debug, Default)]
struct Line {
    /// White space outside the tags, the newline too.
    spaces: Vec<Range<usize>>,
    tags: Vec<Tag>,
    vanishes: bool,
}

#[derive(Debug)]
struct Tag {
    range: Range<usize>,
    role: Role,
    control: bool,
}

/// What a tag is to its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// It writes nothing itself.
    Silent,
    /// It writes whole lines: an include, or a component that begins and ends on this line.
    Output,
    /// It begins a component whose body goes on below; the number is the same at its end.
    Open(usize),
    /// It ends such a component.
    Close(usize),
    /// It is part of the text of its line.
    Text,
}

fn lines(source: &str, pieces: &[Piece]) -> Vec<Line> {
    let bodies = component_bodies(source, pieces);
    let mut lines = Vec::new();
    let mut line = Line::default();
    let mut text = false;
    let mut finish = |line: &mut Line, text: &mut bool| {
        let silent = |tag: &Tag| tag.role != Role::Text && !tag.control;
        line.vanishes = !*text && !line.tags.is_empty() && line.tags.iter().all(silent);
        *text = false;
        lines.push(std::mem::take(line));
    };

    let mut index = 0;
    while let Some(piece) = pieces.get(index) {
        index += 1;
        if piece.kind != PieceKind::Text {
            let mut tag = Tag { range: piece.range.clone(), role: role(source, piece), control: piece.control };
            match bodies.get(&(index - 1)) {
                Some(&Body::Begins { until, on_one_line: true }) => {
                    // The whole component is one thing on this line, and its body is its own.
                    tag.role = Role::Output;
                    tag.range.end = pieces[until].range.end;
                    tag.control |= pieces[until].control;
                    index = until + 1;
                }
                Some(&Body::Begins { until, on_one_line: false }) => tag.role = Role::Open(until),
                Some(Body::Ends) => tag.role = Role::Close(index - 1),
                None => {}
            }
            line.tags.push(tag);
            continue;
        }
        let mut at = piece.range.start;
        for part in source[piece.range.clone()].split_inclusive('\n') {
            let content = part.strip_suffix('\n').map_or(part, |part| part.strip_suffix('\r').unwrap_or(part));
            text |= !content.trim_matches([' ', '\t']).is_empty();
            line.spaces.push(at..at + part.len());
            at += part.len();
            if part.ends_with('\n') {
                finish(&mut line, &mut text);
            }
        }
    }
    finish(&mut line, &mut text);
    lines
}

fn role(source: &str, piece: &Piece) -> Role {
    match piece.kind {
        PieceKind::Block if piece.keyword(source) == "include" => Role::Output,
        PieceKind::Variable if calls_component(source, piece) => Role::Output,
        PieceKind::Block | PieceKind::Comment => Role::Silent,
        PieceKind::Variable | PieceKind::Text => Role::Text,
    }
}

/// Whether a variable is nothing but a component, such as `{{ <name /> }}` or `{{ <name /> | indent }}`.
fn calls_component(source: &str, piece: &Piece) -> bool {
    matches!(&piece.tokens[..], [less, name, ..] if less.of(source) == "<" && name.kind == TokenKind::Word)
}

#[derive(Debug, Clone, Copy)]
enum Body {
    Begins { until: usize, on_one_line: bool },
    Ends,
}

/// The pieces that begin and end components with a body, by index.
fn component_bodies(source: &str, pieces: &[Piece]) -> BTreeMap<usize, Body> {
    let mut bodies = BTreeMap::new();
    let mut open = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        match piece.keyword(source) {
            "<" => open.push(index),
            "</" => {
                let Some(start) = open.pop() else { continue };
                let newline =
                    |piece: &Piece| piece.kind == PieceKind::Text && source[piece.range.clone()].contains('\n');
                let on_one_line = !pieces[start..index].iter().any(newline);
                bodies.insert(start, Body::Begins { until: index, on_one_line });
                bodies.insert(index, Body::Ends);
            }
            _ => {}
        }
    }
    bodies
}

/// A component with a body is replaced as a whole or not at all: where one of its two lines stays, both do.
fn keep_halves(lines: &mut [Line]) {
    loop {
        let mut begun = BTreeMap::new();
        let mut kept = Vec::new();
        for (index, line) in lines.iter().enumerate() {
            for tag in &line.tags {
                match tag.role {
                    Role::Open(number) => {
                        begun.insert(number, index);
                    }
                    Role::Close(number) => {
                        let Some(&start) = begun.get(&number) else { continue };
                        match (lines[start].vanishes, line.vanishes) {
                            (true, false) => kept.push(start),
                            (false, true) => kept.push(index),
                            _ => {}
                        }
                    }
                    _ => {}
                }
            }
        }
        if kept.is_empty() {
            return;
        }
        for index in kept {
            lines[index].vanishes = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::edit::Edited;
    use super::super::scan::{default_delimiters, scan};
    use super::*;

    fn trim(source: &str) -> String {
        let delimiters = default_delimiters();
        let Some(pieces) = scan(source, &delimiters) else { return source.into() };
        let trimmed = Edited::new(source, edits(source, &pieces, &delimiters)).text;
        trimmed.replace("{% filter __line %}", "«").replace("{% endfilter %}", "»")
    }

    #[test]
    fn block_lines_vanish() {
        for (source, expected) in [
            ("a\n{% if x %}\nb\n{% endif %}\nc\n", "a\n{% if x %}b\n{% endif %}c\n"),
            ("  {% if x %}  \n  b\n\t{% endif %}\t\nc", "{% if x %}  b\n{% endif %}c"),
            ("{% if x %}{% if y %}\nb\n{% endif %} {% endif %}\n", "{% if x %}{% if y %}b\n{% endif %}{% endif %}"),
            ("a\n{# one\n two #}\nb\n", "a\n{# one\n two #}b\n"),
            ("{% set x = [\n  1,\n  2,\n] %}\nb\n", "{% set x = [\n  1,\n  2,\n] %}b\n"),
            ("{% set a = 1 %}\r\nb\r\n", "{% set a = 1 %}b\r\n"),
            ("b\n{% endif %}", "b\n{% endif %}"),
            ("  {% if a == \"%}\" %}\nx\n{% endif %}\n", "{% if a == \"%}\" %}x\n{% endif %}"),
            // Text on the line: nothing changes.
            ("a {% if x %}\nb\n{% endif %} c\n", "a {% if x %}\nb\n{% endif %} c\n"),
            ("{{ x }}\n", "{{ x }}\n"),
            ("{% if x %}{{ x }}{% endif %}\n", "{% if x %}{{ x }}{% endif %}\n"),
            ("\n\n a\n", "\n\n a\n"),
            ("x {# c #}\n", "x {# c #}\n"),
            // The author rules the white space.
            ("a\n{%- if x %}\nb\n{% endif -%}\nc\n", "a\n{%- if x %}\nb\n{% endif -%}\nc\n"),
            ("a\n{#- c #}\nb\n", "a\n{#- c #}\nb\n"),
            // The body of `raw` is text.
            ("{% raw %}\n{% if x %}\n  y\n  {% endraw %}\nz\n", "{% raw %}{% if x %}\n  y\n{% endraw %}z\n"),
            ("{% raw %}{% if %}{% endraw %}\n", "{% raw %}{% if %}{% endraw %}\n"),
        ] {
            assert_eq!(trim(source), expected, "{source:?}");
        }
    }

    #[test]
    fn includes_and_components_become_their_output() {
        for (source, expected) in [
            ("a\n  {% include \"x\" %}  \nb\n", "a\n«{% include \"x\" %}»b\n"),
            ("a {% include \"x\" %}\nb\n", "a {% include \"x\" %}\nb\n"),
            ("{% include \"x\" %}", "«{% include \"x\" %}»"),
            ("{% if x %}{% include \"x\" %}{% endif %}\n", "{% if x %}«{% include \"x\" %}»{% endif %}"),
            ("{%- include \"x\" %}\n", "{%- include \"x\" %}\n"),
            ("  {{ <a.b x=1 /> }}\nc\n", "«{{ <a.b x=1 /> }}»c\n"),
            ("{{ <a /> | indent }}\n", "«{{ <a /> | indent }}»"),
            ("x {{ <a /> }}\n", "x {{ <a /> }}\n"),
            ("{% <a> %}\n text\n{% </a> %}\nc\n", "«{% <a> %} text\n{% </a> %}»c\n"),
            ("  {% <a> %}text {{ x }}{% </a> %}\nc\n", "«{% <a> %}text {{ x }}{% </a> %}»c\n"),
            ("{% <a> %}text\n{% </a> %}\nc\n", "{% <a> %}text\n{% </a> %}\nc\n"),
            ("{% <a> %}\ntext{% </a> %}\nc\n", "{% <a> %}\ntext{% </a> %}\nc\n"),
            ("{% <a> %}\n{% <b> %}\nx\n{% </b> %}\n{% </a> %}\n", "«{% <a> %}«{% <b> %}x\n{% </b> %}»{% </a> %}»"),
            ("{% <a> %}\n{% </a> %} x\n{% if y %}\n", "{% <a> %}\n{% </a> %} x\n{% if y %}"),
        ] {
            assert_eq!(trim(source), expected, "{source:?}");
        }
    }

    #[test]
    fn other_delimiters_and_line_ends_are_kept() {
        let pair = |start: &str, end: &str| (start.to_owned(), end.to_owned());
        let delimiters = Delimiters { block: pair("<%", "%>"), variable: pair("<<", ">>"), comment: pair("<#", "#>") };
        let source = "{% x %}\r\n  <% if a %>\r\nb\r\n<% endif %>\r\n<% include \"x\" %>\r\n";
        let pieces = scan(source, &delimiters).unwrap();
        assert_eq!(
            Edited::new(source, edits(source, &pieces, &delimiters)).text,
            "{% x %}\r\n<% if a %>b\r\n<% endif %><% filter __line(crlf=true) %><% include \"x\" %><% endfilter %>"
        );
    }

    /// Lines of which none holds only tags.
    fn full_line() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-z ]{1,5}[;}]",
            Just("x {% if a %}".to_owned()),
            Just("{% endif %} y".to_owned()),
            Just("{{ a }} ".to_owned()),
            Just("  {{ a }}{# c #}".to_owned()),
            Just("{%- set x = 1 -%}".to_owned()),
            Just(String::new()),
        ]
    }

    proptest! {
        #[test]
        fn without_block_lines_nothing_changes(lines in prop::collection::vec(full_line(), 0..12), crlf: bool) {
            let source = lines.join(if crlf { "\r\n" } else { "\n" });
            prop_assert_eq!(trim(&source), source);
        }

        #[test]
        fn no_input_is_too_strange(source in "(\\{%|%\\}|\\{\\{|\\}\\}|\\{#|#\\}|-|raw|endraw|include|<a>|</a>|/>|\"|'|\\\\|[ \n\r\tä]|\\PC){0,24}") {
            let delimiters = default_delimiters();
            if let Some(pieces) = scan(&source, &delimiters) {
                let ends: Vec<_> = pieces.iter().map(|piece| piece.range.end).collect();
                let starts: Vec<_> = pieces.iter().map(|piece| piece.range.start).collect();
                prop_assert_eq!(starts.iter().copied().chain([source.len()]).skip(1).collect::<Vec<_>>(), ends);
            }
            trim(&source);
        }
    }
}
