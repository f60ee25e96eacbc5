//! A runtime socket that is not there, hangs, says nonsense, or allows nothing: the change comes by a reload.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::{Duration, Instant};

use super::{RELOADED, Web, server};

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
    let line = daemon.wait_for_log("haproxy is reloaded");
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
    is_reloaded("absent.sock", |_| {}, "no haproxy listens on");
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
