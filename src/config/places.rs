//! Where the parts of a text that is written in the configuration stand in its file, so that an error in a template there
//! has the line and column that an editor shows.

use crate::yaml::Node;

use super::problem::may_hold_secret;

/// Where a text stands in the file that it is written in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Its parts, in order; none where it is the file, or lines of it as they are.
    parts: Vec<Part>,
    /// The lines of the file from `first` on; none of those that may hold a secret beside the text.
    lines: Vec<Option<String>>,
    /// The line of the file that the text begins on, from 1.
    first: usize,
}

/// A part of a text that begins at a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    start: usize,
    line: usize,
    column: usize,
    /// Whether it stands in the file as it is; else all of it stands at the one place.
    copied: bool,
}

/// A text that is the whole of its file.
impl Default for Places {
    fn default() -> Self {
        Self::from_line(1)
    }
}

impl Places {
    /// Those of a text whose first line is this line of the file, and whose others follow.
    pub fn from_line(line: usize) -> Self {
        Self { parts: Vec::new(), lines: Vec::new(), first: line.max(1) }
    }

    /// The line and column of a byte of `text`, which is the text whose places these are; both from 1, columns in
    /// characters.
    pub fn of(&self, text: &str, offset: usize) -> (usize, usize) {
        let mut offset = offset.min(text.len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        if let Some(part) = self.parts.iter().rev().find(|part| part.start <= offset).or(self.parts.first()) {
            let behind = text.get(part.start..offset).filter(|_| part.copied).map_or(0, |text| text.chars().count());
            return (part.line, part.column + behind);
        }
        let before = &text[..offset];
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.bytes().filter(|&byte| byte == b'\n').count();
        (self.first + line, before[start..].chars().count() + 1)
    }

    /// A line of the file of `text`, unless it may hold a secret of the configuration.
    pub fn line<'p>(&'p self, text: &'p str, line: usize) -> Option<&'p str> {
        let index = line.checked_sub(self.first)?;
        if self.parts.is_empty() {
            return Some(text.split('\n').nth(index).unwrap_or_default().trim_end_matches('\r'));
        }
        self.lines.get(index)?.as_deref()
    }

    /// Those of the text behind its first `count` bytes.
    pub(super) fn behind(mut self, text: &str, count: usize) -> Self {
        if self.parts.is_empty() {
            return self;
        }
        let (line, column) = self.of(text, count);
        let copied = self.parts.iter().rev().find(|part| part.start <= count).is_some_and(|part| part.copied);
        self.parts.retain(|part| part.start > count);
        self.parts.insert(0, Part { start: count, line, column, copied });
        for part in &mut self.parts {
            part.start -= count;
        }
        self
    }

    /// Those of the text with `count` bytes before it that stand nowhere.
    pub(super) fn before(mut self, count: usize) -> Self {
        for part in &mut self.parts {
            part.start += count;
        }
        self
    }

    /// Those of a text of which each piece was replaced: how long it is now, where it began, and whether it stayed as it was.
    pub(super) fn replaced(self, text: &str, pieces: &[(usize, usize, bool)]) -> Self {
        let mut parts: Vec<Part> = Vec::new();
        let mut start = 0;
        for &(length, origin, stayed) in pieces {
            let (line, column) = self.of(text, origin);
            let copied =
                stayed && self.parts.iter().rev().find(|part| part.start <= origin).is_some_and(|it| it.copied);
            parts.push(Part { start, line, column, copied });
            let within = |part: &&Part| stayed && part.start > origin && part.start < origin + length;
            parts.extend(
                self.parts.iter().filter(within).map(|part| Part { start: part.start - origin + start, ..*part }),
            );
            start += length;
        }
        if parts.is_empty() { self } else { Self { parts, ..self } }
    }

    /// Those of a scalar of a file, `first` being the line on which its text begins.
    pub(super) fn of_scalar(file: &str, node: &Node, first: usize) -> Self {
        let text = node.text().unwrap_or_default();
        let mut cursor = Cursor::at(file, node.line, node.column);
        cursor.skip_properties();
        let (start_line, start_column) = (cursor.line, cursor.column);
        let style = cursor.style(file, node, first);
        let parts = match style {
            Style::Literal => literal(file, text, first),
            Style::Folded => walk(Cursor::at(file, first, 1), text, style, node).0,
            Style::Plain | Style::Single | Style::Double => {
                if style != Style::Plain {
                    cursor.bump();
                }
                let (parts, end) = walk(cursor, text, style, node);
                let lines = Self::flow_lines(file, (start_line, start_column), end);
                return Self { parts, lines, first: start_line };
            }
        };
        let last = parts.iter().map(|part| part.line).max().unwrap_or(first);
        let lines = file.lines().skip(first - 1).take(last + 1 - first.min(last)).map(|line| Some(line.to_owned()));
        Self { parts, lines: lines.collect(), first }
    }

    /// The lines of a text that shares its first and last line with others, unless what stands beside it may be a secret.
    fn flow_lines(file: &str, start: (usize, usize), end: Option<(usize, usize)>) -> Vec<Option<String>> {
        let last = end.map_or(start.0, |(line, _)| line);
        let shown = |(number, line): (usize, &str)| {
            let characters: Vec<char> = line.chars().collect();
            let before = if number == start.0 { start.1 - 1 } else { 0 };
            let behind = match end {
                Some((line, column)) if line == number => column - 1,
                Some(_) => characters.len(),
                None => before,
            };
            let beside: String = characters.iter().take(before).chain(characters.iter().skip(behind)).collect();
            (!may_hold_secret(&beside)).then(|| line.to_owned())
        };
        (1..).zip(file.lines()).skip(start.0 - 1).take(last + 1 - start.0).map(shown).collect()
    }
}

/// How a scalar is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Plain,
    Single,
    Double,
    Literal,
    Folded,
}

