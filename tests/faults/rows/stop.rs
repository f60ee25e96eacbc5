//! Stops in the middle of something.

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::pace;
use crate::scene::Scene;
use crate::support::liveconf::{Daemon, run_to_end};
use crate::support::{SOON, poll_until};

/// Starts liveconf. Before it listens for signals it has touched nothing, and SIGTERM ends it as it ends any program.
fn started(scene: &Scene) -> Daemon {
    let mut daemon = scene.start();
    daemon.wait_for_log("state in");
    daemon
}

/// SIGTERM came at random moments of an apply: every end was in order and within 10 s, files stayed whole and alone, and the next start finished.
#[test]
fn row_47_stopped_at_random_moments_of_an_apply() {
    // A check and a reload that take a while, so that stops fall into all of it.
    let scene = Scene::with_file("    check: {shell: 'sleep 0.02; test -s {staged}'}\n");
    let daemon = scene.start();
    scene.wait_for(1);
    daemon.stop();
    let reader = scene.reader();
    let (mut generation, mut unfinished, mut between) = (1, 0, 0);
    for seed in pace::seeds() {
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        for _ in 0..pace::either(25, 200) {
            let mut daemon = started(&scene);
            scene.wait_for(generation);
            generation += 1;
            scene.change(generation);
            thread::sleep(Duration::from_micros(random.random_range(0..80_000)));
            let before = (scene.shown(), scene.served());
            daemon.signal(Signal::SIGTERM);
            let asked = Instant::now();
            assert_eq!(daemon.wait(Duration::from_secs(10)), 0, "{:#?}", daemon.log());
            assert!(asked.elapsed() < Duration::from_secs(10));
            unfinished += u32::from(before != (Some(generation), Some(generation)));
            between += u32::from(scene.shown() != Some(generation));
            scene.assert_nothing_left();
        }
    }
    let daemon = started(&scene);
    scene.wait_for_within(Duration::from_secs(5), generation);
    daemon.stop();
    println!("{unfinished} stops during an apply, {between} of them undid it");
    assert!(unfinished > 5 && between > 0, "{unfinished} {between}");
    reader.stop().assert_always_whole();
}

/// SIGTERM came while a reload command hung: the end came within 10 s, and the reload was made at the next start.
#[test]
fn row_47_stopped_while_a_reload_hangs() {
    let scene = Scene::with_file("");
    let config = scene.job.read("liveconf.yaml").unwrap();
    let hangs = "reload: {shell: 'echo >> begun; sleep 1000'}";
    scene.job.write("liveconf.yaml", config.replace("reload: {signal: HUP, pid_file: program.pid}", hangs));
    let mut daemon = scene.start();
    scene.job.wait_for_lines("begun", 1);
    let asked = Instant::now();
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait(Duration::from_secs(10)), 0);
    assert!(asked.elapsed() > Duration::from_secs(7), "the reload had its grace: {:?}", asked.elapsed());
    scene.job.write("liveconf.yaml", config);
    let daemon = scene.start();
    scene.wait_for_within(Duration::from_secs(5), 1);
    daemon.stop();
}

/// A second liveconf was started on the same state folder, and on the same destination: it ended within a second, named the first, and the first went on.
#[test]
fn row_48_two_on_the_same_state_or_destination() {
    let scene = Scene::with_file("");
    let daemon = scene.start();
    scene.wait_for(1);
    let reader = scene.reader();
    let config = scene.job.read("liveconf.yaml").unwrap();
    // The same destination with a state of its own; the same state with another destination.
    scene.job.write("same-destination.yaml", &config);
    scene.job.write("same-state.yaml", config.replace("out/app.conf", "out/other.conf"));
    let state = scene.job.folder().path("other-state");
    for (file, own_state, says) in
        [("same-destination.yaml", true, "is written by another"), ("same-state.yaml", false, "state folder")]
    {
        for command in ["run", "once"] {
            let mut second = scene.job.command(&["--config", file, command]);
            if own_state {
                second.env("LIVECONF_STATE_DIR", &state);
            }
            let begun = Instant::now();
            let ended = run_to_end(second);
            let took = begun.elapsed();
            ended.assert_code(1).assert_says(&[says, &format!("pid {}", daemon.id())]);
            assert!(took < Duration::from_secs(1), "{file} {command}: {took:?}");
        }
    }
    // Started at the same moment, one of two works.
    daemon.stop();
    let mut both = [scene.start(), scene.start()];
    scene.change(2);
    scene.wait_for(2);
    poll_until(SOON, || match both.iter_mut().map(Daemon::is_running).filter(|runs| !runs).count() {
        1 => Ok(()),
        ended => Err(format!("{ended} of two have ended")),
    });
    reader.stop().assert_always_whole();
    assert!(!scene.job.folder().names("out").contains(&"other.conf".to_owned()));
    drop(both);
}
