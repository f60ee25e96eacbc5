//! Names of hosts that do not resolve, hang, or move.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use super::{K1, k2, registry, write};
use crate::alone::{Namespace, is_alone, run};
use crate::resolver::{Resolver, Says};
use crate::scene::Scene;
use crate::strain::Strain;
use crate::support::etcd::Etcd;
use crate::support::folder::Folder;
use crate::support::proxy::{Door, End, Link, Proxy};
use crate::support::{poll_until, port};

/// The name of etcd leads to one address, is unknown, leads to another, does not resolve for longer than the 10 s of the
/// system's resolver, and moves: each time all is well within 15 s, and a file from elsewhere is never kept waiting.
#[test]
fn row_31_a_name_that_does_not_resolve_hangs_or_moves() {
    if !is_alone(&[Namespace::Mount, Namespace::Network]) {
        return;
    }
    run("ip", &["link", "set", "lo", "up"]);
    let settings = Folder::new();
    settings.write("resolv.conf", "nameserver 127.0.0.1\n");
    settings.write("nsswitch.conf", "hosts: files dns\n");
    for file in ["resolv.conf", "nsswitch.conf"] {
        let (ours, system) = (settings.path(file), format!("/etc/{file}"));
        run("mount", &["--bind", ours.to_str().unwrap(), &system]);
    }

    let etcd = Etcd::start();
    let client = etcd.client();
    let port = port::free();
    let hosts = [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3)];
    let proxies = hosts.map(|host| Proxy::at(SocketAddrV4::new(host, port), etcd.port_of(0), Link::default()));
    let resolver = Resolver::start(Says::Address(hosts[0]));
    let elsewhere = "  note: {templates: [{content: '{{ file(path=\"note\") }}', dest: noted}], wait: 0}\n";
    let scene = Scene::new(&registry(&[format!("http://etcd.liveconf.test:{port}")], ""), elsewhere);
    scene.job.write("note", "0");
    write(&client, 1);
    let daemon = scene.start();
    scene.wait_for(1);
    scene.job.wait_for("noted", "0");
    assert!(proxies[0].counts().open > 0 && resolver.asked() > 0);
    let strain = Strain::begin(&daemon);
    let reader = scene.forward_reader();

    let leave = |from: usize, says: Says| {
        resolver.says(says);
        proxies[from].set(Link { door: Door::Closed, ..Link::default() });
        proxies[from].cut(End::Reset);
    };
    let arrive = |at: usize, number: u64| {
        proxies[at].set(Link::default());
        write(&client, number);
        resolver.says(Says::Address(hosts[at]));
        let began = Instant::now();
        scene.wait_for_within(K1, number);
        println!("generation {number} after {:?}", began.elapsed());
        assert!(proxies[at].counts().open > 0);
    };
    // While etcd is away a file from elsewhere is written as soon as ever.
    let is_free = |note: &str| {
        scene.job.write("note", note);
        scene.job.wait_for_within(Duration::from_secs(5), "noted", note);
    };

    leave(0, Says::NoSuchName);
    poll_until(k2(), || match resolver.asked() {
        0..2 => Err("the name is not looked up".to_owned()),
        _ => Ok(()),
    });
    poll_until(k2(), || {
        let status = scene.job.run(&["status"]).stdout;
        if status.contains("lookup") { Ok(()) } else { Err(format!("it should say why: {status}")) }
    });
    is_free("1");
    arrive(1, 2);

    leave(1, Says::Nothing);
    let hanging = Instant::now();
    poll_until(Duration::from_secs(15), || match resolver.asked() {
        0..2 => Err("the name is not looked up".to_owned()),
        _ => Ok(()),
    });
    is_free("2");
    poll_until(Duration::from_secs(20), || match hanging.elapsed() {
        elapsed if elapsed >= Duration::from_secs(11) => Ok(()),
        elapsed => Err(format!("it hangs for {elapsed:?} only")),
    });
    is_free("3");
    arrive(0, 3);

    leave(0, Says::Address(hosts[1]));
    arrive(1, 4);
    reader.stop().assert_always_whole();
    strain.assert_light(&daemon);
    daemon.stop();
}
