//! `diff`: how the files on disk would change, as a unified diff; the exit code says whether they would.

use std::fs;
use std::io::{ErrorKind, Write as _};

use similar::TextDiff;

use super::args::{Common, Ready};
use super::render::rendered;
use super::say;
use crate::config::Template;
use crate::exit::Exit;

pub(super) async fn run(common: &Common, options: &Ready) -> Exit {
    let (plan, rendered) = match rendered(common, options).await {
        Ok(both) => both,
        Err(exit) => return exit,
    };
    let templates = plan.targets.iter().flat_map(|(target, _)| &target.templates);
    let files = rendered.iter().flat_map(|complete| &complete.files);
    templates.zip(files).fold(Exit::Done, |exit, (template, new)| exit.and(compare(template, new)))
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
    let mut out = std::io::stdout().lock();
    let written = if template.secret {
        writeln!(out, "--- {old_name}\n+++ {dest}\n(secret: the content is not shown)")
    } else if let (Ok(old), Ok(new)) = (std::str::from_utf8(&old), std::str::from_utf8(new)) {
        write!(out, "{}", TextDiff::from_lines(old, new).unified_diff().header(&old_name, &dest.to_string()))
    } else {
        writeln!(out, "Binary files {old_name} and {dest} differ")
    };
    match written {
        // A reader that has seen enough, such as `head`, knows already that they differ.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            say::error(format_args!("failed to write to standard output: {error}"));
            Exit::Failed
        }
        _ => Exit::Differs,
    }
}
