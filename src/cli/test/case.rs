//! One case: rendered from its fixture, and compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::args::Common;
use super::super::diff::unified;
use super::super::load;
use super::super::ready::Patience;
use super::super::replace::replace;
use super::find::{CASE, EXPECTED, FIXTURES, fixture};
use super::{Difference, Outcome, Verdict};
use crate::config::{Case, ExpectedError, Job, Target, Template, Writes, may_meet, read_case};
use crate::plan::Plan;
use crate::registries::Registries;
use crate::store::{Reader, Store};
use crate::target::{Complete, Render, Renderer, Waiting, waiting_for};

/// Every answer is there already; this is for the local files that templates read.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why a case has no files to compare.
enum Trouble {
    /// The case cannot be read.
    Wrong(Vec<String>),
    /// Its templates failed.
    Failed(Vec<String>),
}

/// One rendered file.
struct Rendered {
    /// Where what is expected of it stands.
    expected: PathBuf,
    bytes: Vec<u8>,
    secret: bool,
}

impl Outcome {
    /// Nothing wrong yet.
    fn of(folder: &Path) -> Self {
        let (reasons, files, written, removed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { case: folder.display().to_string(), result: Verdict::Ok, reasons, files, written, removed }
    }
}

/// Runs the case in this folder; `update` writes what is expected.
pub(super) async fn run(common: &Common, folder: &Path, update: bool) -> Outcome {
    let mut outcome = Outcome::of(folder);
    let (case, rendered) = match read(folder) {
        Ok(case) => {
            let rendered = rendered(common, folder, &case).await;
            (case, rendered)
        }
        Err(reasons) => (Case::default(), Err(Trouble::Wrong(reasons))),
    };
    match (rendered, &case.error) {
        (Err(Trouble::Failed(reasons)), Some(expected)) => {
            let missing = mismatch(expected, &reasons);
            if !missing.is_empty() {
                outcome.result = Verdict::Failed;
                outcome.reasons = missing.into_iter().chain(reasons).collect();
            }
        }
        (Ok(_), Some(_)) => {
            outcome.result = Verdict::Failed;
            outcome.reasons.push("it renders, and an error was expected".to_owned());
        }
        (Err(Trouble::Failed(reasons)), None) => {
            outcome.result = Verdict::Failed;
            outcome.reasons = reasons;
        }
        (Err(Trouble::Wrong(reasons)), _) => {
            outcome.result = Verdict::Wrong;
            outcome.reasons = reasons;
        }
        (Ok(files), None) => compare(folder, &files, update, &mut outcome),
    }
    outcome
}

fn read(folder: &Path) -> Result<Case, Vec<String>> {
    let path = folder.join(CASE);
    match fs::read_to_string(&path) {
        Ok(text) => {
            let here = std::path::absolute(folder).map_err(|error| vec![error.to_string()])?;
            let problems = |problems: Vec<_>| problems.iter().map(ToString::to_string).collect::<Vec<String>>();
            read_case(&path, text, &here, &load::variables()).map_err(problems)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Case::default()),
        Err(error) => Err(vec![format!("cannot read `{}`: {error}", path.display())]),
    }
}

/// What the templates of a case give.
async fn rendered(common: &Common, folder: &Path, case: &Case) -> Result<Vec<Rendered>, Trouble> {
    let plan = plan(common, folder, case)?;
    let store = Store::new();
    let _registries = Registries::start_briefly(&plan.config.registries, &store).await;
    let patience = Patience::new(TIMEOUT);
    let several = plan.targets.len() > 1;
    let (mut files, mut failures) = (Vec::new(), Vec::new());
    for (target, templates) in &plan.targets {
        let renderer = Renderer::new(target.clone(), templates.clone(), plan.turns.clone());
        match complete(renderer, &store.reader(), &patience).await {
            Ok(complete) => {
                let place = folder.join(EXPECTED);
                let place = if several { place.join(&*target.name) } else { place };
                files.extend(named(&place, &plan.config.base, target, &complete));
            }
            Err(reason) => failures.push(reason),
        }
    }
    if failures.is_empty() { Ok(files) } else { Err(Trouble::Failed(failures)) }
}

fn plan(common: &Common, folder: &Path, case: &Case) -> Result<Plan, Trouble> {
    let wrong = |reason: String| Trouble::Wrong(vec![reason]);
    let here = std::path::absolute(folder).map_err(|error| wrong(error.to_string()))?;
    let Some(fixture) = case.fixture.clone().or_else(|| fixture(folder)) else {
        return Err(wrong(format!(
            "it has no `{0}`, and no `{CASE}` that names a `fixture`\n  = hint: `liveconf capture -o {1}` writes one; `{{}}` \
             is one without anything",
            FIXTURES[0],
            folder.join(FIXTURES[0]).display()
        )));
    };
    if !fixture.exists() {
        return Err(wrong(format!(
            "the fixture `{}` is not there\n  = hint: `fixture` in `{CASE}` is relative to the folder of the case; \
             `liveconf capture -o FILE` writes one",
            shown(&fixture)
        )));
    }
    let mut variables: BTreeMap<String, String> = load::variables();
    variables.extend(case.variables.clone());
    let mut common = common.clone();
    common.config = case.config.clone().or(common.config);
    // Nothing is kept of a case.
    common.state_dir.get_or_insert_with(|| here.join("state"));
    let job = (!case.templates.is_empty()).then(|| (job(&case.templates), here.as_path()));
    // An error of a template is one of the case only where it expects none.
    let mut plan = load::plan_of_case(&common, &variables, job, &fixture).map_err(|reasons| match &case.error {
        Some(_) => Trouble::Failed(reasons),
        None => Trouble::Wrong(reasons),
    })?;
    let known: BTreeSet<&str> = plan.targets.iter().map(|(target, _)| &*target.name).collect();
    if let Some(unknown) = case.targets.iter().find(|name| !known.contains(name.as_str())) {
        return Err(wrong(format!("there is no target `{unknown}` in its configuration")));
    }
    plan.targets
        .retain(|(target, _)| case.targets.is_empty() || case.targets.iter().any(|name| **name == *target.name));
    Ok(plan)
}

/// The job that renders templates without a configuration, each to a file of its name without `.tera`.
fn job(templates: &[String]) -> Job {
    let template = |source: &String| {
        let name = source.rsplit('/').next().unwrap_or(source);
        format!("{source}:{}", name.strip_suffix(".tera").unwrap_or(&format!("{name}.out")))
    };
    Job {
        registries: vec!["main=file:fixture.yaml".to_owned()],
        templates: templates.iter().map(template).collect(),
        ..Job::default()
    }
}

/// Renders a target; why it cannot be rendered.
async fn complete(mut renderer: Renderer, reader: &Reader, patience: &Patience) -> Result<Complete, String> {
    let mut last = None;
    loop {
        match renderer.render(reader).await {
            Render::Complete(complete) => return Ok(complete),
            Render::Failed(failure) => return Err(failure.to_string()),
            Render::Waiting(waiting) => {
                // Nothing comes later: what a fixture does not say now it never does.
                let again = last.replace(waiting.clone()).is_some_and(|before| before.missing == waiting.missing);
                if again || waiting.missing.is_empty() || !patience.arrival("the case", reader, &waiting).await {
                    return Err(missing(&waiting, reader));
                }
            }
        }
    }
}

fn missing(waiting: &Waiting, reader: &Reader) -> String {
    let all = waiting.missing.iter().map(|asked| waiting_for(asked, reader));
    format!("it waits for {}", all.chain(waiting.not_yet.clone()).collect::<Vec<_>>().join(", "))
}

/// The files of a target, each with the place below `place` of what is expected of it: by the name of its template, and for
/// `for_each` by the name of the file. Where another template may give the same name it is that of its folder, too.
fn named(place: &Path, base: &Path, target: &Target, complete: &Complete) -> Vec<Rendered> {
    let name = |template: &Template| match (&template.writes, template.dest.file_name()) {
        (Writes::Each(_), Some(pattern)) => PathBuf::from(pattern),
        _ => PathBuf::from(&template.name),
    };
    let is_alone = |own: &Template| {
        let mut others = target.templates.iter().filter(|other| other.dest != own.dest);
        !others.any(|other| may_meet(&name(own), &name(other)))
    };
    let shared: Vec<&Template> = target
        .templates
        .iter()
        .filter(|template| matches!(template.writes, Writes::Each(_)) && !is_alone(template))
        .collect();
    let expected = |template: &Template| match template.dest.parent() {
        Some(folder) if shared.iter().any(|each| each.writes_to(&template.dest)) => {
            let folder = folder.strip_prefix(base).or_else(|_| folder.strip_prefix("/")).unwrap_or(folder);
            place.join(folder).join(&template.name)
        }
        _ => place.join(&template.name),
    };
    let rendered = complete.by_template().map(|(template, bytes)| Rendered {
        expected: expected(template),
        bytes: bytes.to_vec(),
        secret: template.secret,
    });
    rendered.collect()
}

fn compare(folder: &Path, files: &[Rendered], update: bool, outcome: &mut Outcome) {
    let worse = |outcome: &mut Outcome, verdict| {
        if outcome.result != Verdict::Wrong {
            outcome.result = verdict;
        }
    };
    for file in files {
        let name = file.expected.display().to_string();
        let expected = match fs::read(&file.expected) {
            Ok(expected) if expected == file.bytes => continue,
            Ok(expected) => Some(expected),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => {
                worse(outcome, Verdict::Wrong);
                outcome.reasons.push(format!("cannot read `{name}`: {error}"));
                continue;
            }
        };
        if update {
            let folder = file.expected.parent().unwrap_or(folder);
            let written = fs::create_dir_all(folder).and_then(|()| replace(&file.expected, &file.bytes, file.secret));
            match written {
                Ok(()) => outcome.written.push(name),
                Err(error) => {
                    worse(outcome, Verdict::Failed);
                    outcome.reasons.push(format!("cannot write `{name}`: {error}"));
                }
            }
            continue;
        }
        let Some(expected) = expected else {
            worse(outcome, Verdict::Wrong);
            outcome.reasons.push(format!("there is no `{name}`: `--update` writes it"));
            continue;
        };
        worse(outcome, Verdict::Failed);
        let diff = unified(&expected, &file.bytes, &name, "rendered", file.secret);
        outcome.files.push(Difference { expected: name, diff });
    }
    // Nothing goes before all that takes its place is there.
    let may_remove = update && outcome.result == Verdict::Ok;
    for stranger in strangers(folder, files) {
        let name = stranger.display().to_string();
        if !may_remove || !is_own(folder, &stranger) {
            worse(outcome, Verdict::Failed);
            outcome.reasons.push(format!("`{name}` is expected, and no template gives it"));
            continue;
        }
        match fs::remove_file(&stranger) {
            Ok(()) => outcome.removed.push(name),
            Err(error) => {
                worse(outcome, Verdict::Failed);
                outcome.reasons.push(format!("cannot remove `{name}`, which no template gives: {error}"));
            }
        }
    }
    if outcome.result == Verdict::Ok && !(outcome.written.is_empty() && outcome.removed.is_empty()) {
        outcome.result = Verdict::Updated;
    }
}

/// Whether what is expected of this case stands there itself, and not behind a link to elsewhere.
fn is_own(folder: &Path, stranger: &Path) -> bool {
    let Some(Ok(place)) = stranger.parent().map(fs::canonicalize) else { return false };
    fs::canonicalize(folder).is_ok_and(|folder| place.starts_with(folder.join(EXPECTED)))
}

/// The files below `expected` that no template gives.
fn strangers(folder: &Path, files: &[Rendered]) -> Vec<PathBuf> {
    let known: BTreeSet<&Path> = files.iter().map(|file| file.expected.as_path()).collect();
    let mut strangers = Vec::new();
    let mut folders = vec![folder.join(EXPECTED)];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok);
        for path in entries.map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if !known.contains(path.as_path()) {
                strangers.push(path);
            }
        }
    }
    strangers.sort_unstable();
    strangers
}

