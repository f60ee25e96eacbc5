//! What somebody else changes is put back, or reported.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::liveconf::{Daemon, Job};
use crate::support::{SOON, poll_until};

/// A target whose two files are true to `x`, and whose reload notes what it finds in them.
fn job(target: &str) -> Job {
    Job::new(&format!(
        "registries: {{local: {{file: {{path: registry.yaml}}}}}}
targets:
  program:
    templates:
      - {{content: '{{{{ key(path=\"x\") }}}}', dest: out/a, mode: 640}}
      - {{content: 'b {{{{ key(path=\"x\") }}}}', dest: out/b, create_dirs: true}}
    wait: 0
    reload_interval: 0
    drift_interval: 100ms
    retry: 50ms..100ms
    reload: {{shell: 'echo \"$(cat out/a) $(cat out/b)\" >> reloads'}}
{target}
"
    ))
    .with("registry.yaml", "x: A\n")
    .with("out/.keep", "")
}

fn start(job: &Job) -> Daemon {
    let mut daemon = job.start(&["run"]);
    daemon.wait_for_log("reloaded");
    daemon
}

/// Edits a file in place, as `sed -i` does not but `>>` does.
fn edit(job: &Job, path: &str, text: &str) {
    fs::write(job.folder().path(path), text).unwrap();
}

#[test]
fn an_edited_file_comes_back_and_the_process_is_told() {
    let job = job("");
    let daemon = start(&job);
    edit(&job, "out/a", "hers");
    assert_eq!(job.wait_for_lines("reloads", 2), ["A b A", "A b A"]);
    assert_eq!((job.read("out/a").as_deref(), job.read("out/b").as_deref()), (Some("A"), Some("b A")));
    // By an editor that writes another file and renames it.
    job.write("out/b", "hers");
    assert_eq!(job.wait_for_lines("reloads", 3)[2], "A b A");
    fs::remove_file(job.folder().path("out/a")).unwrap();
    assert_eq!(job.wait_for_lines("reloads", 4)[3], "A b A");
    let said = daemon.logged("somebody changed the files, which are put back");
    assert!(said.len() == 3 && said[0].contains("out/a` was edited") && said[2].contains("is gone"), "{said:#?}");
    // And a change of the data is one reload, as ever.
    job.write("registry.yaml", "x: B\n");
    assert_eq!(job.wait_for_lines("reloads", 5)[4], "B b B");
    daemon.stop();
    let daemon = job.start(&["run"]);
    job.write("registry.yaml", "x: C\n");
    assert_eq!(job.wait_for_lines("reloads", 6)[5], "C b C", "all was settled");
    daemon.stop();
}

#[test]
fn a_mode_is_put_right_without_a_reload() {
    let job = job("");
    let mut daemon = start(&job);
    fs::set_permissions(job.folder().path("out/a"), Permissions::from_mode(0o666)).unwrap();
    daemon.wait_for_log("put owner and mode of the file right");
    assert_eq!(fs::metadata(job.folder().path("out/a")).unwrap().permissions().mode() & 0o7777, 0o640);
    job.write("registry.yaml", "x: B\n");
    assert_eq!(job.wait_for_lines("reloads", 2), ["A b A", "B b B"]);
    daemon.stop();
}

/// Puts something else in the place of a file, which may be put back in between.
fn put_in_place_of(path: &Path, put: impl Fn() -> io::Result<()>) {
    poll_until(SOON, || {
        let _ = fs::remove_file(path);
        put().map_err(|error| error.to_string())
    });
}

#[test]
fn what_is_no_file_any_more_is_left_alone_until_it_is_gone() {
    let job = job("");
    let mut daemon = start(&job);
    let path = job.folder().path("out/a");
    edit(&job, "precious", "do not write here");
    put_in_place_of(&path, || symlink("../precious", &path));
    poll_until(SOON, || match daemon.logged("it leads to").len() {
        // Or it was gone when it was looked, and is put back already.
        0 if !path.is_symlink() => Ok(()),
        0 => Err("nothing is said of the symlink".to_owned()),
        _ => Ok(()),
    });
    assert_eq!(job.read("precious").as_deref(), Some("do not write here"));
    let _ = fs::remove_file(&path);
    job.wait_for("out/a", "A");

    put_in_place_of(&path, || fs::create_dir(&path));
    daemon.wait_for_log("there is a folder at this place");
    assert!(daemon.is_running());
    fs::remove_dir(&path).unwrap();
    job.wait_for("out/a", "A");
    daemon.stop();
}

