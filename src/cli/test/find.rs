//! Which folders are cases.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What a fixture of a case may be called.
pub(super) const FIXTURES: [&str; 5] = ["fixture.yaml", "fixture.yml", "fixture.json", "fixture.toml", "fixture"];

/// The file that says more of a case.
pub(super) const CASE: &str = "case.yaml";

/// The folder of what is expected.
pub(super) const EXPECTED: &str = "expected";

/// The cases in these folders, sorted within each; a folder that is one itself counts. What is reached twice is one case.
pub(super) fn cases(folders: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let mut cases = Vec::new();
    for folder in folders {
        let before = cases.len();
        walk(folder, &mut cases)?;
        if cases.len() == before {
            let folder = folder.display();
            return Err(format!(
                "there is no case in `{folder}`: a case is a folder with a `{}` or a `{CASE}`",
                FIXTURES[0]
            ));
        }
        cases[before..].sort_unstable();
    }
    let mut known = BTreeSet::new();
    cases.retain(|case| known.insert(fs::canonicalize(case).unwrap_or_else(|_| case.clone())));
    Ok(cases)
}

fn walk(folder: &Path, cases: &mut Vec<PathBuf>) -> Result<(), String> {
    if is_case(folder) {
        cases.push(folder.to_owned());
        return Ok(());
    }
    let unreadable = |error| format!("cannot read `{}`: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        // A link may lead back.
        if entry.file_type().map_err(unreadable)?.is_dir() && !entry.file_name().as_encoded_bytes().starts_with(b".") {
            walk(&entry.path(), cases)?;
        }
    }
    Ok(())
}

/// What is expected without a fixture makes a case too, a wrong one: it is told of, instead of never being run.
fn is_case(folder: &Path) -> bool {
    FIXTURES.iter().chain([&CASE, &EXPECTED]).any(|name| folder.join(name).exists())
}

/// The fixture of the case in this folder, if it has one under a usual name.
pub(super) fn fixture(folder: &Path) -> Option<PathBuf> {
    FIXTURES.iter().map(|name| folder.join(name)).find(|path| path.exists())
}
