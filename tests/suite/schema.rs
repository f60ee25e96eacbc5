//! `liveconf schema`; and what else helps whoever types: the completion of a shell. What the schema refuses is held against
//! the reader of the configuration by tests in the library.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::liveconf::{Job, run_to_end};

#[test]
fn the_schema_that_is_committed_is_written() {
    let output = Job::empty().run(&["schema"]);
    output.assert_code(0);
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/reference/liveconf.schema.json");
    assert_eq!(output.stdout, fs::read_to_string(committed).unwrap());
}

/// What bash would offer behind these words.
#[track_caller]
fn offered(job: &Job, words: &[&str]) -> Vec<String> {
    let script = format!(
        "source completion; COMP_WORDS=({} ''); COMP_CWORD={}; _liveconf liveconf '' {}; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        words.join(" "),
        words.len(),
        words.last().unwrap()
    );
    let output = run_to_end(job.prepare(Command::new("bash"), &["-c", &script]));
    output.assert_code(0);
    output.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn a_shell_completes_commands_and_flags() {
    let job = Job::empty();
    let script = job.run(&["completions", "bash"]).assert_code(0).stdout.clone();
    job.write("completion", script);
    let all = offered(&job, &["liveconf"]);
    for word in ["run", "once", "functions", "completions", "--config"] {
        assert!(all.iter().any(|offer| offer == word), "{word}: {all:?}");
    }
    let of_init = offered(&job, &["liveconf", "init"]);
    assert!(of_init.contains(&"nginx".to_owned()), "{of_init:?}");
    for shell in ["zsh", "fish"] {
        let script = job.run(&["completions", shell]).assert_code(0).stdout.clone();
        assert!(script.contains("explain"), "{script}");
    }
    job.run(&["completions", "cmd"]).assert_code(2);
}
