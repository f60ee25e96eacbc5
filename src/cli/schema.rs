//! `schema`: the JSON Schema of the configuration, for editors.

use super::ask::print;
use crate::exit::Exit;

/// Made of the reference, and kept true by a test.
const SCHEMA: &str = include_str!("../reference/liveconf.schema.json");

pub(super) fn run() -> Exit {
    print(SCHEMA).err().unwrap_or(Exit::Done)
}
