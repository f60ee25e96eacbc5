//! Commands of a target: `check` and `verify`, and what `reload` runs.

use std::time::Duration;

use super::field::Field;
use super::model::{Check, Command, Placeholder, Program, When};
use super::placeholder::Scope;
use super::problem::Complaint;
use super::section::Section;
use super::shell;

/// How long a command may take unless something else is said.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);

/// Reads `check` or `verify`: a list of arguments, or a mapping with `command` or `shell`.
pub(super) fn check(field: Field<'_>, scope: Scope<'_>) -> Option<Check> {
    if field.is_list() {
        let program = arguments(field, Scope { wrapper: false, ..scope })?;
        return Some(Check { command: Command { program, timeout: TIMEOUT }, wrapper: None, when: When::Always });
    }
    if !field.is_map() {
        let hint = "write `[nginx, -t, -q, -c, \"{staged}\"]`, or `{shell: \"...\"}`";
        return field.misfit("a list of arguments or a mapping", Some(hint.into()));
    }
    let mut section = field.section()?;
    let wrapper_field = section.field("wrapper");
    let command = command(&mut section, Scope { wrapper: wrapper_field.is_some(), ..scope });
    let when =
        section.or("when", When::Always, |field| field.choice(&[("always", When::Always), ("reload", When::Reload)]));
    let wrapper = section.optional("wrapper", |field| wrapper(field, scope));
    if command.is_none() && !section.has("command") && !section.has("shell") {
        section.problem("command", "`command` or `shell` is missing", None);
    }
    let check = Check { command: command?, wrapper: wrapper?, when: when? };
    if let Some(field) = wrapper_field
        && !references(&check.command.program).any(|placeholder| *placeholder == Placeholder::Wrapper)
    {
        let hint = "hand it to the command as `{wrapper}`, as in `[nginx, -t, -q, -c, \"{wrapper}\"]`";
        return field.complain(Complaint::new("the command does not use the wrapper").hint(hint));
    }
    Some(check)
}

/// Whether the check is handed a staged file.
pub(super) fn looks_at_staged(check: &Check) -> bool {
    references(&check.command.program)
        .chain(check.wrapper.iter().flatten())
        .any(|placeholder| matches!(placeholder, Placeholder::Staged(_)))
}

/// Reads `command` or `shell`, and `timeout`. The caller says what is missing when neither is there.
pub(super) fn command(section: &mut Section<'_>, scope: Scope<'_>) -> Option<Command> {
    let timeout = section.or("timeout", TIMEOUT, Field::nonzero_duration);
    let program = program(section, scope);
    Some(Command { program: program?, timeout: timeout? })
}

/// Reads `command` or `shell`.
pub(super) fn program(section: &mut Section<'_>, scope: Scope<'_>) -> Option<Program> {
    match (section.field("command"), section.field("shell")) {
        (Some(_), Some(shell)) => shell.complain(Complaint::new("`command` and `shell` exclude each other")),
        (Some(field), None) => arguments(field, scope),
        (None, Some(field)) => script(field, scope),
        (None, None) => None,
    }
}

fn arguments(field: Field<'_>, scope: Scope<'_>) -> Option<Program> {
    if !field.is_list() {
        let hint =
            "write each argument as an item, as in `[nginx, -t]`; no shell reads it, unless it is `shell: \"...\"`";
        return field.misfit("a list of arguments", Some(hint.into()));
    }
    let items = field.items()?;
    let read = |item: &Field<'_>| {
        let text = item.expanded("a list of texts")?;
        without_nul(*item, &text)?;
        scope.pieces(*item, &text)
    };
    let arguments: Vec<Option<Vec<Placeholder>>> = items.iter().map(read).collect();
    let arguments: Vec<Vec<Placeholder>> = arguments.into_iter().collect::<Option<_>>()?;
    if arguments.first().is_none_or(Vec::is_empty) {
        return field.complain(Complaint::new("there is no program to run"));
    }
    Some(Program::Arguments(arguments))
}

fn script(field: Field<'_>, scope: Scope<'_>) -> Option<Program> {
    let text = field.expanded("a text for `sh -c`")?;
    without_nul(field, &text)?;
    if text.trim().is_empty() {
        return field.complain(Complaint::new("there is no program to run"));
    }
    match shell::program(&text, &scope) {
        Ok(program) => Some(program),
        Err(complaints) => {
            for complaint in complaints {
                field.note(complaint);
            }
            None
        }
    }
}

fn wrapper(field: Field<'_>, scope: Scope<'_>) -> Option<Vec<Placeholder>> {
    let text = field.expanded("text")?;
    // A wrapper does not hold its own path.
    Scope { wrapper: false, ..scope }.pieces(field, &text)
}

/// The system takes no text that holds a zero byte.
fn without_nul(field: Field<'_>, text: &str) -> Option<()> {
    if text.contains('\0') { field.complain(Complaint::new("a command cannot hold a zero byte")) } else { Some(()) }
}

fn references(program: &Program) -> Box<dyn Iterator<Item = &Placeholder> + '_> {
    match program {
        Program::Arguments(arguments) => Box::new(arguments.iter().flatten()),
        Program::Shell { variables, .. } => Box::new(variables.iter().map(|(_, placeholder)| placeholder)),
    }
}

/// Whether a command means the same in every target: no placeholder stands in it.
pub(super) fn is_fixed(program: &Program) -> bool {
    references(program).all(|placeholder| matches!(placeholder, Placeholder::Text(_)))
}
