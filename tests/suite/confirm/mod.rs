//! Confirm: a process that was told of new files runs them, or the files that it ran come back.

mod haproxy;
mod nginx;

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
