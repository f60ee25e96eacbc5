//! Old workers of nginx that live as long as their connections.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use crate::support::liveconf::Daemon;
use crate::support::{SOON, poll_until};
use crate::web::{Kind, Web};

/// How many there may be.
const MOST: usize = 10;

/// How many children of the master there are that have to go.
fn old_workers(web: &Web) -> usize {
    let pid = web.job.read("nginx.pid").unwrap();
    let pid = pid.trim();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let is_old = |child: &&str| {
        let title = fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&title).starts_with("nginx: worker process is shutting down")
    };
    children.split_ascii_whitespace().filter(is_old).count()
}

/// Makes a hundred changes, each after five long connections, up to the first with more old workers than `MOST`; gives the
/// connections, the last generation, and the most old workers that there were at a time.
fn pile_up(web: &Web, daemon: &Daemon) -> (Vec<TcpStream>, u64, usize) {
    let mut clients = Vec::new();
    let mut most = 0;
    for generation in 2..102 {
        for _ in 0..5 {
            // A request that is never finished keeps its worker.
            let mut client = TcpStream::connect(("127.0.0.1", web.port)).unwrap();
            client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n").unwrap();
            clients.push(client);
        }
        web.change(generation, "");
        poll_until(SOON, || {
            most = most.max(old_workers(web));
            // What is delayed is not in the file; the newest is, in the end.
            match web.in_file() {
                Some(found) if found == generation || !daemon.logged("delayed").is_empty() => Ok(()),
                found => Err(format!("generation {generation} is not in the file, but {found:?}")),
            }
        });
        if most > MOST {
            return (clients, generation, most);
        }
    }
    (clients, 101, most)
}

fn nginx(rule: &str) -> Web {
    Web::start(Kind::Nginx, &format!("    confirm: {{nginx: {{{rule}}}}}\n"))
}

/// 500 long connections kept old workers of nginx alive under 100 changes: there were never more of them than configured, the log said once what was waited for, and the newest generation was served once they had ended.
#[test]
fn row_45_old_workers_pile_up() {
    let web = nginx(&format!("max_old_workers: {MOST}"));
    let daemon = web.job.start(&["run"]);
    let (clients, last, most) = pile_up(&web, &daemon);
    assert_eq!((clients.len(), most, last), (500, MOST, 101));
    assert_eq!(web.served(), Ok(web.in_file().unwrap()));
    let reloads = daemon.logged("reloaded").len();
    println!("{most} old workers at most, {reloads} reloads for 100 changes");
    assert!((MOST..MOST + 3).contains(&reloads), "{reloads} reloads");

    drop(clients);
    web.wait_for_within(Duration::from_secs(10), last);
    assert_eq!((daemon.logged("delayed").len(), daemon.logged("goes on after").len()), (1, 1));
    daemon.stop();
}

/// The same without the rule: there are more old workers than that, and nothing keeps them from piling up further.
#[test]
fn row_45_without_the_rule_old_workers_pile_up() {
    let web = nginx("");
    let daemon = web.job.start(&["run"]);
    let (_clients, last, most) = pile_up(&web, &daemon);
    assert!(most > MOST && last < 101, "{most} old workers after {last} generations");
    daemon.stop();
}
