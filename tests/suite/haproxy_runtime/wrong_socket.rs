//! A runtime socket that is not there, hangs, says nonsense, or allows nothing: the change comes by a reload.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::{Duration, Instant};

use super::{MASTER, RELOADED, WITHOUT, Web, server, wait_for_logged};
use crate::support::haproxy::servers;
use crate::support::{SOON, poll_until};

/// What happens to a change where the runtime socket is `name`: HAProxy is reloaded, and the log says so.
#[track_caller]
fn is_reloaded(name: &str, prepare: impl FnOnce(&Web), reason: &str) {
    let (a, b) = (server("a", "127.0.0.1", 1001), server("b", "127.0.0.2", 1002));
    let web = Web::start(
        &format!("    reload: {{haproxy: {{socket: {name}, master: master.sock}}}}\n"),
        std::slice::from_ref(&a),
    );
    prepare(&web);
    let mut daemon = web.follow();
    let worker = web.worker();
    let both = [a, b];
    let start = Instant::now();
    web.set(&both, "");
    let line = daemon.wait_for_log("haproxy needs a reload");
    assert!(line.contains(reason), "{line}");
    daemon.wait_for_log(RELOADED);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    web.wait_for(&both);
    assert_ne!(web.worker(), worker);
    daemon.stop();
}

/// Listens at `name` and treats each connection so.
fn listen(web: &Web, name: &str, treat: impl Fn(std::os::unix::net::UnixStream) + Send + 'static) {
    let listener = UnixListener::bind(web.job.folder().path(name)).unwrap();
    thread::spawn(move || listener.incoming().map_while(Result::ok).for_each(treat));
}

#[test]
fn one_that_is_not_there() {
    is_reloaded("absent.sock", |_| {}, "haproxy runs, and the runtime socket");
}

#[test]
fn one_that_was_removed_comes_back_with_a_restart_of_haproxy() {
    let (a, b) = (server("a", "127.0.0.1", 1001), server("b", "127.0.0.2", 1002));
    let mut web = Web::start(&format!("{MASTER}    drift_interval: 200ms\n"), std::slice::from_ref(&a));
    let mut daemon = web.follow();
    let serves = |web: &Web, count: usize| {
        let other = web.job.folder().path("operator.sock");
        poll_until(SOON, || match servers(&other, "app").len() {
            found if found == count => Ok(()),
            found => Err(format!("{found} servers")),
        });
    };
    fs::remove_file(web.socket()).unwrap();
    let said = daemon.wait_for_log("it cannot be looked at what haproxy runs: haproxy runs, and the runtime socket");
    assert!(said.contains("only a restart of haproxy brings it back"), "{said}");
    let status = web.job.run(&["status"]);
    assert!(status.assert_code(1).stdout.contains("is not there"), "{}", status.stdout);
    let both = [a.clone(), b];
    web.set(&both, "");
    let said = daemon.wait_for_log("haproxy needs a reload");
    assert!(said.contains("admin.sock") && said.contains("only a restart of haproxy brings it back"), "{said}");
    daemon.wait_for_log(RELOADED);
    serves(&web, 2);
    assert!(!web.socket().exists(), "a reload does not bring it back");
    // One that does not run is another thing.
    web.haproxy = None;
    web.set(std::slice::from_ref(&a), "");
    daemon.wait_for_log("not running, the reload is owed");
    let mut web = web.with_haproxy();
    wait_for_logged(&daemon, RELOADED, 2);
    web.wait_for(std::slice::from_ref(&a));
    daemon.wait_for_log("haproxy runs what its files say again");
    web.set(&both, "");
    daemon.wait_for_log(WITHOUT);
    web.haproxy = None;
    daemon.stop();
}

/// Nothing is left to ask, no pid file is configured, and it serves all the same.
#[test]
fn one_that_lost_both_sockets_is_not_one_that_does_not_run() {
    let a = server("a", "127.0.0.1", 1001);
    let mut web = Web::start(MASTER, std::slice::from_ref(&a));
    let mut daemon = web.follow();
    for name in ["admin.sock", "master.sock"] {
        fs::remove_file(web.job.folder().path(name)).unwrap();
    }
    web.set(&[a.clone(), server("b", "127.0.0.2", 1002)], "");
    let said = daemon.wait_for_log("reload failed and is tried again");
    for part in ["haproxy runs, and neither", "master.sock", "admin.sock", "only a restart of haproxy brings them back"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(daemon.logged("not running").is_empty(), "{:#?}", daemon.log());
    // One that does not run is another thing, and what starts then has read the files.
    web.haproxy = None;
    daemon.wait_for_log("not running, the reload is owed");
    let web = web.with_haproxy();
    daemon.wait_for_log(RELOADED);
    web.wait_for(&[a, server("b", "127.0.0.2", 1002)]);
    daemon.stop();
}

#[test]
fn a_master_whose_socket_was_removed_is_not_one_that_does_not_run() {
    let a = server("a", "127.0.0.1", 1001);
    let web = Web::start(MASTER, std::slice::from_ref(&a));
    let mut daemon = web.follow();
    fs::remove_file(web.job.folder().path("master.sock")).unwrap();
    // Servers still need no reload; anything else cannot be had.
    let both = [a, server("b", "127.0.0.2", 1002)];
    web.set(&both, "");
    daemon.wait_for_log(WITHOUT);
    web.set(&both, "http-request set-header x y");
    let said = daemon.wait_for_log("reload failed and is tried again");
    assert!(said.contains("haproxy runs, and the socket of its master") && said.contains("restart"), "{said}");
    assert!(daemon.logged("not running").is_empty());
    let status = web.job.run(&["status"]);
    assert!(status.stdout.contains("owed") && status.stdout.contains("is not there"), "{}", status.stdout);
    daemon.stop();
}

#[test]
fn one_that_hangs() {
    let hang = |web: &Web| {
        let held = std::sync::Mutex::new(Vec::new());
        listen(web, "hangs.sock", move |stream| held.lock().unwrap().push(stream));
    };
    is_reloaded("hangs.sock", hang, "does not answer on");
}

#[test]
fn one_that_says_nonsense() {
    for nonsense in ["", "1\n# be_name\nx\n", "\u{1}\u{2}"] {
        let say = |web: &Web| {
            listen(web, "nonsense.sock", move |mut stream| {
                let mut line = [0; 64];
                let _ = stream.read(&mut line).and_then(|_| stream.write_all(nonsense.as_bytes()));
            });
        };
        is_reloaded("nonsense.sock", say, "does not say how the servers of haproxy are");
    }
}

#[test]
fn one_that_allows_nothing() {
    is_reloaded("operator.sock", |_| {}, "level admin");
}
