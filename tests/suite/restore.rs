//! The way back: what a process refuses is replaced by what it confirmed last, whatever happens on the way.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::haproxy::Haproxy;
use crate::support::liveconf::Job;
use crate::support::nginx::Nginx;
use crate::support::{SOON, http, poll_until, port};

/// A target whose key `x` becomes `out/x.conf`, with more to it.
fn job(target: &str) -> Job {
    Job::new(&format!(
        "registries: {{local: {{file: {{path: registry.yaml, poll_interval: 100ms}}}}}}
targets:
  program:
    templates: [{{content: '{{{{ key(path=\"x\") }}}}', dest: out/x.conf}}]
    wait: 0
    reload_interval: 0
    retry: 20ms..100ms
{target}
"
    ))
    .with("registry.yaml", "x: A\n")
    .with("out/there", "")
}

/// Notes what it was told, refuses what holds `bad` without having taken it, and serves what it took.
const REFUSES: &str = "    reload: {shell: 'cat out/x.conf >> told; echo >> told; grep -q bad out/x.conf && exit 65; cp out/x.conf served'}";

/// Takes whatever it is told of, and is seen to be ill with what holds `bad`.
const FALLS_ILL: &str = "    reload: {shell: 'cat out/x.conf >> told; echo >> told; cp out/x.conf served'}
    confirm: {shell: '! grep -q bad served', within: 200ms, interval: 20ms}";

fn told(job: &Job) -> Vec<String> {
    job.read("told").unwrap_or_default().lines().map(str::to_owned).collect()
}

#[test]
fn what_the_process_refuses_is_put_back_once_and_for_all() {
    let job = job(REFUSES);
    let mut daemon = job.start(&["run"]);
    job.wait_for("served", "A");
    let out = job.folder().path("out/x.conf");
    fs::set_permissions(&out, fs::Permissions::from_mode(0o604)).unwrap();
    job.write("registry.yaml", "x: B\n");
    job.wait_for("served", "B");
    job.write("registry.yaml", "x: bad\n");
    let line = daemon.wait_for_log("the process refuses the new files");
    assert!(line.contains("exited with 65") && line.contains("the last confirmed files are back"), "{line}");
    assert_eq!(job.read("out/x.conf").as_deref(), Some("B"));
    assert_eq!(fs::metadata(&out).unwrap().mode() & 0o7777, 0o604);
    // It kept what it ran, so it is not told of it.
    assert_eq!(told(&job), ["A", "B", "bad"]);
    assert_eq!(daemon.logged("ERROR").len(), 1, "{:#?}", daemon.log());
    daemon.stop();

    // Not after a restart, not by `once`; the next data go on, and then the same may be tried.
    let mut daemon = job.start(&["run"]);
    daemon.wait_for_log("the process refused these files before");
    daemon.stop();
    job.run(&["once"]).assert_code(1).assert_says(&["the process refused these files before"]);
    assert_eq!((told(&job).len(), job.read("out/x.conf").as_deref()), (3, Some("B")));
    let daemon = job.start(&["run"]);
    job.write("registry.yaml", "x: C\n");
    job.wait_for("served", "C");
    job.write("registry.yaml", "x: bad\n");
    job.wait_for_lines("told", 5);
    job.wait_for("out/x.conf", "C");
    daemon.stop();
    assert_eq!(told(&job), ["A", "B", "bad", "C", "bad"]);
    assert_eq!(job.folder().names("out"), ["there", "x.conf"]);
}

#[test]
fn a_process_that_took_what_it_refuses_is_told_of_the_old() {
    let job = job(FALLS_ILL);
    let mut daemon = job.start(&["run"]);
    job.wait_for("served", "A");
    job.write("registry.yaml", "x: bad\n");
    job.wait_for_lines("told", 3);
    daemon.wait_for_log("the last confirmed files are back");
    assert_eq!(told(&job), ["A", "bad", "A"]);
    assert_eq!((job.read("served").as_deref(), job.read("out/x.conf").as_deref()), (Some("A"), Some("A")));
    daemon.stop();
    // All of it is settled.
    job.write("registry.yaml", "x: A\n");
    job.run(&["once"]).assert_code(0);
    assert_eq!(told(&job).len(), 3);
}

