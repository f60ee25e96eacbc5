//! The source of one template, and errors at places in it.

use std::ops::Range;
use std::path::PathBuf;

use super::builtin::FOLDER;
use super::edit::{Edited, Place};
use super::error::{ErrorKind, Note, Snippet, TemplateError};
use super::scan::Piece;
use crate::config::Places;

/// One template: its source, and what Tera gets of it.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// What Tera knows it by.
    pub(super) name: String,
    /// What people know it by: the path of its file.
    pub(super) file: String,
    /// Where it stands in that file, for one that is written in the configuration.
    pub(super) places: Places,
    /// The folder in which its includes are looked for first.
    pub(super) folder: PathBuf,
    /// The source.
    pub(super) text: String,
    /// Its pieces; none when Tera will refuse it, and where they are not needed.
    pub(super) pieces: Option<Vec<Piece>>,
    /// What Tera gets.
    pub(super) edited: Edited,
}

impl Source {
    /// An error at a range of the source.
    pub(super) fn error(&self, range: Range<usize>, kind: ErrorKind, message: impl Into<String>) -> TemplateError {
        let (line, column) = self.place(range.start);
        let meant = self.text.get(range.clone()).unwrap_or_default().lines().next().unwrap_or_default();
        // An escape of the configuration takes more room there than here.
        let width = match self.place(range.end) {
            (last, end) if last == line && end > column => end - column,
            _ => meant.chars().count().max(1),
        };
        let shown = self.places.line(&self.text, line);
        TemplateError {
            line,
            column,
            snippet: shown.map(|shown| Snippet { line: shown.to_owned(), width }),
            ..TemplateError::whole(&self.file, message, kind)
        }
    }

    /// The line and the column of a byte, as they are shown.
    pub(super) fn place(&self, offset: usize) -> (usize, usize) {
        self.places.of(&self.text, offset)
    }

    /// An error at the whole of the source.
    pub(super) fn whole(&self, message: impl Into<String>) -> TemplateError {
        self.error(0..self.text.len(), ErrorKind::Function, message)
    }

    /// The range of the source that stands at a place of what Tera got: lines from 1, columns from 0 as Tera counts.
    pub(super) fn range(&self, start: (usize, usize), end: (usize, usize)) -> Range<usize> {
        let offset = |(line, column): (usize, usize)| Place { line, column: column + 1 }.offset(&self.edited.text);
        let start = offset(start);
        let from = self.edited.origin(start);
        // The last byte of the span has an origin; the byte after it may belong to something that was put in.
        let last = offset(end).saturating_sub(1).max(start);
        let until = self.edited.origin(last).max(from);
        let until = until + self.text.get(until..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
        from..until.min(self.text.len())
    }

    /// The place of something that led to an error.
    pub(super) fn note(&self, at: usize) -> Note {
        let (line, column) = self.place(at);
        Note { file: self.file.clone(), line, column }
    }

    /// Whether it comes with liveconf.
    pub(super) fn is_built_in(&self) -> bool {
        self.name.starts_with(FOLDER)
    }

    /// Every piece, or nothing for a source that Tera refuses.
    pub(super) fn pieces(&self) -> &[Piece] {
        self.pieces.as_deref().unwrap_or_default()
    }
}
