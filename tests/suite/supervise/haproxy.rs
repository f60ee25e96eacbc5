//! Real HAProxy as the program.

use nix::sys::signal::Signal;

use super::{process, wait_until_well};
use crate::support::liveconf::Job;
use crate::support::{SOON, http, poll_until, port};

#[test]
fn its_master_takes_and_refuses_files() {
    for confirm in ["{haproxy: {}}", "{haproxy: {socket: master.sock}}"] {
        let port = port::free();
        let site = format!(
            "defaults\n  mode http\n  timeout client 60s\n  timeout server 60s\n  timeout connect 1s\nfrontend web\n  \
             bind 127.0.0.1:{port}\n  http-request return status 200 content-type text/plain string \
             {{{{ key(path=\"x\") }}}}\n  {{{{ key(path=\"more\", default=\"\") }}}}\n"
        );
        let job = Job::new(&format!(
            "registries: {{local: {{file: {{path: registry.yaml}}}}}}
targets:
  haproxy:
    templates: [{{src: site.tera, dest: haproxy.cfg}}]
    wait: 0
    reload_interval: 0
    reload: {{signal: USR2}}
    confirm: {confirm}
    process: {{command: [haproxy, -W, -S, unix@master.sock, -f, haproxy.cfg], stop_signal: USR1}}
"
        ))
        .with("site.tera", site)
        .with("registry.yaml", "x: one\n");
        let serves = |x: &str| {
            poll_until(SOON, || match http::get(port, "/") {
                Ok((200, found)) if found == x => Ok(()),
                other => Err(format!("should serve {x}: {other:?}")),
            });
        };
        let mut daemon = job.start(&["run"]);
        serves("one");
        wait_until_well(&job);
        let master = process(&job, |process| process["pid"].is_i64())["pid"].clone();
        job.write("registry.yaml", "x: two\n");
        serves("two");
        job.write("registry.yaml", "x: bad\nmore: nonsense\n");
        daemon.wait_for_log("the process refuses the new files");
        job.write("registry.yaml", "x: three\n");
        serves("three");
        assert_eq!(process(&job, |process| process["pid"].is_i64())["pid"], master, "it was never started anew");
        // While it loads files it forgets what it is sent, and is asked to end all the same.
        job.write("registry.yaml", "x: four\n");
        poll_until(SOON, || match job.read("haproxy.cfg") {
            Some(text) if text.contains("four") => Ok(()),
            other => Err(format!("{other:?}")),
        });
        daemon.signal(Signal::SIGTERM);
        assert_eq!(daemon.wait(SOON), 0);
        assert!(daemon.logged("and is killed").is_empty(), "{:#?}", daemon.log());
        assert!(http::get(port, "/").is_err());
    }
}
