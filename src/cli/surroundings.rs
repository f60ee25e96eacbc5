//! What the configuration names and this machine does not have. It may be there by the time it is needed, or the
//! configuration may be for another machine, so these are warnings.

use crate::apply::look_up_owner;
use crate::config::{Command, Placeholder, Program, Reload};
use crate::plan::Plan;
use crate::process::find_program;
use crate::process::supervise::look_up_identity;

/// A line for each thing that is not there. Looks and touches nothing.
pub(super) fn missing(plan: &Plan) -> Vec<String> {
    let mut missing = Vec::new();
    for (target, _) in &plan.targets {
        let mut note = |what: String| missing.push(format!("target `{}`: {what}", target.name));
        let mut commands: Vec<(String, &Command)> = Vec::new();
        for template in &target.templates {
            if let Err(error) = look_up_owner(template) {
                note(error.to_string());
            }
            commands
                .extend(template.check.iter().map(|check| (format!("check of `{}`", template.name), &check.command)));
        }
        commands.extend(target.check.iter().map(|check| ("check".to_owned(), &check.command)));
        commands.extend(target.verify.iter().map(|verify| ("verify".to_owned(), &verify.command)));
        if let Reload::Command(command) = &target.reload {
            commands.push(("reload".to_owned(), command));
        }
        if let Reload::Systemd(unit) = &target.reload
            && find_program(&unit.systemctl).is_none()
        {
            let program = &unit.systemctl;
            note(format!("the program `{program}` of its reload is not there\n  hint: {}", advice(program)));
        }
        if let Some(folder) = target.process.as_ref().and_then(|process| process.working_dir.as_ref())
            && !folder.is_dir()
        {
            note(format!("there is no folder `{}`, the `working_dir` of its process", folder.display()));
        }
        if let Some(process) = &target.process
            && process.working_dir.is_none()
            && find_program(process.program()).is_none()
        {
            let program = process.program();
            note(format!("the program `{program}` of its process is not there\n  hint: {}", advice(program)));
        }
        for error in target.process.as_deref().map(look_up_identity).unwrap_or_default() {
            let advice = "create it, or give one that exists (`getent`), by name or number";
            note(format!("{error}, as which its process is to run\n  hint: {advice}"));
        }
        for (name, command) in commands {
            if let Some(program) = absent(command) {
                note(format!("the program `{program}` of its {name} is not there\n  hint: {}", advice(program)));
            }
        }
    }
    missing
}

/// The program of a command, if it is known by now and not there. What a script runs is not looked into.
fn absent(command: &Command) -> Option<&str> {
    let Program::Arguments(arguments) = &command.program else { return None };
    match arguments.first()?.as_slice() {
        [Placeholder::Text(program)] if find_program(program).is_none() => Some(program),
        _ => None,
    }
}

fn advice(program: &str) -> &'static str {
    if program.contains('/') {
        "install it, make it executable, or mend its path"
    } else {
        "install it, give its absolute path, or see that `PATH` holds its folder"
    }
}
