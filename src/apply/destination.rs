//! Where a file goes: the folder and the name behind a configured path, and what is there now (FAULTS F-6, F-7).

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::error::{ApplyError, Subject};
use crate::config::{Template, Writes};

/// Symlinks that are followed from a destination, as many as the kernel follows.
const LINKS: usize = 40;

/// Bytes of a file name.
const NAME: usize = 255;

/// The bits of a mode that let others write, and the one that lets only owners remove and rename.
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// An open folder: whatever happens to its path meanwhile, all work is done in this one.
#[derive(Debug)]
pub(super) struct Folder {
    /// The folder itself.
    pub(super) handle: OwnedFd,
    /// Its path, without symlinks.
    pub(super) path: PathBuf,
    /// Whether others may create files in it, with only the sticky bit to keep them off ours.
    shared: bool,
    owner: u32,
}

/// The resolved place of a file.
#[derive(Debug)]
pub(super) struct Destination {
    /// The folder that holds it.
    pub(super) folder: Arc<Folder>,
    /// Its name in the folder.
    pub(super) name: OsString,
    /// The file that is there now.
    pub(super) existing: Option<Existing>,
    /// It is a mount point of its own, which nothing can be renamed onto.
    pub(super) is_mount_point: bool,
}

/// A regular file that is at a destination now.
#[derive(Debug)]
pub(super) struct Existing {
    /// Its state when it was looked at.
    pub(super) stat: Stat,
    /// The file, opened for reading; none when we may not read it, or when it stays as it is: thousands may.
    pub(super) file: Option<File>,
}

impl Existing {
    /// Whether this is the state of the same file, into which nothing was written since.
    pub(super) fn is(&self, other: &Stat) -> bool {
        let key = |stat: &Stat| (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime, stat.st_mtime_nsec);
        key(&self.stat) == key(other)
    }
}

/// The folders of one transaction, each opened once however many files are in it.
#[derive(Debug, Default)]
pub(super) struct Folders(HashMap<PathBuf, Arc<Folder>>);

impl Folders {
    fn open(&mut self, template: &Template, path: &Path) -> Result<Arc<Folder>, ApplyError> {
        if let Some(folder) = self.0.get(path) {
            return Ok(Arc::clone(folder));
        }
        let folder = Arc::new(Folder::open(template, path)?);
        self.0.insert(path.to_owned(), Arc::clone(&folder));
        Ok(folder)
    }
}

impl Destination {
    /// The same as [`Destination::resolve_in`] for a file alone.
    pub(super) fn resolve(template: &Template) -> Result<Self, ApplyError> {
        Self::resolve_in(template, &mut Folders::default())
    }

