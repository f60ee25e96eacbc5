//! Consul: a key and the health of one of many services, from the change to the file; and what following costs when
//! nothing changes.
//!
//! liveconf and the [floor] have a Consul each, with the same data in it: what one of them makes Consul do, such as
//! answering a scout with all checks there are, is not to be in the times of the other. Where there are more services
//! than `max_connections`, a third is for the same program without that bound: it has a long poll for each service, as
//! programs do that know no other way.

mod catalog;
pub(crate) mod floor;
mod rest;
mod server;
mod wire;

use std::cell::Cell;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::race::{self, Change, Lane, Pair, Target};
use crate::report::Report;
use crate::sight::Sight;
use crate::stage::{Running, Stage};
use catalog::{Catalog, line, line_of_extra, name};
use rest::Resting;
use server::Server;

/// How many services are followed.
const SERVICES: [usize; 4] = [1, 100, 300, 2000];
/// Milliseconds between two changes. There are at least four lanes, so each sees one every quarter of a second.
const PAUSE: Range<u64> = 60..120;
/// How much longer than the floor it may take at the median where each read has a long poll of its own.
const RATIO: Target = Target::Ratio(1.5);
/// How many milliseconds any change may take where there are too many services for that.
const SWEPT: Target = Target::Within(2000.0);
/// The default of `max_connections`.
const CONNECTIONS: usize = 128;
/// What Consul allows an address by default.
const ALLOWED: usize = 200;
/// Reads of a follower that are not about one of the services, and some more.
const SPARE: usize = 20;

const KEY: &str = "bench/key";

const TARGETS: &str = r#"
targets:
  services:
    templates:
      - dest: out/services
        content: |
          {% for service in services() %}
          {% for instance in service(name=service.name) %}
          {{ instance.name }} {{ instance.endpoint }}
          {% endfor %}
          {% endfor %}
  key:
    templates: [{dest: out/key, content: '{{ key(path="bench/key") }}'}]
"#;

/// A liveconf and the Consul that it follows.
struct Follower {
    consul: Server,
    running: Running,
    /// From the start of the process to the file of all services, in milliseconds.
    start: f64,
}

impl Follower {
    /// Starts it, and waits for its files.
    fn start(stage: &Stage, name: &str, consul: Server, max_connections: usize) -> Self {
        let registry = format!("consul: {}", consul.section(&format!("max_connections: {max_connections}")));
        let sight = Sight::on(&[&stage.room(name).join("out")]);
        let begun = Instant::now();
        let running = stage.liveconf_on(&registry, name, TARGETS);
        let written = sight.of(&running.out.join("services"), &line(0));
        let start = written.duration_since(begun).as_secs_f64() * 1e3;
        let mut follower = Self { consul, running, start };
        follower.running.daemon.wait_for_log("out/key");
        follower
    }

    fn services(&self) -> PathBuf {
        self.running.out.join("services")
    }
}

/// Measures all numbers of services, one after the other, and then all at rest at the same time.
pub(crate) fn measure(stage: &Stage, report: &mut Report, samples: usize) {
    // Whoever polls each of 2,000 services needs as many descriptors, and so does their Consul.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    let samples = (samples / 5).max(1);
    report.note(format!("Consul: the 99th percentile is one of {samples} samples"));
    let mut resting = Vec::new();
    for services in SERVICES {
        resting.extend(measure_one(stage, report, samples, Catalog { services }));
    }
    rest::measure(report, &resting);
}

