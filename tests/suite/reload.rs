//! What is owed is paid: reloads that fail, and ends between the new file and its reload.

use crate::support::liveconf::Job;

/// A target on a file registry whose key `x` becomes `out.conf`, with this reload and more.
fn job(target: &str) -> Job {
    Job::new(&format!(
        "registries: {{local: {{file: {{path: registry.yaml}}}}}}
targets:
  program:
    templates: [{{content: '{{{{ key(path=\"x\") }}}}', dest: out.conf}}]
    wait: 0
    reload_interval: 0
    retry: 20ms..100ms
{target}
"
    ))
    .with("registry.yaml", "x: A\n")
}

#[test]
fn a_reload_that_fails_three_times_runs_four_times() {
    let job = job("    reload: {shell: 'echo $(cat out.conf) >> reloads; test $(wc -l < reloads) -ge 4'}");
    let daemon = job.start(&["run"]);
    assert_eq!(job.wait_for_lines("reloads", 4), ["A"; 4]);
    // The next change has one reload, after which there is still no fifth of the first.
    job.write("registry.yaml", "x: B\n");
    assert_eq!(job.wait_for_lines("reloads", 5), ["A", "A", "A", "A", "B"]);
    job.write("registry.yaml", "x: C\n");
    assert_eq!(job.wait_for_lines("reloads", 6).len(), 6);
    assert_eq!(daemon.logged("reload failed").len(), 1, "{:#?}", daemon.log());
    daemon.stop();
    // And what is settled is not reloaded by the next start.
    let daemon = job.start(&["run"]);
    job.write("registry.yaml", "x: D\n");
    assert_eq!(job.wait_for_lines("reloads", 7)[6], "D");
    daemon.stop();
}

/// From A to B with an end of liveconf while it reloads, and back to A before it starts again. `before_end` is what
/// the program still does with B.
fn back_to_a_after_an_end_in_the_reload(before_end: &str) {
    let reload =
        format!("if [ -e end-now ]; then rm end-now; {before_end} kill -9 $PPID; exit 1; fi; cp out.conf served");
    let job = job(&format!("    reload: {{shell: '{reload}'}}"));
    let daemon = job.start(&["run"]);
    job.wait_for("served", "A");
    daemon.stop();

    let mut daemon = job.start(&["run"]);
    job.write("end-now", "");
    job.write("registry.yaml", "x: B\n");
    assert_eq!(daemon.wait(crate::support::SOON), 128 + 9);
    assert_eq!(job.read("out.conf").as_deref(), Some("B"));

    job.write("registry.yaml", "x: A\n");
    job.write("served", "nobody knows");
    let daemon = job.start(&["run"]);
    job.wait_for("out.conf", "A");
    job.wait_for("served", "A");
    daemon.stop();
}

#[test]
fn back_to_a_after_an_end_before_the_program_took_b() {
    back_to_a_after_an_end_in_the_reload("");
}

#[test]
fn back_to_a_after_an_end_when_the_program_had_taken_b() {
    back_to_a_after_an_end_in_the_reload("cp out.conf served;");
}

#[test]
fn an_end_between_the_file_and_its_reload_leaves_the_reload_owed() {
    let job = job("    reload: {shell: 'cp out.conf served'}");
    job.run(&["once"]).assert_code(0);
    assert_eq!(job.read("served").as_deref(), Some("A"));
    job.write("registry.yaml", "x: B\n");
    job.run(&["once", "--no-reload"]).assert_code(0);
    assert_eq!((job.read("out.conf").as_deref(), job.read("served").as_deref()), (Some("B"), Some("A")));
    // The file is true already; the process is not.
    job.run(&["once"]).assert_code(0);
    assert_eq!(job.read("served").as_deref(), Some("B"));
    job.write("served", "untouched");
    job.run(&["once"]).assert_code(0);
    assert_eq!(job.read("served").as_deref(), Some("untouched"));
}

#[test]
fn a_file_that_is_true_already_is_adopted_without_a_reload() {
    let job = job("    reload: {shell: 'cp out.conf served'}").with("out.conf", "A");
    job.run(&["once"]).assert_code(0);
    assert_eq!(job.read("served"), None);
}

