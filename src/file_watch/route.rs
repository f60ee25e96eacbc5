//! The way from the root to a file: which folders hold it and the links that lead to it, and what it looks like.

use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

/// As many links as the kernel follows before it calls them a loop.
const MAX_LINKS: usize = 40;

/// A name in a folder on which it depends what a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// The folder, without links in its path.
    pub(super) folder: PathBuf,
    /// The name in it; nothing: all its names, because the path leads to this folder.
    pub(super) name: Option<OsString>,
}

/// The steps that decide what `path` leads to: each link on the way, and the file or the first name that is missing.
pub(super) fn steps(path: &Path) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut here = PathBuf::from("/");
    let mut rest = reversed(path);
    let mut links = 0;
    while let Some(name) = rest.pop() {
        if name == OsStr::new("/") {
            here = PathBuf::from("/");
            continue;
        }
        if name == OsStr::new("..") {
            here.pop();
            continue;
        }
        let next = here.join(&name);
        let metadata = next.symlink_metadata();
        if metadata.as_ref().is_ok_and(Metadata::is_dir) {
            here = next;
            if rest.is_empty() {
                steps.push(Step { folder: here.clone(), name: None });
            }
            continue;
        }
        steps.push(Step { folder: here.clone(), name: Some(name) });
        if !metadata.is_ok_and(|metadata| metadata.is_symlink()) {
            break;
        }
        links += 1;
        match next.read_link() {
            Ok(target) if links <= MAX_LINKS => rest.extend(reversed(&target)),
            _ => break,
        }
    }
    steps
}

/// The components with the first one last; the root stands for itself.
fn reversed(path: &Path) -> Vec<OsString> {
    path.components()
        .filter(|component| *component != Component::CurDir)
        .map(|component| component.as_os_str().to_owned())
        .rev()
        .collect()
}

/// What a path leads to, as far as its metadata tell. Two that are equal stand for the same bytes in all likelihood:
/// the change time moves with every write and cannot be set back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Print {
    /// It cannot be looked at, mostly because it is missing.
    Away(io::ErrorKind),
    /// Device, inode, size, mode, and the times of the last write and the last change of the inode.
    There { device: u64, inode: u64, size: u64, mode: u32, written: (i64, i64), changed: (i64, i64) },
}

/// What the paths lead to.
pub(super) fn prints(paths: &[PathBuf]) -> Vec<Print> {
    paths
        .iter()
        .map(|path| match path.metadata() {
            Err(error) => Print::Away(error.kind()),
            Ok(metadata) => Print::There {
                device: metadata.dev(),
                inode: metadata.ino(),
                size: metadata.size(),
                mode: metadata.mode(),
                written: (metadata.mtime(), metadata.mtime_nsec()),
                changed: (metadata.ctime(), metadata.ctime_nsec()),
            },
        })
        .collect()
}

/// Whether a file was written less than `age` ago.
pub(super) fn is_younger(metadata: &Metadata, age: Duration) -> bool {
    metadata.modified().is_ok_and(|written| match written.elapsed() {
        Ok(elapsed) => elapsed < age,
        // The clock of the file system is ahead.
        Err(error) => error.duration() < age,
    })
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests write files the ways that other programs do")]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn shown(root: &Path, path: &str) -> Vec<String> {
        steps(&root.join(path))
            .into_iter()
            .map(|step| {
                let folder = step.folder.strip_prefix(root).unwrap().display().to_string();
                format!("{folder}:{}", step.name.map_or("*".into(), |name| name.to_string_lossy().into_owned()))
            })
            .collect()
    }

    #[test]
    fn every_link_and_the_end_of_the_way_count() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("map/..1")).unwrap();
        fs::create_dir_all(root.join("deep/er")).unwrap();
        fs::write(root.join("map/..1/a.yaml"), "").unwrap();
        symlink("..1", root.join("map/..data")).unwrap();
        symlink("..data/a.yaml", root.join("map/a.yaml")).unwrap();
        symlink(root.join("map"), root.join("deep/link")).unwrap();
        symlink("../../map/./a.yaml", root.join("deep/er/up")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        for (path, expected) in [
            ("map/a.yaml", &["map:a.yaml", "map:..data", "map/..1:a.yaml"][..]),
            ("deep/link/a.yaml", &["deep:link", "map:a.yaml", "map:..data", "map/..1:a.yaml"]),
            ("deep/er/up", &["deep/er:up", "map:a.yaml", "map:..data", "map/..1:a.yaml"]),
            ("map", &["map:*"]),
            ("deep/link", &["deep:link", "map:*"]),
            ("map/none", &["map:none"]),
            ("none/of/these", &[":none"]),
            ("map/..1/a.yaml/below", &["map/..1:a.yaml"]),
        ] {
            assert_eq!(shown(&root, path), expected, "{path}");
        }
        assert_eq!(shown(&root, "loop").len(), MAX_LINKS + 1);
    }
}
