//! The static-file registry.

use super::Kind;

/// This kind.
pub const KIND: Kind = Kind { name: "file", decode: |_| None, from_address: |address| format!("{{path: {address:?}}}") };
