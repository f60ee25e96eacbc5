//! Starting and stopping.

use crate::scene::Scene;
use crate::support::etcd::Etcd;
use crate::support::etcd_client::put;

/// Started before there is a key, it writes and reloads when there is.
#[test]
fn row_53_started_before_its_registry_and_its_process() {
    let etcd = Etcd::start();
    let scene = Scene::new(&format!("etcd: {}", etcd.section_with("prefix: ''")), "");
    let _daemon = scene.start();
    etcd.client().txn(Scene::generation(1).map(|(key, value)| put(&key, value)).collect());
    scene.wait_for(1);
}
