//! From what the daemon knows to the documents that are answered.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use super::report;
use super::roster::{Posted, Roster};
use crate::apply::Refused;
use crate::guard::{Held, Reason};
use crate::process::supervise;
use crate::registry::Asked;
use crate::registry::driver::Standing;
use crate::store::Reading;
use crate::target::{Cause, Commit, Delay, Delayed, LockSeen, Phase, State, Way};

/// A target that is at work for so long is not well, though it was before: its newest files do not serve yet.
const LONG: Duration = Duration::from_secs(10);

/// How everything stands, with these targets.
pub(super) fn status<'a>(roster: &Roster, targets: impl Iterator<Item = &'a Posted>) -> report::Status {
    let targets: Vec<_> = targets.map(|posted| target(roster, posted)).collect();
    report::Status {
        well: roster.refused().is_none()
            && roster.records.hangs().is_none()
            && targets.iter().all(|target| target.well),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        started: time(roster.started),
        configuration: report::Configuration {
            file: roster.config.as_deref().map(path),
            loaded: time(roster.loaded),
            refused: roster.refused().map(time),
        },
        state_folder_hangs: roster.records.hangs().map(time),
        registries: roster
            .registries
            .iter()
            .map(|(name, (kind, now))| registry(roster, name, kind, &now.borrow()))
            .collect(),
        targets,
    }
}

fn registry(roster: &Roster, name: &str, kind: &str, standing: &Standing) -> report::Registry {
    let (state, since, reason) = match standing {
        Standing::Idle => by_its_locks(roster, name),
        Standing::Connecting(since) => ("connecting", Some(*since), None),
        Standing::Well(since) => ("well", Some(*since), None),
        Standing::Away(since, outage) => ("away", Some(*since), Some(outage.to_string())),
    };
    report::Registry {
        name: name.to_owned(),
        kind: kind.to_owned(),
        state: state.to_owned(),
        since: since.map(time),
        reason,
    }
}

/// How a registry stands that no template asks: as the targets say whose lock it keeps.
fn by_its_locks(roster: &Roster, name: &str) -> (&'static str, Option<SystemTime>, Option<String>) {
    let seen = roster.targets.iter().filter_map(|posted| posted.desk.state().borrow().lock.clone());
    let newest = seen.filter(|seen| *seen.registry == *name).max_by_key(|seen| (seen.is_wanted, seen.since));
    match newest {
        None => ("idle", None, None),
        Some(LockSeen { is_wanted: true, since, answers, .. }) => match answers {
            None => ("connecting", Some(since), None),
            Some(Ok(())) => ("well", Some(since), None),
            Some(Err(reason)) => ("away", Some(since), Some(reason)),
        },
        Some(LockSeen { path, since, answers, .. }) => {
            let reason = answers.and_then(Result::err);
            ("idle", Some(since), reason.map(|reason| format!("when it was last asked, for lock `{path}`: {reason}")))
        }
    }
}

/// How a target stands.
pub(super) fn target(roster: &Roster, posted: &Posted) -> report::Target {
    let state = posted.desk.state().borrow().clone();
    summary(roster, posted, &state)
}

fn summary(roster: &Roster, posted: &Posted, state: &State) -> report::Target {
    let readings = state.reader.map(|reader| roster.store.readings_of(reader)).unwrap_or_default();
    let paused = posted.desk.paused();
    let (name, reason) = match &state.phase {
        Phase::Waiting(_, not_yet) => ("waiting", not_yet.as_ref().map(|not_yet| format!("not yet: {not_yet}"))),
        Phase::Applying => ("applying", None),
        Phase::Held => ("held", None),
        Phase::Settled { .. } => ("settled", None),
        Phase::Owed(reason) => ("owed", Some(reason.clone())),
        Phase::Failed(reason) => ("failed", Some(reason.clone())),
        Phase::Rejected(reason) => ("rejected", Some(reason.clone())),
    };
    let waiting_for = match &state.phase {
        Phase::Waiting(missing, _) => missing.iter().map(|asked| waiting(roster, asked)).collect(),
        _ => Vec::new(),
    };
    let is_true = state.held.is_empty()
        && readings.away.is_empty()
        && readings.refused == 0
        && state.drifted.is_empty()
        && state.delayed.is_none();
    let process = posted.process.as_ref().map(|process| process.borrow().clone());
    // It is looked whether somebody has started it, which nobody may call another try.
    let is_over = matches!(state.phase, Phase::Owed(_))
        && process.as_ref().is_some_and(|process| matches!(process.phase, supervise::Phase::Over(_)));
    report::Target {
        name: posted.name.to_string(),
        well: is_true
            && process.as_ref().is_none_or(is_as_it_should)
            && paused.is_none()
            && matches!(state.phase, Phase::Settled { .. })
            && !state.busy.is_some_and(|since| since.elapsed().is_ok_and(|elapsed| elapsed > LONG)),
        state: name.to_owned(),
        since: time(state.since),
        revision: state.journal.revision,
        reason,
        next: state
            .due
            .filter(|_| paused.is_none() && state.delayed.is_none() && state.busy.is_none() && !is_over)
            .map(moment),
        applying: state.busy.map(time),
        paused: paused.map(time),
        waiting_for,
        held: state.held.iter().map(held).collect(),
        saved: state.earlier.iter().map(|(registry, saved)| self::saved(registry, *saved)).collect(),
        away: readings.away.iter().map(ToString::to_string).collect(),
        queries: readings.queries,
        refused: readings.refused,
        drifted: state.drifted.clone(),
        delayed: state.delayed.as_ref().map(delayed),
        rejected: state.refused.as_ref().filter(|_| matches!(state.phase, Phase::Rejected(_))).map(rejected),
        process: process.as_ref().map(self::process),
    }
}

