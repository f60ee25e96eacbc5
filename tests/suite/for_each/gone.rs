//! What becomes of files whose item is gone, and what is said of it before.

use std::fs;

use super::{files, pairs, wait_for_state};
use crate::support::liveconf::Job;

/// A target of nothing but the files of a `for_each`, with a fixture that holds the first items.
fn job(gone: &str, more: &str) -> Job {
    Job::new(&format!(
        "registries: {{local: {{file: {{path: registry.yaml}}}}}}
targets:
  sites:
    templates:
      - for_each: {{items: prefix(path=\"sites\"), gone: {gone}}}
        content: \"is {{{{ item.value }}}}\\n\"
        dest: 'out/{{{{ item.key }}}}.conf'
{more}    drift_interval: 100ms
    reload: {{shell: 'ls out | xargs >> reloads'}}
"
    ))
    .with("registry.yaml", "sites: {a: 1, b: 2}\n")
    .with("out/other.conf", "somebody else's")
}

/// Applies these items, and gives how often the program was told until now.
#[track_caller]
fn once(job: &Job, items: &str) -> usize {
    job.write("registry.yaml", format!("sites: {items}\n"));
    job.run(&["once"]).assert_code(0);
    job.read("reloads").unwrap_or_default().lines().count()
}

/// All that the state folder holds.
fn state(job: &Job) -> Vec<(String, Option<String>)> {
    let names = job.folder().names("state");
    names.into_iter().map(|name| (name.clone(), job.read(&format!("state/{name}")))).collect()
}

#[test]
fn diff_shows_each_file_that_would_go() {
    let job = job("remove", "");
    let diff = |arguments: &[&str]| job.run(&[&["diff"], arguments].concat());
    job.write("fixture.yaml", "sites: {b: 2}\n");
    job.run(&["diff", "--fixture", "fixture.yaml"]).assert_code(4);
    assert!(!job.folder().path("state").exists(), "a diff touches nothing");
    once(&job, "{a: 1, b: 2, c: 3, 'with space': x}");
    assert_eq!(diff(&[]).code, 0);
    let before = state(&job);

    job.write("registry.yaml", "sites: {b: 3}\n");
    let shown = diff(&[]);
    shown.assert_code(4);
    for (name, value) in [("a", "1"), ("c", "3"), ("with space", "x")] {
        let path = job.folder().path(format!("out/{name}.conf"));
        let gone = format!("--- {}\n+++ /dev/null\n@@ -1 +0,0 @@\n-is {value}\n", path.display());
        assert!(shown.stdout.contains(&gone), "{}", shown.stdout);
    }
    assert_eq!(shown.stdout.matches("+++ /dev/null").count(), 3, "{}", shown.stdout);
    assert!(!shown.stdout.contains("other.conf"), "{}", shown.stdout);
    // The answers of a fixture are those that count.
    let shown = diff(&["--fixture", "fixture.yaml"]);
    shown.assert_code(4);
    assert_eq!(shown.stdout.matches("\n+++ ").count(), 3, "{}", shown.stdout);

    // What somebody has changed stays.
    job.write("out/a.conf", "hers");
    fs::remove_file(job.folder().path("out/c.conf")).unwrap();
    let shown = diff(&[]);
    assert!(!shown.stdout.contains("a.conf") && !shown.stdout.contains("c.conf"), "{}", shown.stdout);
    assert_eq!(state(&job), before, "a diff touches nothing");
    once(&job, "{b: 3}");
    assert_eq!(files(&job), pairs(&[("a.conf", "hers"), ("b.conf", "is 3\n"), ("other.conf", "somebody else's")]));
    assert_eq!(diff(&[]).code, 0);
}

#[test]
fn diff_shows_nothing_of_a_secret_file_that_would_go() {
    let job = job("remove", "        secret: true\n");
    once(&job, "{a: hunter2, b: 2}");
    job.write("registry.yaml", "sites: {b: 2}\n");
    let shown = job.run(&["diff"]);
    shown.assert_code(4);
    assert!(shown.stdout.contains("a.conf\n+++ /dev/null\n(secret:"), "{}", shown.stdout);
    assert!(!shown.stdout.contains("hunter2"), "{}", shown.stdout);
}

#[test]
fn a_file_that_is_kept_is_no_news() {
    let job = job("keep", "");
    assert_eq!(once(&job, "{a: 1, b: 2}"), 1);
    job.write("registry.yaml", "sites: {b: 2}\n");
    assert_eq!(job.run(&["diff"]).code, 0);
    assert_eq!(once(&job, "{b: 2}"), 1, "nothing on the disk has changed");
    assert_eq!(job.read("out/a.conf").as_deref(), Some("is 1\n"));
    assert_eq!(once(&job, "{b: 3}"), 2);
    assert_eq!(once(&job, "{a: 1, b: 3}"), 2, "it came back with what the program has seen");
    assert_eq!(once(&job, "{b: 3}"), 2);
    assert_eq!(once(&job, "{a: 9, b: 3}"), 3, "it came back with something else");
    assert_eq!(job.read("out/a.conf").as_deref(), Some("is 9\n"));
    once(&job, "{}");
    assert_eq!(files(&job), pairs(&[("a.conf", "is 9\n"), ("b.conf", "is 3\n"), ("other.conf", "somebody else's")]));
}

#[test]
fn what_is_kept_is_nobodys_to_put_right() {
    let job = job("keep", "");
    once(&job, "{a: 1, b: 2}");
    job.write("registry.yaml", "sites: {b: 2}\n");
    let daemon = job.start(&["run"]);
    wait_for_state(&job, "settled");
    fs::remove_file(job.folder().path("out/a.conf")).unwrap();
    job.write("out/b.conf", "hers");
    job.wait_for("out/b.conf", "is 2\n");
    job.write("out/b.conf", "hers again");
    job.wait_for("out/b.conf", "is 2\n");
    assert_eq!(job.read("out/a.conf"), None);
    daemon.stop();
}

#[test]
fn what_was_kept_goes_when_its_template_says_so() {
    for reload in [true, false] {
        let job = job("keep", "");
        let config = job.read("liveconf.yaml").unwrap();
        let config = if reload { config } else { config.replace("    reload: ", "    # reload: ") };
        job.write("liveconf.yaml", &config);
        once(&job, "{a: 1, b: 2, c: 3}");
        once(&job, "{b: 2, c: 3}");
        once(&job, "{c: 3}");
        job.write("out/b.conf", "hers");
        job.write("liveconf.yaml", config.replace("gone: keep", "gone: remove"));
        let shown = job.run(&["diff"]);
        shown.assert_code(4);
        assert!(shown.stdout.contains("a.conf\n+++ /dev/null"), "{}", shown.stdout);
        once(&job, "{c: 3}");
        let now = [("b.conf", "hers"), ("c.conf", "is 3\n"), ("other.conf", "somebody else's")];
        assert_eq!(files(&job), pairs(&now), "reload: {reload}");
        assert_eq!(job.run(&["diff"]).code, 0);
    }
}

#[test]
fn what_was_kept_comes_back_with_the_others_when_they_are_refused() {
    let job = job("keep", "    confirm: {command: [sh, -c, '! grep -rq bad out'], within: 1s, interval: 50ms}\n");
    once(&job, "{a: 1, b: 2}");
    once(&job, "{b: 2}");
    job.write("registry.yaml", "sites: {a: bad, b: 3}\n");
    job.run(&["once"]).assert_code(1);
    let before = [("a.conf", "is 1\n"), ("b.conf", "is 2\n"), ("other.conf", "somebody else's")];
    assert_eq!(files(&job), pairs(&before));
}

#[test]
fn a_file_that_cannot_be_looked_at_stays_listed() {
    let job = job("remove", "");
    once(&job, "{a: 1, b: 2}");
    // The folder is away for a while.
    let (folder, away) = (job.folder().path("out"), job.folder().path("away"));
    fs::rename(&folder, &away).unwrap();
    once(&job, "{}");
    fs::rename(&away, &folder).unwrap();
    once(&job, "{}");
    assert_eq!(files(&job), pairs(&[("other.conf", "somebody else's")]));
}
