//! Somebody else at the files.

use std::fs;
use std::time::{Duration, Instant};

use crate::pace::either;
use crate::scene::{FILE, Scene};
use crate::support::poll_until;

/// The file was edited in place, removed, and replaced by rename, each time with the program told of it: within 65 s (the
/// short run needs two) it was back as it was, and the program was told.
#[test]
fn row_39_somebody_edits_or_removes_the_destination() {
    let scene = Scene::with_file(either("    drift_interval: 1s\n", ""));
    let mut daemon = scene.start();
    scene.wait_for(1);
    let (dest, other) = (scene.job.folder().path(FILE), scene.job.folder().path("other"));
    let edits: [(&str, &dyn Fn()); 3] = [
        ("edited", &|| fs::write(&dest, "00=7\n").unwrap()),
        ("removed", &|| fs::remove_file(&dest).unwrap()),
        ("replaced", &|| {
            fs::write(&other, "00=8\n").unwrap();
            fs::rename(&other, &dest).unwrap();
        }),
    ];
    for (what, edit) in edits {
        let (reloads, since) = (scene.reloads(), Instant::now());
        edit();
        poll_until(Duration::from_secs(65), || {
            scene.shows(1).map_err(|reason| format!("{what}: {reason}"))?;
            if scene.reloads() > reloads { Ok(()) } else { Err(format!("{what}: the program was not told")) }
        });
        println!("{what}: back after {:?}", since.elapsed());
    }
    assert_eq!(daemon.logged("which are put back").len(), 3, "{:#?}", daemon.log());
    // What comes next is written as ever.
    scene.change(2);
    scene.wait_for(2);
    assert!(daemon.is_running());
    scene.assert_nothing_left();
}

/// With `drift: report` an edited file stays as it is, which is logged once, until the data change.
#[test]
fn row_39_reported_and_left_alone() {
    let scene = Scene::with_file("    drift_interval: 100ms\n    drift: report\n");
    let mut daemon = scene.start();
    scene.wait_for(1);
    let reloads = scene.reloads();
    scene.job.write(FILE, "00=7\n");
    daemon.wait_for_log("which stay so");
    let since = Instant::now();
    // Ten looks later.
    poll_until(Duration::from_secs(10), || match since.elapsed() {
        passed if passed > Duration::from_secs(1) => Ok(()),
        passed => Err(format!("only {passed:?}")),
    });
    assert_eq!((scene.job.read(FILE).as_deref(), scene.reloads()), (Some("00=7\n"), reloads));
    assert_eq!(daemon.logged("which stay so").len(), 1, "{:#?}", daemon.log());
    scene.change(2);
    scene.wait_for(2);
}
