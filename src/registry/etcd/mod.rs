//! The etcd v3 registry.

use super::Kind;

/// This kind.
pub const KIND: Kind = Kind { name: "etcd", decode: |_| None, from_address: |address| format!("{{endpoints: [{address:?}]}}") };
