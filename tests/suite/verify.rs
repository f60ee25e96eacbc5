//! `verify`: the files are looked at in their places before the reload, and what is refused there was never there.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use nix::sys::signal::Signal;

use crate::support::liveconf::Job;
use crate::support::{SOON, poll_until};

/// A target with two files, `out.conf` from the key `x` and `more.conf` from `y`; what `verify` refuses holds `bad`.
fn job(target: &str) -> Job {
    Job::new(&format!(
        "registries: {{local: {{file: {{path: registry.yaml, poll_interval: 100ms}}}}}}
targets:
  program:
    templates:
      - {{content: '{{{{ key(path=\"x\") }}}}', dest: out.conf}}
      - {{content: '{{{{ key(path=\"y\", default=\"y\") }}}}', dest: more.conf}}
    wait: 0
    reload_interval: 0
    retry: 20ms..100ms
    reload: {{shell: 'cat out.conf >> reloads; echo >> reloads'}}
{target}
"
    ))
    .with("registry.yaml", "x: A\n")
}

/// Notes that it ran, and refuses what holds `bad`.
const VERIFY: &str = "    verify: {shell: 'cat {dest:out.conf} >> verified; echo >> verified; ! grep -q bad out.conf'}";

fn lines(job: &Job, file: &str) -> Vec<String> {
    job.read(file).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[test]
fn what_verify_refuses_is_taken_back_and_not_reloaded() {
    let job = job(VERIFY);
    let mut daemon = job.start(&["run"]);
    job.wait_for_lines("reloads", 1);
    let out = job.folder().path("out.conf");
    fs::set_permissions(&out, fs::Permissions::from_mode(0o604)).unwrap();
    let before = fs::metadata(&out).unwrap();
    job.write("registry.yaml", "x: bad\ny: z\n");
    let line = daemon.wait_for_log("the files from before are back");
    assert!(line.contains("the files from before are back: verify `sh` refuses the files: it exited with 1"), "{line}");
    let after = fs::metadata(&out).unwrap();
    assert_eq!((after.ino(), after.mode(), after.uid()), (before.ino(), before.mode(), before.uid()));
    assert_eq!((job.read("out.conf").as_deref(), job.read("more.conf").as_deref()), (Some("A"), Some("y")));

    // The same files are not tried again by themselves, also where an answer comes anew; others are.
    job.write("registry.yaml", "x: bad\ny: z\nz: new\n");
    job.write("registry.yaml", "x: B\n");
    job.wait_for("out.conf", "B");
    assert_eq!(job.wait_for_lines("reloads", 2), ["A", "B"]);
    assert_eq!(lines(&job, "verified"), ["A", "bad", "B"]);
    assert_eq!(daemon.logged("ERROR").len(), 1, "{:#?}", daemon.log());

    // Whoever loads the configuration anew asks for another try.
    job.write("registry.yaml", "x: bad\n");
    job.wait_for_lines("verified", 4);
    daemon.signal(Signal::SIGHUP);
    job.wait_for_lines("verified", 5);
    job.wait_for("out.conf", "B");
    daemon.stop();
    assert_eq!(lines(&job, "reloads").len(), 2);
    let left: Vec<_> = job.folder().names("").into_iter().filter(|name| name.starts_with('.')).collect();
    assert_eq!(left, [""; 0]);
}

#[test]
fn a_file_that_was_not_there_is_removed_again() {
    let job = job(VERIFY);
    job.write("registry.yaml", "x: bad\n");
    let output = job.run(&["once"]);
    output.assert_code(1).assert_says(&["the files from before are back", "verify `sh` refuses the files"]);
    assert_eq!((job.read("out.conf"), job.read("more.conf"), job.read("reloads")), (None, None, None));
    job.run(&["once", "--no-check"]).assert_code(0);
    assert_eq!((job.read("out.conf").as_deref(), job.read("verified").as_deref()), (Some("bad"), Some("bad\n")));
}

#[test]
fn a_verify_that_cannot_run_is_tried_again() {
    let job = job("    verify: [./verify, '{dest:out.conf}', '{staged:more.conf}']");
    job.write("verify", "#!/bin/sh\necho $(basename $1 $2) >> verified\n");
    let set_mode = |mode| {
        fs::set_permissions(job.folder().path("verify"), fs::Permissions::from_mode(mode)).unwrap();
    };
    set_mode(0o755);
    let mut daemon = job.start(&["run"]);
    job.wait_for_lines("reloads", 1);
    set_mode(0o644);
    job.write("registry.yaml", "x: B\n");
    daemon.wait_for_log("could not be started");
    set_mode(0o755);
    job.wait_for("out.conf", "B");
    assert_eq!(job.wait_for_lines("reloads", 2), ["A", "B"]);
    daemon.stop();
}

#[test]
fn an_end_in_verify_is_made_up_for_by_the_next_start() {
    let die_once = "if [ -e end-now ]; then rm end-now; kill -9 $PPID; fi;";
    for (next, file, reloads) in [("B", "B", ["A", "B"].as_slice()), ("bad", "A", ["A"].as_slice())] {
        let job = job(&format!("    verify: {{shell: '{die_once} ! grep -q bad out.conf'}}"));
        let daemon = job.start(&["run"]);
        job.wait_for_lines("reloads", 1);
        daemon.stop();
        let mut daemon = job.start(&["run"]);
        job.write("end-now", "");
        job.write("registry.yaml", format!("x: {next}\n"));
        assert_eq!(daemon.wait(SOON), 128 + 9);
        assert_eq!(job.read("out.conf").as_deref(), Some(next));
        let daemon = job.start(&["run"]);
        job.wait_for("out.conf", file);
        assert_eq!(job.wait_for_lines("reloads", reloads.len()), reloads);
        daemon.stop();
        // Who was never told of the new files is not told of the old ones.
        assert_eq!(lines(&job, "reloads"), reloads);
        let left: Vec<_> = job.folder().names("").into_iter().filter(|name| name.starts_with('.')).collect();
        assert_eq!(left, [""; 0]);
    }
}

#[test]
fn a_stop_in_the_middle_of_verify_takes_the_files_back() {
    let job = job("    verify: {shell: 'if grep -q B out.conf; then echo begun > begun; sleep 600; fi'}\ngrace: 300ms");
    let mut daemon = job.start(&["run"]);
    job.wait_for_lines("reloads", 1);
    job.write("registry.yaml", "x: B\n");
    job.wait_for("begun", "begun\n");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait(SOON), 0);
    assert_eq!(job.read("out.conf").as_deref(), Some("A"));
}

