//! 2,000 services of which one in a hundred changes each second, in one file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::{SysconfVar, sysconf};
use serde_json::{Value, json};

use super::{complaints, job};
use crate::support::connections;
use crate::support::consul::Consul;
use crate::support::consul_client::{Client, Health, instance};
use crate::support::liveconf::{BINARY, Daemon, start};
use crate::support::process::bound;

const SERVICES: usize = 2000;
const CHANGES_A_SECOND: u32 = 20;
const MAX_CONNECTIONS: usize = 128;

/// Every instance of every service, whatever its health.
const TEMPLATE: &str = "\
{% for service in services() %}{% for i in service(name=service.name, status='any') %}\
{{ i.name }} {{ i.id }} {{ i.endpoint }} {{ i.status }}\n\
{% endfor %}{% endfor %}";

/// One connection that stays: thousands that end would be a long list for whoever counts those that are open.
struct Writer {
    stream: BufReader<TcpStream>,
}

impl Writer {
    fn new(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    fn put(&mut self, path: &str, body: &Value) {
        let body = body.to_string();
        let head = format!("PUT {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
        self.stream.get_mut().write_all(format!("{head}{body}").as_bytes()).unwrap();
        let (mut line, mut length) = (String::new(), 0);
        self.stream.read_line(&mut line).unwrap();
        assert!(line.starts_with("HTTP/1.1 200 "), "{line}");
        while line != "\r\n" {
            line.clear();
            self.stream.read_line(&mut line).unwrap();
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        self.stream.read_exact(&mut vec![0; length]).unwrap();
    }
}

/// What the catalog holds: by service and id the port and the health.
struct Catalog {
    writer: Writer,
    nodes: usize,
    /// The line of Consul's own service.
    own: String,
    services: BTreeMap<String, BTreeMap<String, (u16, Health)>>,
}

impl Catalog {
    fn fill(consul: &Consul, nodes: usize) -> Self {
        let own = consul.client().call_json("GET", "/v1/health/service/consul", "");
        let own = format!("consul consul 127.0.0.1:{} passing\n", own[0]["Service"]["Port"]);
        let mut catalog = Self { writer: Writer::new(consul.port()), nodes, own, services: BTreeMap::new() };
        for number in 0..SERVICES {
            catalog.set(number, 1000, Health::Passing);
        }
        catalog
    }

    fn set(&mut self, number: usize, port: u16, health: Health) {
        let name = name(number);
        let node = self.node(number);
        self.writer.put("/v1/catalog/register", &instance(&node, &name, port, health));
        self.services.entry(name.clone()).or_default().insert(format!("{name}-1"), (port, health));
    }

    /// A change of its health, of its port, of there being an instance, or of how many there are.
    fn change(&mut self, round: usize) {
        // Far from the one before.
        let number = (round * 7919) % SERVICES;
        let (name, node, port) = (name(number), self.node(number), 2000 + u16::try_from(round % 20_000).unwrap());
        match round % 4 {
            0 => self.set(number, 1000, Health::Critical),
            1 => self.set(number, port, Health::Passing),
            2 => {
                let id = format!("{name}-1");
                self.writer.put("/v1/catalog/deregister", &json!({"Node": node, "ServiceID": id}));
                self.services.entry(name).or_default().remove(&id);
            }
            _ => {
                let mut second = instance(&node, &name, port, Health::Passing);
                let id = format!("{name}-2");
                second["Service"]["ID"] = Value::from(id.as_str());
                second.as_object_mut().unwrap().remove("Check");
                self.writer.put("/v1/catalog/register", &second);
                self.services.entry(name).or_default().insert(id, (port, Health::Passing));
            }
        }
    }

    /// What the template renders to.
    fn rendered(&self) -> String {
        let mut text = self.own.clone();
        for (name, instances) in &self.services {
            for (id, (port, health)) in instances {
                writeln!(text, "{name} {id} 10.0.0.1:{port} {}", health.as_str()).unwrap();
            }
        }
        text
    }

    fn node(&self, number: usize) -> String {
        format!("node-{}", number % self.nodes)
    }
}

fn name(number: usize) -> String {
    format!("service-{number:04}")
}

/// Connections to a port, counted at the server's side all the while.
struct Counter {
    over: Arc<AtomicBool>,
    most: Arc<AtomicUsize>,
    thread: thread::JoinHandle<usize>,
}

impl Counter {
    fn start(port: u16) -> Self {
        let (over, most) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stop, seen) = (Arc::clone(&over), Arc::clone(&most));
        let thread = thread::spawn(move || {
            let mut looks = 0;
            while !stop.load(Ordering::Relaxed) {
                seen.fetch_max(connections::open_to(port), Ordering::Relaxed);
                looks += 1;
                thread::sleep(Duration::from_millis(20));
            }
            looks
        });
        Self { over, most, thread }
    }

    /// The most there were, and how often it was looked.
    fn stop(self) -> (usize, usize) {
        self.over.store(true, Ordering::Relaxed);
        let looks = self.thread.join().unwrap();
        (self.most.load(Ordering::Relaxed), looks)
    }
}

/// Reads that the server answered, in the intervals of ten seconds that it counts in.
#[derive(Default)]
struct Requests(BTreeMap<String, u64>);

impl Requests {
    fn look(&mut self, client: &Client) {
        let metrics = client.call_json("GET", "/v1/agent/metrics", "");
        let is_read = |sample: &&Value| {
            let name = sample["Name"].as_str().unwrap();
            name.contains("http.GET.") && !name.contains("agent.metrics")
        };
        let reads = metrics["Samples"].as_array().unwrap().iter().filter(is_read);
        let count = reads.map(|sample| sample["Count"].as_u64().unwrap()).sum();
        self.0.insert(metrics["Timestamp"].as_str().unwrap().to_owned(), count);
    }

    fn each_second(&self) -> Vec<u64> {
        self.0.values().map(|count| count / 10).collect()
    }
}

/// The processor time that a process has had.
fn cpu(id: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    // After the name, which may hold anything: the state is field 3, user and system time are 14 and 15.
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    let each_second = u64::try_from(sysconf(SysconfVar::CLK_TCK).unwrap().unwrap()).unwrap();
    Duration::from_millis(ticks * 1000 / each_second)
}

/// The most memory that a process has held, in MiB.
fn memory(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// `LIVECONF_TEST_BINARY`, for figures of a release build, else the one that was built for the tests.
fn run(job: &crate::support::liveconf::Job) -> Daemon {
    let binary = std::env::var("LIVECONF_TEST_BINARY").unwrap_or_else(|_| BINARY.to_owned());
    start(job.prepare(bound(Signal::SIGKILL, binary), &["run"]))
}

/// How soon after the end the file is right.
const WITHIN: Duration = Duration::from_secs(2);

/// The same in a build for tests, on a machine that runs other tests beside it.
const WITHIN_WHEN_BUSY: Duration = Duration::from_secs(15);

fn churn(seconds: u32, nodes: usize, within: Duration) {
    let consul = Consul::start();
    let mut catalog = Catalog::fill(&consul, nodes);
    let counter = Counter::start(consul.port());
    let job = job(&consul.section_with(&format!("max_connections: {MAX_CONNECTIONS}")), &[("all", TEMPLATE)]);
    let started = Instant::now();
    let daemon = run(&job);
    job.wait_for("all.conf", &catalog.rendered());
    let first = started.elapsed();

    let (mut requests, client) = (Requests::default(), consul.client());
    let (start, before) = (Instant::now(), cpu(daemon.id()));
    for round in 0..seconds * CHANGES_A_SECOND {
        catalog.change(usize::try_from(round).unwrap());
        if round % CHANGES_A_SECOND == 0 {
            requests.look(&client);
        }
        // The pace of the churn itself.
        thread::sleep(
            (start + Duration::from_secs(1) / CHANGES_A_SECOND * (round + 1)).saturating_duration_since(Instant::now()),
        );
    }
    let (end, took) = (Instant::now(), start.elapsed());
    job.wait_for_within(within, "all.conf", &catalog.rendered());
    let right = end.elapsed();
    let cpu = cpu(daemon.id()).saturating_sub(before).as_secs_f64() / start.elapsed().as_secs_f64() * 100.0;
    let (most, looks) = counter.stop();
    println!(
        "{SERVICES} services on {nodes} nodes, first file after {first:?}; {CHANGES_A_SECOND} changes/s for {took:?}: right \
         {right:?} after the end, at most {most} connections in {looks} looks, requests/s in intervals of 10 s {:?}, liveconf \
         {cpu:.1} % of a processor, {} MiB at most",
        requests.each_second(),
        memory(daemon.id())
    );
    assert!(took < Duration::from_secs(u64::from(seconds) + 2), "the machine is too slow for this churn: {took:?}");
    // Two more are those of the test itself.
    assert!(most <= MAX_CONNECTIONS + 2, "{most}");
    // A look takes as long as the kernel's list of all connections is; those of liveconf stay.
    assert!(most > 3 && looks > usize::try_from(seconds).unwrap(), "{most} connections in {looks} looks");
    // On a busy machine the first answers take a while.
    let expected = |line: &String| line.contains("no such service") || line.contains("still waits for");
    let others: Vec<_> = complaints(&daemon).into_iter().filter(|line| !expected(line)).collect();
    assert_eq!(others, [""; 0]);
    daemon.stop();
}

#[test]
fn churn_is_followed() {
    churn(8, 50, WITHIN_WHEN_BUSY);
}

#[test]
#[ignore = "takes two minutes"]
fn churn_is_followed_for_two_minutes() {
    churn(120, 50, WITHIN);
}

#[test]
#[ignore = "takes two minutes"]
fn churn_is_followed_on_as_many_nodes_as_services() {
    churn(120, SERVICES, WITHIN);
}