/// The operator asks for another try while the process is to be told of the old files, and the new data cannot be rendered.
#[test]
fn what_is_owed_of_the_old_files_outlives_another_try() {
    let fails = "test -e down && ! grep -q bad out/x.conf && exit 1; ";
    let job = job(&FALLS_ILL.replace("reload: {shell: '", &format!("reload: {{shell: '{fails}")));
    let mut daemon = job.start(&["run"]);
    job.wait_for("served", "A");
    job.write("down", "");
    job.write("registry.yaml", "x: bad\n");
    daemon.wait_for_log("it did not work to tell the process of them");
    assert_eq!((job.read("served").as_deref(), job.read("out/x.conf").as_deref()), (Some("bad"), Some("A")));
    job.write("registry.yaml", "y: A\n");
    daemon.wait_for_log("not applied");
    job.run(&["apply"]).assert_code(1);
    fs::remove_file(job.folder().path("down")).unwrap();
    job.wait_for("served", "A");
    daemon.stop();
}

#[test]
fn the_first_refusal_leaves_what_was_there() {
    for before in [None, Some("by hand")] {
        let job = job(REFUSES);
        if let Some(before) = before {
            job.write("out/x.conf", before);
        }
        job.write("registry.yaml", "x: bad\n");
        let output = job.run(&["once"]);
        output
            .assert_code(1)
            .assert_says(&["the process refuses the new files", "the files from before liveconf first wrote are back"]);
        assert_eq!((job.read("out/x.conf").as_deref(), told(&job)), (before, vec!["bad".to_owned()]));
        job.run(&["once"]).assert_code(1).assert_says(&["refused these files before"]);
        job.write("registry.yaml", "x: A\n");
        job.run(&["once"]).assert_code(0);
        assert_eq!(job.read("served").as_deref(), Some("A"));
    }
}

#[test]
fn an_end_before_the_confirmation_is_made_up_for_by_the_next_start() {
    let end = "if [ -e end-now ]; then rm end-now; kill -9 $PPID; fi;";
    for (next, after) in [("B", "B"), ("bad", "A")] {
        let job = job(&FALLS_ILL.replace("confirm: {shell: '", &format!("confirm: {{shell: '{end} ")));
        let daemon = job.start(&["run"]);
        job.wait_for("served", "A");
        daemon.stop();
        let mut daemon = job.start(&["run"]);
        job.write("end-now", "");
        job.write("registry.yaml", format!("x: {next}\n"));
        assert_eq!(daemon.wait(SOON), 128 + 9);
        assert_eq!(job.read("out/x.conf").as_deref(), Some(next));
        let daemon = job.start(&["run"]);
        job.wait_for_lines("told", if after == "A" { 4 } else { 3 });
        job.wait_for("out/x.conf", after);
        job.wait_for("served", after);
        daemon.stop();
        job.run(&["once"]).assert_code(i32::from(next == "bad"));
        assert_eq!(told(&job).last().map(String::as_str), Some(after));
    }
}

#[test]
fn an_end_on_the_way_back_is_made_up_for_by_the_next_start() {
    // It dies when it is told of the old files, and so before it is confirmed that it took them.
    let end = "if [ -e end-now ] && grep -q A out/x.conf; then rm end-now; kill -9 $PPID; exit 1; fi;";
    let job = job(&FALLS_ILL.replace("reload: {shell: '", &format!("reload: {{shell: '{end} ")));
    let daemon = job.start(&["run"]);
    job.wait_for("served", "A");
    daemon.stop();
    let mut daemon = job.start(&["run"]);
    job.write("end-now", "");
    job.write("registry.yaml", "x: bad\n");
    assert_eq!(daemon.wait(SOON), 128 + 9);
    assert_eq!((job.read("out/x.conf").as_deref(), job.read("served").as_deref()), (Some("A"), Some("bad")));
    let daemon = job.start(&["run"]);
    job.wait_for("served", "A");
    daemon.stop();
    assert_eq!(told(&job), ["A", "bad", "A"]);
}

