//! Files that a check or the server refuses.

use std::fs;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::pace;
use crate::support::folder::Folder;
use crate::support::liveconf::start;
use crate::support::process::search_path;
use crate::support::strace::Strace;
use crate::support::{SOON, http, poll_until};
use crate::web::{Kind, Web};

/// Pauses between tries that are short in the short run.
fn retry() -> &'static str {
    pace::either("    retry: 100ms..1s\n", "")
}

/// The server's own check of a file that is not in place yet.
fn check(kind: Kind) -> &'static str {
    match kind {
        Kind::Nginx => {
            "    check: {command: [nginx, -t, -q, -e, error.log, -p, ., -c, '{wrapper}'], \
             wrapper: 'pid check.pid; events {} http { include {staged}; }'}\n"
        }
        Kind::Haproxy => "    check: [haproxy, -c, -q, -f, '{staged}']\n",
    }
}

fn confirm(kind: Kind) -> &'static str {
    match kind {
        Kind::Nginx => "    confirm: {nginx: {}}\n",
        Kind::Haproxy => "    confirm: {haproxy: {}}\n",
    }
}

/// A value that breaks the file: nothing closes what it begins, and no server knows the word.
const BROKEN: &str = "} } server_nam {";

/// A value from the registry broke the file: the check refused it, the file and the server stayed as they were, one error was logged, and the mended value went through.
#[test]
fn row_40_value_that_breaks_the_file() {
    for kind in [Kind::Nginx, Kind::Haproxy] {
        let web = Web::start(kind, &format!("{}{}", check(kind), retry()));
        let file = web.job.folder().path(kind.file());
        let before = fs::metadata(&file).unwrap().modified().unwrap();
        let mut daemon = web.job.start(&["run"]);
        web.change(2, BROKEN);
        let told = daemon.wait_for_log("not applied");
        assert!(told.contains("refuses the files: it exited with"), "{told}");
        let asked = Instant::now();
        while asked.elapsed() < Duration::from_secs(pace::either(3, 60)) {
            assert_eq!((web.served(), web.in_file()), (Ok(1), Some(1)), "{kind:?}");
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), before, "the file is untouched");
        assert_eq!(daemon.logged("ERROR").len(), 1, "{:#?}", daemon.log());
        web.change(3, "");
        web.wait_for(3);
        daemon.stop();
    }
}

/// The same without a check of the file: the server refused it, the last confirmed file came back, and the mended value went through.
#[test]
fn row_40_value_that_breaks_the_file_without_a_check() {
    for kind in [Kind::Nginx, Kind::Haproxy] {
        let web = Web::start(kind, &format!("{}{}", confirm(kind), retry()));
        let mut daemon = web.job.start(&["run"]);
        web.change(2, BROKEN);
        daemon.wait_for_log("the last confirmed files are back");
        assert_eq!((web.served(), web.in_file()), (Ok(1), Some(1)), "{kind:?}");
        assert_eq!(daemon.logged("the last confirmed version is back").len(), 1);
        assert_eq!(daemon.logged("ERROR").len(), 1, "{:#?}", daemon.log());
        web.change(3, "");
        web.wait_for(3);
        daemon.stop();
    }
}

/// For how long a server gave no answer, until it is told to stop.
fn outage(port: u16, stop: &AtomicBool) -> Duration {
    let mut outage = Duration::ZERO;
    while !stop.load(Ordering::Relaxed) {
        let since = Instant::now();
        let answers = http::get(port, "/").is_ok();
        thread::sleep(Duration::from_millis(5));
        if !answers {
            outage += since.elapsed();
        }
    }
    outage
}

/// Gives the server a file that passes its own check, and which it cannot run, because somebody else listens on an address in
/// it. Looks whether it is told once, and keeps running what it ran.
fn passes_the_check_and_fails_the_reload(kind: Kind, unprotected: &str) -> Result<(), String> {
    let web = Web::start(kind, &format!("{}{}{}", check(kind), confirm(kind), retry()));
    let mut command = web.job.command(&["run"]);
    command.env("LIVECONF_UNPROTECTED", unprotected).env("PATH", search_path());
    let daemon = start(command);
    web.change(2, "");
    web.wait_for(2);
    poll_until(SOON, || if daemon.logged("reloaded").is_empty() { Err("not confirmed".to_owned()) } else { Ok(()) });
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let more = match kind {
        Kind::Nginx => format!("server {{ listen 127.0.0.1:{port}; }}"),
        Kind::Haproxy => format!("frontend other\n  bind 127.0.0.1:{port}"),
    };
    let traces = Folder::new();
    let strace = Strace::with(daemon.id(), traces.path("trace"), &["-e", "trace=pidfd_send_signal"]);
    let stop = AtomicBool::new(false);
    let (signals, outage) = thread::scope(|scope| {
        let outage = scope.spawn(|| outage(web.port, &stop));
        web.change(3, &more);
        let refused = poll_until(SOON, || match daemon.logged("refuses the new files").pop() {
            Some(_) => Ok(Instant::now()),
            None => Err("not refused".to_owned()),
        });
        // The time is what is tested: nobody is told of it again.
        thread::sleep(Duration::from_secs(pace::either(6, 90)).saturating_sub(refused.elapsed()));
        stop.store(true, Ordering::Relaxed);
        (strace.lines(&["pidfd_send_signal("]).len(), outage.join().unwrap())
    });
    strace.end();
    println!("{kind:?} {unprotected}: {signals} signals, {outage:?} without an answer");
    if signals != 1 {
        return Err(format!("{signals} signals for the same bytes"));
    }
    // Two seconds are its own way to look whether the address becomes free; the rest is for a busy machine.
    if outage > Duration::from_millis(pace::either(3500, 2500)) {
        return Err(format!("no answer for {outage:?}"));
    }
    assert_eq!((web.served(), web.in_file()), (Ok(2), Some(2)), "{kind:?}");
    assert!(!daemon.logged("the last confirmed version is back").is_empty());

    // Nor at the next start.
    daemon.stop();
    let mut daemon = web.job.start(&["run"]);
    daemon.wait_for_log("refused these files before");
    assert_eq!((web.served(), web.in_file()), (Ok(2), Some(2)), "{kind:?}");
    web.change(4, "");
    web.wait_for(4);
    daemon.stop();
    Ok(())
}

/// nginx and HAProxy got a file that passed their check and could not run: one signal, the last confirmed file came back, these bytes were never tried again, and the next were.
#[test]
fn row_41_passes_the_check_and_fails_the_reload() {
    thread::scope(|scope| {
        for kind in [Kind::Nginx, Kind::Haproxy] {
            scope.spawn(move || passes_the_check_and_fails_the_reload(kind, "").unwrap());
        }
    });
}

/// The same check fails when refused files are treated as a reload that failed.
#[test]
fn row_41_without_the_refusal_the_check_fails() {
    let failure = passes_the_check_and_fails_the_reload(Kind::Haproxy, "refusal").unwrap_err();
    assert!(failure.contains("signals for the same bytes"), "{failure}");
}
