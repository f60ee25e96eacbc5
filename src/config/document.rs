//! One source of configuration, and what was noted while reading it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::places::Places;
use super::problem::{self, Complaint, Problem};
use crate::registry::Kind;
use crate::yaml::{self, Node, Value};

/// One source of configuration: a file, or the flags of a job.
#[derive(Debug)]
pub(super) struct Document {
    /// What it is called in problems.
    pub(super) name: String,
    /// The folder that its relative paths start from, absolute.
    pub(super) base: PathBuf,
    /// Its content.
    pub(super) root: Node,
    origin: Origin,
}

#[derive(Debug)]
enum Origin {
    /// A file with this text.
    File(String),
    /// Flags; the line of a node is the number of its flag. What a shell has expanded is not expanded again.
    Flags(Vec<String>),
}

impl Document {
    /// Reads the text of a file.
    pub(super) fn parse(name: &str, base: &Path, text: String) -> Result<Self, Problem> {
        match yaml::parse(&text) {
            Ok(root) => Ok(Self { name: name.to_owned(), base: base.to_owned(), root, origin: Origin::File(text) }),
            Err(error) => Err(Problem {
                file: name.to_owned(),
                line: error.line,
                column: error.column,
                message: error.message,
                hint: None,
                excerpt: problem::excerpt(&text, error.line),
            }),
        }
    }

    /// Takes nodes that were made of flags; the line of a node is the number of its flag in `flags`, from 1.
    pub(super) fn of_flags(flags: Vec<String>, base: &Path, root: Node) -> Self {
        Self { name: "command line".into(), base: base.to_owned(), root, origin: Origin::Flags(flags) }
    }

    /// Whether `${VAR}` is expanded in it.
    pub(super) fn expands(&self) -> bool {
        matches!(self.origin, Origin::File(_))
    }

    /// Where a node of it stands, such as `liveconf.yaml:7:15`.
    pub(super) fn place(&self, node: &Node) -> String {
        match &self.origin {
            Origin::File(_) => problem::place(&self.name, node.line, node.column),
            Origin::Flags(flags) => {
                node.line.checked_sub(1).and_then(|index| flags.get(index)).unwrap_or(&self.name).clone()
            }
        }
    }

    /// The line that the first line of a text stands on. The parser gives block text the place of its first line
    /// that is not empty, or that of its head (`|2`) when the head says how far it is indented.
    fn first_line(&self, node: &Node) -> usize {
        let Origin::File(source) = &self.origin else { return node.line };
        let Some(Value::Scalar(scalar)) = Some(&node.value).filter(|_| node.line > 0) else { return node.line };
        let line = source.lines().nth(node.line - 1).unwrap_or_default();
        match line.chars().nth(node.column - 1) {
            _ if scalar.plain => node.line,
            Some('"' | '\'') => node.line,
            Some('|' | '>' | '&' | '!')
                if line.trim_end().ends_with(|c: char| c.is_ascii_digit() || "|>+-".contains(c)) =>
            {
                node.line + 1
            }
            _ => node.line - scalar.text.chars().take_while(|c| *c == '\n').count().min(node.line - 1),
        }
    }

    /// Where the parts of the text of a node stand.
    pub(super) fn places(&self, node: &Node) -> Places {
        let first = self.first_line(node);
        match &self.origin {
            Origin::File(text) if node.line > 0 => Places::of_scalar(text, node, first),
            Origin::File(_) | Origin::Flags(_) => Places::from_line(first),
        }
    }

    /// A problem with a node of it.
    pub(super) fn problem(&self, node: &Node, complaint: Complaint) -> Problem {
        let Complaint { message, hint } = complaint;
        match &self.origin {
            Origin::File(text) => Problem {
                file: self.name.clone(),
                line: node.line,
                column: node.column,
                message,
                hint,
                excerpt: problem::excerpt(text, node.line),
            },
            Origin::Flags(_) if node.line == 0 => Problem::of_file(&self.name, message, hint),
            Origin::Flags(_) => Problem::of_file(&self.name, format!("{}: {message}", self.place(node)), hint),
        }
    }
}

/// What the readers of a configuration share: where variables come from, which kinds there are, and what they found
/// to be wrong. It belongs to one thread for the length of one load.
pub(super) struct Reading<'a> {
    /// Variables of the environment.
    pub(super) environment: &'a BTreeMap<String, String>,
    /// The kinds of registries.
    pub(super) kinds: &'a [Kind],
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
    /// Variables of the ecosystem that filled something, with their values.
    filled: RefCell<BTreeMap<String, String>>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(environment: &'a BTreeMap<String, String>, kinds: &'a [Kind]) -> Self {
        Self {
            environment,
            kinds,
            problems: RefCell::default(),
            warnings: RefCell::default(),
            filled: RefCell::default(),
        }
    }

    pub(super) fn problem(&self, problem: Problem) {
        note(&self.problems, problem);
    }

    pub(super) fn warning(&self, warning: Problem) {
        note(&self.warnings, warning);
    }

    /// Whether such a warning was noted, wherever it stands.
    pub(super) fn has_warned(&self, message: &str) -> bool {
        self.warnings.borrow().iter().any(|warning| warning.message == message)
    }

    /// Notes that a variable of the ecosystem filled something.
    pub(super) fn fill(&self, variable: &str, value: &str) {
        self.filled.borrow_mut().insert(variable.to_owned(), value.to_owned());
    }

    /// The variables that filled something since the last call, with their values.
    pub(super) fn take_filled(&self) -> BTreeMap<String, String> {
        self.filled.take()
    }

    /// How many problems there are.
    pub(super) fn count(&self) -> usize {
        self.problems.borrow().len()
    }

    /// The problems and the warnings, in the order in which they stand in `files`.
    pub(super) fn finish(self, files: &[String]) -> (Vec<Problem>, Vec<Problem>) {
        let order = |mut notes: Vec<Problem>| {
            notes.sort_by_key(|note| {
                (files.iter().position(|file| *file == note.file).unwrap_or(files.len()), note.line, note.column)
            });
            notes
        };
        (order(self.problems.into_inner()), order(self.warnings.into_inner()))
    }
}

/// A value that is read twice complains once.
fn note(notes: &RefCell<Vec<Problem>>, note: Problem) {
    let mut notes = notes.borrow_mut();
    if !notes.contains(&note) {
        notes.push(note);
    }
}
