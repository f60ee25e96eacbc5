//! Reload commands that misbehave.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::pace;
use crate::support::liveconf::{Daemon, Job};
use crate::support::{SOON, poll_until};

/// What a command is given before it is asked to end.
fn limit() -> Duration {
    Duration::from_millis(pace::either(500, 30_000))
}

/// What it is given to end, and what its output is still read for after that.
const MERCY: Duration = Duration::from_secs(6);

/// A target whose reload is this script (in which `$$` is a dollar) until there is a file `behave`, and another target that has nothing to do with it.
fn job(script: &str) -> Job {
    let script = script.replace('\n', "\n        ");
    Job::new(&format!(
        "registries: {{local: {{file: {{path: registry/registry.yaml}}}}}}
targets:
  program:
    templates: [{{content: '{{{{ key(path=\"x\") }}}}', dest: app.conf}}]
    reload:
      shell: |
        if [ -e behave ]; then cp app.conf served; exit; fi
        echo $$$$ >> pids
        {script}
      timeout: {}ms
    wait: 0
    reload_interval: 0
    retry: 20ms..100ms
  other:
    templates: [{{content: '{{{{ key(path=\"y\") }}}}', dest: other.conf}}]
    wait: 0
    reload_interval: 0
",
        limit().as_millis()
    ))
    .with("registry/registry.yaml", "x: 1\ny: 1\n")
}

/// A number that `/proc/PID/status` has.
fn status(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches(':').split_whitespace().next().unwrap().parse().unwrap()
}

fn is_alive(pid: &str) -> bool {
    // What waits to be reaped has ended.
    let stat = fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, fields)| !fields.starts_with('Z'))
}

/// Starts liveconf on such a script; while it hangs the other target goes on. Lets it behave after the first failure, and
/// gives the time from the beginning of the first command to the end of the second, and what is left of all of them.
fn goes_on(job: &Job, daemon: &mut Daemon) -> Duration {
    job.wait_for_lines("pids", 1);
    let begun = Instant::now();
    job.wait_for("other.conf", "1");
    // A change of the other one comes and is shown while one and the same command hangs.
    let goes_on_meanwhile = |number: u32| {
        let hanging = job.read("pids").unwrap().lines().last().unwrap().to_owned();
        let hung = is_alive(&hanging);
        job.write("registry/registry.yaml", format!("x: 1\ny: {number}\n"));
        job.wait_for("other.conf", &number.to_string());
        hung && is_alive(&hanging)
    };
    assert!((2..20).any(goes_on_meanwhile), "it waits for the command");
    job.write("behave", "");
    job.wait_for_within(limit() + MERCY + Duration::from_secs(10), "served", "1");
    let free = begun.elapsed();
    let told = daemon.logged("reload failed");
    assert!(told.len() == 1 && told[0].contains("took longer than"), "{told:#?}");
    // A change that comes later finds everything as it should be.
    job.write("registry/registry.yaml", "x: 2\ny: 1\n");
    job.wait_for("served", "2");
    assert!(daemon.is_running());
    free
}

/// Fails unless all that the script wrote the number of into `pids` has ended.
fn assert_no_orphans(job: &Job) {
    let pids = job.read("pids").unwrap();
    assert!(pids.split_whitespace().all(|pid| pid.parse::<u32>().is_ok()), "{pids}");
    poll_until(SOON, || match pids.split_whitespace().find(|pid| is_alive(pid)) {
        Some(pid) => Err(format!("process {pid} is still there")),
        None => Ok(()),
    });
}

/// A reload command hung, with a child in the background: both were ended, other targets went on meanwhile, and the reload was made.
#[test]
fn row_42_reload_command_hangs() {
    let job = job("sleep 6000 & echo $! >> pids\nwait");
    let mut daemon = job.start(&["run"]);
    let free = goes_on(&job, &mut daemon);
    assert!(free < limit() + MERCY, "{free:?}");
    assert_no_orphans(&job);
    daemon.stop();
}

/// A reload command hung and ignored being asked to end: it was killed five seconds later, with its children.
#[test]
fn row_42_reload_command_does_not_listen() {
    let job = job("trap '' TERM\nsh -c 'while :; do sleep 1; done' & echo $! >> pids\nwhile :; do sleep 1; done");
    let mut daemon = job.start(&["run"]);
    let free = goes_on(&job, &mut daemon);
    println!("free after {free:?}");
    assert!(free > limit() + Duration::from_secs(5) && free < limit() + MERCY + Duration::from_secs(3), "{free:?}");
    assert_no_orphans(&job);
    daemon.stop();
}

/// A reload command hung and left a process of another session behind: that process was named in the log and left alone.
#[test]
fn row_42_reload_command_leaves_its_session() {
    let job = job(
        "setsid sh -c 'echo $$$$ > stray; exec sleep 6000' &\nwhile ! [ -s stray ]; do sleep 0.01; done\nsleep 6000",
    );
    let mut daemon = job.start(&["run"]);
    goes_on(&job, &mut daemon);
    let stray = job.read("stray").unwrap();
    let stray = stray.trim();
    let told = daemon.wait_for_log("of another session");
    assert!(told.contains(&format!("pid={stray} ")), "not {stray}: {told}");
    assert!(is_alive(stray));
    kill(Pid::from_raw(stray.parse().unwrap()), Signal::SIGKILL).unwrap();
    assert_no_orphans(&job);
    daemon.stop();
}

/// A reload command wrote a flood: it was read to its end, little of it was kept or logged, and memory did not grow.
#[test]
fn row_42_reload_command_floods() {
    let flood: u64 = pace::either(200 << 20, 1 << 30);
    let job = job(&format!("yes 0123456789abcdef | head -c {flood}; echo done >> floods; exit 1"));
    let config = job.read("liveconf.yaml").unwrap().replace("timeout: 500ms", "timeout: 60s");
    job.write("liveconf.yaml", config);
    let mut daemon = job.start(&["run", "--log-level", "debug"]);
    poll_until(Duration::from_secs(120), || match job.read("floods") {
        Some(_) => Ok(()),
        None => Err("the flood is not over".to_owned()),
    });
    job.write("behave", "");
    job.wait_for("served", "1");
    let told = daemon.logged("reload failed");
    assert!(told.len() == 1 && told[0].contains("exited with 1"), "{told:#?}");
    let logged: usize = daemon.log().iter().map(String::len).sum();
    let peak = status(daemon.id(), "VmHWM");
    println!("{logged} bytes of log, at most {peak} KiB of memory");
    assert!(logged < 64 << 10, "{logged} bytes");
    assert!(peak < 64 << 10, "{peak} KiB");
    assert!(daemon.is_running());
    daemon.stop();
}
