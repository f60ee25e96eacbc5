//! Real nginx.

use std::fs;
use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{job, set, stopped_in_the_next_reload, stopping, wait_for_body, wait_for_logged};
use crate::support::liveconf::{Daemon, Job};
use crate::support::nginx::Nginx;
use crate::support::process::{Process, bound, find};
use crate::support::{SOON, http, poll_until, port};

/// nginx that says its `x`, and a target that is true to it.
struct Web {
    job: Job,
    port: u16,
}

impl Drop for Web {
    /// A test that failed shows what nginx said.
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the error log of nginx:\n{}", self.job.read("error.log").unwrap_or_default());
        }
    }
}

impl Web {
    /// With so many workers, and this as `reload` and `confirm` of the target. `x` may end its string and go on.
    fn new(workers: usize, target: &str) -> Self {
        let port = port::free();
        let site = format!(
            "server {{ listen 127.0.0.1:{port}; location / {{ return 200 '{{{{ key(path=\"x\") }}}}'; }}
             location /slow {{ proxy_pass http://127.0.0.1:$arg_port; }} }}\n"
        );
        let job = job(&site, target);
        let folder = job.folder().root().display().to_string();
        fs::create_dir(job.folder().path("conf.d")).unwrap();
        let config = format!(
            "worker_processes {workers};\npid {folder}/nginx.pid;\nerror_log {folder}/error.log notice;\n\
             events {{ worker_connections 64; }}\n\
             http {{ access_log off; proxy_cache_path {folder}/cache keys_zone=a:1m;\n\
             client_body_temp_path {folder}/t; proxy_temp_path {folder}/t; fastcgi_temp_path {folder}/t;\n\
             uwsgi_temp_path {folder}/t; scgi_temp_path {folder}/t; include {folder}/conf.d/*.conf; }}\n"
        );
        job.write("nginx.conf", config);
        set(&job, "one");
        job.run(&["once", "--no-reload"]).assert_code(0);
        Self { job, port }
    }

    /// One that is told by HUP.
    fn signalled(workers: usize, confirm: &str) -> Self {
        Self::new(workers, &format!("    reload: {{signal: HUP, pid_file: nginx.pid}}\n    confirm: {{{confirm}}}"))
    }

    fn nginx(&self) -> Nginx {
        Nginx::start(self.job.folder().root(), self.port)
    }

    /// liveconf, once the reload is done that was left owed.
    fn start(&self) -> Daemon {
        let mut daemon = self.job.start(&["run"]);
        daemon.wait_for_log("reloaded");
        daemon
    }

    fn site(&self) -> String {
        self.job.read("conf.d/site.conf").unwrap()
    }

    /// How often this stands in the error log.
    fn told(&self, text: &str) -> usize {
        self.job.read("error.log").unwrap_or_default().matches(text).count()
    }

    /// The files and nginx are as they were with `x`, after `refused`.
    #[track_caller]
    fn assert_back(&self, daemon: &mut Daemon, refused: &str, site: &str) {
        daemon.wait_for_log(refused);
        poll_until(SOON, || match self.site() {
            found if found == site => Ok(()),
            found => Err(format!("the file is not restored: {found}")),
        });
    }
}

#[test]
fn new_workers_are_a_confirmation() {
    let web = Web::signalled(2, "nginx: {}");
    let _nginx = web.nginx();
    let daemon = web.start();
    for (round, x) in ["two", "three", "four"].into_iter().enumerate() {
        set(&web.job, x);
        wait_for_logged(&daemon, "reloaded", round + 2);
        wait_for_body(web.port, x);
    }
    assert_eq!(daemon.logged("refuse").len(), 0, "{:#?}", daemon.log());
    daemon.stop();
    // What was confirmed is settled: the next start tells nginx nothing.
    let told = web.told("signal 1 (SIGHUP)");
    let daemon = web.job.start(&["run"]);
    set(&web.job, "five");
    wait_for_body(web.port, "five");
    assert_eq!(web.told("signal 1 (SIGHUP)"), told + 1);
    daemon.stop();
}

#[test]
fn files_that_nginx_refuses_come_back() {
    let web = Web::signalled(2, "nginx: {error_log: error.log}, within: 60s");
    let _nginx = web.nginx();
    let mut daemon = web.start();
    let good = web.site();
    let told = web.told("signal 1 (SIGHUP)");
    let changed = Instant::now();
    set(&web.job, "two'; } no_such_directive hunter2; location /y { return 200 '");
    web.assert_back(&mut daemon, "nginx refused the files and kept its old workers", &good);
    assert!(changed.elapsed() < Duration::from_secs(30), "it need not wait for its whole time");
    let refusal = &daemon.logged("nginx refused")[0];
    assert!(refusal.contains("error.log") && !refusal.contains("no_such_directive"), "{refusal}");
    daemon.wait_for_log("the error log says");
    // It keeps its old workers, so the files alone come back.
    assert_eq!(web.told("unknown directive \"no_such_directive\""), 1);
    set(&web.job, "three");
    wait_for_body(web.port, "three");
    assert_eq!(web.told("signal 1 (SIGHUP)"), told + 2, "one for what was refused, one for what came next");
    daemon.stop();
}

#[test]
fn files_whose_address_is_taken_come_back() {
    let web = Web::signalled(2, "nginx: {}");
    let _nginx = web.nginx();
    let mut daemon = web.start();
    let good = web.site();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("two'; }} }} server {{ listen {}; location / {{ return 200 '", taken.local_addr().unwrap());
    set(&web.job, &listen);
    web.assert_back(&mut daemon, "nginx refused the files", &good);
    wait_for_body(web.port, "one");
    assert_eq!(web.told("still could not bind()"), 1, "one attempt");
    set(&web.job, "two");
    wait_for_body(web.port, "two");
    assert_eq!(web.told("still could not bind()"), 1);
    daemon.stop();
}

#[test]
fn old_workers_that_linger_do_not_hold_a_confirmation_up() {
    let web = Web::signalled(1, "nginx: {}, within: 5s");
    let nginx = web.nginx();
    let daemon = web.start();
    // A backend that takes the request and never answers keeps the old worker.
    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(("127.0.0.1", web.port)).unwrap();
    let request = format!("GET /slow?port={} HTTP/1.0\r\n\r\n", backend.local_addr().unwrap().port());
    std::io::Write::write_all(&mut client, request.as_bytes()).unwrap();
    // Whoever else finds this port says something else.
    let _held = loop {
        let (mut stream, _) = backend.accept().unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let mut said = [0; 9];
        if stream.read_exact(&mut said).is_ok() && said.starts_with(b"GET /slow") {
            break stream;
        }
    };
    set(&web.job, "two");
    wait_for_logged(&daemon, "reloaded", 2);
    wait_for_body(web.port, "two");
    let lingers = poll_until(SOON, || {
        let titles = titles(nginx.id());
        let lingering = titles.iter().filter(|title| title.contains("is shutting down")).count();
        if lingering == 1 { Ok(lingering) } else { Err(format!("{titles:?}")) }
    });
    assert_eq!(lingers, 1);
    set(&web.job, "three");
    wait_for_logged(&daemon, "reloaded", 3);
    assert_eq!(daemon.logged("refuse").len(), 0, "{:#?}", daemon.log());
    daemon.stop();
}

/// A request that no backend answers, and which keeps the worker that took it. Give the backend's end back to end it.
fn long_request(web: &Web) -> (TcpStream, TcpStream) {
    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(("127.0.0.1", web.port)).unwrap();
    let request = format!("GET /slow?port={} HTTP/1.0\r\n\r\n", backend.local_addr().unwrap().port());
    std::io::Write::write_all(&mut client, request.as_bytes()).unwrap();
    let (taken, _) = backend.accept().unwrap();
    (client, taken)
}

/// How the target stands.
fn target(web: &Web, command: &[&str], pointer: &str) -> serde_json::Value {
    let output = web.job.run(&[command, &["--json"]].concat());
    let document: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    document.pointer(pointer).cloned().unwrap_or_default()
}

#[test]
fn a_reload_waits_while_it_would_leave_too_many_old_workers() {
    let web = Web::signalled(1, "nginx: {max_old_workers: 1}, within: 60s");
    let _nginx = web.nginx();
    let mut daemon = web.start();
    let connection = long_request(&web);
    set(&web.job, "two");
    wait_for_logged(&daemon, "reloaded", 2);
    // It would make an old worker of the one that serves by now, beside the one that is left.
    set(&web.job, "three");
    daemon.wait_for_log("delayed: 1 old workers of nginx");
    for (command, place) in [(&["status"][..], "/targets/0"), (&["explain", "web"], "/target")] {
        let target = target(&web, command, place);
        assert_eq!(target["delayed"]["by"], "old_workers", "{target}");
        assert!(target["delayed"]["until"].is_string(), "{target}");
        assert_eq!((&target["well"], &target["state"]), (&false.into(), &"settled".into()), "{target}");
    }
    let said = web.job.run(&["status"]);
    said.assert_code(1);
    assert!(said.stdout.contains("delayed: 1 old workers of nginx"), "{}", said.stdout);
    assert!(web.site().contains("two"), "nothing is written before");

    set(&web.job, "four");
    drop(connection);
    wait_for_body(web.port, "four");
    wait_for_logged(&daemon, "reloaded", 3);
    assert_eq!(daemon.logged("goes on after").len(), 1, "{:#?}", daemon.log());
    assert_eq!(daemon.logged("delayed: ").len(), 1, "{:#?}", daemon.log());
    assert!(target(&web, &["status"], "/targets/0/delayed").is_null());
    daemon.stop();
}

#[test]
fn a_reload_waits_no_longer_than_it_may_and_not_when_it_is_ordered() {
    let web = Web::signalled(1, "nginx: {max_old_workers: 1, max_hold: 3s}, within: 60s");
    let _nginx = web.nginx();
    let mut daemon = web.start();
    let _connections = [long_request(&web)];
    set(&web.job, "two");
    wait_for_logged(&daemon, "reloaded", 2);
    let since = Instant::now();
    set(&web.job, "three");
    wait_for_body(web.port, "three");
    assert!(since.elapsed() >= Duration::from_secs(3));
    assert!(daemon.wait_for_log("goes on after 3s").contains("though 1 old workers of nginx"));

    // Files that somebody edited wait as well; what the operator orders does not.
    set(&web.job, "four");
    daemon.wait_for_log("delayed: ");
    let since = Instant::now();
    web.job.run(&["apply", "web"]).assert_code(0);
    assert!(since.elapsed() < Duration::from_secs(3));
    wait_for_body(web.port, "four");
    daemon.stop();
}

/// What the children of a process say of themselves.
fn titles(pid: u32) -> Vec<String> {
    children(pid).into_iter().map(|(_, title)| title).collect()
}

fn children(pid: u32) -> Vec<(i32, String)> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let child = |pid: &str| {
        let title = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        Some((pid.parse().unwrap(), String::from_utf8_lossy(&title).into_owned()))
    };
    list.split_whitespace().filter_map(child).collect()
}

#[test]
fn a_worker_that_crashed_is_no_confirmation() {
    // The reload tells nobody: it only ends a worker, and nginx starts another one with the old files. It can do so once.
    let web = Web::new(
        2,
        "    reload: {shell: 'if [ -e worker ]; then kill -9 $(cat worker) || :; else kill -HUP $(cat nginx.pid); fi'}
    confirm: {nginx: {pid_file: nginx.pid}, within: 3s, interval: 10ms}",
    );
    let nginx = web.nginx();
    let mut daemon = web.start();
    let good = web.site();
    let workers = || -> Vec<i32> {
        let workers = children(nginx.id()).into_iter().filter(|(_, title)| title.starts_with("nginx: worker process"));
        workers.map(|(pid, _)| pid).collect()
    };
    let old = workers()[0];
    web.job.write("worker", old.to_string());
    set(&web.job, "two");
    poll_until(SOON, || match workers() {
        new if new.len() == 2 && !new.contains(&old) => Ok(()),
        other => Err(format!("the workers are {other:?}")),
    });
    web.assert_back(&mut daemon, "web", &good);
    assert_eq!(daemon.logged("reloaded").len(), 1, "{:#?}", daemon.log());
    wait_for_body(web.port, "one");
    daemon.stop();
}

#[test]
fn a_master_that_goes_leaves_the_reload_owed() {
    // The reload ends nginx, as an unlucky service manager would.
    let web = Web::new(
        1,
        "    reload: {shell: 'if [ -e end ]; then kill -TERM $(cat nginx.pid); else kill -HUP $(cat nginx.pid); fi'}
    confirm: {nginx: {pid_file: nginx.pid}, within: 5s}",
    );
    let nginx = web.nginx();
    let mut daemon = web.start();
    web.job.write("end", "");
    set(&web.job, "two");
    daemon.wait_for_log("not running, the reload is owed");
    assert!(web.site().contains("'two'"), "the files stay for the next start");
    drop(nginx);
    fs::remove_file(web.job.folder().path("end")).unwrap();
    let _nginx = web.nginx();
    wait_for_body(web.port, "two");
    wait_for_logged(&daemon, "reloaded", 2);
    daemon.stop();
}

/// An nginx in the background, which a restart or an upgrade replaces by another process; ended with the test.
struct Background {
    pid_file: PathBuf,
}

impl Background {
    fn start(web: &Web) -> Self {
        let root = web.job.folder().root();
        let status = Command::new(find("nginx"))
            .arg("-p")
            .arg(root)
            .arg("-c")
            .arg(root.join("nginx.conf"))
            .arg("-e")
            .arg(root.join("error.log"))
            .status()
            .unwrap();
        assert!(status.success());
        poll_until(SOON, || http::get(web.port, "/").map_err(|error| error.to_string()));
        Self { pid_file: root.join("nginx.pid") }
    }

