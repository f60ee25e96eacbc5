//! `once` on a static file, from the start of the process to its end.

use std::env;
use std::fs;
use std::process::Command;
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};

use crate::report::{Report, Samples};
use crate::stage::Stage;

const RUNS: usize = 20;

/// Measures wall time and the most memory it had.
pub(crate) fn measure(stage: &Stage, report: &mut Report, _samples: usize) {
    let room = stage.room("once");
    let (mut times, mut peaks) = (Samples::default(), Samples::default());
    for number in 0..=RUNS {
        fs::write(room.join("registry.yaml"), format!("app: {{name: run {number}}}\n")).unwrap();
        fs::write(room.join("app.tera"), "name = {{ key(path=\"app/name\") }}\n").unwrap();
        let arguments = ["once", "--registry", "file:registry.yaml", "--template", "app.tera:out/app"];
        let liveconf = Stage::command(&room, &arguments);
        // A process for each run: the kernel tells the most memory of all children of a process together.
        let mut command = Command::new(env::current_exe().unwrap());
        command.arg("run-once").args(liveconf.get_args().skip_while(|argument| *argument != "--").skip(1));
        command.current_dir(&room).env_clear();
        for (name, value) in liveconf.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        let output = command.output().unwrap();
        let shown = fs::read_to_string(room.join("out/app")).unwrap_or_default();
        assert_eq!(shown, format!("name = run {number}\n"), "{}", String::from_utf8_lossy(&output.stderr));
        let told = String::from_utf8(output.stdout).unwrap();
        let [time, peak] = told.split_whitespace().map(|number| number.parse().unwrap()).collect::<Vec<f64>>()[..]
        else {
            panic!("not two numbers: {told}");
        };
        if number > 0 {
            times.push(time);
            peaks.push(peak / 1024.0);
        }
    }
    report.raw("once", "time", "ms", &times);
    report.raw("once", "peak memory", "MiB", &peaks);
    let [p50, p90, p99] = [50, 90, 99].map(|percent| times.percentile(percent));
    report.row("`once` on a static file", &format!("{p50:.1} / {p90:.1} / {p99:.1} ms"), "", "", None);
    report.row("peak memory of it", &format!("{:.1} MiB", peaks.percentile(50)), "", "", None);
}

/// Runs a program to its end and prints its milliseconds and its KiB.
pub(crate) fn run(program: &str, arguments: &[&str]) {
    let begun = Instant::now();
    let output = Command::new(program).args(arguments).output().unwrap();
    let took = begun.elapsed();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let peak = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss();
    println!("{} {peak}", took.as_secs_f64() * 1e3);
}
