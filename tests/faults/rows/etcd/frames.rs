//! Frames of the watch stream that are lost, doubled, late, or out of order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{K1, begin, registry, scene_at, write};
use crate::pace;
use crate::scene::Scene;
use crate::support::etcd::Etcd;
use crate::support::etcd_client::Client;
use crate::support::etcd_proxy::{Proxy, WatchResponse};
use crate::support::poll_until;

/// K3: an event that was lost is made up for within this time.
fn k3() -> Duration {
    pace::either(Duration::from_secs(15), Duration::from_secs(75))
}

/// One member behind a proxy that loses each hundredth frame of events.
struct Lossy {
    _etcd: Etcd,
    client: Client,
    proxy: Proxy,
    scene: Scene,
    frames: Arc<AtomicU64>,
}

/// A frame in so many is lost.
const ONE_IN: u64 = 100;

impl Lossy {
    fn new() -> Self {
        let etcd = Etcd::start();
        let proxy = Proxy::start(&etcd.endpoints()[0]);
        let scene = scene_at(std::slice::from_ref(&proxy.endpoint));
        let client = etcd.client();
        write(&client, 1);
        Self { _etcd: etcd, client, proxy, scene, frames: Arc::default() }
    }

    /// Writes until a frame was lost, and waits for what it told, with nothing written after it. Gives the frames lost.
    fn check(&self) -> Result<u64, String> {
        self.scene.wait_for(1);
        let frames = Arc::clone(&self.frames);
        self.proxy.tamper(move |response| {
            let is_lost =
                !response.events.is_empty() && (frames.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(ONE_IN);
            if is_lost { Vec::new() } else { vec![response] }
        });
        let (mut number, mut lost) = (1, 0);
        while lost < pace::either(2, 20) {
            number += 1;
            let before = self.frames.load(Ordering::Relaxed);
            write(&self.client, number);
            let after = poll_until(K1, || match self.frames.load(Ordering::Relaxed) {
                frames if frames > before => Ok(frames),
                _ => Err("etcd told nobody".to_owned()),
            });
            if after.is_multiple_of(ONE_IN) {
                self.scene.comes_to(k3(), number)?;
                lost += 1;
            }
        }
        Ok(lost)
    }
}

/// One frame in a hundred is lost on the way, and nothing that comes later makes up for it: the audit does, within 75 s
/// (of which the short run needs a few), and says so each time.
#[test]
fn row_24_lost_frames_are_found_by_the_audit() {
    let lossy = Lossy::new();
    let daemon = lossy.scene.start();
    let lost = lossy.check().unwrap();
    assert_eq!(daemon.logged("etcd has lost events of a watch").len() as u64, lost, "{:#?}", daemon.log());
    daemon.stop();
}

/// Without the audit what a lost frame told never comes: the check of this row notices.
#[test]
fn row_24_without_the_audit_the_check_fails() {
    let lossy = Lossy::new();
    let daemon = lossy.scene.start_without("audit");
    let missed = lossy.check().unwrap_err();
    assert_eq!(lossy.frames.load(Ordering::Relaxed), ONE_IN);
    assert!(missed.contains("should show generation"), "{missed}");
    daemon.stop();
}

/// What a proxy does to the order of frames.
struct Shuffle {
    random: StdRng,
    /// The last frames that came.
    past: VecDeque<WatchResponse>,
    /// One that waits for the next.
    held: Option<WatchResponse>,
    /// How often each trick was done.
    tricks: Arc<[AtomicU64; 3]>,
    /// Whether there is an end to them.
    is_over: Arc<AtomicU64>,
}

impl Shuffle {
    fn take(&mut self, response: WatchResponse) -> Vec<WatchResponse> {
        if response.events.is_empty() {
            return vec![response];
        }
        self.past.push_back(response.clone());
        if self.past.len() > 20 {
            self.past.pop_front();
        }
        let mut frames = vec![response];
        if let Some(late) = self.held.take() {
            frames.push(late);
        } else if self.is_over.load(Ordering::Relaxed) == 0 {
            let trick = self.random.random_range(0..4);
            match trick {
                0 => frames.push(frames[0].clone()),
                1 => {
                    let old = self.past[self.random.random_range(0..self.past.len())].clone();
                    frames.push(old);
                }
                2 => self.held = frames.pop(),
                _ => return frames,
            }
            self.tricks[trick].fetch_add(1, Ordering::Relaxed);
        }
        frames
    }
}

/// Frames come twice, come again long after, or after the one behind them: the file shows whole generations only, never
/// one before the last, and the newest in the end.
#[test]
fn row_25_frames_come_twice_late_or_out_of_order() {
    for seed in pace::seeds() {
        println!("seed {seed}");
        let etcd = Etcd::start();
        let client = etcd.client();
        let proxy = Proxy::start(&etcd.endpoints()[0]);
        let quick = "    wait: 1ms..5ms\n    reload_interval: 0\n";
        let scene = Scene::new(&registry(std::slice::from_ref(&proxy.endpoint), ""), quick);
        let daemon = begin(&scene, &client);
        let reader = scene.forward_reader();
        let (tricks, is_over): (Arc<[AtomicU64; 3]>, Arc<AtomicU64>) = Default::default();
        let mut shuffle = Shuffle {
            random: StdRng::seed_from_u64(seed),
            past: VecDeque::new(),
            held: None,
            tricks: Arc::clone(&tricks),
            is_over: Arc::clone(&is_over),
        };
        proxy.tamper(move |response| shuffle.take(response));
        let last = pace::either(400, 4000);
        for number in 2..=last {
            if number == last {
                is_over.store(1, Ordering::Relaxed);
            }
            write(&client, number);
            thread::sleep(Duration::from_millis(10));
        }
        scene.wait_for_within(K1, last);
        let seen = reader.stop();
        let tricks: Vec<u64> = tricks.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        println!("{tricks:?} frames came twice, came again, came late; {seen:?}");
        assert!(tricks.iter().all(|count| *count >= last / 20), "{tricks:?}");
        seen.assert_always_whole();
        assert_eq!(daemon.logged("lost events"), [""; 0], "what came late had to be found by the audit");
        assert!(seen.versions > 50, "too few of them were rendered: {seen:?}");
        daemon.stop();
    }
}
