//! liveconf, its program, or both, killed and started again at random: the program always ends with the newest files.

use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::Rng;

use super::nginx::Web;
use super::wait_until_well;
use crate::support::seed;

/// How many times something is killed: a handful, or as `LIVECONF_FAULTS=full` asks for.
fn rounds() -> usize {
    if std::env::var("LIVECONF_FAULTS").is_ok_and(|run| run == "full") { 100 } else { 5 }
}

#[test]
fn whatever_is_killed_the_newest_configuration_is_served() {
    let mut random = seed::random("whatever_is_killed");
    let web = Web::new("kill_timeout: 2s", "reload: {signal: HUP}\n    confirm: {nginx: {}}");
    let mut daemon = web.start();
    web.serves("one");
    for round in 0..rounds() {
        let newest = format!("value {round}");
        let a_moment = |random: &mut rand::rngs::StdRng| sleep(Duration::from_millis(random.random_range(0..300)));
        a_moment(&mut random);
        // Before, or after what is killed.
        let is_first = random.random::<bool>();
        if is_first {
            web.set(&newest);
            a_moment(&mut random);
        }
        let what = random.random_range(0..4);
        if what != 0 {
            // The newest master that there is, as it wrote itself down.
            let master = web.job.read("nginx.pid").and_then(|pid| pid.trim().parse().ok());
            let is_nginx = |pid: &i32| {
                std::fs::read_to_string(format!("/proc/{pid}/cmdline"))
                    .is_ok_and(|title| title.contains("nginx: master"))
            };
            if let Some(master) = master.filter(is_nginx) {
                let _ = kill(Pid::from_raw(master), Signal::SIGKILL);
            }
        }
        if what != 1 {
            if what == 3 {
                daemon.signal(Signal::SIGTERM);
                daemon.wait(Duration::from_secs(30));
            } else {
                daemon.kill();
            }
            if !is_first {
                web.set(&newest);
            }
            a_moment(&mut random);
            daemon = web.start();
        }
        if !is_first {
            web.set(&newest);
        }
        println!("round {round}: killed {what}, the change came first: {is_first}");
        web.serves(&newest);
    }
    wait_until_well(&web.job);
    assert!(daemon.is_running());
    daemon.stop();
}
