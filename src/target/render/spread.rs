//! What a template writes, and a target with a template for each file: one with `for_each` writes many.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::config::{Check, Placeholder, Program, Target, Template, Writes};

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
    let mut templates = Vec::new();
    for (index, (template, written)) in target.templates.iter().zip(written).enumerate() {
        match written {
            Written::One(_) => templates.push(template.clone()),
            Written::Each(files) => {
                for name in files.keys() {
                    let file = one(template, index, name, templates.len());
                    templates.push(file);
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

/// The template of one file of a template with `for_each`, which stands at `from` in the configuration and comes to `to`.
fn one(template: &Template, from: usize, name: &str, to: usize) -> Template {
    let check = template.check.clone().map(|check| moved(check, from, to));
    let dest = template.dest.with_file_name(name);
    Template { name: name.to_owned(), dest, check, writes: Writes::Item, ..template.clone() }
}

/// The check of a template whose own file is the one at `to`.
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
