//! What can be written on the command line.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use tracing::Level;

use crate::config::{self, Job, LogConfig, LogFormat};

/// What `liveconf --help` shows beside the commands.
const LIVECONF: &str = "\
Begin with:
  liveconf init nginx --registry consul    # a small configuration that works
  liveconf functions                       # what templates can call
  liveconf COMMAND --help

Exit codes: 0 done; 1 a render, check or apply failed; 2 usage or configuration; 3 not ready by the
deadline, or nothing to ask runs; 4 `diff` found a difference.";

/// Keeps configuration files true to a registry: renders templates when something changes, checks the result,
/// replaces the files atomically, and reloads the program that reads them.
#[derive(Debug, Parser)]
#[command(name = "liveconf", version, max_term_width = 100, after_help = LIVECONF)]
pub(super) struct Args {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub verb: Verb,
}

impl Args {
    /// The commands and flags, as help and shells show them.
    pub(super) fn shown() -> clap::Command {
        without_idle_flags(Self::command())
    }

    /// Reads the command line. A variable that is set to nothing counts as one that is not set.
    pub(super) fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let is_empty = |variable: &OsStr| std::env::var_os(variable).is_some_and(|value| value.is_empty());
        let command = Self::command().mut_args(|argument| match argument.get_env() {
            Some(variable) if is_empty(variable) => argument.env(None::<&'static str>),
            _ => argument,
        });
        let mut command = without_idle_flags(command);
        let matches = command.try_get_matches_from_mut(arguments)?;
        Self::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
    }
}

/// Flags are accepted behind every command; those that do nothing for one are not in its help.
fn without_idle_flags(mut command: clap::Command) -> clap::Command {
    // Flags of all commands reach each of them here.
    command.build();
    let idle = |argument: Arg| if argument.is_global_set() { argument.hide(true) } else { argument };
    for verb in ["schema", "completions", "functions"] {
        command = command.mut_subcommand(verb, |verb| verb.mut_args(idle));
    }
    command.mut_subcommand("init", |verb| {
        verb.mut_args(|argument| match argument.get_id().as_str() {
            "registries" => argument
                .help("The kind of registry that it follows: `consul`, `etcd` or `file`")
                .value_name("KIND")
                .help_heading(None),
            _ => idle(argument),
        })
    })
}

#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Options of every command")]
pub(super) struct Common {
    /// The configuration file, else `$LIVECONF_CONFIG` [default: ./liveconf.yaml, else /etc/liveconf/liveconf.yaml]
    #[arg(long, short, global = true, value_name = "FILE", conflicts_with_all = JOB)]
    pub config: Option<PathBuf>,
    /// The least important log lines that are written: error, warn, info, debug, trace [default: info]
    #[arg(long, global = true, value_name = "LEVEL", env = "LIVECONF_LOG_LEVEL")]
    pub log_level: Option<Level>,
    /// The form of log lines [default: text]
    #[arg(long, global = true, value_name = "FORMAT", env = "LIVECONF_LOG_FORMAT")]
    pub log_format: Option<Format>,
    /// The state folder, for records of what was applied, saved answers and the control socket
    #[arg(long, global = true, value_name = "DIR", env = "LIVECONF_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    #[command(flatten)]
    pub job: JobArgs,
}

impl Common {
    /// The log settings of a configuration, with what the command line says in their place.
    pub(super) fn log(&self, configured: LogConfig) -> LogConfig {
        let format = self.log_format.map(|format| match format {
            Format::Text => LogFormat::Text,
            Format::Json => LogFormat::Json,
        });
        LogConfig { level: self.log_level.unwrap_or(configured.level), format: format.unwrap_or(configured.format) }
    }
}

/// A small job that needs no configuration file.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Job without a configuration file")]
pub(super) struct JobArgs {
    /// A registry: `file:registry.yaml`, `consul:http://127.0.0.1:8500`, `etcd:http://127.0.0.1:2379`, or
    /// `NAME=KIND:ADDRESS` where there are several
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

    /// What `--registry` gives.
    pub(super) fn registries(&self) -> &[String] {
        &self.registries
    }

    /// The job for the configuration reader.
    pub(super) fn describe(&self) -> Job {
        let Self { registries, templates, check, reload, mode, owner } = self.clone();
        Job { registries, templates, check, reload, mode, owner }
    }
}

