//! A `confirm` or a reload that is wrong from the first start: no version of the files was confirmed yet, so there is none
//! to go back to. What the program started with stays, and a mended configuration is enough to go on.

use std::fs;

use nix::sys::signal::Signal;

use crate::support::liveconf::{Daemon, Job};
use crate::support::nginx::Nginx;
use crate::support::{SOON, http, poll_until, port};

/// A program that ends when it is started without one of its files, and says what it was told.
const PROGRAM: &str = "#!/bin/sh
note() { echo \"$1 $(cat main.conf part.conf | tr -d '\\n')\" >> notes; }
for file in main.conf part.conf; do [ -e $file ] || { echo \"no $file\" >> notes; exit 1; }; done
trap 'note told' HUP
note started
while :; do sleep 0.02; done
";

/// Two files of which `program` reads both, supervised or not, with a `confirm` that is about to be mended.
fn job(process: &str) -> Job {
    Job::new(&format!(
        "registries: {{local: {{file: {{path: registry.yaml, poll_interval: 100ms}}}}}}
targets:
  program:
    templates:
      - {{content: 'main {{{{ key(path=\"x\") }}}} ', dest: main.conf}}
      - {{content: 'part {{{{ key(path=\"x\") }}}}', dest: part.conf}}
    wait: 0
    reload_interval: 0
    retry: 20ms..100ms
{process}
    confirm: {{shell: 'test -e mended', within: 200ms, interval: 20ms}}
"
    ))
    .with("program", PROGRAM)
    .with("registry.yaml", "x: A\n")
}

const SUPERVISED: &str = "    process: {command: [sh, program], settle: 50ms}
    reload: {signal: HUP}";

/// Tells nobody, as a wrong name in a reload does, and a program may have started with the files meanwhile.
const STRANGER: &str = "    reload: {shell: 'echo told >> told'}";

fn notes(job: &Job) -> Vec<String> {
    job.read("notes").unwrap_or_default().lines().map(str::to_owned).collect()
}

fn mend(job: &Job) {
    let config = job.read("liveconf.yaml").unwrap();
    job.write("liveconf.yaml", config.replace("test -e mended", "test -e main.conf"));
}

/// Nothing says of files that they were confirmed.
#[track_caller]
fn assert_truthful(daemon: &Daemon) {
    assert!(daemon.logged("last confirmed").is_empty(), "{:#?}", daemon.log());
}

#[track_caller]
fn wait_until_settled(job: &Job) {
    poll_until(SOON, || {
        let output = job.run(&["status"]);
        if output.code == 0 { Ok(()) } else { Err(format!("{}{}", output.stdout, output.stderr)) }
    });
}

#[test]
fn what_a_supervised_program_started_with_stays_and_a_mended_confirm_is_enough() {
    for is_restarted in [false, true] {
        let job = job(SUPERVISED);
        let mut daemon = job.start(&["run"]);
        // A program that was never up may have a trouble of its own, so the first files are owed.
        daemon.wait_for_log("it is not ready yet");
        job.write("registry.yaml", "x: B\n");
        let line = daemon.wait_for_log("the process refuses the new files");
        assert!(line.contains("they stay in place, since none were confirmed yet"), "{line}");
        assert_eq!(job.read("main.conf").zip(job.read("part.conf")), Some(("main B ".into(), "part B".into())));
        let status = job.run(&["status"]);
        status.assert_code(1);
        assert!(status.stdout.contains("rejected"), "{}", status.stdout);
        assert_truthful(&daemon);
        mend(&job);
        if is_restarted {
            daemon.stop();
            daemon = job.start(&["run"]);
        } else {
            daemon.signal(Signal::SIGHUP);
        }
        wait_until_settled(&job);
        assert_truthful(&daemon);
        let all = notes(&job);
        assert!(
            all.iter().all(|note| !note.starts_with("no ")) && all.last().unwrap().ends_with("main B part B"),
            "{all:?}"
        );
        daemon.stop();
    }
}

/// `once` wrote the files, the program started with them, and then liveconf runs beside it.
#[test]
fn what_a_program_of_somebody_else_started_with_stays() {
    let job = job(STRANGER);
    job.run(&["once", "--no-reload"]).assert_code(0);
    let mut daemon = job.start(&["run"]);
    daemon.wait_for_log("they stay in place, since none were confirmed yet");
    // Newer data are tried as ever, and stay too.
    job.write("registry.yaml", "x: B\n");
    job.wait_for("main.conf", "main B ");
    poll_until(SOON, || {
        let count = daemon.logged("they stay in place").len();
        if count == 2 { Ok(()) } else { Err(format!("{:#?}", daemon.log())) }
    });
    // What is refused and in place is not defended against whoever mends it by hand, nor does a restart put it back.
    job.write("part.conf", "by hand");
    daemon.stop();
    let mut daemon = job.start(&["run"]);
    daemon.wait_for_log("but for what was not there then and stays");
    assert_eq!(job.read("part.conf").as_deref(), Some("by hand"));
    assert_truthful(&daemon);
    mend(&job);
    daemon.signal(Signal::SIGHUP);
    wait_until_settled(&job);
    assert_eq!(job.read("part.conf").as_deref(), Some("part B"));
    daemon.stop();
}

#[test]
fn what_somebody_else_wrote_comes_back_and_what_was_not_there_stays() {
    for process in [SUPERVISED, STRANGER] {
        let job = job(process).with("main.conf", "by hand ");
        job.run(&["once", "--no-reload"]).assert_code(0);
        let mut daemon = job.start(&["run"]);
        if process == SUPERVISED {
            daemon.wait_for_log("it is not ready yet");
            job.write("registry.yaml", "x: B\n");
        }
        let line = daemon.wait_for_log("what was there before liveconf first wrote is back");
        let paths = line.split_once("is back: ").unwrap().1;
        let (back, stays) = paths.split_once(", but for what was not there then and stays: ").unwrap();
        assert!(back.ends_with("/main.conf") && stays.contains("/part.conf"), "{line}");
        let value = if process == SUPERVISED { "B" } else { "A" };
        let files = job.read("main.conf").zip(job.read("part.conf"));
        assert_eq!(files, Some(("by hand ".into(), format!("part {value}"))));
        assert_truthful(&daemon);
        mend(&job);
        daemon.signal(Signal::SIGHUP);
        job.wait_for("main.conf", &format!("main {value} "));
        wait_until_settled(&job);
        assert!(notes(&job).iter().all(|note| !note.starts_with("no ")), "{:?}", notes(&job));
        daemon.stop();
    }
}

#[test]
fn an_end_before_the_way_back_changes_nothing_of_it() {
    let job = job(STRANGER).with("main.conf", "by hand ");
    let config = job.read("liveconf.yaml").unwrap();
    let dies = "if [ -e end-now ]; then rm end-now; kill -9 $PPID; fi; test -e mended";
    job.write("liveconf.yaml", config.replace("test -e mended", dies));
    job.write("end-now", "");
    let mut daemon = job.start(&["run"]);
    assert_eq!(daemon.wait(SOON), 128 + 9);
    assert_eq!(job.read("main.conf").as_deref(), Some("main A "));
    let mut daemon = job.start(&["run"]);
    daemon.wait_for_log("the files from before liveconf first wrote are back");
    assert_eq!(job.read("main.conf").zip(job.read("part.conf")), Some(("by hand ".into(), "part A".into())));
    daemon.stop();
}

/// The old file was held in memory, and nobody has it after a restart.
#[test]
fn a_secret_from_before_stays_away_after_a_restart() {
    let job = job(STRANGER).with("main.conf", "by hand ");
    let config = job.read("liveconf.yaml").unwrap();
    job.write("liveconf.yaml", config.replace("dest: main.conf", "dest: main.conf, secret: true"));
    job.run(&["once", "--no-reload"]).assert_code(0);
    let mut daemon = job.start(&["run"]);
    let line = daemon.wait_for_log("they stay in place, since the earlier");
    assert!(line.contains("has no `keep_previous: true`"), "{line}");
    assert_eq!(job.read("main.conf").zip(job.read("part.conf")), Some(("main A ".into(), "part A".into())));
    daemon.stop();
}

#[test]
fn what_verify_refuses_of_the_first_files_after_a_restart_is_told_truthfully() {
    let job = job(STRANGER);
    let config = job.read("liveconf.yaml").unwrap();
    job.run(&["once", "--no-reload"]).assert_code(0);
    job.write("liveconf.yaml", format!("{config}    verify: {{shell: 'test -e mended'}}\n"));
    let mut daemon = job.start(&["run"]);
    let line = daemon.wait_for_log("verify `sh` refuses the files");
    assert!(line.contains("they stay in place, since none were confirmed yet"), "{line}");
    assert_truthful(&daemon);
    daemon.stop();
}

/// nginx names the file, so it could not start without it; liveconf looks at another nginx, which there is not.
#[test]
fn nginx_starts_again_after_a_confirm_that_was_wrong_from_the_start() {
    let front = port::free();
    let server =
        format!("server {{ listen 127.0.0.1:{front}; location / {{ return 200 \"{{{{ key(path=\"x\") }}}}\"; }} }}");
    let job = Job::new(&format!(
        "registries: {{local: {{file: {{path: registry.yaml, poll_interval: 100ms}}}}}}
targets:
  nginx:
    templates: [{{content: '{server}', dest: site.conf}}]
    check: {{command: [nginx, -t, -q, -c, '{{wrapper}}', -e, stderr], wrapper: 'events {{}} http {{ include {{staged}}; }}'}}
    reload: {{signal: HUP, pid_file: nginx.pid}}
    confirm: {{http: {{url: 'http://127.0.0.1:{closed}/'}}, within: 300ms}}
    wait: 0
    reload_interval: 0
    retry: 20ms..100ms
",
        closed = port::free()
    ))
    .with("nginx.conf", "pid nginx.pid; worker_processes 1; events {} http { access_log off; include site.conf; }")
    .with("registry.yaml", "x: A\n");
    job.run(&["once"]).assert_code(0).assert_says(&["not running"]);
    let nginx = Nginx::start(job.folder().root(), front);
    let mut daemon = job.start(&["run"]);
    let line = daemon.wait_for_log("the process refuses the new files");
    assert!(line.contains("they stay in place, since none were confirmed yet"), "{line}");
    drop(nginx);
    poll_until(SOON, || match fs::metadata(job.folder().path("nginx.pid")) {
        Ok(_) => Err("it is still there".to_owned()),
        Err(_) => Ok(()),
    });
    let _nginx = Nginx::start(job.folder().root(), front);
    assert_eq!(http::get(front, "/").unwrap(), (200, "A".into()));
    let config = job.read("liveconf.yaml").unwrap();
    let mended: Vec<_> = config
        .lines()
        .map(|line| if line.trim_start().starts_with("confirm:") { "    confirm: {nginx: {}}" } else { line })
        .collect();
    job.write("liveconf.yaml", mended.join("\n"));
    daemon.signal(Signal::SIGHUP);
    wait_until_settled(&job);
    job.write("registry.yaml", "x: B\n");
    poll_until(SOON, || match http::get(front, "/") {
        Ok((200, body)) if body == "B" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    assert_truthful(&daemon);
    daemon.stop();
}
