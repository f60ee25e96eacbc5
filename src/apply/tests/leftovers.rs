use super::*;
use crate::apply::sweep;

#[test]
fn what_a_killed_process_left_is_swept_and_nothing_else() {
    let folder = match std::env::var_os("LIVECONF_TEST_FOLDER") {
        Some(folder) => PathBuf::from(folder),
        None => tempfile::tempdir().unwrap().keep(),
    };
    let target = target([template(folder.join("x"))]);
    let variable = format!("LIVECONF_TEST_FOLDER={}", folder.display());
    if std::env::var_os("LIVECONF_TEST_INNER").is_some() {
        let _staged = stage(&target, &[b"new"]).unwrap();
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
        unreachable!("killed");
    }
    fs::write(folder.join("x"), "old").unwrap();
    let killed = std::panic::catch_unwind(|| is_inner(&["env", &variable]));
    assert!(killed.is_err(), "the inner process is killed");
    let left = names(&folder);
    assert_eq!(left.len(), 2, "{left:?}");

    let foreign = [".x.liveconf-saved", ".other.conf-0123456789abcdef", "x.bak"];
    for name in foreign {
        fs::write(folder.join(name), "foreign").unwrap();
    }
    // A living process is at work on this one.
    let staged = stage(&target, &[b"newer"]).unwrap();
    sweep(std::slice::from_ref(&target));
    assert_eq!(names(&folder).len(), 2 + foreign.len(), "{:?}", names(&folder));
    assert!(!names(&folder).contains(&left[0]));
    staged.skip_check().commit().unwrap();
    assert_eq!(fs::read(folder.join("x")).unwrap(), b"newer");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn leftovers_are_found_behind_a_symlink_and_with_any_owner() {
    needs_root();
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));
    fs::create_dir(&here).unwrap();
    fs::create_dir(&there).unwrap();
    std::os::unix::fs::symlink("../there/x", here.join("x")).unwrap();
    fs::write(there.join("x"), "x").unwrap();
    let leftover = ".x.liveconf-0123456789abcdef";
    fs::write(here.join(leftover), "").unwrap();
    fs::write(there.join(leftover), "").unwrap();
    // It had its final owner when we were killed.
    std::os::unix::fs::chown(there.join(leftover), Some(12345), None).unwrap();
    fs::create_dir(there.join(".y.liveconf-0123456789abcdef")).unwrap();
    sweep(&[target([template(here.join("x"))])]);
    assert_eq!(names(&here), ["x"]);
    assert_eq!(names(&there), [".y.liveconf-0123456789abcdef", "x"]);
}
