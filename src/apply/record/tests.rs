use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use super::*;

fn hashes(of: &str) -> Hashes {
    Hashes::from([(PathBuf::from("/etc/a"), of.to_owned()), (PathBuf::from("/etc/b"), "same".to_owned())])
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn a_record_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("state/of us");
    let records = Records::open(&folder);
    assert_eq!(records.owed("web", &hashes("1"), false), Owed::Owed);
    assert_eq!(records.owed("web", &hashes("1"), true), Owed::Adopt);
    records.begin("web");
    assert_eq!(records.owed("web", &hashes("1"), true), Owed::Owed);
    assert_eq!(Records::open(&folder).owed("web", &hashes("1"), true), Owed::Owed);
    records.settle("web", &hashes("1"), &[]);
    for records in [records, Records::open(&folder)] {
        assert_eq!(records.owed("web", &hashes("1"), true), Owed::Settled);
        assert_eq!(records.owed("web", &hashes("2"), true), Owed::Owed);
        assert_eq!(records.owed("web", &Hashes::new(), true), Owed::Owed);
        assert_eq!(records.owed("other", &hashes("1"), true), Owed::Adopt);
    }
    assert_eq!(mode(&folder), 0o700);
    for file in ["web.json", "key"] {
        assert_eq!(mode(&folder.join(file)), 0o600, "{file}");
    }
    assert!(!folder.join("web.new").exists());
}

#[test]
fn there_and_back_again_with_a_kill_between_is_owed() {
    let folder = tempfile::tempdir().unwrap();
    let records = Records::open(folder.path());
    records.settle("web", &hashes("A"), &[]);
    // B is committed, its reload begins, and we are killed; then the data goes back to A.
    records.begin("web");
    assert_eq!(Records::open(folder.path()).owed("web", &hashes("A"), true), Owed::Owed);
}

#[test]
fn what_is_not_understood_is_owed_and_never_an_error() {
    let folder = tempfile::tempdir().unwrap();
    Records::open(folder.path()).settle("web", &hashes("1"), &[]);
    let file = folder.path().join("web.json");
    let good = fs::read_to_string(&file).unwrap();
    assert_eq!(Records::open(folder.path()).owed("web", &hashes("1"), true), Owed::Settled);
    let later = good.replace("{\"version\":1,", "{\"version\":1,\"added_later\":[{}],");
    assert_ne!(later, good);
    fs::write(&file, later).unwrap();
    assert_eq!(Records::open(folder.path()).owed("web", &hashes("1"), true), Owed::Settled);
    let newer = good.replace("\"version\":1", "\"version\":2");
    let other = good.replace("\"web\"", "\"wub\"");
    for text in [&newer, &other, "", "{", "[]", "null", "\u{0}\u{1}", &good[..good.len() - 1]] {
        fs::write(&file, text).unwrap();
        let records = Records::open(folder.path());
        assert_eq!(records.owed("web", &hashes("1"), true), Owed::Owed, "{text:?}");
        records.settle("web", &hashes("1"), &[]);
        assert_eq!(Records::open(folder.path()).owed("web", &hashes("1"), true), Owed::Settled);
    }
    fs::write(folder.path().join("key"), "short").unwrap();
    assert_eq!(Records::open(folder.path()).owed("web", &hashes("1"), true), Owed::Owed);
}

#[test]
fn a_record_tells_no_hash_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    Records::open(folder.path()).settle("web", &hashes("0123456789abcdef"), &[]);
    let text = fs::read_to_string(folder.path().join("web.json")).unwrap();
    assert!(text.contains("/etc/a") && !text.contains("0123456789abcdef"), "{text}");
}

#[test]
fn without_a_folder_memory_serves() {
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("file");
    fs::write(&blocked, "").unwrap();
    let open = folder.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    for path in [blocked.join("state"), open] {
        let records = Records::open(&path);
        assert!(records.is_degraded.load(Ordering::Relaxed), "{}", path.display());
        assert!(records.lock().is_ok());
        records.settle("web", &hashes("1"), &[]);
        assert_eq!(records.owed("web", &hashes("1"), true), Owed::Settled);
        records.begin("web");
        assert_eq!(records.owed("web", &hashes("1"), true), Owed::Owed);
    }
}

#[test]
fn a_folder_that_comes_back_is_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let records = Records::open(&state);
    fs::remove_dir_all(&state).unwrap();
    records.begin("web");
    assert!(records.is_degraded.load(Ordering::Relaxed));
    fs::create_dir(&state).unwrap();
    // The same state is written because the file does not say it yet.
    records.begin("web");
    assert!(!records.is_degraded.load(Ordering::Relaxed));
    assert!(state.join("web.json").exists());
}

#[test]
fn a_second_process_is_told_who_holds_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let first = Records::open(folder.path());
    let lock = first.lock().unwrap();
    let held = Records::open(folder.path()).lock().unwrap_err();
    assert_eq!(held, Held { pid: Some(std::process::id()), folder: folder.path().to_owned() });
    assert!(held.to_string().contains(&format!("(pid {})", std::process::id())));
    drop(lock);
    assert!(Records::open(folder.path()).lock().is_ok());
}
