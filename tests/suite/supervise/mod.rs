//! Programs that liveconf runs beside their files.

mod command_line;
mod ends;
mod haproxy;
mod init;
mod nginx;
mod random;
mod reload;
mod start;

use crate::support::liveconf::Job;
use crate::support::{SOON, poll_until};

/// A program that writes down what it read whenever it starts or is told by HUP, and leaves on TERM with 0. What it runs
/// with stands in `serves`.
const PROGRAM: &str = "#!/bin/sh
note() { cat out.conf > .serves && mv .serves serves && echo \"$1 $(cat out.conf)\" >> notes; }
trap 'note told' HUP
trap 'echo left >> notes; exit 0' TERM
note started
while :; do sleep 0.02; done
";

/// A target on a file registry whose key `x` becomes `out.conf`, read by `program` in the same folder, with these further
/// keys of `process` and of the target.
fn job(process: &str, target: &str) -> Job {
    job_of("command: [sh, program]", process, target)
}

/// The same with another program.
fn job_of(command: &str, process: &str, target: &str) -> Job {
    // Long enough for a shell on a busy machine, where something is to be seen within that time.
    let settle = if process.contains("settle") { "" } else { "settle: 100ms" };
    let indented = |text: &str, by: &str| -> String { text.lines().flat_map(|line| [by, line.trim(), "\n"]).collect() };
    let (process, target) = (indented(process, "      "), indented(target, "    "));
    Job::new(&format!(
        "registries: {{local: {{file: {{path: registry.yaml}}}}}}
targets:
  web:
    templates: [{{content: '{{{{ key(path=\"x\") }}}}', dest: out.conf}}]
    wait: 0
    reload_interval: 0
    retry: 20ms..100ms
    process:
      {command}
      {settle}
      restart_delay: 20ms..1s
{process}{target}"
    ))
    .with("registry.yaml", "x: A\n")
    .with("program", PROGRAM)
}

/// The lines of `notes`, once there are as many.
#[track_caller]
fn notes(job: &Job, lines: usize) -> Vec<String> {
    job.wait_for_lines("notes", lines)
}

/// The document of `status --json`, once somebody answers.
#[track_caller]
fn status(job: &Job) -> serde_json::Value {
    poll_until(SOON, || {
        let output = job.run(&["status", "--json"]);
        serde_json::from_str(&output.stdout).map_err(|error| format!("{error}: {}", output.stderr))
    })
}

/// Waits until the first target is well.
#[track_caller]
fn wait_until_well(job: &Job) {
    poll_until(SOON, || {
        let status = status(job);
        if status["well"] == true { Ok(()) } else { Err(status.to_string()) }
    });
}

/// What `status` says of the process of the first target, once `is_so`.
#[track_caller]
fn process(job: &Job, is_so: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
    poll_until(SOON, || {
        let process = status(job)["targets"][0]["process"].clone();
        if is_so(&process) { Ok(process) } else { Err(process.to_string()) }
    })
}
