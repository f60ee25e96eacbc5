//! Configuration: what was written and what it means.
//!
//! Reading it does no I/O beyond the configuration files themselves, and reports every problem at once.

mod model;
mod section;

pub use model::{
    Check, Command, Config, Delimiters, Guard, Limits, LogConfig, LogFormat, NamedRegistry, Owner, Placeholder, Program,
    Reload, Target, Template, TemplateSource, Wait, Gather, When,
};
pub use section::{Problem, Section};
