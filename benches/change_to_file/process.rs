//! What the kernel says about a process.

use std::fs;

/// Ticks of a second in `/proc/PID/stat`: 100 on every machine that liveconf runs on.
const TICKS: f64 = 100.0;

/// User and system time of a process so far, in milliseconds, with that of its children that have ended.
pub(crate) fn cpu(id: u32) -> f64 {
    stat(id).map_or(0.0, |fields| fields[11..15].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>()) * 1e3
        / TICKS
}

/// The process that started this one.
pub(crate) fn parent(id: u32) -> Option<u32> {
    stat(id)?[1].parse().ok()
}

/// Fields from the third on, which is the state: the second, the name, may hold anything.
fn stat(id: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    Some(stat.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

/// A number of `/proc/PID/status`: memory in KiB, counts as they are.
pub(crate) fn status(id: u32, field: &str) -> f64 {
    number(&fs::read_to_string(format!("/proc/{id}/status")).unwrap(), field)
}

/// How often threads of it, which live, lost a core that they still wanted.
pub(crate) fn preempted(id: u32) -> f64 {
    fs::read_dir(format!("/proc/{id}/task"))
        .unwrap()
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok())
        .map(|status| number(&status, "nonvoluntary_ctxt_switches"))
        .sum()
}

fn number(status: &str, field: &str) -> f64 {
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}
