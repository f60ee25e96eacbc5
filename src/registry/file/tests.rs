use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path as FilePath;
use std::time::Instant;

use rand::{Rng as _, SeedableRng as _};

use super::*;
use crate::registry::recorder::Running;

const WHILE: Duration = Duration::from_millis(250);

fn key(path: &str) -> Query {
    Query::Key(Path::parse(path).unwrap())
}

/// A registry that is only told by the kernel, never by the poll.
fn registry(path: impl Into<PathBuf>) -> FileRegistry {
    FileRegistry { poll_interval: Duration::from_secs(600), ..FileRegistry::new(path) }
}

/// The way most programs save: a file beside it, renamed over it.
fn save(path: &FilePath, text: &str) {
    let beside = path.with_extension("new");
    fs::write(&beside, text).unwrap();
    fs::rename(beside, path).unwrap();
}

#[tokio::test]
async fn a_change_of_the_file_is_one_publication_of_all_that_is_wanted() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("registry.yaml");
    fs::write(&path, "a: 1\nservices: {web: ['h:1']}\n").unwrap();
    let web = Query::Service(ServiceQuery::passing("web"));
    let mut running = Running::new(&registry(&path), [key("a"), web.clone()]);
    let first = running.publication().await;
    assert_eq!(first.len(), 2);
    save(&path, "a: 2\nservices: {web: ['h:2']}\n");
    let second = running.publication().await;
    assert_eq!(second.len(), 2);
    for (before, after) in first.iter().zip(&second) {
        let (before, after) = (before.result.as_ref().unwrap(), after.result.as_ref().unwrap());
        assert_ne!(before, after);
        assert!(before.revision < after.revision);
    }
    // Another want is answered alone, from what was read.
    running.want([key("a"), web, key("b")]);
    assert_eq!(running.text().await, None);
}

#[tokio::test]
async fn the_way_vim_saves_is_no_outage() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("registry.yaml");
    fs::write(&path, "a: 1\n").unwrap();
    let mut running = Running::new(&registry(&path), [key("a")]);
    assert_eq!(running.text().await.as_deref(), Some("1"));
    for round in 2..6 {
        // `:help backupcopy`: the file is moved aside, written anew, and the backup is removed.
        let backup = temp.path().join("registry.yaml~");
        fs::rename(&path, &backup).unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        fs::write(&path, format!("a: {round}\n")).unwrap();
        fs::remove_file(&backup).unwrap();
        assert_eq!(running.text().await, Some(round.to_string()));
    }
    running.silence(WHILE).await;
}

#[tokio::test]
async fn a_write_in_place_never_shows_half_of_it() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("registry.yaml");
    fs::write(&path, "a: 1\nb: 1\n").unwrap();
    let mut running = Running::new(&registry(&path), [key("b")]);
    assert_eq!(running.text().await.as_deref(), Some("1"));
    for round in 2..4 {
        let mut file = File::create(&path).unwrap();
        running.silence(WHILE).await;
        writeln!(file, "a: {round}").unwrap();
        running.silence(WHILE).await;
        writeln!(file, "b: {round}").unwrap();
        drop(file);
        assert_eq!(running.text().await, Some(round.to_string()));
    }
}

#[tokio::test]
async fn a_config_map_swap_is_one_change() {
    let temp = tempfile::tempdir().unwrap();
    let at = |name: &str| temp.path().join(name);
    fs::create_dir(at("..1")).unwrap();
    fs::write(at("..1/registry.yaml"), "a: 1\n").unwrap();
    symlink("..1", at("..data")).unwrap();
    symlink("..data/registry.yaml", at("registry.yaml")).unwrap();
    // Once as a file and once as the folder that it is mounted as.
    let mut file = Running::new(&registry(at("registry.yaml")), [key("a")]);
    let mut folder = Running::new(&registry(temp.path()), [key("a")]);
    assert_eq!(file.text().await.as_deref(), Some("1"));
    assert_eq!(folder.text().await.as_deref(), Some("1"));
    for round in 2..5 {
        let next = format!("..{round}");
        fs::create_dir(at(&next)).unwrap();
        fs::write(at(&next).join("registry.yaml"), format!("a: {round}\n")).unwrap();
        symlink(&next, at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert_eq!(file.text().await, Some(round.to_string()));
        assert_eq!(folder.text().await, Some(round.to_string()));
        fs::remove_dir_all(at(&format!("..{}", round - 1))).unwrap();
    }
    file.silence(WHILE).await;
}

#[tokio::test]
async fn a_missing_file_is_an_outage_until_it_is_there() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("folder/registry.yaml");
    let mut running = Running::new(&registry(&path), [key("a")]);
    assert!(running.outage().await.contains("folder/registry.yaml`: No such file"));
    fs::create_dir(temp.path().join("folder")).unwrap();
    fs::write(&path, "a: 1\n").unwrap();
    assert_eq!(running.text().await.as_deref(), Some("1"));
    fs::remove_file(&path).unwrap();
    assert!(running.outage().await.contains("No such file"));
    // The same outage is told once, however often the watch is run again.
    running.silence(WHILE).await;
    fs::write(&path, "a: 2\n").unwrap();
    assert_eq!(running.text().await.as_deref(), Some("2"));
}

