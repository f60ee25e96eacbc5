use std::os::unix::fs::MetadataExt as _;

use super::*;
use crate::apply::{ErrorKind, sweep};

/// Two files, the first mounted onto the second, in a mount namespace of our own.
struct Mounted {
    folder: tempfile::TempDir,
    template: Template,
}

impl Mounted {
    fn new(content: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (from, dest) = (folder.path().join("from"), folder.path().join("dest"));
        fs::write(&from, content).unwrap();
        fs::write(&dest, "").unwrap();
        run("mount", &["--bind", from.to_str().unwrap(), dest.to_str().unwrap()]);
        Self { folder, template: template(dest) }
    }

    fn content(&self) -> String {
        fs::read_to_string(&self.template.dest).unwrap()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        run("umount", &[self.template.dest.to_str().unwrap()]);
    }
}

/// A file system that holds `size` bytes, in a mount namespace of our own.
fn small_disk(folder: &Path, size: usize) {
    let options = format!("size={size}");
    run("mount", &["-t", "tmpfs", "-o", &options, "none", folder.to_str().unwrap()]);
}

#[test]
fn a_mounted_file_is_refused_with_a_hint() {
    if !is_in_mount_namespace() {
        return;
    }
    let mounted = Mounted::new("old");
    let error = put(&mounted.template, b"new").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Standing);
    assert!(error.to_string().contains("mount point") && error.hint().unwrap().contains("in_place: true"), "{error}");
    assert_eq!(mounted.content(), "old");
    assert_eq!(names(mounted.folder.path()), ["dest", "from"]);
}

#[test]
fn a_mounted_file_is_written_into_when_asked_for() {
    if !is_in_mount_namespace() {
        return;
    }
    let mut mounted = Mounted::new("a longer old content");
    mounted.template.in_place = true;
    let inode = fs::metadata(&mounted.template.dest).unwrap().ino();
    let committed = put(&mounted.template, b"new").unwrap();
    assert_eq!(committed.changed(), std::slice::from_ref(&mounted.template.dest));
    assert_eq!(mounted.content(), "new");
    assert_eq!(fs::metadata(&mounted.template.dest).unwrap().ino(), inode);
    assert_eq!(names(mounted.folder.path()), ["dest", "from"]);
    put(&Template { backup: true, mode: Some(0o600), ..mounted.template.clone() }, b"newer").unwrap();
    assert_eq!(fs::metadata(&mounted.template.dest).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(names(mounted.folder.path()), ["dest", "dest.bak", "from"]);
    assert_eq!(fs::read(mounted.folder.path().join("dest.bak")).unwrap(), b"new");
}

#[test]
fn a_file_that_is_written_into_comes_back_when_another_fails() {
    if !is_in_mount_namespace() {
        return;
    }
    let (mut first, mut second) = (Mounted::new("first"), Mounted::new("second"));
    first.template.in_place = true;
    second.template.in_place = true;
    let third = template(first.folder.path().join("third"));
    fs::write(&third.dest, "third").unwrap();
    let target = target([first.template.clone(), second.template.clone(), third.clone()]);
    let staged = stage(&target, &[b"new", b"new", b"new"]).unwrap();
    // The second cannot be written any more.
    run("mount", &["-o", "remount,bind,ro", second.template.dest.to_str().unwrap()]);
    let error = staged.skip_check().commit().unwrap_err();
    assert_eq!((error.kind(), error.errno()), (ErrorKind::Standing, Some(30)), "{error}");
    assert_eq!((first.content().as_str(), second.content().as_str()), ("first", "second"));
    assert_eq!(fs::read(&third.dest).unwrap(), b"third");
    assert_eq!(names(first.folder.path()), ["dest", "from", "third"]);
}

#[test]
fn a_full_disk_keeps_a_file_that_would_be_written_into() {
    if !is_in_mount_namespace() {
        return;
    }
    let disk = tempfile::tempdir().unwrap();
    small_disk(disk.path(), 64 << 10);
    let mounted = Mounted::new("unused");
    let (from, dest) = (disk.path().join("from"), mounted.template.dest.clone());
    fs::write(&from, "old".repeat(10_000)).unwrap();
    run("mount", &["--bind", from.to_str().unwrap(), dest.to_str().unwrap()]);
    let template = Template { in_place: true, ..mounted.template.clone() };
    let error = put(&template, &vec![b'n'; 100_000]).unwrap_err();
    assert_eq!((error.kind(), error.errno()), (ErrorKind::Write, Some(28)), "{error}");
    assert_eq!(fs::read_to_string(&dest).unwrap(), "old".repeat(10_000));
    assert_eq!(names(mounted.folder.path()), ["dest", "from"]);
    run("umount", &[dest.to_str().unwrap()]);
}

#[test]
fn a_write_that_was_cut_short_is_taken_back_at_the_next_start() {
    if !is_in_mount_namespace() {
        return;
    }
    let mut mounted = Mounted::new("whole old content");
    mounted.template.in_place = true;
    let destination = crate::apply::destination::Destination::resolve(&mounted.template).unwrap();
    let saved = crate::apply::write::saved_path(&destination);
    fs::write(&saved, "whole old content").unwrap();
    fs::write(&mounted.template.dest, "half of the n").unwrap();
    sweep(&[target([mounted.template.clone()])]);
    assert_eq!(mounted.content(), "whole old content");
    assert_eq!(names(mounted.folder.path()), ["dest", "from"]);
}

#[test]
fn a_folder_that_cannot_be_written_needs_none_beside_a_mounted_file() {
    if !is_in_mount_namespace() {
        return;
    }
    let disk = tempfile::tempdir().unwrap();
    small_disk(disk.path(), 64 << 10);
    let (from, dest) = (disk.path().join("from"), disk.path().join("dest"));
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("from"), "old").unwrap();
    fs::write(&from, "").unwrap();
    fs::write(&dest, "").unwrap();
    run("mount", &["--bind", outside.path().join("from").to_str().unwrap(), dest.to_str().unwrap()]);
    run("mount", &["-o", "remount,ro", disk.path().to_str().unwrap()]);
    put(&Template { in_place: true, ..template(&dest) }, b"new").unwrap();
    assert_eq!(fs::read(&dest).unwrap(), b"new");
    let error = put(&template(disk.path().join("other")), b"new").unwrap_err();
    assert_eq!((error.kind(), error.errno()), (ErrorKind::Standing, Some(30)), "{error}");
    assert!(error.hint().unwrap().contains("ReadWritePaths"), "{error}");
}

