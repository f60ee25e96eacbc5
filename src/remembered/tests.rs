//! What is remembered of several targets, and the folder that it is kept in.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use super::*;
use crate::registry::{Data, Path, Reply, Text};
use crate::store::Store;

fn asked(registry: &str, path: &str) -> Asked {
    Asked { registry: registry.into(), query: Query::Key(Path::parse(path).unwrap()) }
}

fn answer(value: &str) -> Arc<Answer> {
    Arc::new(Answer::new(Data::Key(Some(Text(value.to_owned().into()))), 1))
}

/// A view that shows these values.
fn view(values: &[(&Asked, &str)]) -> View {
    let instead = values.iter().map(|(asked, value)| ((*asked).clone(), answer(value)));
    View::default().showing(instead.collect())
}

fn set(names: &[&str]) -> BTreeSet<Arc<str>> {
    names.iter().map(|name| (*name).into()).collect()
}

/// One life after the other in one state folder.
struct Lives {
    folder: tempfile::TempDir,
    registries: Vec<&'static str>,
}

impl Lives {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), registries: vec!["main", "site"] }
    }

    fn begin(&self, targets: &[&str]) -> Shared {
        let targets = targets.iter().map(|target| (*target).into()).collect();
        Shared::open(Folder::new(self.folder.path()), set(&self.registries), targets)
    }

    fn file(&self, registry: &str) -> std::path::PathBuf {
        self.folder.path().join("answers").join(format!("{registry}.json"))
    }

    fn text(&self, registry: &str) -> Option<String> {
        std::fs::read_to_string(self.file(registry)).ok()
    }
}

/// Notes what a target shows.
fn note(shared: &Shared, target: &str, values: &[(&Asked, &str)]) -> bool {
    let reads = values.iter().map(|(asked, _)| *asked).collect();
    shared.state().note(target, &view(values), &reads)
}

/// The saved answer of a target to a query.
fn earlier(shared: &Shared, target: &str, asked: &Asked) -> Option<Data> {
    let earlier = shared.state().earlier_of(target)?;
    Some(earlier.get(asked)?.answer.data.clone())
}

fn value(text: &str) -> Data {
    answer(text).data.clone()
}

#[test]
fn what_targets_accepted_is_known_to_the_next_life() {
    let lives = Lives::new();
    let (a, b) = (asked("main", "a"), asked("site", "b"));
    let life = lives.begin(&["web", "db"]);
    assert_eq!(earlier(&life, "web", &a), None);
    assert!(note(&life, "web", &[(&a, "1"), (&b, "1")]));
    note(&life, "db", &[(&a, "1")]);
    life.save();
    assert!(!note(&life, "web", &[(&a, "1"), (&b, "1")]), "the same is not saved again");
    assert!(note(&life, "web", &[(&a, "1"), (&b, "2")]));
    assert_eq!(life.state().unsaved, set(&["site"]), "only what changed is");
    life.save();

    let life = lives.begin(&["web", "db"]);
    assert_eq!((earlier(&life, "web", &a), earlier(&life, "db", &b)), (Some(value("1")), Some(value("2"))));
    assert_eq!(earlier(&life, "web", &asked("main", "b")), None);
    // What is not asked any more is forgotten, once all have asked.
    assert!(note(&life, "web", &[(&a, "1")]));
    life.save();
    assert!(lives.text("site").is_some(), "`db` may have asked it");
    assert!(note(&life, "db", &[(&a, "1")]));
    assert_eq!(earlier(&life, "web", &a), None, "all is newer by now");
    life.save();
    assert_eq!(lives.text("site"), None);
}

#[test]
fn a_folder_that_somebody_made_beside_the_answers_is_in_nobodys_way() {
    let lives = Lives::new();
    let a = asked("main", "a");
    let life = lives.begin(&["web"]);
    note(&life, "web", &[(&a, "1")]);
    life.save();
    std::fs::create_dir(lives.folder.path().join("answers/old")).unwrap();
    let life = lives.begin(&["web"]);
    assert_eq!(earlier(&life, "web", &a), Some(value("1")));
}

#[test]
fn an_answer_that_is_held_back_replaces_none_that_was_accepted() {
    let lives = Lives::new();
    let a = asked("main", "a");
    let life = lives.begin(&["held", "open"]);
    note(&life, "held", &[(&a, "old")]);
    note(&life, "open", &[(&a, "new")]);
    life.save();
    for (first, second) in [("held", "open"), ("open", "held")] {
        let life = lives.begin(&["held", "open", "later"]);
        assert_eq!((earlier(&life, "held", &a), earlier(&life, "open", &a)), (Some(value("old")), Some(value("new"))));
        // One waits for another registry meanwhile, for which the first saves what it shows.
        let shows = if first == "held" { "old" } else { "newest" };
        note(&life, first, &[(&a, shows)]);
        life.save();
        let life = lives.begin(&["held", "open", "later"]);
        assert_eq!(earlier(&life, first, &a), Some(value(shows)));
        assert_eq!(earlier(&life, second, &a), Some(value(if second == "held" { "old" } else { "new" })));
        note(&life, "held", &[(&a, "old")]);
        note(&life, "open", &[(&a, "new")]);
        life.save();
    }
}

