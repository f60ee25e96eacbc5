//! etcd: a commit is a transaction, and what is leased ends with its lease.

use super::Origin;
use super::model::{Change, Model};
use crate::support::etcd::Etcd;
use crate::support::etcd_client::message::Operation;
use crate::support::etcd_client::{Client, delete, delete_prefix, put};

/// A server.
pub struct EtcdOrigin {
    etcd: Etcd,
    client: Client,
    lease: Option<i64>,
}

fn operation(change: &Change) -> Operation {
    match change {
        Change::Put { key, value } => put(&format!("/{key}"), value),
        Change::Delete { key } => delete(&format!("/{key}")),
        Change::DeleteFolder { folder } => delete_prefix(&format!("/{folder}/")),
        Change::Register { service, id, port } => put(&format!("/services/{service}/{id}"), instance(*port)),
        Change::Deregister { service, id } => delete(&format!("/services/{service}/{id}")),
    }
}

fn instance(port: u16) -> String {
    format!(r#"{{"address": "10.0.0.1", "port": {port}}}"#)
}

impl Origin for EtcdOrigin {
    fn start() -> Self {
        let etcd = Etcd::start();
        let client = etcd.client();
        Self { etcd, client, lease: None }
    }

    fn section(&self) -> String {
        format!("etcd: {}", self.etcd.section())
    }

    fn commit(&mut self, changes: &[Change], _after: &Model) {
        if !changes.is_empty() {
            self.client.txn(changes.iter().map(operation).collect());
        }
    }

    fn commit_leased(&mut self, changes: &[Change], _after: &Model) {
        let lease = self.client.lease(600);
        for change in changes {
            match change {
                Change::Put { key, value } => self.client.put_with_lease(&format!("/{key}"), value, lease),
                Change::Register { service, id, port } => {
                    self.client.put_with_lease(&format!("/services/{service}/{id}"), &instance(*port), lease);
                }
                other => panic!("{other:?} has no lease"),
            }
        }
        self.lease = Some(lease);
    }

    fn expire(&mut self, _gone: &[Change], _after: &Model) {
        self.client.revoke(self.lease.take().unwrap());
    }

    fn cut(&mut self) {
        self.etcd.kill(0);
    }

    fn mend(&mut self, _model: &Model) {
        self.etcd.restart(0);
        self.client = self.etcd.client();
    }
}
