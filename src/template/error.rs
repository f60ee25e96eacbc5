//! What is wrong with a template, with its place, for people. It never holds a value of a registry.

use std::fmt;
use std::ops::Range;

use super::absence::Beside;
use super::near::{nearest, quoted};
use super::source::Source;
use crate::registry::Asked;

/// How many problems of one sort of a source are told of. Whoever has more finds the rest when these are mended.
pub(super) const MOST: usize = 50;

/// What is shown for a message of a template that was put together.
pub(super) const UNSHOWN: &str = "a message that is not shown: a value may be part of it";

/// Why a template cannot be loaded or rendered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    /// The file of the template, or the configuration for a template that is written in it.
    pub file: String,
    /// Line, from 1; 0 when the error has no place in the file.
    pub line: usize,
    /// Column in characters, from 1; 0 when the error has no place in the file.
    pub column: usize,
    /// What is wrong: a lowercase fragment with names in backticks.
    pub message: String,
    /// The line of the source and how many characters of it are meant.
    pub snippet: Option<Snippet>,
    /// From where the place was reached, innermost first.
    pub notes: Vec<Note>,
    /// The item of a `for_each` that was rendered, such as "item 3 of 7, whose file is `blog.conf`".
    pub item: Option<String>,
    /// What there is instead, names only: "in scope: `a`, `b`".
    pub available: Option<String>,
    /// What to do, if that can be said.
    pub hint: Option<String>,
    /// What sort of error it is, for whoever decides what follows from it.
    pub kind: ErrorKind,
}

/// A line of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snippet {
    /// The line as it is written.
    pub line: String,
    /// How many characters from the column on are meant, at least 1.
    pub width: usize,
}

/// The place of an `include` or a component that led to the error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The file.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// The sorts of errors that have different consequences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorKind {
    /// The template is wrong as it is written; nothing but an edit will help.
    Syntax,
    /// Something was used that is not there. It may come: `absent` names the keys and files that this render asked
    /// for and that are not there; when it is empty a name is misspelt.
    Undefined {
        /// The queries whose answer is "not there".
        absent: Vec<Asked>,
    },
    /// A function, a filter or an operator refused what it was given.
    Function,
    /// A value or the output is too large.
    Limit,
    /// The template says that what it has is not enough yet (`not_yet`); other answers may be.
    NotYet,
    /// The render took longer than `render_timeout`.
    Timeout,
    /// A file of the template cannot be read.
    Io,
}

impl TemplateError {
    /// An error that concerns a file as a whole.
    pub(super) fn whole(file: impl Into<String>, message: impl Into<String>, kind: ErrorKind) -> Self {
        Self {
            file: file.into(),
            line: 0,
            column: 0,
            message: message.into(),
            snippet: None,
            notes: Vec::new(),
            item: None,
            available: None,
            hint: None,
            kind,
        }
    }

    /// The same error with the names that there are.
    #[must_use]
    pub(super) fn available(mut self, available: impl Into<Option<String>>) -> Self {
        self.available = available.into().or(self.available);
        self
    }

    /// The same error with advice.
    #[must_use]
    pub(super) fn hint(mut self, hint: impl Into<Option<String>>) -> Self {
        self.hint = hint.into().or(self.hint);
        self
    }
}

/// The longest line that is shown.
const SNIPPET: usize = 160;

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.message)?,
            _ => write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?,
        }
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        if let Some(Snippet { line, width }) = &self.snippet
            && self.column <= SNIPPET
        {
            let shown: String = line.chars().take(SNIPPET).collect();
            let blank = |c: char| if c == '\t' { '\t' } else { ' ' };
            let indent: String = shown.chars().take(self.column.saturating_sub(1)).map(blank).collect();
            let rest = shown.chars().count().saturating_sub(self.column.saturating_sub(1));
            let carets = "^".repeat((*width).clamp(1, rest.max(1)));
            write!(f, "\n{gutter} |\n{number} | {shown}\n{gutter} | {indent}{carets}")?;
        }
        for Note { file, line, column } in &self.notes {
            write!(f, "\n{gutter} = called from {file}:{line}:{column}")?;
        }
        if let Some(item) = &self.item {
            write!(f, "\n{gutter} = for {item}")?;
        }
        if let Some(available) = &self.available {
            write!(f, "\n{gutter} = {available}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n{gutter} = hint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for TemplateError {}

/// What a function or filter refuses, before its place is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// What is wrong.
    pub(super) message: String,
    /// What there is instead, names only.
    pub(super) available: Option<String>,
    /// What to do, if that can be said.
    pub(super) hint: Option<String>,
    /// What sort of error it is.
    pub(super) kind: ErrorKind,
    /// Whether the message may hold a value unless the template holds it word by word.
    pub(super) suspect: bool,
}

impl Failure {
    /// Something refused what it was given.
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self::of(ErrorKind::Function, message)
    }

    /// A failure of this sort.
    pub(super) fn of(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { message: message.into(), available: None, hint: None, kind, suspect: false }
    }

    /// The error of a file as a whole.
    pub(super) fn whole(self, file: &str) -> TemplateError {
        let Self { message, available, hint, kind, suspect: _ } = self;
        TemplateError::whole(file, message, kind).available(available).hint(hint)
    }

    /// The error of a range of a source.
    pub(super) fn at(self, source: &Source, range: Range<usize>) -> TemplateError {
        let Self { message, available, hint, kind, suspect: _ } = self;
        source.error(range, kind, message).available(available).hint(hint)
    }

    /// The same failure with advice.
    #[must_use]
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same failure with what there is instead and what may be meant, as far as that can be said.
    #[must_use]
    pub(super) fn teach(mut self, Beside { available, hint }: Beside) -> Self {
        self.available = available.or(self.available);
        self.hint = hint.or(self.hint);
        self
    }
}

/// The failure of using something undefined. What was asked for and is not there is named when the place is known.
pub(super) fn undefined(message: impl Into<String>) -> Failure {
    Failure::of(ErrorKind::Undefined { absent: Vec::new() }, message)
}

/// "did you mean `NAME`?", when one of the names is close to what was written.
pub(crate) fn did_you_mean<'a>(written: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(written, names).map(|name| format!("did you mean {}?", quoted(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_its_place() {
        let error = TemplateError {
            file: "web.conf".into(),
            line: 12,
            column: 3,
            message: "unknown function `kye`".into(),
            snippet: Some(Snippet { line: "\t {{ kye() }}".into(), width: 5 }),
            notes: vec![Note { file: "main.conf".into(), line: 1, column: 4 }],
            item: Some("item 3 of 7".into()),
            available: Some("there is `key`".into()),
            hint: did_you_mean("kye", ["service", "key"]),
            kind: ErrorKind::Syntax,
        };
        assert_eq!(
            error.to_string(),
            "web.conf:12:3: unknown function `kye`\n   |\n12 | \t {{ kye() }}\n   | \t ^^^^^\n   \
             = called from main.conf:1:4\n   = for item 3 of 7\n   = there is `key`\n   = hint: did you mean `key`?"
        );
        assert_eq!(TemplateError::whole("a", "b", ErrorKind::Io).to_string(), "a: b");
    }
}
