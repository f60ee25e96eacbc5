//! `capture`: what the templates ask, and the answers, as a fixture.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use super::args::{Capture as Options, Common};
use super::ask::print;
use super::ready::Patience;
use super::render::{Done, complete_all, plan};
use super::replace::{named, replace};
use super::{load, say};
use crate::capture::{Capture, Reads};
use crate::config::{Target, Template};
use crate::daemon::count;
use crate::exit::Exit;
use crate::plan::Plan;
use crate::registries::Registries;
use crate::registry::file::Fixture;
use crate::store::{Store, View};

pub(super) async fn run(common: &Common, options: &Options) -> Exit {
    match capture(common, options).await {
        Ok(()) => Exit::Done,
        Err(exit) => exit,
    }
}

async fn capture(common: &Common, options: &Options) -> Result<(), Exit> {
    let output = named(options.output.as_deref());
    let form = Form::of(output)?;
    let plan = plan(common, &options.ready)?;
    let store = Store::new();
    let _registries = Registries::start_briefly(&plan.config.registries, &store).await;
    let patience = Patience::of(&options.ready);
    let (view, done) = settled(&plan, &store, &patience, options.ready.wait_for_keys).await?;

    let secret = plan.targets.iter().flat_map(|(target, _)| target.templates.iter().map(|template| template.secret));
    let asked = done.iter().flat_map(|done| done.renderer.reads().zip(done.renderer.named_by()));
    let reads: Vec<_> =
        asked.zip(secret).map(|((asked, named_by), secret)| Reads { asked, named_by, secret }).collect();
    let registries = plan.config.registries.keys().cloned();
    let words = plan.targets.iter().zip(&done).flat_map(|((target, templates), done)| {
        let files = done.complete.by_template().filter_map(|(file, _)| made_of_item(target, file));
        templates.words().chain(files)
    });
    let capture = Capture::of(registries, &reads, words, &view, options.with_secrets);

    let text = match form {
        Form::Yaml => capture.to_yaml(),
        Form::Json => capture.to_json(),
    };
    let path = output.unwrap_or(Path::new("the capture"));
    let fixture = capture.read_again(path, text.clone()).map_err(|reason| failed(format_args!("{reason}")))?;
    say_what_differs(&plan, &done, &fixture, options).await;
    match output {
        Some(path) => replace(path, text.as_bytes(), options.with_secrets)
            .map_err(|error| failed(format_args!("failed to write `{}`: {error}", path.display())))?,
        None => print(&text)?,
    }
    say_what_is_in_it(&capture, options);
    Ok(())
}

/// What the name of a file of a `for_each` has of its item.
fn made_of_item<'f>(target: &Target, file: &'f Template) -> Option<&'f str> {
    let template = target.templates.iter().find(|template| template.writes_to(&file.dest))?;
    let pattern = template.dest.file_name()?.to_str()?;
    let (before, after) = (pattern.split('*').next()?, pattern.rsplit('*').next()?);
    file.name.strip_prefix(before)?.strip_suffix(after)
}

/// What the file is written as.
#[derive(Debug, Clone, Copy)]
enum Form {
    Yaml,
    Json,
}

impl Form {
    fn of(output: Option<&Path>) -> Result<Self, Exit> {
        match output.map(|path| path.extension().and_then(OsStr::to_str)) {
            Some(Some("json")) => Ok(Self::Json),
            None | Some(None | Some("yaml" | "yml")) => Ok(Self::Yaml),
            Some(Some(_)) => {
                say::error(format_args!("a capture is YAML or JSON: name it `*.yaml`, `*.yml` or `*.json`"));
                Err(Exit::Usage)
            }
        }
    }
}

fn failed(reason: std::fmt::Arguments<'_>) -> Exit {
    say::error(reason);
    Exit::Failed
}

/// Every target, rendered from one view of all answers.
async fn settled(
    plan: &Plan,
    store: &Arc<Store>,
    patience: &Patience,
    wait_for_keys: bool,
) -> Result<(View, Vec<Done>), Exit> {
    loop {
        let done = complete_all(plan, store, patience, wait_for_keys).await?;
        let view = store.reader().view();
        let is_old = |done: &&Done| {
            let asked = done.renderer.reads().flatten();
            view.changed_since(done.complete.view.publication(), asked)
        };
        if !done.iter().any(|done| is_old(&done)) {
            return Ok((view, done));
        }
        if tokio::time::Instant::now() >= patience.deadline() {
            say::error(format_args!("the answers changed faster than the templates could be rendered from one moment"));
            return Err(Exit::NotReady);
        }
    }
}

/// Renders everything again from the fixture, and says where that is not the same.
async fn say_what_differs(plan: &Plan, done: &[Done], fixture: &Fixture, options: &Options) {
    let mut config = plan.config.clone();
    load::answer_from(&mut config, fixture);
    let Ok(mut again) = Plan::load(config, &load::variables()) else { return };
    if load::only(&mut again, &options.ready.targets).is_err() {
        return;
    }
    let store = Store::new();
    let _registries = Registries::start_briefly(&again.config.registries, &store).await;
    let patience = Patience::new(options.ready.timeout);
    let hint = "capture with `--with-secrets`, or mend the fixture by hand";
    let Ok(from_fixture) = complete_all(&again, &store, &patience, false).await else {
        say::warning(format_args!("the templates cannot be rendered from the stand-ins\n  = hint: {hint}"));
        return;
    };
    for (live, captured) in done.iter().zip(&from_fixture) {
        let captured: BTreeMap<_, _> =
            captured.complete.by_template().map(|(template, bytes)| (&template.dest, bytes)).collect();
        for (template, bytes) in live.complete.by_template().filter(|(template, _)| !template.secret) {
            if captured.get(&template.dest) != Some(&bytes) {
                let (target, name) = (&live.complete.target.name, &template.name);
                say::warning(format_args!(
                    "`{name}` of target `{target}` has other bytes from the fixture: it shows what a `secret` template \
                     asks for more narrowly\n  = hint: mark it `secret` as well, or {hint}"
                ));
            }
        }
    }
}

fn say_what_is_in_it(capture: &Capture, options: &Options) {
    let questions = count(capture.len(), "question", "questions");
    let keys: Vec<String> = capture
        .replaced
        .iter()
        .flat_map(|(registry, keys)| keys.iter().map(move |key| format!("key `{key}` from registry `{registry}`")))
        .collect();
    let into = named(options.output.as_deref()).map(|path| format!(" in `{}`", path.display())).unwrap_or_default();
    say::well(format_args!("captured: {questions}{into}"));
    if !keys.is_empty() {
        let values = count(keys.len(), "value", "values");
        say::note_with(format_args!("stand-ins for {values} that only `secret` templates show:"), &keys);
    }
    if capture.left_out > 0 {
        let left_out = count(capture.left_out, "question", "questions");
        say::warning(format_args!("left out {left_out} that a `secret` template computes from values"));
    }
    if !capture.files.is_empty() {
        let files: Vec<String> = capture.files.iter().cloned().collect();
        say::note_with(format_args!("local files are no part of it:"), &files);
    }
    if options.with_secrets {
        say::warning(format_args!("it holds secrets in clear: commit it nowhere, and remove it when it is not needed"));
    }
}
