//! Whether the machine was quiet enough for its numbers to be worth something.

use std::fs;
use std::path::Path;
use std::process;
use std::time::Instant;

use crate::process::{cpu, parent};

/// How much of all cores others may take.
const OTHERS: f64 = 0.10;
/// How much the host of a virtual machine may take.
const STEAL: f64 = 0.02;

/// What the machine had done when the run began.
pub(crate) struct Machine {
    begun: Instant,
    load: f64,
    cores: usize,
    ours: f64,
    busy: f64,
    steal: f64,
}

impl Machine {
    /// Now.
    pub(crate) fn now() -> Self {
        let (busy, steal) = machine_time();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { begun: Instant::now(), load: load(), cores, ours: our_time(), busy, steal }
    }

    /// What it is.
    pub(crate) fn describe(&self, folder: &Path) -> String {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let file_system = mounts
            .lines()
            .filter_map(|line| line.split(' ').nth(1).zip(line.split(' ').nth(2)))
            .filter(|(point, _)| folder.starts_with(point))
            .max_by_key(|(point, _)| point.len())
            .map_or("?", |(_, kind)| kind);
        format!("machine: {} cores, Linux {}, files on {file_system}", self.cores, kernel.trim())
    }

    /// What disturbed it since.
    pub(crate) fn disturbances(&self) -> Vec<String> {
        let (busy, steal) = machine_time();
        #[expect(clippy::cast_precision_loss, reason = "few cores")]
        let (elapsed, cores) = (self.begun.elapsed().as_secs_f64() * 1e3, self.cores as f64);
        let others = (busy - self.busy - (our_time() - self.ours)).max(0.0) / (elapsed * cores);
        let stolen = (steal - self.steal) / (elapsed * cores);
        let mut found = Vec::new();
        if self.load > cores * 0.5 {
            found.push(format!("the load was {:.1} on {} cores when the run began", self.load, self.cores));
        }
        if others > OTHERS {
            found.push(format!("other programs took {:.0} % of all cores", others * 100.0));
        }
        if stolen > STEAL {
            found.push(format!("the host took {:.0} % of all cores", stolen * 100.0));
        }
        found
    }
}

/// The load of the last minute.
fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap();
    text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or_default()
}

/// Milliseconds in which a core worked, and in which the host took it away.
fn machine_time() -> (f64, f64) {
    let stat = fs::read_to_string("/proc/stat").unwrap();
    let line = stat.lines().next().unwrap_or_default();
    let ticks: Vec<f64> = line.split_whitespace().skip(1).map(|ticks| ticks.parse().unwrap()).collect();
    // user nice system idle iowait irq softirq steal; a tick is 10 ms.
    let busy = ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6];
    (busy * 10.0, ticks[7] * 10.0)
}

/// What we and the programs that we started took.
fn our_time() -> f64 {
    let own = process::id();
    let all = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    all.filter(|id| *id == own || parent(*id) == Some(own)).map(cpu).sum()
}
