//! The etcd registry against real etcd servers.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods, missing_docs)]

mod etcd_kind;
