//! One target: a process and its files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::command;
use super::confirm;
use super::field::Field;
use super::guard;
use super::lock;
use super::model::{Check, Drift, Gather, Guard, Reload, Target, Template, Wait};
use super::placeholder::Scope;
use super::problem::Complaint;
use super::process::{self, Supervises};
use super::reload;
use super::section::Section;
use super::template::{self, Draft, normalised};
use super::units;

/// A destination as it is written.
pub(super) struct Destination<'a> {
    /// Its path, or the pattern of many.
    pub(super) path: PathBuf,
    /// It stands for many files.
    pub(super) is_pattern: bool,
    /// Where it stands.
    pub(super) field: Field<'a>,
}

/// A target with the places that later problems may be about.
pub(super) struct Written<'a> {
    /// The target; none where something is wrong.
    pub(super) target: Option<Target>,
    /// The destinations that could be read, and where they stand.
    pub(super) destinations: Vec<Destination<'a>>,
    /// Where its reload stands.
    pub(super) reload: Option<Field<'a>>,
    /// Where its lock stands.
    pub(super) lock: Option<Field<'a>>,
}

/// Reads the target called `name`. `additions` are the sections of the same target in other files, which add
/// templates and nothing else.
///
/// `run` says what the command line supervises, which every target has that has no process of its own.
pub(super) fn read<'a>(
    name: &str,
    section: &mut Section<'a>,
    additions: &mut [Section<'a>],
    run: &Supervises,
) -> Written<'a> {
    let mut lists = vec![section.field("templates")];
    for addition in additions {
        lists.push(addition.field("templates"));
    }
    let items: Vec<Field<'a>> = lists.into_iter().flatten().filter_map(Field::items).flatten().collect();
    if items.is_empty() {
        section.problem("templates", format!("target `{name}` has no templates"), None);
    }
    let mut drafts: Vec<Option<Draft<'a>>> =
        items.into_iter().map(|item| Some(template::draft(&mut item.section()?))).collect();
    // Those of one file keep their places whatever the others write, so that commands may name them.
    let writes_many = |draft: &Option<Draft<'_>>| draft.as_ref().is_some_and(|draft| draft.writes_many);
    drafts.sort_by_key(writes_many);
    let name_of = |draft: &Option<Draft<'_>>| draft.as_ref().filter(|draft| !draft.writes_many)?.name.clone();
    let names: Vec<Option<String>> = drafts.iter().map(name_of).collect();
    refuse_equal_names(&drafts);

    let own = (names.len() == 1 && !drafts.iter().any(writes_many)).then_some(0);
    let many = drafts.iter().all(writes_many);
    let scope = Scope { names: &names, own, many, staged: true, wrapper: false };
    let destinations = drafts
        .iter()
        .flatten()
        .filter_map(|draft| {
            let path = normalised(&draft.template.as_ref()?.dest);
            Some(Destination { path, is_pattern: draft.writes_many, field: draft.dest_field? })
        })
        .collect();
    let templates: Vec<Option<Template>> = drafts
        .into_iter()
        .enumerate()
        .map(|(index, draft)| finish(draft?, Scope { own: Some(index), ..scope }))
        .collect();

    let check = section.optional("check", |field| checked(field, scope));
    let verify = section.optional("verify", |field| command::check(field, scope));
    let written = section.optional("process", |field| process::read(field, scope));
    let has_process = if matches!(written, Some(None)) { run.has_process() } else { Some(true) };
    let reload_field = section.field("reload");
    let reload = match reload_field {
        None => Some(process::reload_without(has_process == Some(true))),
        Some(field) => process::reload(field, has_process).unwrap_or_else(|| reload::read(field, scope)),
    };
    let confirm = section.optional("confirm", |field| {
        confirm::read(field, &confirm::Of { scope, reload: reload.as_ref(), has_process: has_process != Some(false) })
    });
    let guard = section.or("guard", Guard::default(), guard::read);
    let policies = [("repair", Drift::Repair), ("report", Drift::Report), ("ignore", Drift::Ignore)];
    let drift = section.or("drift", Drift::Repair, |field| field.choice(&policies));
    let drift_interval = section.or("drift_interval", Duration::from_secs(30), Field::nonzero_duration);
    let gather = section
        .or("gather", Gather::Burst, |field| field.choice(&[("burst", Gather::Burst), ("always", Gather::Always)]));
    let seconds = Duration::from_secs;
    let wait = section.or("wait", (Duration::from_millis(100), seconds(2)), wait);
    let reload_interval = section.or("reload_interval", seconds(1), Field::duration);
    let splay = section.or("splay", Duration::ZERO, Field::duration);
    let lock = section.optional("lock", lock::read);
    let mut lock_field = section.field("lock");
    if reload == Some(Reload::None)
        && let Some(lock) = lock_field.take()
    {
        lock.note(Complaint::new("`lock` without a reload: there is nothing that others could wait for"));
    }
    let retry = section.or("retry", (seconds(1), seconds(60)), retry);
    let render_timeout = section.or("render_timeout", seconds(5), Field::nonzero_duration);

    let target = || {
        let (min, max) = wait?;
        let templates: Vec<Template> = templates.into_iter().collect::<Option<_>>()?;
        let reload = reload?;
        let process = match written? {
            Some(process) => Some(Arc::new(process.of(name, &templates))),
            None => run.process().cloned(),
        };
        Some(Target {
            name: name.into(),
            confirm: confirm?.or_else(|| confirm::implied(&reload)).map(|confirm| confirm.of(&templates)),
            templates,
            check: check?,
            verify: verify?,
            reload,
            process,
            wait: Wait { min, max, gather: gather? },
            reload_interval: reload_interval?,
            splay: splay?,
            lock: lock?,
            retry: retry?,
            render_timeout: render_timeout?,
            guard: guard?,
            drift: drift?,
            drift_interval: drift_interval?,
        })
    };
    Written { target: target(), destinations, reload: reload_field, lock: lock_field }
}

