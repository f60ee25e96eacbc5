//! What a service manager is told, at a notify socket that is the test's: what comes when, and what never does.

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rustix::time::{ClockId, clock_gettime};

#[cfg(feature = "consul")]
use crate::support::liveconf::run_to_end;
use crate::support::liveconf::{Daemon, Job, start};
use crate::support::notify::Manager;
use crate::support::strace::Strace;

/// A target on a file registry, whose key `x` becomes `out.conf`, with more of the target and of the top level.
fn job(target: &str, top: &str) -> Job {
    Job::new(&config(target, top)).with("registry.yaml", "x: hunter2\n")
}

fn config(target: &str, top: &str) -> String {
    format!(
        "registries: {{main: {{file: {{path: registry.yaml, poll_interval: 50ms}}}}}}
targets:
  web:
    templates: [{{content: '{{{{ key(path=\"x\") }}}}', dest: out.conf}}]
    wait: 0
    reload_interval: 0
{target}
{top}
"
    )
}

/// `run`, started by this service manager.
fn command(job: &Job, manager: &Manager) -> Command {
    let mut command = job.command(&["run"]);
    command.env("NOTIFY_SOCKET", manager.address());
    command
}

fn run(job: &Job, manager: &Manager) -> Daemon {
    start(command(job, manager))
}

/// Microseconds of the clock that `MONOTONIC_USEC` is of.
fn monotonic() -> u128 {
    let now = clock_gettime(ClockId::Monotonic);
    u128::try_from(now.tv_sec).unwrap() * 1_000_000 + u128::try_from(now.tv_nsec).unwrap() / 1000
}

#[test]
fn a_whole_life_is_told_in_order() {
    for manager in [Manager::at_path(), Manager::at_name()] {
        let job = job("    reload: {shell: 'cp out.conf served'}", "");
        let mut daemon = run(&job, &manager);
        let ready = manager.wait_for(1, "READY=1");
        assert_eq!(job.read("served").as_deref(), Some("hunter2"), "ready before the process has the files");
        assert_eq!(ready.value("STATUS"), Some("1 of 1 target well"));

        let before = monotonic();
        daemon.signal(Signal::SIGHUP);
        let reloading = manager.wait_for(1, "RELOADING=1");
        let moment: u128 = reloading.value("MONOTONIC_USEC").unwrap().parse().unwrap();
        assert!((before..=monotonic()).contains(&moment), "{before} {moment}");
        manager.wait_for(2, "READY=1");

        // What is refused ends the reload too, and the status says so.
        job.write("liveconf.yaml", "targets: 1\n");
        daemon.signal(Signal::SIGHUP);
        manager.wait_for(2, "RELOADING=1");
        let refused = manager.wait_for(3, "READY=1");
        assert_eq!(
            refused.value("STATUS"),
            Some("1 of 1 target well; what was loaded last was refused, the older stays")
        );

        daemon.stop();
        let stopping = manager.wait_for(1, "STOPPING=1");
        assert_eq!(stopping.value("STATUS").unwrap().split(';').next(), Some("stopping"));
        assert_eq!(stopping.value("EXTEND_TIMEOUT_USEC"), Some("18000000"), "the grace, and what follows it");

        let words: Vec<String> = manager
            .messages()
            .iter()
            .filter_map(|message| message.text.lines().next()?.strip_suffix("=1").map(str::to_owned))
            .collect();
        assert_eq!(words, ["READY", "RELOADING", "READY", "RELOADING", "READY", "STOPPING"]);
        let all: String = manager.messages().into_iter().map(|message| message.text).collect();
        assert!(!all.contains("hunter2") && !all.contains("FDSTORE") && !all.contains("WATCHDOG"), "{all}");
    }
}

#[test]
fn a_start_without_its_registry_waits_and_is_given_the_time() {
    let manager = Manager::at_path();
    let job = job("", "last_known_good: {after: 50ms}");
    fs::remove_file(job.folder().path("registry.yaml")).unwrap();
    let mut daemon = run(&job, &manager);
    let status = manager.wait_for_status(&["starting; ", "does not answer"]);
    assert_eq!(status, "starting; registry `main` does not answer; `web` waits for key `x` from registry `main`");
    // It is not ready, so there is nothing to reload either.
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_log("loaded the new configuration");
    daemon.wait_for_log("files are missing and stay so");
    let extension: u64 =
        manager.messages().iter().find_map(|message| message.value("EXTEND_TIMEOUT_USEC")?.parse().ok()).unwrap();
    assert!(extension >= 30_000_000, "{extension}");
    assert_eq!((manager.with("READY=1").len(), manager.with("RELOADING=1").len()), (0, 0));

    job.write("registry.yaml", "x: hunter2\n");
    manager.wait_for(1, "READY=1");
    assert_eq!(job.read("out.conf").as_deref(), Some("hunter2"));
    daemon.stop();
}

