//! The contents of the version to go back to: files in the state folder, each under the hash of what it holds, or in
//! memory where nothing may or can be written.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::{MemfdFlags, OFlags};
use sha2::{Digest as _, Sha256};

use super::file::fill;

/// Bytes of a file that are held in memory at most: more than is ever rendered.
const MEMORY: u64 = 64 << 20;

/// The hash of what a file holds, as hexadecimal SHA-256.
pub(in crate::apply) fn hash(file: &File) -> io::Result<String> {
    each_piece(file, |_| Ok(()))
}

/// Whether the folder holds content under this name.
pub(super) fn holds(folder: &Path, name: &str) -> bool {
    fs::symlink_metadata(folder.join(name)).is_ok_and(|found| found.is_file() && found.len() > 0)
}

/// Keeps what `file` holds under this name in the folder, unless `hashed` finds it to be something else. It is not waited
/// for the disk: what a power cut damages is found out by its hash. Whether it is kept.
pub(super) fn keep(folder: &Path, name: &str, file: &File, hashed: impl Fn(&str) -> String) -> io::Result<bool> {
    if let Err(error) = DirBuilder::new().mode(0o700).create(folder)
        && error.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(error);
    }
    let mut is_it = false;
    fill(&folder.join(name), |copy| {
        is_it = hashed(&each_piece(file, |piece| copy.write_all(piece))?) == name;
        Ok(is_it)
    })?;
    Ok(is_it)
}

/// What is kept under this name; an error where it is something else by now.
pub(super) fn open(folder: &Path, name: &str, hashed: impl Fn(&str) -> String) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(folder.join(name))?;
    if hashed(&hash(&file)?) == name {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "it is damaged"))
}

/// Removes all contents but those that `is_needed`.
pub(super) fn prune(folder: &Path, is_needed: impl Fn(&str) -> bool) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if !entry.file_name().to_str().is_some_and(&is_needed) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Holds what `file` holds in memory.
pub(super) fn hold(file: &File) -> io::Result<File> {
    if file.metadata()?.size() > MEMORY {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is too large to be held in memory"));
    }
    let mut copy = File::from(rustix::fs::memfd_create("liveconf-earlier", MemfdFlags::CLOEXEC)?);
    each_piece(file, |piece| copy.write_all(piece))?;
    Ok(copy)
}

/// Hands all that a file holds to `take`, piece by piece, and gives its hash.
fn each_piece(file: &File, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut offset = 0;
    loop {
        let read = file.read_at(&mut buffer, offset)?;
        if read == 0 {
            return Ok(format!("{:x}", hash.finalize()));
        }
        hash.update(&buffer[..read]);
        take(&buffer[..read])?;
        offset += read as u64;
    }
}
