//! liveconf does not run for a while and does not notice.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::pace;
use crate::scene::Scene;
use crate::support::etcd::Etcd;
use crate::support::etcd_client::put;
use crate::support::poll_until;

/// liveconf was stopped by SIGSTOP while a thousand transactions went through etcd: after it woke it showed the newest within 15 s, and never went back.
#[test]
fn row_46_stopped_for_a_while() {
    let etcd = Etcd::start();
    let client = etcd.client();
    let write = |number| client.txn(Scene::generation(number).map(|(key, value)| put(&key, value)).collect());
    let scene = Scene::new(&format!("etcd: {}", etcd.section_with("prefix: ''")), "");
    write(1);
    let mut daemon = scene.start();
    scene.wait_for(1);
    let reader = scene.reader();

    daemon.signal(Signal::SIGSTOP);
    let since = Instant::now();
    let state = || fs::read_to_string(format!("/proc/{}/stat", daemon.id())).unwrap();
    poll_until(crate::support::SOON, || if state().contains(") T ") { Ok(()) } else { Err(state()) });
    let newest = 1001;
    (2..=newest).for_each(|number| _ = write(number));
    let last = etcd.client().txn(vec![put("other", "x")]);
    // A history that is gone as well: what it wakes up to cannot be a continuation.
    client.compact(last - 1);
    let asleep = Duration::from_secs(pace::either(10, 600));
    thread::sleep(asleep.saturating_sub(since.elapsed()));
    assert!(state().contains(") T "), "it was to sleep all the time: {}", state());
    assert_eq!(scene.shown(), Some(1));

    daemon.signal(Signal::SIGCONT);
    let woken = Instant::now();
    let mut shown = vec![1];
    poll_until(Duration::from_secs(15), || {
        shown.extend(scene.shown().filter(|number| shown.last() != Some(number)));
        scene.shows(newest)
    });
    println!("asleep for {asleep:?}, converged {:?} after it woke, by way of {shown:?}", woken.elapsed());
    assert!(shown.is_sorted(), "it went back: {shown:?}");
    write(newest + 1);
    scene.wait_for(newest + 1);
    reader.stop().assert_always_whole();
    assert!(daemon.is_running());
    daemon.stop();
}
