use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};

use super::*;
use crate::apply::{Earlier, ErrorKind, GoBackError, Hashes, Owed, Records, each_live, verify};

/// Commits as an apply does: what is replaced is kept where nobody could go back to it otherwise.
fn commit(target: &Target, records: &Records, bytes: &[&[u8]]) -> Committed {
    let checked = stage(target, bytes).unwrap().skip_check();
    records.before_commit(&target.name, &checked.replaced(target, |_| false));
    checked.commit().unwrap()
}

/// The same, and the process confirms it.
fn settle(target: &Target, records: &Records, bytes: &[&[u8]]) -> Committed {
    let committed = commit(target, records, bytes);
    confirm(target, records, committed.hashes());
    committed
}

/// The process confirms what is in place.
fn confirm(target: &Target, records: &Records, hashes: &Hashes) {
    let mut settling = records.settling(&target.name, hashes);
    each_live(target, |_| false, |live| settling.keep(live)).unwrap();
    settling.confirm();
}

fn go_back(target: &Target, records: &Records) -> Result<Committed, GoBackError> {
    Ok(Earlier::stage(target, records)?.staged.skip_check().commit()?)
}

/// All that is kept in a state folder.
fn kept(state: &Path) -> Vec<Vec<u8>> {
    let mut folders = vec![state.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let mode = fs::metadata(&path).unwrap().mode() & 0o777;
            if path.is_dir() {
                assert_eq!(mode, 0o700, "{}", path.display());
                folders.push(path);
            } else {
                assert_eq!(mode, 0o600, "{}", path.display());
                files.push(fs::read(path).unwrap());
            }
        }
    }
    files
}

fn holds(state: &Path, text: &[u8]) -> bool {
    kept(state).iter().any(|file| file.windows(text.len()).any(|part| part == text))
}

#[test]
fn confirmed_files_come_back_with_owner_mode_and_attributes() {
    needs_root();
    let folder = tempfile::tempdir().unwrap();
    let paths = ["a", "b", "c"].map(|name| folder.path().join(name));
    let target = target(paths.clone().map(template));
    let records = Records::open(&folder.path().join("state"));
    fs::write(&paths[0], "").unwrap();
    fs::set_permissions(&paths[0], fs::Permissions::from_mode(0o640)).unwrap();
    chown(&paths[0], Some(12345), Some(54321)).unwrap();
    rustix::fs::setxattr(&paths[0], "user.note", b"mine", rustix::fs::XattrFlags::empty()).unwrap();
    let confirmed = settle(&target, &records, &[b"A", b"same", b"A"]);
    let untouched = fs::metadata(&paths[1]).unwrap().ino();
    // Two changes later, and with another mode meanwhile.
    commit(&target, &records, &[b"B", b"same", b"B"]);
    fs::set_permissions(&paths[0], fs::Permissions::from_mode(0o666)).unwrap();
    commit(&target, &records, &[b"C", b"same", b"C"]);
    for records in [&records, &Records::open(&folder.path().join("state"))] {
        commit(&target, records, &[b"D", b"same", b"D"]);
        let back = go_back(&target, records).unwrap();
        assert_eq!(back.changed(), [paths[0].clone(), paths[2].clone()]);
        assert_eq!(back.hashes(), confirmed.hashes());
        assert_eq!(paths.clone().map(|path| fs::read_to_string(path).unwrap()), ["A", "same", "A"]);
        let stat = fs::metadata(&paths[0]).unwrap();
        assert_eq!((stat.uid(), stat.gid(), stat.mode() & 0o7777), (12345, 54321, 0o640));
        let mut note = [0; 8];
        assert_eq!(rustix::fs::getxattr(&paths[0], "user.note", &mut note[..]).unwrap(), 4);
        assert_eq!(fs::metadata(&paths[1]).unwrap().ino(), untouched);
        assert!(go_back(&target, records).unwrap().changed().is_empty(), "once is enough");
    }
    assert_eq!(names(folder.path()), ["a", "b", "c", "state"]);
}

#[test]
fn before_the_first_confirmation_the_way_leads_to_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["there", "new"].map(|name| folder.path().join(name));
    let target = target(paths.clone().map(template));
    let state = folder.path().join("state");
    // A process that was told nothing yet runs without the file that was not there. After a restart it may have started
    // with it.
    for (is_told, left) in [(false, vec!["state", "there"]), (true, vec!["new", "state", "there"])] {
        fs::write(&paths[0], "by hand").unwrap();
        let records = Records::open(&state);
        commit(&target, &records, &[b"1", b"1"]);
        commit(&target, &records, &[b"2", b"2"]);
        let records = if is_told { Records::open(&state) } else { records };
        let earlier = Earlier::stage(&target, &records).unwrap();
        assert_eq!(earlier.staying, if is_told { vec![paths[1].clone()] } else { Vec::new() });
        let back = earlier.staged.skip_check().commit().unwrap();
        assert_eq!(back.changed().len(), if is_told { 1 } else { 2 });
        assert_eq!(fs::read(&paths[0]).unwrap(), b"by hand");
        assert_eq!(names(folder.path()), left);
        fs::remove_dir_all(&state).unwrap();
    }
    assert_eq!(fs::read(&paths[1]).unwrap(), b"2");
}

