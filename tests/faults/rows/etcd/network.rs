//! The way to etcd: silent, cut, slow.

use std::net::SocketAddrV4;
use std::thread;
use std::time::{Duration, Instant};

use super::{K1, begin, k2, registry, write};
use crate::alone::{Namespace, is_alone};
use crate::network::{Direction, HERE, Machine};
use crate::pace;
use crate::scene::Scene;
use crate::strain::Strain;
use crate::support::etcd::Etcd;
use crate::support::liveconf::{BINARY, start};
use crate::support::proxy::{Door, End, Link, Proxy};
use crate::support::{poll_until, port};

/// A target that applies at once.
const QUICK: &str = "    wait: 1ms..5ms\n    reload_interval: 0\n";

/// A registry with the clocks of production.
fn production(proxies: &[Proxy]) -> String {
    let endpoints: Vec<_> = proxies.iter().map(Proxy::endpoint).collect();
    format!("etcd: {{endpoints: [{}], prefix: ''}}", endpoints.join(", "))
}

/// The connection is lost, and the next member takes connections and never answers: within 10 s what is written meanwhile
/// is there from another, with the clocks of production.
#[test]
fn row_13_a_member_accepts_and_never_answers() {
    let etcd = Etcd::start();
    let client = etcd.client();
    let proxies: Vec<_> = (0..2).map(|_| Proxy::start(etcd.port_of(0))).collect();
    let scene = Scene::new(&production(&proxies), QUICK);
    let daemon = begin(&scene, &client);
    let strain = Strain::begin(&daemon);
    let (used, other) = if proxies[0].counts().open > 0 { (0, 1) } else { (1, 0) };
    proxies[other].set(Link { door: Door::Silent, ..Link::default() });
    let lost = Instant::now();
    proxies[used].cut(End::Reset);
    write(&client, 2);
    scene.wait_for_within(Duration::from_secs(10), 2);
    println!("after {:?}", lost.elapsed());
    assert!(proxies[other].counts().silent > 0, "the silent one was not tried: {:?}", proxies[other].counts());
    strain.assert_light(&daemon);
    daemon.stop();
}

/// The connection is reset after each number of bytes of a frame of events (in the short run after some eighty of them):
/// the file shows whole generations only, never one before the last, and each time the newest within 15 s.
#[test]
fn row_14_a_reset_at_every_byte_of_a_frame() {
    for seed in pace::seeds() {
        let etcd = Etcd::start();
        let client = etcd.client();
        // So many that trying one after the other needs no pause.
        let proxies: Vec<_> = (0..64).map(|_| Proxy::start(etcd.port_of(0))).collect();
        let scene = Scene::new(&production(&proxies), QUICK);
        let daemon = begin(&scene, &client);
        let reader = scene.forward_reader();
        let used = || {
            let with_both = || proxies.iter().find(|proxy| proxy.counts().open == 2);
            poll_until(K1, || with_both().ok_or_else(|| "it is not connected".to_owned()))
        };
        let mut number = 1000;
        let mut next = || {
            number += 1;
            write(&client, number);
            scene.wait_for_file(K1, number);
        };
        next();
        let before = used().counts().to_client;
        next();
        let length = used().counts().to_client - before;
        let step = pace::either((length / 80).max(1), 1);
        let first = 1 + seed % step;
        println!("seed {seed}: a frame of {length} bytes, cut after {first} and each {step} more");
        for bytes in (first..length).step_by(usize::try_from(step).unwrap()) {
            let proxy = used();
            let before = proxy.counts().cuts;
            proxy.cut_after(bytes, End::Reset);
            next();
            assert_eq!(proxy.counts().cuts, before + 1, "after {bytes} bytes");
        }
        scene.wait_for_within(K1, number);
        reader.stop().assert_always_whole();
        daemon.stop();
    }
}

