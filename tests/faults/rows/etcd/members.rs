//! Members that are killed, restarted, stopped.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::{Duration, Instant};

use super::{Cluster, K1, Writer, begin, k2, scene_at, write};
use crate::pace;
use crate::scene::{FILE, Scene};
use crate::strain::{self, Strain};
use crate::support::etcd::Etcd;
use crate::support::poll_until;

/// Kills a member under writes. Gives the longest time for which the file did not change.
fn kill_under_writes(cluster: &mut Cluster, scene: &Scene, victim: usize) -> Duration {
    let reader = scene.forward_reader();
    let writer = Writer::start(cluster.client_of((victim + 1) % 3), Duration::from_millis(10));
    writer.wait_for(pace::either(50, 500));
    cluster.0.kill(victim);
    writer.wait_for(pace::either(100, 500));
    let last = writer.stop();
    scene.wait_for_within(K1, last);
    let seen = reader.stop();
    seen.assert_always_whole();
    println!("{last} generations, {seen:?}");
    seen.longest
}

/// The member that is watched, a follower, is killed under 100 writes a second: none is lost, the file never shows but
/// whole generations in their order, and never stands still for more than 3 s.
#[test]
fn row_04_the_member_that_is_watched_is_killed() {
    let mut cluster = Cluster::start();
    let leader = cluster.leader();
    let mut followers = cluster.endpoints();
    followers.remove(leader);
    let scene = scene_at(&followers);
    let daemon = begin(&scene, &cluster.client());
    let victim = cluster.watched();
    assert_ne!(victim, leader);
    let longest = kill_under_writes(&mut cluster, &scene, victim);
    assert!(longest <= Duration::from_secs(3), "{longest:?} without a new generation");
    assert_eq!(daemon.logged("etcd is lost").len(), 1, "the member was not in use: {:#?}", daemon.log());
    daemon.stop();
}

/// The leader is killed under 100 writes a second: the writes that the next leader takes are all there within 15 s, and
/// the file never shows but whole generations in their order.
#[test]
fn row_05_the_leader_is_killed_under_writes() {
    let mut cluster = Cluster::start();
    let scene = scene_at(&cluster.endpoints());
    let daemon = begin(&scene, &cluster.client());
    let leader = cluster.leader();
    kill_under_writes(&mut cluster, &scene, leader);
    daemon.stop();
}

/// Two of three members are killed for a while: that is said within 10 s, the file is not touched, and 15 s after they
/// are back it shows what was written since.
#[test]
fn row_06_the_quorum_is_lost_and_comes_back() {
    let mut cluster = Cluster::start();
    let scene = scene_at(&cluster.endpoints());
    let mut daemon = begin(&scene, &cluster.client());
    let file = scene.job.folder().path(FILE);
    let identity = |path| fs::metadata(path).map(|file| (file.ino(), file.mtime_nsec(), file.len())).unwrap();
    let before = identity(&file);
    let reloads = scene.reloads();
    let reader = scene.forward_reader();
    let strain = Strain::begin(&daemon);

    let gone = Instant::now();
    cluster.0.kill(0);
    cluster.0.kill(1);
    daemon.wait_for_log("registry does not answer");
    let told = gone.elapsed();
    assert!(told <= Duration::from_secs(10), "told after {told:?}");
    let refused = super::try_write(&cluster.client_of(2), 2).unwrap_err();
    println!("told after {told:?}; a write is refused: {refused}");
    thread::sleep(pace::either(Duration::from_secs(5), Duration::from_secs(60)).saturating_sub(gone.elapsed()));
    assert_eq!(identity(&file), before, "the file was touched");
    assert_eq!(scene.reloads(), reloads);
    strain.assert_light(&daemon);

    cluster.0.restart_all(&[0, 1]);
    write(&cluster.client(), 3);
    scene.wait_for_within(K1, 3);
    reader.stop().assert_always_whole();
    daemon.stop();
}

/// Each member is restarted in turn, by SIGTERM or by SIGKILL, under writes: none is lost, the file never shows but whole
/// generations in their order, and there are no more reloads than changes.
#[test]
fn row_07_all_members_are_restarted_in_turn() {
    let mut cluster = Cluster::start();
    let scene = scene_at(&cluster.endpoints());
    let daemon = begin(&scene, &cluster.client());
    let reader = scene.forward_reader();
    let writer = Writer::start(cluster.client(), Duration::from_millis(20));
    for round in 0..pace::either(1, 5) {
        for member in 0..3 {
            if (round + member) % 2 == 0 {
                cluster.0.stop(member);
            } else {
                cluster.0.kill(member);
            }
            writer.wait_for(10);
            cluster.0.restart(member);
            thread::sleep(pace::either(Duration::from_millis(500), Duration::from_secs(10)));
        }
    }
    let last = writer.stop();
    scene.wait_for_within(K1, last);
    let seen = reader.stop();
    seen.assert_always_whole();
    assert!(daemon.log().iter().any(|line| line.contains("etcd is lost")), "{:#?}", daemon.log());
    println!("{last} generations, {} reloads, {seen:?}", scene.reloads());
    assert!(scene.reloads() as u64 <= seen.versions + 1, "more reloads than changes");
    daemon.stop();
}

/// The only member is stopped by SIGSTOP: that is found without a closed connection and costs next to nothing, the file
/// stays, and all is well 15 s after it goes on.
#[test]
fn row_10_etcd_the_only_member_stands_still() {
    let mut etcd = Etcd::start();
    let scene = scene_at(&etcd.endpoints());
    let client = etcd.client();
    let mut daemon = begin(&scene, &client);
    let reader = scene.forward_reader();
    let strain = Strain::begin(&daemon);
    etcd.pause(0);
    let stopped = Instant::now();
    poll_until(K1, || match strain::state(etcd.process_of(0)) {
        'T' => Ok(()),
        state => Err(format!("etcd is in state {state}")),
    });
    poll_until(k2(), || match daemon.logged("registry does not answer").first() {
        Some(_) => Ok(()),
        None => Err("nobody says that etcd does not answer".to_owned()),
    });
    println!("found after {:?}", stopped.elapsed());
    thread::sleep(pace::either(Duration::from_secs(6), Duration::from_secs(60)).saturating_sub(stopped.elapsed()));
    strain.assert_light(&daemon);
    assert!(daemon.is_running() && scene.shows(1).is_ok());
    etcd.resume(0);
    write(&client, 2);
    scene.wait_for_within(K1, 2);
    reader.stop().assert_always_whole();
    daemon.stop();
}

/// Each of three members is stopped by SIGSTOP in turn: what is written meanwhile is there within 45 s, from another.
#[test]
fn row_10_etcd_one_member_of_three_stands_still() {
    let mut cluster = Cluster::start();
    let scene = scene_at(&cluster.endpoints());
    let daemon = begin(&scene, &cluster.client());
    let reader = scene.forward_reader();
    for victim in 0..3 {
        let survivor = cluster.client_of((victim + 1) % 3);
        cluster.0.pause(victim);
        poll_until(K1, || match strain::state(cluster.process_of(victim)) {
            'T' => Ok(()),
            state => Err(format!("member {victim} is in state {state}")),
        });
        let number = victim as u64 + 2;
        let writer = || super::try_write(&survivor, number);
        poll_until(k2(), writer);
        scene.wait_for_within(k2(), number);
        cluster.0.resume(victim);
    }
    reader.stop().assert_always_whole();
    // Whichever it was connected to, it was moved at least once.
    assert!(!daemon.logged("etcd is lost").is_empty(), "{:#?}", daemon.log());
    daemon.stop();
}
