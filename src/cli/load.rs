//! From the command line to a plan.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::args::Common;
use super::say;
use crate::apply::{Claims, Lock, Records, sweep};
use crate::config::{self, Config, ControlPlace, LoadOptions, Problem};
use crate::exit::Exit;
use crate::log;
use crate::plan::Plan;
use crate::registry::file::Fixture;
use crate::template::TemplateError;

/// The environment as it was at the start; what is not UTF-8 cannot be named in a configuration and is left out.
pub(super) fn variables() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// How long another liveconf may hold what we need: one that was killed just now holds it until the kernel has taken it
/// apart.
const LAST_BREATH: Duration = Duration::from_millis(500);

/// How often it is looked whether it still does.
const LOOK: Duration = Duration::from_millis(20);

/// What keeps the command line from becoming a plan.
pub(super) enum Unusable {
    Configuration(Vec<Problem>),
    Templates(Vec<TemplateError>),
    Fixture(String),
    WorkingFolder(std::io::Error),
}

impl Unusable {
    /// A line for each thing that is wrong, for the log.
    fn lines(&self) -> Vec<String> {
        match self {
            Self::Configuration(problems) => problems.iter().map(ToString::to_string).collect(),
            Self::Templates(errors) => errors.iter().map(ToString::to_string).collect(),
            Self::Fixture(reason) => vec![reason.clone()],
            Self::WorkingFolder(error) => vec![format!("failed to find the working folder: {error}")],
        }
    }

    /// All that is wrong, for people: each with its place, its source line and a hint.
    fn report(&self) {
        match self {
            Self::Configuration(problems) => say::problems(problems),
            Self::Templates(_) | Self::Fixture(_) | Self::WorkingFolder(_) => {
                for line in self.lines() {
                    say::error(format_args!("{line}"));
                }
            }
        }
    }
}

/// What a configuration depends on beside its files.
fn load_options(
    common: &Common,
    variables: &BTreeMap<String, String>,
    command: Option<&[String]>,
) -> Result<LoadOptions, Unusable> {
    Ok(LoadOptions {
        config: common.config.clone(),
        state_dir: common.state_dir.clone(),
        environment: variables.clone(),
        working_folder: std::env::current_dir().map_err(Unusable::WorkingFolder)?,
        uid: nix::unistd::geteuid().as_raw(),
        command: command.map(<[String]>::to_vec),
    })
}

/// Where a program that was started with this command line listens; what is wrong is written to standard error.
pub(super) fn control(common: &Common, variables: &BTreeMap<String, String>) -> Result<ControlPlace, Exit> {
    let find = || {
        let options = load_options(common, variables, None)?;
        if common.job.is_empty() {
            return config::find_control(&options).map_err(Unusable::Configuration);
        }
        let Config { control, state_dir, .. } = read_config(common, variables, None)?;
        Ok(ControlPlace { socket: control.socket.path(&state_dir), state_dir })
    };
    find().map_err(|unusable| {
        unusable.report();
        Exit::Usage
    })
}

/// Reads the configuration that the command line names, or the job that it describes. `command` is what `run` is to
/// supervise; none for other commands.
fn read_config(
    common: &Common,
    variables: &BTreeMap<String, String>,
    command: Option<&[String]>,
) -> Result<Config, Unusable> {
    let options = load_options(common, variables, command)?;
    let job = &common.job;
    let loaded = if job.is_empty() { config::load(&options) } else { config::from_job(&job.describe(), &options) };
    let mut config = loaded.map_err(Unusable::Configuration)?;
    config.log = common.log(config.log);
    Ok(config)
}

/// Reads configuration and templates again, with what is wrong as lines for the log.
pub(super) fn reread(
    common: &Common,
    variables: &BTreeMap<String, String>,
    command: &[String],
) -> Result<Plan, Vec<String>> {
    let config = read_config(common, variables, Some(command)).map_err(|unusable| unusable.lines())?;
    Plan::load(config, variables).map_err(|errors| Unusable::Templates(errors).lines())
}

/// Reads the templates of a plan again, with what is wrong as lines for the log.
pub(super) fn reread_templates(plan: &Plan, variables: &BTreeMap<String, String>) -> Result<Plan, Vec<String>> {
    let wrong = |errors: Vec<TemplateError>| Unusable::Templates(errors).lines();
    Plan::load(plan.config.clone(), variables).map_err(wrong)
}

