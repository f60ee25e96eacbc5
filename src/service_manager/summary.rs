//! How everything stands, in a line. Everybody on the machine may read it: names alone, and no reason.

use std::fmt::Write as _;

use crate::control::{Posted, Roster};
use crate::registry::driver::Standing;
use crate::target::{Delay, Phase, State};

/// Bytes of the line, about. `liveconf status` tells the rest.
const LONGEST: usize = 400;

/// The line about all that there is.
pub(super) fn summary(roster: &Roster, is_ready: bool) -> String {
    let notes: Vec<String> = roster.targets.iter().filter_map(note).collect();
    let well = roster.targets.len() - notes.len();
    let mut line = match (roster.stopping, is_ready) {
        (true, _) => "stopping".to_owned(),
        (false, true) => format!("{well} of {} well", crate::daemon::count(roster.targets.len(), "target", "targets")),
        (false, false) => "starting".to_owned(),
    };
    if roster.refused().is_some() {
        line.push_str("; what was loaded last was refused, the older stays");
    }
    let away = roster.registries.iter().filter(|(_, (_, now))| matches!(*now.borrow(), Standing::Away(..)));
    let away = away.map(|(name, _)| format!("registry `{name}` does not answer"));
    let all: Vec<String> = away.chain(notes).collect();
    for (index, note) in all.iter().enumerate() {
        if line.len() + note.len() > LONGEST {
            let _ = write!(line, "; {} more", all.len() - index);
            break;
        }
        line.push_str("; ");
        line.push_str(note);
    }
    // A line break would begin another assignment of the message.
    line.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// What is not well with a target.
fn note(posted: &Posted) -> Option<String> {
    let state = posted.desk.state();
    let state = state.borrow();
    let more = |number: usize| if number > 1 { format!(" and {} more", number - 1) } else { String::new() };
    let delay = state.delayed.as_ref().map(|delayed| match delayed.by {
        Delay::OldWorkers { .. } => "waits for old workers of nginx",
        Delay::Lock { .. } => "waits for its lock",
    });
    let what = match (&state.phase, delay) {
        _ if posted.desk.paused().is_some() => "paused".to_owned(),
        (_, Some(delay)) => delay.to_owned(),
        (Phase::Waiting(missing, not_yet), None) => match (missing.first(), not_yet) {
            (Some(first), _) => format!("waits for {first}{}", more(missing.len())),
            (None, Some(not_yet)) => format!("waits for {not_yet}"),
            (None, None) => "waits".to_owned(),
        },
        (Phase::Applying, None) => "is applied for the first time".to_owned(),
        (Phase::Owed(_), None) => "owes a reload".to_owned(),
        (Phase::Failed(_), None) => "could not be applied".to_owned(),
        (Phase::Rejected(_), None) => "refuses the newest files".to_owned(),
        (Phase::Held | Phase::Settled { .. }, None) => return held(&posted.name, &state, more),
    };
    Some(format!("`{}` {what}", posted.name))
}

/// What is not well with a target that has nothing to do.
fn held(name: &str, state: &State, more: impl Fn(usize) -> String) -> Option<String> {
    if let Some(first) = state.held.first() {
        return Some(format!("`{name}` holds back {}{}", first.asked, more(state.held.len())));
    }
    (!state.drifted.is_empty()).then(|| format!("`{name}` is not as it was left"))
}
