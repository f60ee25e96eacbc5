//! Destinations that are no plain files, or do not stay so.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::alone::{Namespace, is_alone, needs_root, run};
use crate::pace;
use crate::scene::{FILE, Scene};
use crate::support::folder::Folder;
use crate::support::liveconf::Job;
use crate::support::strace::Strace;
use crate::support::{SOON, poll_until};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A target of one file on a file registry, with more keys of its template.
fn job(template: &str) -> Job {
    Job::new(&config(template)).with("registry/registry.yaml", "x: first\n")
}

fn config(template: &str) -> String {
    format!(
        "registries: {{local: {{file: {{path: registry/registry.yaml}}}}}}
targets:
  program:
    templates: [{{content: '{{{{ key(path=\"x\") }}}}', dest: out/app.conf{template}}}]
    wait: 0
    reload_interval: 0
    retry: 20ms..200ms
"
    )
}

/// A file was mounted alone: it was refused with a hint, then written into on request; on a full or failing disk its old content came back every time.
#[test]
fn row_36_destination_is_a_mounted_file() {
    if !is_alone(&[Namespace::Mount]) {
        return;
    }
    // What fails is not tried again by itself, so that it can be seen what it left.
    let patient = |config: String| config.replace("20ms..200ms", "1h");
    let job = job("");
    job.write("liveconf.yaml", patient(config("")));
    let folder = job.folder();
    for name in ["disk", "out"] {
        fs::create_dir(folder.path(name)).unwrap();
    }
    let (disk, dest) = (folder.path("disk"), folder.path("out/app.conf"));
    run("mount", &["-t", "tmpfs", "-o", "size=1m", "none", text(&disk)]);
    fs::write(disk.join("app.conf"), "old").unwrap();
    fs::write(&dest, "").unwrap();
    run("mount", &["--bind", text(&disk.join("app.conf")), text(&dest)]);
    let content = || job.read("out/app.conf").unwrap();

    let mut daemon = job.start(&["run"]);
    daemon.wait_for_log("it is a mount point");
    assert_eq!((content().as_str(), folder.names("out")), ("old", vec!["app.conf".to_owned()]));
    job.write("liveconf.yaml", patient(config(", in_place: true")));
    daemon.signal(Signal::SIGHUP);
    job.wait_for("out/app.conf", "first");

    // In turn more than fits, and a disk that fails in the middle.
    let traces = Folder::new();
    for round in 0..pace::either(6, 100) {
        if round % 2 == 0 {
            // It tells of a few failures a minute, and here each is waited for.
            daemon.stop();
            daemon = job.start(&["run"]);
        }
        let small = format!("{round}-").repeat(100 + 37 * round % 4000);
        job.write("registry/registry.yaml", format!("x: {small}\n"));
        job.wait_for("out/app.conf", &small);
        let failures = daemon.logged("not applied").len();
        let refused = format!("{round}+").repeat(if round % 2 == 0 { 600_000 } else { 100_000 });
        // Of all that is written, the writes into the live file are those to `app.conf`; the copy of what it holds comes
        // first. When the second fails the first 128 KiB of the new content are in the file.
        let fail = ["-e", "trace=pwrite64", "-P", text(&dest), "-e", "inject=pwrite64:error=EIO:when=2"];
        let strace = (round % 2 == 1).then(|| Strace::with(daemon.id(), traces.path("trace"), &fail));
        job.write("registry/registry.yaml", format!("x: {refused}\n"));
        poll_until(SOON, || if daemon.logged("not applied").len() > failures { Ok(()) } else { Err("applied".into()) });
        let reason = daemon.logged("not applied").pop().unwrap();
        if let Some(strace) = strace {
            assert!(reason.contains("Input/output error"), "{reason}");
            assert!(!strace.lines(&["EIO", "INJECTED"]).is_empty());
            assert!(!strace.lines(&["pwrite64(", ", 131072, 0) = 131072"]).is_empty(), "nothing was written before");
            strace.end();
        } else {
            assert!(reason.contains("No space left on device"), "{reason}");
        }
        assert!(content() == small, "the old content is to be there, and not {} bytes", content().len());
        poll_until(SOON, || match folder.names("out") {
            names if names == ["app.conf"] => Ok(()),
            names => Err(format!("left behind: {names:?}")),
        });
    }
    assert_eq!(fs::metadata(&dest).unwrap().ino(), fs::metadata(disk.join("app.conf")).unwrap().ino());
    daemon.stop();
}

