//! Disks that are full, broken, or read-only.

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rustix::fs::IFlags;
use rustix::io::Errno;

use super::killed::kill_before_the_reload;
use crate::alone::{Namespace, is_alone, needs_root, run};
use crate::pace;
use crate::scene::{FILE, Scene};
use crate::support::folder::Folder;
use crate::support::liveconf::Daemon;
use crate::support::process::search_path;
use crate::support::strace::Strace;
use crate::support::{SOON, poll_until};

/// Pauses between tries that are short in the short run, and those of the defaults in the full one.
fn retry() -> &'static str {
    pace::either("    retry: 100ms..1s\n", "")
}

/// How long a fault lasts.
fn while_it_lasts() -> Duration {
    Duration::from_secs(pace::either(4, 90))
}

/// The longest pause between two tries of an apply.
fn longest_pause() -> Duration {
    Duration::from_secs(pace::either(1, 30))
}

/// A tmpfs of 64 KiB on a folder, in a mount namespace of our own.
pub(super) fn small_disk(folder: &Path) {
    run("mount", &["-t", "tmpfs", "-o", "size=64k,mode=755", "none", folder.to_str().unwrap()]);
}

/// Fills a disk to its last byte, and shows that it is full.
pub(super) fn fill(folder: &Path) {
    let mut filler = File::create(folder.join("filler")).unwrap();
    while filler.write_all(&[0; 1024]).is_ok() {}
    let refused = File::create(folder.join("probe")).and_then(|mut probe| probe.write_all(&[0; 1024])).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(Errno::NOSPC.raw_os_error()));
    fs::remove_file(folder.join("probe")).unwrap();
}

pub(super) fn make_room(folder: &Path) {
    fs::remove_file(folder.join("filler")).unwrap();
}

/// Fails unless the log has one line about a target that cannot be applied, and one more for each minute that it lasted
/// `since`, and they say this.
#[track_caller]
fn assert_told_once(daemon: &Daemon, since: Instant, reason: &str) {
    let told = daemon.logged("not applied");
    let most = 1 + usize::try_from(since.elapsed().as_secs() / 60).unwrap();
    assert!((1..=most).contains(&told.len()) && told.iter().all(|line| line.contains(reason)), "{told:#?}");
}

/// Waits until the log says that a target cannot be applied, and on while the fault lasts.
fn stays_broken(daemon: &mut Daemon) -> Instant {
    let since = Instant::now();
    daemon.wait_for_log("not applied");
    // The time is what is tested: nothing is to happen in it.
    std::thread::sleep(while_it_lasts().saturating_sub(since.elapsed()));
    since
}

/// The disk of the destination fills up, and has room again later.
fn full_disk_under_the_file(unprotected: &str) -> Result<(), String> {
    let scene = Scene::with_file(retry());
    let out = scene.job.folder().path("out");
    small_disk(&out);
    let daemon = scene.start();
    scene.wait_for(1);
    daemon.stop();
    let mut daemon = scene.start_without(unprotected);
    let reader = scene.reader();
    fill(&out);
    // More than a page, which is what a program frees that truncates the old file first.
    scene.change_to(&format!("{:0200}", 2));
    let since = stays_broken(&mut daemon);
    if scene.shown() != Some(1) {
        return Err(format!("the old file is gone: {:?}", scene.job.read(FILE).map(|text| text.len())));
    }
    assert_eq!(scene.served(), Some(1));
    scene.assert_nothing_left();
    assert_told_once(&daemon, since, "No space left on device");

    make_room(&out);
    let freed = Instant::now();
    scene.comes_to(longest_pause() + Duration::from_secs(5), 2)?;
    println!("converged {:?} after there was room", freed.elapsed());
    reader.stop().assert_always_whole();
    scene.assert_nothing_left();
    daemon.stop();
    Ok(())
}

/// The disk of the destination was full, and later had room: the old file stayed whole and alone, one error was logged, and the new file came by itself.
#[test]
fn row_33_full_disk_under_the_file() {
    if is_alone(&[Namespace::Mount]) {
        full_disk_under_the_file("").unwrap();
    }
}

/// The same check fails when the file is written in place instead of beside.
#[test]
fn row_33_without_staging_the_check_fails() {
    if is_alone(&[Namespace::Mount]) {
        let failure = full_disk_under_the_file("staging").unwrap_err();
        assert!(failure.contains("the old file is gone"), "{failure}");
    }
}

