//! Makes templates of the sources of all targets: read, checked, and parsed by Tera.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tera::Tera;

use super::builtin::FOLDER;
use super::error::{ErrorKind, TemplateError};
use super::read::Reading;
use super::scan::{default_delimiters, scan};
use super::source::Source;
use super::words::Words;
use super::{Environment, component, filter, foreign, function, lookup, message, print};
use crate::config::{Delimiters, ForEach, Target, Template, TemplateSource, Writes};

/// All templates of one target, parsed.
pub struct Templates {
    /// For each template of the target: what it is made of.
    pub(super) entries: Vec<Entry<Arc<Parsed>>>,
    /// What templates may reach.
    pub(super) environment: Arc<Environment>,
    /// When a render has taken too long.
    pub(super) timeout: Duration,
    files: BTreeSet<PathBuf>,
}

/// One template of a target. `P` leads to the sources of one dialect.
pub(super) struct Entry<P> {
    /// The sources that it is among, and its number there.
    pub(super) content: (P, usize),
    /// With `for_each`: the sources of its items and of the names of its files, and their numbers there.
    pub(super) each: Option<(P, usize, usize)>,
    /// Whether nothing of what it writes may be shown, the names of its files either.
    pub(super) secret: bool,
}

impl<P> Entry<P> {
    fn map<Q>(self, mut map: impl FnMut(P) -> Q) -> Entry<Q> {
        let Self { content: (parsed, number), each, secret } = self;
        let each = each.map(|(parsed, items, name)| (map(parsed), items, name));
        Entry { content: (map(parsed), number), each, secret }
    }
}

impl fmt::Debug for Templates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Templates").field("files", &self.files).finish_non_exhaustive()
    }
}

/// The sources of one target in one dialect.
pub(super) struct Parsed {
    pub(super) dialect: Arc<Dialect>,
    /// Tera with those sources, and with those of other targets.
    pub(super) tera: Arc<Tera>,
    pub(super) sources: Vec<Source>,
    /// What stands in them.
    pub(super) words: Arc<Words>,
}

/// A way in which sources are written.
pub(super) struct Dialect {
    /// What its tags are told by.
    pub(super) delimiters: Delimiters,
    /// Whether block lines vanish.
    pub(super) trim: bool,
    /// Tera with everything but templates.
    pub(super) tera: Tera,
}

impl Templates {
    /// The texts that stand in them word by word, whole and by the segments of paths.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.entries
            .iter()
            .flat_map(|entry| [Some(&entry.content.0), entry.each.as_ref().map(|(parsed, ..)| parsed)])
            .flatten()
            .flat_map(|parsed| parsed.words.all())
    }

    /// Reads and parses the templates of these targets and whatever they include; every problem of all of them at once.
    pub fn load(targets: &[Target], environment: Environment) -> Result<Vec<Self>, Vec<TemplateError>> {
        let environment = Arc::new(environment);
        let mut all =
            Sources { environment: &environment, dialects: Vec::new(), readings: Vec::new(), errors: Vec::new() };
        let drafts: Vec<Draft> = targets.iter().map(|target| all.read(target)).collect();
        let parsed = all.parse()?;
        let templates = drafts.into_iter().map(|draft| Self {
            entries: draft.entries.into_iter().map(|entry| entry.map(|index| parsed[index].clone())).collect(),
            environment: environment.clone(),
            timeout: draft.timeout,
            files: draft.files,
        });
        Ok(templates.collect())
    }

    /// What is read well and most likely not meant: a source without any tag of ours that has those of another language.
    pub fn doubts(&self) -> Vec<TemplateError> {
        let parsed = self.entries.iter().map(|entry| &entry.content.0);
        let sources = parsed.flat_map(|parsed| parsed.sources_in_pieces());
        let mut doubts: Vec<TemplateError> = sources.filter_map(|source| foreign::of_ruby(&source)).collect();
        doubts.sort_by_key(|doubt| (doubt.file.clone(), doubt.line));
        doubts.dedup();
        doubts
    }

    /// Every file that was read, included ones too.
    pub fn sources(&self) -> &BTreeSet<PathBuf> {
        &self.files
    }
}

