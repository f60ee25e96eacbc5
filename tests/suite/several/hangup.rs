//! Registries that are added, removed, renamed and changed under a running daemon.

use std::time::Instant;

use nix::sys::signal::Signal;

use super::{config, hang_up, register};
use crate::support::consul::Consul;
use crate::support::etcd::Etcd;
use crate::support::liveconf::{Daemon, Job};
use crate::support::{SOON, poll_until};

const READS: &str = "etcd_debugging_mvcc_range_total";

fn etcd_as(name: &str, etcd: &Etcd) -> String {
    format!("{name}: {{etcd: {{endpoints: {}}}}}", etcd.endpoints_yaml())
}

fn file(name: &str, path: &str) -> String {
    format!("{name}: {{file: {{path: {path}}}}}")
}

/// The reads that etcd has served since it had served `before`, without those that look for lost events: two a minute.
fn reads_since(etcd: &Etcd, before: u64, since: Instant) -> u64 {
    (etcd.metric(0, READS) - before).saturating_sub(2 * (since.elapsed().as_secs() / 50))
}

/// Puts this configuration in the place of the old one and has it loaded.
#[track_caller]
fn reconfigure(job: &Job, daemon: &mut Daemon, registries: &[String], targets: &[&str]) {
    job.write("liveconf.yaml", config(registries, targets));
    hang_up(daemon);
}

#[test]
fn what_stays_as_it_was_is_not_read_again() {
    let (etcd, second, consul) = (Etcd::start(), Etcd::start(), Consul::start());
    let (client, catalog) = (etcd.client(), consul.client());
    client.put("/k", "1");
    second.client().put("/k", "other");
    register(&catalog, "web", 80);
    let main = etcd_as("main", &etcd);
    let site = file("site", "site.yaml");
    let job = Job::new(&config(std::slice::from_ref(&main), &["one"])).with("one.tera", "{{ key(path=\"k\") }}\n");
    let mut daemon = job.start(&["run"]);
    job.wait_for("one.conf", "1\n");

    // A second one of its kind, and others: now the template has to say which it asks.
    let (before, started) = (etcd.metric(0, READS), Instant::now());
    let all = [main.clone(), etcd_as("second", &second), format!("catalog: {{consul: {}}}", consul.section()), site];
    job.write("liveconf.yaml", config(&all, &["one", "two", "three"]));
    job.write("site.yaml", "k: site\n");
    job.write("two.tera", "{{ key(path=\"k\", registry=\"second\") }} {{ key(path=\"k\", registry=\"site\") }}\n");
    job.write("three.tera", "{{ service(name=\"web\", registry=\"catalog\") | map(attribute=\"port\") }}\n");
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_log("must say which registry it asks");
    client.put("/k", "2");
    job.wait_for("one.conf", "2\n");
    assert_eq!(job.read("two.conf"), None);

    job.write("one.tera", "{{ key(path=\"k\", registry=\"main\") }}\n");
    hang_up(&mut daemon);
    job.wait_for("two.conf", "other site\n");
    job.wait_for("three.conf", "[80]\n");
    client.put("/k", "3");
    job.wait_for("one.conf", "3\n");

    // And away again.
    job.write("one.tera", "{{ key(path=\"k\") }}\n");
    reconfigure(&job, &mut daemon, &[main], &["one"]);
    client.put("/k", "4");
    job.wait_for("one.conf", "4\n");
    second.client().put("/k", "unseen");
    register(&catalog, "web", 81);
    client.put("/k", "5");
    job.wait_for("one.conf", "5\n");
    assert_eq!(job.read("two.conf").as_deref(), Some("other site\n"));
    assert_eq!(job.read("three.conf").as_deref(), Some("[80]\n"));
    job.wait_for("one.reloads", "1\n2\n3\n4\n5\n");
    assert_eq!(reads_since(&etcd, before, started), 0, "it was read once, and then followed");
    daemon.stop();
}

#[test]
fn another_name_for_the_same_changes_nothing_else() {
    let etcd = Etcd::start();
    let client = etcd.client();
    client.put("/k", "1");
    let job = Job::new(&config(&[etcd_as("old", &etcd), file("site", "site.yaml")], &["one"]))
        .with("site.yaml", "k: site\n")
        .with("one.tera", "{{ key(path=\"k\", registry=\"old\") }} {{ key(path=\"k\", registry=\"site\") }}\n");
    let mut daemon = job.start(&["run"]);
    job.wait_for("one.conf", "1 site\n");
    assert_eq!(job.wait_for_lines("one.reloads", 1).len(), 1);

    // With templates that still say the old name it is refused, and all stays as it was.
    let renamed = [etcd_as("new", &etcd), file("site", "site.yaml")];
    job.write("liveconf.yaml", config(&renamed, &["one"]));
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_log("there is no registry `old`");
    client.put("/k", "2");
    job.wait_for("one.conf", "2 site\n");

    job.write("one.tera", "{{ key(path=\"k\", registry=\"new\") }} {{ key(path=\"k\", registry=\"site\") }}\n");
    reconfigure(&job, &mut daemon, &renamed, &["one"]);
    client.put("/k", "3");
    job.wait_for("one.conf", "3 site\n");
    job.write("site.yaml", "k: other\n");
    job.wait_for("one.conf", "3 other\n");
    job.wait_for("one.reloads", "1 site\n2 site\n3 site\n3 other\n");
    daemon.stop();
}

