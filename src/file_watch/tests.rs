use std::collections::HashMap;
use std::fs::{self, File};
use std::future::Future;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::SystemTime;

use super::*;

/// Longer than any wait of the watch itself, so that only what never comes fails.
const SOON: Duration = Duration::from_secs(30);

struct Followed {
    temp: tempfile::TempDir,
    watch: FileWatch,
}

impl Followed {
    /// A temporary folder with some files in it, and a watch on a path in it.
    async fn new(files: &[&str], path: &str) -> Self {
        let temp = tempfile::tempdir().unwrap();
        for file in files {
            write_long_ago(&temp.path().join(file), "before");
        }
        let mut watch = FileWatch::new(Duration::from_secs(600));
        watch.follow([temp.path().join(path)]).await;
        Self { temp, watch }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    /// How long it takes until the change is told.
    async fn told(&mut self) -> Duration {
        let start = Instant::now();
        tokio::time::timeout(SOON, self.watch.changed()).await.expect("a change that is told");
        start.elapsed()
    }

    /// Asserts that nothing is told for a while.
    async fn quiet_for(&mut self, time: Duration) {
        assert!(is_pending(time, self.watch.changed()).await, "a change is told that does not concern the path");
    }
}

/// Waits until the kernel tells of all that is followed, while nothing changes. A busy machine may need another try.
async fn until_watched(watch: &mut FileWatch) {
    let deadline = Instant::now() + SOON;
    while let Some(problem) = &watch.armed.problem {
        assert!(Instant::now() < deadline, "{problem}");
        assert!(is_pending(GRACE, watch.changed()).await, "a change is told that is none");
    }
}

async fn is_pending(time: Duration, future: impl Future<Output = ()>) -> bool {
    tokio::time::timeout(time, future).await.is_err()
}

/// A file that its writer closed for sure.
fn write_long_ago(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() - SOON).unwrap();
}

/// The way most programs save: a file beside it, renamed over it.
fn save(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    fs::write(&beside, text).unwrap();
    fs::rename(beside, path).unwrap();
}

#[tokio::test]
async fn a_rename_save_is_told_again_and_again() {
    let mut followed = Followed::new(&["a", "b"], "a").await;
    for _ in 0..3 {
        save(&followed.at("a"), "after");
        followed.told().await;
        assert_eq!(followed.watch.read(|| 1).await, 1);
    }
    save(&followed.at("b"), "after");
    followed.quiet_for(GRACE * 2).await;
}

#[tokio::test]
async fn a_write_in_place_is_told_when_it_is_closed() {
    let mut followed = Followed::new(&["a"], "a").await;
    let mut file = File::create(followed.at("a")).unwrap();
    file.write_all(b"half").unwrap();
    followed.quiet_for(GRACE * 3).await;
    file.write_all(b"whole").unwrap();
    drop(file);
    followed.told().await;
    assert_eq!(followed.watch.read(|| 1).await, 1);
}

#[tokio::test]
async fn a_writer_that_never_closes_is_told_when_it_rests() {
    let mut followed = Followed::new(&["a"], "a").await;
    let mut file = File::options().append(true).open(followed.at("a")).unwrap();
    file.write_all(b"more").unwrap();
    assert!(followed.told().await >= OPEN_QUIET / 2);
    drop(file);
}

#[tokio::test]
async fn a_file_that_is_being_written_when_it_is_first_followed_is_read_again() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("a");
    let mut file = File::create(&path).unwrap();
    file.write_all(b"half").unwrap();
    let mut watch = FileWatch::new(Duration::from_secs(600));
    watch.follow([path.clone()]).await;
    file.write_all(b" and half").unwrap();
    drop(file);
    let text = watch.read(move || fs::read_to_string(path).unwrap()).await;
    assert_eq!(text, "half and half");
    // And when nobody tells, because it was whole already.
    let path = temp.path().join("b");
    fs::write(&path, "whole").unwrap();
    watch.follow([path]).await;
    tokio::time::timeout(SOON, watch.changed()).await.unwrap();
    assert!(is_pending(GRACE * 2, watch.changed()).await);
}

