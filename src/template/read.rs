//! Reads the sources of one target that are written in one way, with all that they include.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::builtin::{BUILTINS, Builtin, FOLDER, with_delimiters};
use super::each::ITEMS;
use super::edit::{Edit, Edited};
use super::error::{ErrorKind, Note, TemplateError, did_you_mean};
use super::load::Dialect;
use super::scan::{Piece, PieceKind, scan};
use super::source::Source;
use super::{Environment, check, component, rewrite, trim};
use crate::config::{Places, TemplateSource};

/// The sources of one target in one dialect.
pub(super) struct Reading<'e> {
    /// How they are written.
    pub(super) dialect: Arc<Dialect>,
    /// The sources, those of the target and the built-in ones that they use.
    pub(super) sources: Vec<Source>,
    /// What is wrong with them.
    pub(super) errors: Vec<TemplateError>,
    /// What its names are told by from those of other readings.
    index: usize,
    environment: &'e Environment,
    /// For each source: its includes by where their names stand, and the number of the included source.
    includes: Vec<Vec<(Range<usize>, usize)>>,
    /// The sources that give the items of a `for_each`.
    items: BTreeSet<usize>,
    /// The sources of files, by the real path of each.
    files: BTreeMap<PathBuf, (PathBuf, Option<usize>)>,
}

impl<'e> Reading<'e> {
    /// Nothing is read yet. No two readings have one index.
    pub(super) fn new(index: usize, dialect: Arc<Dialect>, environment: &'e Environment) -> Self {
        Self {
            dialect,
            sources: Vec::new(),
            errors: Vec::new(),
            index,
            environment,
            includes: Vec::new(),
            items: BTreeSet::new(),
            files: BTreeMap::new(),
        }
    }