/// Measures one number of services; gives the followers, which go on.
fn measure_one(stage: &Stage, report: &mut Report, samples: usize, catalog: Catalog) -> Vec<Resting> {
    let services = catalog.services;
    let is_swept = services + SPARE > CONNECTIONS;
    let (consul, twin, third) = thread::scope(|scope| {
        let start = |most| scope.spawn(move || filled(catalog, most));
        let (consul, twin) = (start(ALLOWED), start(ALLOWED));
        let third = is_swept.then(|| start(services + 2 * SPARE));
        (consul.join().unwrap(), twin.join().unwrap(), third.map(|third| third.join().unwrap()))
    });
    let live = Follower::start(stage, &format!("consul-{services}"), consul, CONNECTIONS);
    let unbounded = third.map(|consul| {
        let name = format!("consul-{services}-unbounded");
        Follower::start(stage, &name, consul, services + SPARE)
    });
    let floor = |what: &str, target: &str, body: &[u8]| {
        let arguments = ["floor-consul", &twin.port().to_string(), target];
        stage.floor_on(&arguments, &format!("consul-{services}-floor-{what}"), body)
    };
    let of_key = floor("key", &format!("kv/{KEY}?"), b"");
    let of_services =
        floor("services", &format!("health/service/{}?passing&", name(0)), &fs::read(live.services()).unwrap());

    let changed = move |number| (catalog.changed(number), number % 2 == 1);
    // Two lanes take turns with it.
    let passing = Cell::new(true);
    let toggled = |_| {
        passing.set(!passing.get());
        (0, passing.get())
    };
    let (key_file, floor_file) = (of_key.out.join("file"), of_services.out.join("file"));
    let health_of_floor = || health(catalog, &twin, &floor_file, "floor ", toggled);
    let mut pairs = vec![
        Pair { liveconf: key(&live.consul, &live.running.out.join("key")), floor: key(&twin, &key_file) },
        Pair { liveconf: health(catalog, &live.consul, &live.services(), "", changed), floor: health_of_floor() },
    ];
    let mut rows = vec![("key", RATIO), ("health", if is_swept { SWEPT } else { RATIO })];
    let mut seen = vec![&live.running.out, &of_key.out, &of_services.out];
    if let Some(unbounded) = &unbounded {
        // Far from the service whose health has just changed.
        let other = move |number| (catalog.changed(number) + services / 2) % services;
        pairs.push(Pair {
            liveconf: extra(catalog, &live.consul, &live.services(), "", other),
            floor: extra(catalog, &twin, &floor_file, "floor ", |_| 0),
        });
        rows.push(("registration", SWEPT));
        pairs.push(Pair {
            liveconf: health(catalog, &unbounded.consul, &unbounded.services(), "", changed),
            floor: health_of_floor(),
        });
        rows.push(("health, a poll each", RATIO));
        seen.push(&unbounded.running.out);
    }
    let seen: Vec<&Path> = seen.into_iter().map(PathBuf::as_path).collect();
    let all = race::run(&Sight::on(&seen), samples, &PAUSE, &pairs);
    for (times, (what, target)) in all.iter().zip(rows) {
        let what = format!("{what}, {}", catalog.size());
        times.report(report, &format!("consul {what}").replace(',', ""), &format!("Consul: {what}"), Some(target));
    }
    drop(pairs);
    let bounded = Resting { follower: live, catalog, most_connections: Some(CONNECTIONS) };
    let unbounded = unbounded.map(|follower| Resting { follower, catalog, most_connections: None });
    [Some(bounded), unbounded].into_iter().flatten().collect()
}

/// A Consul that holds it all.
fn filled(catalog: Catalog, most_connections: usize) -> Server {
    let consul = Server::start(most_connections);
    consul.put(&format!("kv/{KEY}"), b"begin");
    catalog.fill(&consul);
    consul
}

/// Changes of the key to values of 1 KiB.
fn key<'a>(consul: &'a Server, file: &Path) -> Lane<'a> {
    let file = file.to_owned();
    Box::new(move |number| {
        let marker = format!("change {number:06}\n");
        let value = marker.clone() + &"x".repeat(1024 - marker.len());
        let send = Box::new(move || consul.put(&format!("kv/{KEY}"), value.as_bytes()));
        Change { send, file: file.clone(), marker, present: true }
    })
}

/// An instance of a service fails, or passes again: `next` tells which service, and whether it passes. `start` is what
/// its line begins with.
fn health<'a>(
    catalog: Catalog,
    consul: &'a Server,
    file: &Path,
    start: &'static str,
    next: impl Fn(usize) -> (usize, bool) + 'a,
) -> Lane<'a> {
    let file = file.to_owned();
    Box::new(move |number| {
        let (service, passing) = next(number);
        let send = Box::new(move || catalog.set_health(consul, service, passing));
        Change { send, file: file.clone(), marker: format!("{start}{}", line(service)), present: passing }
    })
}

/// An instance is registered, and with the next change deregistered.
fn extra<'a>(
    catalog: Catalog,
    consul: &'a Server,
    file: &Path,
    start: &'static str,
    service: impl Fn(usize) -> usize + 'a,
) -> Lane<'a> {
    let file = file.to_owned();
    Box::new(move |number| {
        let (service, present) = (service(number), number % 2 == 0);
        let send = Box::new(move || catalog.set_extra(consul, service, present));
        Change { send, file: file.clone(), marker: format!("{start}{}", line_of_extra(service)), present }
    })
}
