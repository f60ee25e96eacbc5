//! The whole program, on real files and real servers. One binary, so that it is linked once and its tests share the
//! machine; `.ci/setup` installs the servers.
#![expect(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test may fail where it stands, and shows what it chose; nobody else uses what it is made of"
)]

#[allow(dead_code, reason = "the matrix of faults uses the rest, and so do kinds that a build may lack")]
mod support;

mod bad_configuration;
mod bad_data;
#[cfg(feature = "etcd")]
mod busy_reader;
mod cases;
mod commands;
mod components;
mod confirm;
#[cfg(feature = "consul")]
mod consul_kind;
mod contract;
mod control;
#[cfg(feature = "dns")]
mod dns_kind;
mod documentation;
mod drift;
#[cfg(feature = "etcd")]
mod etcd_kind;
mod fault_table;
mod first_refusal;
mod fixtures;
mod for_each;
#[cfg(all(feature = "consul", feature = "etcd"))]
mod fleet;
#[cfg(all(feature = "consul", feature = "etcd"))]
mod guards;
#[cfg(all(feature = "consul", feature = "etcd"))]
mod haproxy_runtime;
mod hostile;
mod init;
#[cfg(all(feature = "consul", feature = "etcd"))]
mod last_known_good;
mod life;
#[cfg(all(feature = "consul", feature = "etcd"))]
mod limits;
mod load_errors;
mod reload;
mod reload_http;
mod restore;
#[cfg(all(feature = "consul", feature = "etcd"))]
mod scenarios;
#[cfg(all(feature = "consul", feature = "etcd"))]
mod same_bytes;
mod schema;
#[cfg(all(feature = "consul", feature = "etcd"))]
mod secrets;
mod servers;
mod service_manager;
#[cfg(all(feature = "consul", feature = "etcd"))]
mod several;
mod supervise;
mod teaching;
mod template_functions;
#[cfg(all(feature = "consul", feature = "etcd"))]
mod unwell_consul;
#[cfg(feature = "etcd")]
mod unwell_etcd;
mod verify;
