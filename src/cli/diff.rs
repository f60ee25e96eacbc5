//! `diff`: how the files on disk would change, as a unified diff; the exit code says whether they would.

use std::fs;
use std::io::{ErrorKind, Write as _};

use similar::TextDiff;

use super::args::{Common, Ready};
use super::render::rendered;
use super::say;
use crate::config::Template;
use crate::exit::Exit;
use crate::target::Complete;

pub(super) async fn run(common: &Common, options: &Ready) -> Exit {
    let rendered = match rendered(common, options).await {
        Ok(rendered) => rendered,
        Err(exit) => return exit,
    };
    let files = rendered.iter().flat_map(Complete::by_template);
    files.fold(Exit::Done, |exit, (template, new)| exit.and(compare(template, new)))
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
    let text = unified(&old, new, &old_name, &dest.to_string(), template.secret);
    let written = std::io::stdout().lock().write_all(text.as_bytes());
    match written {
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