#[test]
fn a_way_back_that_is_blocked_is_tried_again() {
    let blocks = REFUSES.replace("&& exit 65", "&& mv out away && exit 65");
    let job = job(&blocks);
    let mut daemon = job.start(&["run"]);
    job.wait_for("served", "A");
    job.write("registry.yaml", "x: bad\n");
    let line = daemon.wait_for_log("they are in place until those from before can be put back");
    assert!(line.contains("there is no folder"), "{line}");
    fs::rename(job.folder().path("away"), job.folder().path("out")).unwrap();
    job.wait_for("out/x.conf", "A");
    daemon.wait_for_log("the last confirmed files are back");
    assert_eq!(told(&job), ["A", "bad"]);
    job.write("registry.yaml", "x: B\n");
    job.wait_for("served", "B");
    daemon.stop();
}

#[test]
fn newer_data_go_before_a_way_back() {
    let job = job(&REFUSES.replace("&& exit 65", "&& mv out away && exit 65"));
    let mut daemon = job.start(&["run"]);
    job.wait_for("served", "A");
    job.write("registry.yaml", "x: bad\n");
    daemon.wait_for_log("they are in place until those from before can be put back");
    job.write("registry.yaml", "x: C\n");
    fs::rename(job.folder().path("away"), job.folder().path("out")).unwrap();
    job.wait_for("served", "C");
    daemon.stop();
    assert_eq!(job.read("out/x.conf").as_deref(), Some("C"));
    job.run(&["once"]).assert_code(0);
}

#[test]
fn a_process_that_is_ill_with_the_old_too_is_owed() {
    let job = job(&FALLS_ILL.replace("! grep -q bad served", "[ -e well ] && ! grep -q bad served"));
    job.write("well", "");
    let mut daemon = job.start(&["run"]);
    daemon.wait_for_log("reloaded");
    fs::remove_file(job.folder().path("well")).unwrap();
    job.write("registry.yaml", "x: B\n");
    let line = daemon.wait_for_log("and the process refuses these as well");
    assert!(line.contains("the last confirmed files are back"), "{line}");
    job.wait_for("out/x.conf", "A");
    daemon.wait_for_log("the process refuses the last confirmed files too");
    job.write("well", "");
    daemon.wait_for_log("which was owed for");
    daemon.stop();
    assert_eq!((job.read("served").as_deref(), job.read("out/x.conf").as_deref()), (Some("A"), Some("A")));
}

#[test]
fn a_stop_in_the_middle_of_confirm_lets_it_end() {
    let slow = FALLS_ILL.replace("{shell: '! grep", "{shell: 'echo begun >> begun; ! grep").replace("200ms", "1s");
    let job = job(&slow);
    let mut daemon = job.start(&["run"]);
    job.wait_for("served", "A");
    job.write("registry.yaml", "x: bad\n");
    job.wait_for("served", "bad");
    let begun = job.read("begun").unwrap_or_default().lines().count();
    job.wait_for_lines("begun", begun + 1);
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait(SOON), 0);
    assert_eq!((job.read("served").as_deref(), job.read("out/x.conf").as_deref()), (Some("A"), Some("A")));
}

#[test]
fn a_secret_that_is_refused_after_a_restart_says_what_it_lacks() {
    for (keep, after) in [(false, "bad"), (true, "A")] {
        let secret = format!("dest: out/x.conf, secret: true, keep_previous: {keep}");
        let end = "if [ -e end-now ]; then rm end-now; kill -9 $PPID; fi;";
        let job = job(&REFUSES.replace("reload: {shell: '", &format!("reload: {{shell: '{end} ")));
        let config = job.read("liveconf.yaml").unwrap().replace("dest: out/x.conf", &secret);
        job.write("liveconf.yaml", config);
        let mut daemon = job.start(&["run"]);
        job.wait_for("served", "A");
        // While we live the old one is at hand.
        job.write("registry.yaml", "x: bad\n");
        daemon.wait_for_log("the last confirmed files are back");
        job.write("end-now", "");
        job.write("registry.yaml", "x: bad too\n");
        assert_eq!(daemon.wait(SOON), 128 + 9);
        let mut daemon = job.start(&["run"]);
        daemon.wait_for_log(if keep { "the last confirmed files are back" } else { "has no `keep_previous: true`" });
        job.wait_for("out/x.conf", if keep { after } else { "bad too" });
        job.write("registry.yaml", "x: C\n");
        job.wait_for("served", "C");
        daemon.stop();
    }
}

