use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use super::*;
use crate::apply::By;

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
    settle(&records, "web", &hashes("1"), &[]);
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
    settle(&records, "web", &hashes("A"), &[]);
    // B is committed, its reload begins, and we are killed; then the data goes back to A.
    records.begin("web");
    assert_eq!(Records::open(folder.path()).owed("web", &hashes("A"), true), Owed::Owed);
}

#[test]
fn a_record_that_the_last_life_may_not_have_kept_up_to_date_is_owed() {
    let folder = tempfile::tempdir().unwrap();
    settle(&Records::open(folder.path()), "web", &hashes("A"), &[]);
    // The folder became read-only: B was told and not written down, and then the data went back to A.
    let lock = folder.path().join("lock");
    fs::create_dir(&lock).unwrap();
    let records = Records::open(folder.path());
    let _lock = records.lock().unwrap();
    assert_eq!(records.owed("web", &hashes("A"), true), Owed::Owed);
    fs::remove_dir(lock).unwrap();
}

#[test]
fn what_is_not_understood_is_owed_and_never_an_error() {
    let folder = tempfile::tempdir().unwrap();
    settle(&Records::open(folder.path()), "web", &hashes("1"), &[]);
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
        settle(&records, "web", &hashes("1"), &[]);
        assert_eq!(Records::open(folder.path()).owed("web", &hashes("1"), true), Owed::Settled);
    }
    fs::write(folder.path().join("key"), "short").unwrap();
    assert_eq!(Records::open(folder.path()).owed("web", &hashes("1"), true), Owed::Owed);
}

#[test]
fn a_record_tells_no_hash_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    settle(&Records::open(folder.path()), "web", &hashes("0123456789abcdef"), &[]);
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
        assert!(records.book.health.is_degraded(), "{}", path.display());
        assert!(records.lock().is_ok());
        settle(&records, "web", &hashes("1"), &[]);
        assert_eq!(records.owed("web", &hashes("1"), true), Owed::Settled);
        records.begin("web");
        assert_eq!(records.owed("web", &hashes("1"), true), Owed::Owed);
    }
}

/// Polls: the folder is tried again by a thread of its own.
fn wait_until(is_so: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(std::time::Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_folder_that_comes_back_is_brought_up_to_date_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (state, away) = (folder.path().join("state"), folder.path().join("away"));
    let records = Records::open(&state);
    fs::rename(&state, &away).unwrap();
    fs::write(&state, "").unwrap();
    settle(&records, "web", &hashes("1"), &[]);
    records.listed("web");
    assert!(records.book.health.is_degraded());
    // It is tried again meanwhile, and that it is well is said only when it is.
    std::thread::sleep(Duration::from_millis(300));
    assert!(records.book.health.is_degraded());
    fs::remove_file(&state).unwrap();
    fs::rename(&away, &state).unwrap();
    wait_until(|| !records.book.health.is_degraded());
    assert_eq!(Records::open(&state).owed("web", &hashes("1"), true), Owed::Settled);
    assert!(!state.join("probe").exists());
}

#[test]
fn a_folder_that_vanishes_is_made_anew_with_all_that_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let (state, file) = (folder.path().join("state"), folder.path().join("item"));
    fs::write(&file, "A").unwrap();
    let item = Hashes::from([(file.clone(), format!("{:x}", Sha256::digest("A")))]);
    let losses: [fn(&Path); 3] = [
        |state| fs::remove_dir_all(state).unwrap(),
        |state| fs::remove_file(state.join("key")).unwrap(),
        |state| {
            fs::remove_dir_all(state).unwrap();
            fs::create_dir(state).unwrap();
        },
    ];
    for (lose, another) in losses.into_iter().zip(["x", "y", "z"]) {
        let records = Records::open(&state);
        let _lock = records.lock().unwrap();
        records.add_items("web", item.clone());
        settle(&records, "web", &hashes("1"), &[]);
        lose(&state);
        // Another target has something to write.
        records.begin(another);
        assert!(!records.book.health.is_degraded());
        let next = Records::open(&state);
        assert_eq!(next.owed("web", &hashes("1"), true), Owed::Settled, "{another}");
        assert!(matches!(next.listed("web").look(&file), Ok(Look::Ours)));
        assert_eq!(next.lock().unwrap_err().pid, Some(std::process::id()), "it is locked");
    }
}