#[test]
fn a_full_disk_keeps_the_old_file_and_no_other() {
    if !is_in_mount_namespace() {
        return;
    }
    let disk = tempfile::tempdir().unwrap();
    small_disk(disk.path(), 64 << 10);
    let template = template(disk.path().join("x"));
    let old = vec![b'o'; 40_000];
    put(&template, &old).unwrap();
    let error = put(&template, &vec![b'n'; 40_000]).unwrap_err();
    assert_eq!((error.kind(), error.errno()), (ErrorKind::Write, Some(28)), "{error}");
    assert!(error.hint().unwrap().contains("make room"), "{error}");
    assert_eq!(fs::read(&template.dest).unwrap(), old);
    assert_eq!(names(disk.path()), ["x"]);
    put(&template, b"small").unwrap();
    assert_eq!(fs::read(&template.dest).unwrap(), b"small");
}

#[test]
fn an_error_half_way_into_a_mounted_file_brings_its_content_back() {
    // The first write saves the old content, the second and third write the new one, the fourth brings the old back.
    if !is_inner(&["unshare", "-m", "strace", "-f", "-o", "/dev/null", "-e", "inject=pwrite64:error=EIO:when=3"]) {
        return;
    }
    let mut mounted = Mounted::new("whole old content");
    mounted.template.in_place = true;
    let error = put(&mounted.template, &vec![b'n'; 200_000]).unwrap_err();
    assert_eq!((error.kind(), error.errno()), (ErrorKind::Write, Some(5)), "{error}");
    assert_eq!(mounted.content(), "whole old content");
    assert_eq!(names(mounted.folder.path()), ["dest", "from"]);
    put(&mounted.template, b"new").unwrap();
    assert_eq!(mounted.content(), "new");
}

#[test]
fn what_cannot_be_brought_back_is_kept_and_named() {
    if !is_inner(&["unshare", "-m", "strace", "-f", "-o", "/dev/null", "-e", "inject=pwrite64:error=EIO:when=3+"]) {
        return;
    }
    let mut mounted = Mounted::new("whole old content");
    mounted.template.in_place = true;
    let error = put(&mounted.template, &vec![b'n'; 200_000]).unwrap_err();
    let saved = names(mounted.folder.path()).into_iter().find(|name| name.contains(".liveconf-saved-")).unwrap();
    assert!(error.hint().unwrap().contains(&saved), "{error}: {:?}", error.hint());
    assert_eq!(fs::read_to_string(mounted.folder.path().join(saved)).unwrap(), "whole old content");
}
