//! Why the old files stay, and when that is worth another try.

use crate::apply::{ApplyError, ErrorKind};
use crate::target::render::RenderFailure;
use crate::template;

/// Why the old files stay.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The render failed.
    #[error(transparent)]
    Render(#[from] RenderFailure),
    /// A file could not be staged, a check refused, or the commit failed.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// A defect of the program.
    #[error("internal error: an apply panicked; please report this")]
    Panicked,
    /// `verify` said no of the files that were in place, and those from before are back.
    #[error("the files from before are back: {0}")]
    TakenBack(ApplyError),
    /// `verify` said no, and not all of the files from before are back yet, for this reason.
    #[error("the files from before are not back yet ({1}): {0}")]
    NotTakenBack(ApplyError, String),
    /// `verify` or the process refused these very files before, as this says.
    #[error("{0}")]
    Refused(String),
}

/// When a failure is worth another try although nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Only new data or new templates can mend it.
    OnChange,
    /// After a pause: what failed may have been mended from outside.
    Later,
    /// After a long pause: only the operator can have mended it.
    Seldom,
}

impl Failure {
    /// Whether files were refused that had been put in place, now or before.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Refused(_) => true,
            Self::TakenBack(error) | Self::NotTakenBack(error, _) => error.kind() == ErrorKind::Refused,
            Self::Render(_) | Self::Apply(_) | Self::Panicked => false,
        }
    }

    /// When to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Render(RenderFailure::Template(error)) => match error.kind {
                // A busy machine and a file that is being replaced pass by themselves.
                template::ErrorKind::Timeout | template::ErrorKind::Io => Retry::Later,
                _ => Retry::OnChange,
            },
            Self::Refused(_) => Retry::OnChange,
            // What was refused is not put in place again and again; what could not be asked may say yes the next time.
            Self::TakenBack(error) | Self::NotTakenBack(error, _) if error.kind() == ErrorKind::Refused => {
                Retry::OnChange
            }
            Self::Apply(error) if error.kind() == ErrorKind::Standing => Retry::Seldom,
            Self::Render(_) | Self::Apply(_) | Self::TakenBack(_) | Self::NotTakenBack(..) | Self::Panicked => {
                Retry::Later
            }
        }
    }
}