#[tokio::test]
async fn an_editor_that_moves_the_file_aside_tells_once() {
    let mut followed = Followed::new(&["a"], "a").await;
    fs::rename(followed.at("a"), followed.at("a~")).unwrap();
    assert!(is_pending(GRACE / 10, followed.watch.changed()).await);
    fs::write(followed.at("a"), "after").unwrap();
    fs::remove_file(followed.at("a~")).unwrap();
    followed.told().await;
    assert_eq!(fs::read_to_string(followed.at("a")).unwrap(), "after");
    followed.quiet_for(GRACE * 2).await;
}

#[tokio::test]
async fn deletion_and_creation_are_told() {
    let mut followed = Followed::new(&["a"], "a").await;
    fs::remove_file(followed.at("a")).unwrap();
    followed.told().await;
    fs::write(followed.at("a"), "again").unwrap();
    followed.told().await;
    fs::hard_link(followed.at("a"), followed.at("link")).unwrap();
    fs::remove_file(followed.at("a")).unwrap();
    followed.told().await;
    fs::hard_link(followed.at("link"), followed.at("a")).unwrap();
    followed.told().await;
}

#[tokio::test]
async fn a_config_map_swap_is_told() {
    let temp = tempfile::tempdir().unwrap();
    let at = |name: &str| temp.path().join(name);
    fs::create_dir(at("..1")).unwrap();
    fs::write(at("..1/a"), "1").unwrap();
    symlink("..1", at("..data")).unwrap();
    symlink("..data/a", at("a")).unwrap();
    let mut watch = FileWatch::new(Duration::from_secs(600));
    watch.follow([at("a")]).await;
    for version in 2..5 {
        let folder = format!("..{version}");
        fs::create_dir(at(&folder)).unwrap();
        fs::write(at(&folder).join("a"), folder.as_str()).unwrap();
        symlink(&folder, at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        fs::remove_dir_all(at(&format!("..{}", version - 1))).unwrap();
        tokio::time::timeout(SOON, watch.changed()).await.unwrap();
        assert_eq!(fs::read_to_string(at("a")).unwrap(), folder);
    }
}

#[tokio::test]
async fn a_file_in_a_missing_folder_is_awaited() {
    let mut followed = Followed::new(&[], "some/folder/a").await;
    fs::create_dir(followed.at("other")).unwrap();
    followed.quiet_for(GRACE * 2).await;
    fs::create_dir_all(followed.at("some/folder")).unwrap();
    followed.told().await;
    fs::write(followed.at("some/folder/a"), "here").unwrap();
    followed.told().await;
    fs::rename(followed.at("some"), followed.at("elsewhere")).unwrap();
    fs::remove_dir_all(followed.at("elsewhere")).unwrap();
    followed.told().await;
}

#[tokio::test]
async fn a_folder_that_is_replaced_is_watched_again() {
    let mut followed = Followed::new(&["a"], "a").await;
    let folder = followed.at("folder");
    fs::create_dir(&folder).unwrap();
    write_long_ago(&folder.join("b"), "before");
    // The folder above is watched as well, which tells of the folder a second time.
    let paths = ["a", "folder/b"].map(|name| followed.at(name));
    followed.watch.follow(paths).await;
    for round in 0..6 {
        if round % 2 == 0 {
            fs::create_dir(followed.at("next")).unwrap();
            write_long_ago(&followed.at("next/b"), "next");
            fs::rename(&folder, followed.at(&format!("before{round}"))).unwrap();
            fs::rename(followed.at("next"), &folder).unwrap();
        } else {
            // The new one may well get the inode of the old one.
            fs::remove_dir_all(&folder).unwrap();
            fs::create_dir(&folder).unwrap();
            write_long_ago(&folder.join("b"), "next");
        }
        followed.told().await;
        while !is_pending(GRACE * 2, followed.watch.changed()).await {}
        save(&folder.join("b"), "after");
        followed.told().await;
        until_watched(&mut followed.watch).await;
    }
}

#[tokio::test]
async fn a_folder_tells_of_names_that_matter() {
    let mut followed = Followed::new(&[], "").await;
    fs::write(followed.at(".a.swp"), "").unwrap();
    followed.quiet_for(GRACE * 2).await;
    fs::write(followed.at("a.yaml"), "").unwrap();
    followed.told().await;
    fs::remove_file(followed.at("a.yaml")).unwrap();
    followed.told().await;

    let folder = followed.at("");
    followed.watch = FileWatch::new(Duration::from_secs(600)).only(|name| name == "b");
    followed.watch.follow([folder]).await;
    fs::write(followed.at("a"), "").unwrap();
    followed.quiet_for(GRACE * 2).await;
    fs::write(followed.at("b"), "").unwrap();
    followed.told().await;
}

#[tokio::test]
async fn the_poll_finds_what_the_kernel_does_not_tell() {
    let temp = tempfile::tempdir().unwrap();
    let at = |name: &str| temp.path().join(name);
    for root in ["one", "two"] {
        fs::create_dir_all(at(root).join("folder")).unwrap();
        write_long_ago(&at(root).join("folder/a"), root);
    }
    let mut watch = FileWatch::new(Duration::from_millis(20));
    watch.follow([at("one/folder/a")]).await;
    assert!(is_pending(GRACE * 2, watch.changed()).await);
    // Nothing happens in the folder itself.
    fs::rename(at("one"), at("zero")).unwrap();
    fs::rename(at("two"), at("one")).unwrap();
    tokio::time::timeout(SOON, watch.changed()).await.unwrap();
    assert_eq!(fs::read_to_string(at("one/folder/a")).unwrap(), "two");
}

#[tokio::test]
async fn without_inotify_the_poll_alone_tells() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("a");
    write_long_ago(&path, "before");
    let mut watch = FileWatch::new(Duration::from_millis(20));
    watch.open = |_| Err(notify::Error::generic("refused"));
    watch.follow([path.clone()]).await;
    assert!(watch.armed.problem.is_some());
    for _ in 0..2 {
        save(&path, "after");
        tokio::time::timeout(SOON, watch.changed()).await.unwrap();
    }
    assert!(is_pending(GRACE * 2, watch.changed()).await);
    // As soon as the kernel gives one, it is used.
    watch.open = Watches::open;
    until_watched(&mut watch).await;
}

