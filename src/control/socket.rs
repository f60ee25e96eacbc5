//! The socket in the file system: made where no other daemon listens, and removed at the end.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, chownat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

/// Who may connect: the user that we run as and the group.
const MODE: u32 = 0o660;

/// How long the removal of the socket may take.
const LAST: Duration = Duration::from_secs(1);

/// Where the socket is to be, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its path, absolute.
    pub path: PathBuf,
    /// The group whose members may connect, by name or number; none for our own.
    pub group: Option<String>,
}

/// A socket that is there; dropped, its file is removed.
#[derive(Debug)]
pub(super) struct Socket {
    path: PathBuf,
    /// Device and number of its file.
    file: (u64, u64),
}

impl Place {
    /// Makes the socket. What a daemon that has ended left there is replaced; that of one that lives, or a file of another
    /// kind, never is. Blocks for as long as the file system does.
    pub(super) fn bind(&self) -> io::Result<(Socket, UnixListener)> {
        self.check_folder()?;
        self.remove_stale()?;
        let listener = UnixListener::bind(&self.path).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidInput => io::Error::other(format!(
                "the path has {} bytes, and a socket takes 107: give a shorter one as `control: {{socket: PATH}}`",
                self.path.as_os_str().len()
            )),
            _ => error,
        })?;
        let metadata = fs::symlink_metadata(&self.path)?;
        let socket = Socket { path: self.path.clone(), file: (metadata.dev(), metadata.ino()) };
        if let Some(group) = &self.group {
            chownat(CWD, &self.path, None, Some(find_group(group)?), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        // Last, since until the mode is set by hand our umask has let in fewer.
        fs::set_permissions(&self.path, fs::Permissions::from_mode(MODE))?;
        listener.set_nonblocking(true)?;
        Ok((socket, listener))
    }

    /// Where others may exchange files, ours could become theirs.
    fn check_folder(&self) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let metadata = fs::metadata(folder).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                io::Error::other(format!("its folder `{}` is not there, or could not be made", folder.display()))
            }
            _ => error,
        })?;
        if !metadata.is_dir() {
            return Err(io::Error::other(format!("`{}` is no folder", folder.display())));
        }
        let mode = metadata.mode();
        if mode & 0o002 != 0 && mode & 0o1000 == 0 {
            return Err(io::Error::other("everybody can write to its folder"));
        }
        Ok(())
    }

    fn remove_stale(&self) -> io::Result<()> {
        match fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
            Ok(metadata) if !metadata.file_type().is_socket() => {
                return Err(io::Error::other("there is a file of that name that is no socket"));
            }
            Ok(_) => {}
        }
        // Without waiting: the queue of one that hangs may be full.
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let probe = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        match connect(&probe, &SocketAddrUnix::new(&self.path)?) {
            Err(Errno::CONNREFUSED) => fs::remove_file(&self.path),
            Err(Errno::NOENT) => Ok(()),
            Ok(()) | Err(Errno::AGAIN) => Err(io::Error::other("another process listens there")),
            Err(error) => Err(error.into()),
        }
    }
}

impl Socket {
    /// Finds out whether its file is still there, so that somebody may connect. Blocks for as long as the file system does.
    pub(super) fn look(&self) -> impl FnOnce() -> bool + Send + 'static {
        let (path, file) = (self.path.clone(), self.file);
        move || fs::symlink_metadata(path).is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == file)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let (is_there, path, (sender, done)) = (self.look(), self.path.clone(), channel());
        let remove = move || {
            if is_there() {
                // Where this fails, the next daemon replaces it.
                let _ = fs::remove_file(path);
            }
            let _ = sender.send(());
        };
        // A disk that hangs is not to keep the program from ending.
        if thread::Builder::new().spawn(remove).is_ok() {
            let _ = done.recv_timeout(LAST);
        }
    }
}

fn find_group(name: &str) -> io::Result<rustix::fs::Gid> {
    let number = match name.parse() {
        Ok(number) => number,
        Err(_) => match nix::unistd::Group::from_name(name)? {
            Some(group) => group.gid.as_raw(),
            None => return Err(io::Error::other(format!("there is no group `{name}`"))),
        },
    };
    Ok(rustix::fs::Gid::from_raw(number))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn place(folder: &Path) -> Place {
        Place { path: folder.join("control.sock"), group: None }
    }

    #[test]
    fn a_stale_socket_is_replaced_and_one_that_lives_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let place = place(folder.path());
        // Its listener is closed, and its file stays.
        drop(UnixListener::bind(&place.path).unwrap());
        let (socket, listener) = place.bind().unwrap();
        assert_eq!(fs::metadata(&place.path).unwrap().mode() & 0o7777, 0o660);
        let reason = place.bind().unwrap_err().to_string();
        assert_eq!(reason, "another process listens there");
        assert!(UnixStream::connect(&place.path).is_ok() && listener.accept().is_ok());
        drop((socket, listener));
        assert!(!place.path.exists());
    }

    #[test]
    fn what_is_no_socket_stays() {
        let folder = tempfile::tempdir().unwrap();
        let place = place(folder.path());
        fs::write(&place.path, "mine").unwrap();
        assert!(place.bind().unwrap_err().to_string().contains("no socket"));
        assert_eq!(fs::read_to_string(&place.path).unwrap(), "mine");
        fs::remove_file(&place.path).unwrap();
        std::os::unix::fs::symlink(folder.path().join("none"), &place.path).unwrap();
        assert!(place.bind().unwrap_err().to_string().contains("no socket"));
    }

    #[test]
    fn only_its_own_file_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let place = place(folder.path());
        let (socket, _listener) = place.bind().unwrap();
        fs::remove_file(&place.path).unwrap();
        assert!(!socket.look()());
        let (other, _listener) = place.bind().unwrap();
        drop(socket);
        assert!(other.look()());
    }

    #[test]
    fn a_place_that_does_not_do_is_explained() {
        let folder = tempfile::tempdir().unwrap();
        let long = Place { path: folder.path().join("x".repeat(120)), group: None };
        assert!(long.bind().unwrap_err().to_string().contains("a socket takes 107"));
        let open = folder.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(place(&open).bind().unwrap_err().to_string().contains("everybody can write"));
        let unknown = Place { group: Some("no-such-group".into()), ..place(folder.path()) };
        assert!(unknown.bind().unwrap_err().to_string().contains("no group `no-such-group`"));
        assert!(!unknown.path.exists());
        let gone = place(&folder.path().join("gone")).bind().unwrap_err().to_string();
        assert!(gone.contains("gone` is not there, or could not be made"), "{gone}");
        fs::File::create(folder.path().join("file")).unwrap();
        let file = place(&folder.path().join("file")).bind().unwrap_err().to_string();
        assert!(file.contains("file` is no folder"), "{file}");
    }
}