#[test]
fn a_report_changes_nothing() {
    let job = job("    drift: report");
    let mut daemon = start(&job);
    edit(&job, "out/a", "hers");
    let said = daemon.wait_for_log("somebody changed the files, which stay so");
    assert!(said.contains("out/a` was edited"), "{said}");
    let status = job.run(&["status", "--json"]);
    let target = &serde_json::from_str::<serde_json::Value>(&status.assert_code(1).stdout).unwrap()["targets"][0];
    assert_eq!(target["state"], "settled");
    assert!(target["drifted"][0].as_str().unwrap().contains("out/a` was edited"), "{target}");
    assert!(job.run(&["status"]).stdout.contains("` was edited"));
    edit(&job, "out/a", "A");
    daemon.wait_for_log("the files are what was put there again");
    job.run(&["status"]).assert_code(0);
    edit(&job, "out/a", "hers");
    job.write("registry.yaml", "x: B\n");
    assert_eq!(job.wait_for_lines("reloads", 2), ["A b A", "B b B"]);
    daemon.stop();
}

#[test]
fn who_pauses_a_target_may_edit_its_files() {
    let job = job("");
    let mut daemon = start(&job);
    job.run(&["pause", "program"]).assert_code(0);
    daemon.wait_for_log("paused");
    edit(&job, "out/a", "hers");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(job.read("out/a").as_deref(), Some("hers"));
    job.run(&["resume", "program"]).assert_code(0);
    job.wait_for("out/a", "A");
    assert_eq!(job.wait_for_lines("reloads", 2)[1], "A b A");
    daemon.stop();
}

#[test]
fn what_is_ignored_stays_until_the_next_change() {
    let job = job("    drift: ignore");
    let daemon = start(&job);
    edit(&job, "out/a", "hers");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(job.read("out/a").as_deref(), Some("hers"));
    job.write("registry.yaml", "x: B\n");
    assert_eq!(job.wait_for_lines("reloads", 2), ["A b A", "B b B"]);
    assert_eq!(daemon.logged("somebody changed").len(), 0);
    daemon.stop();
}

#[test]
fn somebody_who_edits_without_end_does_not_fill_the_log() {
    let job = job("");
    let daemon = start(&job);
    let until = Instant::now() + Duration::from_secs(4);
    let mut edits = 0;
    while Instant::now() < until {
        edit(&job, "out/a", &format!("hers {edits}"));
        edits += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    job.wait_for("out/a", "A");
    let said = daemon.logged("somebody changed").len();
    let repaired = job.read("reloads").unwrap().lines().count() - 1;
    assert!(repaired > 5 && said < 12, "{said} lines about {repaired} repairs of {edits} edits");
    daemon.stop();
}

#[test]
fn an_edit_while_the_process_takes_the_files_is_put_back_too() {
    let job = job("    confirm: {shell: 'sleep 0.3'}");
    let daemon = start(&job);
    job.write("registry.yaml", "x: B\n");
    job.wait_for("out/a", "B");
    // The reload, or its confirmation, is under way.
    edit(&job, "out/a", "hers");
    job.wait_for("out/a", "B");
    poll_until(SOON, || match job.wait_for_lines("reloads", 3).pop().unwrap() {
        last if last == "B b B" => Ok(()),
        last => Err(last),
    });
    daemon.stop();
}

#[test]
fn the_last_confirmed_files_come_back_too() {
    let job = job("    confirm: {shell: 'grep -q bad out/a && exit 65; exit 0'}");
    let mut daemon = start(&job);
    job.write("registry.yaml", "x: bad\n");
    daemon.wait_for_log("the last confirmed version is back");
    job.wait_for("out/a", "A");
    // It may run some of what was bad, so it was told of what is back.
    assert_eq!(job.wait_for_lines("reloads", 3), ["A b A", "bad b bad", "A b A"]);
    edit(&job, "out/a", "hers");
    assert_eq!(job.wait_for_lines("reloads", 4)[3], "A b A");
    job.wait_for("out/a", "A");
    daemon.stop();
}

/// The data change before it is looked; what was lost is said once, and nothing with `ignore`.
#[test]
fn an_edit_that_newer_data_replace_is_told() {
    for (policy, lines) in [("repair", 1), ("report", 1), ("ignore", 0)] {
        let job = job(&format!("    drift: {policy}"));
        let config = job.read("liveconf.yaml").unwrap();
        job.write("liveconf.yaml", config.replace("drift_interval: 100ms", "drift_interval: 1h"));
        let daemon = start(&job);
        edit(&job, "out/a", "hers");
        job.write("registry.yaml", "x: B\n");
        assert_eq!(job.wait_for_lines("reloads", 2)[1], "B b B");
        job.write("registry.yaml", "x: C\n");
        assert_eq!(job.wait_for_lines("reloads", 3)[2], "C b C");
        let said = daemon.logged("somebody changed the files, which are replaced by newer ones");
        assert_eq!(said.len(), lines, "{:#?}", daemon.log());
        assert!(said.iter().all(|line| line.contains("out/a` was edited") && !line.contains("out/b")), "{said:?}");
        daemon.stop();
    }
}
