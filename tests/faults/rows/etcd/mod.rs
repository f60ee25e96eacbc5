//! etcd and the way to it.

mod access;
mod clocks;
mod compacted;
mod frames;
mod load;
mod members;
mod names;
mod network;
mod nonsense;
mod restored;

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::pace;
use crate::scene::Scene;
use crate::support::etcd::Etcd;
use crate::support::etcd_client::{Client, put};
use crate::support::liveconf::Daemon;

/// The times of the protocol in the short run: silence is noticed after 0.9 s instead of 30, and the rest likewise.
const SHORT_CLOCKS: &str = "audit_interval: 1s, relist_interval: 20s, progress_interval: 300ms, dial_timeout: 1s, \
                            request_timeout: 3s, denied_interval: 500ms";

/// K1: when a fault has ended, all is well again within this time. The pauses between tries are the same in both runs.
const K1: Duration = Duration::from_secs(15);

/// K2: what is silent is found and made up for within this time.
fn k2() -> Duration {
    pace::either(Duration::from_secs(15), Duration::from_secs(45))
}

/// More settings of the registry, as they stand in a flow mapping, for these endpoints.
fn registry(endpoints: &[String], more: &str) -> String {
    let clocks = pace::either(SHORT_CLOCKS, "");
    let settings =
        [clocks, more].iter().filter(|text| !text.is_empty()).fold(String::new(), |all, one| all + ", " + one);
    format!("etcd: {{endpoints: [{}], prefix: ''{settings}}}", endpoints.join(", "))
}

/// A scene on these endpoints.
fn scene_at(endpoints: &[String]) -> Scene {
    Scene::new(&registry(endpoints, ""), "")
}

/// Writes a generation in one transaction.
fn write(client: &Client, number: u64) {
    client.txn(Scene::generation(number).map(|(key, value)| put(&key, value)).collect());
}

/// The same while the cluster may be unwell.
fn try_write(client: &Client, number: u64) -> Result<(), String> {
    let operations = Scene::generation(number).map(|(key, value)| put(&key, value)).collect();
    client.try_txn(operations).map(drop).map_err(|status| status.to_string())
}

/// Writes the first generation, starts the program and waits until it shows it.
fn begin(scene: &Scene, client: &Client) -> Daemon {
    write(client, 1);
    let daemon = scene.start();
    scene.wait_for(1);
    daemon
}

/// One that writes a generation after the other, and each of them until etcd has taken it.
struct Writer {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Writer {
    /// From generation 2 on.
    fn start(client: Client, pause: Duration) -> Self {
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(1)));
        let thread = thread::spawn({
            let (stop, written) = (Arc::clone(&stop), Arc::clone(&written));
            move || {
                for number in 2.. {
                    // Without a leader writes are refused.
                    while try_write(&client, number).is_err() {
                        thread::sleep(Duration::from_millis(10));
                    }
                    written.store(number, Ordering::Relaxed);
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    thread::sleep(pause);
                }
            }
        });
        Self { stop, written, thread }
    }

    /// Waits until so many more generations are written.
    fn wait_for(&self, more: u64) {
        let until = self.written.load(Ordering::Relaxed) + more;
        crate::support::poll_until(Duration::from_secs(60), || match self.written.load(Ordering::Relaxed) {
            written if written >= until => Ok(()),
            written => Err(format!("{written} of {until} generations are written")),
        });
    }

    /// Ends it: the last generation, which etcd has.
    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        self.written.load(Ordering::Relaxed)
    }
}

/// Three members, of which the one that the program watches can be told.
struct Cluster(Etcd);

impl Deref for Cluster {
    type Target = Etcd;

    fn deref(&self) -> &Etcd {
        &self.0
    }
}

impl Cluster {
    fn start() -> Self {
        Self(Etcd::cluster(3))
    }

    /// The member that leads.
    fn leader(&self) -> usize {
        (0..3).find(|index| self.metric(*index, "etcd_server_is_leader") == 1).expect("a leader")
    }

    /// The member that the program watches. Nobody else does.
    fn watched(&self) -> usize {
        (0..3).find(|index| self.calls(*index, "Watch") > 0).expect("a member that is watched")
    }
}
