//! What is wrong with a configuration, and how it is told.

use std::fmt::{self, Write as _};

/// Something wrong with the configuration, with its place and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, or "command line".
    pub file: String,
    /// Line, from 1; 0 when there is none.
    pub line: usize,
    /// Column in characters, from 1; 0 when there is none.
    pub column: usize,
    /// What is wrong: a lowercase fragment with names in backticks.
    pub message: String,
    /// What to do, if that can be said.
    pub hint: Option<String>,
    /// The line of the file, or its beginning; none where it may hold a secret.
    pub excerpt: Option<String>,
}

/// What is wrong with a value, for whoever knows its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Complaint {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl Problem {
    /// A problem with a whole file, or with the command line.
    pub(super) fn of_file(file: impl Into<String>, message: impl Into<String>, hint: Option<String>) -> Self {
        Self { file: file.into(), line: 0, column: 0, message: message.into(), hint, excerpt: None }
    }

    /// Its place as people and editors write it, such as `liveconf.yaml:12:5`.
    pub fn place(&self) -> String {
        place(&self.file, self.line, self.column)
    }
}

pub(super) fn place(file: &str, line: usize, column: usize) -> String {
    if line == 0 { file.to_owned() } else { format!("{file}:{line}:{column}") }
}

/// On one line, for logs: place, message and hint.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place(), self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// The problems for people, each with its line of the file and its hint:
///
/// ```text
/// error: liveconf.yaml:12:5: unknown key `relod`
///    12 |     relod: none
///       |     ^
///   hint: did you mean `reload`?
/// ```
pub fn describe(problems: &[Problem]) -> String {
    describe_as("error", problems)
}

/// [`describe`] with another word than `error`, such as `warning`.
pub fn describe_as(severity: &str, problems: &[Problem]) -> String {
    let mut text = String::new();
    for problem in problems {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{severity}: {}: {}", problem.place(), problem.message);
        if let Some(excerpt) = problem.excerpt.as_deref().filter(|_| problem.line > 0) {
            let _ = writeln!(text, "{:>5} | {excerpt}", problem.line);
            // Tabs stay tabs, so that the caret stands below its character.
            let indent: String =
                excerpt.chars().take(problem.column - 1).map(|c| if c == '\t' { c } else { ' ' }).collect();
            let _ = writeln!(text, "      | {indent}^");
        }
        if let Some(hint) = &problem.hint {
            let _ = writeln!(text, "  hint: {hint}");
        }
    }
    text
}

/// The line of `text` for an excerpt, cut to a readable length; none where the line may hold a secret, since
/// problems go to logs.
pub(super) fn excerpt(text: &str, line: usize) -> Option<String> {
    const LENGTH: usize = 160;
    let line = text.lines().nth(line.checked_sub(1)?)?;
    if may_hold_secret(line) {
        return None;
    }
    let cut: String =
        line.trim_end().chars().take(LENGTH).map(|c| if c.is_control() && c != '\t' { '?' } else { c }).collect();
    (!cut.trim().is_empty()).then_some(cut)
}

/// Whether a line of a configuration may hold a secret.
pub(super) fn may_hold_secret(line: &str) -> bool {
    // What a line is called that holds a secret, also where its key is misspelt.
    const SECRET: &[&str] = &["pas", "psw", "pwd", "secr", "tok", "cred", "auth", "priv"];
    let lower = line.to_lowercase();
    let credentials_in_url = lower.contains("://") && lower.contains('@');
    credentials_in_url || SECRET.iter().any(|word| lower.contains(word))
}

/// "did you mean `x`?" if one of `known` differs in a letter or few, else all of them.
pub(super) fn suggest<'a>(word: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<String> {
    let distances = known.clone().map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate));
    let (distance, nearest) = distances.min()?;
    if distance <= 1.max(nearest.chars().count() / 3) {
        return Some(format!("did you mean `{nearest}`?"));
    }
    let names: Vec<String> = known.map(|name| format!("`{name}`")).collect();
    Some(format!("known are {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_told_with_their_line() {
        let problem = Problem {
            file: "liveconf.yaml".into(),
            line: 12,
            column: 5,
            message: "unknown key `relod`".into(),
            hint: Some("did you mean `reload`?".into()),
            excerpt: Some("    relod: none".into()),
        };
        assert_eq!(problem.to_string(), "liveconf.yaml:12:5: unknown key `relod` (did you mean `reload`?)");
        assert_eq!(
            describe(&[problem]),
            "error: liveconf.yaml:12:5: unknown key `relod`\n   12 |     relod: none\n      |     ^\n  hint: did you mean `reload`?\n"
        );
        assert_eq!(
            describe(&[Problem::of_file("command line", "no template", None)]),
            "error: command line: no template\n"
        );
    }

    #[test]
    fn lines_that_may_hold_a_secret_are_not_shown() {
        for line in ["passwrod: hunter2", "etcd: {pasword: hunter2}", "- http://me:hunter2@host", "TOKEN: x", "  "] {
            assert_eq!(excerpt(line, 1), None, "{line}");
        }
        assert_eq!(excerpt("a: 1\n  relod: x  \n", 2).as_deref(), Some("  relod: x"));
        assert_eq!(excerpt("a: 1", 2), None);
        assert_eq!(excerpt("a: 1", 0), None);
    }

    #[test]
    fn the_nearest_name_is_suggested() {
        let known = || ["reload", "check", "wait"].into_iter();
        assert_eq!(suggest("relod", known()).as_deref(), Some("did you mean `reload`?"));
        assert_eq!(suggest("wiat", known()).as_deref(), Some("did you mean `wait`?"));
        assert_eq!(suggest("banana", known()).as_deref(), Some("known are `reload`, `check`, `wait`"));
        assert_eq!(suggest("banana", [].into_iter()), None);
    }
}
