//! `test`: cases, each a folder with a fixture and with what the templates have to give from it.

mod case;
mod find;

use serde::Serialize;

use super::args::{Common, Test};
use super::ask::{print, print_json};
use super::say;
use crate::config::LogConfig;
use crate::daemon::count;
use crate::exit::Exit;
use crate::log;

/// What came of one case.
#[derive(Debug, Serialize)]
struct Outcome {
    /// Its folder, as the command line reaches it.
    case: String,
    result: Verdict,
    /// What is wrong, a text each.
    reasons: Vec<String>,
    /// The files that are not as expected.
    files: Vec<Difference>,
    /// The files of what is expected that were written.
    written: Vec<String>,
    /// Those that were removed, since no template gives them any more.
    removed: Vec<String>,
}

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Ok,
    /// What is expected was written anew.
    Updated,
    Failed,
    /// The case itself is wrong.
    Wrong,
}

/// A file that is not as expected.
#[derive(Debug, Serialize)]
struct Difference {
    /// Where it stands what is expected.
    expected: String,
    /// The unified diff; of a `secret` template it shows nothing.
    diff: String,
}

pub(super) async fn run(common: &Common, options: &Test) -> Exit {
    // What a registry would be warned of is no news here, unless somebody wants to hear it.
    let quiet = LogConfig { level: tracing::Level::ERROR, ..LogConfig::default() };
    log::follow(&common.log(quiet));
    let cases = match find::cases(&options.folders) {
        Ok(cases) => cases,
        Err(reason) => {
            say::error(format_args!("{reason}"));
            return Exit::Usage;
        }
    };
    let mut outcomes = Vec::with_capacity(cases.len());
    for folder in cases {
        let outcome = case::run(common, &folder, options.update).await;
        if !options.json
            && let Err(exit) = print(&shown(&outcome))
        {
            return exit;
        }
        outcomes.push(outcome);
    }
    if options.json
        && let Err(exit) = print_json(&outcomes)
    {
        return exit;
    }
    say::well(format_args!("{}", summary(&outcomes)));
    outcomes.iter().map(|outcome| outcome.result.exit()).fold(Exit::Done, Exit::and)
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Updated => "updated",
            Self::Failed => "failed",
            Self::Wrong => "wrong",
        }
    }

    fn exit(self) -> Exit {
        match self {
            Self::Ok | Self::Updated => Exit::Done,
            Self::Failed => Exit::Failed,
            Self::Wrong => Exit::Usage,
        }
    }
}

/// A line for a case, and below it what is wrong.
fn shown(outcome: &Outcome) -> String {
    let mut text = format!("{:8}{}\n", outcome.result.word(), outcome.case);
    for line in outcome.reasons.iter().flat_map(|reason| reason.lines()) {
        text.extend(["  ", line, "\n"]);
    }
    for file in &outcome.files {
        text.push_str(&file.diff);
    }
    for name in &outcome.written {
        text.extend(["  wrote `", name, "`\n"]);
    }
    for name in &outcome.removed {
        text.extend(["  removed `", name, "`, which no template gives\n"]);
    }
    text
}

fn summary(outcomes: &[Outcome]) -> String {
    let of = |verdict: Verdict| outcomes.iter().filter(|outcome| outcome.result == verdict).count();
    let all = [Verdict::Ok, Verdict::Updated, Verdict::Failed, Verdict::Wrong];
    let parts: Vec<String> = all
        .into_iter()
        .filter(|verdict| of(*verdict) > 0)
        .map(|verdict| format!("{} {}", of(verdict), verdict.word()))
        .collect();
    format!("{}: {}", count(outcomes.len(), "case", "cases"), parts.join(", "))
}