    fn id(&self) -> i32 {
        poll_until(SOON, || {
            let text = fs::read_to_string(&self.pid_file).map_err(|error| error.to_string())?;
            text.trim().parse().map_err(|_| format!("no pid: {text:?}"))
        })
    }

    fn signal(pid: i32, signal: Signal) {
        kill(Pid::from_raw(pid), signal).unwrap();
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        for file in [self.pid_file.clone(), self.pid_file.with_extension("pid.oldbin")] {
            if let Some(pid) = fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            }
        }
    }
}

#[test]
fn a_restart_is_a_confirmation() {
    let web = Web::new(2, "    reload: {shell: './restart'}\n    confirm: {nginx: {pid_file: nginx.pid}, within: 10s}");
    let _guard = Background::start(&web);
    let nginx = find("nginx").display().to_string();
    let root = web.job.folder().root().display().to_string();
    web.job.write(
        "restart",
        format!(
            "#!/bin/sh\nold=$(cat nginx.pid)\nkill -TERM $old\nwhile kill -0 $old; do sleep 0.02; done\n\
             exec {nginx} -p {root} -c {root}/nginx.conf -e {root}/error.log\n"
        ),
    );
    fs::set_permissions(web.job.folder().path("restart"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let daemon = web.start();
    set(&web.job, "two");
    wait_for_logged(&daemon, "reloaded", 2);
    wait_for_body(web.port, "two");
    assert_eq!(web.told("signal 1 (SIGHUP)"), 0);
    daemon.stop();
}

#[test]
fn the_master_of_a_binary_upgrade_is_the_one_that_confirms() {
    let web = Web::signalled(2, "nginx: {}");
    let nginx = Background::start(&web);
    let daemon = web.start();
    let old = nginx.id();
    Background::signal(old, Signal::SIGUSR2);
    // Old and new master stand side by side, and the pid file names the new one.
    let new = poll_until(SOON, || match nginx.id() {
        new if new != old => Ok(new),
        _ => Err("nginx was not upgraded".to_owned()),
    });
    set(&web.job, "two");
    wait_for_logged(&daemon, "reloaded", 2);
    Background::signal(old, Signal::SIGQUIT);
    poll_until(SOON, || {
        if fs::exists(format!("/proc/{old}")).unwrap() {
            Err("the old master has not ended".to_owned())
        } else {
            Ok(())
        }
    });
    wait_for_body(web.port, "two");
    set(&web.job, "three");
    wait_for_logged(&daemon, "reloaded", 3);
    wait_for_body(web.port, "three");
    assert_eq!(nginx.id(), new);
    assert_eq!(daemon.logged("refuse").len(), 0, "{:#?}", daemon.log());
    daemon.stop();
}

#[test]
fn a_program_that_is_no_master_is_no_refusal() {
    let web = Web::signalled(1, "nginx: {}, within: 300ms");
    web.job.write(
        "program",
        "trap 'echo >> told' HUP\necho $$ > .pid && mv .pid nginx.pid\nwhile :; do sleep 0.05; done\n",
    );
    let mut program = bound(Signal::SIGKILL, "sh");
    program.arg("program").current_dir(web.job.folder().root());
    let _program = Process::start(program);
    web.job.wait_for_lines("nginx.pid", 1);
    let mut daemon = web.job.start(&["run"]);
    daemon.wait_for_log("has no workers; is it the master of nginx?");
    assert!(web.site().contains("'one'"), "the files stay");
    web.job.wait_for_lines("told", 2);
    daemon.stop();
}

#[test]
fn whoever_is_stopped_past_the_time_still_sees_what_came_of_the_reload() {
    let nginx = "{nginx: {pid_file: nginx.pid}, within: 2s}";
    let shell = "{shell: 'sleep 0.1', within: 2s}";
    for confirm in [nginx, shell] {
        let reload = stopping("kill -HUP $(cat nginx.pid)");
        let web = Web::new(2, &format!("{reload}\n    confirm: {confirm}"));
        let _nginx = web.nginx();
        let mut daemon = web.start();
        stopped_in_the_next_reload(&web.job, &mut daemon, "two");
        wait_for_logged(&daemon, "reloaded", 2);
        wait_for_body(web.port, "two");
        assert_eq!(daemon.logged("refuse").len(), 0, "{:#?}", daemon.log());
        daemon.stop();
    }
}
