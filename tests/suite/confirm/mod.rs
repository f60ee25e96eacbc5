//! Confirm: a process that was told of new files runs them, or the files that it ran come back.

mod haproxy;
mod nginx;

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::liveconf::{Daemon, Job};
use crate::support::{SOON, http, poll_until};

/// A target on a file registry, whose key `x` stands in `conf.d/site.conf` as `template` has it.
fn job(template: &str, target: &str) -> Job {
    let job = Job::new(&format!(
        "registries: {{local: {{file: {{path: registry.yaml}}}}}}
log: {{level: debug}}
targets:
  web:
    templates: [{{src: site.tera, dest: conf.d/site.conf}}]
    wait: 0
    reload_interval: 0
    retry: 50ms..200ms
{target}
"
    ));
    job.with("site.tera", template)
}

/// Makes `x` this.
fn set(job: &Job, x: &str) {
    job.write("registry.yaml", format!("x: {x:?}\n"));
}

/// Waits until what listens on `port` answers with just this.
#[track_caller]
fn wait_for_body(port: u16, body: &str) {
    poll_until(SOON, || match http::get(port, "/") {
        Ok((200, found)) if found == body => Ok(()),
        other => Err(format!("should give {body:?}, but gave {other:?}")),
    });
}

/// Waits until this many lines of the log hold this text.
#[track_caller]
fn wait_for_logged(daemon: &Daemon, text: &str, count: usize) {
    poll_until(SOON, || {
        let found = daemon.logged(text).len();
        if found >= count { Ok(()) } else { Err(format!("`{text}` stands {found} of {count} times in the log")) }
    });
}

/// A reload that ends with liveconf stopped, as a frozen container is, when there is a file `stop`.
fn stopping(reload: &str) -> String {
    format!("    reload: {{shell: '{reload}; if [ -e stop ]; then rm stop; kill -STOP $PPID; fi'}}")
}

/// Lets liveconf be stopped by its next reload, for longer than the 2 s that a confirmation may take.
fn stopped_in_the_next_reload(job: &Job, daemon: &mut Daemon, x: &str) {
    job.write("stop", "");
    set(job, x);
    poll_until(SOON, || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", daemon.id())).unwrap();
        let state = stat.rsplit_once(") ").unwrap().1.chars().next();
        if state == Some('T') { Ok(()) } else { Err(format!("liveconf is in state {state:?}")) }
    });
    // What counts is the time that passes.
    std::thread::sleep(Duration::from_millis(2500));
    daemon.signal(Signal::SIGCONT);
}
