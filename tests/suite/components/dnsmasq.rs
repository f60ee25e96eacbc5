//! dnsmasq: `dnsmasq --test` takes all that is written, and a running dnsmasq answers what was meant.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::{Written, content, services, serving};
use crate::support::folder::Folder;
use crate::support::process::{Process, bound, find};
use crate::support::{SOON, poll_until, port};

const SERVICE: &str = r#"{{ <dnsmasq.service name="NAME.internal" servers={service(name="NAME", status="any")} srv="_http._tcp.NAME.internal" ttl={5} meta_weight="w" /> }}
"#;

const HOSTS: &str = r#"{{ <hosts.entries servers={service(name="NAME", status="any")} names={["NAME.hosts", "NAME-alias.hosts"]} meta_weight="w" /> }}
"#;

const OWN_NAMES: &str = r#"{{ <hosts.entries servers={service(name="NAME")} domain="own" /> }}
"#;

/// The addresses of a name, sorted.
fn addresses(port: u16, name: &str) -> Result<Vec<IpAddr>, String> {
    let mut found = Vec::new();
    for data in ask(port, name, 1)?.into_iter().chain(ask(port, name, 28)?) {
        found.push(match <[u8; 4]>::try_from(&data[..]) {
            Ok(four) => IpAddr::V4(Ipv4Addr::from(four)),
            Err(_) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(&data[..]).map_err(|_| "no address")?)),
        });
    }
    found.sort();
    Ok(found)
}

/// The data of the answers of one type to a name (RFC 1035, 4.1); none for a name that does not exist. One that our server
/// would have to ask others for is an error.
fn ask(port: u16, name: &str, of_type: u16) -> Result<Vec<Vec<u8>>, String> {
    let socket = UdpSocket::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    socket.set_read_timeout(Some(Duration::from_secs(2))).map_err(|error| error.to_string())?;
    let mut question = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        question.push(u8::try_from(label.len()).unwrap());
        question.extend_from_slice(label.as_bytes());
    }
    question.push(0);
    question.extend([of_type.to_be_bytes(), 1u16.to_be_bytes()].concat());
    socket.send_to(&question, ("127.0.0.1", port)).map_err(|error| error.to_string())?;
    let mut reply = [0; 4096];
    let length = socket.recv(&mut reply).map_err(|error| error.to_string())?;
    let reply = &reply[..length];
    match reply[3] & 15 {
        0 | 3 => {}
        code => return Err(format!("{name}: code {code}")),
    }
    let mut found = Vec::new();
    // Names of answers point back to the question, so they have two bytes.
    let mut at = question.len();
    for _ in 0..u16::from_be_bytes([reply[6], reply[7]]) {
        let size = usize::from(u16::from_be_bytes([reply[at + 10], reply[at + 11]]));
        let is_of_type = u16::from_be_bytes([reply[at + 2], reply[at + 3]]) == of_type;
        found.extend(is_of_type.then(|| reply[at + 12..at + 12 + size].to_vec()));
        at += 12 + size;
    }
    Ok(found)
}

#[test]
fn dnsmasq_takes_what_is_written() {
    let records = Written::of_services(|name, _| SERVICE.replace("NAME", name));
    let hosts = Written::of_services(|name, _| HOSTS.replace("NAME", name));
    let own = Written::of_services(|name, _| OWN_NAMES.replace("NAME", name));
    for written in [&records, &hosts] {
        written.assert_harmless(|name, text| text.replace(name, "NAME"));
    }
    assert_eq!(own.texts["two"], "10.0.0.1 two.own two\n10.0.0.2 two.own two\n");
    assert_eq!(own.texts.keys().filter(|name| name.starts_with("hostile")).count(), 0, "their names are none");

    let port = port::free();
    let scene = Folder::new();
    let out = |written: &Written| written.folder().display().to_string();
    scene.write(
        "dnsmasq.conf",
        format!(
            "port={port}\nlisten-address=127.0.0.1\nbind-interfaces\nno-resolv\nno-hosts\nlocal-ttl=1\nuser=\n\
             conf-dir={}\naddn-hosts={}\nlocal=/hosts/\n",
            out(&records),
            out(&hosts)
        ),
    );
    let configured = |program: &mut Command| {
        program.arg("-C").arg(scene.path("dnsmasq.conf"));
    };
    let mut check = Command::new(find("dnsmasq"));
    configured(check.arg("--test"));
    content(check);

    let mut server = bound(Signal::SIGKILL, find("dnsmasq"));
    configured(server.args(["--keep-in-foreground", "--pid-file="]));
    let mut server = Process::start(server);
    poll_until(SOON, || match server.ended() {
        Some(status) => panic!("dnsmasq ended with {status}"),
        None => addresses(port, "one.internal"),
    });
    for (name, _) in services().iter().filter(|(name, _)| records.texts.contains_key(name)) {
        let meant: Vec<IpAddr> = serving(name).iter().map(|address| address.parse().unwrap()).collect();
        for name in [format!("{name}.internal"), format!("{name}.hosts"), format!("{name}-alias.hosts")] {
            assert_eq!(addresses(port, &name).unwrap(), meant, "{name}");
        }
    }
    // Priority, weight, port, and the name of the host.
    let mut weights: Vec<Vec<u8>> = ask(port, "_http._tcp.weight_70000.internal", 33).unwrap();
    weights.sort();
    assert_eq!(
        weights.iter().map(|data| &data[..6]).collect::<Vec<_>>(),
        [[0, 0, 0, 1, 0, 80], [0, 0, 255, 255, 0, 80]]
    );
    assert!(weights[0][6..].starts_with(b"\x0bip-10-0-0-1"), "{weights:?}");
    assert_eq!(addresses(port, "ip-10-0-0-2.weight_70000.internal").unwrap(), ["10.0.0.2".parse::<IpAddr>().unwrap()]);
    assert_eq!(ask(port, "_http._tcp.empty.internal", 33).unwrap().len(), 0);
}
