//! Reads the templates of a target with all that they include.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tera::Tera;

use super::builtin::{BUILTINS, FOLDER, with_delimiters};
use super::edit::Edited;
use super::error::{ErrorKind, TemplateError};
use super::scan::{default_delimiters, scan};
use super::source::Source;
use super::{Environment, check, component, filter, function, message, rewrite, trim};
use crate::config::{Delimiters, Target, TemplateSource};

/// All templates of one target, parsed.
pub struct Templates {
    /// One for each way of reading a source: delimiters and trimming.
    pub(super) dialects: Vec<Dialect>,
    /// For each template of the target: its dialect, and its source in it.
    pub(super) entries: Vec<(usize, usize)>,
    /// What templates may reach.
    pub(super) environment: Arc<Environment>,
    /// When a render has taken too long.
    pub(super) timeout: Duration,
    files: BTreeSet<PathBuf>,
}

impl fmt::Debug for Templates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Templates").field("files", &self.files).finish_non_exhaustive()
    }
}

/// The templates that are read in one way.
pub(super) struct Dialect {
    /// The sources, by the number in their names.
    pub(super) sources: Vec<Source>,
    /// Tera with those sources.
    pub(super) tera: Tera,
}

impl Templates {
    /// Reads and parses the templates of a target and whatever they include; every problem of all of them at once.
    pub fn load(target: &Target, environment: &Environment) -> Result<Self, Vec<TemplateError>> {
        let mut loaders: Vec<Loader<'_>> = Vec::new();
        let mut entries = Vec::new();
        let mut errors = Vec::new();
        for template in &target.templates {
            let delimiters = template.delimiters.clone().unwrap_or_else(default_delimiters);
            let same = |loader: &Loader<'_>| loader.delimiters == delimiters && loader.trim == template.trim;
            let index = match loaders.iter().position(same) {
                Some(index) => index,
                None => match tera(&delimiters) {
                    Ok(tera) => {
                        loaders.push(Loader::new(tera, delimiters, template.trim, environment));
                        loaders.len() - 1
                    }
                    Err(error) => {
                        let file = match &template.source {
                            TemplateSource::File(path) => path.display().to_string(),
                            TemplateSource::Inline { file, .. } => file.clone(),
                        };
                        let message = format!("the delimiters are refused: {error}");
                        errors.push(TemplateError::whole(file, message, ErrorKind::Syntax));
                        continue;
                    }
                },
            };
            entries.push((index, loaders[index].entry(&template.source)));
        }
        let mut files = BTreeSet::new();
        let mut dialects = Vec::new();
        for loader in loaders {
            files.extend(loader.files.values().map(|(path, _)| path.clone()));
            match loader.finish() {
                Ok(dialect) => dialects.push(dialect),
                Err(more) => errors.extend(more),
            }
        }
        let entries: Option<Vec<_>> =
            entries.into_iter().map(|(dialect, source)| source.map(|source| (dialect, source))).collect();
        match entries {
            Some(entries) if errors.is_empty() => Ok(Self {
                dialects,
                entries,
                environment: Arc::new(environment.clone()),
                timeout: target.render_timeout,
                files,
            }),
            _ => {
                let place = |error: &TemplateError| (error.file.clone(), error.line, error.column);
                errors.sort_by_key(place);
                // The same file may be wrong in several dialects.
                errors.dedup();
                Err(errors)
            }
        }
    }

    /// Every file that was read, included ones too.
    pub fn sources(&self) -> &BTreeSet<PathBuf> {
        &self.files
    }
}

/// Reads the sources of one dialect.
struct Loader<'e> {
    /// Tera with functions, filters and delimiters, and without templates.
    tera: Tera,
    delimiters: Delimiters,
    trim: bool,
    environment: &'e Environment,
    sources: Vec<Source>,
    /// For each source: its includes by where their names stand, and the number of the included source.
    includes: Vec<Vec<(Range<usize>, usize)>>,
    /// The sources of files, by the real path of each.
    files: BTreeMap<PathBuf, (PathBuf, Option<usize>)>,
    errors: Vec<TemplateError>,
}

