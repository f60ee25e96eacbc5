//! What it costs to follow Consul while nothing changes.

use std::thread;
use std::time::{Duration, Instant};

use super::Follower;
use super::catalog::Catalog;
use crate::process::{cpu, status};
use crate::report::Report;

/// As long as it takes until every long poll has come back once, and every sweep that nothing asks for has been done.
const REST: Duration = Duration::from_secs(60);

/// A follower whose changes are over.
pub(super) struct Resting {
    pub(super) follower: Follower,
    pub(super) catalog: Catalog,
    /// The most connections that it may have; none where that was not bounded.
    pub(super) most_connections: Option<usize>,
}

/// Counts for all of them at the same time.
pub(super) fn measure(report: &mut Report, all: &[Resting]) {
    let count = || all.iter().map(|one| one.follower.count()).collect::<Vec<_>>();
    let (before, begun) = (count(), Instant::now());
    let mut connections = vec![0; all.len()];
    while begun.elapsed() < REST {
        for (one, most) in all.iter().zip(&mut connections) {
            *most = one.follower.consul.connections().max(*most);
        }
        thread::sleep(Duration::from_secs(1));
    }
    let seconds = begun.elapsed().as_secs_f64();
    for (((one, before), after), connections) in all.iter().zip(before).zip(count()).zip(connections) {
        let [ours, reads, consuls] = [0, 1, 2].map(|at| (after[at] - before[at]) / seconds);
        let resident = status(one.follower.running.daemon.id(), "VmRSS") / 1024.0;
        let what = if one.most_connections.is_some() { "at rest" } else { "at rest, a poll each" };
        let what = format!("{what}, {}", one.catalog.size());
        let part = format!("consul {what}").replace(',', "");
        report.raw_value(&part, "first file after the start", "ms", one.follower.start);
        report.raw_value(&part, "most connections", "", f64::from(u32::try_from(connections).unwrap()));
        report.raw_value(&part, "requests", "1/s", reads);
        report.raw_value(&part, "processor time", "ms/s", ours);
        report.raw_value(&part, "processor time of Consul", "ms/s", consuls);
        report.raw_value(&part, "VmRSS", "MiB", resident);
        let live = format!(
            "{connections} connections, {reads:.1} requests/s, CPU {ours:.1} ms/s (Consul {consuls:.1}), {resident:.1} MiB"
        );
        let target = one.most_connections.map_or(String::new(), |most| format!("at most {most} connections"));
        let met = one.most_connections.map(|most| connections <= most);
        report.row(&format!("Consul: {what}"), &live, "", &target, met);
        // Such as that Consul was away, which is none of the times.
        let warnings = one.follower.running.daemon.logged("WARN");
        report.doubt(warnings.into_iter().map(|line| format!("Consul: {what}: {line}")).collect());
        let start = format!("{:.0} ms", one.follower.start);
        report.row("first file of it after the start", &start, "", "", None);
    }
}

impl Follower {
    /// So far: its processor time in milliseconds, and the reads and the processor time of its Consul.
    fn count(&self) -> [f64; 3] {
        let work = self.consul.work();
        [cpu(self.running.daemon.id()), work.reads, work.cpu]
    }
}
