//! What the program says to people on standard error. Nobody may be listening, which is no reason to fail.

use std::fmt::{Arguments, Display};
use std::io::Write as _;

/// Text as it stands.
pub(super) fn text(text: impl Display) {
    let _ = write!(std::io::stderr(), "{text}");
}

/// A line.
pub(super) fn line(line: Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// An error.
pub(super) fn error(error: Arguments<'_>) {
    line(format_args!("error: {error}"));
}
