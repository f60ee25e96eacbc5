//! What the program says to people on standard error, or to machines where the log is JSON. Nobody may be listening,
//! which is no reason to fail.

use std::fmt::Arguments;
use std::io::Write as _;

use tracing::{error, info, warn};

use crate::config::{self, Problem};
use crate::log::{self, listed};

/// That all is well.
pub(super) fn well(news: Arguments<'_>) {
    if log::is_json() { info!("{news}") } else { line(news) }
}

/// An error.
pub(super) fn error(error: Arguments<'_>) {
    if log::is_json() { error!("{error}") } else { line(format_args!("error: {error}")) }
}

/// An error of one target.
pub(super) fn error_of(target: &str, error: Arguments<'_>) {
    if log::is_json() { error!(target, "{error}") } else { line(format_args!("error: target `{target}`: {error}")) }
}

/// An error with the things that it is about: a line for each, or all in one record.
pub(super) fn error_with(error: Arguments<'_>, things: &[String]) {
    if log::is_json() {
        error!("{error} {}", listed(things));
        return;
    }
    line(format_args!("error: {error}"));
    list(things);
}

/// News with the things that they are about, in the same way.
pub(super) fn note_with(news: Arguments<'_>, things: &[String]) {
    if log::is_json() {
        info!("{news} {}", listed(things));
        return;
    }
    line(news);
    list(things);
}

fn list(things: &[String]) {
    /// A registry that is away may leave thousands of questions open, for one reason.
    const MOST: usize = 20;
    for thing in things.iter().take(MOST) {
        line(format_args!("  {thing}"));
    }
    if things.len() > MOST {
        line(format_args!("  and {} more", things.len() - MOST));
    }
}

/// What is allowed and most likely not meant.
pub(super) fn warning(warning: Arguments<'_>) {
    if log::is_json() { warn!("{warning}") } else { line(format_args!("warning: {warning}")) }
}

/// What is wrong with the configuration, each with its place.
pub(super) fn problems(problems: &[Problem]) {
    if log::is_json() {
        for problem in problems {
            error!("{problem}");
        }
    } else {
        text(&config::describe(problems));
    }
}

/// What is doubtful in the configuration, each with its place.
pub(super) fn warnings(warnings: &[Problem]) {
    if log::is_json() {
        for warning in warnings {
            warn!("{warning}");
        }
    } else {
        text(&config::describe_as("warning", warnings));
    }
}

fn line(line: Arguments<'_>) {
    text(&format!("{line}\n"));
}

/// In one piece: others may write there at the same time.
fn text(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}
