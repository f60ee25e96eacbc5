//! What is refused, interrupted, or changed by somebody else.

use super::{MASTER, RELOADED, SIGNAL, Server, WITHOUT, Web, server, wait_for_logged};
use crate::support::etcd::Etcd;
use crate::support::haproxy::Haproxy;
use crate::support::liveconf::Daemon;
use crate::support::{SOON, poll_until};

/// A check that takes a while, for which HAProxy is ahead of its file, and refuses one address.
const SLOW_CHECK: &str = "    check: {shell: \"sleep 1; ! grep -q 127.0.0.66 {staged}\"}\n";

/// HAProxy comes to run this server alone, in this file and worker; and the next change goes the short way, as if nothing
/// had been.
fn is_as_before(web: &Web, mut daemon: Daemon, server_before: Server, (file, worker): (Option<String>, u32)) {
    web.wait_for(std::slice::from_ref(&server_before));
    assert_eq!((web.job.read("haproxy.cfg"), web.worker()), (file, worker));
    let next = [server_before, server("b", "127.0.0.2", 1002)];
    web.set(&next, "");
    daemon.wait_for_log(WITHOUT);
    web.wait_for(&next);
    assert_eq!(web.worker(), worker);
    daemon.stop();
}

#[test]
fn what_the_check_refuses_is_taken_back() {
    let a = server("a", "127.0.0.1", 1001);
    let web = Web::start(&format!("{MASTER}{SLOW_CHECK}"), std::slice::from_ref(&a));
    let mut daemon = web.follow();
    let (worker, file) = (web.worker(), web.job.read("haproxy.cfg"));
    let refused = [server("a", "127.0.0.5", 1005), server("bad", "127.0.0.66", 1066)];
    web.set(&refused, "");
    web.wait_for(&refused);
    assert_eq!(web.job.read("haproxy.cfg"), file, "the socket goes first");
    daemon.wait_for_log("runs its servers of before again");
    daemon.wait_for_log("not applied");
    is_as_before(&web, daemon, a, (file, worker));
}

#[test]
fn what_verify_refuses_is_taken_back() {
    let a = server("a", "127.0.0.1", 1001);
    let verify = "    verify: {shell: \"sleep 1; ! grep -q 127.0.0.66 {dest}\"}\n";
    let web = Web::start(&format!("{SIGNAL}{verify}"), std::slice::from_ref(&a));
    let mut daemon = web.follow();
    let (worker, file) = (web.worker(), web.job.read("haproxy.cfg"));
    let refused = [server("bad", "127.0.0.66", 1066)];
    web.set(&refused, "");
    web.wait_for(&refused);
    daemon.wait_for_log("the files from before are back");
    is_as_before(&web, daemon, a, (file, worker));
}

#[test]
fn while_a_check_cannot_be_run_servers_do_not_come_and_go() {
    let (a, b) = (server("a", "127.0.0.1", 1001), server("b", "127.0.0.2", 1002));
    let check = "    check: {shell: \"echo {staged} >> tries; [ -e there ] || exit 127\"}\n";
    let web = Web::start(&format!("{MASTER}{check}"), std::slice::from_ref(&a));
    let mut daemon = web.follow();
    let worker = web.worker();
    let both = [a.clone(), b];
    web.set(&both, "");
    web.job.wait_for_lines("tries", 4);
    assert_eq!(daemon.logged("runs its servers of before again").len(), 1, "{:#?}", daemon.log());
    web.wait_for(std::slice::from_ref(&a));
    web.job.write("there", "");
    daemon.wait_for_log(WITHOUT);
    web.wait_for(&both);
    assert_eq!(web.worker(), worker);
    daemon.stop();
}

#[test]
fn a_crash_between_socket_and_file_leaves_a_reload_owed() {
    for is_reverted in [false, true] {
        let (a, b) = (server("a", "127.0.0.1", 1001), server("b", "127.0.0.2", 1002));
        let web = Web::start(&format!("{MASTER}{SLOW_CHECK}"), std::slice::from_ref(&a));
        let daemon = web.follow();
        let (worker, file) = (web.worker(), web.job.read("haproxy.cfg"));
        let both = [a.clone(), b];
        web.set(&both, "");
        web.wait_for(&both);
        daemon.kill();
        assert_eq!(web.job.read("haproxy.cfg"), file);
        let wanted = if is_reverted { vec![a] } else { both.to_vec() };
        web.set(&wanted, "");
        let mut daemon = web.job.start(&["run"]);
        daemon.wait_for_log(RELOADED);
        web.wait_for(&wanted);
        assert_ne!(web.worker(), worker, "nobody knows what it ran");
        daemon.stop();
    }
}

