//! Templates: from a frozen view of the store to bytes. Tera stays behind this module.

/// A value as templates see it; cheap to clone.
pub type Value = tera::Value;
