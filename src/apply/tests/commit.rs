use std::os::unix::fs::MetadataExt as _;

use super::*;
use crate::apply::ErrorKind;
use crate::process::BootTime;

#[test]
fn a_file_is_made_replaced_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let template = template(folder.path().join("a.conf"));
    let before = BootTime::now();
    let committed = put(&template, b"one").unwrap();
    assert_eq!(committed.changed(), std::slice::from_ref(&template.dest));
    assert!(before <= committed.at() && committed.at() <= BootTime::now());
    let hash = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed";
    assert_eq!(committed.hashes()[&template.dest], hash);
    put(&template, b"two").unwrap();
    assert_eq!(fs::read(&template.dest).unwrap(), b"two");

    let inode = fs::metadata(&template.dest).unwrap();
    let target = target([template.clone()]);
    let staged = stage(&target, &[b"two"]).unwrap();
    assert!(staged.is_unchanged());
    assert!(staged.skip_check().commit().unwrap().changed().is_empty());
    let after = fs::metadata(&template.dest).unwrap();
    assert_eq!((inode.ino(), inode.ctime_nsec()), (after.ino(), after.ctime_nsec()));
    assert_eq!(names(folder.path()), ["a.conf"]);
}

#[test]
fn what_is_staged_is_hidden_and_goes_with_its_stage() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    fs::write(&a, "old").unwrap();
    let target = target([template(&a), template(&b)]);
    let staged = stage(&target, &[b"new", b"new"]).unwrap();
    assert_eq!(fs::read(&a).unwrap(), b"old");
    assert_eq!(names(folder.path()).iter().filter(|name| name.starts_with('.')).count(), 2);
    drop(staged);
    assert_eq!(names(folder.path()), ["a"]);
    drop(stage(&target, &[b"new", b"new"]).unwrap().skip_check());
    assert_eq!(names(folder.path()), ["a"]);
}

#[test]
fn several_files_are_one_transaction() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["a", "b", "c"].map(|name| folder.path().join(name));
    let target = target(paths.clone().map(template));
    put_all(&target, &[b"1", b"1", b"1"]).unwrap();
    let committed = put_all(&target, &[b"2", b"1", b"2"]).unwrap();
    assert_eq!(committed.changed(), [paths[0].clone(), paths[2].clone()]);
    assert_eq!(committed.hashes().len(), 3);
    assert_eq!(paths.clone().map(|path| fs::read_to_string(path).unwrap()), ["2", "1", "2"]);
    assert_eq!(names(folder.path()), ["a", "b", "c"]);
}

#[test]
fn when_a_later_file_fails_the_earlier_ones_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["a", "b", "c", "d"].map(|name| folder.path().join(name));
    fs::write(&paths[0], "old").unwrap();
    fs::write(&paths[1], "old").unwrap();
    fs::write(&paths[3], "old").unwrap();
    let inode = fs::metadata(&paths[0]).unwrap().ino();
    let target = target(paths.clone().map(template));
    let staged = stage(&target, &[b"new", b"new", b"new", b"new"]).unwrap();
    // Nothing can be renamed onto a folder.
    fs::remove_file(&paths[3]).unwrap();
    fs::create_dir(&paths[3]).unwrap();
    let error = staged.skip_check().commit().unwrap_err();
    assert_eq!((error.kind(), error.errno()), (ErrorKind::Standing, Some(21)), "{error}");
    assert!(error.to_string().contains("template `d`"), "{error}");
    assert_eq!(fs::read_to_string(&paths[0]).unwrap(), "old");
    assert_eq!(fs::metadata(&paths[0]).unwrap().ino(), inode);
    assert_eq!(fs::read_to_string(&paths[1]).unwrap(), "old");
    // `c` was not there before.
    assert_eq!(names(folder.path()), ["a", "b", "d"]);
}

#[test]
fn a_destination_that_vanishes_meanwhile_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["a", "b"].map(|name| folder.path().join(name));
    let target = target(paths.clone().map(template));
    put_all(&target, &[b"1", b"1"]).unwrap();
    let staged = stage(&target, &[b"2", b"2"]).unwrap();
    fs::remove_file(&paths[0]).unwrap();
    staged.skip_check().commit().unwrap();
    assert_eq!(paths.map(|path| fs::read_to_string(path).unwrap()), ["2", "2"]);
    assert_eq!(names(folder.path()), ["a", "b"]);
}

#[test]
fn a_failure_on_the_way_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let (good, bad) = (folder.path().join("good"), folder.path().join("missing/bad"));
    let error = put_all(&target([template(&good), template(bad)]), &[b"x", b"x"]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Standing);
    assert!(error.hint().unwrap().contains("create_dirs"), "{error}");
    assert!(names(folder.path()).is_empty());
}

