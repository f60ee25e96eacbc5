//! `release`, `pause`, `resume` and `apply`: commands to a running liveconf.

use super::args::{Apply, Ask, Common, Release, Several};
use super::ask::{AT_ONCE, ask, mismatch, print, print_json};
use super::say;
use super::status::target_lines;
use crate::control::report::{LastExit, Outcome, Target};
use crate::control::{Reply, Request};
use crate::exit::Exit;

pub(super) async fn release(common: &Common, options: &Release) -> Exit {
    let request = Request::Release { target: options.target.clone(), query: options.query.clone() };
    let outcome = match ask(common, &options.wait.ask, &request, options.wait.timeout).await {
        Ok(Reply::Outcome(outcome)) => outcome,
        Ok(_) => return mismatch(),
        Err(exit) => return exit,
    };
    let released =
        outcome.released.iter().map(|name| format!("released: {} from registry `{}`\n", name.query, name.registry));
    let text: String = released.collect();
    // A target that is paused shows at `resume` what passes from now on.
    let exit = outcome.targets.iter().filter(|target| target.paused.is_none()).map(applied).fold(Exit::Done, Exit::and);
    finish(&options.wait.ask, &outcome, text, exit)
}

pub(super) async fn pause(common: &Common, options: &Several) -> Exit {
    several(common, options, Request::Pause { target: options.target.clone() }).await
}

pub(super) async fn resume(common: &Common, options: &Several) -> Exit {
    several(common, options, Request::Resume { target: options.target.clone() }).await
}

async fn several(common: &Common, options: &Several, request: Request) -> Exit {
    match ask(common, &options.ask, &request, AT_ONCE).await {
        Ok(Reply::Outcome(outcome)) => finish(&options.ask, &outcome, String::new(), Exit::Done),
        Ok(_) => mismatch(),
        Err(exit) => exit,
    }
}

pub(super) async fn apply(common: &Common, options: &Apply) -> Exit {
    let request = Request::Apply { target: options.target.clone() };
    match ask(common, &options.wait.ask, &request, options.wait.timeout).await {
        Ok(Reply::Outcome(outcome)) => {
            let exit = outcome.targets.iter().map(applied).fold(Exit::Done, Exit::and);
            finish(&options.wait.ask, &outcome, String::new(), exit)
        }
        Ok(_) => mismatch(),
        Err(exit) => exit,
    }
}

/// What an apply came to.
fn applied(target: &Target) -> Exit {
    let name = &target.name;
    if target.paused.is_some() {
        say::error_of(name, format_args!("paused, nothing was applied\n  = hint: `liveconf resume {name}` goes on"));
        return Exit::Failed;
    }
    match target.state.as_str() {
        "settled" => match is_over(target) {
            None => Exit::Done,
            Some(end) => {
                say::error_of(name, format_args!("its process does not run: it {}", end.reason));
                Exit::Failed
            }
        },
        "waiting" => {
            say::error_of(name, format_args!("not applied: it waits for answers"));
            Exit::NotReady
        }
        _ => {
            let reason = target.reason.as_deref().unwrap_or("its guard holds back what would take away from the files");
            say::error_of(name, format_args!("{}: {reason}", target.state));
            Exit::Failed
        }
    }
}

/// How the program of a target ended that failed and does not run, which is not well though its files are true.
fn is_over(target: &Target) -> Option<&LastExit> {
    let process = target.process.as_ref().filter(|process| ["over", "pausing"].contains(&&*process.state))?;
    process.last_exit.as_ref().filter(|end| end.failed)
}

fn finish(options: &Ask, outcome: &Outcome, before: String, exit: Exit) -> Exit {
    let lines = |mut text: String, target: &Target| {
        text.push_str(&target_lines(target));
        text
    };
    let printed = if options.json { print_json(outcome) } else { print(&outcome.targets.iter().fold(before, lines)) };
    printed.err().unwrap_or(exit)
}