#[test]
fn files_that_stay_or_are_made_of_saved_answers_are_enough_to_be_ready() {
    let manager = Manager::at_path();
    let job = job("", "last_known_good: {after: 300ms}");
    job.run(&["once"]).assert_code(0);
    fs::remove_file(job.folder().path("registry.yaml")).unwrap();
    let began = Instant::now();
    let daemon = run(&job, &manager);
    let ready = manager.wait_for(1, "READY=1");
    assert!(ready.at - began >= Duration::from_millis(300), "before it was decided that the files stay");
    let status = manager.wait_for_status(&["0 of 1 target well", "`web` waits for key `x`"]);
    assert!(status.contains("registry `main` does not answer"), "{status}");
    assert_eq!(job.read("out.conf").as_deref(), Some("hunter2"));
    daemon.stop();

    // Saved by a life that saw the registry.
    job.write("registry.yaml", "x: hunter3\n");
    let daemon = job.start(&["run"]);
    job.wait_for("out.conf", "hunter3");
    daemon.stop();
    for file in ["registry.yaml", "out.conf"] {
        fs::remove_file(job.folder().path(file)).unwrap();
    }
    let manager = Manager::at_path();
    let daemon = run(&job, &manager);
    manager.wait_for(1, "READY=1");
    assert_eq!(job.read("out.conf").as_deref(), Some("hunter3"));
    daemon.stop();
}

#[test]
fn a_process_that_does_not_run_yet_is_no_reason_to_wait() {
    let manager = Manager::at_path();
    let job = job("    reload: {signal: HUP, pid_file: program.pid}", "");
    let daemon = run(&job, &manager);
    manager.wait_for(1, "READY=1");
    manager.wait_for_status(&["0 of 1 target well; `web` owes a reload"]);
    assert!(job.read("out.conf").is_some());
    daemon.stop();
}

#[test]
fn files_that_cannot_be_applied_make_ready_only_where_older_ones_are() {
    let manager = Manager::at_path();
    let job = job("    check: ['false', '{staged}']\n    retry: 50ms", "");
    let daemon = run(&job, &manager);
    manager.wait_for_status(&["starting; `web` could not be applied"]);
    assert_eq!(manager.with("READY=1").len(), 0);
    daemon.stop();
    job.write("out.conf", "older");
    let manager = Manager::at_path();
    let daemon = run(&job, &manager);
    manager.wait_for(1, "READY=1");
    assert_eq!(job.read("out.conf").as_deref(), Some("older"));
    daemon.stop();
}

#[test]
fn hangups_do_not_put_off_what_the_start_promised() {
    let manager = Manager::at_path();
    let job = job("", "last_known_good: {after: 2s}").with("out.conf", "older");
    fs::remove_file(job.folder().path("registry.yaml")).unwrap();
    let mut daemon = run(&job, &manager);
    let since = Instant::now();
    while manager.with("READY=1").is_empty() {
        assert!(since.elapsed() < Duration::from_secs(20), "{:#?}", manager.messages());
        sleep(Duration::from_millis(300));
        daemon.signal(Signal::SIGHUP);
    }
    assert!(daemon.logged("loaded the new configuration").len() > 1);
    assert_eq!(job.read("out.conf").as_deref(), Some("older"));
    daemon.stop();
}

#[test]
fn a_status_comes_at_most_once_a_second() {
    let manager = Manager::at_path();
    let job = job("", "");
    let daemon = run(&job, &manager);
    manager.wait_for(1, "READY=1");
    for round in 0..20 {
        // By turns a key that is there and one that is not.
        job.write("registry.yaml", if round % 2 == 0 { "y: A\n" } else { "x: A\n" });
        sleep(Duration::from_millis(100));
    }
    let statuses = manager.messages().into_iter().filter(|message| message.text.starts_with("STATUS="));
    let moments: Vec<Instant> = statuses.map(|message| message.at).collect();
    // A message that was held up on the way may come close to the next.
    assert!(moments.len() <= 4, "{:#?}", manager.messages());
    daemon.stop();
}

#[test]
fn commands_never_see_the_socket() {
    let manager = Manager::at_path();
    let top = "env: {allow: [NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID, SITE]}";
    let job = job("    reload: {shell: 'env > seen'}", top);
    let mut command = command(&job, &manager);
    command.env("WATCHDOG_USEC", "10000000").env("SITE", "here");
    let daemon = start(command);
    manager.wait_for(1, "READY=1");
    let seen = job.read("seen").unwrap();
    assert!(seen.contains("SITE=here") && !seen.contains("NOTIFY_SOCKET") && !seen.contains("WATCHDOG"), "{seen}");
    daemon.stop();
}

