//! Writing a file for the user who runs a command: a capture, a schema, an expected file of a test.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// How many symbolic links are followed, as many as by the kernel (`path_resolution(7)`).
const LINKS: usize = 40;

/// Where the bytes go.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// A regular file, or nothing yet, behind all symbolic links.
    File(PathBuf),
    /// What is no file, such as a device or a FIFO: it takes the bytes and stays what it is.
    Stream(PathBuf),
    /// The standard output of this process under another name.
    Output,
}

/// The file that `-o` names; none for standard output, which is also called `-`.
pub(super) fn named(output: Option<&Path>) -> Option<&Path> {
    output.filter(|path| *path != Path::new("-"))
}

/// Puts the bytes in the place of what is there, whole or not at all; for our own eyes where they are `private`. Symbolic
/// links stay and are followed, as those of a destination are. Into what is no regular file the bytes are written.
pub(super) fn replace(path: &Path, bytes: &[u8], private: bool) -> io::Result<()> {
    match place(path)? {
        Place::File(path) => replace_file(&path, bytes, private),
        // A file behind a descriptor goes on where its other writers are.
        Place::Stream(path) => OpenOptions::new().append(true).open(path)?.write_all(bytes),
        Place::Output => {
            let mut output = io::stdout().lock();
            output.write_all(bytes).and_then(|()| output.flush())
        }
    }
}

/// What this path leads to.
fn place(path: &Path) -> io::Result<Place> {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?;
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => fs::canonicalize(folder)?,
            _ => fs::canonicalize(".")?,
        };
        let here = folder.join(name);
        // A descriptor looks like a link there (proc_pid_fd(5)), and may lead to what has no name or another file by now.
        if folder.starts_with("/proc") && folder.ends_with("fd") {
            let own = fs::canonicalize("/proc/self/fd").is_ok_and(|own| own == folder);
            return Ok(if own && name == "1" { Place::Output } else { Place::Stream(here) });
        }
        match here.symlink_metadata() {
            Ok(found) if found.is_symlink() => path = folder.join(fs::read_link(&here)?),
            Ok(found) if found.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(found) if !found.is_file() => return Ok(Place::Stream(here)),
            Ok(_) => return Ok(Place::File(here)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Place::File(here)),
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::from_raw_os_error(nix::errno::Errno::ELOOP as i32))
}

fn replace_file(path: &Path, bytes: &[u8], private: bool) -> io::Result<()> {
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt as _, symlink};

    use super::*;

    #[test]
    fn links_are_followed_and_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("sub")).unwrap();
        symlink("sub/link", path("link")).unwrap();
        symlink("../file", path("sub/link")).unwrap();
        for text in ["new", "newer"] {
            replace(&path("link"), text.as_bytes(), false).unwrap();
            assert_eq!(fs::read_to_string(path("file")).unwrap(), text);
            assert!(path("link").is_symlink() && path("sub/link").is_symlink());
        }
        symlink("loop", path("loop")).unwrap();
        assert!(replace(&path("loop"), b"", false).unwrap_err().to_string().contains("symbolic link"));
        assert_eq!(replace(&path("sub"), b"", false).unwrap_err().kind(), io::ErrorKind::IsADirectory);
        assert!(path("loop").is_symlink() && path("sub").is_dir());
    }

    #[test]
    fn what_is_no_file_takes_the_bytes_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        symlink("fifo", folder.path().join("link")).unwrap();
        for name in ["fifo", "link"] {
            let reader = std::thread::spawn({
                let fifo = fifo.clone();
                move || fs::read_to_string(fifo).unwrap()
            });
            replace(&folder.path().join(name), b"new", false).unwrap();
            assert_eq!(reader.join().unwrap(), "new");
            assert!(fifo.symlink_metadata().unwrap().file_type().is_fifo());
        }
    }

    #[test]
    fn descriptors_are_no_names_of_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::File::create(&path).unwrap().write_all(b"before ").unwrap();
        let file = OpenOptions::new().append(true).open(&path).unwrap();
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&file);
        replace(&PathBuf::from(format!("/dev/fd/{descriptor}")), b"after", false).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "before after");
        assert_eq!(place(Path::new("/dev/stdout")).unwrap(), Place::Output);
        assert_eq!(place(Path::new("/dev/fd/1")).unwrap(), Place::Output);
    }
}
