//! `for_each`: a file for each item, all of them in one transaction, and none outside of their folder.

mod gone;
#[cfg(feature = "etcd")]
mod many;
mod names;

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::liveconf::{Daemon, Job};
use crate::support::{SOON, poll_until};

/// A target that writes a file for each key below `sites`, and whose reload notes which there are.
fn job(template: &str, target: &str) -> Job {
    Job::new(&format!(
        "registries: {{local: {{file: {{path: registry.yaml, poll_interval: 100ms}}}}}}
targets:
  sites:
    templates:
      - for_each: prefix(path=\"sites\")
        content: 'is {{{{ item.value }}}}'
        dest: 'out/{{{{ item.key }}}}.conf'
{template}
      - {{content: 'all {{{{ ls(path=\"sites\") | length }}}}', dest: out/all}}
    wait: 0
    reload_interval: 0
    drift_interval: 100ms
    retry: 20ms..100ms
    reload: {{shell: 'ls out | xargs >> reloads'}}
{target}
"
    ))
    .with("registry.yaml", "sites: {a: 1, b: 2}\n")
    .with("out/other.conf", "somebody else's")
}

fn start(job: &Job) -> Daemon {
    let mut daemon = job.start(&["run"]);
    daemon.wait_for_log("reloaded");
    daemon
}

fn files(job: &Job) -> Vec<(String, String)> {
    let read = |name: String| job.read(&format!("out/{name}")).map(|text| (name, text));
    let names = fs::read_dir(job.folder().path("out")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut files: Vec<_> = names.filter_map(read).collect();
    files.sort();
    files
}

/// Waits until these are the files.
#[track_caller]
fn wait_for(job: &Job, expected: &[(&str, &str)]) {
    let expected = pairs(expected);
    poll_until(SOON, || {
        let found = files(job);
        if found == expected { Ok(()) } else { Err(format!("{found:?} are there, not {expected:?}")) }
    });
}

/// Waits until `status` gives this state of the target.
#[track_caller]
fn wait_for_state(job: &Job, expected: &str) {
    poll_until(SOON, || {
        let output = job.run(&["status", "--json"]);
        let status: serde_json::Value = serde_json::from_str(&output.stdout).unwrap_or_default();
        let state = &status["targets"][0]["state"];
        if state == expected {
            Ok(())
        } else {
            Err(format!("the target is {state}, not {expected}: {}", output.stderr))
        }
    });
}

fn pairs(files: &[(&str, &str)]) -> Vec<(String, String)> {
    files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

const OTHER: (&str, &str) = ("other.conf", "somebody else's");

#[test]
fn items_come_change_and_go_in_one_transaction() {
    let job = job("", "");
    let mut daemon = start(&job);
    assert_eq!(files(&job), pairs(&[("a.conf", "is 1"), ("all", "all 2"), ("b.conf", "is 2"), OTHER]));
    job.write("registry.yaml", "sites: {b: 3, c: 4, d: 5}\n");
    let reloads = job.wait_for_lines("reloads", 2);
    assert_eq!(reloads, ["a.conf all b.conf other.conf", "all b.conf c.conf d.conf other.conf"]);
    let now = pairs(&[("all", "all 3"), ("b.conf", "is 3"), ("c.conf", "is 4"), ("d.conf", "is 5"), OTHER]);
    assert_eq!(files(&job), now);
    let line = daemon.wait_for_log("removed ");
    let (wrote, removed) = line.split_once("; removed ").unwrap_or_else(|| panic!("{line}"));
    assert!(wrote.contains("out/c.conf") && removed.contains("out/a.conf") && !removed.contains("b.conf"), "{line}");

    // What somebody does to them is put right; what is nobody's item is not looked at.
    fs::write(job.folder().path("out/c.conf"), "hers").unwrap();
    fs::remove_file(job.folder().path("out/d.conf")).unwrap();
    fs::write(job.folder().path("out/new.conf"), "hers too").unwrap();
    let new = ("new.conf", "hers too");
    wait_for(&job, &[("all", "all 3"), ("b.conf", "is 3"), ("c.conf", "is 4"), ("d.conf", "is 5"), new, OTHER]);
    fs::remove_file(job.folder().path("out/new.conf")).unwrap();
    daemon.stop();

    // An item that goes while nobody looks.
    job.write("registry.yaml", "sites: {b: 3}\n");
    let daemon = job.start(&["run"]);
    wait_for(&job, &[("all", "all 1"), ("b.conf", "is 3"), OTHER]);
    job.write("registry.yaml", "other: {}\n");
    wait_for(&job, &[("all", "all 0"), OTHER]);
    daemon.stop();
}

#[test]
fn files_of_items_that_are_gone_stay_where_that_is_wanted() {
    let kept = job("        UNUSED: x", "");
    let text = kept.read("liveconf.yaml").unwrap();
    let text = text
        .replace("        UNUSED: x\n", "")
        .replace("for_each: prefix(path=\"sites\")", "for_each: {items: prefix(path=\"sites\"), gone: keep}");
    kept.write("liveconf.yaml", &text);
    let daemon = start(&kept);
    kept.write("registry.yaml", "sites: {b: 3}\n");
    kept.wait_for_lines("reloads", 2);
    assert_eq!(files(&kept), pairs(&[("a.conf", "is 1"), ("all", "all 1"), ("b.conf", "is 3"), OTHER]));
    daemon.stop();
}

#[test]
fn hostile_names_touch_nothing() {
    let job = job("", "");
    let registry = |value: &str| format!("sites: {{a: 1, b: {value}}}\n");
    job.write(
        "liveconf.yaml",
        job.read("liveconf.yaml").unwrap().replace("{{ item.key }}.conf", "{{ item.value }}").replace("out/all", "all"),
    );
    job.write("registry.yaml", registry("2"));
    job.write("outside", "safe");
    job.run(&["once"]).assert_code(0);
    let before = files(&job);
    let long = "x".repeat(300);
    for value in ["'../outside'", "''", "'..'", "'.'", "'a/b'", "\"a\\nb\"", "\"\\0\"", &long, "1", "/etc/x"] {
        job.write("registry.yaml", registry(value));
        let said = job.run(&["once"]);
        said.assert_code(1).assert_says(&["target `sites`"]);
        assert!(!said.stderr.contains("outside") && !said.stderr.contains("xxx"), "{}", said.stderr);
        assert_eq!(files(&job), before, "{value}");
    }
    assert_eq!(job.read("outside").as_deref(), Some("safe"));
    job.write("registry.yaml", registry("fine"));
    job.run(&["once"]).assert_code(0);
    assert_eq!(job.read("out/fine").as_deref(), Some("is fine"));
}

#[test]
fn a_link_in_the_folder_leads_nowhere() {
    let job = job("", "");
    job.write("outside", "safe");
    job.write("registry.yaml", "sites: {b: 2}\n");
    symlink("../outside", job.folder().path("out/a.conf")).unwrap();
    let mut daemon = start(&job);
    job.write("registry.yaml", "sites: {a: 1, b: 2}\n");
    let line = daemon.wait_for_log("not applied");
    assert!(line.contains("out/a.conf") && line.contains("it is a symlink"), "{line}");
    fs::remove_file(job.folder().path("out/a.conf")).unwrap();
    job.wait_for("out/a.conf", "is 1");
    // One that takes the place of a file is not followed when its item goes.
    fs::remove_file(job.folder().path("out/a.conf")).unwrap();
    symlink("../outside", job.folder().path("out/a.conf")).unwrap();
    job.write("registry.yaml", "sites: {b: 2}\n");
    job.wait_for("out/all", "all 1");
    assert_eq!(job.read("outside").as_deref(), Some("safe"));
    assert!(fs::symlink_metadata(job.folder().path("out/a.conf")).unwrap().is_symlink());
    daemon.stop();
}

#[test]
fn the_whole_set_comes_back_when_it_is_refused() {
    let verify = "    verify: {shell: '! grep -rq bad out'}";
    for target in [verify, "    confirm: {command: [sh, -c, '! grep -rq bad out'], within: 1s, interval: 50ms}"] {
        let job = job("", target);
        let mut daemon = start(&job);
        job.write("registry.yaml", "sites: {b: 3, c: bad}\n");
        daemon.wait_for_log("ERROR");
        wait_for(&job, &[("a.conf", "is 1"), ("all", "all 2"), ("b.conf", "is 2"), OTHER]);
        job.write("registry.yaml", "sites: {c: 4}\n");
        wait_for(&job, &[("all", "all 1"), ("c.conf", "is 4"), OTHER]);
        daemon.stop();
    }
}

#[test]
fn each_file_has_its_own_check() {
    let job = job("        check: [grep, -q, '^is [0-9]*$', '{staged}']", "");
    let mut daemon = start(&job);
    job.write("registry.yaml", "sites: {a: 1, b: wrong, c: 3}\n");
    let line = daemon.wait_for_log("not applied");
    assert!(line.contains("out/b.conf"), "{line}");
    assert_eq!(files(&job), pairs(&[("a.conf", "is 1"), ("all", "all 2"), ("b.conf", "is 2"), OTHER]));
    job.write("registry.yaml", "sites: {a: 1, b: 2, c: 3}\n");
    job.wait_for("out/c.conf", "is 3");
    daemon.stop();
}

#[test]
fn it_is_rendered_compared_and_written_once() {
    let job = job("", "    # end");
    let run = |arguments: &[&str]| job.run(arguments);
    let shown = run(&["render"]);
    assert!(
        shown.stdout.contains("out/a.conf <==\nis 1") && shown.stdout.contains("out/b.conf <==\nis 2"),
        "{shown:?}"
    );
    assert_eq!(run(&["diff"]).code, 4);
    assert_eq!(run(&["once"]).code, 0);
    assert_eq!(run(&["diff"]).code, 0);
    job.write("registry.yaml", "sites: {b: 2}\n");
    assert_eq!(run(&["once"]).code, 0);
    assert_eq!(files(&job), pairs(&[("all", "all 1"), ("b.conf", "is 2"), OTHER]));
}

#[test]
fn files_that_are_in_place_are_minded_while_others_are_refused() {
    for gone in ["remove", "keep"] {
        let job = job("        check: [grep, -q, '^is [0-9]*$', '{staged}']", "");
        let items = format!("for_each: {{items: prefix(path=\"sites\"), gone: {gone}}}");
        let config = job.read("liveconf.yaml").unwrap().replace("for_each: prefix(path=\"sites\")", &items);
        job.write("liveconf.yaml", config);
        let mut daemon = start(&job);
        job.write("registry.yaml", "sites: {a: 1, c: wrong}\n");
        daemon.wait_for_log("not applied");
        fs::write(job.folder().path("out/b.conf"), "hers").unwrap();
        wait_for(&job, &[("a.conf", "is 1"), ("all", "all 2"), ("b.conf", "is 2"), OTHER]);
        assert!(daemon.logged("panicked").is_empty(), "{:#?}", daemon.log());
        daemon.stop();
    }
}

#[test]
fn only_what_we_wrote_is_removed() {
    // Somebody's file that is replaced, and comes back since the new one is refused.
    let one = job("", "    verify: {shell: '! grep -rq bad out'}").with("out/c.conf", "hers");
    let mut daemon = start(&one);
    one.write("registry.yaml", "sites: {a: 1, b: 2, c: bad}\n");
    daemon.wait_for_log("ERROR");
    one.write("registry.yaml", "sites: {a: 3}\n");
    one.wait_for("out/a.conf", "is 3");
    assert_eq!((one.read("out/b.conf"), one.read("out/c.conf").as_deref()), (None, Some("hers")));
    // Somebody's file in the place of one that is gone, while another one is put right.
    one.write("out/b.conf", "hers too");
    fs::write(one.folder().path("out/a.conf"), "hers").unwrap();
    one.wait_for("out/a.conf", "is 3");
    assert_eq!(one.read("out/b.conf").as_deref(), Some("hers too"));
    daemon.stop();

    // What somebody made of a file while nobody looked.
    let edited = job("", "");
    start(&edited).stop();
    edited.write("out/a.conf", "hers");
    edited.write("registry.yaml", "sites: {b: 2}\n");
    let mut daemon = edited.start(&["run"]);
    let line = daemon.wait_for_log("its item is gone, and it stays");
    assert!(line.contains("out/a.conf"), "{line}");
    edited.wait_for("out/all", "all 1");
    assert_eq!(edited.read("out/a.conf").as_deref(), Some("hers"));
    daemon.stop();
}

#[test]
fn somebody_elses_file_is_not_replaced_by_that_of_an_item() {
    let job = job("", "");
    let mut daemon = start(&job);
    job.write("registry.yaml", "sites: {a: 3, b: 2, other: 4}\n");
    let line = daemon.wait_for_log("not applied");
    let said = ["out/other.conf", "that liveconf did not write"];
    assert!(said.iter().all(|said| line.contains(said)), "{line}");
    assert_eq!(files(&job), pairs(&[("a.conf", "is 1"), ("all", "all 2"), ("b.conf", "is 2"), OTHER]));
    fs::remove_file(job.folder().path("out/other.conf")).unwrap();
    wait_for(&job, &[("a.conf", "is 3"), ("all", "all 3"), ("b.conf", "is 2"), ("other.conf", "is 4")]);
    daemon.stop();
}

/// Without its list a program cannot tell its own files from others: it goes on, and says which it replaced.
#[test]
fn a_lost_state_folder_stops_nothing() {
    let job = job("", "");
    start(&job).stop();
    let forget = || fs::remove_dir_all(job.folder().path("state")).unwrap();
    forget();
    job.write("registry.yaml", "sites: {a: 3, b: 2}\n");
    let mut daemon = job.start(&["run"]);
    let line = daemon.wait_for_log("replace files of which is not known who wrote them");
    assert!(line.contains("out/a.conf") && !line.contains("out/b.conf"), "{line}");
    wait_for(&job, &[("a.conf", "is 3"), ("all", "all 2"), ("b.conf", "is 2"), OTHER]);
    daemon.stop();
    // What holds what would be written is taken for ours, also where nothing else is to do.
    forget();
    job.run(&["once"]).assert_code(0);
    job.write("registry.yaml", "sites: {a: 4, c: 5}\n");
    job.run(&["once"]).assert_code(0);
    assert_eq!(files(&job), pairs(&[("a.conf", "is 4"), ("all", "all 2"), ("c.conf", "is 5"), OTHER]));
}

#[test]
fn files_of_an_earlier_destination_are_named() {
    let job = job("", "");
    let mut daemon = start(&job);
    let config = job.read("liveconf.yaml").unwrap();
    let moved = config.replace("out/{{ item", "out/site-{{ item");
    job.write("liveconf.yaml", &moved);
    let shown = job.run(&["diff"]);
    shown.assert_code(4).assert_says(&["files of items of an earlier `dest` stay", "out/a.conf", "out/b.conf"]);
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    let line = daemon.wait_for_log("files of items of an earlier `dest` stay");
    assert!(line.contains("out/a.conf") && line.contains("out/b.conf") && !line.contains("other.conf"), "{line}");
    let old = [("a.conf", "is 1"), ("all", "all 2"), ("b.conf", "is 2"), OTHER];
    let both = [&old[..], &[("site-a.conf", "is 1"), ("site-b.conf", "is 2")]].concat();
    wait_for(&job, &both);
    assert!(daemon.logged("remove it if it is not wanted").is_empty(), "{:#?}", daemon.log());
    daemon.stop();
    job.run(&["once"]).assert_code(0).assert_says(&["files of items of an earlier `dest` stay", "out/a.conf"]);
    // They are still known when the old name comes back.
    job.write("liveconf.yaml", config);
    job.write("registry.yaml", "sites: {a: 3}\n");
    job.run(&["once"]).assert_code(0);
    let mut now = files(&job);
    now.retain(|(name, _)| !name.starts_with("site-"));
    assert_eq!(now, pairs(&[("a.conf", "is 3"), ("all", "all 1"), OTHER]));
}

/// A new file of the name comes while the check of others runs.
#[test]
fn what_somebody_puts_there_during_a_check_stays() {
    let job = job("", "    check: {shell: 'test ! -e mine || mv mine out/a.conf'}");
    let mut daemon = start(&job);
    job.write("mine", "hers");
    job.write("registry.yaml", "sites: {b: 3}\n");
    let line = daemon.wait_for_log("its item is gone, and it stays");
    assert!(line.contains("out/a.conf"), "{line}");
    wait_for(&job, &[("a.conf", "hers"), ("all", "all 1"), ("b.conf", "is 3"), OTHER]);
    // It is nobody's item any more, whatever comes next.
    job.write("registry.yaml", "sites: {b: 4}\n");
    wait_for(&job, &[("a.conf", "hers"), ("all", "all 1"), ("b.conf", "is 4"), OTHER]);
    daemon.stop();
}

#[test]
fn a_file_that_was_removed_before_it_was_confirmed_comes_back_too() {
    let confirm =
        "    confirm: {command: [sh, -c, 'test -e wanted || ! grep -rq bad out'], within: 1s, interval: 50ms}";
    let job = job("", confirm);
    let daemon = start(&job);
    daemon.stop();
    job.write("registry.yaml", "sites: {a: 1}\n");
    // The file goes, and the process is not told.
    job.run(&["once", "--no-reload"]).assert_code(0);
    assert_eq!(job.read("out/b.conf"), None);
    job.write("registry.yaml", "sites: {a: bad}\n");
    let mut daemon = job.start(&["run"]);
    daemon.wait_for_log("ERROR");
    wait_for(&job, &[("a.conf", "is 1"), ("all", "all 2"), ("b.conf", "is 2"), OTHER]);
    daemon.stop();
}

#[test]
fn what_is_owed_is_paid_after_a_hangup() {
    let job = job("", "").with("broken", "");
    let config = job.read("liveconf.yaml").unwrap().replace("{shell: 'ls", "{shell: 'test ! -e broken && ls");
    job.write("liveconf.yaml", &config);
    let mut daemon = job.start(&["run"]);
    daemon.wait_for_log("reload failed");
    job.write("liveconf.yaml", config.replace("is {{ item.value }}", "is {{ item.valu }}"));
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    daemon.wait_for_log("not applied");
    fs::remove_file(job.folder().path("broken")).unwrap();
    job.wait_for_lines("reloads", 1);
    daemon.stop();
}

#[test]
fn a_backup_replaces_no_file_of_another_item() {
    let job = job("        backup: true", "");
    let config =
        job.read("liveconf.yaml").unwrap().replace("{{ item.key }}.conf", "{{ item.key }}").replace("out/all", "all");
    job.write("liveconf.yaml", config);
    job.write("registry.yaml", "sites: {a: 1, a.bak: 2}\n");
    job.run(&["once"]).assert_code(1).assert_says(&["its backup would replace"]);
}