#[test]
fn a_start_with_a_disk_that_hangs_loses_nothing_of_the_life_before() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = refused(folder.path());
    let state = folder.path().join("state");
    let item = |name: &str| {
        let file = folder.path().join(name);
        fs::write(&file, name).unwrap();
        (file, format!("{:x}", Sha256::digest(name)))
    };
    Records::open(&state).add_items("web", Hashes::from([item("x"), item("y")]));
    // Whoever reads the key waits until somebody writes it.
    let (key, good, pipe) = (state.join("key"), state.join("good"), state.join("pipe"));
    fs::rename(&key, &good).unwrap();
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::hard_link(&pipe, &key).unwrap();
    let records = Records::open_within(Duration::from_millis(50), &state);
    assert!(records.book.health.is_degraded());
    assert_eq!(records.owed("web", &a, true), Owed::Owed);
    records.add_items("web", Hashes::from([item("z")]));
    assert_eq!(records.listed("web").files().count(), 1);
    as_it_is(&folder.path().join("a"), |live| settle(&records, "web", &a, live));
    let before = records.begin("web");
    records.refuse("web", (&b, "as ever"), refusal(), false, before);
    assert!(!records.went_back("web", &a));
    assert_eq!(records.judge("web", &b, "as ever"), Judgement::Refused { is_open: false });
    let bytes = fs::read(&good).unwrap();
    fs::rename(&good, &key).unwrap();
    fs::write(&pipe, &bytes).unwrap();
    wait_until(|| !records.book.health.is_degraded());
    assert_eq!(fs::read(&key).unwrap(), bytes);
    for records in [records, Records::open(&state)] {
        let listed = records.listed("web");
        for name in ["x", "y", "z"] {
            assert!(matches!(listed.look(&folder.path().join(name)), Ok(Look::Ours)), "{name}");
        }
        assert_eq!(records.owed("web", &a, true), Owed::Settled);
        assert_eq!(records.judge("web", &b, "as ever"), Judgement::Refused { is_open: false });
    }
    assert!(!fs::read_to_string(state.join("web.json")).unwrap().contains('?'), "what is written is keyed");
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