/// The state folder was full, then broken (EIO), then full at a start: files and reloads went on, and nothing was lost or left undone.
#[test]
fn row_34_state_folder_full_or_broken() {
    if !is_alone(&[Namespace::Mount]) {
        return;
    }
    let scene = Scene::with_file(retry());
    let state = scene.job.folder().path("state");
    fs::create_dir(&state).unwrap();
    small_disk(&state);
    let mut daemon = scene.start();
    scene.wait_for(1);
    let reader = scene.reader();

    fill(&state);
    for generation in 2..=4 {
        scene.change(generation);
        scene.wait_for(generation);
    }
    daemon.wait_for_log("cannot use the state folder");
    // Where one write fails its record is emptied, which makes room for the next.
    let told = daemon.logged("cannot use the state folder").len();
    assert!((1..=3).contains(&told), "{told} times");
    // An end before the reload, and a start that finds it full: what it does not know counts as owed.
    kill_before_the_reload(&scene, daemon, 5);
    let daemon = scene.start();
    scene.wait_for(5);
    make_room(&state);
    scene.change(6);
    scene.wait_for(6);
    daemon.stop();

    // The disk fails whatever is written to the folder.
    let mut daemon = scene.start();
    scene.change(7);
    scene.wait_for(7);
    let traces = Folder::new();
    let broken = ["-e", "trace=write,openat,rename,unlink", "-P"];
    let record = state.join("program.new");
    let arguments = [&broken[..], &[record.to_str().unwrap(), "-e", "inject=openat,write,rename:error=EIO"]].concat();
    let strace = Strace::with(daemon.id(), traces.path("trace"), &arguments);
    for generation in 8..=10 {
        scene.change(generation);
        scene.wait_for(generation);
    }
    daemon.wait_for_log("cannot use the state folder");
    assert!(!strace.lines(&["EIO", "INJECTED"]).is_empty(), "the fault was never in force");
    strace.end();
    kill_before_the_reload(&scene, daemon, 11);
    let mut daemon = scene.start();
    scene.wait_for(11);
    assert!(daemon.is_running());
    reader.stop().assert_always_whole();
    daemon.stop();
}

/// Tears the file, unless that is forbidden.
fn tear(out: &Path) -> std::io::Result<()> {
    fs::write(out.join("app.conf"), "torn")
}

/// Makes another file beside it, unless that is forbidden.
fn make_another(out: &Path) -> std::io::Result<()> {
    fs::write(out.join("another"), "torn")
}

/// Puts a fault in force that forbids the replacement, which `probe` shows, counts the tries, and takes it back.
fn forbidden(
    scene: &Scene,
    (errno, name): (Errno, &str),
    probe: fn(&Path) -> std::io::Result<()>,
    fault: impl FnOnce(&Path),
    relief: impl FnOnce(&Path),
) {
    let out = scene.job.folder().path("out");
    let before = scene.shown().unwrap();
    let mut daemon = scene.start();
    scene.wait_for(before);
    let reader = scene.reader();
    let traces = Folder::new();
    let strace = Strace::with(daemon.id(), traces.path("trace"), &["-e", "trace=openat,rename,renameat,renameat2"]);
    fault(&out);
    let refused = probe(&out).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(errno.raw_os_error()));
    scene.change(before + 1);
    let since = stays_broken(&mut daemon);
    let lasted = since.elapsed();
    let tries = strace.lines(&[name, "app.conf"]).len();
    strace.end();
    let allowed = 1 + usize::try_from(lasted.as_millis() / longest_pause().as_millis()).unwrap();
    assert!((1..=allowed).contains(&tries), "{tries} tries in {lasted:?}");
    assert_eq!((scene.shown(), scene.served()), (Some(before), Some(before)));
    assert_told_once(&daemon, since, &format!("(os error {})", errno.raw_os_error()));

    relief(&out);
    scene.wait_for_within(longest_pause() + Duration::from_secs(5), before + 1);
    println!("{name}: {tries} tries in {lasted:?}");
    reader.stop().assert_always_whole();
    scene.assert_nothing_left();
    daemon.stop();
}

/// The file system became read-only, the file immutable, the folder immutable: at most two tries a minute, the old file stayed, and the new one came once it was allowed.
#[test]
fn row_35_destination_read_only_or_immutable() {
    if !is_alone(&[Namespace::Mount]) {
        return;
    }
    needs_root("only root makes a file immutable");
    let scene = Scene::with_file(retry());
    let daemon = scene.start();
    scene.wait_for(1);
    daemon.stop();
    let flags = |path: &Path, flags: IFlags| rustix::fs::ioctl_setflags(File::open(path).unwrap(), flags).unwrap();
    let file = |out: &Path| out.join("app.conf");
    let immutable = |path: &Path| flags(path, IFlags::IMMUTABLE);
    let free = |path: &Path| flags(path, IFlags::empty());
    forbidden(&scene, (Errno::PERM, "EPERM"), tear, |out| immutable(&file(out)), |out| free(&file(out)));
    forbidden(&scene, (Errno::PERM, "EPERM"), make_another, immutable, free);
    let shown = scene.job.folder().path("out").to_str().unwrap().to_owned();
    run("mount", &["--bind", &shown, &shown]);
    let mode = |mode: &str| _ = run("mount", &["-o", &format!("remount,bind,{mode}"), &shown]);
    forbidden(&scene, (Errno::ROFS, "EROFS"), tear, |_| mode("ro"), |_| mode("rw"));
}

