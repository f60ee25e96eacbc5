//! A machine that is reached over a cable of its own, whose packets can be made to vanish in either direction. It is a
//! network namespace, so whoever uses this is alone in one himself.

use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::alone::run;
use crate::support::process::{Process, bound};
use crate::support::{SOON, poll_until};

/// Our end of the cable.
pub(crate) const HERE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const HERE_INTERFACE: &str = "here";

/// The other end.
const THERE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
const THERE_INTERFACE: &str = "there";

/// Nobody on the cable has this address, so what is sent to it is dropped by the one who gets it.
const NOBODY: &str = "02:00:00:00:00:99";

/// The other machine, until it is dropped.
pub(crate) struct Machine {
    /// The namespace lives as long as this process.
    holder: Process,
}

/// Packets in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From us to the other machine.
    There,
    /// From the other machine to us.
    Here,
}

impl Machine {
    /// Connects one.
    pub(crate) fn new() -> Self {
        run("ip", &["link", "set", "lo", "up"]);
        let mut holder = bound(Signal::SIGKILL, "unshare");
        holder.args(["--net", "sleep", "1d"]);
        let holder = Process::start(holder);
        let id = holder.id().to_string();
        let ours = fs::read_link("/proc/self/ns/net").unwrap();
        poll_until(SOON, || match fs::read_link(format!("/proc/{id}/ns/net")) {
            Ok(theirs) if theirs != ours => Ok(()),
            other => Err(format!("no namespace of its own: {other:?}")),
        });
        let cable = ["link", "add", HERE_INTERFACE, "type", "veth", "peer", "name", THERE_INTERFACE, "netns", &id];
        run("ip", &cable);
        let machine = Self { holder };
        run("ip", &["addr", "add", &format!("{HERE}/30"), "dev", HERE_INTERFACE]);
        run("ip", &["link", "set", HERE_INTERFACE, "up"]);
        machine.run_there(&["ip", "addr", "add", &format!("{THERE}/30"), "dev", THERE_INTERFACE]);
        machine.run_there(&["ip", "link", "set", THERE_INTERFACE, "up"]);
        machine
    }

    /// A command that runs a program there and ends with us.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = bound(Signal::SIGKILL, "nsenter");
        command.args(["--target", &self.holder.id().to_string(), "--net", program]);
        command
    }

    /// From now on packets in this direction vanish.
    pub(crate) fn lose(&self, direction: Direction) {
        let wrong = |to: Ipv4Addr, interface| -> Vec<String> {
            ["ip", "neigh", "replace", &to.to_string(), "lladdr", NOBODY, "dev", interface, "nud", "permanent"]
                .map(str::to_owned)
                .into()
        };
        self.run_at(direction, wrong);
    }

    /// They arrive again.
    pub(crate) fn heal(&self, direction: Direction) {
        let forget = |to: Ipv4Addr, interface| -> Vec<String> {
            ["ip", "neigh", "del", &to.to_string(), "dev", interface].map(str::to_owned).into()
        };
        self.run_at(direction, forget);
    }

    /// Runs a command on the machine that sends in this direction.
    fn run_at(&self, direction: Direction, command: impl Fn(Ipv4Addr, &'static str) -> Vec<String>) {
        let command = match direction {
            Direction::There => command(THERE, HERE_INTERFACE),
            Direction::Here => command(HERE, THERE_INTERFACE),
        };
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        match direction {
            Direction::There => _ = run(command[0], &command[1..]),
            Direction::Here => self.run_there(&command),
        }
    }

    fn run_there(&self, command: &[&str]) {
        let id = self.holder.id().to_string();
        run("nsenter", &[&["--target", &id, "--net"], command].concat());
    }

    /// How many packets of TCP that machine has sent again, since nobody said that they arrived.
    pub(crate) fn sent_again(&self) -> u64 {
        let table = fs::read_to_string(format!("/proc/{}/net/snmp", self.holder.id())).unwrap();
        let mut lines = table.lines().filter_map(|line| line.strip_prefix("Tcp:"));
        let (names, numbers) = (lines.next().unwrap(), lines.next().unwrap());
        let position = names.split_whitespace().position(|name| name == "RetransSegs").unwrap();
        numbers.split_whitespace().nth(position).unwrap().parse().unwrap()
    }

    /// Waits until it has sent some again.
    pub(crate) fn wait_until_sent_again(&self, before: u64) {
        poll_until(Duration::from_secs(30), || match self.sent_again() {
            now if now > before => Ok(()),
            _ => Err("every packet seems to arrive".to_owned()),
        });
    }
}