/// The process of `target` runs these files, which are in place.
fn settle(records: &Records, target: &str, hashes: &Hashes, live: &[Live<'_>]) {
    let mut settling = records.settling(target, hashes);
    for live in live {
        settling.keep(live);
    }
    settling.confirm();
}

/// A destination as it is now.
fn as_it_is<T>(path: &Path, use_it: impl FnOnce(&[Live<'_>]) -> T) -> T {
    let file = File::open(path).ok();
    let file = file.as_ref().map(|file| (rustix::fs::fstat(file).unwrap(), Some(file)));
    use_it(&[Live { destination: path, file, is_private: false }])
}

fn refusal() -> Refused {
    Refused::now(By::Reload, "reload command `sh` exited with 65")
}

/// Settled on A, with B refused.
fn refused(folder: &Path) -> (Hashes, Hashes) {
    let file = folder.join("a");
    fs::write(&file, "A").unwrap();
    let of = |text: &str| Hashes::from([(file.clone(), format!("{:x}", Sha256::digest(text)))]);
    let records = Records::open(&folder.join("state"));
    as_it_is(&file, |live| settle(&records, "web", &of("A"), live));
    let before = records.begin("web");
    records.refuse("web", (&of("B"), "as ever"), refusal(), false, before);
    assert!(!records.went_back("web", &of("A")));
    (of("A"), of("B"))
}

#[test]
fn a_refusal_outlives_a_restart_until_the_data_change() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = refused(folder.path());
    let state = folder.path().join("state");
    assert_eq!(Records::open(&state).judge("web", &b, "as ever"), Judgement::Refused { is_open: false });
    assert_eq!(Records::open(&state).owed("web", &a, true), Owed::Settled);
    assert!(!fs::read_to_string(state.join("web.json")).unwrap().contains("as ever"));
    assert_eq!(Records::open(&state).judge("web", &a, "as ever"), Judgement::Wanted);
    assert_eq!(Records::open(&state).judge("web", &b, "as ever"), Judgement::Wanted);
    let (_, b) = refused(folder.path());
    Records::open(&state).forgive("web");
    assert_eq!(Records::open(&state).judge("web", &b, "as ever"), Judgement::Wanted);
    let (_, b) = refused(folder.path());
    assert_eq!(Records::open(&state).judge("web", &b, "mended"), Judgement::Wanted);
    assert_eq!(Records::open(&state).judge("web", &b, "as ever"), Judgement::Wanted);
}

/// A program before this one noted no terms: those that are seen first are taken for them.
#[test]
fn a_refusal_without_terms_is_forgotten_when_they_change_next() {
    let folder = tempfile::tempdir().unwrap();
    let (_, b) = refused(folder.path());
    let state = folder.path().join("state");
    let file = state.join("web.json");
    let mut record: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert!(record.as_object_mut().unwrap().remove("terms").is_some_and(|terms| terms.is_string()));
    fs::write(&file, record.to_string()).unwrap();
    for _ in 0..2 {
        assert_eq!(Records::open(&state).judge("web", &b, "as ever"), Judgement::Refused { is_open: false });
    }
    assert_eq!(Records::open(&state).judge("web", &b, "mended"), Judgement::Wanted);
}

#[test]
fn why_it_was_refused_outlives_a_restart_with_the_refusal() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = refused(folder.path());
    let state = folder.path().join("state");
    let known = |records: &Records| records.refused("web").map(|refused| (refused.by, refused.why));
    let whole = Some((By::Reload, "reload command `sh` exited with 65".to_owned()));
    assert_eq!(known(&Records::open(&state)), whole);
    assert_eq!(Records::open(&state).refused("other"), None);
    // A form of another program is no reason to doubt the rest.
    let file = state.join("web.json");
    let good = fs::read_to_string(&file).unwrap();
    let record: serde_json::Value = serde_json::from_str(&good).unwrap();
    for form in [serde_json::json!({"by": "somebody", "at": 1}), serde_json::json!("x"), serde_json::Value::Null] {
        let mut other = record.clone();
        other["refused"] = form;
        fs::write(&file, other.to_string()).unwrap();
        let records = Records::open(&state);
        assert_eq!(
            (records.judge("web", &b, "as ever"), known(&records)),
            (Judgement::Refused { is_open: false }, None)
        );
        assert_eq!(records.owed("web", &a, true), Owed::Settled);
    }
    fs::write(&file, good).unwrap();
    let records = Records::open(&state);
    records.forgive("web");
    assert_eq!((known(&records), known(&Records::open(&state))), (None, None));
}

#[test]
fn that_nothing_was_confirmed_yet_outlives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (file, state) = (folder.path().join("a"), folder.path().join("state"));
    fs::write(&file, "by hand").unwrap();
    let records = Records::open(&state);
    as_it_is(&file, |live| records.before_commit("web", live));
    assert_eq!(Records::open(&state).version("web"), Version::Found);
    assert!(records.ran_earlier("web") && !Records::open(&state).ran_earlier("web"), "it may have been started since");
    let before = records.begin("web");
    records.refuse("web", (&hashes("B"), "as ever"), refusal(), false, before);
    assert!(!records.went_back("web", &hashes("by hand")));
    for records in [records, Records::open(&state)] {
        assert_eq!((records.version("web"), records.ran_earlier("web")), (Version::Found, true));
    }
    let records = Records::open(&state);
    settle(&records, "web", &hashes("C"), &[]);
    assert_eq!(Records::open(&state).version("web"), Version::Confirmed);
}

