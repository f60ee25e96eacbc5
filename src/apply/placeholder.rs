//! What the placeholders of commands and wrappers stand for.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use crate::config::{Command, Placeholder, Program, Target};
use crate::process::Invocation;

/// The files of a target, as a command is told of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Paths {
    /// For each template its staged file; its destination when it did not change.
    pub(super) staged: Vec<PathBuf>,
    /// For each template its destination.
    pub(super) destinations: Vec<PathBuf>,
    /// The wrapper, when there is one.
    pub(super) wrapper: Option<PathBuf>,
}

impl Paths {
    /// Those of a target whose files are in place.
    pub(super) fn live(target: &Target) -> Self {
        let destinations: Vec<PathBuf> = target.templates.iter().map(|template| template.dest.clone()).collect();
        Self { staged: destinations.clone(), destinations, wrapper: None }
    }

    /// The text of `pieces`.
    pub(super) fn fill(&self, pieces: &[Placeholder]) -> OsString {
        pieces.iter().map(|piece| self.piece(piece)).collect()
    }

    /// A command, ready to be run.
    pub(super) fn invocation(&self, command: &Command) -> Invocation {
        let (arguments, variables) = match &command.program {
            Program::Arguments(arguments) => (arguments.iter().map(|pieces| self.fill(pieces)).collect(), Vec::new()),
            Program::Shell { script, variables } => {
                let variables = variables.iter().map(|(name, piece)| (name.into(), self.piece(piece).to_owned()));
                (vec!["sh".into(), "-c".into(), script.into()], variables.collect())
            }
        };
        Invocation { arguments, variables, timeout: command.timeout }
    }

    /// The lines that a checker named, such as `/etc/a.conf:8`. Those of a new file stand with its destination, since it is
    /// gone when somebody reads of it, and are told from lines of the file that is there.
    pub(super) fn lines_named_in(&self, output: &str) -> Vec<String> {
        let mut lines = BTreeSet::new();
        for (staged, destination) in self.staged.iter().zip(&self.destinations) {
            let Some(staged) = staged.to_str() else { continue };
            for (at, _) in output.match_indices(staged) {
                let rest = output[at + staged.len()..].strip_prefix(':').unwrap_or_default();
                let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
                if let Ok(line) = rest[..digits].parse::<u32>() {
                    lines.insert((destination, line, staged != destination.as_os_str()));
                }
            }
        }
        let named = |(destination, line, is_new): (&PathBuf, u32, bool)| {
            let path = destination.display();
            if is_new { format!("line {line} of the new `{path}`") } else { format!("`{path}:{line}`") }
        };
        lines.into_iter().map(named).collect()
    }

    /// The configuration holds no index and no wrapper that is not there; one would stand for nothing.
    fn piece<'a>(&'a self, piece: &'a Placeholder) -> &'a OsStr {
        let path = match piece {
            Placeholder::Text(text) => return OsStr::new(text),
            Placeholder::Staged(index) => self.staged.get(*index),
            Placeholder::Dest(index) => self.destinations.get(*index),
            Placeholder::Wrapper => self.wrapper.as_ref(),
        };
        path.map_or(OsStr::new(""), |path| path.as_os_str())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn lines_that_a_checker_names_are_those_of_the_destination() {
        let paths = Paths {
            staged: vec!["/a/.x-1".into(), "/b".into()],
            destinations: vec!["/a/x".into(), "/b".into()],
            wrapper: None,
        };
        let output = "nginx: [emerg] 7#7: unknown directive \"hunter2\" in /a/.x-1:8\n[/a/.x-1:8] again, /a/.x-1 whole";
        assert_eq!(paths.lines_named_in(output), ["line 8 of the new `/a/x`"]);
        assert_eq!(paths.lines_named_in("in /b:3 and /a/x:3"), ["`/b:3`"], "of the file that is there");
        assert!(paths.lines_named_in("/c:1 and /b: 2").is_empty());
    }

    #[test]
    fn placeholders_become_paths() {
        let paths = Paths {
            staged: vec!["/a/.x".into(), "/b".into()],
            destinations: vec!["/a/x".into(), "/b".into()],
            wrapper: Some("/a/w".into()),
        };
        let text = |text: &str| Placeholder::Text(text.into());
        let pieces = [text("{a} "), Placeholder::Staged(0), text("="), Placeholder::Dest(1), Placeholder::Wrapper];
        assert_eq!(paths.fill(&pieces), "{a} /a/.x=/b/a/w");

        let timeout = Duration::from_secs(1);
        let program = Program::Arguments(vec![vec![text("check")], pieces.to_vec(), vec![]]);
        let invocation = paths.invocation(&Command { program, timeout });
        assert_eq!(invocation.arguments, ["check", "{a} /a/.x=/b/a/w", ""]);

        let script = "check \"$LIVECONF_STAGED\"".to_owned();
        let variables = vec![("LIVECONF_STAGED".to_owned(), Placeholder::Staged(1))];
        let invocation = paths.invocation(&Command { program: Program::Shell { script, variables }, timeout });
        assert_eq!(invocation.arguments, ["sh", "-c", "check \"$LIVECONF_STAGED\""]);
        assert_eq!(invocation.variables, [("LIVECONF_STAGED".into(), "/b".into())]);
    }
}
