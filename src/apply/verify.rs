//! Verify: asks the operator's program about the files that are in place, before the process is told of them.

use super::check::{Checking, is_due};
use super::destination::Destination;
use super::error::ApplyError;
use super::placeholder::Paths;
use crate::config::Target;
use crate::process::Context;

/// Runs `verify` of a target on its live files. `reload_follows` says whether a reload comes after it.
pub async fn verify(target: &Target, context: &Context, reload_follows: bool) -> Result<(), ApplyError> {
    let (Some(check), Some(first)) = (&target.verify, target.templates.first()) else { return Ok(()) };
    if !is_due(check, reload_follows) {
        return Ok(());
    }
    // The place of the wrapper; a destination that has become unfit since the commit fails here.
    let beside = Destination::resolve(first)?;
    let checking = Checking {
        check,
        what: "verify",
        subject: String::new(),
        secret: target.templates.iter().any(|template| template.secret),
        beside: (&beside.folder, beside.name.as_os_str()),
    };
    checking.run(Paths::live(target), context).await
}