/// The template of a draft with its check.
fn finish(draft: Draft<'_>, scope: Scope<'_>) -> Option<Template> {
    let check = match draft.check {
        Some(field) => Some(checked(field, scope)?),
        None => None,
    };
    Some(Template { check, ..draft.template? })
}

/// Reads a check that runs on staged files, and warns of one that looks elsewhere.
fn checked(field: Field<'_>, scope: Scope<'_>) -> Option<Check> {
    let check = command::check(field, scope)?;
    if !command::looks_at_staged(&check) {
        field.warn(
            Complaint::new("this check never looks at the new files: it runs before they are put in place")
                .hint("hand it `{staged}`, or `{wrapper}` with a `wrapper` that includes `{staged}`"),
        );
    }
    Some(check)
}

fn refuse_equal_names(drafts: &[Option<Draft<'_>>]) {
    let mut seen: Vec<(&str, Field<'_>)> = Vec::new();
    for draft in drafts.iter().flatten() {
        let (Some(name), Some(field)) = (draft.name.as_deref(), draft.name_field) else { continue };
        if let Some((_, first)) = seen.iter().find(|(other, _)| *other == name) {
            let message = format!("a template of this target is called `{name}` already, at {}", first.place());
            let hint = if field.key == "name" {
                "give it another `name`".to_owned()
            } else {
                let folder = field.node.text().and_then(|dest| Path::new(dest).parent()?.file_name()?.to_str());
                let is_word = |folder: &&str| folder.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
                let other = folder.filter(is_word).unwrap_or("other");
                format!(
                    "it is called after its file: write a `name` of its own beside its `dest`, such as `name: {other}`"
                )
            };
            field.note(Complaint::new(message).hint(hint));
        } else {
            seen.push((name, field));
        }
    }
}

/// `100ms..2s`; a single duration is the shortest, and ten times it the longest; `0` is no wait.
fn wait(field: Field<'_>) -> Option<(Duration, Duration)> {
    let expected = "a range such as `100ms..2s`, a duration, or `0`";
    let text = field.expanded(expected)?;
    let range = units::range(&text).unwrap_or_else(|| units::duration(&text).map(|min| (min, min.saturating_mul(10))));
    match range {
        Ok((min, max)) if min.is_zero() && !max.is_zero() => {
            field.complain(Complaint::new("`wait` begins with `0`").hint("`wait: 0` turns it off"))
        }
        Ok(range) => Some(range),
        Err(hint) => field.misfit(expected, hint),
    }
}

/// `1s..60s`; a single duration is the first and the longest pause.
fn retry(field: Field<'_>) -> Option<(Duration, Duration)> {
    let expected = "a range such as `1s..60s` or a duration";
    let text = field.expanded(expected)?;
    let range = units::range(&text).unwrap_or_else(|| units::duration(&text).map(|pause| (pause, pause)));
    match range {
        Ok((first, _)) if first.is_zero() => field.complain(Complaint::new("`retry` cannot begin with `0`")),
        Ok(range) => Some(range),
        Err(hint) => field.misfit(expected, hint),
    }
}