#[tokio::test]
async fn a_file_that_is_wrong_says_where_until_it_is_right() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("registry.json");
    fs::write(&path, r#"{"a": 1}"#).unwrap();
    let mut running = Running::new(&registry(&path), [key("a")]);
    assert_eq!(running.text().await.as_deref(), Some("1"));
    for (text, place, reason) in [
        ("{\"a\": 1,\n \"a\": secret}", "2:7", "expected value"),
        ("", "1:1", "write `{}`"),
        ("{\"a\": {\"b\": 1},\n \"a/b\": 2}", "2:2", "key `a/b` is given twice"),
        ("\u{feff}{\"a\": 1", "1:7", "the text ends"),
    ] {
        save(&path, text);
        let outage = running.outage().await;
        assert!(outage.starts_with(&format!("{}:{place}: ", path.display())), "{outage}");
        assert!(outage.contains(reason) && !outage.contains("secret"), "{outage}");
    }
    fs::write(&path, b"{\"\xc3\xa4\": \"\xff\"}").unwrap();
    assert!(running.outage().await.ends_with(":1:8: this is not UTF-8"));
    save(&path, r#"{"a": 2}"#);
    assert_eq!(running.text().await.as_deref(), Some("2"));
}

#[tokio::test]
async fn a_folder_is_all_its_files() {
    let temp = tempfile::tempdir().unwrap();
    let at = |name: &str| temp.path().join(name);
    fs::create_dir(at("folder.yaml")).unwrap();
    let mut running = Running::new(&registry(temp.path()), [Query::Prefix(Path::root())]);
    assert!(running.outage().await.contains("put a file with `{}` there"));
    fs::write(at("b.toml"), "b = 1.10\n").unwrap();
    let keys = |data: Data| -> String {
        let Data::Prefix(entries) = data else { panic!("entries") };
        entries.iter().map(|entry| entry.path.as_str()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(keys(running.answer().await.unwrap()), "b");
    fs::write(at("a.yaml"), "a: 1\n").unwrap();
    assert_eq!(keys(running.answer().await.unwrap()), "a b");
    for ignored in [".c.yaml", "c.yaml~", "README"] {
        fs::write(at(ignored), "c: 1\n").unwrap();
    }
    running.silence(WHILE).await;
    fs::write(at("c.json"), "{\"a\": 1}").unwrap();
    let outage = running.outage().await;
    assert!(outage.contains("c.json:1:2: key `a` is given twice, first at "), "{outage}");
    assert!(outage.ends_with("a.yaml:1:1"), "{outage}");
    fs::remove_file(at("a.yaml")).unwrap();
    assert_eq!(keys(running.answer().await.unwrap()), "a b");
    fs::remove_file(at("c.json")).unwrap();
    assert_eq!(keys(running.answer().await.unwrap()), "b");
}

/// Whatever is done to the file in whatever order, the last answer is what stands in it in the end, and no answer shows
/// anything that was never whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_changes_end_in_what_is_there() {
    let seed: u64 = std::env::var("SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let temp = tempfile::tempdir().unwrap();
    let at = |name: &str| temp.path().join(name);
    fs::create_dir(at("folder")).unwrap();
    let path = at("folder/registry.yaml");
    fs::write(&path, "a: 0\nb: 0\n").unwrap();
    let mut running = Running::new(&registry(&path), [Query::Prefix(Path::root())]);
    running.answer().await.unwrap();
    // Rounds in which the machine stood still for so long that no watch could tell a writer from none.
    let mut stalled = BTreeSet::new();
    for round in 1..=300 {
        let start = Instant::now();
        let text = format!("a: {round}\nb: {round}\n");
        match random.random_range(0..7) {
            0 => save(&path, &text),
            1 => fs::write(&path, text).unwrap(),
            2 => {
                let mut file = File::create(&path).unwrap();
                write!(file, "a: {round}").unwrap();
                tokio::time::sleep(Duration::from_millis(1)).await;
                write!(file, "\nb: {round}\n").unwrap();
            }
            3 => {
                fs::rename(&path, at("aside")).unwrap();
                fs::write(&path, text).unwrap();
            }
            4 => {
                let target = format!("target{round}");
                fs::write(at(&target), text).unwrap();
                symlink(at(&target), at("link")).unwrap();
                fs::rename(at("link"), &path).unwrap();
            }
            5 => {
                fs::rename(at("folder"), at(&format!("old{round}"))).unwrap();
                fs::create_dir(at("folder")).unwrap();
                fs::write(&path, text).unwrap();
            }
            _ => {
                fs::remove_file(&path).unwrap();
                fs::write(at("beside"), text).unwrap();
                fs::hard_link(at("beside"), &path).unwrap();
                fs::remove_file(at("beside")).unwrap();
            }
        }
        if start.elapsed() > Duration::from_millis(50) {
            stalled.insert(round.to_string());
        }
        if random.random_bool(0.3) {
            tokio::time::sleep(Duration::from_micros(random.random_range(0..3000))).await;
        }
    }
    loop {
        // A busy disk may keep the file away for longer than the watch waits: an honest outage, and no wrong answer.
        let Some(mut publication) = running.publication_or_outage().await else { continue };
        let Data::Prefix(entries) = publication.remove(0).result.unwrap().data else { panic!("entries") };
        let texts: Vec<_> = entries.iter().map(|entry| String::from_utf8_lossy(&entry.value.0).into_owned()).collect();
        let whole = texts.len() == 2 && texts[0] == texts[1];
        assert!(whole || texts.iter().any(|text| stalled.contains(text)), "seed {seed}: {texts:?}");
        if texts[0] == "300" {
            break;
        }
    }
}

#[tokio::test]
async fn entries_that_stay_are_shared_between_answers() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("registry.yaml");
    fs::write(&path, "a: 1\nb: 1\n").unwrap();
    let mut running = Running::new(&registry(&path), [Query::Prefix(Path::root())]);
    let entries = |data: Data| -> Vec<Arc<Entry>> {
        let Data::Prefix(entries) = data else { panic!("entries") };
        entries
    };
    let first = entries(running.answer().await.unwrap());
    save(&path, "a: 1\nb: 2\n");
    let second = entries(running.answer().await.unwrap());
    assert!(Arc::ptr_eq(&first[0], &second[0]));
    assert!(!Arc::ptr_eq(&first[1], &second[1]));
}

#[expect(clippy::print_stdout, reason = "how fast it is depends on the machine: it is shown, not asserted")]
#[tokio::test]
async fn a_rename_save_is_answered_at_once() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("registry.yaml");
    fs::write(&path, "a: 0\n").unwrap();
    let mut running = Running::new(&registry(&path), [key("a")]);
    running.text().await;
    let mut times = Vec::new();
    for round in 1..=50 {
        let beside = path.with_extension("new");
        fs::write(&beside, format!("a: {round}\n")).unwrap();
        let start = Instant::now();
        fs::rename(beside, &path).unwrap();
        assert_eq!(running.text().await, Some(round.to_string()));
        times.push(start.elapsed());
    }
    times.sort_unstable();
    println!("rename to answer: median {:?}, worst {:?}", times[25], times[49]);
}

#[test]
fn what_only_consul_has_is_refused() {
    let registry = FileRegistry::new("registry.yaml");
    let (service, node) = (ServiceQuery::passing("web"), NodeQuery::named("n1"));
    for (query, refused) in [
        (Query::Service(service.clone()), None),
        (Query::Service(ServiceQuery { near: Some("n".into()), ..service.clone() }), Some("has no `near=`")),
        (
            Query::Service(ServiceQuery { datacenter: Some("d".into()), ..service.clone() }),
            Some("has no `datacenter=`"),
        ),
        (Query::Service(ServiceQuery { filter: Some("f".into()), ..service }), Some("has no `filter=`")),
        (Query::Nodes { datacenter: None }, None),
        (Query::Nodes { datacenter: Some("d".into()) }, Some("has no `datacenter=`")),
        (Query::Node(node.clone()), None),
        (Query::Node(NodeQuery { datacenter: Some("d".into()), ..node }), Some("has no `datacenter=`")),
        (Query::Datacenters, None),
    ] {
        assert_eq!(registry.supports(&query).err().as_deref(), refused, "{query}");
    }
}

#[test]
fn an_address_is_the_path() {
    let section: serde_yaml::Value = serde_yaml::from_str(&(KIND.from_address)("a \"b\"\t: c.yaml")).unwrap();
    assert_eq!(section["path"].as_str(), Some("a \"b\"\t: c.yaml"));
}

#[test]
fn the_section_is_read_and_its_problems_are_told() {
    let read = |text: &str| {
        let (registry, problems) =
            Section::of_text(text, &std::collections::BTreeMap::new(), FilePath::new("/etc/lc"), decode);
        let shown = registry.flatten().map(|registry| format!("{registry:?}"));
        (shown, problems.into_iter().map(|problem| problem.message).collect::<Vec<_>>().join("; "))
    };
    let expected = |registry: FileRegistry| (Some(format!("{registry:?}")), String::new());
    assert_eq!(read("path: a.yaml"), expected(FileRegistry::new("/etc/lc/a.yaml")));
    assert_eq!(
        read("{path: /a, prefix: /x/y/, strict: true, poll_interval: 2s}"),
        expected(FileRegistry {
            path: "/a".into(),
            prefix: Path::parse("x/y").unwrap(),
            strict: true,
            poll_interval: Duration::from_secs(2),
        })
    );
    for (text, problem) in [
        ("strict: true", "`path` is missing"),
        ("{path: a, prefix: a/../b}", "a path has no `.` or `..` segments"),
        ("{path: a, poll_interval: 0}", "`poll_interval` must be more than 0"),
        ("{path: a, paht: b}", "unknown key `paht`"),
    ] {
        assert_eq!(read(text).1, problem, "{text}");
    }
}
