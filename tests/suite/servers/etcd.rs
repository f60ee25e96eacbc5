//! etcd as the tests start it.

use crate::support::etcd::Etcd;
use crate::support::etcd_client::{delete, put};
use crate::support::{SOON, poll_until};

#[test]
fn with_one_member_is_restored_and_counts_its_reads() {
    let mut etcd = Etcd::start();
    let client = etcd.client();
    client.put("/a", "1");
    let snapshot = etcd.snapshot();
    let reads = etcd.metric(0, "etcd_debugging_mvcc_range_total");
    client.txn(vec![put("/b", "2"), delete("/a")]);
    client.pipeline((0..1000).map(|number| vec![put(&format!("/many/{number:04}"), number.to_string())]));
    assert_eq!(etcd.metric(0, "etcd_debugging_mvcc_range_total"), reads, "writes read nothing");
    assert_eq!(client.prefix("/many/").len(), 1000);
    let lease = client.lease(60);
    client.put_with_lease("/c", "3", lease);
    client.revoke(lease);
    assert_eq!(client.prefix("/c"), []);
    etcd.restore(&snapshot);
    assert_eq!(etcd.client().prefix("/"), [("/a".to_owned(), "1".to_owned())]);
}

#[test]
fn with_three_members_outlives_one_of_them() {
    let mut etcd = Etcd::cluster(3);
    etcd.client().put("/a", "1");
    etcd.kill(0);
    let survivor = etcd.client_of(1);
    poll_until(SOON, || survivor.try_txn(vec![put("/a", "2")]).map_err(|status| status.to_string()));
    etcd.restart(0);
    assert_eq!(etcd.client_of(0).prefix("/a"), [("/a".to_owned(), "2".to_owned())]);
}

#[test]
fn with_tls_and_users_lets_the_right_ones_in() {
    let etcd = Etcd::with_tls();
    etcd.client().put("/app/a", "1");
    etcd.require_users("for-root", "for-reader", "/app/");
    let mut client = etcd.client();
    client.log_in("reader", "for-reader");
    assert_eq!(client.prefix("/app/").len(), 1);
    let refused = client.try_txn(vec![put("/app/a", "2")]).unwrap_err();
    assert!(refused.message().contains("permission denied"), "{refused}");
}

#[test]
fn tells_a_watch_of_each_transaction_in_one_frame() {
    let etcd = Etcd::start();
    let client = etcd.client();
    let mut frames = client.watch("/a/");
    let revision = client.txn(vec![put("/a/1", "1"), put("/a/2", "2")]);
    let frame = frames.blocking_recv().unwrap();
    assert_eq!(frame.events.len(), 2);
    assert_eq!(frame.header.unwrap().revision, revision);
}
