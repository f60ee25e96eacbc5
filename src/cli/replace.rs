//! Writing a file for the user who runs a command: a capture, an expected file of a test.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Puts the bytes in the place of what is there, whole or not at all; for our own eyes where they are `private`.
pub(super) fn replace(path: &Path, bytes: &[u8], private: bool) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?;
    let mut own = OsStr::new(".").to_owned();
    own.push(name);
    own.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(own);
    let mode = if private { 0o600 } else { 0o644 };
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        #[expect(clippy::disallowed_methods, reason = "what a user has a command write for himself is no destination")]
        fs::rename(&new, path)
    };
    write().inspect_err(|_| {
        let _ = fs::remove_file(&new);
    })
}