/// The options of a job, which has no configuration file.
const JOB: [&str; 6] = ["registries", "templates", "check", "reload", "mode", "owner"];

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Format {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Follow the registries and keep the files true until stopped
    #[command(after_help = RUN)]
    Run(Run),
    /// Render, check, replace the files and reload, once
    #[command(after_help = ONCE)]
    Once(Once),
    /// Render to standard output and touch nothing
    #[command(after_help = RENDER)]
    Render(Ready),
    /// Show how the files would change, as a unified diff, and touch nothing
    #[command(after_help = DIFF)]
    Diff(Ready),
    /// Write what the templates ask, and the answers, as one file for tests and for machines without the registries
    #[command(after_help = CAPTURE)]
    Capture(Capture),
    /// Write a small configuration that works, and say what to run next
    #[command(after_help = INIT)]
    Init(Init),
    /// Write the JSON Schema of the configuration, for editors
    #[command(after_help = SCHEMA)]
    Schema(Schema),
    /// Write the completion of commands and flags for a shell
    #[command(after_help = COMPLETIONS)]
    Completions(Completions),
    /// Render the cases in a folder, each from its fixture, and compare with what it expects
    #[command(after_help = TEST)]
    Test(Test),
    /// Read configuration and templates and say what is wrong with them
    #[command(after_help = CHECK)]
    Check(Check),
    /// Ask the running liveconf how everything stands
    ///
    /// Exits with 0 when all is well, with 1 when something is not, with 2 when there is no such target, and with 3 when no
    /// liveconf runs.
    Status(Status),
    /// Ask the running liveconf why a target stands as it does: its queries, and what was done when
    Explain(Explain),
    /// Let pass what the guard of a target holds back, in the running liveconf
    Release(Release),
    /// Have the running liveconf apply nothing any more, until `resume`
    Pause(Several),
    /// Have the running liveconf go on after `pause`, with the newest answers
    Resume(Several),
    /// Have the running liveconf render and apply now, and wait for what comes of it
    Apply(Apply),
    /// Show what templates can call: functions, filters, tests and built-in components, or one of them with its example
    #[command(after_help = FUNCTIONS)]
    Functions(Functions),
}

/// What `run --help` shows beside the flags.
const RUN: &str = "\
Examples:
  liveconf run
  liveconf run --config /etc/liveconf/liveconf.yaml --log-level debug
  liveconf run -- nginx -g 'daemon off;'    # as the entrypoint of a container

HUP reads configuration and templates anew; TERM and INT stop. `liveconf status` asks how it stands.
Exit codes: 0 stopped by a signal; 1 another one runs; 2 usage or configuration; of a COMMAND its own.";

#[derive(Debug, clap::Args)]
pub(super) struct Run {
    /// A program to run as well: it is started when its files are in place, those of all targets without a `process` of
    /// their own, and liveconf ends with it
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// What `once --help` shows beside the flags.
const ONCE: &str = "\
Examples:
  liveconf once --timeout 10s
  liveconf once --registry file:registry.yaml --template app.ini.tera:app.ini

Exit codes: 0 done, also where the program does not run; 1 a render, check or reload failed;
2 usage or configuration; 3 not everything was answered by the deadline.";

/// What `render --help` shows beside the flags.
const RENDER: &str = "\
Examples:
  liveconf render --target nginx
  liveconf render --fixture fixture.yaml    # without any registry

Exit codes: 0 rendered; 1 a render failed; 2 usage or configuration; 3 not everything was answered by the
deadline.";

/// What `diff --help` shows beside the flags.
const DIFF: &str = "\
Examples:
  liveconf diff
  liveconf diff --fixture fixture.yaml      # without any registry

Exit codes: 0 nothing differs; 4 something does; 1 a render failed; 2 usage or configuration;
3 not everything was answered by the deadline.";

/// What `check --help` shows beside the flags.
const CHECK: &str = "\
Examples:
  liveconf check                            # touches and asks nothing
  liveconf check --connect                  # asks each registry, too

Exit codes: 0 good; 2 something is wrong, all of which is told; 1 and 3 a registry refuses or is away.";

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
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration)]
    pub timeout: Duration,
    /// Wait for keys that are not there, instead of failing at once
    #[arg(long)]
    pub wait_for_keys: bool,
    /// A file that answers in the place of every registry, written by hand or by `capture`
    #[arg(long, value_name = "FILE")]
    pub fixture: Option<PathBuf>,
}

/// What `init --help` shows beside the flags.
const INIT: &str = "\
Examples:
  liveconf init nginx --registry consul
  liveconf init haproxy --registry etcd /etc/liveconf
  liveconf init prometheus --registry file demo