/// Answers come at 1 KB a second, 3 s late, or in slices of one byte: everything arrives, on the connections that there
/// were, with the clocks of production.
#[test]
fn row_15_a_slow_server() {
    let etcd = Etcd::start();
    let client = etcd.client();
    let proxies = [Proxy::with(etcd.port_of(0), Link { bytes_per_second: 1000, slice: 1, ..Link::default() })];
    let scene = Scene::new(&production(&proxies), QUICK);
    // It also begins on such a link.
    let daemon = begin(&scene, &client);
    let reader = scene.forward_reader();
    let strain = Strain::begin(&daemon);
    let links = [
        Link { slice: 1, ..Link::default() },
        Link { bytes_per_second: 1000, ..Link::default() },
        Link { delay: Duration::from_millis(1500), ..Link::default() },
    ];
    let mut number = 1;
    for link in links {
        proxies[0].set(link);
        for _ in 0..pace::either(2, 20) {
            number += 1;
            let written = Instant::now();
            write(&client, number);
            scene.wait_for_within(Duration::from_secs(10), number);
            println!("{:?} on {link:?}", written.elapsed());
        }
    }
    assert_eq!(proxies[0].counts().connections, 2, "connected anew");
    reader.stop().assert_always_whole();
    // Each change has its two lines.
    strain.assert_few_complaints(&daemon);
    strain.assert_few_resources();
    daemon.stop();
}

/// Lets packets vanish, with no word from anybody, and shows that it is found and made up for.
fn lose(directions: &[Direction]) {
    let machine = Machine::new();
    let etcd = Etcd::start();
    let client = etcd.client();
    let proxy = Proxy::at(SocketAddrV4::new(HERE, port::free()), etcd.port_of(0), Link::default());
    let scene = Scene::new(&registry(&[proxy.endpoint()], ""), "");
    write(&client, 1);
    let mut daemon = start(scene.job.prepare(machine.command(BINARY), &["run"]));
    scene.wait_for(1);
    let reader = scene.forward_reader();
    let strain = Strain::begin(&daemon);
    let (sent_again, heard) = (machine.sent_again(), proxy.counts().to_server);

    let began = Instant::now();
    for direction in directions {
        machine.lose(*direction);
    }
    poll_until(k2(), || match daemon.logged("registry does not answer").first() {
        Some(_) => Ok(()),
        None => Err("nobody says that etcd does not answer".to_owned()),
    });
    println!("found after {:?}", began.elapsed());
    write(&client, 2);
    machine.wait_until_sent_again(sent_again);
    thread::sleep(pace::either(Duration::from_secs(6), Duration::from_secs(90)).saturating_sub(began.elapsed()));
    assert_eq!(scene.shown(), Some(1), "packets arrived");
    let arrived = proxy.counts().to_server > heard;
    assert_eq!(arrived, !directions.contains(&Direction::Here), "what liveconf asks for arrives, or not");
    strain.assert_light(&daemon);

    for direction in directions {
        machine.heal(*direction);
    }
    scene.wait_for_within(K1, 2);
    reader.stop().assert_always_whole();
    assert!(daemon.is_running());
    daemon.stop();
}

/// Packets between liveconf and etcd vanish both ways, with no word from anybody: that is found within 30 s (in the short
/// run 1 s), costs next to nothing, and all is well 15 s after they arrive again.
#[test]
fn row_11_packets_vanish_both_ways() {
    if is_alone(&[Namespace::Network]) {
        lose(&[Direction::Here, Direction::There]);
    }
}

/// Packets from etcd to liveconf vanish, while those to etcd arrive: that is found within 30 s (in the short run 1 s), and
/// all is well 15 s after they arrive again.
#[test]
fn row_12_packets_from_etcd_vanish() {
    if is_alone(&[Namespace::Network]) {
        lose(&[Direction::There]);
    }
}

/// Packets from liveconf to etcd vanish, while those from etcd arrive: that is found within 30 s (in the short run 1 s),
/// and all is well 15 s after they arrive again.
#[test]
fn row_12_packets_to_etcd_vanish() {
    if is_alone(&[Namespace::Network]) {
        lose(&[Direction::Here]);
    }
}