impl Parsed {
    /// The pieces of the sources were for finding problems; an error of a render that needs them splits the source again.
    fn new(reading: Reading<'_>, tera: Arc<Tera>) -> Self {
        let words = Arc::new(Words::of(&reading.sources));
        let sources = reading.sources.into_iter().map(|source| Source { pieces: None, ..source });
        Self { dialect: reading.dialect, tera, sources: sources.collect(), words }
    }

    /// The source with this number.
    pub(super) fn source(&self, number: usize) -> &Source {
        &self.sources[number]
    }

    /// The sources with their pieces.
    pub(super) fn sources_in_pieces(&self) -> Vec<Source> {
        let split = |source: &Source| {
            let pieces = scan(&source.text, &self.dialect.delimiters);
            Source { pieces, ..source.clone() }
        };
        self.sources.iter().map(split).collect()
    }
}

/// The templates of a target that are read and not parsed yet.
struct Draft {
    /// For each template: its reading, and its number there. What cannot be read is missing.
    entries: Vec<Entry<usize>>,
    timeout: Duration,
    files: BTreeSet<PathBuf>,
}

/// The sources of all targets, and what is wrong with them.
struct Sources<'e> {
    environment: &'e Environment,
    dialects: Vec<Arc<Dialect>>,
    readings: Vec<Reading<'e>>,
    errors: Vec<TemplateError>,
}

impl Sources<'_> {
    fn read(&mut self, target: &Target) -> Draft {
        let first = self.readings.len();
        let mut entries = Vec::with_capacity(target.templates.len());
        for template in &target.templates {
            let delimiters = template.delimiters.clone().unwrap_or_else(default_delimiters);
            match self.dialect(delimiters, template.trim) {
                Ok(dialect) => {
                    let index = self.reading(first, &dialect);
                    let content = self.readings[index].entry(&template.source).map(|number| (index, number));
                    let each = match &template.writes {
                        Writes::Each(for_each) => self.each(first, for_each),
                        Writes::One | Writes::Item | Writes::Gone | Writes::Kept => None,
                    };
                    entries.extend(content.map(|content| Entry { content, each, secret: template.secret }));
                }
                Err(error) => self.errors.push(refused_delimiters(template, &error)),
            }
        }
        let files = self.readings[first..].iter().flat_map(Reading::files).cloned().collect();
        Draft { entries, timeout: target.render_timeout, files }
    }

    /// Reads what a `for_each` is made of, which is written in the usual way.
    fn each(&mut self, first: usize, for_each: &ForEach) -> Option<(usize, usize, usize)> {
        let dialect = self.dialect(default_delimiters(), false).ok()?;
        let index = self.reading(first, &dialect);
        let items = self.readings[index].items(&for_each.items)?;
        let name = self.readings[index].entry(&for_each.name)?;
        Some((index, items, name))
    }

    /// A dialect; an error when the delimiters are none that Tera takes.
    fn dialect(&mut self, delimiters: Delimiters, trim: bool) -> tera::TeraResult<Arc<Dialect>> {
        let same = |dialect: &&Arc<Dialect>| dialect.delimiters == delimiters && dialect.trim == trim;
        if let Some(dialect) = self.dialects.iter().find(same) {
            return Ok(dialect.clone());
        }
        let tera = tera(&delimiters)?;
        let dialect = Arc::new(Dialect { delimiters, trim, tera });
        self.dialects.push(dialect.clone());
        Ok(dialect)
    }

    /// The reading in this dialect among those from `first` on, which are those of one target.
    fn reading(&mut self, first: usize, dialect: &Arc<Dialect>) -> usize {
        let next = self.readings.len();
        let known = (first..next).find(|&index| Arc::ptr_eq(&self.readings[index].dialect, dialect));
        known.unwrap_or_else(|| {
            self.readings.push(Reading::new(next, dialect.clone(), self.environment));
            next
        })
    }

    fn parse(mut self) -> Result<Vec<Arc<Parsed>>, Vec<TemplateError>> {
        for reading in &mut self.readings {
            reading.finish();
        }
        let mut errors = self.errors;
        let teras = teras(&self.dialects, &self.readings);
        errors.extend(self.readings.iter_mut().zip(&teras).flat_map(|(reading, tera)| {
            let mut errors = problems(reading, tera.as_ref());
            for error in errors.iter_mut().filter(|error| error.notes.is_empty()) {
                error.notes = reading.includers(&error.file);
            }
            errors
        }));
        match teras.into_iter().collect::<Option<Vec<Arc<Tera>>>>() {
            Some(teras) if errors.is_empty() => {
                let readings = self.readings.into_iter().zip(teras);
                Ok(readings.map(|(reading, tera)| Arc::new(Parsed::new(reading, tera))).collect())
            }
            _ => {
                errors.sort_by_key(|error| (error.file.clone(), error.line, error.column));
                // The same file may be wrong in several targets and dialects.
                errors.dedup();
                Err(errors)
            }
        }
    }
}