/// In what no error is as expected.
fn mismatch(expected: &ExpectedError, errors: &[String]) -> Vec<String> {
    let is_all = |error: &&String| {
        expected.says.iter().all(|part| error.contains(part)) && expected.at.as_ref().is_none_or(|at| is_at(error, at))
    };
    if errors.iter().any(|error| is_all(&error)) {
        return Vec::new();
    }
    let mut missing: Vec<String> = expected
        .says
        .iter()
        .filter(|part| !errors.iter().any(|error| error.contains(part.as_str())))
        .map(|part| format!("the error does not say `{part}`:"))
        .collect();
    if let Some(at) = expected.at.as_ref().filter(|at| !errors.iter().any(|error| is_at(error, at))) {
        missing.push(format!("the error is not at `{at}`:"));
    }
    if missing.is_empty() {
        missing.push("no error is as expected in all:".to_owned());
    }
    missing
}

/// A path without `..`, for people.
fn shown(path: &Path) -> String {
    fs::canonicalize(path.parent().unwrap_or(path))
        .map_or_else(|_| path.to_owned(), |folder| folder.join(path.file_name().unwrap_or_default()))
        .display()
        .to_string()
}

/// What follows the name of a built-in template in the place of an error.
const BUILT_IN: &str = " (built in)";