#[test]
fn whoever_asks_for_it_has_the_refused_files_tried_again() {
    let job = job(&REFUSES.replace("&& exit 65", "&& ! [ -e mended ] && exit 65"));
    let mut daemon = job.start(&["run"]);
    job.wait_for("served", "A");
    job.write("registry.yaml", "x: bad\n");
    daemon.wait_for_log("the last confirmed files are back");
    job.write("mended", "");
    job.run(&["apply", "program"]).assert_code(0);
    job.wait_for("served", "bad");
    assert_eq!(
        (job.read("out/x.conf").as_deref(), told(&job)),
        (Some("bad"), ["A", "bad", "bad"].map(str::to_owned).into())
    );
    daemon.stop();

    // Also where the refused files had to stay in their places.
    let end = "if [ -e end-now ]; then rm end-now; kill -9 $PPID; fi;";
    let secret = self::job(
        &REFUSES
            .replace("{shell: '", &format!("{{shell: '{end} "))
            .replace("&& exit 65", "&& ! [ -e mended ] && exit 65"),
    );
    let config = secret.read("liveconf.yaml").unwrap().replace("dest: out/x.conf", "dest: out/x.conf, secret: true");
    secret.write("liveconf.yaml", config);
    let mut daemon = secret.start(&["run"]);
    secret.wait_for("served", "A");
    secret.write("end-now", "");
    secret.write("registry.yaml", "x: bad\n");
    assert_eq!(daemon.wait(SOON), 128 + 9);
    let mut daemon = secret.start(&["run"]);
    daemon.wait_for_log("has no `keep_previous: true`");
    secret.write("mended", "");
    secret.run(&["apply", "program"]).assert_code(0);
    secret.wait_for("served", "bad");
    daemon.stop();
}

#[test]
fn without_a_state_folder_the_way_back_is_there_too() {
    let job = job(REFUSES);
    job.write("state", "no folder");
    let mut daemon = job.start(&["run"]);
    job.wait_for("served", "A");
    let told = daemon.logged("cannot use the state folder");
    assert_eq!(told.len(), 1);
    for part in ["state` is no folder", "; name one that can be written to with `--state-dir` or `LIVECONF_STATE_DIR`"]
    {
        assert!(told[0].contains(part), "{told:?}");
    }
    assert!(daemon.logged("no control socket")[0].contains("state` is no folder"));
    job.write("registry.yaml", "x: bad\n");
    daemon.wait_for_log("the last confirmed files are back");
    assert_eq!(job.read("out/x.conf").as_deref(), Some("A"));
    job.write("registry.yaml", "x: B\n");
    job.wait_for("served", "B");
    daemon.stop();
}

