//! etcd that comes back from a backup.

use std::path::PathBuf;

use super::{K1, scene_at, write};
use crate::scene::Scene;
use crate::support::etcd::Etcd;
use crate::support::liveconf::Daemon;
use crate::support::proxy::{Door, End, Link, Proxy};

/// What is logged when a restore shows in the revision or the cluster.
const SEEN: &str = "etcd went back";

/// One member with a backup of generation 1, and a program that has followed it to generation 2 since.
struct Backup {
    etcd: Etcd,
    proxy: Proxy,
    scene: Scene,
    file: PathBuf,
}

impl Backup {
    fn new() -> Self {
        let etcd = Etcd::start();
        let client = etcd.client();
        write(&client, 1);
        let file = etcd.snapshot();
        for _ in 0..10 {
            write(&client, 2);
        }
        let proxy = Proxy::start(etcd.port_of(0));
        let scene = scene_at(&[proxy.endpoint()]);
        Self { etcd, proxy, scene, file }
    }

    /// Restores the backup under a program that is connected. The file must follow, and what is written later too.
    fn restore_under(&mut self, daemon: &Daemon, token: &str) -> Result<(), String> {
        self.scene.wait_for(2);
        self.etcd.restore_as(&self.file, token);
        self.scene.comes_to(K1, 1)?;
        write(&self.etcd.client(), 3);
        self.scene.comes_to(K1, 3)?;
        match daemon.logged(SEEN).len() {
            1 => Ok(()),
            times => Err(format!("it is told {times} times: {:#?}", daemon.log())),
        }
    }

    /// Restores it while the program cannot reach etcd, and lets it overtake the old revision before it can.
    fn restore_and_overtake(&mut self) -> Result<(), String> {
        self.scene.wait_for(2);
        let before = self.etcd.client().put("unrelated", "x");
        self.proxy.set(Link { door: Door::Closed, ..Link::default() });
        self.proxy.cut(End::Reset);
        self.etcd.restore(&self.file);
        let client = self.etcd.client();
        while client.put("unrelated", "x") <= before + 10 {}
        self.proxy.set(Link::default());
        self.scene.comes_to(K1, 1)?;
        write(&client, 3);
        self.scene.comes_to(K1, 3)
    }
}

/// A backup is restored with the flags that etcd had, so that only its lower revision tells: the file follows within 15 s,
/// and the log says it once.
#[test]
fn row_22_restored_with_the_same_flags() {
    let mut backup = Backup::new();
    let daemon = backup.scene.start();
    backup.restore_under(&daemon, Etcd::TOKEN).unwrap();
    daemon.stop();
}

/// A backup is restored as another cluster: the file follows within 15 s, and the log says it once.
#[test]
fn row_22_restored_with_another_token() {
    let mut backup = Backup::new();
    let daemon = backup.scene.start();
    backup.restore_under(&daemon, "another").unwrap();
    daemon.stop();
}

/// A backup is restored and has overtaken the old revision by the time it is reached, so that no number tells: the file
/// follows within 15 s.
#[test]
fn row_22_restored_and_overtaken() {
    let mut backup = Backup::new();
    let daemon = backup.scene.start();
    backup.restore_and_overtake().unwrap();
    assert!(backup.proxy.counts().cuts > 0, "it was connected all the while: {:?}", backup.proxy.counts());
    daemon.stop();
}

/// A backup is restored while liveconf is down: the file follows within 15 s of its start.
#[test]
fn row_22_restored_while_liveconf_is_down() {
    let mut backup = Backup::new();
    let daemon = backup.scene.start();
    backup.scene.wait_for(2);
    daemon.stop();
    backup.etcd.restore(&backup.file);
    let daemon = backup.scene.start();
    backup.scene.wait_for_within(K1, 1);
    daemon.stop();
}

/// With what was read before a reconnect taken for what is there, a backup that is restored with the same flags leaves
/// the file as it was: the check of this row notices.
#[test]
fn row_22_without_the_relist_the_check_of_a_restore_fails() {
    let mut backup = Backup::new();
    let daemon = backup.scene.start_without("relist");
    let missed = backup.restore_under(&daemon, Etcd::TOKEN).unwrap_err();
    assert!(missed.contains("generation 1, but shows Some(Some(2))"), "{missed}");
    daemon.stop();
}

/// With what was read before a reconnect taken for what is there, a backup that has overtaken the old revision leaves the
/// file as it was: the check of this row notices.
#[test]
fn row_22_without_the_relist_the_check_of_an_overtaking_restore_fails() {
    let mut backup = Backup::new();
    let daemon = backup.scene.start_without("relist");
    let missed = backup.restore_and_overtake().unwrap_err();
    assert!(missed.contains("generation 1, but shows Some(Some(2))"), "{missed}");
    daemon.stop();
}
