//! liveconf keeps configuration files true to a registry.
//!
//! # Layout
//!
//! The modules stand in the order in which data flows through them.
#![cfg_attr(test, allow(clippy::unwrap_used))]

#[cfg(not(target_os = "linux"))]
compile_error!("liveconf runs on Linux only: it relies on pidfd, renameat and inotify");

pub mod apply;
pub mod backoff;
pub mod config;
pub mod file_watch;
pub mod log;
pub mod process;
pub mod registry;
pub mod secret;
pub mod store;
pub mod template;
pub mod yaml;