/// Whether a program runs, or has ended well and is not to run.
fn is_as_it_should(process: &supervise::State) -> bool {
    match process.phase {
        supervise::Phase::Running => true,
        supervise::Phase::Over(_) => process.last_end.as_ref().is_some_and(|end| !end.failed),
        _ => false,
    }
}

fn process(process: &supervise::State) -> report::Process {
    let (mut next, mut waiting_for) = (None, Vec::new());
    let state = match &process.phase {
        supervise::Phase::Waiting(targets) => {
            waiting_for.extend(targets.iter().map(ToString::to_string));
            "waiting"
        }
        supervise::Phase::Running => "running",
        supervise::Phase::Stopping => "stopping",
        supervise::Phase::Hanging => "hanging",
        supervise::Phase::Pausing(at) => {
            next = Some(moment(*at));
            "pausing"
        }
        supervise::Phase::Over(_) => "over",
        supervise::Phase::Stopped => "stopped",
    };
    let last_exit =
        |end: &supervise::Ended| report::LastExit { at: time(end.at), reason: end.reason.clone(), failed: end.failed };
    report::Process {
        state: state.to_owned(),
        since: time(process.since),
        pid: process.run.map(|run| run.pid),
        restarts: process.restarts(),
        last_exit: process.last_end.as_ref().map(last_exit),
        next,
        waiting_for,
    }
}

fn delayed(Delayed { by, since, until }: &Delayed) -> report::Delayed {
    let name = match by {
        Delay::OldWorkers { .. } => "old_workers",
        Delay::Lock { .. } => "lock",
    };
    let holder = match by {
        Delay::Lock { ahead: Some(ahead), .. } => ahead.first.clone(),
        Delay::Lock { ahead: None, .. } | Delay::OldWorkers { .. } => None,
    };
    report::Delayed {
        by: name.to_owned(),
        reason: by.to_string(),
        holder,
        since: time(*since),
        until: until.map(moment),
    }
}

fn rejected(Refused { by, at, .. }: &Refused) -> report::Rejected {
    report::Rejected { by: by.name().to_owned(), at: time(*at) }
}

fn waiting(roster: &Roster, asked: &Asked) -> report::Waiting {
    let report::Name { registry, query } = name(asked);
    report::Waiting { registry, query, reason: roster.store.reason(asked) }
}

fn saved(registry: &str, saved: SystemTime) -> report::Saved {
    report::Saved { registry: registry.to_owned(), saved: time(saved) }
}

fn held(Held { asked, loss }: &Held) -> report::Held {
    let report::Name { registry, query } = name(asked);
    let reason = match loss.reason {
        Reason::Nothing => "nothing",
        Reason::Drop => "drop",
        Reason::TooFew => "too_few",
    };
    report::Held {
        registry,
        query,
        reason: reason.to_owned(),
        since: moment(loss.since),
        before: loss.before,
        after: loss.after,
        until: loss.until.map(moment),
    }
}

/// How a target stands, in detail.
pub(super) fn explanation(roster: &Roster, posted: &Posted) -> report::Explanation {
    let state = posted.desk.state().borrow().clone();
    let readings = state.reader.map(|reader| roster.store.readings(reader)).unwrap_or_default();
    let query = |reading: Reading| {
        let report::Name { registry, query } = name(&reading.asked);
        let (revision, changed) = reading.answered.unzip();
        report::Query {
            registry,
            query,
            revision,
            changed: changed.flatten().map(time),
            held: state.held.iter().any(|held| held.asked == reading.asked),
            reason: reading.reason,
        }
    };
    report::Explanation {
        target: summary(roster, posted, &state),
        files: posted.files.iter().map(|file| path(file)).collect(),
        rendered: state.journal.rendered.map(time),
        commit: state.journal.commit.as_deref().map(commit),
        told: state.journal.told.map(time),
        taken: state.journal.taken.map(time),
        restored: state.journal.restored.map(time),
        way: state.journal.way.as_ref().map(way),
        leaving: state.journal.leaving,
        queries: readings.into_iter().map(query).collect(),
    }
}

fn way(way: &Way) -> report::Way {
    let (by, servers, reason) = match way {
        Way::Runtime(servers) => ("runtime", Some(*servers), None),
        Way::Reload(reason) => ("reload", None, reason.clone()),
    };
    report::Way { by: by.to_owned(), servers, reason }
}

fn commit(commit: &Commit) -> report::Commit {
    let (cause, queries, more) = match &commit.cause {
        Cause::First => ("first", Vec::new(), 0),
        Cause::Answers { first, more } => ("answers", first.iter().map(name).collect(), *more),
        Cause::Files => ("files", Vec::new(), 0),
        Cause::Saved => ("saved", Vec::new(), 0),
    };
    report::Commit {
        at: time(commit.at),
        revision: commit.revision,
        files: commit.files.iter().map(|file| path(file)).collect(),
        cause: cause.to_owned(),
        queries,
        more,
    }
}

/// What a query is called.
pub(super) fn name(asked: &Asked) -> report::Name {
    report::Name { registry: asked.registry.to_string(), query: asked.query.to_string() }
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

fn time(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

/// A moment of the clock that only goes on, by the clock on the wall as it stands now.
fn moment(moment: Instant) -> String {
    let now = Instant::now();
    let wall = SystemTime::now();
    let ahead = moment.saturating_duration_since(now);
    let past = now.saturating_duration_since(moment);
    time(wall.checked_add(ahead).and_then(|wall| wall.checked_sub(past)).unwrap_or(wall))
}
