//! What a change costs, measured on a real etcd and a real Consul against the least that the job can cost.
//!
//! ```sh
//! cargo bench --bench change_to_file
//! ```
//!
//! takes about twelve minutes, most of it pauses between changes; `-- change burst` runs only these parts, `-- consul`
//! those on Consul, in three minutes, `-- haproxy` those on HAProxy, in four; `--samples N` takes other than 200 samples,
//! `--raw FILE` keeps the raw samples elsewhere than in the target folder.
//!
//! The [floor] is a process of its own that watches etcd with the same gRPC library and writes the same bytes in the
//! same way (temporary file, fsync, rename, fsync of the folder), without a template, a check or a record. Both follow
//! keys of the same server at the same time, and changes of the one and the other alternate, so that what disturbs
//! the machine disturbs both. [On Consul](consul) it sends one blocking query again and again. [On HAProxy](haproxy) there is
//! no floor: the same change by a reload stands in its place.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a measurement may fail where it stands, and shows what it found"
)]

#[path = "../../tests/suite/support/mod.rs"]
#[expect(dead_code, unreachable_pub, reason = "made for the tests; a part of it is needed here")]
mod support;

mod burst;
mod change;
mod consul;
mod floor;
mod haproxy;
mod machine;
mod many;
mod memory;
mod once;
mod process;
mod race;
mod report;
mod servers;
mod sight;
mod stage;
mod targets;
mod traffic;

use std::env;
use std::path::PathBuf;

use machine::Machine;
use report::Report;
use stage::Stage;

/// Measures one part; the number is that of the samples where it takes samples.
type Measure = fn(&Stage, &mut Report, usize);

/// The parts, in the order in which they run.
const PARTS: &[(&str, Measure)] = &[
    ("change", change::measure),
    ("many", many::measure),
    ("servers", servers::measure),
    ("targets", targets::measure),
    ("memory", memory::measure),
    ("once", once::measure),
    ("burst", burst::measure),
    ("consul", consul::measure),
    ("haproxy", haproxy::measure),
];

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["floor", endpoint, prefix, folder, rest @ ..] => floor::run(endpoint, prefix, folder, rest.first().copied()),
        ["floor-consul", port, target, folder, body] => consul::floor::run(port, target, folder, body),
        ["run-once", program, rest @ ..] => once::run(program, rest),
        all if !all.contains(&"--bench") => println!("measures only under `cargo bench`"),
        _ => bench(arguments),
    }
}

fn bench(arguments: Vec<String>) {
    let (mut samples, mut raw, mut parts) = (200, None, Vec::new());
    let mut arguments = arguments.into_iter().filter(|argument| argument != "--bench");
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--samples" => samples = arguments.next().and_then(|number| number.parse().ok()).expect("a number"),
            "--raw" => raw = arguments.next().map(PathBuf::from),
            part if PARTS.iter().any(|(name, _)| *name == part) => parts.push(argument),
            other => {
                let names: Vec<_> = PARTS.iter().map(|(name, _)| *name).collect();
                panic!("`{other}` is no part; the parts are {}", names.join(", "));
            }
        }
    }
    let stage = Stage::new();
    let mut report = Report::new(raw.unwrap_or_else(Stage::default_raw));
    let machine = Machine::now();
    report.note(machine.describe(stage.folder()));
    for (name, measure) in PARTS {
        if parts.is_empty() || parts.iter().any(|part| part == name) {
            eprintln!("{name} ...");
            measure(&stage, &mut report, samples);
        }
    }
    report.doubt(machine.disturbances());
    report.print();
}