#[test]
fn a_signal_reaches_the_process_of_the_pid_file() {
    let job = job("    reload: {signal: HUP, pid_file: program.pid}");
    // Not running: no failure, and the reload waits for it.
    let mut daemon = job.start(&["run"]);
    job.wait_for("out.conf", "A");
    daemon.wait_for_log("there is no pid file");
    job.write(
        "program",
        "trap 'cp out.conf served' HUP\necho $$ > .pid && mv .pid program.pid\nwhile :; do sleep 0.05; done\n",
    );
    let mut program = crate::support::process::bound(nix::sys::signal::Signal::SIGKILL, "sh");
    program.arg("program").current_dir(job.folder().root());
    let program = crate::support::process::Process::start(program);
    job.wait_for_lines("program.pid", 1);
    // It started after the file was written, so nothing is owed any more; the next change is told to it.
    job.write("registry.yaml", "x: B\n");
    job.wait_for("served", "B");
    drop(program);
    job.write("registry.yaml", "x: C\n");
    job.wait_for("out.conf", "C");
    assert!(daemon.is_running());
    daemon.stop();
}

/// A stand-in for `systemctl`, since tests have no systemd: the unit comes to be there, and at first a question hangs.
#[test]
fn a_unit_that_is_not_there_is_owed_its_reload_until_it_is() {
    use std::os::unix::fs::PermissionsExt as _;
    let job = job("    reload: {systemd: {unit: web, systemctl: ./systemctl, timeout: 500ms}}
  other:
    templates: [{content: '{{ key(path=\"x\") }}', dest: other.conf}]
    wait: 0")
    .with("hangs", "")
    .with(
        "systemctl",
        "#!/bin/sh
case \"$*\" in
*show*)
    if [ -e hangs ]; then rm hangs; sleep 600; fi
    if [ -e loaded ]; then printf 'LoadState=loaded\\nActiveState=active\\nMainPID=0\\n'
    else printf 'LoadState=not-found\\nActiveState=inactive\\nMainPID=0\\n'; fi ;;
*) cp out.conf served ;;
esac
",
    );
    let program = job.folder().path("systemctl");
    std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut daemon = job.start(&["run"]);
    daemon.wait_for_log("took longer than 500ms");
    daemon.wait_for_log("there is no unit `web.service`");
    let status = job.run(&["status", "program"]);
    assert_eq!(status.code, 1, "{}", status.stdout);
    assert!(status.stdout.contains("there is no unit `web.service`"), "{}", status.stdout);
    // The file is true, and so are those of others.
    job.write("registry.yaml", "x: B\n");
    job.wait_for("out.conf", "B");
    job.wait_for("other.conf", "B");
    job.write("loaded", "");
    job.wait_for("served", "B");
    daemon.wait_for_log("reloaded");
    daemon.stop();
}

#[test]
fn a_reload_that_hangs_is_ended_and_tried_again() {
    let job = job(
        "    reload: {shell: 'echo >> tries; if [ $(wc -l < tries) = 1 ]; then sleep 600; fi; cp out.conf served', timeout: 200ms}",
    );
    let daemon = job.start(&["run"]);
    job.wait_for("served", "A");
    assert_eq!(job.wait_for_lines("tries", 2).len(), 2);
    daemon.stop();
}

/// What a command leaves behind when it ends in time is named once, and not ended: it may be the program itself.
#[test]
fn what_a_command_leaves_behind_is_named() {
    for (output, says) in [(">/dev/null 2>&1", "with each run there may be one more"), ("", "that holds its output")] {
        let job = job(&format!("    reload: {{shell: 'sleep 60 {output} & echo $! >> left'}}"));
        let mut command = job.command(&["run"]);
        command.args(["--log-level", "debug"]);
        let mut daemon = crate::support::liveconf::start(command);
        let line = daemon.wait_for_log(says);
        let first = job.wait_for_lines("left", 1).remove(0);
        for part in ["WARN", "a command ended and left a process behind", "program=\"sh\"", "name=\"sleep\""] {
            assert!(line.contains(part), "{part}: {line}");
        }
        assert!(line.contains(&format!("pid={first}")), "{line}");
        job.write("registry.yaml", "x: B\n");
        let left = job.wait_for_lines("left", 2);
        crate::support::poll_until(crate::support::SOON, || {
            let second = daemon.logged(&format!("pid={}", left[1]));
            if second.iter().any(|line| line.contains("DEBUG")) { Ok(()) } else { Err(format!("{:#?}", daemon.log())) }
        });
        assert_eq!(daemon.logged(says).len(), 1, "{:#?}", daemon.log());
        daemon.stop();
        for pid in left {
            let pid = nix::unistd::Pid::from_raw(pid.parse().unwrap());
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        }
    }
}
