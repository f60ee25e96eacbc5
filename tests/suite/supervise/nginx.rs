//! Real nginx as the program.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{process, wait_until_well};
use crate::support::liveconf::{Daemon, Job};
use crate::support::{SOON, http, poll_until, port};

/// nginx that says its `x`, run by liveconf.
pub(super) struct Web {
    pub(super) job: Job,
    pub(super) port: u16,
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
    /// With these further keys of the process and of the target. `x` may end its string and go on.
    pub(super) fn new(of_process: &str, of_target: &str) -> Self {
        let port = port::free();
        let site =
            format!("server {{ listen 127.0.0.1:{port}; location / {{ return 200 '{{{{ key(path=\"x\") }}}}'; }} }}");
        let job = Job::new(&format!(
            "registries: {{local: {{file: {{path: registry.yaml}}}}}}
targets:
  nginx:
    templates: [{{src: site.tera, dest: conf.d/site.conf, create_dirs: true}}]
    wait: 0
    reload_interval: 0
    retry: 20ms..200ms
    {of_target}
    process:
      command: [nginx, -p, ., -c, nginx.conf, -e, error.log, -g, 'daemon off;']
      restart_delay: 20ms..1s
      {of_process}
"
        ))
        .with("site.tera", site)
        .with("registry.yaml", "x: one\n");
        let folder = job.folder().root().display().to_string();
        let config = format!(
            "worker_processes 2;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log notice;\n\
             events {{ worker_connections 64; }}\n\
             http {{ access_log off; client_body_temp_path {folder}/t; proxy_temp_path {folder}/t;\n\
             fastcgi_temp_path {folder}/t; uwsgi_temp_path {folder}/t; scgi_temp_path {folder}/t;\n\
             include {folder}/conf.d/*.conf; }}\n"
        );
        job.write("nginx.conf", config);
        Self { job, port }
    }

    pub(super) fn start(&self) -> Daemon {
        self.job.start(&["run"])
    }

    pub(super) fn set(&self, x: &str) {
        self.job.write("registry.yaml", format!("x: {x:?}\n"));
    }

    #[track_caller]
    pub(super) fn serves(&self, x: &str) {
        poll_until(SOON, || match http::get(self.port, "/") {
            Ok((200, found)) if found == x => Ok(()),
            other => Err(format!("should serve {x}: {other:?}")),
        });
    }

    fn master(&self) -> i64 {
        process(&self.job, |process| process["pid"].is_i64())["pid"].as_i64().unwrap()
    }
}

#[test]
fn its_master_is_known_without_a_pid_file() {
    let web = Web::new("", "reload: {signal: HUP}\n    confirm: {nginx: {}}");
    let daemon = web.start();
    web.serves("one");
    wait_until_well(&web.job);
    let master = web.master();
    for x in ["two", "three"] {
        web.set(x);
        web.serves(x);
    }
    poll_until(SOON, || match daemon.logged("reloaded").len() {
        3 => Ok(()),
        times => Err(format!("{times} of 3 reloads: {:#?}", daemon.log())),
    });
    assert_eq!(web.master(), master, "a reload, and no new start");
    daemon.stop();
    assert!(http::get(web.port, "/").is_err());
}

#[test]
fn files_that_it_refuses_are_taken_back_and_it_goes_on() {
    let web = Web::new("", "reload: {signal: HUP}\n    confirm: {nginx: {error_log: error.log}}");
    let mut daemon = web.start();
    web.serves("one");
    wait_until_well(&web.job);
    let (master, good) = (web.master(), web.job.read("conf.d/site.conf"));
    web.set("'; nonsense; #");
    daemon.wait_for_log("the process refuses the new files");
    poll_until(SOON, || if web.job.read("conf.d/site.conf") == good { Ok(()) } else { Err("not back".to_owned()) });
    web.serves("one");
    assert_eq!(web.master(), master);
    web.set("two");
    web.serves("two");
    daemon.stop();
}

#[test]
fn files_over_which_a_new_start_fails_are_taken_back() {
    let web = Web::new("settle: 1s", "reload: restart");
    let mut daemon = web.start();
    web.serves("one");
    wait_until_well(&web.job);
    web.set("'; nonsense; #");
    daemon.wait_for_log("the process refuses the new files");
    web.serves("one");
    web.set("two");
    web.serves("two");
    daemon.stop();
}

#[test]
fn workers_of_a_master_that_was_killed_do_not_hold_the_port() {
    let web = Web::new("", "reload: {signal: HUP}\n    confirm: {nginx: {}}");
    let mut daemon = web.start();
    web.serves("one");
    wait_until_well(&web.job);
    let master = web.master();
    kill(Pid::from_raw(master.try_into().unwrap()), Signal::SIGKILL).unwrap();
    daemon.wait_for_log("ended what it had left in its process group");
    process(&web.job, |process| process["pid"].as_i64().is_some_and(|pid| pid != master));
    web.serves("one");
    let log = fs::read_to_string(web.job.folder().path("error.log")).unwrap();
    assert!(!log.contains("[emerg]"), "{log}");
    web.set("two");
    web.serves("two");
    daemon.stop();
}

#[test]
fn one_that_goes_into_the_background_is_told_of() {
    let web = Web::new("", "reload: {signal: HUP}");
    let config = web.job.read("liveconf.yaml").unwrap();
    web.job.write("liveconf.yaml", config.replace(", -g, 'daemon off;'", ""));
    let mut daemon = web.start();
    daemon.wait_for_log("it has to stay in the foreground");
    let pid: i32 = web.job.wait_for_lines("nginx.pid", 1)[0].parse().unwrap();
    assert!(daemon.is_running());
    web.serves("one");
    daemon.wait_for_log("it left a process in the background, which is not told of new files");
    daemon.stop();
    // It may have been ended with its group, before it had one of its own.
    assert!(http::get(web.port, "/").is_err() && kill(Pid::from_raw(pid), None).is_err(), "it outlived liveconf");
}