    /// Follows the symlinks of the destination of `template` once, refuses what must not be written, and opens the
    /// folder, unless it is one of those that are open already.
    pub(super) fn resolve_in(template: &Template, folders: &mut Folders) -> Result<Self, ApplyError> {
        let path = follow(template)?;
        if matches!(template.writes, Writes::Item | Writes::Gone | Writes::Kept) && path != template.dest {
            let why = "it is a symlink, and files of `for_each` stay in their folder";
            return Err(ApplyError::unfit(template, why, "remove the symlink"));
        }
        let (parent, name) = split(template, &path)?;
        let folder = folders.open(template, parent)?;
        let failed = |error: Errno| ApplyError::write(template, "look at the file", error);
        let stat = match rustix::fs::statat(&folder.handle, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Some(stat),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(failed(error)),
        };
        let name = name.to_owned();
        let Some(stat) = stat else { return Ok(Self { folder, name, existing: None, is_mount_point: false }) };
        refuse_kind(template, FileType::from_raw_mode(stat.st_mode))?;
        let is_written = template.writes != Writes::Kept;
        if is_written {
            refuse_stranger(template, &folder, stat.st_uid)?;
        }
        let is_mount_point = is_mount_point(&folder, &name);
        if is_mount_point && is_written && !template.in_place {
            return Err(mount_point(template));
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let file = match rustix::fs::openat(&folder.handle, &name, flags, Mode::empty()) {
            Ok(file) => Some(File::from(file)),
            Err(Errno::ACCESS | Errno::PERM) => None,
            Err(error) => return Err(failed(error)),
        };
        Ok(Self { folder, name, existing: Some(Existing { stat, file }), is_mount_point })
    }

    /// Whether the file that is there holds exactly `bytes`.
    pub(super) fn holds(&self, bytes: &[u8]) -> io::Result<bool> {
        match &self.existing {
            Some(Existing { stat, file: Some(file) }) if u64::try_from(stat.st_size) == Ok(bytes.len() as u64) => {
                same(file, bytes)
            }
            _ => Ok(false),
        }
    }

    /// The file stays as it is, and is not needed any more.
    pub(super) fn close(&mut self) {
        if let Some(existing) = &mut self.existing {
            existing.file = None;
        }
    }

    /// Says so when a replacement leaves other names of the file behind.
    pub(super) fn warn_of_links(&self) {
        if let Some(existing) = self.existing.as_ref().filter(|existing| existing.stat.st_nlink > 1) {
            tracing::warn!(
                file = %self.path().display(),
                links = existing.stat.st_nlink,
                "the file has several hard links: its other names keep the old content"
            );
        }
    }

    /// The path of the file behind all symlinks.
    pub(super) fn path(&self) -> PathBuf {
        self.folder.path.join(&self.name)
    }

    /// The name that `DEST.bak` has in the folder.
    pub(super) fn backup_name(&self) -> OsString {
        let mut name = self.name.clone();
        name.push(".bak");
        name
    }

    /// Refuses a backup that could not be made, before anything is committed.
    pub(super) fn refuse_backup(&self, template: &Template) -> Result<(), ApplyError> {
        let name = self.backup_name();
        if name.len() > NAME {
            let hint = "shorten the name of the file, or leave out `backup`";
            return Err(ApplyError::unfit(template, "its name with `.bak` is longer than 255 bytes", hint));
        }
        let kind = rustix::fs::statat(&self.folder.handle, &name, AtFlags::SYMLINK_NOFOLLOW)
            .map(|stat| FileType::from_raw_mode(stat.st_mode));
        match kind {
            Ok(FileType::RegularFile | FileType::Symlink) | Err(Errno::NOENT) => Ok(()),
            Ok(_) => Err(ApplyError::unfit(
                template,
                format!("`{}` is not a file", self.folder.path.join(&name).display()),
                "remove it, or leave out `backup`",
            )),
            Err(error) => Err(ApplyError::write(template, "look at the backup", error)),
        }
    }
}

impl Folder {
    /// Opens the folder at `path`, which is made if the template says so, and refuses one that others can write to.
    fn open(template: &Template, path: &Path) -> Result<Self, ApplyError> {
        if let Err(error) = fs::metadata(path)
            && error.kind() == io::ErrorKind::NotFound
        {
            if !template.create_dirs {
                return Err(ApplyError::unfit(
                    template,
                    format!("there is no folder `{}`", path.display()),
                    "create it, or set `create_dirs: true`",
                ));
            }
            create(template, path)?;
        }
        let failed = |error: io::Error| ApplyError::write(template, "open the folder", error);
        let path = fs::canonicalize(path).map_err(failed)?;
        refuse_open_to_others(template, &path)?;
        Self::open_real(path).map_err(failed)
    }

    /// Opens a folder by a path without symlinks; one that has come into it meanwhile is an error.
    pub(super) fn open_real(path: PathBuf) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let strict = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let handle = match rustix::fs::openat2(CWD, &path, flags, Mode::empty(), strict) {
            // Older kernels and some sandboxes have no openat2: the last component is then what is watched over.
            Err(Errno::NOSYS | Errno::PERM) => rustix::fs::open(&path, flags | OFlags::NOFOLLOW, Mode::empty())?,
            opened => opened?,
        };
        let stat = rustix::fs::fstat(&handle)?;
        Ok(Self { handle, path, shared: stat.st_mode & OTHERS_WRITE != 0, owner: stat.st_uid })
    }
}

/// Whether `file` holds exactly `bytes`.
pub(super) fn same(file: &File, bytes: &[u8]) -> io::Result<bool> {
    let mut buffer = vec![0; bytes.len().clamp(1, 1 << 18)];
    let mut offset = 0;
    loop {
        let read = file.read_at(&mut buffer, offset as u64)?;
        if read == 0 {
            return Ok(offset == bytes.len());
        }
        if bytes.get(offset..offset + read) != Some(&buffer[..read]) {
            return Ok(false);
        }
        offset += read;
    }
}

/// The path behind the symlinks of the destination. A link may lead to a file that is still to be made, which is why
/// this is not left to `canonicalize`.
fn follow(template: &Template) -> Result<PathBuf, ApplyError> {
    let mut path = template.dest.clone();
    for _ in 0..LINKS {
        let link = match fs::symlink_metadata(&path) {
            Ok(link) if link.is_symlink() => link,
            Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Err(ApplyError::write(template, "look at the file", error));
            }
            _ => return Ok(path),
        };
        let (parent, name) = split(template, &path)?;
        let folder = Folder::open(template, parent)?;
        refuse_stranger(template, &folder, link.uid())?;
        let target = rustix::fs::readlinkat(&folder.handle, name, Vec::new())
            .map_err(|error| ApplyError::write(template, "read the symlink", error))?;
        path = folder.path.join(OsString::from_vec(target.into_bytes()));
    }
    Err(ApplyError::write(template, "follow the symlink", Errno::LOOP))
}

