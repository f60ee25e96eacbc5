//! What can be written on the command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};
use tracing::Level;

use crate::config::Job;

/// Keeps configuration files true to a registry: renders templates when something changes, checks the result,
/// replaces the files atomically, and reloads the program that reads them.
#[derive(Debug, Parser)]
#[command(name = "liveconf", version, max_term_width = 100)]
pub(super) struct Args {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Clone, clap::Args)]
pub(super) struct Common {
    /// The configuration file [default: ./liveconf.yaml, else /etc/liveconf/liveconf.yaml]
    #[arg(long, short, global = true, value_name = "FILE", env = "LIVECONF_CONFIG")]
    pub config: Option<PathBuf>,
    /// The least important log lines that are written
    #[arg(long, global = true, value_name = "LEVEL", env = "LIVECONF_LOG_LEVEL")]
    pub log_level: Option<Level>,
    /// The form of log lines
    #[arg(long, global = true, value_name = "FORMAT", env = "LIVECONF_LOG_FORMAT")]
    pub log_format: Option<Format>,
    /// Where records of what was applied are kept
    #[arg(long, global = true, value_name = "DIR", env = "LIVECONF_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    #[command(flatten)]
    pub job: JobArgs,
}

/// A small job that needs no configuration file.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Job without a configuration file")]
pub(super) struct JobArgs {
    /// A registry: `file:registry.yaml`, `etcd:http://127.0.0.1:2379`, or `NAME=KIND:ADDRESS` where there are several
    #[arg(long = "registry", global = true, value_name = "KIND:ADDRESS")]
    registries: Vec<String>,
    /// A template and the file that it is rendered to; can be given several times
    #[arg(long = "template", global = true, value_name = "SRC:DEST")]
    templates: Vec<String>,
    /// A shell command that says whether the new file is good; `{staged}` is the new file
    #[arg(long, global = true, value_name = "COMMAND")]
    check: Option<String>,
    /// A shell command that makes the program take the new files
    #[arg(long, global = true, value_name = "COMMAND")]
    reload: Option<String>,
    /// Permission bits of the files, such as 640
    #[arg(long, global = true, value_name = "MODE")]
    mode: Option<String>,
    /// User and group of the files
    #[arg(long, global = true, value_name = "USER[:GROUP]")]
    owner: Option<String>,
}

impl JobArgs {
    /// Whether no job is given, so that there must be a configuration file.
    pub(super) fn is_empty(&self) -> bool {
        let Self { registries, templates, check, reload, mode, owner } = self;
        registries.is_empty() && templates.is_empty() && [check, reload, mode, owner].into_iter().all(Option::is_none)
    }

    /// The job for the configuration reader.
    pub(super) fn describe(&self) -> Job {
        let Self { registries, templates, check, reload, mode, owner } = self.clone();
        Job { registries, templates, check, reload, mode, owner }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Format {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Follow the registries and keep the files true until stopped
    Run(Run),
    /// Render and apply once
    Once(Once),
    /// Render to standard output and touch nothing
    Render(Ready),
    /// Show how the files would change
    Diff(Ready),
    /// Read configuration and templates and say what is wrong with them
    Check(Check),
}

#[derive(Debug, clap::Args)]
pub(super) struct Run {}

#[derive(Debug, clap::Args)]
pub(super) struct Once {
    #[command(flatten)]
    pub ready: Ready,
    /// Replace the files and leave the reload owed
    #[arg(long)]
    pub no_reload: bool,
    /// Replace the files without the checks
    #[arg(long)]
    pub no_check: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Ready {
    /// Only this target; can be given several times
    #[arg(long = "target", value_name = "NAME", action = ArgAction::Append)]
    pub targets: Vec<String>,
    /// How long to wait for all answers
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
    /// Wait for keys that are not there, instead of failing at once
    #[arg(long)]
    pub wait_for_keys: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// Also ask every registry for one answer
    #[arg(long)]
    pub connect: bool,
    /// How long `--connect` waits
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
}