/// Reads configuration and templates and lets the log follow; what is wrong is written to standard error.
pub(super) fn plan(common: &Common, variables: &BTreeMap<String, String>) -> Result<Plan, Exit> {
    plan_with(common, variables, None, None)
}

/// The same with a fixture in the place of every registry, where one is given.
pub(super) fn plan_from(
    common: &Common,
    variables: &BTreeMap<String, String>,
    fixture: Option<&Path>,
) -> Result<Plan, Exit> {
    plan_with(common, variables, None, fixture)
}

/// A plan whose registries a fixture stands in for: of this configuration, or of these templates alone. What is wrong comes
/// back as lines, each with its place. Nothing is written to standard error.
pub(super) fn plan_of_case(
    common: &Common,
    variables: &BTreeMap<String, String>,
    job: Option<(config::Job, &Path)>,
    fixture: &Path,
) -> Result<Plan, Vec<String>> {
    let read = || {
        let mut config = match job {
            Some((job, folder)) => {
                let mut options = load_options(common, variables, None)?;
                folder.clone_into(&mut options.working_folder);
                config::from_job(&job, &options).map_err(Unusable::Configuration)?
            }
            None => read_config(common, variables, None)?,
        };
        let fixture = Fixture::read(fixture, &config.registries.keys().cloned().collect());
        answer_from(&mut config, &fixture.map_err(Unusable::Fixture)?);
        Plan::load(config, variables).map_err(Unusable::Templates)
    };
    read().map_err(|unusable: Unusable| unusable.lines())
}

/// Lets a fixture answer in the place of every registry.
pub(super) fn answer_from(config: &mut Config, fixture: &Fixture) {
    for (name, named) in &mut config.registries {
        named.registry = fixture.registry(name, named.registry.clone());
    }
}

/// The same for `run`, which may be given a program to supervise.
pub(super) fn plan_of_run(
    common: &Common,
    variables: &BTreeMap<String, String>,
    command: &[String],
) -> Result<Plan, Exit> {
    plan_with(common, variables, Some(command), None)
}

fn plan_with(
    common: &Common,
    variables: &BTreeMap<String, String>,
    command: Option<&[String]>,
    fixture: Option<&Path>,
) -> Result<Plan, Exit> {
    let refused = |unusable: Unusable| {
        unusable.report();
        Exit::Usage
    };
    let mut config = read_config(common, variables, command).map_err(refused)?;
    log::follow(&config.log);
    say::warnings(&config.warnings);
    if let Some(path) = fixture {
        let fixture = Fixture::read(path, &config.registries.keys().cloned().collect());
        answer_from(&mut config, &fixture.map_err(|reason| refused(Unusable::Fixture(reason)))?);
    }
    Plan::load(config, variables).map_err(|errors| refused(Unusable::Templates(errors)))
}

/// Keeps of the plan only the targets with these names; all when there are none.
pub(super) fn only(plan: &mut Plan, names: &[String]) -> Result<(), Exit> {
    let known = |name: &String| plan.targets.iter().any(|(target, _)| *target.name == **name);
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        let names: Vec<&str> = plan.targets.iter().map(|(target, _)| &*target.name).collect();
        say::error(format_args!("there is no target `{unknown}`\n  = hint: the targets are {}", names.join(", ")));
        return Err(Exit::Usage);
    }
    if !names.is_empty() {
        plan.targets.retain(|(target, _)| names.iter().any(|name| *target.name == **name));
    }
    Ok(())
}

/// The records of what was applied, with what keeps a second liveconf from the same state folder and the same
/// destinations. Leftovers of an earlier life are swept.
pub(super) fn records(plan: &Plan) -> Result<(Arc<Records>, Claims, Lock), Exit> {
    let records = Records::open(&plan.config.state_dir);
    let mut claims = Claims::default();
    let mut hold = || {
        claims.hold(plan.destinations()).map_err(|taken| taken.to_string()).and_then(|()| {
            let hint = "give one of them a `state_dir` of its own";
            records.lock().map_err(|held| format!("{held}\n  = hint: {hint}"))
        })
    };
    let since = Instant::now();
    let lock = loop {
        match hold() {
            Err(_) if since.elapsed() < LAST_BREATH => std::thread::sleep(LOOK),
            lock => break lock,
        }
    };
    match lock {
        Ok(lock) => {
            sweep(&plan.config.targets);
            Ok((Arc::new(records), claims, lock))
        }
        Err(reason) => {
            say::error(format_args!("{reason}"));
            Err(Exit::Failed)
        }
    }
}