fn split<'a>(template: &Template, path: &'a Path) -> Result<(&'a Path, &'a OsStr), ApplyError> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok((parent, name)),
        _ => Err(ApplyError::unfit(template, format!("`{}` names no file", path.display()), "")),
    }
}

/// Makes the missing folders of a path, and makes them last.
fn create(template: &Template, path: &Path) -> Result<(), ApplyError> {
    let failed = |error| ApplyError::write(template, "create the folder", error);
    let missing = path.ancestors().take_while(|ancestor| !ancestor.exists()).count();
    if let Some(existing) = path.ancestors().nth(missing) {
        refuse_open_to_others(template, &fs::canonicalize(existing).map_err(failed)?)?;
    }
    DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(failed)?;
    for parent in path.ancestors().skip(1).take(missing) {
        File::open(parent).and_then(|folder| folder.sync_all()).map_err(failed)?;
    }
    Ok(())
}

/// Refuses a path without symlinks in which somebody else could exchange a folder.
fn refuse_open_to_others(template: &Template, path: &Path) -> Result<(), ApplyError> {
    for folder in path.ancestors() {
        let mode =
            fs::metadata(folder).map_err(|error| ApplyError::write(template, "look at the folder", error))?.mode();
        if mode & OTHERS_WRITE != 0 && mode & STICKY == 0 {
            let folder = folder.display();
            return Err(ApplyError::unfit(
                template,
                format!("everybody can write to the folder `{folder}` and exchange the file"),
                format!("`chmod o-w {folder}`"),
            ));
        }
    }
    Ok(())
}

/// Refuses, in a folder like `/tmp`, what somebody else put there to be written to or to lend the new file its owner.
/// The rule is the kernel's for symlinks (`fs.protected_symlinks`).
fn refuse_stranger(template: &Template, folder: &Folder, owner: u32) -> Result<(), ApplyError> {
    let is_known = [geteuid().as_raw(), folder.owner].contains(&owner) || template.owner.user.is_some();
    if folder.shared && !is_known {
        return Err(ApplyError::unfit(
            template,
            format!("it belongs to user {owner}, in a folder that everybody can write to"),
            "remove it, choose another folder, or give its `owner`",
        ));
    }
    Ok(())
}

fn refuse_kind(template: &Template, kind: FileType) -> Result<(), ApplyError> {
    let what = match kind {
        FileType::RegularFile => return Ok(()),
        FileType::Directory => "a folder",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        _ => "not a file",
    };
    Err(ApplyError::unfit(template, format!("there is {what} at this place"), "give the path of a file as `dest`"))
}

/// The refusal of a destination that is a mount point.
pub(super) fn mount_point<'a>(file: impl Into<Subject<'a>>) -> ApplyError {
    ApplyError::unfit(
        file,
        "it is a mount point, which cannot be replaced in one step",
        "mount the folder that holds it instead of the file; or set `in_place: true`, and readers may see half a file",
    )
}

/// Whether the file is a mount point. Kernels before 5.8 do not tell, so the list of mounts is looked through there.
fn is_mount_point(folder: &Folder, name: &OsStr) -> bool {
    match rustix::fs::statx(&folder.handle, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS) {
        Ok(statx) if statx.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT) => {
            statx.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)
        }
        _ => fs::read("/proc/self/mountinfo").is_ok_and(|mounts| is_listed(&mounts, &folder.path.join(name))),
    }
}

/// Whether `path` is the fifth field of a line of mountinfo, in which blanks and backslashes are octal (proc(5)).
fn is_listed(mounts: &[u8], path: &Path) -> bool {
    let mut escaped = Vec::new();
    for &byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' => escaped.extend(format!("\\{byte:03o}").into_bytes()),
            _ => escaped.push(byte),
        }
    }
    mounts.split(|&byte| byte == b'\n').any(|line| line.split(|&byte| byte == b' ').nth(4) == Some(&escaped))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_mounts_is_read() {
        let mounts = b"22 1 0:21 / / rw - ext4 /dev/x rw\n36 22 8:1 /a /etc/my\\040file rw - ext4 /dev/x rw\n";
        assert!(is_listed(mounts, Path::new("/etc/my file")));
        assert!(!is_listed(mounts, Path::new("/etc/my")));
        assert!(!is_listed(mounts, Path::new("/a")));
    }

    #[test]
    fn content_is_compared_to_its_last_byte() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let long = vec![7; 600_000];
        fs::write(&path, &long).unwrap();
        let file = File::open(&path).unwrap();
        assert!(same(&file, &long).unwrap());
        assert!(!same(&file, &long[1..]).unwrap());
        assert!(!same(&file, &[&long[..], &[7]].concat()).unwrap());
        assert!(!same(&file, &[&long[1..], &[8]].concat()).unwrap());
        assert!(!same(&file, &[]).unwrap());
        fs::write(&path, []).unwrap();
        assert!(same(&file, &[]).unwrap());
    }
}
