//! Child processes and signals.
