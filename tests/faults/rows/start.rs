//! Starts in any order.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::alone::{Namespace, is_alone, run};
use crate::scene::Scene;
use crate::support::SOON;
use crate::support::etcd::Etcd;
use crate::support::etcd_client::put;
use crate::support::liveconf::Daemon;

/// What is started, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Liveconf,
    Registry,
    Program,
}

const ORDERS: [[Part; 3]; 6] = {
    use Part::{Liveconf, Program, Registry};
    [
        [Liveconf, Registry, Program],
        [Liveconf, Program, Registry],
        [Registry, Liveconf, Program],
        [Registry, Program, Liveconf],
        [Program, Liveconf, Registry],
        [Program, Registry, Liveconf],
    ]
};

fn write(etcd: &Etcd, number: u64) {
    etcd.client().txn(Scene::generation(number).map(|(key, value)| put(&key, value)).collect());
}

/// liveconf, its registry and its program were started in every order, over an older file: the file stayed until the registry was there, and all came to show its newest.
#[test]
fn row_53_started_in_every_order() {
    for order in ORDERS {
        println!("{order:?}");
        let mut etcd = Etcd::start();
        let mut scene = Scene::new(&format!("etcd: {}", etcd.section_with("prefix: ''")), "    wait: 0\n");
        // Yesterday: all of them ran.
        write(&etcd, 1);
        let daemon = scene.start();
        scene.wait_for(1);
        daemon.stop();
        write(&etcd, 2);
        etcd.kill(0);
        scene.end_program();
        fs::remove_file(scene.job.folder().path("program.pid")).unwrap();
        let reader = scene.reader();

        let mut daemon: Option<Daemon> = None;
        let mut registry_is_up = false;
        for part in order {
            match part {
                Part::Liveconf => {
                    let started = daemon.insert(scene.start());
                    if !registry_is_up {
                        started.wait_for_log("registry does not answer");
                        assert_eq!(scene.shown(), Some(1), "the last good file stays");
                    }
                }
                Part::Registry => {
                    etcd.restart(0);
                    registry_is_up = true;
                    if daemon.is_some() {
                        scene.wait_for_file(SOON, 2);
                    }
                }
                Part::Program => scene.start_program(),
            }
        }
        scene.wait_for_within(Duration::from_secs(15), 2);
        write(&etcd, 3);
        scene.wait_for(3);
        let mut daemon = daemon.unwrap();
        assert!(daemon.is_running());
        reader.stop().assert_always_whole();
        daemon.stop();
    }
}

/// liveconf was started while there was no network at all: the older file stayed, and the newest came when network and registry did.
#[test]
fn row_53_started_before_the_network() {
    if !is_alone(&[Namespace::Network, Namespace::Mount]) {
        return;
    }
    let network = |state: &str| _ = run("ip", &["link", "set", "lo", state]);
    network("up");
    let etcd = Etcd::start();
    let scene = Scene::new(&format!("etcd: {}", etcd.section_with("prefix: ''")), "    wait: 0\n");
    write(&etcd, 1);
    scene.job.run(&["once"]).assert_code(0);
    write(&etcd, 2);
    network("down");
    // Nobody can be reached, not even on the loopback.
    let address = SocketAddr::from(([127, 0, 0, 1], etcd.port_of(0)));
    TcpStream::connect_timeout(&address, Duration::from_millis(300)).unwrap_err();
    let reader = scene.reader();
    let mut daemon = scene.start();
    daemon.wait_for_log("registry does not answer");
    assert_eq!(scene.shown(), Some(1), "the last good file stays");
    network("up");
    scene.wait_for_within(Duration::from_secs(15), 2);
    reader.stop().assert_always_whole();
    daemon.stop();
}