/// A place in a file, and what follows it.
#[derive(Clone)]
struct Cursor<'t> {
    rest: &'t str,
    line: usize,
    column: usize,
}

impl<'t> Cursor<'t> {
    fn at(file: &'t str, line: usize, column: usize) -> Self {
        let file = file.strip_prefix('\u{feff}').unwrap_or(file);
        let mut cursor = Cursor { rest: file, line: 1, column: 1 };
        for _ in 1..line {
            cursor.rest = cursor.rest.split_once('\n').map_or("", |(_, rest)| rest);
            cursor.line += 1;
        }
        while cursor.column < column && !cursor.rest.starts_with('\n') && cursor.bump().is_some() {}
        cursor
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let mut characters = self.rest.chars();
        let character = characters.next()?;
        self.rest = characters.as_str();
        if character == '\n' {
            (self.line, self.column) = (self.line + 1, 1);
        } else {
            self.column += 1;
        }
        Some(character)
    }

    fn skip_white(&mut self) {
        while self.peek().is_some_and(|c| matches!(c, ' ' | '\t' | '\r' | '\n')) {
            self.bump();
        }
    }

    /// Whether white space follows that holds the end of a line.
    fn ends_line(&self) -> bool {
        let white = self.rest.len() - self.rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
        self.rest[..white].contains('\n')
    }

    /// Passes over the anchor and the tag of a node.
    fn skip_properties(&mut self) {
        while self.peek().is_some_and(|c| matches!(c, '&' | '!')) {
            while self.peek().is_some_and(|c| !c.is_whitespace()) {
                self.bump();
            }
            self.skip_white();
        }
    }

    fn style(&self, file: &str, node: &Node, first: usize) -> Style {
        let is_plain = matches!(&node.value, crate::yaml::Value::Scalar(scalar) if scalar.plain);
        // The parser may give block text the place of its first line; then its head is the line before.
        let head = || file.lines().nth(first.checked_sub(2)?).map(|line| line.split(" #").next().unwrap_or_default());
        let indicator =
            || head()?.trim_end().trim_end_matches(|c: char| c.is_ascii_digit() || "+-".contains(c)).chars().last();
        match self.peek() {
            _ if is_plain => Style::Plain,
            Some('"') if first == self.line => Style::Double,
            Some('\'') if first == self.line => Style::Single,
            Some('>') if first > self.line => Style::Folded,
            Some('|') if first > self.line => Style::Literal,
            _ if indicator() == Some('>') => Style::Folded,
            _ => Style::Literal,
        }
    }