fn refused_delimiters(template: &Template, error: &tera::Error) -> TemplateError {
    let file = match &template.source {
        TemplateSource::File(path) => path.display().to_string(),
        TemplateSource::Inline { file, .. } => file.clone(),
    };
    TemplateError::whole(file, format!("the delimiters are refused: {error}"), ErrorKind::Syntax)
}

/// For each reading Tera with its sources; none where Tera refuses something.
///
/// A Tera takes 10 KiB before it has a template, and keeps each component four times over. So the readings of a dialect
/// share one, but for those that define components: these are known to their target alone.
fn teras(dialects: &[Arc<Dialect>], readings: &[Reading<'_>]) -> Vec<Option<Arc<Tera>>> {
    let share = |dialect: &Arc<Dialect>| {
        let sharers = readings.iter().filter(|reading| Arc::ptr_eq(&reading.dialect, dialect));
        parse_together(dialect, sharers.filter(|reading| !reading.defines_components())).ok().map(Arc::new)
    };
    let shared: Vec<Option<Arc<Tera>>> = dialects.iter().map(share).collect();
    let of_reading = |reading: &Reading<'_>| {
        let common = dialects.iter().zip(&shared).find(|(dialect, _)| Arc::ptr_eq(&reading.dialect, dialect));
        let common = common.and_then(|(_, tera)| tera.clone()).filter(|_| !reading.defines_components());
        // Where they are refused together, those that are not to blame are good alone.
        common.or_else(|| parse_together(&reading.dialect, [reading]).ok().map(Arc::new))
    };
    readings.iter().map(of_reading).collect()
}

/// One Tera with the sources of these readings. A built-in template is the same source for all of them.
fn parse_together<'r, 'e: 'r>(
    dialect: &Dialect,
    readings: impl IntoIterator<Item = &'r Reading<'e>>,
) -> tera::TeraResult<Tera> {
    let sources: BTreeMap<&str, &str> =
        readings.into_iter().flat_map(|reading| &reading.sources).map(for_tera).collect();
    let mut tera = dialect.tera.clone();
    tera.add_raw_templates(sources)?;
    Ok(tera)
}

fn for_tera(source: &Source) -> (&str, &str) {
    (&source.name, &source.edited.text)
}

/// What is wrong with a reading. Where Tera refuses something, each source is parsed on its own, so that a syntax error
/// in one does not hide those of the others.
fn problems(reading: &mut Reading<'_>, tera: Option<&Arc<Tera>>) -> Vec<TemplateError> {
    let mut errors = std::mem::take(&mut reading.errors);
    if let Some(tera) = tera {
        if errors.is_empty() {
            errors.extend(reading.own().flat_map(|source| component::misfits(source, tera)));
        }
        return errors;
    }
    for source in &reading.sources {
        let Err(error) = reading.dialect.tera.clone().add_raw_templates([for_tera(source)]) else { continue };
        if matches!(error.kind(), tera::ErrorKind::SyntaxError(_)) {
            message::syntax(&error, source, &reading.dialect.delimiters, &mut errors);
        }
    }
    if errors.is_empty()
        && let Err(error) = parse_together(&reading.dialect, [&*reading])
    {
        errors.push(message::loading(&error, &reading.sources));
    }
    errors
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
    // Nothing is escaped: this is where every value that is printed passes through.
    tera.autoescape_on([""]);
    tera.set_escape_fn(print::write);
    // A component of the user goes before a built-in one of the same name.
    tera.set_fallback_prefixes([FOLDER])?;
    function::register(&mut tera);
    lookup::register(&mut tera);
    filter::register(&mut tera);
    Ok(tera)
}
