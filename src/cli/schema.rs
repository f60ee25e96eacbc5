//! `schema`: the JSON Schema of the configuration, for editors.

use super::args::Schema;
use super::ask::print;
use super::replace::{named, replace};
use super::say;
use crate::exit::Exit;

/// Made of the reference, and kept true by a test.
pub(super) const SCHEMA: &str = include_str!("../reference/liveconf.schema.json");

pub(super) fn run(options: &Schema) -> Exit {
    let Some(path) = named(options.output.as_deref()) else {
        return print(SCHEMA).err().unwrap_or(Exit::Done);
    };
    match replace(path, SCHEMA.as_bytes(), false) {
        Ok(()) => {
            say::well(format_args!("wrote `{}`", path.display()));
            Exit::Done
        }
        Err(error) => {
            say::error(format_args!("failed to write `{}`: {error}", path.display()));
            Exit::Failed
        }
    }
}
