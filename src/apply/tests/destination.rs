use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use super::*;
use crate::apply::ErrorKind;

fn refusal(template: &Template) -> String {
    let error = put(template, b"new").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Standing, "{error}");
    format!("{error}; {}", error.hint().unwrap_or_default())
}

#[test]
fn a_symlink_stays_and_what_it_leads_to_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));
    fs::create_dir(&here).unwrap();
    fs::create_dir(&there).unwrap();
    fs::write(there.join("file"), "old").unwrap();
    symlink("../there/link", here.join("link")).unwrap();
    symlink(there.join("file"), there.join("link")).unwrap();
    put(&template(here.join("link")), b"new").unwrap();
    assert_eq!(fs::read(there.join("file")).unwrap(), b"new");
    assert!(fs::symlink_metadata(here.join("link")).unwrap().is_symlink());
    assert!(fs::symlink_metadata(there.join("link")).unwrap().is_symlink());
    assert_eq!((names(&here).len(), names(&there).len()), (1, 2));

    symlink("../there/new", here.join("dangling")).unwrap();
    put(&template(here.join("dangling")), b"made").unwrap();
    assert_eq!(fs::read(there.join("new")).unwrap(), b"made");
}

#[test]
fn a_circle_of_symlinks_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    symlink("b", folder.path().join("a")).unwrap();
    symlink("a", folder.path().join("b")).unwrap();
    assert!(refusal(&template(folder.path().join("a"))).contains("circle"));
}

#[test]
fn what_is_not_a_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("folder")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
    run("mkfifo", &[path("fifo").to_str().unwrap()]);
    for (dest, what) in [
        (path("folder"), "a folder"),
        (path("fifo"), "a FIFO"),
        (path("socket"), "a socket"),
        ("/dev/null".into(), "a device"),
    ] {
        let error = refusal(&template(dest));
        assert!(error.contains(what), "{error}");
    }
    assert_eq!(names(folder.path()), ["fifo", "folder", "socket"]);
}

#[test]
fn a_folder_that_everybody_can_write_to_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (open, below) = (folder.path().join("open"), folder.path().join("open/below"));
    fs::create_dir_all(&below).unwrap();
    let set = |mode| fs::set_permissions(&open, fs::Permissions::from_mode(mode)).unwrap();
    set(0o777);
    for dest in [open.join("a"), below.join("a"), open.join("new/a")] {
        let error = refusal(&Template { create_dirs: true, ..template(dest) });
        assert!(error.contains("`chmod o-w "), "{error}");
    }
    assert_eq!(names(&open), ["below"]);
    // Also when the symlink that leads away lies in it.
    symlink(folder.path().join("file"), open.join("link")).unwrap();
    assert!(refusal(&template(open.join("link"))).contains("`chmod o-w "));
    for harmless in [0o1777, 0o775] {
        set(harmless);
        put(&template(below.join("a")), format!("{harmless}").as_bytes()).unwrap();
    }
}

#[test]
fn a_file_that_a_stranger_put_into_a_shared_folder_is_refused() {
    needs_root();
    let folder = tempfile::tempdir().unwrap();
    let shared = folder.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o1777)).unwrap();
    let file = template(shared.join("file"));
    fs::write(&file.dest, "bait").unwrap();
    std::os::unix::fs::chown(&file.dest, Some(12345), None).unwrap();
    assert!(refusal(&file).contains("belongs to user 12345"));
    symlink(folder.path().join("elsewhere"), shared.join("link")).unwrap();
    std::os::unix::fs::lchown(shared.join("link"), Some(12345), None).unwrap();
    assert!(refusal(&template(shared.join("link"))).contains("belongs to user 12345"));

    let given = Template { owner: Owner { user: Some("12345".into()), group: None }, ..file };
    put(&given, b"new").unwrap();
    assert_eq!(fs::metadata(&given.dest).unwrap().uid(), 12345);
}

#[test]
fn missing_folders_are_made_only_when_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let dest = folder.path().join("a/b/c.conf");
    assert!(refusal(&template(&dest)).contains("create_dirs: true"));
    assert!(names(folder.path()).is_empty());
    put(&Template { create_dirs: true, ..template(&dest) }, b"new").unwrap();
    assert_eq!(fs::read(&dest).unwrap(), b"new");
    assert_eq!(fs::metadata(folder.path().join("a")).unwrap().mode() & 0o022, 0);
}

#[test]
fn odd_names_are_names() {
    let folder = tempfile::tempdir().unwrap();
    let long = "é".repeat(127) + "x";
    for name in ["with space", "ünï.çonf", "-dash", ".hidden", "new\nline", "per%cent", "*", &long] {
        put(&template(folder.path().join(name)), b"1").unwrap();
        put(&template(folder.path().join(name)), b"2").unwrap();
        assert_eq!(fs::read(folder.path().join(name)).unwrap(), b"2", "{name:?}");
    }
    assert_eq!(names(folder.path()).len(), 8);
    let error = refusal(&template(folder.path().join(long + "y")));
    assert!(error.contains("255"), "{error}");
    let backup = Template { backup: true, ..template(folder.path().join("z".repeat(252))) };
    assert!(refusal(&backup).contains(".bak"));
}

#[test]
fn other_names_of_the_file_keep_the_old_content() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    fs::write(&a, "old").unwrap();
    fs::hard_link(&a, &b).unwrap();
    put(&template(&a), b"new").unwrap();
    assert_eq!((fs::read(a).unwrap(), fs::read(b).unwrap()), (b"new".to_vec(), b"old".to_vec()));
}
