//! Changes to a source before Tera sees it, and the way back from a place in the result to the place in the source.

use std::ops::Range;

/// A change: the range of the source is replaced by the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edit {
    /// What is replaced; empty for an insertion.
    pub(super) range: Range<usize>,
    /// What stands there instead.
    pub(super) text: String,
}

impl Edit {
    /// Takes a range away.
    pub(super) fn delete(range: Range<usize>) -> Self {
        Self { range, text: String::new() }
    }

    /// Puts text at a place.
    pub(super) fn insert(at: usize, text: impl Into<String>) -> Self {
        Self { range: at..at, text: text.into() }
    }
}

/// The result of edits, which knows where each byte came from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Edited {
    /// The changed source.
    pub(super) text: String,
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Segment {
    start: usize,
    origin: usize,
    copied: bool,
}

impl Edited {
    /// Applies edits that do not overlap. Those at one place are applied in the order given.
    pub(super) fn new(source: &str, mut edits: Vec<Edit>) -> Self {
        edits.sort_by_key(|edit| (edit.range.start, edit.range.end));
        let mut edited = Self::default();
        let mut at = 0;
        for edit in edits {
            // A change of what another change has already taken away has nothing to change.
            if edit.range.start < at || edit.range.end > source.len() {
                continue;
            }
            edited.push(&source[at..edit.range.start], at, true);
            edited.push(&edit.text, edit.range.start, false);
            at = edit.range.end;
        }
        edited.push(&source[at..], at, true);
        edited
    }

    /// Where the byte at `offset` of the result stands in the source.
    pub(super) fn origin(&self, offset: usize) -> usize {
        let after = self.segments.partition_point(|segment| segment.start <= offset);
        match after.checked_sub(1).and_then(|index| self.segments.get(index)) {
            Some(segment) if segment.copied => segment.origin + (offset - segment.start),
            Some(segment) => segment.origin,
            None => offset,
        }
    }

    fn push(&mut self, text: &str, origin: usize, copied: bool) {
        if !text.is_empty() {
            self.segments.push(Segment { start: self.text.len(), origin, copied });
            self.text.push_str(text);
        }
    }
}

/// A place in a text: line from 1, column in characters from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The line, from 1.
    pub(super) line: usize,
    /// The column in characters, from 1.
    pub(super) column: usize,
}

impl Place {
    /// The place of a byte.
    pub(super) fn of(text: &str, offset: usize) -> Self {
        let mut offset = offset.min(text.len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &text[..offset];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
        Self { line, column: before[line_start..].chars().count() + 1 }
    }

    /// The byte at this place; the end of the line when the line is shorter.
    pub(super) fn offset(self, text: &str) -> usize {
        let mut start = 0;
        for _ in 1..self.line {
            match text[start..].find('\n') {
                Some(newline) => start += newline + 1,
                None => return text.len(),
            }
        }
        let line = text[start..].split('\n').next().unwrap_or_default();
        start + line.char_indices().nth(self.column.saturating_sub(1)).map_or(line.len(), |(index, _)| index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_has_an_origin() {
        let source = "ab\ncd\nef\n";
        let edits = vec![Edit::delete(2..3), Edit::insert(6, "XY"), Edit { range: 6..7, text: "Q".into() }];
        let edited = Edited::new(source, edits);
        assert_eq!(edited.text, "abcd\nXYQf\n");
        let origins: Vec<_> = (0..=edited.text.len()).map(|offset| edited.origin(offset)).collect();
        assert_eq!(origins, [0, 1, 3, 4, 5, 6, 6, 6, 7, 8, 9]);
    }

    #[test]
    fn places_and_offsets_agree() {
        let text = "aä\nb\n\nlong";
        for (offset, line, column) in [(0, 1, 1), (1, 1, 2), (3, 1, 3), (4, 2, 1), (6, 3, 1), (7, 4, 1), (11, 4, 5)] {
            let place = Place::of(text, offset);
            assert_eq!((place.line, place.column), (line, column), "{offset}");
            assert_eq!(place.offset(text), offset);
        }
    }
}
