//! Consul that does what a cluster does on a bad day, and operators who get something wrong. No file is emptied, other
//! targets go on, the log says why once, and in the end the file is the render of what is there.

mod absent;
mod away;
mod churn;
mod rights;
mod strangers;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::liveconf::{Daemon, Job};
use crate::support::{SOON, poll_until};

/// What recovery from an outage may take: K1 is 15 s, and the machine may be busy.
const RECOVERY: Duration = Duration::from_secs(40);

/// A configuration with these registries, by name and section, and with targets of one file each, by name and
/// template. Files are `NAME.conf`.
fn configuration(registries: &[(&str, String)], targets: &[(&str, &str)]) -> String {
    let mut text = "registries:\n".to_owned();
    for (name, section) in registries {
        writeln!(text, "  {name}: {{consul: {section}}}").unwrap();
    }
    text.push_str("targets:\n");
    for (name, template) in targets {
        writeln!(text, "  {name}:").unwrap();
        writeln!(text, "    templates: [{{content: {}, dest: {name}.conf}}]", Value::from(*template)).unwrap();
        // What a registry says is in the file at once: guards have tests of their own.
        text.push_str("    guard: {empty_after: 0s}\n    wait: 1ms..20ms\n    reload_interval: 0\n");
    }
    text
}

/// A job with one registry and these targets.
fn job(section: &str, targets: &[(&str, &str)]) -> Job {
    Job::new(&configuration(&[("main", section.to_owned())], targets))
}

/// The lines of the log that want somebody's attention.
fn complaints(daemon: &Daemon) -> Vec<String> {
    daemon.log().into_iter().filter(|line| line.contains(" WARN ") || line.contains(" ERROR ")).collect()
}

/// Waits until a line of the log holds all of these; the line.
#[track_caller]
fn wait_for_line(daemon: &Daemon, fragments: &[&str]) -> String {
    let is_it = |line: &String| fragments.iter().all(|fragment| line.contains(fragment));
    poll_until(SOON, || {
        daemon.log().into_iter().find(is_it).ok_or_else(|| format!("{fragments:?} in:\n{}", daemon.log().join("\n")))
    })
}

/// Waits until `once`, which gave up, has named what it waited for and why; the line.
#[track_caller]
fn wait_for_what_was_missing(once: &Daemon, reason: &str) -> String {
    wait_for_line(once, &["is not ready after"]);
    let is_it = |line: &String| line.starts_with("  ") && line.contains(reason);
    poll_until(SOON, || once.log().into_iter().find(is_it).ok_or_else(|| once.log().join("\n")))
}

/// The one line of the log with this text.
#[track_caller]
fn said_once(daemon: &Daemon, text: &str) -> String {
    let mut lines = daemon.logged(text);
    assert_eq!(lines.len(), 1, "`{text}` in:\n{}", daemon.log().join("\n"));
    lines.remove(0)
}

/// Looks again and again for this long whether something stays true.
#[track_caller]
fn stays(so_long: Duration, mut check: impl FnMut()) {
    let end = Instant::now() + so_long;
    poll_until(so_long * 2, || {
        check();
        if Instant::now() >= end { Ok(()) } else { Err("never".to_owned()) }
    });
}
