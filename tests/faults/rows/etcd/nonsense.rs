//! What no server should say.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

use super::{K1, begin, registry, write};
use crate::nonsense::Nonsense;
use crate::pace;
use crate::scene::Scene;
use crate::strain::{Strain, most_memory};
use crate::support::etcd::Etcd;
use crate::support::etcd_proxy::{Proxy as WatchProxy, WatchResponse};
use crate::support::proxy::{End, Proxy};

/// In place of etcd there is noise, pages of HTML, broken frames of HTTP/2, broken messages, bombs: no panic, little
/// memory and processor, the file stays, and all is well 15 s after etcd is back.
#[test]
fn row_16_etcd_talks_nonsense() {
    for seed in pace::seeds() {
        println!("seed {seed}");
        let etcd = Etcd::start();
        let client = etcd.client();
        // So many that much is tried.
        let proxies: Vec<_> = (0..24).map(|_| Proxy::start(etcd.port_of(0))).collect();
        let endpoints: Vec<_> = proxies.iter().map(Proxy::endpoint).collect();
        let scene = Scene::new(&registry(&endpoints, ""), "");
        let mut daemon = begin(&scene, &client);
        let reader = scene.forward_reader();
        let strain = Strain::begin(&daemon);
        let nonsense = Nonsense::start(seed);
        for proxy in &proxies {
            proxy.lead_to(nonsense.port);
            proxy.cut(End::Reset);
        }
        write(&client, 2);
        thread::sleep(pace::either(Duration::from_secs(15), Duration::from_secs(300)));
        let said = nonsense.said();
        println!("each kind was said so often: {said:?}");
        assert!(said.iter().all(|times| *times > 0), "{said:?}");
        assert_eq!(scene.shown(), Some(1), "nonsense was rendered");
        assert!(daemon.is_running());
        strain.assert_light(&daemon);
        let memory = most_memory(&daemon);
        assert!(memory <= 64 << 20, "{memory} bytes");
        for proxy in &proxies {
            proxy.lead_to(etcd.port_of(0));
            proxy.cut(End::Reset);
        }
        let back = Instant::now();
        scene.wait_for_within(K1, 2);
        println!("well after {:?}, {} MiB", back.elapsed(), memory >> 20);
        assert_eq!(daemon.logged("panic"), [""; 0]);
        reader.stop().assert_always_whole();
        daemon.stop();
    }
}

/// Makes something else of a frame.
fn distort(mut response: WatchResponse, random: &mut StdRng) -> WatchResponse {
    let mut noise = vec![0; random.random_range(0..200)];
    random.fill_bytes(&mut noise);
    match random.random_range(0..8) {
        0 => response.watch_id = random.random(),
        1 => response.header = None,
        2 => response.header.iter_mut().for_each(|header| header.revision = random.random()),
        3 => response.compact_revision = random.random(),
        4 => response.events = vec![noise],
        5 => response.events.iter_mut().for_each(|event| event.truncate(noise.len() / 2)),
        6 => (response.canceled, response.cancel_reason) = (true, noise.escape_ascii().to_string()),
        _ => (response.created, response.fragment) = (random.random(), random.random()),
    }
    response
}

/// Frames of the watch stream are distorted one in three: events cut off or of noise, ids, revisions and flags at random:
/// the file shows whole generations only, and the newest in the end.
#[test]
fn row_16_etcd_frames_are_distorted() {
    for seed in pace::seeds() {
        println!("seed {seed}");
        let etcd = Etcd::start();
        let client = etcd.client();
        let proxies: Vec<_> = (0..8).map(|_| WatchProxy::start(&etcd.endpoints()[0])).collect();
        let endpoints: Vec<_> = proxies.iter().map(|proxy| proxy.endpoint.clone()).collect();
        let quick = "    wait: 1ms..5ms\n    reload_interval: 0\n";
        let scene = Scene::new(&registry(&endpoints, ""), quick);
        let mut daemon = begin(&scene, &client);
        let reader = scene.forward_reader();
        let (distorted, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        for (number, proxy) in (0..).zip(&proxies) {
            let (distorted, over) = (Arc::clone(&distorted), Arc::clone(&over));
            let mut random = StdRng::seed_from_u64(seed.wrapping_add(number));
            proxy.tamper(move |response| {
                if over.load(Ordering::Relaxed) || random.random_ratio(2, 3) {
                    return vec![response];
                }
                distorted.fetch_add(1, Ordering::Relaxed);
                vec![distort(response, &mut random)]
            });
        }
        let began = Instant::now();
        let mut last = 1;
        while began.elapsed() < pace::either(Duration::from_secs(12), Duration::from_secs(120)) {
            last += 1;
            write(&client, last);
            thread::sleep(Duration::from_millis(20));
        }
        over.store(true, Ordering::Relaxed);
        last += 1;
        write(&client, last);
        scene.wait_for_within(super::k2(), last);
        let seen = reader.stop();
        println!("{} frames distorted, {seen:?}", distorted.load(Ordering::Relaxed));
        assert!(distorted.load(Ordering::Relaxed) > 30);
        seen.assert_always_whole();
        assert!(daemon.is_running());
        assert_eq!(daemon.logged("panic"), [""; 0]);
        daemon.stop();
    }
}
