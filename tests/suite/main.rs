//! The whole program, on real files and real servers. One binary, so that it is linked once and its tests share the
//! machine; `.ci/setup` installs the servers.
#![expect(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test may fail where it stands, and shows what it chose; nobody else uses what it is made of"
)]

mod support;

mod atomic;
mod bad_configuration;
mod bad_data;
mod commands;
mod contract;
mod documentation;
mod life;
mod reload;
#[cfg(all(feature = "consul", feature = "etcd"))]
mod scenarios;
mod servers;
mod unwell_etcd;
