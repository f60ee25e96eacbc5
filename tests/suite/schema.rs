//! `liveconf schema`. What the schema refuses is held against the reader of the configuration by tests in the library.

use std::fs;
use std::path::Path;

use crate::support::liveconf::Job;

#[test]
fn the_schema_that_is_committed_is_written() {
    let output = Job::empty().run(&["schema"]);
    output.assert_code(0);
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/reference/liveconf.schema.json");
    assert_eq!(output.stdout, fs::read_to_string(committed).unwrap());
}
