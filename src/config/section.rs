//! One mapping of the configuration, read key by key.

use std::path::PathBuf;
use std::time::Duration;

use crate::secret::Secret;

/// Something wrong with the configuration, with its place and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, or "command line".
    pub file: String,
    /// Line, from 1; 0 when there is none.
    pub line: usize,
    /// Column in characters, from 1; 0 when there is none.
    pub column: usize,
    /// What is wrong: a lowercase fragment with names in backticks.
    pub message: String,
    /// What to do, if that can be said.
    pub hint: Option<String>,
}

/// One mapping of the configuration. Each reader marks its key as known; what is wrong is noted as a [`Problem`]
/// with its place, and `None` comes back both for a wrong value and for an absent one, so that reading goes on and
/// every problem is reported at once. Unknown keys are problems too, found when the section is done.
#[derive(Debug)]
pub struct Section<'a> {
    marker: std::marker::PhantomData<&'a ()>,
}

#[allow(unused_variables, clippy::todo, missing_docs)]
impl Section<'_> {
    /// Text, with `${VAR}` expanded.
    pub fn text(&mut self, key: &str) -> Option<String> { todo!() }
    /// A list of texts; a single text is a list of one.
    pub fn texts(&mut self, key: &str) -> Option<Vec<String>> { todo!() }
    /// A path, relative to the file that it is written in.
    pub fn path(&mut self, key: &str) -> Option<PathBuf> { todo!() }
    /// `true` or `false`.
    pub fn flag(&mut self, key: &str) -> Option<bool> { todo!() }
    /// A whole number.
    pub fn integer(&mut self, key: &str) -> Option<u64> { todo!() }
    /// A duration with its unit, such as `100ms`, `2s`, `1m`; `0` needs none.
    pub fn duration(&mut self, key: &str) -> Option<Duration> { todo!() }
    /// A size in bytes with its unit, such as `64KiB`, `8MiB`, `8MB`.
    pub fn size(&mut self, key: &str) -> Option<u64> { todo!() }
    /// A password or token written in the configuration itself.
    pub fn secret(&mut self, key: &str) -> Option<Secret> { todo!() }
    /// The mapping under a key.
    pub fn section(&mut self, key: &str) -> Option<Section<'_>> { todo!() }
    /// Whether the key is there.
    pub fn has(&mut self, key: &str) -> bool { todo!() }
    /// A variable of the environment that the ecosystem knows (`ETCDCTL_ENDPOINTS`), when this is the only registry
    /// of its kind; the file goes before it, so ask only for what the file leaves out.
    pub fn ecosystem(&self, variable: &str) -> Option<String> { todo!() }
    /// Notes a problem at the value of `key`, or at the section itself when the key is absent.
    pub fn problem(&mut self, key: &str, message: impl Into<String>, hint: Option<String>) { todo!() }
}