/// Whether an error, which begins with its place, is at this end of a path with the line and column that it gives.
fn is_at(error: &str, at: &str) -> bool {
    let place = error.split(": ").next().unwrap_or_default().replace(BUILT_IN, "");
    let (place, at) = (place.as_str(), at.replace(BUILT_IN, ""));
    let ends = |place: &str| place == at || place.ends_with(&format!("/{at}"));
    let without_column = place.rsplit_once(':').map_or(place, |(before, _)| before);
    let without_line = without_column.rsplit_once(':').map_or(without_column, |(before, _)| before);
    ends(place) || ends(without_column) || ends(without_line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_an_error_may_be_given_in_part() {
        let error = "/a/in.tera:3:14: key `x` is not there: what to do";
        for at in ["in.tera", "in.tera:3", "in.tera:3:14", "a/in.tera:3", "/a/in.tera:3:14"] {
            assert!(is_at(error, at), "{at}");
        }
        for at in ["tera", "in.tera:1", "in.tera:3:1", "b/in.tera"] {
            assert!(!is_at(error, at), "{at}");
        }
        let error = "liveconf/nginx/upstream.tera (built in):25:12: `token` refuses what it was given";
        for at in ["upstream.tera", "liveconf/nginx/upstream.tera:25", "liveconf/nginx/upstream.tera (built in):25:12"]
        {
            assert!(is_at(error, at), "{at}");
        }
    }
}
