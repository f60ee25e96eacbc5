//! Templates: from a frozen view of the store to bytes. Tera stays behind this module.
//!
//! # How a template becomes a file
//!
//! `load` makes templates of all targets: `read` reads the sources of one with what they include; `scan` splits each
//! source into tags and text, `check` and `component` find what is wrong with it (`foreign` knows other
//! languages, by their names and by their tags), `rewrite` and `trim` change it before Tera sees it (`edit` keeps the way back to the places of the
//! source). `render` runs Tera; the functions in `function` and the filters in `filter` look into the view and note in
//! `record` what they asked. `print` looks at every value that is written, and `origin` says where one that is refused
//! came from. `message` turns what Tera reports into a [`TemplateError`].
//!
//! # Invariants
//!
//! * Rendering is a function of template and view: no clock, no random order, no state between renders.
//! * A value of a registry is data: it is never rendered again, and never part of an error.
//! * No control character of a value reaches a file, but for the lines of one that has a line of its own.
//! * An answer is converted for templates once, not for each render.
//!
//! A function is added in `function`, a filter in `filter`, a component in `templates/` and `builtin`. What is told of a
//! function, a filter or a test is an `entry` beside it, and `catalog` has them all.

mod absence;
mod again;
mod arguments;
mod builtin;
pub(crate) mod catalog;
mod check;
mod component;
mod each;
mod edit;
pub(crate) mod entry;
mod error;
mod filter;
mod foreign;
mod function;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod literal;
mod load;
mod lookup;
mod message;
mod near;
mod origin;
mod predicate;
mod print;
mod read;
mod record;
mod render;
mod rewrite;
mod scan;
mod scope;
mod source;
mod trim;
mod view;
mod words;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

pub use each::Each;
pub(crate) use error::did_you_mean;
pub use error::{ErrorKind, Note, Snippet, TemplateError};
pub(crate) use foreign::{plain, translated_name as foreign_name};
pub use load::Templates;

use crate::config::Limits;
use crate::registry::{Asked, Query, Registry};

/// A value as templates see it; cheap to clone.
pub type Value = tera::Value;

/// The registry name of what `file()` asks: `Asked { registry: LOCAL_FILES, query: Query::File(absolute path) }`.
pub const LOCAL_FILES: &str = "(files)";

/// The registry name of what `now()` asks: `Asked { registry: CLOCK, query: Query::Time { .. } }`.
pub const CLOCK: &str = "(clock)";

/// What templates may reach beside the view.
#[derive(Clone, Default)]
pub struct Environment {
    /// The registries, by the names that `registry=` uses.
    pub registries: BTreeMap<Arc<str>, Arc<dyn Registry>>,
    /// Where included templates are looked for, after the folder of the including file.
    pub template_dirs: Vec<PathBuf>,
    /// The folder that `file()` starts from, absolute.
    pub base: PathBuf,
    /// Where `file()` may look for a path that is put together, besides `base`; absolute.
    pub roots: Vec<PathBuf>,
    /// What `env()` sees; our own credentials are not among it.
    pub variables: BTreeMap<String, String>,
    /// Bounds on values and output.
    pub limits: Limits,
}

impl Environment {
    /// The registries that a question may go to where the template does not say which: those for names where it is about
    /// a name, else all others. So whoever adds one for names need not touch what asks another.
    fn registries_for(&self, query: &Query) -> impl Iterator<Item = (&Arc<str>, &Arc<dyn Registry>)> {
        let is_lookup = matches!(query, Query::Lookup(_));
        self.registries.iter().filter(move |(_, registry)| registry.answers_lookups() == is_lookup)
    }
}

/// The variables may hold secrets: only their names are shown.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("registries", &self.registries.keys())
            .field("template_dirs", &self.template_dirs)
            .field("base", &self.base)
            .field("roots", &self.roots)
            .field("variables", &self.variables.keys())
            .field("limits", &self.limits)
            .finish()
    }
}

/// What one render gave.
#[derive(Debug)]
pub struct Rendering<T = Vec<u8>> {
    /// What it asked and had an answer.
    pub reads: BTreeSet<Asked>,
    /// What it asked and has no answer yet; while it is not empty the output means nothing.
    pub missing: BTreeSet<Asked>,
    /// How many weights of instances were no whole numbers, so that those of the registry stand in.
    pub no_weights: usize,
    /// What the template warns of.
    pub warnings: BTreeSet<String>,
    /// The bytes of the file, or of each of several by its name; or why there are none.
    pub output: Result<T, TemplateError>,
}

impl<T> Rendering<T> {
    /// The same with something else made of what it gave.
    pub fn map<U>(self, map: impl FnOnce(T) -> U) -> Rendering<U> {
        let Self { reads, missing, no_weights, warnings, output } = self;
        Rendering { reads, missing, no_weights, warnings, output: output.map(map) }
    }
}
