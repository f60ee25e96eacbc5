//! Real HAProxy in master-worker mode, seen through the socket of its master and without it.

use std::fs;
use std::net::{TcpListener, TcpStream};

use super::{job, set, stopped_in_the_next_reload, stopping, wait_for_body, wait_for_logged};
use crate::support::haproxy::Haproxy;
use crate::support::liveconf::{Daemon, Job};
use crate::support::{SOON, poll_until, port};

const WAYS: [&str; 2] = ["{haproxy: {socket: master.sock}}", "{haproxy: {}}"];

/// HAProxy that says its `x`, and a target that is true to it.
struct Web {
    job: Job,
    port: u16,
    haproxy: Option<Haproxy>,
    daemon: Daemon,
}

impl Web {
    fn start(confirm: &str) -> Self {
        Self::told_by("    reload: {signal: USR2, pid_file: haproxy.pid}", confirm)
    }

    fn told_by(reload: &str, confirm: &str) -> Self {
        let port = port::free();
        let site = format!(
            "defaults\n  mode http\n  timeout client 60s\n  timeout server 60s\n  timeout connect 1s\nfrontend web\n  \
             bind 127.0.0.1:{port}\n  http-request return status 200 content-type text/plain string \
             {{{{ key(path=\"x\") }}}}\n  {{{{ key(path=\"more\", default=\"\") }}}}\n"
        );
        let job = job(&site, &format!("{reload}\n    confirm: {confirm}"));
        fs::create_dir(job.folder().path("conf.d")).unwrap();
        set(&job, "one");
        job.run(&["once", "--no-reload"]).assert_code(0);
        let haproxy = Some(Haproxy::start_on(job.folder().root(), "conf.d/site.conf", port));
        let mut daemon = job.start(&["run"]);
        daemon.wait_for_log("reloaded");
        Self { job, port, haproxy, daemon }
    }

    fn site(&self) -> String {
        self.job.read("conf.d/site.conf").unwrap()
    }

    /// How often HAProxy said this.
    fn told(&self, text: &str) -> usize {
        self.job.read("haproxy.log").unwrap_or_default().matches(text).count()
    }

    /// HAProxy refuses files with this line, once, and all is as it was.
    #[track_caller]
    fn refuses(mut self, line: &str, why: &str) {
        let good = self.site();
        self.job.write("registry.yaml", format!("x: bad\nmore: {line:?}\n"));
        self.daemon.wait_for_log("kept its old worker");
        poll_until(SOON, || match self.site() {
            found if found == good => Ok(()),
            found => Err(format!("the file is not restored: {found}")),
        });
        wait_for_body(self.port, "one");
        assert_eq!((self.told(why), self.told("Reloading HAProxy")), (1, 2), "one attempt, after the first reload");
        set(&self.job, "two");
        wait_for_body(self.port, "two");
        wait_for_logged(&self.daemon, "reloaded", 2);
        assert_eq!(self.told(why), 1);
        self.daemon.stop();
    }
}

#[test]
fn a_new_worker_is_a_confirmation_also_while_an_old_one_lingers() {
    for confirm in WAYS {
        let web = Web::start(confirm);
        // Half a request keeps the old worker.
        let mut client = TcpStream::connect(("127.0.0.1", web.port)).unwrap();
        std::io::Write::write_all(&mut client, b"GET / HTTP/1.1\r\nHost: a\r\n").unwrap();
        wait_for_body(web.port, "one");
        for (round, x) in ["two", "three"].into_iter().enumerate() {
            set(&web.job, x);
            wait_for_logged(&web.daemon, "reloaded", round + 2);
            wait_for_body(web.port, x);
        }
        assert_eq!(web.daemon.logged("kept its old worker").len(), 0, "{:#?}", web.daemon.log());
        web.daemon.stop();
    }
}

#[test]
fn files_that_haproxy_cannot_read_come_back() {
    for confirm in WAYS {
        Web::start(confirm).refuses("no-such-keyword", "unknown keyword");
    }
}

#[test]
fn files_whose_address_is_taken_come_back_after_one_attempt() {
    for confirm in WAYS {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        Web::start(confirm).refuses(&format!("bind {}", taken.local_addr().unwrap()), "cannot bind socket");
    }
}

#[test]
fn a_haproxy_that_is_gone_leaves_the_reload_owed() {
    for confirm in WAYS {
        let mut web = Web::start(confirm);
        web.haproxy = None;
        set(&web.job, "two");
        web.daemon.wait_for_log("not running, the reload is owed");
        assert!(web.site().contains("two"));
        web.haproxy = Some(Haproxy::start_on(web.job.folder().root(), "conf.d/site.conf", web.port));
        wait_for_logged(&web.daemon, "reloaded", 2);
        wait_for_body(web.port, "two");
        web.daemon.stop();
    }
}

#[test]
fn whoever_is_stopped_past_the_time_still_sees_what_came_of_the_reload() {
    for look in ["socket: master.sock", "pid_file: haproxy.pid"] {
        let reload = stopping("kill -USR2 $(cat haproxy.pid)");
        let mut web = Web::told_by(&reload, &format!("{{haproxy: {{{look}}}, within: 2s}}"));
        stopped_in_the_next_reload(&web.job, &mut web.daemon, "two");
        wait_for_logged(&web.daemon, "reloaded", 2);
        wait_for_body(web.port, "two");
        assert_eq!(web.daemon.logged("refuse").len(), 0, "{:#?}", web.daemon.log());
        web.daemon.stop();
    }
}