#[test]
fn an_end_on_the_way_back_is_found_by_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = refused(folder.path());
    let state = folder.path().join("state");
    let records = Records::open(&state);
    records.forgive("web");
    let before = records.begin("web");
    records.refuse("web", (&b, "as ever"), refusal(), false, before);
    drop(records);
    let records = Records::open(&state);
    assert_eq!(records.judge("web", &b, "as ever"), Judgement::Refused { is_open: true });
    assert!(records.went_back("web", &a), "nobody knows what the process took");
    assert!(matches!(records.before("web", &folder.path().join("a")), Before::File(saved) if saved.kept));
}

/// What the program before this one makes of a record: the form that it had, and its rules.
fn by_the_rules_of_version_1(text: &str) -> Option<BTreeMap<String, String>> {
    #[derive(serde::Deserialize)]
    struct Record {
        version: u32,
        #[serde(rename = "target")]
        _target: String,
        settled: bool,
        #[serde(default)]
        hashes: BTreeMap<String, String>,
    }
    let record: Record = serde_json::from_str(text).unwrap();
    assert_eq!(record.version, 1);
    record.settled.then_some(record.hashes)
}

#[test]
fn the_program_before_this_one_understands_a_record() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = refused(folder.path());
    let state = folder.path().join("state");
    let text = || fs::read_to_string(state.join("web.json")).unwrap();
    assert!(text().contains("\"bad\"") && text().contains("\"earlier\""), "{}", text());
    let records = Records::open(&state);
    assert_eq!(by_the_rules_of_version_1(&text()), Some(keyed(records.book.all().key, &a)));
    records.begin("web");
    assert_eq!(by_the_rules_of_version_1(&text()), None, "owed");
    records.forgive("web");
    let before = records.begin("web");
    records.refuse("web", (&b, "as ever"), refusal(), true, before);
    assert_eq!(by_the_rules_of_version_1(&text()), None, "owed");
}

#[test]
fn a_record_of_the_program_before_this_one_is_understood() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = refused(folder.path());
    let state = folder.path().join("state");
    let hashes = serde_json::to_string(&keyed(Records::open(&state).book.all().key, &a)).unwrap();
    fs::write(state.join("web.json"), format!(r#"{{"version":1,"target":"web","settled":true,"hashes":{hashes}}}"#))
        .unwrap();
    let records = Records::open(&state);
    assert_eq!(records.owed("web", &a, true), Owed::Settled);
    assert_eq!(records.judge("web", &b, "as ever"), Judgement::Wanted);
    // It knows no way back yet; the next commit makes one.
    let file = folder.path().join("a");
    assert!(matches!(records.before("web", &file), Before::AsNow));
    as_it_is(&file, |live| records.before_commit("web", live));
    assert!(matches!(records.before("web", &file), Before::File(saved) if saved.kept));
    fs::write(state.join("web.json"), r#"{"version":1,"target":"web","settled":false}"#).unwrap();
    assert_eq!(Records::open(&state).owed("web", &a, true), Owed::Owed);
}

#[test]
fn a_full_folder_is_told_of_nothing_old() {
    let folder = tempfile::tempdir().unwrap();
    let (a, _) = refused(folder.path());
    let state = folder.path().join("state");
    let records = Records::open(&state);
    assert_eq!(records.owed("web", &a, true), Owed::Settled);
    // Nothing new can be made, but what is there can be emptied.
    fs::create_dir(state.join("web.new")).unwrap();
    records.begin("web");
    assert_eq!(fs::read(state.join("web.json")).unwrap(), b"");
    assert!(records.book.health.is_degraded());
    assert_eq!(Records::open(&state).owed("web", &a, true), Owed::Owed);
    fs::remove_dir(state.join("web.new")).unwrap();
    as_it_is(&folder.path().join("a"), |live| settle(&records, "web", &a, live));
    assert!(!records.book.health.is_degraded());
    assert_eq!(Records::open(&state).owed("web", &a, true), Owed::Settled);
}
