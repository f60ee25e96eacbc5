//! `status`: how everything stands. A line for each registry and target, so that `grep` finds them.

use std::fmt::Write as _;

use super::args::{Common, Status};
use super::ask::{AT_ONCE, ask, lasted, mismatch, print, print_json, until};
use crate::control::report::{self, Delayed, Held, LastExit, Process, Registry, Saved, Target, Waiting};
use crate::control::{Reply, Request};
use crate::exit::Exit;

/// How much of a long list is written.
const MOST: usize = 10;

pub(super) async fn run(common: &Common, options: &Status) -> Exit {
    let request = Request::Status { targets: options.targets.clone() };
    let status = match ask(common, &options.ask, &request, AT_ONCE).await {
        Ok(Reply::Status(status)) => status,
        Ok(_) => return mismatch(),
        Err(exit) => return exit,
    };
    let printed = if options.ask.json { print_json(&status) } else { print(&text(&status)) };
    match printed {
        Ok(()) if status.well => Exit::Done,
        Ok(()) => Exit::Failed,
        Err(exit) => exit,
    }
}

fn text(status: &report::Status) -> String {
    let report::Status { version, pid, started, configuration, state_folder_hangs, registries, targets, .. } = status;
    let mut text = format!("liveconf {version}: pid {pid}, running for {}", lasted(started));
    let of = configuration.file.as_deref().map(|file| format!(" of {file}")).unwrap_or_default();
    let _ = writeln!(text, "\nconfiguration{of}: loaded {} ago", lasted(&configuration.loaded));
    if let Some(refused) = &configuration.refused {
        let _ = writeln!(text, "  a newer one was refused {} ago: see the log", lasted(refused));
    }
    if let Some(since) = state_folder_hangs {
        let since = lasted(since);
        let _ = writeln!(text, "the disk of the state folder has not answered for {since}: it is gone on without");
    }
    text.extend(registries.iter().map(registry_line));
    text.extend(targets.iter().map(target_lines));
    text
}

fn registry_line(Registry { name, kind, state, since, reason }: &Registry) -> String {
    let lasted = since.as_deref().map(|since| format!(" for {}", lasted(since))).unwrap_or_default();
    let reason = reason.as_deref().map(|reason| format!(": {}", first_line(reason))).unwrap_or_default();
    format!("registry {name} ({kind}): {state}{lasted}{reason}\n")
}

/// How a target stands: a line, and one for each thing that keeps it from being well.
pub(super) fn target_lines(target: &Target) -> String {
    let Target {
        name,
        state,
        since,
        revision,
        reason,
        next,
        applying,
        paused,
        waiting_for,
        held,
        saved,
        away,
        refused,
        drifted,
        delayed,
        process,
        ..
    } = target;
    let mut text = format!("target {name}: {state} for {}", lasted(since));
    if let Some(revision) = revision {
        let _ = write!(text, ", at revision {revision}");
    }
    if let Some(reason) = reason {
        let _ = write!(text, ": {}", first_line(reason));
    }
    match (applying, next) {
        (Some(applying), _) => _ = write!(text, "; at work for {}", lasted(applying)),
        (None, Some(next)) => _ = write!(text, "; next try in {}", until(next)),
        (None, None) => {}
    }
    text.push('\n');
    text.extend(process.as_ref().map(process_line));
    if state == "rejected" {
        let otherwise = "otherwise they are tried when the data or the configuration of the target change";
        let _ = writeln!(text, "  `liveconf apply {name}` tries the newest files again; {otherwise}");
    }
    if let Some(paused) = paused {
        let _ = writeln!(text, "  paused for {}: `liveconf resume {name}` goes on", lasted(paused));
    }
    if let Some(Delayed { reason, since, until: end, .. }) = delayed {
        let end = end.as_deref().map(|end| format!("; goes on in {} at the latest", until(end))).unwrap_or_default();
        let _ = writeln!(text, "  due for {}, and delayed: {reason}{end}", lasted(since));
    }
    for Held { registry, query, since, before, after, until: end, .. } in held.iter().take(MOST) {
        let before = before.map(|before| format!("{before} before, ")).unwrap_or_default();
        let end = end.as_deref().map(|end| format!(", to be confirmed in {}", until(end))).unwrap_or_default();
        let since = lasted(since);
        let _ = writeln!(text, "  held back for {since}: {query} from registry `{registry}`, {before}{after} now{end}");
    }
    more(&mut text, held.len());
    if !held.is_empty() {
        let _ = writeln!(text, "  `liveconf release {name}` lets pass what is held back");
    }
    for Waiting { registry, query, reason } in waiting_for.iter().take(MOST) {
        let reason = reason.as_deref().map(|reason| format!(" ({})", first_line(reason))).unwrap_or_default();
        let _ = writeln!(text, "  waits for {query} from registry `{registry}`{reason}");
    }
    more(&mut text, waiting_for.len());
    for Saved { registry, saved } in saved {
        let saved = lasted(saved);
        let _ = writeln!(text, "  files that were missing show answers of registry `{registry}` saved {saved} ago");
    }
    if !away.is_empty() {
        let _ = writeln!(text, "  may be older than the registry: {} does not answer", away.join(", "));
    }
    if *refused > 0 {
        let _ = writeln!(text, "  {refused} of its queries refused: `liveconf explain {name}` shows them");
    }
    for drifted in drifted.iter().take(MOST) {
        let _ = writeln!(text, "  {}", first_line(drifted));
    }
    more(&mut text, drifted.len());
    text
}

fn process_line(process: &Process) -> String {
    let Process { state, since, pid, restarts, last_exit, next, waiting_for } = process;
    let mut text = format!("  process: {state} for {}", lasted(since));
    if let Some(pid) = pid {
        let _ = write!(text, ", pid {pid}");
    }
    if !waiting_for.is_empty() {
        let _ = write!(text, ", for the files of {}", waiting_for.join(", "));
    }
    if let Some(next) = next {
        let _ = write!(text, ", next start in {}", until(next));
    }
    match restarts {
        0 => {}
        1 => text.push_str(", started anew once"),
        times => _ = write!(text, ", started anew {times} times"),
    }
    if let Some(LastExit { at, reason, .. }) = last_exit {
        let _ = write!(text, "; {} ago it {}", lasted(at), first_line(reason));
    }
    text.push('\n');
    text
}

fn more(text: &mut String, count: usize) {
    if count > MOST {
        let _ = writeln!(text, "  and {} more", count - MOST);
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
