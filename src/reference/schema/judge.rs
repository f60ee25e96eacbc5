//! What the schema says of a configuration, as an editor would.

use std::sync::LazyLock;

use boon::{Compiler, Draft, ErrorKind, SchemaIndex, Schemas, ValidationError};
use serde_json::Value;

static COMPILED: LazyLock<(Schemas, SchemaIndex)> = LazyLock::new(|| {
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.set_default_draft(Draft::V7);
    compiler.add_resource("file:///liveconf.schema.json", super::schema()).unwrap();
    let index = compiler.compile("file:///liveconf.schema.json", &mut schemas).unwrap();
    (schemas, index)
});

/// What is wrong with a configuration, each with the path of the value or key that is blamed: `/targets/web/check`. What is
/// no YAML, or has a key twice, is no more than that.
pub(crate) fn wrong(text: &str) -> Vec<String> {
    let value: Value = match serde_yaml::from_str::<serde_yaml::Value>(text).map(serde_json::to_value) {
        Ok(Ok(value)) => value,
        _ => return vec!["/: no YAML".to_owned()],
    };
    let (schemas, index) = &*COMPILED;
    let mut wrong = Vec::new();
    if let Err(error) = schemas.validate(&value, *index) {
        leaves(&error, &mut wrong);
    }
    wrong
}

/// The errors that have no causes of their own.
fn leaves(error: &ValidationError<'_, '_>, wrong: &mut Vec<String>) {
    let place = error.instance_location.to_string();
    match &error.kind {
        ErrorKind::AdditionalProperties { got } => {
            wrong.extend(got.iter().map(|key| format!("{place}/{key}: is no key of it")));
        }
        ErrorKind::PropertyName { prop } => wrong.push(format!("{place}/{prop}: is no name of it")),
        _ if error.causes.is_empty() => wrong.push(format!("{place}: {}", error.kind)),
        _ => error.causes.iter().for_each(|cause| leaves(cause, wrong)),
    }
}
