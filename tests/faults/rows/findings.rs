//! Four faults that other programs of this kind fail at, by the names that they are known by.

use std::fs;

use super::consul_away::K1;
use super::consul_cluster::never_part_of_the_keys;
use crate::alone::{Namespace, is_alone, run};
use crate::scene::{FILE, Scene};
use crate::support::consul::Consul;
use crate::support::etcd::Etcd;
use crate::support::etcd_client::put;
use crate::support::liveconf::{Job, Output};

/// A reload fails, also when liveconf is killed before it could be tried again: it is made later, though nothing changes any
/// more.
#[test]
fn reload_lost_after_a_failure() {
    let consul = Consul::start();
    let client = consul.client();
    client.put("a", "1");
    let job = Job::new(&format!(
        "registries: {{main: {{consul: {}}}}}
targets:
  program:
    templates: [{{content: \"{{{{ key(path='a') }}}}\", dest: app.conf}}]
    reload: {{command: [sh, reload]}}
    wait: 0
    reload_interval: 0
",
        consul.section()
    ))
    .with("reload", "echo >> tries; test ! -e broken && cp app.conf .served && mv .served served");
    let daemon = job.start(&["run"]);
    job.wait_for("served", "1");
    let breaks = |generation: &str, tries: usize| {
        let before = job.read("tries").unwrap().lines().count();
        job.write("broken", "");
        client.put("a", generation);
        job.wait_for_lines("tries", before + tries);
        assert_eq!(job.read("app.conf").as_deref(), Some(generation));
        assert_ne!(job.read("served").as_deref(), Some(generation));
    };
    let mend = || fs::remove_file(job.folder().path("broken")).unwrap();
    // It is tried again, and fails again.
    breaks("2", 2);
    mend();
    job.wait_for_within(K1, "served", "2");
    breaks("3", 1);
    daemon.kill();
    mend();
    let daemon = job.start(&["run"]);
    job.wait_for_within(K1, "served", "3");
    daemon.stop();
}

/// etcd is restored from a backup with the same flags under a watch that is beyond it: what the backup holds is served, and what
/// is written later, before the old revision is reached again.
#[test]
fn stall_after_an_etcd_restore() {
    let mut etcd = Etcd::start();
    let write = |etcd: &Etcd, generation| {
        let keys = Scene::generation(generation).map(|(key, value)| put(&key, value)).collect();
        etcd.client().txn(keys)
    };
    write(&etcd, 1);
    let backup = etcd.snapshot();
    let mut newest = 0;
    for _ in 0..20 {
        newest = write(&etcd, 2);
    }
    let scene = Scene::new(&format!("etcd: {}", etcd.section_with("prefix: ''")), "");
    let daemon = scene.start();
    scene.wait_for(2);
    etcd.restore(&backup);
    scene.wait_for_within(K1, 1);
    for generation in 3..6 {
        let revision = write(&etcd, generation);
        assert!(revision < newest, "{revision} is beyond {newest}");
        scene.wait_for_within(K1, generation);
    }
    daemon.stop();
}

/// All Consul servers are killed and started again: no file holds part of the keys. The check is that of row 8.
#[test]
fn partial_kv_after_a_consul_restart() {
    never_part_of_the_keys().unwrap();
}

/// A file that is mounted alone, so that it has to be written in place, does not fit on its disk: the old content is there again,
/// `once` fails and says why, and the process is not told.
#[test]
fn success_reported_for_a_failed_write() {
    if !is_alone(&[Namespace::Mount]) {
        return;
    }
    let job = Job::new(&format!(
        "registries: {{local: {{file: {{path: registry.yaml}}}}}}
targets:
  program:
    templates: [{{content: '{{{{ key(path=\"a\") }}}}', dest: {FILE}, in_place: true}}]
    reload: {{shell: 'echo >> reloads'}}
"
    ));
    let folder = job.folder();
    for name in ["disk", "out"] {
        fs::create_dir(folder.path(name)).unwrap();
    }
    let path = |name: &str| folder.path(name).to_str().unwrap().to_owned();
    run("mount", &["-t", "tmpfs", "-o", "size=64k", "none", &path("disk")]);
    fs::write(folder.path("disk/app.conf"), "").unwrap();
    fs::write(folder.path(FILE), "").unwrap();
    run("mount", &["--bind", &path("disk/app.conf"), &path(FILE)]);
    let once = |value: &str| -> Output {
        job.write("registry.yaml", format!("a: '{value}'\n"));
        job.run(&["once", "--timeout", "5s"])
    };
    once("old").assert_code(0);
    assert_eq!((job.read(FILE).as_deref(), reloads(&job)), (Some("old"), 1));
    once(&"new ".repeat(50_000)).assert_code(1).assert_says(&["No space left on device"]);
    assert_eq!((job.read(FILE).as_deref(), reloads(&job)), (Some("old"), 1));
    once("newer").assert_code(0);
    assert_eq!((job.read(FILE).as_deref(), reloads(&job)), (Some("newer"), 2));
}

fn reloads(job: &Job) -> usize {
    job.read("reloads").unwrap_or_default().lines().count()
}