/// The pids of the workers of a master.
fn children(master: u32) -> Vec<String> {
    let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children")).unwrap();
    children.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn nginx_that_cannot_listen_serves_as_before() {
    let (front, taken) = (port::free(), port::free());
    let _stranger = TcpListener::bind(("127.0.0.1", taken)).unwrap();
    let server = "server { listen 127.0.0.1:{{ key(path=\"port\") }}; \
                  location / { return 200 \"{{ key(path=\"generation\") }}\"; } }";
    let job = Job::new(&format!(
        "registries: {{local: {{file: {{path: registry.yaml, poll_interval: 100ms}}}}}}
targets:
  nginx:
    templates: [{{content: '{server}', dest: conf.d/site.conf}}]
    verify: [nginx, -t, -q, -p, '.', -c, nginx.conf, -e, test.log]
    reload: {{signal: HUP, pid_file: nginx.pid}}
    confirm: {{nginx: {{error_log: error.log}}}}
    wait: 0
    reload_interval: 0
    retry: 20ms..100ms
"
    ))
    .with("nginx.conf", "pid nginx.pid; worker_processes 1; events {} http { access_log off; include conf.d/*.conf; }");
    let data =
        |port: u16, generation: &str| job.write("registry.yaml", format!("port: {port}\ngeneration: {generation}\n"));
    fs::create_dir(job.folder().path("conf.d")).unwrap();
    data(front, "one");
    job.run(&["once"]).assert_code(0);
    let nginx = Nginx::start(job.folder().root(), front);
    let mut daemon = job.start(&["run"]);
    data(front, "two");
    poll_until(SOON, || match http::get(front, "/") {
        Ok((200, body)) if body == "two" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let good = job.read("conf.d/site.conf");
    poll_until(SOON, || if children(nginx.id()).len() == 1 { Ok(()) } else { Err("an old worker".into()) });
    let workers = children(nginx.id());
    // `nginx -t` agrees, and the signal is delivered.
    data(taken, "three");
    let line = daemon.wait_for_log("the process refuses the new files");
    assert!(line.contains("the last confirmed files are back"), "{line}");
    assert_eq!(job.read("conf.d/site.conf"), good);
    assert_eq!(http::get(front, "/").unwrap(), (200, "two".into()));
    assert_eq!(children(nginx.id()), workers, "nginx was told once");
    daemon.stop();
    job.run(&["once"]).assert_code(1).assert_says(&["refused these files before"]);
    assert_eq!(children(nginx.id()), workers);
    let daemon = job.start(&["run"]);
    data(front, "four");
    poll_until(SOON, || match http::get(front, "/") {
        Ok((200, body)) if body == "four" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    daemon.stop();
}

#[test]
fn haproxy_that_cannot_listen_is_out_once_at_most() {
    let (front, taken) = (port::free(), port::free());
    let _stranger = TcpListener::bind(("127.0.0.1", taken)).unwrap();
    let config = "global
  maxconn 100
defaults
  mode http
  timeout client 5s
  timeout server 5s
  timeout connect 5s
frontend front
  bind 127.0.0.1:{{ key(path=\"port\") }}
  bind 127.0.0.1:{{ key(path=\"front\") }}
  http-request return status 200 content-type text/plain string {{ key(path=\"generation\") }}
";
    let job = Job::new(
        "registries: {local: {file: {path: registry.yaml, poll_interval: 100ms}}}
targets:
  haproxy:
    templates: [{src: haproxy.tera, dest: haproxy.cfg}]
    check: [haproxy, -c, -q, -f, '{staged}']
    reload: {signal: USR2, pid_file: haproxy.pid}
    confirm: {haproxy: {}}
    wait: 0
    reload_interval: 0
    retry: 20ms..100ms
",
    )
    .with("haproxy.tera", config);
    let other = port::free();
    let data = |port: u16, generation: &str| {
        job.write("registry.yaml", format!("port: {port}\nfront: {front}\ngeneration: {generation}\n"));
    };
    data(other, "one");
    job.run(&["once"]).assert_code(0);
    let _haproxy = Haproxy::start(job.folder().root(), front);
    let mut daemon = job.start(&["run"]);
    data(other, "two");
    let serves = |generation: &str| {
        poll_until(SOON, || match http::get(front, "/") {
            Ok((200, body)) if body == generation => Ok(()),
            other => Err(format!("{other:?}")),
        });
    };
    serves("two");
    let good = job.read("haproxy.cfg");
    data(taken, "three");
    // How long it is out, and how often, until well after liveconf has said that all is as before.
    let (mut outages, mut longest, mut since) = (0, Duration::ZERO, None);
    let mut quiet_from = None;
    poll_until(SOON, || {
        match (http::get(front, "/"), since) {
            (Err(_), None) => (outages, since) = (outages + 1, Some(Instant::now())),
            (Ok(_), Some(start)) => {
                longest = longest.max(start.elapsed());
                since = None;
            }
            _ => {}
        }
        if quiet_from.is_none() && !daemon.logged("the last confirmed files are back").is_empty() {
            quiet_from = Some(Instant::now());
        }
        match quiet_from {
            Some(from) if from.elapsed() > Duration::from_secs(3) => Ok(()),
            _ => Err(format!("no end: {:#?}", daemon.log())),
        }
    });
    println!("HAProxy was out {outages} times, {longest:?} at most");
    assert!(outages <= 1 && longest <= Duration::from_secs(4) && since.is_none(), "{outages} outages of {longest:?}");
    assert_eq!(job.read("haproxy.cfg"), good);
    serves("two");
    assert_eq!(daemon.logged("the process refuses the new files").len(), 1, "{:#?}", daemon.log());
    data(other, "four");
    serves("four");
    assert!(daemon.is_running());
    daemon.stop();
}