#[test]
fn what_was_not_asked_since_keeps_its_age() {
    let lives = Lives::new();
    let (a, b) = (asked("main", "a"), asked("main", "b"));
    let life = lives.begin(&["web", "db"]);
    note(&life, "web", &[(&a, "1")]);
    note(&life, "db", &[(&b, "1")]);
    life.save();
    let text = lives.text("main").unwrap();
    let (before, after) = text.split_once("\"saved\": \"").unwrap();
    let old = format!("{before}\"saved\": \"2020-02-02T02:02:02Z{}", &after["2020-02-02T02:02:02Z".len()..]);
    std::fs::write(lives.file("main"), old).unwrap();

    let life = lives.begin(&["web", "db"]);
    note(&life, "web", &[(&a, "2")]);
    life.save();
    let life = lives.begin(&["web", "db"]);
    let earlier = life.state().earlier_of("db").unwrap();
    let saved = |asked: &Asked| humantime::format_rfc3339_seconds(earlier[asked].saved).to_string();
    assert_eq!(saved(&b), "2020-02-02T02:02:02Z");
    assert!(saved(&a).as_str() > "2026");
}

#[test]
fn what_is_not_to_be_remembered_leaves_nothing() {
    let mut lives = Lives::new();
    let (a, b) = (asked("main", "a"), asked("site", "b"));
    let life = lives.begin(&["web"]);
    note(&life, "web", &[(&a, "1"), (&b, "hunter2")]);
    life.save();
    assert!(lives.text("site").unwrap().contains("hunter2"));
    // By an edit of the configuration, with a save under way.
    note(&life, "web", &[(&a, "1"), (&b, "hunter3")]);
    life.follow(&set(&["main"]), vec!["web".into()]);
    life.save();
    assert_eq!((lives.text("site"), lives.text("main").is_some()), (None, true));
    assert!(!note(&life, "web", &[(&a, "1"), (&b, "hunter4")]));

    // By another start; and what a killed life has left goes, too.
    lives.begin(&["web"]);
    let left = lives.folder.path().join("answers/.main.new");
    std::fs::write(&left, "half").unwrap();
    lives.registries = Vec::new();
    lives.begin(&["web"]);
    assert_eq!((lives.text("main"), left.exists()), (None, false));
}

#[test]
fn the_files_are_ours_alone() {
    let lives = Lives::new();
    let life = lives.begin(&["web"]);
    note(&life, "web", &[(&asked("main", "a"), "hunter2")]);
    life.save();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().mode() & 0o777;
    let folder = lives.folder.path().join("answers");
    assert_eq!((mode(&folder), mode(&lives.file("main"))), (0o700, 0o600));
    // One that was opened is closed again.
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    let life = lives.begin(&["web"]);
    assert_eq!((mode(&folder), earlier(&life, "web", &asked("main", "a"))), (0o700, Some(value("hunter2"))));

    // A link leads nowhere, and what is not ours is not read.
    let elsewhere = lives.folder.path().join("elsewhere");
    std::fs::rename(lives.file("main"), &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, lives.file("main")).unwrap();
    assert_eq!(earlier(&lives.begin(&["web"]), "web", &asked("main", "a")), None);
    std::fs::rename(&elsewhere, lives.file("main")).unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(lives.file("main"), Some(1), None).unwrap();
        assert_eq!(earlier(&lives.begin(&["web"]), "web", &asked("main", "a")), None);
        std::os::unix::fs::chown(lives.file("main"), Some(0), None).unwrap();
    }
    assert_eq!(earlier(&lives.begin(&["web"]), "web", &asked("main", "a")), Some(value("hunter2")));
    std::fs::set_permissions(lives.folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(earlier(&lives.begin(&["web"]), "web", &asked("main", "a")), None, "anybody may have put it there");
}

#[test]
fn a_folder_that_cannot_be_written_is_tried_again() {
    let lives = Lives::new();
    let a = asked("main", "a");
    let folder = lives.folder.path().join("answers");
    std::fs::write(&folder, "no folder").unwrap();
    let life = lives.begin(&["web"]);
    note(&life, "web", &[(&a, "1")]);
    assert!(life.save() >= Duration::from_secs(30));
    assert_eq!(life.state().unsaved, set(&["main", "site"]));
    std::fs::remove_file(&folder).unwrap();
    assert!(life.save() < Duration::from_secs(30));
    assert!(life.state().unsaved.is_empty());
    assert_eq!(earlier(&lives.begin(&["web"]), "web", &a), Some(value("1")));
}

#[test]
fn half_a_file_is_as_good_as_none() {
    let lives = Lives::new();
    let a = asked("main", "a");
    let life = lives.begin(&["web"]);
    note(&life, "web", &[(&a, "1")]);
    life.save();
    let text = lives.text("main").unwrap();
    for length in 0..text.len() - 1 {
        std::fs::write(lives.file("main"), &text[..length]).unwrap();
        assert_eq!(earlier(&lives.begin(&["web"]), "web", &a), None, "{length}");
    }
    let life = lives.begin(&["web"]);
    note(&life, "web", &[(&a, "2")]);
    life.save();
    assert_eq!(earlier(&lives.begin(&["web"]), "web", &a), Some(value("2")));
}

#[tokio::test]
async fn what_the_store_answers_is_noted_as_it_is_shown() {
    let store = Store::new();
    let main: Arc<str> = "main".into();
    let _wanted = store.add_registry(&main);
    let (reader, a) = (store.reader(), asked("main", "a"));
    reader.has_read(&reader.view(), [a.clone()].into());
    let lives = Lives::new();
    let shared = Arc::new(lives.begin(&["web"]));
    let recollection = Recollection { shared: shared.clone(), target: "web".into(), after: Duration::ZERO };
    let publish = |text: &str| {
        let result = Ok(Answer::new(answer(text).data.clone(), 1));
        store.publish(&main, vec![Reply { query: a.query.clone(), result }]);
    };
    publish("1");
    recollection.note(&reader.view(), &[&a].into());
    publish("2");
    let held = reader.view().showing([(a.clone(), answer("1"))].into());
    recollection.note(&held, &[&a].into());
    shared.save();
    assert_eq!(earlier(&lives.begin(&["web"]), "web", &a), Some(value("1")));
}
