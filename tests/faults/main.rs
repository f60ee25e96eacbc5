//! The matrix of faults: each row is a test with its number in its name. It puts the fault in force, proves that it was,
//! and shows that no harm came of it.
//!
//! `cargo test --test faults` is the short run: every row once, with all clocks shortened by configuration.
//! `LIVECONF_FAULTS=full cargo test --test faults -- --test-threads 1` is the long one: clocks as they are by default,
//! three seeds. A row that this kind of machine cannot run is ignored, with the reason.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test may fail where it stands, and shows what it chose"
)]

#[path = "../suite/support/mod.rs"]
#[allow(dead_code, unreachable_pub, reason = "the suite uses the rest")]
mod support;

mod alone;
mod network;
mod nonsense;
#[allow(dead_code, reason = "rows come one after the other")]
mod liar;
#[allow(dead_code, reason = "rows come one after the other")]
mod pace;
mod resolver;
mod rows;
#[allow(dead_code, reason = "rows come one after the other")]
mod scene;
#[allow(dead_code, reason = "rows come one after the other")]
mod strain;
#[allow(dead_code, reason = "rows come one after the other")]
mod tap;
mod web;
