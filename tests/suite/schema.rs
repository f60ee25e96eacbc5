//! `liveconf schema`; and what else helps whoever types: the completion of a shell. What the schema refuses is held against
//! the reader of the configuration by tests in the library.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, symlink};
use std::path::Path;
use std::process::Command;

use crate::support::liveconf::{BINARY, Job, run_to_end};

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

#[test]
fn what_is_no_file_takes_the_schema_and_stays() {
    let job = Job::empty();
    let schema = job.run(&["schema", "-o", "-"]).assert_code(0).stdout.clone();
    assert!(schema.starts_with('{') && job.folder().names(".").is_empty());

    // What stands in the output already stays before it.
    let line = "{ echo before; \"$0\" schema -o /dev/stdout; } > out";
    run_to_end(job.prepare(Command::new("bash"), &["-euc", line, BINARY])).assert_code(0);
    assert_eq!(job.read("out").unwrap(), format!("before\n{schema}"));

    // Nodes of our own in the place of those below `/dev`, where whoever runs the test may make and open them.
    for (name, minor, code) in [("null", "3", 0), ("full", "7", 1)] {
        let made = run_to_end(job.prepare(Command::new("mknod"), &[name, "c", "1", minor]));
        let path = job.folder().path(name);
        if made.code != 0 || fs::OpenOptions::new().write(true).open(&path).is_err() {
            continue;
        }
        symlink(name, job.folder().path("link")).unwrap();
        for output in [name, "link"] {
            let output = job.run(&["schema", "-o", output]);
            output.assert_code(code).assert_says(if code == 0 { &[] } else { &["No space left on device"] });
            assert!(path.symlink_metadata().unwrap().file_type().is_char_device(), "{name}");
        }
        fs::remove_file(job.folder().path("link")).unwrap();
    }
}
