//! From files to a configuration.

use std::path::{Path, PathBuf};

use super::decode::{self, Frame};
use super::document::{Document, Reading};
use super::locate::{self, Source};
use super::model::Config;
use super::options::LoadOptions;
use super::problem::Problem;
use crate::registry::{KINDS, Kind};

/// Reads the configuration: the main file, and the files of `conf.d` beside it, which add registries, targets, and
/// templates to targets. All that is wrong comes at once, in the order of the files.
///
/// A relative path starts at the folder of the main file, also in a file of `conf.d`: so a target may move from one
/// to the other.
pub fn load(options: &LoadOptions) -> Result<Config, Vec<Problem>> {
    load_from(options, KINDS, Path::new("/etc/liveconf"))
}

/// [`load`] with these kinds and this folder of the system.
pub(super) fn load_from(options: &LoadOptions, kinds: &[Kind], system: &Path) -> Result<Config, Vec<Problem>> {
    let (main, warning) = locate::main_file(options, system).map_err(|problem| vec![problem])?;
    let (sources, folder_problems) = locate::additions(&main);
    let base = main.path.parent().map_or_else(|| PathBuf::from("/"), Path::to_owned);

    let reading = Reading::new(&options.environment, kinds);
    for problem in folder_problems {
        reading.problem(problem);
    }
    if let Some(warning) = warning {
        reading.warning(warning);
    }
    let mut files = Vec::new();
    let mut documents = Vec::new();
    for source in std::iter::once(&main).chain(&sources) {
        files.push(source.shown.clone());
        match document(source, &base) {
            Ok(document) => documents.push(document),
            Err(problem) => reading.problem(problem),
        }
    }
    // Files that fit together cannot be told from those that do not before all of them can be read.
    let complete = documents.len() == files.len();
    let identity = main.identity();
    let frame = Frame { file: Some(main.path), base, identity: identity.as_os_str().as_encoded_bytes() };
    let config = if complete { decode::config(&reading, &documents, frame, options) } else { None };
    finish(reading, &files, config)
}

/// The configuration with its warnings, or the problems.
pub(super) fn finish(reading: Reading<'_>, files: &[String], config: Option<Config>) -> Result<Config, Vec<Problem>> {
    let (mut problems, warnings) = reading.finish(files);
    match config {
        Some(config) if problems.is_empty() => Ok(Config { warnings, ..config }),
        _ => {
            if problems.is_empty() {
                problems.push(Problem::of_file("configuration", "cannot be used, and no reason was noted", None));
            }
            Err(problems)
        }
    }
}

fn document(source: &Source, base: &Path) -> Result<Document, Problem> {
    Document::parse(&source.shown, base, source.read()?)
}

#[cfg(test)]
pub(super) mod tests;