/// Whether this is the process in which a system call fails with EIO; which call, and the how-manieth.
fn is_on_a_broken_disk(call: &str) -> bool {
    is_inner(&["strace", "-f", "-o", "/dev/null", "-e", &format!("inject={call}")])
}

#[test]
fn a_disk_that_cannot_take_the_file_keeps_the_old_one() {
    for call in ["fsync:error=EIO:when=1", "fchmod:error=EIO:when=1", "renameat:error=EIO:when=1"] {
        if !is_on_a_broken_disk(call) {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let template = template(folder.path().join("x"));
        fs::write(&template.dest, "old").unwrap();
        let error = put(&template, b"new").unwrap_err();
        assert_eq!((error.kind(), error.errno()), (ErrorKind::Write, Some(5)), "{error}");
        assert_eq!(fs::read(&template.dest).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["x"]);
        put(&template, b"new").unwrap();
        return;
    }
}

#[test]
fn a_folder_that_does_not_reach_the_disk_takes_nothing_back() {
    // The first sync is that of the file.
    if !is_on_a_broken_disk("fsync:error=EIO:when=2") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let template = template(folder.path().join("x"));
    fs::write(&template.dest, "old").unwrap();
    assert_eq!(put(&template, b"new").unwrap().changed().len(), 1);
    assert_eq!(fs::read(&template.dest).unwrap(), b"new");
}

#[test]
fn without_exchange_the_old_files_are_kept_by_another_name() {
    // Neither the exchange nor a second name is to be had.
    for calls in ["renameat2:error=EINVAL", "renameat2,linkat:error=EPERM"] {
        if !is_on_a_broken_disk(calls) {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let paths = ["a", "b"].map(|name| folder.path().join(name));
        let target = target(paths.clone().map(|path| Template { backup: true, ..template(path) }));
        put_all(&target, &[b"1", b"1"]).unwrap();
        put_all(&target, &[b"2", b"2"]).unwrap();
        assert_eq!(names(folder.path()), ["a", "a.bak", "b", "b.bak"]);
        let staged = stage(&target, &[b"3", b"3"]).unwrap();
        fs::remove_file(&paths[1]).unwrap();
        fs::create_dir(&paths[1]).unwrap();
        staged.skip_check().commit().unwrap_err();
        assert_eq!(fs::read(&paths[0]).unwrap(), b"2");
        assert_eq!(fs::read(folder.path().join("a.bak")).unwrap(), b"1");
        assert_eq!(names(folder.path()), ["a", "a.bak", "b", "b.bak"]);
        return;
    }
}

#[test]
fn a_backup_is_the_file_before_and_never_wider() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let mut template = Template { backup: true, ..template(folder.path().join("a")) };
    let backup = folder.path().join("a.bak");
    put(&template, b"1").unwrap();
    assert_eq!(names(folder.path()), ["a"]);
    put(&template, b"2").unwrap();
    put(&template, b"3").unwrap();
    assert_eq!(fs::read(&backup).unwrap(), b"2");
    assert_eq!(fs::metadata(&backup).unwrap().mode() & 0o7777, 0o644);
    template.mode = Some(0o600);
    put(&template, b"4").unwrap();
    assert_eq!(fs::read(&backup).unwrap(), b"3");
    assert_eq!(fs::metadata(&backup).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(names(folder.path()), ["a", "a.bak"]);

    fs::remove_file(&backup).unwrap();
    fs::create_dir(&backup).unwrap();
    let error = put(&template, b"5").unwrap_err();
    assert!(error.to_string().contains("a.bak` is not a file"), "{error}");
    assert_eq!(fs::read(&template.dest).unwrap(), b"4");
}

#[test]
fn one_file_under_two_names_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    fs::write(&a, "old").unwrap();
    std::os::unix::fs::symlink("a", &b).unwrap();
    let error = put_all(&target([template(&a), template(&b)]), &[b"1", b"2"]).unwrap_err();
    assert!(error.to_string().contains("the same file"), "{error}");
    assert_eq!(fs::read(&a).unwrap(), b"old");
}

#[test]
fn a_reader_sees_whole_files_only() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["a", "b"].map(|name| folder.path().join(name));
    let target = target(paths.clone().map(template));
    let content = |round: usize| format!("{round} ").repeat(5000 + round).into_bytes();
    put_all(&target, &[&content(0), &content(0)]).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                for path in &paths {
                    let text = fs::read(path).unwrap();
                    let round: usize = String::from_utf8_lossy(&text).split(' ').next().unwrap().parse().unwrap();
                    assert_eq!(text, content(round));
                    reads += 1;
                }
            }
            reads
        });
        for round in 1..100 {
            put_all(&target, &[&content(round), &content(round)]).unwrap();
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(reader.join().unwrap() > 10);
    });
}