    /// What an escape in double quotes gives, and how many characters it has.
    fn escape(&self) -> Option<(char, usize)> {
        let mut characters = self.rest.chars().skip(1);
        let kind = characters.next()?;
        let digits = match kind {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => 0,
        };
        if digits > 0 {
            let code: String = characters.take(digits).collect();
            return Some((char::from_u32(u32::from_str_radix(&code, 16).ok()?)?, digits + 2));
        }
        let character = match kind {
            '0' => '\0',
            'a' => '\u{7}',
            'b' => '\u{8}',
            't' | '\t' => '\t',
            'n' => '\n',
            'v' => '\u{b}',
            'f' => '\u{c}',
            'r' => '\r',
            'e' => '\u{1b}',
            'N' => '\u{85}',
            '_' => '\u{a0}',
            'L' => '\u{2028}',
            'P' => '\u{2029}',
            other => other,
        };
        Some((character, 2))
    }
}

/// The parts of block text whose lines are kept: each line behind its indentation.
fn literal(file: &str, text: &str, first: usize) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut start = 0;
    for ((line, written), content) in (first..).zip(file.lines().skip(first - 1)).zip(text.split('\n')) {
        let column = written.strip_suffix(content).map_or(1, |indentation| indentation.chars().count() + 1);
        match parts.last() {
            // Behind the last newline is the end of the last line rather than the next thing in the file.
            Some(before) if start == text.len() => {
                let length = text[before.start..].trim_end_matches('\n').chars().count();
                parts.push(Part { start, line: before.line, column: before.column + length, copied: false });
            }
            _ => parts.push(Part { start, line, column, copied: true }),
        }
        start += content.len() + 1;
    }
    parts
}