impl<'e> Loader<'e> {
    fn new(tera: Tera, delimiters: Delimiters, trim: bool, environment: &'e Environment) -> Self {
        let mut loader = Self {
            tera,
            delimiters,
            trim,
            environment,
            sources: Vec::new(),
            includes: Vec::new(),
            files: BTreeMap::new(),
            errors: Vec::new(),
        };
        for (name, source) in BUILTINS {
            let text = with_delimiters(source, &loader.delimiters);
            loader.add((*name).to_owned(), format!("{name} (built in)"), 0, PathBuf::new(), text);
        }
        loader
    }

    /// Reads a template of the target; its number, unless it cannot be read.
    fn entry(&mut self, source: &TemplateSource) -> Option<usize> {
        match source {
            TemplateSource::File(path) => match self.file(path) {
                Ok(number) => number,
                Err(error) => {
                    let message = format!("cannot read the template: {}", io_reason(&error));
                    self.errors.push(TemplateError::whole(path.display().to_string(), message, ErrorKind::Io));
                    None
                }
            },
            TemplateSource::Inline { content, file, line } => {
                let name = self.next_name();
                let folder = self.environment.base.clone();
                Some(self.add(name, file.clone(), line.saturating_sub(1), folder, content.clone()))
            }
        }
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
        Ok(Some(self.add(name, shown, 0, folder, text)))
    }

    fn next_name(&self) -> String {
        format!("template-{}", self.sources.len())
    }

    /// Takes a source in, and all that it includes.
    fn add(&mut self, name: String, file: String, lines_before: usize, folder: PathBuf, text: String) -> usize {
        let number = self.sources.len();
        let pieces = scan(&text, &self.delimiters);
        let inclusions: Vec<(Range<usize>, String)> = pieces
            .iter()
            .flatten()
            .filter_map(|piece| rewrite::inclusion(&text, piece))
            .map(|(token, name)| (token.range.clone(), name.to_owned()))
            .collect();
        self.sources.push(Source { name, file, lines_before, folder, text, pieces, edited: Edited::default() });
        self.includes.push(Vec::new());
        for (range, wanted) in inclusions {
            if let Some(included) = self.include(number, &range, &wanted) {
                self.includes[number].push((range, included));
            }
        }
        number
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
        if let Some(number) = BUILTINS.iter().position(|(name, _)| *name == wanted) {
            return Some(number);
        }
        let hint = if wanted.starts_with(FOLDER) {
            super::error::did_you_mean(wanted, BUILTINS.iter().map(|(name, _)| *name))
        } else {
            let list: Vec<String> = candidates.iter().map(|path| format!("`{}`", path.display())).collect();
            Some(format!("looked for {}", list.join(", ")))
        };
        let message = format!("template `{wanted}` is not found");
        self.errors.push(self.sources[from].error(range.clone(), ErrorKind::Syntax, message).hint(hint));
        None
    }

    fn finish(mut self) -> Result<Dialect, Vec<TemplateError>> {
        self.refuse_cycles();
        self.check();
        let names: Vec<String> = self.sources.iter().map(|source| source.name.clone()).collect();
        for (number, source) in self.sources.iter_mut().enumerate() {
            let included =
                self.includes[number].iter().map(|(range, included)| (range.start, names[*included].clone()));
            let included: HashMap<usize, String> = included.collect();
            let mut edits = rewrite::edits(&source.text, source.pieces(), &self.delimiters, &included);
            if self.trim {
                edits.extend(trim::edits(&source.text, source.pieces(), &self.delimiters));
            }
            source.edited = Edited::new(&source.text, edits);
        }
        let used = self.used();
        self.parse_alone(&used);
        if !self.errors.is_empty() {
            return Err(self.errors);
        }
        let mut tera = self.tera;
        let used = used.iter().map(|&number| &self.sources[number]);
        match tera.add_raw_templates(used.map(|source| (&source.name, &source.edited.text))) {
            Ok(()) => {
                let own = self.sources.iter().skip(BUILTINS.len());
                let errors: Vec<TemplateError> = own.flat_map(|source| component::misfits(source, &tera)).collect();
                if errors.is_empty() { Ok(Dialect { sources: self.sources, tera }) } else { Err(errors) }
            }
            Err(error) => Err(vec![message::loading(&error, &self.sources)]),
        }
    }

