//! What a template writes, and a target with a template for each file: one with `for_each` writes many.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::config::{Check, Placeholder, Program, Target, Template, TemplateSource, Writes};

/// What one template writes.
#[derive(Debug, Clone)]
pub(super) enum Written {
    /// Its file.
    One(Bytes),
    /// The files of its items, by name.
    Each(BTreeMap<String, Bytes>),
}

impl Written {
    /// The contents, in the order of the names.
    pub(super) fn contents(&self) -> impl Iterator<Item = &Bytes> {
        let (one, each) = match self {
            Self::One(bytes) => (Some(bytes), None),
            Self::Each(files) => (None, Some(files.values())),
        };
        one.into_iter().chain(each.into_iter().flatten())
    }
}

/// The target with a template for each of these files; the one of `before`, where it has the same.
pub(super) fn spread<'w>(
    target: &Arc<Target>,
    before: &Arc<Target>,
    written: impl Iterator<Item = &'w Written>,
) -> Arc<Target> {
    if !target.templates.iter().any(|template| matches!(template.writes, Writes::Each(_))) {
        return target.clone();
    }
    // Each is a template of its own, and none needs the source again.
    let bare = |template: &Template| {
        let source = TemplateSource::File(PathBuf::new());
        Template { source, writes: Writes::Item, check: None, ..template.clone() }
    };
    let mut templates = Vec::new();
    for (index, (template, written)) in target.templates.iter().zip(written).enumerate() {
        match written {
            Written::One(_) => templates.push(template.clone()),
            Written::Each(files) => {
                let bare = bare(template);
                for name in files.keys() {
                    let to = templates.len();
                    let check = template.check.clone().map(|check| moved(check, index, to));
                    let dest = template.dest.with_file_name(name);
                    templates.push(Template { name: name.to_owned(), dest, check, ..bare.clone() });
                }
            }
        }
    }
    let is_same = |(one, other): (&Template, &Template)| one.dest == other.dest;
    if before.templates.len() == templates.len() && before.templates.iter().zip(&templates).all(is_same) {
        return before.clone();
    }
    Arc::new(Target { templates, ..Target::clone(target) })
}

/// The check of a template that stands at `from` in the configuration, for the file that comes to `to`.
fn moved(mut check: Check, from: usize, to: usize) -> Check {
    let mut each = |placeholder: &mut Placeholder| match placeholder {
        Placeholder::Staged(index) | Placeholder::Dest(index) if *index == from => *index = to,
        _ => {}
    };
    match &mut check.command.program {
        Program::Arguments(arguments) => arguments.iter_mut().flatten().for_each(&mut each),
        Program::Shell { variables, .. } => variables.iter_mut().for_each(|(_, placeholder)| each(placeholder)),
    }
    check.wrapper.iter_mut().flatten().for_each(each);
    check
}
