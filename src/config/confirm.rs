//! `confirm: {KIND: ..., within}`: how it is seen that a process runs the new files.

use std::path::PathBuf;
use std::time::Duration;

use super::command;
use super::field::Field;
use super::model::{Command, Reload, Template};
use super::placeholder::Scope;
use super::problem::Complaint;
use super::section::Section;

/// How it is seen that a process runs the files that it was told to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirm {
    /// What is looked at. One kind, one file in `apply::confirm`.
    pub kind: Kind,
    /// How long the process may take, from the end of the reload. Default 10 s.
    pub within: Duration,
    /// The pause between two looks. Default 50 ms.
    pub interval: Duration,
    /// The file that names the process, absolute; none when the reload is a command and no other is given. A process
    /// that is gone is not one that refuses.
    pub pid_file: Option<PathBuf>,
    /// The destinations of the target, for the placeholders of a command.
    pub destinations: Vec<PathBuf>,
    /// One of the files is secret, so nothing is shown that a program says about them.
    pub secret: bool,
}

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A program that exits with 0.
    Command(Command),
}

impl Confirm {
    /// The time that a process has where nothing else is said.
    pub const WITHIN: Duration = Duration::from_secs(10);
    /// The pause between two looks where nothing else is said.
    pub const INTERVAL: Duration = Duration::from_millis(50);
}

/// What a target knows that its `confirm` needs.
pub(super) struct Of<'a> {
    /// For the placeholders of a command.
    pub(super) scope: Scope<'a>,
    /// Its reload; none where something is wrong with it.
    pub(super) reload: Option<&'a Reload>,
}

/// Reads `confirm`. Its destinations and whether one is secret are filled in by [`Confirm::of`].
pub(super) fn read(field: Field<'_>, of: &Of<'_>) -> Option<Confirm> {
    if !field.is_map() {
        let hint = "write `{nginx: {}}`, `{haproxy: {socket: ...}}`, `{http: {url: ...}}`, `{tcp: {address: ...}}`, \
                    `{command: [...]}` or `{shell: \"...\"}`";
        return field.misfit("a mapping", Some(hint.into()));
    }
    let mut section = field.section()?;
    let within = section.or("within", Confirm::WITHIN, Field::nonzero_duration);
    let interval = section.or("interval", Confirm::INTERVAL, Field::nonzero_duration);
    let kind = kind(&mut section, of);
    if of.reload == Some(&Reload::None) {
        return field.complain(
            Complaint::new("`confirm` without a reload: no process is told of the files").hint("add a `reload`"),
        );
    }
    let pid_file = match of.reload {
        Some(Reload::Signal { pid_file, .. }) => Some(pid_file.clone()),
        _ => None,
    };
    let (destinations, secret) = (Vec::new(), false);
    Some(Confirm { kind: kind?, within: within?, interval: interval?, pid_file, destinations, secret })
}

fn kind(section: &mut Section<'_>, of: &Of<'_>) -> Option<Kind> {
    let scope = Scope { staged: false, wrapper: false, ..of.scope };
    let command = command::command(section, scope);
    if command.is_none() && !section.has("command") && !section.has("shell") {
        section.problem("command", "`command` or `shell` is missing", None);
    }
    command.map(Kind::Command)
}

impl Confirm {
    /// The same with what it needs to know of the files of its target.
    pub(super) fn of(self, templates: &[Template]) -> Self {
        let destinations = templates.iter().map(|template| template.dest.clone()).collect();
        Self { destinations, secret: templates.iter().any(|template| template.secret), ..self }
    }
}