#[test]
fn only_the_version_to_go_back_to_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let target = target([template(folder.path().join("x"))]);
    let records = Records::open(&state);
    for content in ["first version", "second version", "third version"] {
        settle(&target, &records, &[content.as_bytes()]);
    }
    assert!(!holds(&state, b"first version"));
    assert_eq!((holds(&state, b"second version"), holds(&state, b"third version")), (false, true));
    // Adopted files are kept as well, whoever wrote them.
    fs::remove_dir_all(&state).unwrap();
    let records = Records::open(&state);
    let hashes = stage(&target, &[b"third version"]).unwrap().hashes();
    assert_eq!(records.owed("web", &hashes, true), Owed::Adopt);
    confirm(&target, &records, &hashes);
    assert!(holds(&state, b"third version"));
}

#[test]
fn a_secret_is_kept_in_memory_and_only_until_it_is_confirmed() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let path = folder.path().join("x");
    let secret = Template { secret: true, ..template(&path) };
    let records = Records::open(&state);
    let target_of = |keep_previous| target([Template { keep_previous, ..secret.clone() }]);
    let target = target_of(false);
    settle(&target, &records, &[b"hunter1"]);
    commit(&target, &records, &[b"hunter2"]);
    go_back(&target, &records).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"hunter1");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    commit(&target, &records, &[b"hunter3"]);
    let lost = go_back(&target, &Records::open(&state)).unwrap_err().to_string();
    assert!(lost.contains("keep_previous: true") && !lost.contains("hunter"), "{lost}");
    assert_eq!(fs::read(&path).unwrap(), b"hunter3");
    assert!(!holds(&state, b"hunter"));

    let target = target_of(true);
    settle(&target, &records, &[b"hunter4"]);
    commit(&target, &records, &[b"hunter5"]);
    go_back(&target, &Records::open(&state)).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"hunter4");
    assert!(holds(&state, b"hunter4") && !holds(&state, b"hunter5"));
}

#[test]
fn what_is_damaged_is_not_put_back() {
    let folder = tempfile::tempdir().unwrap();
    let (state, path) = (folder.path().join("state"), folder.path().join("x"));
    let target = target([template(&path)]);
    let records = Records::open(&state);
    settle(&target, &records, &[b"good"]);
    commit(&target, &records, &[b"bad"]);
    let file = fs::read_dir(state.join("web.earlier")).unwrap().next().unwrap().unwrap().path();
    fs::write(&file, "evil").unwrap();
    let error = go_back(&target, &records).unwrap_err();
    assert!(matches!(&error, GoBackError::Lost(why) if why.contains("damaged")), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"bad");
    fs::remove_file(&file).unwrap();
    assert!(matches!(go_back(&target, &records), Err(GoBackError::Lost(_))));
}

#[test]
fn without_a_state_folder_memory_serves_the_way_back() {
    let folder = tempfile::tempdir().unwrap();
    let (state, path) = (folder.path().join("state"), folder.path().join("x"));
    fs::write(&state, "a file, and no folder").unwrap();
    let target = target([template(&path)]);
    let records = Records::open(&state);
    settle(&target, &records, &[b"A"]);
    commit(&target, &records, &[b"B"]);
    go_back(&target, &records).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"A");
    // It can be used again.
    fs::remove_file(&state).unwrap();
    fs::create_dir(&state).unwrap();
    settle(&target, &records, &[b"kept from now on"]);
    assert!(holds(&state, b"kept from now on"));
}

#[tokio::test]
async fn what_verify_refuses_is_as_it_was() {
    needs_root();
    let folder = tempfile::tempdir().unwrap();
    let paths = ["a", "b", "new"].map(|name| folder.path().join(name));
    let mut target = target(paths.clone().map(template));
    for path in &paths[..2] {
        fs::write(path, "old").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o604)).unwrap();
        chown(path, Some(12345), None).unwrap();
    }
    let before = fs::metadata(&paths[1]).unwrap();
    target.verify = Some(check(&format!("grep -q good {} {}", paths[0].display(), paths[2].display())));
    for (content, expected) in [(b"bad!", Some(ErrorKind::Refused)), (b"good", None)] {
        let provisional = stage(&target, &[content, content, content]).unwrap().skip_check().try_out().unwrap();
        assert_eq!(fs::read(&paths[0]).unwrap(), content);
        let verdict = verify(&target, &context(), true).await;
        assert_eq!(verdict.as_ref().err().map(ApplyError::kind), expected);
        match verdict {
            Ok(()) => assert_eq!(provisional.keep().changed().len(), 3),
            Err(error) => {
                assert!(error.to_string().starts_with("verify `sh` refuses the files"), "{error}");
                provisional.undo().unwrap();
                let after = fs::metadata(&paths[1]).unwrap();
                assert_eq!((after.ino(), after.uid(), after.mode()), (before.ino(), 12345, before.mode()));
                assert_eq!(names(folder.path()), ["a", "b"]);
            }
        }
    }
    assert_eq!(names(folder.path()), ["a", "b", "new"]);
    // Whoever is stopped in the middle has changed nothing.
    drop(stage(&target, &[b"1", b"2", b"3"]).unwrap().skip_check().try_out().unwrap());
    assert_eq!(paths.clone().map(|path| fs::read_to_string(path).unwrap()), ["good"; 3]);
    assert_eq!(names(folder.path()), ["a", "b", "new"]);
}
