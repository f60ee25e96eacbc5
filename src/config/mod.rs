//! Configuration: what was written and what it means.
//!
//! Reading it does no I/O beyond the configuration files themselves, and reports every problem at once.
//!
//! A file becomes a [tree of nodes](crate::yaml), which [`Section`] reads key by key, noting what is wrong with its
//! place; what comes out is a [`Config`], complete and checked.

mod document;
mod expand;
mod field;
mod model;
mod problem;
mod section;
mod units;

pub use model::{
    Check, Command, Config, Delimiters, Gather, Guard, Limits, LogConfig, LogFormat, NamedRegistry, Owner, Placeholder,
    Program, Reload, Target, Template, TemplateSource, Wait, When,
};
pub use problem::{Problem, describe, describe_as};
pub use section::Section;