#[test]
fn another_registry_of_the_same_name_is_another_registry() {
    let (etcd, consul) = (Etcd::start(), Consul::start());
    etcd.client().put("/k", "etcd");
    consul.client().put("k", "consul");
    let site = file("site", "site.yaml");
    let sections = [
        file("main", "a.yaml"),
        file("main", "b.yaml"),
        format!("main: {{consul: {}}}", consul.section()),
        etcd_as("main", &etcd),
    ];
    let job = Job::new(&config(&[sections[0].clone(), site.clone()], &["one", "both"]))
        .with("a.yaml", "k: a\n")
        .with("b.yaml", "k: b\n")
        .with("site.yaml", "k: site\n")
        .with("one.tera", "{{ key(path=\"k\", registry=\"main\") }}\n")
        .with("both.tera", "{{ key(path=\"k\", registry=\"main\") }} {{ key(path=\"k\", registry=\"site\") }}\n");
    let mut daemon = job.start(&["run"]);
    job.wait_for("both.conf", "a site\n");
    for (section, value) in sections.iter().zip(["a", "b", "consul", "etcd"]).cycle().skip(1).take(8) {
        reconfigure(&job, &mut daemon, &[section.clone(), site.clone()], &["one", "both"]);
        job.wait_for("one.conf", &format!("{value}\n"));
        job.wait_for("both.conf", &format!("{value} site\n"));
    }
    // Each was taken once, in its turn: none came back from a registry that had gone.
    let turns = ["a", "b", "consul", "etcd", "a", "b", "consul", "etcd", "a"];
    assert_eq!(job.wait_for_lines("one.reloads", turns.len()), turns);
    assert_eq!(job.wait_for_lines("both.reloads", turns.len()), turns.map(|turn| format!("{turn} site")));
    // And what has gone is not followed.
    job.write("b.yaml", "k: unseen\n");
    consul.client().put("k", "unseen");
    job.write("a.yaml", "k: last\n");
    job.wait_for("both.conf", "last site\n");
    assert_eq!(job.wait_for_lines("one.reloads", turns.len() + 1)[turns.len()..], ["last"]);
    daemon.stop();
}

#[test]
fn no_update_is_lost_while_registries_come_and_go() {
    let (etcd, consul) = (Etcd::start(), Consul::start());
    let (client, catalog) = (etcd.client(), consul.client());
    client.put("/k", "0");
    catalog.put("k", "0");
    let always = [etcd_as("main", &etcd), format!("catalog: {{consul: {}}}", consul.section())];
    let now_and_then = [&always[..], &[file("extra", "extra.yaml")]].concat();
    let both = "{{ key(path=\"k\", registry=\"main\") }} {{ key(path=\"k\", registry=\"catalog\") }}\n";
    let job = Job::new(&config(&always, &["both"]))
        .with("both.tera", both)
        .with("extra.tera", "{{ key(path=\"k\", registry=\"extra\") }}\n")
        .with("extra.yaml", "k: 1\n");
    let mut daemon = job.start(&["run"]);
    job.wait_for("both.conf", "0 0\n");
    let (before, started) = (etcd.metric(0, READS), Instant::now());
    for number in 1..=20_u32 {
        let (registries, targets) =
            if number % 2 == 0 { (&always[..], &["both"][..]) } else { (&now_and_then[..], &["extra", "both"][..]) };
        job.write("liveconf.yaml", config(registries, targets));
        daemon.signal(Signal::SIGHUP);
        // These come before, while and after it is loaded.
        for _ in 0..5 {
            client.put("/k", number.to_string());
            catalog.put("k", number.to_string());
        }
        job.wait_for("both.conf", &format!("{number} {number}\n"));
    }
    poll_until(SOON, || match job.read("both.reloads").unwrap().lines().last() {
        Some("20 20") => Ok(()),
        last => Err(format!("the last reload took {last:?}")),
    });
    assert_eq!(reads_since(&etcd, before, started), 0);
    daemon.stop();
}
