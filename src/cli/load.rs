//! From the command line to a plan.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::args::{Common, Format};
use crate::apply::record::Records;
use crate::config::{self, Config, Job, LoadOptions, LogFormat};
use crate::exit::Exit;
use crate::log;
use crate::plan::Plan;

/// The environment as it was at the start; what is not UTF-8 cannot be named in a configuration and is left out.
pub(super) fn variables() -> BTreeMap<String, String> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
}

/// Reads the configuration that the command line names, or the job that it describes.
fn read_config(common: &Common, variables: &BTreeMap<String, String>) -> Result<Config, Vec<String>> {
    let options = LoadOptions {
        config: common.config.clone(),
        state_dir: common.state_dir.clone(),
        variables: variables.clone(),
        working_dir: std::env::current_dir().map_err(|error| vec![format!("failed to find the working folder: {error}")])?,
    };
    let job = Job {
        registries: common.registries.clone(),
        templates: common.templates.clone(),
        check: common.check.clone(),
        reload: common.reload.clone(),
    };
    let loaded = if job.is_empty() { config::load(&options) } else { config::from_job(&job, &options) };
    let mut config = loaded.map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    if let Some(level) = common.log_level {
        config.log.level = level;
    }
    if let Some(format) = common.log_format {
        config.log.format = match format {
            Format::Text => LogFormat::Text,
            Format::Json => LogFormat::Json,
        };
    }
    Ok(config)
}

/// Reads configuration and templates. What is wrong comes back as texts for people, each with its place.
pub(super) fn read_plan(common: &Common, variables: &BTreeMap<String, String>) -> Result<Plan, Vec<String>> {
    let config = read_config(common, variables)?;
    Plan::load(config, &config::without_credentials(variables))
        .map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

/// As [`read_plan`], with the problems written to standard error, and the log started.
pub(super) fn plan(common: &Common, variables: &BTreeMap<String, String>) -> Result<Plan, Exit> {
    let plan = read_plan(common, variables).map_err(|problems| {
        for problem in &problems {
            eprintln!("{problem}");
        }
        Exit::Usage
    })?;
    log::init(&plan.config.log);
    for warning in &plan.config.warnings {
        tracing::warn!("{warning}");
    }
    Ok(plan)
}

/// Keeps of the plan only the targets with these names; all when there are none.
pub(super) fn only(plan: &mut Plan, names: &[String]) -> Result<(), Exit> {
    let known = |name: &String| plan.targets.iter().any(|(target, _)| *target.name == **name);
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        let names: Vec<&str> = plan.targets.iter().map(|(target, _)| &*target.name).collect();
        eprintln!("error: there is no target `{unknown}`\nhint: the targets are {}", names.join(", "));
        return Err(Exit::Usage);
    }
    if !names.is_empty() {
        plan.targets.retain(|(target, _)| names.iter().any(|name| *target.name == **name));
    }
    Ok(())
}

/// The records of what was applied, and the lock that keeps a second liveconf from the same state folder.
pub(super) fn records(plan: &Plan) -> Result<(Arc<Records>, Option<crate::apply::record::Lock>), Exit> {
    let records = Records::open(&plan.config.state_dir);
    match records.lock() {
        Ok(lock) => Ok((Arc::new(records), lock)),
        Err(held) => {
            eprintln!("error: {held}");
            Err(Exit::Failed)
        }
    }
}
