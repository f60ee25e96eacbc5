//! Time that jumps, and time that liveconf misses.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::{K1, begin, scene_at, write};
use crate::pace;
use crate::scene::Scene;
use crate::strain::{self, Strain};
use crate::support::etcd::Etcd;
use crate::support::liveconf::{Daemon, start};
use crate::support::poll_until;
use crate::support::process::find;
use crate::support::proxy::{End, Proxy};

/// The time of day of one program.
struct Clock {
    file: File,
}

impl Clock {
    /// Starts the program under test with a time of day that can be set. No setting of the machine's own clock is
    /// needed, which would reach everybody.
    fn start(scene: &Scene) -> (Self, Daemon) {
        let folder = scene.job.folder();
        let library = folder.path("clock.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/clock.c");
        let mut compiler = Command::new(find("cc"));
        compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&library).arg(source);
        assert!(compiler.status().unwrap().success());
        let path = folder.path("clock");
        fs::write(&path, [0; 16]).unwrap();
        let mut command = scene.job.command(&["run"]);
        command.env("LD_PRELOAD", library).env("LIVECONF_TEST_CLOCK", &path);
        (Self { file: File::options().read(true).write(true).open(path).unwrap() }, start(command))
    }

    /// It is so many seconds later, or earlier, than on the machine from now on.
    fn set(&self, seconds: i64) {
        self.file.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }

    /// How often the program was told a time that is not the machine's.
    fn told(&self) -> i64 {
        let mut number = [0; 8];
        self.file.read_exact_at(&mut number, 8).unwrap();
        i64::from_ne_bytes(number)
    }
}

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// The time of day jumps by a day and by 30 years, forth and back: what is written then is there as soon as ever, on the
/// connections that there were, and nothing is done more often.
#[test]
fn row_32_the_time_of_day_jumps() {
    let etcd = Etcd::start();
    let client = etcd.client();
    let proxy = Proxy::start(etcd.port_of(0));
    let scene = scene_at(&[proxy.endpoint()]);
    write(&client, 1);
    let (clock, daemon) = Clock::start(&scene);
    scene.wait_for(1);
    let strain = Strain::begin(&daemon);
    for (number, jump) in (2..).zip([DAY, -DAY, 30 * YEAR, -30 * YEAR, 0]) {
        let (told, before) = (clock.told(), etcd.calls(0, "Range"));
        clock.set(jump);
        write(&client, number);
        scene.wait_for_within(Duration::from_secs(5), number);
        // Long enough for what would happen too often.
        thread::sleep(pace::either(Duration::from_secs(2), Duration::from_secs(120)));
        let (told, reads) = (clock.told() - told, etcd.calls(0, "Range") - before);
        println!("{jump} s: told so {told} times, {reads} reads; {}", daemon.log().last().unwrap());
        assert!(told > 0 || jump == 0, "it never looked at the clock");
        // An audit each second, of one range, and a full reading now and then.
        assert!(reads <= pace::either(10, 10), "{reads} reads");
    }
    assert_eq!(proxy.counts().connections, 2, "connected anew");
    strain.assert_light(&daemon);
    daemon.stop();
}

/// As after a suspend of an hour, which no test can do to the machine: liveconf has stood still, the time of day has moved
/// on, the connections are gone, and etcd has moved on. Within 15 s all is well, with few new connections.
#[test]
fn row_32_the_machine_sleeps_for_an_hour() {
    let etcd = Etcd::start();
    let client = etcd.client();
    let proxy = Proxy::start(etcd.port_of(0));
    let scene = scene_at(&[proxy.endpoint()]);
    write(&client, 1);
    let (clock, mut daemon) = Clock::start(&scene);
    scene.wait_for(1);
    let reader = scene.forward_reader();
    stop(&mut daemon);
    proxy.cut(End::Reset);
    clock.set(HOUR);
    (2..=10).for_each(|number| write(&client, number));
    let strain = Strain::begin(&daemon);
    let connections = proxy.counts().connections;
    daemon.signal(Signal::SIGCONT);
    scene.wait_for_within(K1, 10);
    let more = proxy.counts().connections - connections;
    assert!(more <= 4, "{more} new connections");
    assert!(clock.told() > 0, "it never looked at the clock");
    strain.assert_few_lines(&daemon);
    reader.stop().assert_always_whole();
    daemon.stop();
}

/// liveconf stands still for a while (10 minutes in the full run) in which etcd moves on and forgets: 15 s after it goes on
/// all is well, and the first that it shows is the newest.
#[test]
fn row_46_liveconf_stands_still() {
    let etcd = Etcd::start();
    let client = etcd.client();
    let scene = scene_at(&etcd.endpoints());
    let mut daemon = begin(&scene, &client);
    let reader = scene.forward_reader();
    stop(&mut daemon);
    let asleep = std::time::Instant::now();
    let last = 200;
    (2..=last).for_each(|number| write(&client, number));
    let revision = client.put("unrelated", "x");
    client.compact(revision);
    thread::sleep(pace::either(Duration::from_secs(8), Duration::from_secs(600)).saturating_sub(asleep.elapsed()));
    assert_eq!(scene.shown(), Some(1), "it did not stand still");
    let strain = Strain::begin(&daemon);
    daemon.signal(Signal::SIGCONT);
    scene.wait_for_within(K1, last);
    let seen = reader.stop();
    seen.assert_always_whole();
    assert_eq!(seen.versions, 2, "old states were rendered after it woke: {seen:?}");
    strain.assert_few_lines(&daemon);
    daemon.stop();
}

/// Stops the program, and waits until it does.
fn stop(daemon: &mut Daemon) {
    daemon.signal(Signal::SIGSTOP);
    let process = daemon.id();
    poll_until(Duration::from_secs(5), || match strain::state(process) {
        'T' => Ok(()),
        state => Err(format!("liveconf is in state {state}")),
    });
}
