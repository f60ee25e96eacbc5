//! The etcd registry against real etcd servers.
#![allow(clippy::unwrap_used, missing_docs)]

mod etcd_kind;