Nothing is overwritten: a `liveconf.schema.json` that is there stays. Exit codes: 0 written; 1 something is in the way or cannot be written; 2 usage.";

#[derive(Debug, clap::Args)]
pub(super) struct Init {
    /// The program whose files are kept true
    #[arg(value_name = "PROGRAM")]
    pub kind: InitKind,
    /// Where the files go
    #[arg(value_name = "DIR", default_value = ".")]
    pub folder: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum InitKind {
    /// An upstream of nginx
    Nginx,
    /// HAProxy, whose servers change without a reload
    Haproxy,
    /// Targets of Prometheus
    Prometheus,
    /// A file of variables
    Env,
}

/// What `schema --help` shows beside the flags.
const SCHEMA: &str = "\
Example:
  liveconf schema -o liveconf.schema.json

An editor with the YAML language server completes, explains and checks a configuration that begins with
  # yaml-language-server: $schema=liveconf.schema.json
as one that `liveconf init` wrote does.

Exit codes: 0 written; 1 it cannot be written.";

#[derive(Debug, clap::Args)]
pub(super) struct Schema {
    /// Where to write it; `-` is standard output [default: -]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// What `completions --help` shows beside the flags.
const COMPLETIONS: &str = "\
Examples:
  liveconf completions bash > /etc/bash_completion.d/liveconf
  liveconf completions zsh > \"${fpath[1]}/_liveconf\"
  liveconf completions fish > ~/.config/fish/completions/liveconf.fish

Exit codes: 0 written; 2 usage.";

#[derive(Debug, clap::Args)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

/// What `test --help` shows beside the flags.
const TEST: &str = "\
A folder with a `fixture.yaml` or a `case.yaml` is a case; what its templates give is in `expected/`.

Examples:
  liveconf test tests
  liveconf test tests --update     # writes what is expected, to be looked at and committed
  liveconf test tests/empty-upstream --json

Exit codes: 0 all are as expected; 1 one is not; 2 one cannot be read.";

#[derive(Debug, clap::Args)]
pub(super) struct Test {
    /// Folders of cases, or cases
    #[arg(value_name = "DIR", required = true)]
    pub folders: Vec<PathBuf>,
    /// Write what the templates give as what is expected, and remove what no template gives any more
    #[arg(long)]
    pub update: bool,
    /// Write JSON for scripts
    #[arg(long)]
    pub json: bool,
}

/// What `capture --help` shows beside the flags.
const CAPTURE: &str = "\
Examples:
  liveconf capture -o fixture.yaml
  liveconf diff --fixture fixture.yaml
  liveconf capture --target nginx --with-secrets -o /root/bug-report.json

Exit codes: 0 written; 1 a render or the writing failed; 2 usage or configuration;
3 not everything was answered by the deadline. Nothing is written but for 0.";

#[derive(Debug, clap::Args)]
pub(super) struct Capture {
    #[command(flatten)]
    pub ready: Ready,
    /// Where to write it: YAML, or JSON where the name ends in `.json`; `-` is standard output [default: -]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Keep the values that only `secret` templates ask for, instead of replacing them; the file is for its owner alone
    #[arg(long)]
    pub with_secrets: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// Also ask every registry for one answer
    #[arg(long)]
    pub connect: bool,
    /// How long `--connect` waits
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub timeout: Duration,
    /// The program that `run` will be given, where it is given one
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// How a running liveconf is reached, and what its answer is written as.
#[derive(Debug, clap::Args)]
pub(super) struct Ask {
    /// The control socket [default: that of the configuration, in its state folder]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Write JSON for scripts
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Status {
    /// Only these targets
    #[arg(value_name = "TARGET")]
    pub targets: Vec<String>,
    #[command(flatten)]
    pub ask: Ask,
}

#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    /// The target
    #[arg(value_name = "TARGET")]
    pub target: String,
    #[command(flatten)]
    pub ask: Ask,
}

#[derive(Debug, clap::Args)]
pub(super) struct Release {
    /// The target
    #[arg(value_name = "TARGET")]
    pub target: String,
    /// Only this query, as `status` shows it or by its name alone, such as `web` [default: all that is held back]
    #[arg(value_name = "QUERY")]
    pub query: Option<String>,
    #[command(flatten)]
    pub wait: AskWait,
}

#[derive(Debug, clap::Args)]
pub(super) struct Several {
    /// The target [default: every target that there is]
    #[arg(value_name = "TARGET")]
    pub target: Option<String>,
    #[command(flatten)]
    pub ask: Ask,
}

#[derive(Debug, clap::Args)]
pub(super) struct Apply {
    /// The target [default: every target that there is]
    #[arg(value_name = "TARGET")]
    pub target: Option<String>,
    #[command(flatten)]
    pub wait: AskWait,
}

/// What `functions --help` shows beside the flags.
const FUNCTIONS: &str = "\
Examples:
  liveconf functions
  liveconf functions service
  liveconf functions nginx.upstream
  liveconf functions nginx.upstream --source > upstream.tera

Exit codes: 0 written; 2 nothing is called so.";

#[derive(Debug, clap::Args)]
pub(super) struct Functions {
    /// The function, filter, test or component [default: a list of all]
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// Write JSON for editors
    #[arg(long)]
    pub json: bool,
    /// Write the template that defines a built-in component, to be copied and changed
    #[arg(long, requires = "name", conflicts_with = "json")]
    pub source: bool,
}

/// The same with a bound on the wait for what comes of a command.
#[derive(Debug, clap::Args)]
pub(super) struct AskWait {
    #[command(flatten)]
    pub ask: Ask,
    /// How long to wait for what comes of it
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration)]
    pub timeout: Duration,
}

/// A duration is written as in the configuration.
fn duration(text: &str) -> Result<Duration, String> {
    config::duration(text).map_err(|hint| match hint {
        Some(hint) => format!("it takes {}; {hint}", config::DURATION),
        None => format!("it takes {}", config::DURATION),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::reference::page::{OPERATION, rows, terms};

    /// The flags of a command, as the reference writes them.
    fn flags(command: &clap::Command) -> BTreeSet<String> {
        command
            .get_arguments()
            .flat_map(|argument| {
                let long = argument.get_long().map(|name| format!("--{name}"));
                long.into_iter().chain(argument.get_short().map(|name| format!("-{name}")))
            })
            .collect()
    }

    #[test]
    fn help_shows_no_flag_that_does_nothing() {
        let mut command = Args::shown();
        let mut help = |verb: &str| command.find_subcommand_mut(verb).unwrap().render_help().to_string();
        for verb in ["schema", "functions", "completions"] {
            assert!(!help(verb).contains("--template") && !help(verb).contains("--config"), "{}", help(verb));
        }
        let init = help("init");
        assert!(init.contains("--registry <KIND>") && !init.contains("--template"), "{init}");
        assert!(help("once").contains("--template <SRC:DEST>"), "{}", help("once"));
        let read = Args::read(["liveconf", "functions", "key", "--config", "x"].map(Into::into)).unwrap();
        assert_eq!(read.common.config, Some("x".into()));
    }

    #[test]
    fn the_reference_names_every_command_and_flag() {
        let mut command = Args::command();
        command.build();
        let verbs: Vec<_> = command.get_subcommands().filter(|verb| verb.get_name() != "help").collect();
        let names: Vec<_> = verbs.iter().map(|verb| verb.get_name()).collect();
        assert_eq!(terms(OPERATION, "Commands", "command"), names);

        let rows: Vec<_> = rows(OPERATION).into_iter().filter(|row| row.table == "flag").collect();
        for verb in &verbs {
            let explained = rows.iter().filter(|row| row.cells[1] == "all" || row.codes(1).contains(&verb.get_name()));
            let explained = explained.flat_map(|row| row.codes(0));
            let explained: BTreeSet<_> =
                explained.filter_map(|flag| flag.split(' ').next()).map(str::to_owned).collect();
            assert_eq!(explained, flags(verb), "{}", verb.get_name());
        }
    }

    #[test]
    fn the_reference_names_the_variables_and_defaults_of_flags() {
        let mut command = Args::command();
        command.build();
        let rows: Vec<_> = rows(OPERATION).into_iter().filter(|row| row.table == "flag").collect();
        for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
            for argument in verb.get_arguments() {
                let Some(long) = argument.get_long() else { continue };
                let flag = format!("--{long}");
                let of_flag = |row: &&crate::reference::page::Row<'_>| {
                    row.codes(0).iter().any(|code| code.split(' ').next() == Some(&flag))
                };
                let row = rows.iter().find(of_flag).unwrap_or_else(|| panic!("{flag}"));
                if let Some(variable) = argument.get_env() {
                    assert!(row.codes(3).contains(&&*variable.to_string_lossy()), "{flag}");
                }
                for default in argument.get_default_values().iter().filter(|_| argument.get_action().takes_values()) {
                    assert!(row.codes(2).contains(&&*default.to_string_lossy()), "{flag}");
                }
            }
        }
    }
}