/// The parts of a text whose lines are folded or escaped, and where it ends; what cannot be followed stands at the column of
/// the scalar.
fn walk(mut cursor: Cursor<'_>, text: &str, style: Style, node: &Node) -> (Vec<Part>, Option<(usize, usize)>) {
    let mut parts: Vec<Part> = Vec::new();
    // Where the last part would go on if the next character stood behind it.
    let mut next = None;
    let mut characters = text.char_indices().peekable();
    while let Some((start, character)) = characters.next() {
        let is_white = |c: char| matches!(c, ' ' | '\n' | '\t');
        while style == Style::Double && cursor.rest.starts_with("\\\n") || cursor.rest.starts_with("\\\r\n") {
            cursor.bump();
            cursor.skip_white();
        }
        if cursor.ends_line() {
            if is_white(character) {
                parts.push(Part { start, line: cursor.line, column: cursor.column, copied: false });
                while characters.next_if(|(_, next)| is_white(*next)).is_some() {}
                cursor.skip_white();
                next = None;
                continue;
            }
            cursor.skip_white();
        } else if !is_white(character) {
            while cursor.peek().is_some_and(|c| matches!(c, ' ' | '\t')) {
                cursor.bump();
            }
        }
        let written = match (style, cursor.peek()) {
            (Style::Double, Some('\\')) => cursor.escape(),
            (Style::Single, Some('\'')) => Some(('\'', 2)),
            (_, written) => written.map(|written| (written, 1)),
        };
        let Some((_, length)) = written.filter(|(written, _)| *written == character) else {
            parts.push(Part { start, line: cursor.line, column: node.column, copied: false });
            return (parts, None);
        };
        let place = (cursor.line, cursor.column);
        if next != Some(place) || length > 1 {
            parts.push(Part { start, line: place.0, column: place.1, copied: length == 1 });
        }
        for _ in 0..length {
            cursor.bump();
        }
        next = (length == 1).then_some((cursor.line, cursor.column));
    }
    parts.push(Part { start: text.len(), line: cursor.line, column: cursor.column, copied: false });
    (parts, Some((cursor.line, cursor.column)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The line and column of each `@` of the text under `a`, and what the file has there.
    fn places(file: &str) -> Vec<(usize, usize, char)> {
        let root = crate::yaml::parse(file).unwrap();
        let node = root.get("a").unwrap();
        let text = node.text().unwrap();
        let document = super::super::document::Document::parse("f", std::path::Path::new("/"), file.into()).unwrap();
        let places = document.places(document.root.get("a").unwrap());
        let found = text.match_indices('@').map(|(offset, _)| {
            let (line, column) = places.of(text, offset);
            let character = places.line(text, line).unwrap().chars().nth(column - 1).unwrap_or('-');
            (line, column, character)
        });
        found.collect()
    }

    #[test]
    fn a_text_is_found_in_its_file_however_it_is_written() {
        for (file, expected) in [
            ("a: x @ y @\n", &[(1, 6, '@'), (1, 10, '@')][..]),
            ("a: x @\n  y\n\n  z @\nb: 1\n", &[(1, 6, '@'), (4, 5, '@')]),
            ("b: 1\na: 'it''s @'\n", &[(2, 11, '@')]),
            ("a: \"@ \\\"x\\\" @ \\u00e4 @ \\n@\"\n", &[(1, 5, '@'), (1, 13, '@'), (1, 22, '@'), (1, 26, '@')]),
            ("a: \"@ x\n   y @ \\\n   z @\"\n", &[(1, 5, '@'), (2, 6, '@'), (3, 6, '@')]),
            ("a: |\n  x @\n\n    @\nb: 1\n", &[(2, 5, '@'), (4, 5, '@')]),
            ("a: |\n\n\n  x @\n", &[(4, 5, '@')]),
            ("a: |2-\n    x @\n  @\n", &[(2, 7, '@'), (3, 3, '@')]),
            ("a: | # why\n  x @\n", &[(2, 5, '@')]),
            ("a: >\n  x @\n  @\n\n  z @\n", &[(2, 5, '@'), (3, 3, '@'), (5, 5, '@')]),
            ("a: >-\n  x @\n    more @\n  @\n", &[(2, 5, '@'), (3, 10, '@'), (4, 3, '@')]),
            ("a: &x '@'\n", &[(1, 8, '@')]),
            ("a: &x |\n  @ä@\n", &[(2, 3, '@'), (2, 5, '@')]),
            ("a: |\r\n  x @\r\n  @\r\n", &[(2, 5, '@'), (3, 3, '@')]),
            ("{a: \"@\", b: x}\n", &[(1, 6, '@')]),
            ("{\"b\": [1], \"a\": \"x\\n@\"}", &[(1, 21, '@')]),
        ] {
            assert_eq!(places(file), expected, "{file:?}");
        }
    }

    #[test]
    fn a_line_with_a_secret_beside_the_text_is_not_shown() {
        for (file, shown) in [
            ("{a: \"@\", password: hunter2}\n", None),
            ("{token: hunter2, a: x @}\n", None),
            ("a: \"password = @\"\n", Some("a: \"password = @\"")),
            ("a: |\n  password = @\n", Some("  password = @")),
        ] {
            let document =
                super::super::document::Document::parse("f", std::path::Path::new("/"), file.into()).unwrap();
            let node = document.root.get("a").unwrap();
            let text = node.text().unwrap();
            let places = document.places(node);
            let (line, _) = places.of(text, text.find('@').unwrap());
            assert_eq!(places.line(text, line), shown, "{file}");
        }
    }

    #[test]
    fn parts_of_a_text_keep_their_places() {
        let file = "a: \"ab\\tcd ${X} ef\"\n";
        let document = super::super::document::Document::parse("f", std::path::Path::new("/"), file.into()).unwrap();
        let node = document.root.get("a").unwrap();
        let text = node.text().unwrap();
        let places = document.places(node);
        let column = |places: &Places, text: &str, part: &str| places.of(text, text.find(part).unwrap()).1;
        assert_eq!(column(&places, text, "ef"), 17);
        let behind = places.clone().behind(text, 4);
        assert_eq!((column(&behind, &text[4..], "d"), column(&behind, &text[4..], "ef")), (10, 17));
        let before = places.clone().before(3);
        assert_eq!(column(&before, &format!("{{{{ {text}"), "ef"), 17);
        let replaced = places.replaced(text, &[(6, 0, true), (7, 6, false), (3, 10, true)]);
        assert_eq!(column(&replaced, "ab\tcd longer! ef", "longer"), 12);
        assert_eq!(column(&replaced, "ab\tcd longer! ef", "er!"), 12);
        assert_eq!(column(&replaced, "ab\tcd longer! ef", "ef"), 17);
    }
}