    /// Finds misspelt names and doubles.
    fn check(&mut self) {
        let mut components: BTreeMap<String, usize> = BTreeMap::new();
        for (number, source) in self.sources.iter().enumerate() {
            for (name, range) in component::definitions(source) {
                let before = components.insert(name.clone(), number);
                if let Some(before) = before.filter(|&before| before >= BUILTINS.len() && before != number) {
                    let message = format!("component `{name}` is defined in `{}` already", self.sources[before].file);
                    self.errors.push(source.error(range, ErrorKind::Syntax, message));
                }
            }
        }
        let components: BTreeSet<String> = components.into_keys().collect();
        // A source that cannot be split may define any component.
        let all_known = self.sources.iter().all(|source| source.pieces.is_some());
        for source in self.sources.iter().skip(BUILTINS.len()) {
            self.errors.extend(check::check(source, self.environment, all_known.then_some(&components)));
        }
    }

    /// Finds templates that include themselves, straight or through others.
    fn refuse_cycles(&mut self) {
        /// Walks what `number` includes; `done` holds what has been walked.
        fn walk(loader: &mut Loader<'_>, number: usize, path: &mut Vec<usize>, done: &mut BTreeSet<usize>) {
            path.push(number);
            for (range, included) in loader.includes[number].clone() {
                if let Some(start) = path.iter().position(|&walked| walked == included) {
                    let files = path[start..].iter().chain([&included]);
                    let chain: Vec<&str> = files.map(|&number| loader.sources[number].file.as_str()).collect();
                    let message = format!("a template includes itself: {}", chain.join(" -> "));
                    let error = loader.sources[number].error(range, ErrorKind::Syntax, message);
                    loader.errors.push(error);
                } else if !done.contains(&included) {
                    walk(loader, included, path, done);
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

    /// The sources that Tera is given: those of the target, and of the built-in ones those that they include or whose
    /// components they call. Tera keeps a component four times over, so that each would cost every target 70 KiB.
    fn used(&self) -> BTreeSet<usize> {
        let mut used: BTreeSet<usize> = (BUILTINS.len()..self.sources.len()).collect();
        let mut open: Vec<usize> = used.iter().copied().collect();
        while let Some(number) = open.pop() {
            let called = component::calls(&self.sources[number]);
            let defines = |builtin: &usize| {
                component::definitions(&self.sources[*builtin]).iter().any(|(name, _)| called.contains(name))
            };
            let included = self.includes[number].iter().map(|(_, included)| *included);
            open.extend(included.chain((0..BUILTINS.len()).filter(defines)).filter(|next| used.insert(*next)));
        }
        used
    }

    /// Parses each source on its own, so that a syntax error in one does not hide those of the others.
    fn parse_alone(&mut self, used: &BTreeSet<usize>) {
        for source in used.iter().map(|&number| &self.sources[number]) {
            if let Err(error) = self.tera.clone().add_raw_template(&source.name, &source.edited.text)
                && matches!(error.kind(), tera::ErrorKind::SyntaxError(_))
            {
                self.errors.push(message::loading(&error, &self.sources));
            }
        }
    }
}

/// Tera with everything but templates; an error when the delimiters are none that it takes.
fn tera(delimiters: &Delimiters) -> tera::TeraResult<Tera> {
    let mut tera = Tera::default();
    let own = |text: &String| std::borrow::Cow::Owned(text.clone());
    tera.set_delimiters(tera::Delimiters {
        block_start: own(&delimiters.block.0),
        block_end: own(&delimiters.block.1),
        variable_start: own(&delimiters.variable.0),
        variable_end: own(&delimiters.variable.1),
        comment_start: own(&delimiters.comment.0),
        comment_end: own(&delimiters.comment.1),
    })?;
    tera.autoescape_on(Vec::<&str>::new());
    // A component of the user goes before a built-in one of the same name.
    tera.set_fallback_prefixes([FOLDER])?;
    function::register(&mut tera);
    filter::register(&mut tera);
    Ok(tera)
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