#[test]
fn a_second_stop_in_the_middle_of_verify_takes_the_files_back_too() {
    let job = job("    verify: {shell: 'if grep -q B out.conf; then echo begun > begun; sleep 600; fi'}");
    let mut daemon = job.start(&["run"]);
    job.wait_for_lines("reloads", 1);
    job.write("registry.yaml", "x: B\n");
    job.wait_for("begun", "begun\n");
    daemon.signal(Signal::SIGTERM);
    daemon.wait_for_log("stopping");
    // One that follows at once is the same signal, sent to the group as well.
    poll_until(SOON, || {
        if daemon.is_running() {
            daemon.signal(Signal::SIGTERM);
        }
        if daemon.is_running() { Err("still running".to_owned()) } else { Ok(()) }
    });
    assert_eq!(daemon.logged("stopped at once by a second signal").len(), 1);
    assert_eq!(job.read("out.conf").as_deref(), Some("A"));
}

#[test]
fn without_a_reload_verify_decides_as_well() {
    let job = job(VERIFY);
    let config = job.read("liveconf.yaml").unwrap();
    let without: Vec<_> = config.lines().filter(|line| !line.trim_start().starts_with("reload: ")).collect();
    job.write("liveconf.yaml", without.join("\n"));
    let daemon = job.start(&["run"]);
    job.wait_for("out.conf", "A");
    job.write("registry.yaml", "x: bad\n");
    job.wait_for_lines("verified", 2);
    job.wait_for("out.conf", "A");
    daemon.stop();
    // A file that is true and was agreed to is not asked about again.
    job.write("registry.yaml", "x: A\n");
    job.run(&["once"]).assert_code(0);
    assert_eq!(lines(&job, "verified"), ["A", "bad"]);
}

#[test]
fn a_program_that_is_missing_is_named_by_check() {
    let job = job("    verify: [no-such-verifier]");
    job.run(&["check"]).assert_code(0).assert_says(&["the program `no-such-verifier` of its verify is not there"]);
}

#[test]
fn a_wrapper_includes_the_live_file() {
    let job = job("    verify: {command: [cp, '{wrapper}', seen], wrapper: 'include {dest:out.conf};'}");
    job.run(&["once"]).assert_code(0);
    let out = job.folder().root().canonicalize().unwrap().join("out.conf");
    poll_until(SOON, || match job.read("seen") {
        Some(seen) if seen == format!("include {};", out.display()) => Ok(()),
        seen => Err(format!("{seen:?}")),
    });
}
