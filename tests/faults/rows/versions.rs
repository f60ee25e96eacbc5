//! Another version of liveconf on the same state folder.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use super::killed::kill_before_the_reload;
use crate::scene::Scene;

const RECORD: &str = "state/program.json";

/// What another version makes of a state folder.
type Makes = (&'static str, fn(&Scene));

fn record(scene: &Scene) -> Value {
    serde_json::from_str(&scene.job.read(RECORD).unwrap()).unwrap()
}

fn with(scene: &Scene, change: impl FnOnce(&mut Value)) {
    let mut record = record(scene);
    change(&mut record);
    scene.job.write(RECORD, record.to_string());
}

/// A later version with more to tell, a later one with another form, an earlier one, and one that knows no records at all.
const VERSIONS: [Makes; 7] = [
    ("more keys", |scene| {
        with(scene, |record| {
            record["since"] = json!("2031-01-01T00:00:00Z");
            record["more"] = json!({"a": [1, 2, 3]});
        });
        scene.job.write("state/program.later", "of a later version");
        fs::create_dir_all(scene.job.folder().path("state/later/folder")).unwrap();
    }),
    ("a later form", |scene| with(scene, |record| record["version"] = json!(1_000))),
    ("an earlier form", |scene| with(scene, |record| record["version"] = json!(0))),
    ("a form that is not JSON", |scene| scene.job.write(RECORD, b"\x81\xa7version\x02\xff\x00")),
    ("nothing in the file", |scene| scene.job.write(RECORD, "")),
    ("no key", |scene| fs::remove_file(scene.job.folder().path("state/key")).unwrap()),
    ("no state", |scene| fs::remove_dir_all(scene.job.folder().path("state")).unwrap()),
];

/// Another version took over at rest, and between a file and its reload, with records that are older, newer or no records: files and program came to show the newest each time.
#[test]
fn row_52_another_version_on_the_same_state() {
    for (version, makes) in VERSIONS {
        println!("{version}");
        let scene = Scene::with_file("");
        let daemon = scene.start();
        scene.wait_for(1);
        daemon.stop();
        // At rest: nothing changed meanwhile.
        makes(&scene);
        let daemon = scene.start();
        scene.change(2);
        scene.wait_for_within(Duration::from_secs(5), 2);
        daemon.stop();
        // At rest: something changed meanwhile.
        makes(&scene);
        scene.change(3);
        let daemon = scene.start();
        scene.wait_for_within(Duration::from_secs(5), 3);
        // Between the file and its reload. A version that keeps no record leaves nothing that could be known.
        kill_before_the_reload(&scene, daemon, 4);
        if version != "no state" {
            makes(&scene);
        }
        let daemon = scene.start();
        scene.wait_for_within(Duration::from_secs(5), 4);
        daemon.stop();
        scene.assert_nothing_left();
        // And what it has written is read again: nothing is owed.
        let reloads = scene.reloads();
        scene.job.run(&["once"]).assert_code(0);
        assert_eq!(scene.reloads(), reloads, "{version}");
    }
}

/// The version before this one left its record of something owed, as it stands on disk: this one reads it and makes the reload.
#[test]
fn row_52_record_of_the_first_version() {
    let scene = Scene::with_file("");
    scene.job.run(&["once"]).assert_code(0);
    let reloads = scene.reloads();
    scene.job.write(RECORD, r#"{"version":1,"target":"program","settled":false}"#);
    scene.job.run(&["once"]).assert_code(0);
    crate::support::poll_until(crate::support::SOON, || match scene.reloads() {
        found if found > reloads => Ok(()),
        found => Err(format!("told {found} times")),
    });
}
