//! Hostile names, and folders that are not fit: nothing is made outside of the folder, and the error says what to do.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use notify::{RecursiveMode, Watcher as _};

use super::wait_for_state;
#[cfg(feature = "etcd")]
use crate::support::etcd::Etcd;
use crate::support::liveconf::Job;
use crate::support::{SOON, poll_until};

/// What a registry may say for the name of a file.
fn hostile() -> Vec<String> {
    let names = [
        "../outside",
        "../../outside",
        "/tmp/outside-of-liveconf",
        "a/b",
        "./a",
        "a/",
        "",
        ".",
        "..",
        "a\\\\nb",
        "a\\\\n",
        "a\\\\u0001b",
        "a\\\\u0000",
        "\\\\u202egnp.exe",
        "a\\\\u200bb",
        "-rf",
        ".x.liveconf-0123456789abcdef",
        "good",
    ];
    names.iter().map(|name| name.replace("\\\\", "\\")).chain(["x".repeat(300), "é".repeat(128)]).collect()
}

fn job(registry: &str) -> Job {
    Job::new(&format!(
        "registries: {{main: {{{registry}}}}}
targets:
  sites:
    templates:
      - for_each: key(path=\"sites\") | from_json
        content: '{{{{ item | length }}}} {{{{ key(path=\"version\") }}}}'
        dest: 'deep/er/out/{{{{ item }}}}'
    wait: 0
    reload_interval: 0
    retry: 20ms..50ms
"
    ))
    .with("deep/er/out/other", "somebody else's")
}

/// Runs with every hostile name beside a good one, `put` brings both to the registry.
fn touches_nothing_outside(job: &Job, put: &dyn Fn(&str, &str)) {
    let seen: Arc<Mutex<Vec<PathBuf>>> = Arc::default();
    let note = seen.clone();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let event = event.unwrap();
        if !event.kind.is_access() {
            note.lock().unwrap().extend(event.paths);
        }
    })
    .unwrap();
    let out = job.folder().path("deep/er/out");
    for folder in ["deep", "deep/er", "deep/er/out"] {
        watcher.watch(&job.folder().path(folder), RecursiveMode::NonRecursive).unwrap();
    }
    put("[\"good\"]", "0");
    let daemon = job.start(&["run"]);
    job.wait_for("deep/er/out/good", "4 0");
    for (round, name) in (1..).zip(hostile()) {
        put(&format!("[\"good\", \"{name}\"]"), &round.to_string());
        wait_for_state(job, "failed");
        assert_eq!(job.folder().names("deep/er/out"), ["good", "other"], "{name:?}");
        put("[\"good\"]", &round.to_string());
        job.wait_for("deep/er/out/good", &format!("4 {round}"));
        wait_for_state(job, "settled");
    }
    for line in daemon.log() {
        assert!(!line.contains("outside") && !line.contains("xxx") && !line.contains('\u{202e}'), "{line}");
    }
    daemon.stop();
    drop(watcher);
    let seen = seen.lock().unwrap();
    let is_known = |path: &&PathBuf| {
        let name = path.strip_prefix(&out).ok().and_then(|name| name.to_str());
        name.is_some_and(|name| name == "good" || name.starts_with(".good.liveconf-"))
    };
    assert!(seen.iter().any(|path| path.ends_with("good")), "it watches");
    assert_eq!(seen.iter().find(|path| !is_known(path)), None);
    assert!(!PathBuf::from("/tmp/outside-of-liveconf").exists());
}

#[test]
fn hostile_names_in_a_file_touch_nothing_outside() {
    let job = job("file: {path: registry.json, poll_interval: 20ms}").with("registry.json", "{}");
    let put = |sites: &str, version: &str| {
        let sites = serde_json::to_string(sites).unwrap();
        // Replaced in one step, so that no half of it is read.
        job.write("new.json", format!("{{\"sites\": {sites}, \"version\": \"{version}\"}}"));
        fs::rename(job.folder().path("new.json"), job.folder().path("registry.json")).unwrap();
    };
    touches_nothing_outside(&job, &put);
}

#[cfg(feature = "etcd")]
#[test]
fn hostile_names_in_etcd_touch_nothing_outside() {
    let etcd = Etcd::start();
    let client = etcd.client();
    let job = job(&format!("etcd: {}", etcd.section()));
    touches_nothing_outside(&job, &|sites, version| {
        client.put("/sites", sites);
        client.put("/version", version);
    });
}

#[test]
fn two_items_of_one_name_lose_nothing() {
    let job =
        job("file: {path: registry.json}").with("registry.json", r#"{"sites": "[\"a\", \"b\"]", "version": "1"}"#);
    job.run(&["once"]).assert_code(0);
    job.write("registry.json", r#"{"sites": "[\"b\", \"A\", \"a\", \"b\"]", "version": "2"}"#);
    let said = job.run(&["once"]);
    said.assert_code(1).assert_says(&["the file of item 4 of 4 has the name of that of item 1"]);
    assert_eq!(job.folder().names("deep/er/out"), ["a", "b", "other"]);
    assert_eq!(job.read("deep/er/out/a").as_deref(), Some("1 1"));
    // Names that differ in case alone are two.
    job.write("registry.json", r#"{"sites": "[\"A\", \"a\"]", "version": "2"}"#);
    job.run(&["once"]).assert_code(0);
    assert_eq!(job.folder().names("deep/er/out"), ["A", "a", "other"]);
}

#[test]
fn a_folder_that_is_not_fit_says_what_to_do() {
    let job = job("file: {path: registry.json}").with("registry.json", r#"{"sites": "[\"a\"]", "version": "1"}"#);
    let folder = job.folder().path("deep/er/out");
    let refused = |fragments: &[&str]| {
        job.run(&["once"]).assert_code(1).assert_says(fragments);
    };
    fs::rename(&folder, job.folder().path("elsewhere")).unwrap();
    refused(&["there is no folder", "deep/er/out`", "create it, or set `create_dirs: true`"]);
    job.write("deep/er/out", "a file");
    refused(&["deep/er/out` is no folder"]);
    fs::remove_file(&folder).unwrap();
    // A link that somebody who may write above has made is his choice.
    symlink("../../elsewhere", &folder).unwrap();
    job.run(&["once"]).assert_code(0);
    assert_eq!(job.read("elsewhere/a").as_deref(), Some("1 1"));
    fs::remove_file(&folder).unwrap();
    symlink("nowhere", &folder).unwrap();
    refused(&["there is no folder"]);
    fs::remove_file(&folder).unwrap();
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    refused(&["everybody can write to the folder", "`chmod o-w"]);
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o555)).unwrap();
    if !nix::unistd::geteuid().is_root() {
        refused(&["let the user that liveconf runs as write in"]);
    }
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The daemon goes on once the folder is there.
#[test]
fn a_folder_that_comes_later_is_written_to() {
    let job = job("file: {path: registry.json}").with("registry.json", r#"{"sites": "[\"a\"]", "version": "1"}"#);
    fs::remove_dir_all(job.folder().path("deep")).unwrap();
    let daemon = job.start(&["run"]);
    wait_for_state(&job, "failed");
    fs::create_dir_all(job.folder().path("deep/er/out")).unwrap();
    job.run(&["apply", "sites"]).assert_code(0);
    poll_until(SOON, || job.read("deep/er/out/a").map(drop).ok_or("nothing yet".to_owned()));
    daemon.stop();
}
