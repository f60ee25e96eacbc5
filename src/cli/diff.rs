//! `diff`: how the files on disk would change, as a unified diff; the exit code says whether they would.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use similar::TextDiff;

use super::args::{Common, Ready};
use super::render::rendered;
use super::say;
use crate::apply::Listed;
use crate::config::{Target, Template};
use crate::exit::Exit;
use crate::target::{Complete, Left};

pub(super) async fn run(common: &Common, options: &Ready) -> Exit {
    let (plan, rendered) = match rendered(common, options).await {
        Ok(rendered) => rendered,
        Err(exit) => return exit,
    };
    let mut exit = Exit::Done;
    for ((target, _), complete) in plan.targets.iter().zip(&rendered) {
        for (template, new) in complete.by_template() {
            exit = exit.and(compare(template, new));
        }
        exit = exit.and(compare_with_nothing(&plan.config.state_dir, target, complete));
    }
    exit
}

/// The files that would go, since their item has.
fn compare_with_nothing(state_dir: &Path, target: &Target, complete: &Complete) -> Exit {
    if !target.templates.iter().any(Template::removes_what_is_gone) {
        return Exit::Done;
    }
    let unknown = |what: &Path, error: std::io::Error| {
        let what = what.display();
        say::error_of(
            &target.name,
            format_args!(
                "cannot tell whether files of items that are gone would be removed: failed to read `{what}`: {error}\n  \
                 = hint: run it as the user that liveconf runs as"
            ),
        );
        Exit::Failed
    };
    let listed = match Listed::read(state_dir, &target.name) {
        Ok(listed) => listed,
        Err(error) => return unknown(state_dir, error),
    };
    let mut elsewhere = Vec::new();
    let exit = Left::of(target, &complete.target, &listed, false).into_iter().fold(Exit::Done, |exit, left| {
        exit.and(match left {
            Left::Goes(template) => show_gone(&template),
            Left::Unknown(file, Some(error)) => unknown(&file, error),
            Left::Elsewhere(file) => {
                elsewhere.push(format!("`{}`", file.display()));
                Exit::Done
            }
            Left::Stays(_) | Left::Others { .. } | Left::Unknown(_, None) => Exit::Done,
        })
    });
    if !elsewhere.is_empty() {
        let files = crate::log::listed(&elsewhere);
        say::warning(format_args!(
            "files of items of an earlier `dest` stay: {files}; remove them if they are not wanted"
        ));
    }
    exit
}

fn show_gone(template: &Template) -> Exit {
    let dest = template.dest.display().to_string();
    match fs::read(&template.dest) {
        Ok(old) => show(&unified(&old, b"", &dest, "/dev/null", template.secret)),
        Err(error) if error.kind() == ErrorKind::NotFound => Exit::Done,
        Err(error) => {
            say::error(format_args!("failed to read `{dest}`: {error}"));
            Exit::Failed
        }
    }
}

fn compare(template: &Template, new: &[u8]) -> Exit {
    let dest = template.dest.display();
    let (old, old_name) = match fs::read(&template.dest) {
        Ok(old) => (old, dest.to_string()),
        Err(error) if error.kind() == ErrorKind::NotFound => (Vec::new(), "/dev/null".to_owned()),
        Err(error) => {
            say::error(format_args!("failed to read `{dest}`: {error}"));
            return Exit::Failed;
        }
    };
    if old == new && old_name != "/dev/null" {
        return Exit::Done;
    }
    show(&unified(&old, new, &old_name, &dest.to_string(), template.secret))
}

fn show(text: &str) -> Exit {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        // A reader that has seen enough, such as `head`, knows already that they differ.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            say::error(format_args!("failed to write to standard output: {error}"));
            Exit::Failed
        }
        _ => Exit::Differs,
    }
}

/// A unified diff of two files. What a `secret` template gives is not shown, nor what is no text.
pub(super) fn unified(old: &[u8], new: &[u8], old_name: &str, new_name: &str, secret: bool) -> String {
    if secret {
        format!("--- {old_name}\n+++ {new_name}\n(secret: the content is not shown)\n")
    } else if let (Ok(old), Ok(new)) = (std::str::from_utf8(old), std::str::from_utf8(new)) {
        TextDiff::from_lines(old, new).unified_diff().header(old_name, new_name).to_string()
    } else {
        format!("Binary files {old_name} and {new_name} differ\n")
    }
}