/// A folder was exchanged for a symlink to another one, again and again during applies: each apply stayed within one of the two, whole, and left nothing in either.
#[test]
fn row_37_folder_exchanged_for_a_symlink() {
    let scene = Scene::with_file("    retry: 1ms..5ms\n");
    let folder = scene.job.folder();
    let (out, link, elsewhere) = (folder.path("out"), folder.path("link"), folder.path("elsewhere"));
    fs::create_dir(&elsewhere).unwrap();
    let daemon = scene.start();
    scene.wait_for(1);
    fs::copy(out.join("app.conf"), elsewhere.join("app.conf")).unwrap();
    symlink("elsewhere", &link).unwrap();
    let reader = scene.reader();
    let stop = AtomicBool::new(false);
    let rounds = pace::either(1_000, 5_000);
    let mut generation = 1;
    let generation_in =
        |place: &str| scene.job.read(&format!("{place}/app.conf")).as_deref().and_then(Scene::generation_of);
    let began = Instant::now();
    thread::scope(|scope| {
        let exchanges = scope.spawn(|| {
            // There and back; and on until an apply has met the other folder.
            let mut done = 0;
            while done < rounds || generation_in("elsewhere") == Some(1) && began.elapsed() < SOON {
                for _ in 0..2 {
                    renameat_with(CWD, &out, CWD, &link, RenameFlags::EXCHANGE).unwrap();
                    thread::sleep(Duration::from_micros(300));
                }
                done += 1;
            }
            stop.store(true, Ordering::Relaxed);
        });
        while !stop.load(Ordering::Relaxed) {
            generation += 1;
            scene.change(generation);
            thread::sleep(Duration::from_millis(2));
        }
        exchanges.join().unwrap();
    });
    // An even number of exchanges: everything is where it was.
    assert!(fs::symlink_metadata(&out).unwrap().is_dir());
    // Now the destination in `out` is what is looked at; the last apply may have written the other.
    generation += 1;
    scene.change(generation);
    scene.wait_for(generation);
    reader.stop().assert_always_whole();
    for place in ["out", "elsewhere"] {
        assert_eq!(folder.names(place), ["app.conf"], "{place}");
        let found = generation_in(place);
        assert!(found.is_some_and(|found| found > 1), "no apply met `{place}`: {found:?}");
    }
    daemon.stop();
}

/// In a folder like /tmp a stranger put symlinks to a file elsewhere in the place of a destination, thousands of times during applies: not one write went there.
#[test]
fn row_37_destination_exchanged_for_a_symlink_by_a_stranger() {
    const STRANGER: u32 = 65_534;
    needs_root("only root gives a symlink to another user");
    let job = job("");
    let folder = job.folder();
    for name in ["out", "victims", "traps"] {
        fs::create_dir(folder.path(name)).unwrap();
    }
    fs::set_permissions(folder.path("out"), fs::Permissions::from_mode(0o1777)).unwrap();
    let victim = folder.path("victims/shadow");
    fs::write(&victim, "precious").unwrap();
    let before = fs::metadata(&victim).unwrap();
    let (dest, trap) = (folder.path("out/app.conf"), folder.path("traps/link"));
    let daemon = job.start(&["run"]);
    job.wait_for("out/app.conf", "first");

    let stop = AtomicBool::new(false);
    let mut written = 0;
    thread::scope(|scope| {
        let stranger = scope.spawn(|| {
            for _ in 0..pace::either(2_000, 10_000) {
                // Made elsewhere, so that it never belongs to us in that folder.
                symlink(&victim, &trap).unwrap();
                lchown(&trap, Some(STRANGER), Some(STRANGER)).unwrap();
                #[expect(clippy::disallowed_methods, reason = "this is whom the destination is to be safe from")]
                fs::rename(&trap, &dest).unwrap();
                thread::sleep(Duration::from_micros(200));
                let _ = fs::remove_file(&dest);
                thread::sleep(Duration::from_micros(200));
            }
            stop.store(true, Ordering::Relaxed);
        });
        while !stop.load(Ordering::Relaxed) {
            written += 1;
            job.write("registry/registry.yaml", format!("x: {written}\n"));
            thread::sleep(Duration::from_millis(2));
        }
        stranger.join().unwrap();
    });
    let after = fs::metadata(&victim).unwrap();
    assert_eq!(job.read("victims/shadow").as_deref(), Some("precious"));
    assert_eq!(
        (after.ino(), after.mode(), after.uid(), after.mtime_nsec()),
        (before.ino(), before.mode(), before.uid(), before.mtime_nsec())
    );
    assert_eq!(folder.names("victims"), ["shadow"]);
    // The fault was in force: links were refused, and files were written between them.
    assert!(!daemon.logged(&format!("it belongs to user {STRANGER}")).is_empty());
    assert!(daemon.logged("wrote").len() > 10);
    job.write("registry/registry.yaml", "x: last\n");
    job.wait_for(FILE, "last");
    assert_eq!(folder.names("out"), ["app.conf"]);
    daemon.stop();
}
