//! Removes what an earlier process of ours left behind when it was killed (FAULTS F-3).

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FlockOperation, Mode, OFlags};

use super::destination::{Destination, Folder};
use super::write::{finish_interrupted, is_temporary};
use crate::config::Target;

/// Removes leftovers of our own kind from the folders of all destinations: those that no living process holds. Done at start, before anything is staged; errors are logged, since nothing depends on it.
pub fn sweep(targets: &[Target]) {
    let templates = || targets.iter().flat_map(|target| &target.templates);
    for template in templates().filter(|template| template.in_place) {
        let Ok(destination) = Destination::resolve(template) else { continue };
        match finish_interrupted(&destination) {
            Ok(false) => {}
            Ok(true) => tracing::warn!(
                file = %template.dest.display(),
                "a write into the file was cut short: its old content is back"
            ),
            Err(error) => tracing::error!(
                file = %template.dest.display(),
                %error,
                "a write into the file was cut short, and its old content could not be put back"
            ),
        }
    }
    let mut folders: BTreeSet<PathBuf> = templates().flat_map(|template| folders(&template.dest)).collect();
    if templates().any(|template| template.in_place) {
        folders.extend(fs::canonicalize(std::env::temp_dir()).ok());
    }
    for folder in folders {
        if let Err(error) = sweep_folder(&folder) {
            tracing::debug!(folder = %folder.display(), %error, "cannot look for temporary files");
        }
    }
}

/// The folder of a destination, and that of the file behind it when it is a symlink.
fn folders(destination: &Path) -> Vec<PathBuf> {
    let behind = fs::canonicalize(destination).ok();
    let parents = [behind.as_deref(), Some(destination)].into_iter().flatten().filter_map(Path::parent);
    parents.filter_map(|parent| fs::canonicalize(parent).ok()).collect()
}

fn sweep_folder(path: &Path) -> std::io::Result<()> {
    let folder = Folder::open_real(path.to_owned())?;
    for entry in Dir::read_from(&folder.handle)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        let Some(_held) = is_temporary(name).then(|| take(&folder, name)).flatten() else { continue };
        match rustix::fs::unlinkat(&folder.handle, name, AtFlags::empty()) {
            Ok(()) => {
                tracing::info!(file = %path.join(name).display(), "removed a temporary file of an earlier run");
            }
            Err(error) => {
                tracing::warn!(file = %path.join(name).display(), %error, "cannot remove a temporary file of an earlier run");
            }
        }
    }
    Ok(())
}

/// The file, locked, if nobody is at work on it: whoever is holds its lock. Whoever made it just now and has yet to lock
/// it finds that it is taken or gone. Its owner is not asked for: it may have had its final one already.
fn take(folder: &Folder, name: &OsStr) -> Option<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = File::from(rustix::fs::openat(&folder.handle, name, flags, Mode::empty()).ok()?);
    let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
    (is_file && rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()).then_some(file)
}
