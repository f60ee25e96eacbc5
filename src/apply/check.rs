//! Asks the operator's program whether staged files are good.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

use super::destination::Folder;
use super::error::ApplyError;
use super::placeholder::Paths;
use super::write::Temporary;
use crate::config::{Check, When};
use crate::process::Context;
use crate::process::command::run;

/// One check of files that are staged.
pub(super) struct Checking<'a> {
    /// What is run.
    pub(super) check: &'a Check,
    /// The key that it stands under, for errors.
    pub(super) what: &'static str,
    /// What is checked, for errors.
    pub(super) subject: String,
    /// Whether what the program says may hold a secret.
    pub(super) secret: bool,
    /// The folder and name beside which the wrapper is written.
    pub(super) beside: (&'a Arc<Folder>, &'a OsStr),
}

impl Checking<'_> {
    /// Runs it; `paths` are those of the target's files.
    pub(super) async fn run(self, mut paths: Paths, context: &Context) -> Result<(), ApplyError> {
        // Kept until the program has ended, and then removed.
        let wrapper = match &self.check.wrapper {
            Some(pieces) => Some(self.write_wrapper(paths.fill(pieces).as_os_str())?),
            None => None,
        };
        paths.wrapper = wrapper.as_ref().map(Temporary::path);
        let invocation = paths.invocation(&self.check.command);
        let finished = run(&invocation, context).await;
        drop(wrapper);
        if finished.end.is_success() {
            return Ok(());
        }
        let program = invocation.program();
        if !self.secret {
            tracing::debug!(target = &*context.target, program, "the {} wrote:\n{}", self.what, finished.output.tail());
        }
        let lines = paths.lines_named_in(&finished.output.text());
        Err(ApplyError::check(self.what, self.subject, &program, &finished.end, &lines))
    }

    fn write_wrapper(&self, text: &OsStr) -> Result<Temporary, ApplyError> {
        let (folder, name) = self.beside;
        let write = || {
            let mut wrapper = Temporary::create(folder, name)?;
            wrapper.write(text.as_bytes())?;
            Ok(wrapper)
        };
        write().map_err(|error| ApplyError::wrapper(self.subject.clone(), &folder.path, error))
    }
}

/// Whether a check is due, when a reload follows or not.
pub(super) fn is_due(check: &Check, reload_follows: bool) -> bool {
    match check.when {
        When::Always => true,
        When::Reload => reload_follows,
    }
}