#[tokio::test]
async fn a_wait_that_is_dropped_loses_nothing() {
    let mut followed = Followed::new(&["a"], "a").await;
    save(&followed.at("a"), "after");
    for _ in 0..1000 {
        // Polled once, then dropped at whatever await it stands.
        if futures_util::FutureExt::now_or_never(followed.watch.changed()).is_some() {
            return;
        }
        tokio::task::yield_now().await;
    }
    followed.told().await;
}

/// Somebody who writes to a file without a pause until this is dropped, as a trace does.
struct Busy {
    stop: Arc<AtomicBool>,
    writes: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Busy {
    fn new(path: PathBuf) -> Self {
        let (stop, writes) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (ended, count) = (stop.clone(), writes.clone());
        let work = move || {
            let mut file = File::create(&path).unwrap();
            while !ended.load(Ordering::Relaxed) {
                file.write_all(b"x").unwrap();
                // Another event in between, or the kernel would merge those that nobody has read yet.
                if count.fetch_add(1, Ordering::Relaxed) % 10 == 0 {
                    file = File::create(&path).unwrap();
                }
            }
        };
        Self { stop, writes, thread: Some(std::thread::spawn(work)) }
    }

    fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

#[tokio::test]
async fn a_busy_folder_costs_nothing_and_hides_nothing() {
    let mut followed = Followed::new(&["a"], "a").await;
    let busy = Busy::new(followed.at("trace"));
    followed.quiet_for(Duration::from_secs(1)).await;
    assert_eq!(followed.watch.told.size(), 0);
    for round in 0..3 {
        save(&followed.at("a"), "after");
        assert!(followed.told().await < Duration::from_secs(1));
        let path = followed.at("a");
        let start = Instant::now();
        assert_eq!(followed.watch.read(move || fs::read_to_string(path).unwrap()).await, "after");
        assert!(start.elapsed() < Duration::from_secs(1));
        assert!(followed.watch.armed.problem.is_none(), "round {round}");
    }
    followed.quiet_for(GRACE).await;
    assert_eq!(followed.watch.told.size(), 0);
    assert!(busy.writes() > 10_000, "{} writes are not busy", busy.writes());
}

#[tokio::test]
async fn other_folders_are_followed_while_one_is_busy() {
    let mut followed = Followed::new(&["a"], "a").await;
    fs::create_dir(followed.at("folder")).unwrap();
    write_long_ago(&followed.at("folder/b"), "before");
    let busy = Busy::new(followed.at("trace"));
    let paths = ["a", "folder/b"].map(|name| followed.at(name));
    followed.watch.follow(paths.clone()).await;
    for path in &paths {
        save(path, "after");
        assert!(followed.told().await < BUSY_LIMIT + POLL_INTERVAL_ALONE * 2);
    }
    drop(busy);
}

#[tokio::test]
async fn folders_that_cannot_be_watched_yet_are_polled() {
    let mut followed = Followed::new(&["a"], "a").await;
    fs::create_dir(followed.at("folder")).unwrap();
    write_long_ago(&followed.at("folder/b"), "before");
    // As long as this takes, nothing else can be watched.
    let taken = followed.watch.watches.clone().unwrap().lock_owned().await;
    let paths = ["a", "folder/b"].map(|name| followed.at(name));
    followed.watch.follow(paths.clone()).await;
    assert!(followed.watch.armed.problem.is_some());
    for path in &paths {
        save(path, "after");
        followed.told().await;
    }
    drop(taken);
    save(&paths[1], "after");
    followed.told().await;
    assert!(followed.watch.armed.problem.is_none());
    save(&paths[1], "after");
    assert!(followed.told().await < POLL_INTERVAL_ALONE);
}

#[tokio::test]
async fn when_a_call_is_told_so_is_all_that_happened_before() {
    let followed = Followed::new(&["a"], "a").await;
    let told = &followed.watch.told;
    for _ in 0..100 {
        let mut file = File::create(followed.at("a")).unwrap();
        file.write_all(b"half").unwrap();
        told.call(followed.temp.path());
        timeout(SOON, told.echoed()).await.unwrap();
        assert!(!told.is_at_rest());
        drop(file);
        told.call(followed.temp.path());
        timeout(SOON, told.echoed()).await.unwrap();
        assert!(told.is_at_rest() && told.take_changed());
    }
}

#[tokio::test]
async fn lost_events_are_a_change_only_if_something_changed() {
    let mut followed = Followed::new(&["a"], "a").await;
    let lost = || Ok(notify::Event::new(notify::EventKind::Other).set_flag(notify::event::Flag::Rescan));
    followed.watch.told.hear(lost());
    followed.quiet_for(GRACE * 3).await;
    // The kernel tells nothing of what happens now.
    let path = followed.at("");
    followed.watch.watches.as_ref().unwrap().lock().await.keep(&HashMap::new());
    save(&path.join("a"), "after");
    followed.quiet_for(GRACE * 2).await;
    followed.watch.told.hear(lost());
    assert!(followed.told().await < GRACE * 10);

    let mut followed = Followed::new(&["a"], "").await;
    followed.watch.told.hear(lost());
    followed.told().await;
}

#[tokio::test]
async fn what_is_told_is_kept_within_bounds() {
    // Nobody takes up what is told.
    let followed = Followed::new(&["a"], "").await;
    let open: Vec<_> = (0..2000).map(|number| File::create(followed.at(&format!("b{}", number % 1500)))).collect();
    let deadline = Instant::now() + SOON;
    while followed.watch.told.size() < told::MAX_UNSETTLED {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(open);
    let followed_by_name = Followed::new(&["a"], "a").await;
    for _ in 0..2000 {
        fs::write(followed_by_name.at("a"), "after").unwrap();
        assert!(followed_by_name.watch.told.size() <= 1);
    }
}