#[test]
fn what_somebody_else_does_to_servers_is_put_right_but_for_draining() {
    let (a, b) = (server("a", "127.0.0.1", 1001), server("b", "127.0.0.2", 1002));
    let web = Web::start(&format!("{MASTER}    drift_interval: 200ms\n"), &[a.clone(), b]);
    let mut daemon = web.follow();
    let worker = web.worker();
    web.tell("set server app/b state drain");
    for (round, line) in [
        "set server app/a weight 77",
        "set server app/a addr 127.0.0.7 port 1007",
        "set server app/a state maint",
        "set server app/a state maint;del server app/a",
        "add server app/x 127.0.0.3:1003;enable server app/x",
        "disable health app/a",
    ]
    .into_iter()
    .enumerate()
    {
        web.tell(line);
        wait_for_logged(&daemon, WITHOUT, round + 1);
        poll_until(SOON, || {
            let servers = web.servers();
            let is_right = servers.len() == 2 && servers["a"] == "127.0.0.1:1001 1 0";
            if is_right { Ok(()) } else { Err(format!("{line}: {servers:?}")) }
        });
    }
    daemon.wait_for_log("1 server otherwise than its files say, which is put right");
    assert_eq!(web.servers()["b"], "127.0.0.2:1002 1 8", "whether it drains is not ours to say");
    assert_eq!(web.worker(), worker);
    daemon.stop();
}

#[test]
fn a_reload_for_servers_that_cannot_be_put_right_waits_for_the_lock() {
    let etcd = Etcd::start();
    let client = etcd.client();
    let other = client.lease(600);
    client.put_with_lease("/locks/web/other", "other", other);
    // On that socket HAProxy can be looked at, and not changed.
    let reload = "    reload: {haproxy: {socket: operator.sock, master: master.sock}}\n    drift_interval: 200ms\n";
    let web = Web::start(reload, &[server("a", "127.0.0.1", 1001)]);
    let config = web.job.read("liveconf.yaml").unwrap();
    web.job.write("liveconf.yaml", format!("{config}    lock: {{registry: locks, path: locks/web}}\n"));
    web.job.write("conf.d/locks.yaml", format!("registries: {{locks: {{etcd: {}}}}}\n", etcd.section()));
    let template = web.job.read("haproxy.tera").unwrap();
    let template = template.replace("path=\"more\"", "path=\"more\", registry=\"local\"");
    web.job.write("haproxy.tera", template.replace("name=\"app\"", "name=\"app\", registry=\"local\""));
    // The first look at the files goes by the lock as well.
    let mut daemon = web.job.start(&["run"]);
    daemon.wait_for_log("delayed: 1 other comes first");
    client.revoke(other);
    daemon.wait_for_log("goes on after");
    let other = client.lease(600);
    client.put_with_lease("/locks/web/other", "other", other);
    let worker = web.worker();
    web.tell("set server app/a weight 77");
    daemon.wait_for_log("which is put right");
    wait_for_logged(&daemon, "delayed: 1 other comes first", 2);
    assert_eq!((web.worker(), &*web.servers()["a"]), (worker, "127.0.0.1:1001 77 0"));
    assert!(daemon.logged(RELOADED).is_empty());
    client.revoke(other);
    daemon.wait_for_log(RELOADED);
    web.wait_for(&[server("a", "127.0.0.1", 1001)]);
    assert_ne!(web.worker(), worker);
    daemon.stop();
}

#[test]
fn servers_that_differ_are_only_told_of_where_that_is_wanted() {
    let web = Web::start(
        &format!("{MASTER}    drift_interval: 200ms\n    drift: report\n"),
        &[server("a", "127.0.0.1", 1001)],
    );
    let mut daemon = web.follow();
    web.tell("set server app/a weight 77");
    daemon.wait_for_log("haproxy runs 1 server otherwise than its files say");
    let status: serde_json::Value = serde_json::from_str(&web.job.run(&["status", "--json"]).stdout).unwrap();
    assert_eq!(
        (status["well"].as_bool(), status["targets"][0]["drifted"].as_array().map(Vec::len)),
        (Some(false), Some(1))
    );
    assert_eq!(web.servers()["a"], "127.0.0.1:1001 77 0");
    web.tell("set server app/a weight 1");
    daemon.wait_for_log("haproxy runs what its files say again");
    daemon.stop();
}

#[test]
fn a_haproxy_that_is_gone_reads_what_is_new_when_it_comes() {
    let (a, b) = (server("a", "127.0.0.1", 1001), server("b", "127.0.0.2", 1002));
    let mut web = Web::start(MASTER, std::slice::from_ref(&a));
    let mut daemon = web.follow();
    web.haproxy = None;
    let both = [a, b];
    web.set(&both, "");
    daemon.wait_for_log("not running, the reload is owed");
    web.haproxy = Some(Haproxy::start(web.job.folder().root(), web.port));
    daemon.wait_for_log(RELOADED);
    web.wait_for(&both);
    daemon.stop();
}
