//! Several liveconf with one lock in a real registry: how many of them reload at a time.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::consul::Consul;
use crate::support::etcd::Etcd;
use crate::support::folder::Folder;
use crate::support::liveconf::{Daemon, Job, start};
use crate::support::notify::Manager;
use crate::support::{SOON, poll_until};

/// Members of a fleet that all show one key, and whose reloads tell when they begin and end.
struct Fleet {
    /// Holds what the reloads tell, and the file that keeps them from ending while it is there.
    folder: Folder,
    members: Vec<(Job, Daemon)>,
    /// What they tell their service manager.
    manager: Manager,
}

impl Fleet {
    /// With this under `registries:`, of which `main` has the key `x`, and this as `lock:`. `FOLDER` is that of the fleet,
    /// with `registry.yaml` in it. Every file is there, and every process took it.
    fn start(members: usize, registries: &str, lock: &str) -> Self {
        let (folder, manager) = (Folder::new(), Manager::at_path());
        folder.write("registry.yaml", "x: one\n");
        let registries = registries.replace("FOLDER", &folder.root().display().to_string());
        let member = |number: usize| {
            let tell = folder.path("told").display().to_string();
            let hang = folder.path("hang").display().to_string();
            let reload = format!(
                "echo begin {number} >> {tell}; sleep 0.1; while [ -e {hang} ]; do sleep 0.02; done; echo end {number} \
                 >> {tell}"
            );
            let job = Job::new(&format!(
                "registries: {{{registries}}}
log: {{level: debug}}
targets:
  web:
    templates: [{{content: \"{{{{ key(path='x', registry='main') }}}}\", dest: out}}]
    reload: {{shell: '{reload}', timeout: 60s}}
    lock: {{{lock}}}
    wait: 0
    reload_interval: 0
"
            ));
            job.run(&["once"]).assert_code(0);
            let mut command = job.command(&["run"]);
            command.env("NOTIFY_SOCKET", manager.address());
            let daemon = start(command);
            (job, daemon)
        };
        let fleet = Self { members: (0..members).map(member).collect(), folder, manager };
        for (job, _) in &fleet.members {
            poll_until(SOON, || match target(job)["state"].as_str() {
                Some("settled") => Ok(()),
                other => Err(format!("{other:?}")),
            });
        }
        fs::remove_file(fleet.folder.path("told")).unwrap();
        fleet
    }

    /// What the reloads told so far.
    fn told(&self) -> Vec<String> {
        self.folder.read("told").unwrap_or_default().lines().map(str::to_owned).collect()
    }

    fn wait_for_told(&self, within: Duration, lines: usize) -> Vec<String> {
        poll_until(within, || {
            let told = self.told();
            if told.len() >= lines { Ok(told) } else { Err(format!("told {told:?}: {}", self.logs())) }
        })
    }

    fn logs(&self) -> String {
        self.members.iter().map(|(_, daemon)| daemon.log().join("\n") + "\n\n").collect()
    }

    /// Keeps every reload from its end that begins from now on.
    fn hang(&self) {
        self.folder.write("hang", "");
    }

    fn let_end(&self) {
        fs::remove_file(self.folder.path("hang")).unwrap();
    }

    fn stop(mut self) {
        for (_, daemon) in std::mem::take(&mut self.members) {
            daemon.stop();
        }
    }
}

impl Drop for Fleet {
    /// No reload of a test that failed goes on for ever.
    fn drop(&mut self) {
        let _ = fs::remove_file(self.folder.path("hang"));
    }
}

/// How the target stands.
fn target(job: &Job) -> serde_json::Value {
    let status: serde_json::Value = serde_json::from_str(&job.run(&["status", "--json"]).stdout).unwrap_or_default();
    status["targets"][0].clone()
}

/// How the registry of this name stands, and why.
fn registry(job: &Job, name: &str) -> (String, Option<String>) {
    let status: serde_json::Value = serde_json::from_str(&job.run(&["status", "--json"]).stdout).unwrap_or_default();
    let registry = status["registries"].as_array().unwrap().iter().find(|registry| registry["name"] == name).unwrap();
    (registry["state"].as_str().unwrap().to_owned(), registry["reason"].as_str().map(str::to_owned))
}

/// The most reloads that were under way at a time.
fn most_at_a_time(told: &[String]) -> i32 {
    let mut now = 0;
    let step = |line: &String| {
        now += if line.starts_with("begin") { 1 } else { -1 };
        now
    };
    told.iter().map(step).max().unwrap_or_default()
}

/// All members take two changes, some at a time.
fn all_reload_some_at_a_time(registries: &str, holders: usize, put: impl Fn(&str)) {
    let fleet = Fleet::start(4, registries, &format!("registry: main, path: /locks//web, holders: {holders}"));
    for (round, x) in ["two", "three"].into_iter().enumerate() {
        put(x);
        let told = fleet.wait_for_told(Duration::from_secs(60), 8 * (round + 1));
        assert_eq!(told.len(), 8 * (round + 1), "each reloads once for a change: {told:?}");
        for (job, _) in &fleet.members {
            job.wait_for("out", x);
        }
        let most = most_at_a_time(&told);
        assert!(most <= i32::try_from(holders).unwrap(), "{most} at a time: {told:?}");
    }
    // A line of two moves on by two: had only one gone at a time, nobody would have begun before another's end.
    if holders > 1 {
        assert!(most_at_a_time(&fleet.told()) > 1, "{:?}", fleet.told());
    }
    fleet.stop();
}

#[test]
fn members_with_a_lock_in_etcd_reload_one_at_a_time() {
    let etcd = Etcd::start();
    let client = etcd.client();
    client.put("/x", "one");
    all_reload_some_at_a_time(&format!("main: {{etcd: {}}}", etcd.section()), 1, |x| _ = client.put("/x", x));
    assert_eq!(client.prefix("/locks/"), [], "nobody leaves anything behind");
}

#[test]
fn members_with_a_lock_in_etcd_reload_two_at_a_time() {
    let etcd = Etcd::start();
    let client = etcd.client();
    client.put("/x", "one");
    // What somebody put there by hand is nobody's place.
    client.put("/locks/web/note", "by hand");
    all_reload_some_at_a_time(&format!("main: {{etcd: {}}}", etcd.section()), 2, |x| _ = client.put("/x", x));
}

#[test]
fn members_with_a_lock_in_consul_reload_one_at_a_time() {
    let consul = Consul::start();
    let client = consul.client();
    client.put("app/x", "one");
    let registries = format!("main: {{consul: {}}}", consul.section_with("prefix: app"));
    all_reload_some_at_a_time(&registries, 1, |x| client.put("app/x", x));
    assert_eq!(client.prefix("app/locks/"), [], "nobody leaves anything behind");
}

/// Of two members one is killed in its reload; gives how long the other waited from then on.
fn one_is_killed(
    registries: &str,
    lock: &str,
    put: impl Fn(&str),
    places: impl Fn() -> Vec<(String, String)>,
) -> Duration {
    let mut fleet = Fleet::start(2, registries, lock);
    fleet.hang();
    put("two");
    let told = fleet.wait_for_told(SOON, 1);
    let first: usize = told[0].strip_prefix("begin ").unwrap().parse().unwrap();
    let second = 1 - first;
    let waiting = poll_until(SOON, || {
        let target = target(&fleet.members[second].0);
        if target["delayed"]["by"] == "lock" { Ok(target) } else { Err(target.to_string()) }
    });
    assert_eq!((&waiting["well"], &waiting["state"]), (&false.into(), &"settled".into()), "{waiting}");
    let holding = target(&fleet.members[first].0);
    assert!(holding["applying"].is_string() && holding["delayed"].is_null(), "{holding}");
    assert_eq!(holding["well"], true, "who holds the lock reloads, and waits for nobody: {holding}");
    fleet.members[second].1.wait_for_log("delayed: 1 other comes first at lock `locks/web` of registry `main`");
    assert_eq!(fleet.members[second].0.read("out").unwrap(), "one", "it waits before its render");
    // People see who has it, and who waits.
    let places = places();
    assert_eq!(places.len(), 2, "{places:?}");
    let killed = fleet.members[first].1.id();
    assert!(places[..].iter().any(|(_, holder)| holder.contains(&format!("pid {killed} target web"))), "{places:?}");
    let (job, daemon) = &mut fleet.members[second];
    let shown = target(job)["delayed"].clone();
    let holder = shown["holder"].as_str().unwrap();
    assert!(holder.starts_with("host ") && holder.ends_with(&format!(" pid {killed} target web")), "{shown}");
    assert!(job.run(&["status"]).stdout.contains(&format!("which is held by {holder}")), "{shown}");
    daemon.wait_for_log(&format!("which is held by {holder}"));

    put("three");
    let (_, daemon) = fleet.members.swap_remove(first);
    let since = Instant::now();
    daemon.kill();
    let begins = |told: &[String]| told.iter().filter(|line| line.starts_with("begin")).count();
    poll_until(Duration::from_secs(40), || match begins(&fleet.told()) {
        2 => Ok(()),
        other => Err(format!("{other} reloads began: {}", fleet.logs())),
    });
    let waited = since.elapsed();
    fleet.let_end();
    let (job, mut daemon) = fleet.members.pop().unwrap();
    daemon.wait_for_log("goes on after");
    job.wait_for("out", "three");
    daemon.stop();
    waited
}

#[test]
fn a_holder_in_etcd_that_is_killed_blocks_for_its_time_and_no_longer() {
    let etcd = Etcd::start();
    let client = etcd.client();
    client.put("/x", "one");
    let registries = format!("main: {{etcd: {}}}", etcd.section());
    let places = || client.prefix("/locks/web/");
    let waited = one_is_killed(&registries, "path: locks/web, ttl: 5s", |x| _ = client.put("/x", x), places);
    println!("waited {waited:?}");
    // etcd looks for leases that have ended every half a second; the rest is for a busy machine.
    assert!(waited < Duration::from_secs(5 + 3), "{waited:?}");
}

/// It takes as long as Consul keeps a session of the shortest time.
#[test]
fn a_holder_in_consul_that_is_killed_blocks_for_its_time_and_no_longer() {
    let consul = Consul::start();
    let client = consul.client();
    client.put("x", "one");
    let registries = format!("main: {{consul: {}}}", consul.section());
    let places = || client.prefix("locks/web/");
    let waited = one_is_killed(&registries, "path: locks/web, ttl: 20s", |x| client.put("x", x), places);
    println!("waited {waited:?}");
    assert!(waited < Duration::from_secs(20 + 3), "{waited:?}");
}

/// One member whose data come from a file, and whose lock from etcd.
fn of_a_file(etcd: &Etcd, lock: &str) -> Fleet {
    let registries = format!("main: {{file: {{path: FOLDER/registry.yaml}}}}, locks: {{etcd: {}}}", etcd.section());
    Fleet::start(1, &registries, &format!("registry: locks, path: locks/web, {lock}"))
}

fn put_in_file(fleet: &Fleet, x: &str) {
    fleet.folder.write("registry.yaml", format!("x: {x}\n"));
}

#[test]
fn a_registry_that_is_away_delays_a_reload_only_for_a_while() {
    let mut etcd = Etcd::start();
    let mut fleet = of_a_file(&etcd, "unavailable_after: 3s");
    assert_eq!(registry(&fleet.members[0].0, "locks"), ("idle".to_owned(), None), "nobody asks it anything");
    etcd.kill(0);
    let since = Instant::now();
    put_in_file(&fleet, "two");
    fleet.members[0].1.wait_for_log("delayed: registry `locks` gives no answer about lock `locks/web`");
    fleet.wait_for_told(Duration::from_secs(30), 2);
    assert!(since.elapsed() >= Duration::from_secs(3));
    let said = fleet.members[0].1.wait_for_log("goes on after 3s");
    assert!(said.contains("WARN") && said.contains("though registry `locks` gives no answer"), "{said}");
    assert!(said.contains("refused"), "{said}");
    fleet.members[0].0.wait_for("out", "two");
    // Nobody asks it any more, and what it said last is still known.
    poll_until(SOON, || match registry(&fleet.members[0].0, "locks") {
        (state, Some(reason))
            if state == "idle" && reason.contains("when it was last asked, for lock `locks/web`: ") =>
        {
            Ok(())
        }
        other => Err(format!("{other:?}")),
    });
    fleet.stop();
}

#[test]
fn a_registry_may_be_waited_for_as_long_as_it_takes() {
    let mut etcd = Etcd::start();
    let mut fleet = of_a_file(&etcd, "unavailable_after: never");
    etcd.kill(0);
    put_in_file(&fleet, "two");
    fleet.members[0].1.wait_for_log("delayed: registry `locks` gives no answer about lock `locks/web`");
    let (state, reason) = registry(&fleet.members[0].0, "locks");
    assert!(state == "away" && reason.as_ref().is_some_and(|reason| reason.contains("refused")), "{reason:?}");
    // The operator may want it at once.
    fleet.members[0].0.run(&["apply"]).assert_code(0);
    assert_eq!(fleet.told().len(), 2);
    put_in_file(&fleet, "three");
    poll_until(SOON, || match target(&fleet.members[0].0) {
        target if target["delayed"]["by"] == "lock" => Ok(()),
        target => Err(target.to_string()),
    });
    assert!(target(&fleet.members[0].0)["delayed"]["until"].is_null());
    fleet.manager.wait_for_status(&["0 of 1 target well", "`web` waits for its lock"]);
    etcd.restart(0);
    fleet.wait_for_told(Duration::from_secs(30), 4);
    fleet.members[0].0.wait_for("out", "three");
    poll_until(SOON, || match registry(&fleet.members[0].0, "locks") {
        (state, None) if state == "idle" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    fleet.hang();
    put_in_file(&fleet, "four");
    fleet.wait_for_told(SOON, 5);
    assert_eq!(registry(&fleet.members[0].0, "locks"), ("well".to_owned(), None), "its lock is held");
    fleet.let_end();
    fleet.stop();
}

#[test]
fn a_reload_that_lasts_longer_than_the_time_of_its_lock_keeps_it() {
    let etcd = Etcd::start();
    let client = etcd.client();
    client.put("/x", "one");
    let fleet = Fleet::start(2, &format!("main: {{etcd: {}}}", etcd.section()), "path: locks/web, ttl: 2s");
    fleet.hang();
    client.put("/x", "two");
    let first = fleet.wait_for_told(SOON, 1);
    // The time is what is tested: without renewals the place would have ended by now, and the other one begun.
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(fleet.told(), first, "{}", fleet.logs());
    fleet.let_end();
    let told = fleet.wait_for_told(SOON, 4);
    assert_eq!(most_at_a_time(&told), 1, "{told:?}");
    assert!(!fleet.logs().contains("the lock was lost"), "{}", fleet.logs());
    fleet.stop();
}

#[test]
fn a_lock_that_is_lost_stops_no_reload() {
    let etcd = Etcd::start();
    let client = etcd.client();
    client.put("/x", "one");
    let registries = format!("main: {{etcd: {}}}", etcd.section());
    let mut fleet = Fleet::start(1, &registries, "path: locks/web, ttl: 2s");
    fleet.hang();
    client.put("/x", "two");
    fleet.wait_for_told(SOON, 1);
    let (key, _) = client.prefix("/locks/web/").remove(0);
    client.revoke(i64::from_str_radix(key.rsplit('/').next().unwrap(), 16).unwrap());
    let said = fleet.members[0].1.wait_for_log("the lock was lost before it was given back");
    assert!(said.contains("registry=\"main\"") && said.contains("lock=\"locks/web\""), "{said}");
    fleet.let_end();
    fleet.wait_for_told(SOON, 2);
    fleet.members[0].1.wait_for_log("reloaded");
    // The next has a lock as ever.
    client.put("/x", "three");
    fleet.wait_for_told(SOON, 4);
    fleet.stop();
    assert_eq!(client.prefix("/locks/"), []);
}

#[test]
fn a_longest_wait_for_others_ends_and_what_is_delayed_is_given_up_at_a_stop() {
    let etcd = Etcd::start();
    let client = etcd.client();
    client.put("/x", "one");
    let registries = format!("main: {{etcd: {}}}", etcd.section());
    let mut fleet = Fleet::start(1, &registries, "path: locks/web, max_wait: 3s");
    // Somebody else, who never goes.
    let lease = client.lease(600);
    client.put_with_lease("/locks/web/other", "other", lease);
    client.put("/x", "two");
    fleet.wait_for_told(SOON, 2);
    fleet.members[0].1.wait_for_log("goes on after 3s");
    assert!(!fleet.members[0].1.logged("though 1 other comes first").is_empty(), "{}", fleet.logs());
    client.put("/x", "three");
    poll_until(SOON, || match client.prefix("/locks/web/").len() {
        2 => Ok(()),
        other => Err(format!("{other} places")),
    });
    fleet.stop();
    assert_eq!(client.prefix("/locks/web/").len(), 1, "the place is given up at once");
}

#[test]
fn who_waits_keeps_its_place_while_the_configuration_is_loaded_anew() {
    let etcd = Etcd::start();
    let client = etcd.client();
    client.put("/x", "one");
    let registries = format!("main: {{etcd: {}}}", etcd.section());
    let mut fleet = Fleet::start(1, &registries, "path: locks/web");
    let before = client.lease(600);
    client.put_with_lease("/locks/web/before", "before", before);
    client.put("/x", "two");
    let places = |count: usize| {
        poll_until(SOON, || match client.prefix("/locks/web/") {
            places if places.len() == count => Ok(places),
            places => Err(format!("{places:?}")),
        })
    };
    let own = places(2).into_iter().find(|(key, _)| !key.ends_with("before")).unwrap();
    client.put_with_lease("/locks/web/behind", "behind", client.lease(600));
    let (job, daemon) = &mut fleet.members[0];
    let job = &*job;
    daemon.wait_for_log("delayed: 1 other comes first");
    let configuration = job.read("liveconf.yaml").unwrap();
    let since = target(job)["delayed"]["since"].clone();
    // More than one after the other, of which some may be over before their tasks began.
    let load = |configuration: &str, daemon: &mut Daemon, times: usize| {
        job.write("liveconf.yaml", configuration);
        let loaded = daemon.logged("loaded the new configuration").len();
        for done in 1..=times {
            daemon.signal(Signal::SIGHUP);
            poll_until(SOON, || match daemon.logged("loaded the new configuration").len() {
                count if count >= loaded + done => Ok(()),
                count => Err(format!("loaded {count} times")),
            });
        }
    };
    load(&configuration.replace("wait: 0", "wait: 1ms"), daemon, 3);
    assert!(places(3).contains(&own));
    poll_until(SOON, || match target(job) {
        target if target["delayed"]["since"] == since => Ok(()),
        target => Err(target.to_string()),
    });
    assert!(daemon.logged("goes on after").is_empty());
    client.revoke(before);
    daemon.wait_for_log("goes on after");
    job.wait_for("out", "two");
    assert_eq!(places(1)[0].1, "behind");

    // In another line the place is another.
    client.put("/x", "three");
    let own = places(2).into_iter().find(|(key, _)| !key.ends_with("behind")).unwrap();
    load(&configuration.replace("locks/web", "locks/other"), daemon, 1);
    job.wait_for("out", "three");
    assert!(!places(1).contains(&own));
    fleet.stop();
}

#[test]
fn a_program_that_does_not_run_yet_waits_for_nobody() {
    let etcd = Etcd::start();
    let client = etcd.client();
    let job = Job::new(&format!(
        "registries: {{main: {{file: {{path: registry.yaml}}}}, locks: {{etcd: {}}}}}
targets:
  web:
    templates: [{{content: \"{{{{ key(path='x', registry='main') }}}}\", dest: out}}]
    lock: {{registry: locks, path: locks/web}}
    wait: 0
    process: {{shell: 'cat out >> started; echo >> started; exec sleep 600', settle: 50ms}}
    reload: restart
",
        etcd.section()
    ));
    job.write("registry.yaml", "x: one\n");
    job.run(&["once"]).assert_code(0);
    client.put_with_lease("/locks/web/other", "other", client.lease(600));
    // Its files are there, and older than the registry.
    job.write("registry.yaml", "x: two\n");
    let mut daemon = job.start(&["run"]);
    assert_eq!(job.wait_for_lines("started", 1), ["two"]);
    // One that runs waits.
    job.write("registry.yaml", "x: three\n");
    daemon.wait_for_log("delayed: 1 other comes first");
    assert_eq!(job.wait_for_lines("started", 1), ["two"]);
    daemon.stop();
}

#[test]
fn a_token_that_may_not_take_the_lock_is_told_what_it_lacks() {
    let consul = Consul::with_acl();
    let client = consul.client();
    client.put("x", "one");
    client.policy("reader", r#"key_prefix "" { policy = "read" }"#);
    let token = client.token(&["reader"]);
    let section = consul.section_with(&format!("token: {}", token.secret));
    let mut fleet = Fleet::start(1, &format!("main: {{consul: {section}}}"), "path: locks/web, unavailable_after: 3s");
    client.put("x", "two");
    let said = fleet.members[0].1.wait_for_log("goes on after 3s");
    assert!(said.contains(r#"session_prefix "" { policy = "write" }"#), "{said}");
    assert!(said.contains(r#"key_prefix "locks/web/" { policy = "write" }"#), "{said}");
    fleet.wait_for_told(SOON, 2);
    fleet.stop();
}
