//! Which files there are, and what stands in them.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::format;
use crate::registry::document::{Node, Place};

/// A file that was read.
pub(super) struct Document {
    /// Where it stands.
    pub(super) path: PathBuf,
    /// Its text, for the places in it.
    pub(super) text: String,
}

impl Document {
    /// `path:line:column`, as compilers write it.
    pub(super) fn place(&self, place: Place) -> String {
        show(&self.path, &self.text, place)
    }
}

fn show(path: &Path, text: &str, place: Place) -> String {
    let (line, column) = place.line_and_column(text);
    format!("{}:{line}:{column}", path.display())
}

/// Whether a file of this name counts in a folder.
pub(super) fn is_read_in_folders(name: &OsStr) -> bool {
    let known = Path::new(name).extension().and_then(OsStr::to_str);
    !name.as_encoded_bytes().starts_with(b".") && matches!(known, Some("yaml" | "yml" | "json" | "toml"))
}

/// The files that `path` stands for: itself, or those in the folder that it is, sorted.
pub(super) fn files(path: &Path) -> Result<Vec<PathBuf>, String> {
    let unreadable = |error: io::Error| format!("cannot read `{}`: {error}", path.display());
    if !fs::metadata(path).map_err(unreadable)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let file = entry.path();
        if is_read_in_folders(&entry.file_name()) && !fs::metadata(&file).is_ok_and(|metadata| metadata.is_dir()) {
            files.push(file);
        }
    }
    if files.is_empty() {
        // Rather a volume that is not mounted yet than the wish for nothing.
        let known = "`*.yaml`, `*.yml`, `*.json` or `*.toml`";
        let path = path.display();
        return Err(format!("no {known} in `{path}`: put a file with `{{}}` there if nothing is meant to be there"));
    }
    files.sort_unstable();
    Ok(files)
}

/// Reads the files and what they say.
pub(super) fn documents(paths: &[PathBuf], limit: u64) -> Result<Vec<(Document, Node)>, String> {
    let mut left = limit;
    let mut documents = Vec::with_capacity(paths.len());
    for path in paths {
        let unreadable = |error: io::Error| format!("cannot read `{}`: {error}", path.display());
        let bytes = read_bounded(path, left, limit).map_err(unreadable)?;
        left -= bytes.len() as u64;
        let mut text = String::from_utf8(bytes).map_err(|error| {
            let good = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
            let end = Place::Offset(good.len());
            format!("{}: this is not UTF-8", show(path, &good, end))
        })?;
        if text.starts_with('\u{feff}') {
            // A byte order mark is no part of the first line.
            text.drain(..'\u{feff}'.len_utf8());
        }
        let node = format::parse(path, &text)
            .map_err(|mistake| format!("{}: {}", show(path, &text, mistake.place), mistake.message))?;
        documents.push((Document { path: path.clone(), text }, node));
    }
    Ok(documents)
}

/// Reads a whole file of at most `left` bytes, which are what is left of `limit`. Only regular files: a pipe might never end.
pub(in crate::registry) fn read_bounded(path: &Path, left: u64, limit: u64) -> io::Result<Vec<u8>> {
    let metadata = fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len().min(left)).unwrap_or_default());
    File::open(path)?.take(left.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > left {
        return Err(io::Error::other(format!(
            "there are more than {limit} bytes to read, the most by `limits.response`"
        )));
    }
    Ok(bytes)
}