/// A disk of its own on a folder, in a mount namespace of our own, that can be frozen: whoever writes to it then hangs, and
/// no signal ends that. Dropped, it answers again, also where the test failed.
struct FreezingDisk(PathBuf);

impl FreezingDisk {
    fn on(scene: &Scene, folder: &Path) -> Self {
        needs_root("only root freezes a disk");
        let image = scene.job.folder().path("image");
        File::create(&image).unwrap().set_len(16 << 20).unwrap();
        run("mkfs.ext4", &["-q", "-F", image.to_str().unwrap()]);
        run("mount", &["-o", "loop", image.to_str().unwrap(), folder.to_str().unwrap()]);
        fs::set_permissions(folder, Permissions::from_mode(0o700)).unwrap();
        Self(folder.to_owned())
    }

    fn freeze(&self) {
        run("fsfreeze", &["--freeze", self.0.to_str().unwrap()]);
    }

    fn thaw(&self) {
        run("fsfreeze", &["--unfreeze", self.0.to_str().unwrap()]);
    }
}

impl Drop for FreezingDisk {
    fn drop(&mut self) {
        let _ = Command::new("fsfreeze").arg("--unfreeze").arg(&self.0).env("PATH", search_path()).output();
    }
}

/// What `status` says, once there is somebody to ask.
fn status(scene: &Scene) -> serde_json::Value {
    poll_until(SOON, || {
        let output = scene.job.run(&["status", "--json"]);
        serde_json::from_str(&output.stdout).map_err(|_| output.stderr)
    })
}

/// The disk of the state folder froze: files and reloads went on without it after 2 s, which log and `status` said; when it answered again the records were brought up to date, and a crash meanwhile lost no reload.
#[test]
fn row_34_state_folder_hangs() {
    if !is_alone(&[Namespace::Mount]) {
        return;
    }
    let scene = Scene::with_file(retry());
    let state = scene.job.folder().path("state");
    fs::create_dir(&state).unwrap();
    let disk = FreezingDisk::on(&scene, &state);
    let mut daemon = scene.start();
    scene.wait_for(1);
    let reader = scene.reader();
    assert_eq!(status(&scene)["state_folder_hangs"], serde_json::Value::Null);

    disk.freeze();
    for generation in 2..=4 {
        let since = Instant::now();
        scene.change(generation);
        scene.wait_for_within(Duration::from_secs(10), generation);
        println!("generation {generation} served {:?} after its change", since.elapsed());
    }
    let line = daemon.wait_for_log("the disk of the state folder has not answered for 2s");
    assert!(line.contains("files and reloads go on without it"), "{line}");
    let shown = status(&scene);
    assert!(shown["state_folder_hangs"].is_string() && shown["well"] == false, "{shown:#}");
    assert_eq!(daemon.logged("has not answered").len(), 1, "{:#?}", daemon.log());

    disk.thaw();
    daemon.wait_for_log("the state folder can be used again");
    let record = || fs::read_to_string(state.join("program.json")).unwrap();
    assert!(record().contains("\"settled\":true"), "{}", record());
    assert_eq!(status(&scene)["state_folder_hangs"], serde_json::Value::Null);
    // The record is that of generation 4: nothing is owed.
    let reloads = scene.reloads();
    daemon.kill();
    let mut daemon = scene.start();
    poll_until(SOON, || match &status(&scene)["targets"][0]["state"] {
        state if *state == "settled" => Ok(()),
        state => Err(state.to_string()),
    });
    assert_eq!((scene.reloads(), scene.served()), (reloads, Some(4)));

    // An end meanwhile, before the reload: the next start finds another file than its record knows.
    disk.freeze();
    scene.change(5);
    scene.wait_for_within(Duration::from_secs(10), 5);
    scene.change(6);
    scene.wait_for_within(Duration::from_secs(10), 6);
    let reloads = scene.reloads();
    daemon.signal(Signal::SIGKILL);
    disk.thaw();
    assert_eq!(daemon.wait(SOON), 128 + 9);
    let daemon = scene.start();
    poll_until(SOON, || if scene.reloads() > reloads { Ok(()) } else { Err("the reload was lost".to_owned()) });
    scene.change(7);
    scene.wait_for(7);
    daemon.stop();

    // A start that finds it so knows nothing, and reloads rather once too often.
    if pace::either(false, true) {
        disk.freeze();
        let since = Instant::now();
        let mut daemon = scene.start();
        scene.change(8);
        scene.wait_for_within(Duration::from_secs(20), 8);
        println!("generation 8 served {:?} after the start", since.elapsed());
        disk.thaw();
        daemon.wait_for_log("the state folder can be used again");
        daemon.stop();
    }
    reader.stop().assert_always_whole();
}
