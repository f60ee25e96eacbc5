//! `run -- COMMAND`.

use nix::sys::signal::Signal;

use super::PROGRAM;
use crate::support::SOON;
use crate::support::liveconf::Job;

fn job(target: &str) -> Job {
    let config = format!(
        "registries: {{local: {{file: {{path: registry.yaml}}}}}}
targets:
  web:
    templates: [{{content: '{{{{ key(path=\"x\") }}}}', dest: out.conf}}]
    {target}
"
    );
    Job::new(&config).with("registry.yaml", "x: A\n").with("program", PROGRAM)
}

#[test]
fn liveconf_ends_with_its_program() {
    for (script, code) in [("exit 5", 5), ("kill -TERM $$", 143), ("exit 0", 0)] {
        let job = job("reload: {signal: HUP}");
        let mut daemon = job.start(&["run", "--", "sh", "-c", script]);
        assert_eq!(daemon.wait(SOON), code, "{script}: {:#?}", daemon.log());
    }
}

#[test]
fn signals_go_to_the_program() {
    let job = job("reload: {signal: HUP}");
    let script = "for name in INT QUIT USR1 USR2 WINCH; do trap \"echo $name >> notes\" $name; done; \
                  trap 'echo TERM >> notes; exit 42' TERM; echo up >> notes; while :; do sleep 0.02; done";
    let mut daemon = job.start(&["run", "--", "sh", "-c", script]);
    job.wait_for_lines("notes", 1);
    for (index, signal) in [Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGWINCH].into_iter().enumerate() {
        daemon.signal(signal);
        let name = signal.as_str()[3..].to_owned();
        assert_eq!(job.wait_for_lines("notes", index + 2)[index + 1], name);
    }
    // Ours.
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_log("loaded the new configuration");
    assert!(daemon.is_running());
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait(SOON), 42);
    assert_eq!(job.wait_for_lines("notes", 5)[4], "TERM");
}

#[test]
fn the_signal_that_asks_to_stop_reaches_the_program_as_it_is() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGQUIT, 131), (Signal::SIGTERM, 143)] {
        let job = job("reload: none");
        let mut daemon = job.start(&["run", "--", "sleep", "600"]);
        daemon.wait_for_log("started");
        // The stand-in becomes the program within milliseconds, and ends by the same signals.
        daemon.signal(signal);
        assert_eq!(daemon.wait(SOON), code, "{signal}");
    }
}

/// Templates and configuration may lie on a file system that hangs, as a pipe does that nobody writes to.
#[test]
fn while_the_configuration_is_read_the_program_is_heard_and_told() {
    let script = "trap 'echo USR1 >> notes' USR1; echo up >> notes; while [ ! -e end ]; do sleep 0.02; done; exit 7";
    for ends in [true, false] {
        let job = job("reload: {signal: HUP}");
        let mut daemon = job.start(&["run", "--", "sh", "-c", script]);
        job.wait_for_lines("notes", 1);
        let config = job.folder().path("liveconf.yaml");
        std::fs::remove_file(&config).unwrap();
        nix::unistd::mkfifo(&config, nix::sys::stat::Mode::S_IRWXU).unwrap();
        daemon.signal(Signal::SIGHUP);
        let reads = || {
            let tasks = std::fs::read_dir(format!("/proc/{}/task", daemon.id())).unwrap().flatten();
            let waits =
                |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("wchan")).unwrap_or_default();
            tasks.map(waits).any(|wait| wait.contains("fifo") || wait.contains("wait_for_partner"))
        };
        crate::support::poll_until(SOON, || if reads() { Ok(()) } else { Err("nobody reads".to_owned()) });
        daemon.signal(Signal::SIGUSR1);
        assert_eq!(job.wait_for_lines("notes", 2)[1], "USR1");
        if ends {
            job.write("end", "");
            assert_eq!(daemon.wait(SOON), 7);
        } else {
            daemon.signal(Signal::SIGTERM);
            assert_eq!(daemon.wait(SOON), 143);
        }
    }
}

#[test]
fn forwarded_hup_is_the_programs() {
    let job = job("process: {command: [sh, program], forward: [HUP]}\n    reload: none");
    let mut daemon = job.start(&["run"]);
    assert_eq!(job.wait_for_lines("notes", 1), ["started A"]);
    daemon.signal(Signal::SIGHUP);
    assert_eq!(job.wait_for_lines("notes", 2)[1], "told A");
    assert!(daemon.logged("loaded").is_empty());
    daemon.stop();
}

#[test]
fn a_job_of_flags_takes_a_program_too() {
    let job =
        Job::empty().with("registry.yaml", "x: A\n").with("in.tera", "{{ key(path=\"x\") }}").with("program", PROGRAM);
    let flags = ["run", "--registry", "file:registry.yaml", "--template", "in.tera:out.conf", "--", "sh", "program"];
    let mut daemon = job.start(&flags);
    assert_eq!(job.wait_for_lines("notes", 1), ["started A"]);
    job.write("registry.yaml", "x: B\n");
    assert_eq!(job.wait_for_lines("notes", 3), ["started A", "left", "started B"]);
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait(SOON), 0);
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let with = job("process: {command: [sh, program]}");
    with.run(&["run", "--", "true"]).assert_code(2).assert_says(&["nothing is left for the command"]);
    let without = job("reload: {signal: HUP}");
    without.run(&["run"]).assert_code(2).assert_says(&["`pid_file` is missing"]);
    // Who knows what `run` will be given.
    without.run(&["check"]).assert_code(0).assert_says(&["warning", "liveconf check -- COMMAND"]);
    let checked = without.run(&["check", "--", "sh", "program"]);
    checked.assert_code(0);
    assert!(!checked.stderr.contains("warning"), "{}", checked.stderr);
    without.run(&["check", "--", "no-such-program"]).assert_code(0).assert_says(&["`no-such-program` of its process"]);
    let restart = job("reload: restart");
    restart.run(&["run"]).assert_code(2).assert_says(&["there is no process to restart"]);
    // Its files are there without it.
    without.run(&["once"]).assert_code(0);
    assert_eq!(without.read("out.conf").as_deref(), Some("A"));
}
