//! `explain`: what a target asks, what it waits for, and what was done when and why.

use std::fmt::Write as _;

use super::args::{Common, Explain};
use super::ask::{AT_ONCE, ask, lasted, mismatch, print, print_json};
use super::status::target_lines;
use crate::control::report::{Commit, Explanation, Name, Query, Rejected};
use crate::control::{Reply, Request};
use crate::daemon::count;
use crate::exit::Exit;

/// How many queries are written for people.
const MOST: usize = 50;

pub(super) async fn run(common: &Common, options: &Explain) -> Exit {
    let request = Request::Explain { target: options.target.clone() };
    let explanation = match ask(common, &options.ask, &request, AT_ONCE).await {
        Ok(Reply::Explanation(explanation)) => explanation,
        Ok(_) => return mismatch(),
        Err(exit) => return exit,
    };
    let printed = if options.ask.json { print_json(&explanation) } else { print(&text(&explanation)) };
    printed.err().unwrap_or(Exit::Done)
}

fn text(explanation: &Explanation) -> String {
    let Explanation { target, files, rendered, commit, told, taken, restored, way, leaving, queries } = explanation;
    let mut text = target_lines(target);
    if let Some(reason) = target.reason.as_deref().filter(|reason| reason.contains('\n')) {
        let _ = writeln!(text, "  {}", reason.trim_end().replace('\n', "\n  "));
    }
    for file in files {
        let _ = writeln!(text, "file {file}");
    }
    if let Some(Rejected { by, at }) = &target.rejected {
        let _ = writeln!(text, "newest files refused: {}, by its {by}", moment(at));
    }
    let times = [
        ("rendered", rendered),
        ("told its process", told),
        ("taken by its process", taken),
        ("put earlier files back", restored),
    ];
    for (what, time) in times {
        if let Some(time) = time {
            let _ = writeln!(text, "last {what}: {}", moment(time));
        }
    }
    match way.as_ref().map(|way| (way.by.as_str(), way.servers, way.reason.as_deref())) {
        Some(("runtime", servers, _)) => {
            let servers = count(servers.unwrap_or(0), "server", "servers");
            let _ = writeln!(text, "last told without a reload: {servers} changed");
        }
        Some((_, _, Some(reason))) => _ = writeln!(text, "last told by a reload: {reason}"),
        _ => {}
    }
    if *leaving > 0 {
        let servers = count(*leaving, "server waits for its", "servers wait for their");
        let _ = writeln!(text, "{servers} last sessions to end");
    }
    match commit {
        Some(commit) => text.push_str(&commit_lines(commit)),
        None => text.push_str("last replaced: never since liveconf was started\n"),
    }
    let _ = writeln!(text, "queries: {}", queries.len());
    for query in queries.iter().take(MOST) {
        text.push_str(&query_line(query));
    }
    if queries.len() > MOST {
        let _ = writeln!(text, "  and {} more, which `--json` shows", queries.len() - MOST);
    }
    text
}

fn commit_lines(Commit { at, revision, files, cause, queries, more }: &Commit) -> String {
    let mut text = format!("last replaced: {}, with revision {revision}: {}\n", moment(at), files.join(", "));
    match cause.as_str() {
        "first" => text.push_str("  because liveconf was started, or configuration or templates were loaded anew\n"),
        "files" => text.push_str("  because the files differed from what is rendered; no answer had changed\n"),
        "saved" => text.push_str("  because it was missing, and its registry did not answer: it shows saved answers\n"),
        _ => {
            for Name { registry, query } in queries {
                let _ = writeln!(text, "  because of {query} from registry `{registry}`");
            }
            if *more > 0 {
                let _ = writeln!(text, "  and of {more} more");
            }
        }
    }
    text
}

fn query_line(Query { registry, query, revision, changed, held, reason }: &Query) -> String {
    let mut text = format!("  {query} from registry `{registry}`: ");
    match revision {
        Some(revision) => _ = write!(text, "revision {revision}"),
        None => text.push_str("not answered yet"),
    }
    if let Some(changed) = changed {
        let _ = write!(text, ", changed {} ago", lasted(changed));
    }
    if *held {
        text.push_str(", held back: the files show an older answer");
    }
    if let Some(reason) = reason {
        let _ = write!(text, "; {}", reason.replace('\n', " "));
    }
    text.push('\n');
    text
}

/// A time, and how long ago that is.
fn moment(time: &str) -> String {
    format!("{} ago ({time})", lasted(time))
}
