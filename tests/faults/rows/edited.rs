//! Configuration and templates that somebody breaks while liveconf runs.

use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::pace;
use crate::support::{SOON, poll_until};
use crate::web::{Kind, Web};

/// Text into which garbage was put at a random place, or which ends at one.
fn broken(text: &str, random: &mut StdRng) -> Vec<u8> {
    let at = random.random_range(1..text.len());
    let at = (at..text.len()).find(|at| text.is_char_boundary(*at)).unwrap();
    let (head, tail) = text.split_at(at);
    match random.random_range(0..3) {
        0 => [head.as_bytes(), b"\n{% [ \x00 \t}\n", tail.as_bytes()].concat(),
        1 => [head.as_bytes(), &random.random::<[u8; 32]>().map(|byte| byte | 0x80)].concat(),
        _ => [b"{% [\n", text.as_bytes()].concat(),
    }
}

/// Configuration and template were edited to garbage, with SIGHUP, again and again under real nginx: all of it was reported, the old went on with the newest data, and no request failed.
#[test]
fn row_49_configuration_and_templates_edited_to_garbage() {
    let web = Web::start(Kind::Nginx, "");
    // The template in a file of its own.
    let config = web.job.read("liveconf.yaml").unwrap();
    let (before, rest) = config.split_once("content: |\n").unwrap();
    let (template, after) = rest.split_once("        dest:").unwrap();
    let template = template.replace("\n          ", "\n").trim_start().to_owned();
    let config = format!("{before}src: web.tera\n        dest:{after}");
    web.job.write("web.tera", &template);
    web.job.write("liveconf.yaml", &config);
    let mut daemon = web.job.start(&["run"]);
    daemon.wait_for_log("state in");
    let mut generation = 1;
    for seed in pace::seeds() {
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        for round in 0..pace::either(20, 200) {
            let (file, whole) = if round % 2 == 0 { ("liveconf.yaml", &config) } else { ("web.tera", &template) };
            let garbage = broken(whole, &mut random);
            let told = || daemon.logged("not loaded").len();
            let before = told();
            web.job.write(file, &garbage);
            if file == "liveconf.yaml" {
                daemon.signal(Signal::SIGHUP);
            }
            // Templates are read anew by themselves; of many faults in a minute some are told.
            let shown = || String::from_utf8_lossy(&garbage).into_owned();
            if file == "liveconf.yaml" {
                poll_until(SOON, || if daemon.logged("not loaded").len() > before { Ok(()) } else { Err(shown()) });
            }
            generation += 1;
            web.change(generation, "");
            poll_until(SOON, || match web.served().expect("no request is to fail") {
                served if served == generation => Ok(()),
                served => Err(format!("serves {served} with {}", shown())),
            });
            web.job.write(file, whole);
            if file == "liveconf.yaml" {
                let loaded = daemon.logged("loaded the new").len();
                daemon.signal(Signal::SIGHUP);
                poll_until(SOON, || {
                    if daemon.logged("loaded the new").len() > loaded { Ok(()) } else { Err("not loaded".to_owned()) }
                });
            }
        }
    }
    assert!(!daemon.logged("web.tera").is_empty(), "no broken template was told");
    assert!(daemon.is_running());
    generation += 1;
    web.change(generation, "");
    web.wait_for(generation);
    daemon.stop();
}