#[test]
fn the_watchdog_is_fed_at_a_quarter_of_its_time_also_through_a_long_check() {
    const LIMIT: Duration = Duration::from_secs(2);
    let manager = Manager::at_path();
    let job = job("    check: {shell: 'sleep 5; touch checked', timeout: 20s}", "");
    let mut command = command(&job, &manager);
    command.env("WATCHDOG_USEC", LIMIT.as_micros().to_string());
    let daemon = start(command);
    manager.wait_for(1, "WATCHDOG=1");
    let began = Instant::now();
    job.wait_for("checked", "");
    let signs = manager.with("WATCHDOG=1").len();
    assert!(began.elapsed() > Duration::from_secs(4) && (7..=14).contains(&signs), "{signs}");
    assert!(manager.longest_silence(began) < LIMIT, "{:#?}", manager.messages());
    manager.wait_for(1, "READY=1");
    daemon.stop();
}

#[test]
fn a_watchdog_that_cannot_be_read_is_told_of() {
    let manager = Manager::at_path();
    let job = job("", "");
    let mut command = command(&job, &manager);
    command.env("WATCHDOG_USEC", "abc");
    let mut daemon = start(command);
    daemon.wait_for_log("no watchdog is fed: `WATCHDOG_USEC` is no number of microseconds");
    manager.wait_for(1, "READY=1");
    daemon.stop();
}

#[test]
fn a_watchdog_of_another_process_is_not_ours_to_feed() {
    let manager = Manager::at_path();
    let job = job("", "");
    let mut command = command(&job, &manager);
    command.env("WATCHDOG_USEC", "100000").env("WATCHDOG_PID", "1");
    let daemon = start(command);
    manager.wait_for(1, "READY=1");
    sleep(Duration::from_millis(300));
    daemon.stop();
    assert_eq!(manager.with("WATCHDOG=1").len(), 0);
}

/// Credentials of systemd are files in a folder that a variable names; what is missing says what the unit lacks.
#[cfg(feature = "consul")]
#[test]
fn credentials_that_are_missing_are_named_with_what_to_add() {
    let job = Job::new(
        "registries: {main: {consul: {address: 'http://127.0.0.1:9', token_file: '${CREDENTIALS_DIRECTORY}/consul-token'}}}
targets: {web: {templates: [{content: '{{ key(path=\"x\") }}', dest: out.conf}]}}
",
    );
    job.run(&["once"]).assert_code(2).assert_says(&[
        "liveconf.yaml:1:",
        "the variable `CREDENTIALS_DIRECTORY` is not set",
        "add `LoadCredential=NAME:FILE`",
    ]);
    let mut command = job.command(&["once", "--timeout", "300ms"]);
    command.env("CREDENTIALS_DIRECTORY", job.folder().root());
    run_to_end(command).assert_code(3).assert_says(&["add `LoadCredential=consul-token:FILE`"]);
    // With the credential it is the registry that is away.
    job.write("consul-token", "hunter2");
    let mut command = job.command(&["once", "--timeout", "300ms"]);
    command.env("CREDENTIALS_DIRECTORY", job.folder().root());
    let output = run_to_end(command);
    output.assert_code(3);
    assert!(!output.stderr.contains("LoadCredential") && !output.stderr.contains("hunter2"), "{}", output.stderr);
}

/// A disk that never says that it has written: the thread that waits for it is the only one that stands still.
#[test]
fn a_write_that_hangs_starves_the_watchdog() {
    const LIMIT: Duration = Duration::from_secs(2);
    let manager = Manager::at_path();
    let job = job("", "");
    let mut command = command(&job, &manager);
    command.env("WATCHDOG_USEC", LIMIT.as_micros().to_string());
    let mut daemon = start(command);
    manager.wait_for(1, "READY=1");
    job.wait_for("out.conf", "hunter2");
    let hold = Some(("fsync", Duration::from_secs(600)));
    let strace = Strace::attach(daemon.id(), job.folder().path("calls"), hold);
    // Traced alone, it lives.
    let fed = manager.with("WATCHDOG=1").len();
    manager.wait_for(fed + 2, "WATCHDOG=1");

    let hung = Instant::now();
    job.write("registry.yaml", "x: B\n");
    daemon.wait_for_log("no progress, so the watchdog is not fed: target `web`");
    sleep(LIMIT);
    assert!(manager.longest_silence(hung) > LIMIT, "{:#?}", manager.messages());
    assert_eq!(job.read("out.conf").as_deref(), Some("hunter2"));

    // The disk is back.
    strace.end();
    job.wait_for("out.conf", "B");
    daemon.wait_for_log("every loop makes progress again");
    let fed = manager.with("WATCHDOG=1").len();
    manager.wait_for(fed + 1, "WATCHDOG=1");
    daemon.stop();
}