    /// Every file that was read, included ones too.
    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.files.values().map(|(path, _)| path)
    }

    /// Reads a template of the target; its number, unless it cannot be read.
    pub(super) fn entry(&mut self, source: &TemplateSource) -> Option<usize> {
        match source {
            TemplateSource::File(path) => match self.file(path) {
                Ok(number) => number,
                Err(error) => {
                    let message = format!("cannot read the template: {}", io_reason(&error));
                    self.errors.push(TemplateError::whole(path.display().to_string(), message, ErrorKind::Io));
                    None
                }
            },
            TemplateSource::Inline { content, file, places } => {
                let name = self.next_name();
                let folder = self.environment.base.clone();
                Some(self.add(name, file.clone(), places.clone(), folder, content.clone()))
            }
        }
    }

    /// Reads the expression that gives the items of a `for_each`; its number, unless it is none.
    pub(super) fn items(&mut self, source: &TemplateSource) -> Option<usize> {
        let number = self.entry(source)?;
        let source = &self.sources[number];
        // Of what cannot be split Tera says what is wrong.
        let is_expression = |piece: &Piece| piece.kind == PieceKind::Variable;
        if source.pieces.is_some() && !matches!(source.pieces(), [piece] if is_expression(piece)) {
            let message = "`for_each` takes one expression";
            self.errors.push(source.error(0..source.text.len(), ErrorKind::Syntax, message));
            return None;
        }
        self.items.insert(number);
        Some(number)
    }

    /// Finds what is wrong as far as that can be told without Tera, and makes of each source what Tera gets.
    pub(super) fn finish(&mut self) {
        self.add_called();
        self.refuse_cycles();
        self.check();
        let names: Vec<String> = self.sources.iter().map(|source| source.name.clone()).collect();
        for (number, source) in self.sources.iter_mut().enumerate() {
            let included =
                self.includes[number].iter().map(|(range, included)| (range.start, names[*included].clone()));
            let included: HashMap<usize, String> = included.collect();
            let delimiters = &self.dialect.delimiters;
            let mut edits = rewrite::edits(&source.text, source.pieces(), delimiters, &included);
            if self.dialect.trim {
                edits.extend(trim::edits(&source.text, source.pieces(), delimiters));
            }
            if self.items.contains(&number)
                && let Some(piece) = source.pieces().first()
            {
                let (open, close) = (delimiters.variable.0.len(), delimiters.variable.1.len());
                edits.push(Edit::insert(piece.range.start + open, format!(" {ITEMS}(of=")));
                edits.push(Edit::insert(piece.range.end - close, ")"));
            }
            source.edited = Edited::new(&source.text, edits);
        }
    }

    /// From where a file is included, the nearest place first, up to a template of the target; of several ways the first.
    pub(super) fn includers(&self, file: &str) -> Vec<Note> {
        let mut path = Vec::new();
        let mut number = self.sources.iter().position(|source| source.file == file);
        while let Some(included) = number.filter(|number| !path.contains(number)) {
            path.push(included);
            number = self.includes.iter().position(|all| all.iter().any(|(_, other)| *other == included));
        }
        let pairs = path.iter().zip(path.iter().skip(1));
        let place = |(included, from): (&usize, &usize)| {
            let (range, _) = self.includes[*from].iter().find(|(_, other)| other == included)?;
            Some(self.sources[*from].note(range.start))
        };
        pairs.filter_map(place).collect()
    }

    /// Whether a source of the target defines a component, whose name is then known to this target alone.
    pub(super) fn defines_components(&self) -> bool {
        self.own().any(|source| !component::definitions(source).is_empty())
    }

    /// The sources that are not built in.
    pub(super) fn own(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter().filter(|source| !source.is_built_in())
    }

    /// Reads a file unless it has been read. Nothing comes back for one that was refused before.
    fn file(&mut self, path: &Path) -> std::io::Result<Option<usize>> {
        let real = std::fs::canonicalize(path)?;
        if let Some((_, number)) = self.files.get(&real) {
            return Ok(*number);
        }
        let bytes = std::fs::read(&real)?;
        self.files.insert(real.clone(), (path.to_owned(), None));
        let shown = path.display().to_string();
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let line = error.as_bytes()[..good].split(|&byte| byte == b'\n').count();
                let message = format!("the template is not UTF-8 in line {line}");
                self.errors.push(TemplateError::whole(shown, message, ErrorKind::Io));
                return Ok(None);
            }
        };
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        let name = self.next_name();
        // Noted before its includes are read, so that a file that includes itself is found and not read again.
        self.files.insert(real, (path.to_owned(), Some(self.sources.len())));
        Ok(Some(self.add(name, shown, Places::default(), folder, text)))
    }

    fn next_name(&self) -> String {
        format!("template-{}-{}", self.index, self.sources.len())
    }

    /// Takes a source in, and all that it includes.
    fn add(&mut self, name: String, file: String, places: Places, folder: PathBuf, text: String) -> usize {
        let number = self.sources.len();
        let pieces = scan(&text, &self.dialect.delimiters);
        let inclusions: Vec<(Range<usize>, String)> = pieces
            .iter()
            .flatten()
            .filter_map(|piece| rewrite::inclusion(&text, piece))
            .map(|(token, name)| (token.range.clone(), name.to_owned()))
            .collect();
        self.sources.push(Source { name, file, places, folder, text, pieces, edited: Edited::default() });
        self.includes.push(Vec::new());
        for (range, wanted) in inclusions {
            if let Some(included) = self.include(number, &range, &wanted) {
                self.includes[number].push((range, included));
            }
        }
        number
    }

    /// Takes a built-in template in, unless it is there; its number.
    fn add_built_in(&mut self, builtin: &Builtin) -> usize {
        if let Some(number) = self.sources.iter().position(|source| source.name == builtin.name) {
            return number;
        }
        let text = with_delimiters(builtin.source, &self.dialect.delimiters);
        self.add(
            builtin.name.to_owned(),
            format!("{} (built in)", builtin.name),
            Places::default(),
            PathBuf::new(),
            text,
        )
    }

    /// Takes in the built-in templates whose components are called.
    fn add_called(&mut self) {
        let mut number = 0;
        while let Some(source) = self.sources.get(number) {
            let called = component::calls(source);
            let is_called = |builtin: &&Builtin| called.contains(builtin.component);
            for builtin in BUILTINS.iter().filter(is_called) {
                self.add_built_in(builtin);
            }
            number += 1;
        }
    }

    /// Finds what an include names: beside the including file, then in `template_dirs`, then built in.
    fn include(&mut self, from: usize, range: &Range<usize>, wanted: &str) -> Option<usize> {
        let folders = std::iter::once(&self.sources[from].folder).chain(&self.environment.template_dirs);
        let candidates: Vec<PathBuf> = folders.map(|folder| folder.join(wanted)).collect();
        for path in &candidates {
            match self.file(path) {
                Ok(number) => return number,
                Err(error) if is_absent(&error) => {}
                Err(error) => {
                    let message = format!("cannot read `{}`: {}", path.display(), io_reason(&error));
                    self.errors.push(self.sources[from].error(range.clone(), ErrorKind::Io, message));
                    return None;
                }
            }
        }
        if let Some(builtin) = BUILTINS.iter().find(|builtin| builtin.name == wanted) {
            return Some(self.add_built_in(builtin));
        }
        let hint = if wanted.starts_with(FOLDER) {
            did_you_mean(wanted, BUILTINS.iter().map(|builtin| builtin.name))
        } else {
            let list: Vec<String> = candidates.iter().map(|path| format!("`{}`", path.display())).collect();
            Some(format!("looked for {}", list.join(", ")))
        };
        let message = format!("template `{wanted}` is not found");
        self.errors.push(self.sources[from].error(range.clone(), ErrorKind::Syntax, message).hint(hint));
        None
    }

    /// Finds misspelt names and doubles.
    fn check(&mut self) {
        let mut errors = Vec::new();
        let mut defined: BTreeMap<String, &Source> = BTreeMap::new();
        for source in self.own() {
            for (name, range) in component::definitions(source) {
                if let Some(before) = defined.insert(name.clone(), source)
                    && before.name != source.name
                {
                    let message = format!("component `{name}` is defined in `{}` already", before.file);
                    errors.push(source.error(range, ErrorKind::Syntax, message));
                }
            }
        }
        let built_in = BUILTINS.iter().map(|builtin| builtin.component.to_owned());
        let components: BTreeSet<String> = defined.into_keys().chain(built_in).collect();
        // A source that cannot be split may define any component.
        let all_known = self.own().all(|source| source.pieces.is_some());
        for source in self.own() {
            errors.extend(check::check(source, self.environment, all_known.then_some(&components)));
        }
        self.errors.append(&mut errors);
    }

    /// Finds templates that include themselves, straight or through others.
    fn refuse_cycles(&mut self) {
        /// Walks what `number` includes; `done` holds what has been walked.
        fn walk(reading: &mut Reading<'_>, number: usize, path: &mut Vec<usize>, done: &mut BTreeSet<usize>) {
            path.push(number);
            for (range, included) in reading.includes[number].clone() {
                if let Some(start) = path.iter().position(|&walked| walked == included) {
                    let files = path[start..].iter().chain([&included]);
                    let chain: Vec<&str> = files.map(|&number| reading.sources[number].file.as_str()).collect();
                    let message = format!("a template includes itself: {}", chain.join(" -> "));
                    let error = reading.sources[number].error(range, ErrorKind::Syntax, message);
                    reading.errors.push(error);
                } else if !done.contains(&included) {
                    walk(reading, included, path, done);
                }
            }
            path.pop();
            done.insert(number);
        }
        let mut done = BTreeSet::new();
        for number in 0..self.sources.len() {
            if !done.contains(&number) {
                walk(self, number, &mut Vec::new(), &mut done);
            }
        }
    }
}

/// Whether there is no such file.
fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}

/// Why a file cannot be read, in words without a number.
fn io_reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".into(),
        std::io::ErrorKind::PermissionDenied => "permission denied".into(),
        std::io::ErrorKind::IsADirectory => "it is a folder".into(),
        _ => error.to_string(),
    }
}
