//! The reference: every key, function, filter, placeholder, command and default, as users need them.
//!
//! - [`configuration`]: the file
//! - [`templates`]: what stands in a template
//! - [`components`]: what writes parts of files for nginx, HAProxy and others
//! - [`operation`]: commands, exit codes, what happens when, and what is written where
//! - [`coming_from`]: what functions of confd, consul-template, remco and consul-templaterb are here
//!
//! The pages are the Markdown files beside this one. Tests hold them against the tables and readers of the code: what
//! the code knows and a page does not name fails, as does an example that does not do what it shows.

#[doc = include_str!("configuration.md")]
pub mod configuration {}

#[doc = include_str!("templates.md")]
pub mod templates {}

#[doc = include_str!("components.md")]
pub mod components {}

#[doc = include_str!("operation.md")]
pub mod operation {}

#[doc = include_str!("coming_from.md")]
pub mod coming_from {}

pub(crate) mod table;

#[cfg(test)]
#[cfg_attr(
    not(all(feature = "consul", feature = "dns", feature = "etcd")),
    expect(dead_code, reason = "a build without them cannot read all examples")
)]
pub(crate) mod page;
#[cfg(test)]
#[cfg(all(feature = "consul", feature = "dns", feature = "etcd"))]
mod tests;
#[cfg(test)]
#[cfg(all(feature = "consul", feature = "dns", feature = "etcd"))]
pub(crate) mod schema;
