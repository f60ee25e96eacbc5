//! Exit codes: one list, which the reference shows.

/// What the program tells its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, and for `diff`: nothing differs.
    Done,
    /// A render, a check, a write or a reload failed.
    Failed,
    /// The command line, the configuration or a template is wrong; nothing was touched.
    Usage,
    /// Not everything was answered by the deadline; what is missing is named.
    NotReady,
    /// `diff` found a difference.
    Differs,
    /// What the program ended with that `run` was to end with: its exit code, or 128 and the number of a signal.
    Process(u8),
}

impl Exit {
    /// The worse of two results of parts of one job: a failure before what is only not ready, before a difference.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let rank = |exit| match exit {
            Self::Done => 0,
            Self::Differs => 1,
            Self::NotReady => 2,
            Self::Failed | Self::Process(_) => 3,
            Self::Usage => 4,
        };
        if rank(other) > rank(self) { other } else { self }
    }

    /// Its number.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotReady => 3,
            Self::Differs => 4,
            Self::Process(code) => code,
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_what_scripts_rely_on() {
        let codes = [Exit::Done, Exit::Failed, Exit::Usage, Exit::NotReady, Exit::Differs].map(Exit::code);
        assert_eq!(codes, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn the_worse_result_wins() {
        assert_eq!(Exit::Done.and(Exit::Differs), Exit::Differs);
        assert_eq!(Exit::Failed.and(Exit::NotReady), Exit::Failed);
    }
}
