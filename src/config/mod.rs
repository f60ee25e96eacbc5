//! Configuration: what was written and what it means.
//!
//! Reading it does no I/O beyond the configuration files themselves, and reports every problem at once.
//!
//! # Layout
//!
//! `locate` says which files there are and `load` reads them; `job` makes the same of flags. Each becomes a
//! `document`: a [tree of nodes](crate::yaml) with its places. `decode` reads documents together, with a file for
//! each thing that is configured: `registries`, `target`, `guard`, `template`, `command` (with `placeholder` and `shell`),
//! `process`, `state`; `case` reads a case of `liveconf test` in the same way. They read through [`Section`], a mapping, and `field`, a value, which note what is wrong as [`Problem`]s
//! with their places and go on; `places` says where the parts of a template stand that is written in the configuration.
//! What comes out is a [`Config`] (`model`), complete and checked.

mod model;
mod options;

mod case;
mod command;
mod confirm;
mod control;
mod decode;
mod document;
mod guard;
mod http;
mod job;
mod load;
mod lock;
mod locate;
mod placeholder;
mod process;
mod registries;
mod reload;
mod shell;
mod state;
mod target;
mod template;

mod expand;
mod field;
mod for_each;
mod places;
mod problem;
mod section;
mod units;

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;

pub use case::{Case, ExpectedError, read_case};
pub use confirm::{Confirm, Http, Kind as ConfirmKind, OldWorkers};
pub use control::{ControlPlace, find_control};
pub(crate) use for_each::may_meet;
pub use http::{BodyFile, Header, HttpReload, HttpRequest, Statuses};
pub use job::{Job, from_job};
pub use load::load;
pub use lock::Lock;
pub use model::{
    Action, Check, Command, Config, Control, ControlSocket, Delimiters, Drift, ForEach, Gather, Gone, Guard, Haproxy,
    Limits, LogConfig, LogFormat, NamedRegistry, Owner, Placeholder, ProcessReload, Program, Reload, Target, Template,
    TemplateSource, Unit, Wait, When, Writes,
};
pub use options::LoadOptions;
pub use places::Places;
pub use problem::{Problem, describe, describe_as};
pub use process::{Process, Restart};
pub use section::Section;
pub(crate) use units::{DURATION, duration};
