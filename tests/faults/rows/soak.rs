//! One liveconf for long, under one fault after the other.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;

use super::disk::{fill, make_room, small_disk};
use crate::alone::{Namespace, is_alone};
use crate::pace;
use crate::scene::Scene;
use crate::strain::{Strain, state};
use crate::support::consul::Consul;
use crate::support::etcd::Etcd;
use crate::support::liveconf::{Daemon, Job};
use crate::support::process::{Process, bound};
use crate::support::proxy::{Door, End, Link, Proxy};
use crate::support::reader::Reader;
use crate::support::{SOON, consul_client, etcd_client, poll_until, seed};

/// How soon all is right after a fault: K1 is 15 s, and liveconf, two registries and the tests share a machine.
const RECOVERY: Duration = Duration::from_secs(40);

/// Goes to Consul with each request, and nowhere else.
const CANARY: &str = "hunter2-canary";

/// What can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    EtcdKilled,
    EtcdStopped,
    EtcdPaused,
    EtcdCompacted,
    EtcdRestored,
    EtcdCut,
    EtcdSilent,
    ConsulKilled,
    ConsulStopped,
    ConsulPaused,
    ConsulRestored,
    ConsulCut,
    ConsulSilent,
    DiskFull,
    ReloadFails,
    ProgramDown,
    LiveconfPaused,
    LiveconfReloaded,
    ManyChanges,
    /// These two end the process whose memory is looked at, so they are for the first half.
    LiveconfKilled,
    LiveconfStopped,
}

/// All of them; the last two end liveconf.
const FAULTS: [Fault; 21] = [
    Fault::EtcdKilled,
    Fault::EtcdStopped,
    Fault::EtcdPaused,
    Fault::EtcdCompacted,
    Fault::EtcdRestored,
    Fault::EtcdCut,
    Fault::EtcdSilent,
    Fault::ConsulKilled,
    Fault::ConsulStopped,
    Fault::ConsulPaused,
    Fault::ConsulRestored,
    Fault::ConsulCut,
    Fault::ConsulSilent,
    Fault::DiskFull,
    Fault::ReloadFails,
    Fault::ProgramDown,
    Fault::LiveconfPaused,
    Fault::LiveconfReloaded,
    Fault::ManyChanges,
    Fault::LiveconfKilled,
    Fault::LiveconfStopped,
];

/// Two registries, each with a file and a program that is told in a way of its own.
struct Soak {
    etcd: Etcd,
    consul: Consul,
    /// In front of etcd and of Consul.
    proxies: [Proxy; 2],
    job: Job,
    program: Option<Process>,
    daemon: Option<Daemon>,
    /// The last generation that was written anywhere.
    written: u64,
    /// The generations that etcd and Consul hold.
    held: [u64; 2],
}

impl Soak {
    /// The file of a target, and what its program has of it.
    const FILES: [(&str, &str); 2] = [("out/etcd.conf", "served-etcd"), ("out/consul.conf", "served-consul")];

    fn new() -> Self {
        let (etcd, consul) = (Etcd::start(), Consul::start());
        let proxies = [Proxy::start(etcd.port_of(0)), Proxy::start(consul.port())];
        let target = |name: &str, reload: &str| {
            format!(
                "  {name}:
    templates:
      - content: |
          {{% for entry in prefix(path=\"app\", registry=\"{name}\") %}}
          {{{{ entry.key }}}}={{{{ entry.value }}}}
          {{% endfor %}}
        dest: out/{name}.conf
    reload: {reload}
    wait: 1ms..20ms
    reload_interval: 100ms
    retry: 100ms..1s
"
            )
        };
        let config = format!(
            "registries:
  etcd: {{etcd: {{endpoints: ['{}'], prefix: '', audit_interval: 1s, progress_interval: 300ms, dial_timeout: 1s, \
             request_timeout: 3s}}}}
  consul: {{consul: {{address: '{}', token: {CANARY}, wait: 5s, probe_interval: 1s, request_timeout: 1s, retry_interval: 2s}}}}
targets:
{}{}",
            proxies[0].endpoint(),
            proxies[1].endpoint(),
            target("etcd", "{shell: 'test ! -e broken && cp out/etcd.conf .etcd && mv .etcd served-etcd'}"),
            // Who runs this for long does so under `nohup`, and then no shell can be told by HUP.
            target("consul", "{signal: USR1, pid_file: program.pid}"),
        );
        let job = Job::new(&config);
        job.write(
            "program",
            "read_it() { cat out/consul.conf > .consul && mv .consul served-consul; }\ntrap read_it USR1\nread_it\n\
             echo $$ > .pid; mv .pid program.pid\nwhile :; do sleep 0.02; done\n",
        );
        fs::create_dir(job.folder().path("out")).unwrap();
        small_disk(&job.folder().path("out"));
        let mut soak = Self { etcd, consul, proxies, job, program: None, daemon: None, written: 0, held: [0, 0] };
        soak.write();
        soak.start_program();
        soak.daemon = Some(soak.job.start(&["run"]));
        soak.settle();
        soak
    }

    fn out(&self) -> &Path {
        self.job.folder().root()
    }

    fn daemon(&mut self) -> &mut Daemon {
        self.daemon.as_mut().unwrap()
    }

    fn start_program(&mut self) {
        let mut program = bound(Signal::SIGKILL, "sh");
        program.arg("program").current_dir(self.job.folder().root());
        let program = self.program.insert(Process::start(program));
        self.job.wait_for("program.pid", &format!("{}\n", program.id()));
    }

    /// Writes the next generation into both.
    fn write(&mut self) {
        self.write_to([true, true]);
    }

    /// Writes it where it can be written.
    fn write_to(&mut self, [etcd, consul]: [bool; 2]) {
        self.written += 1;
        let keys = || Scene::generation(self.written);
        if etcd {
            self.etcd.client().txn(keys().map(|(key, value)| etcd_client::put(&key, value)).collect());
            self.held[0] = self.written;
        }
        if consul {
            self.consul.client().txn(keys().map(|(key, value)| consul_client::put(&key, value)).collect());
            self.held[1] = self.written;
        }
    }

    /// Whether files and programs show what the registries hold.
    fn is_right(&self) -> Result<(), String> {
        for (number, (file, served)) in Self::FILES.iter().enumerate() {
            for path in [file, served] {
                let shown = self.job.read(path).as_deref().and_then(Scene::generation_of);
                if shown != Some(self.held[number]) {
                    return Err(format!("`{path}` should show {}, but shows {shown:?}", self.held[number]));
                }
            }
        }
        Ok(())
    }

    #[track_caller]
    fn settle(&self) {
        let program = || self.program.as_ref().map(|program| state(program.id()));
        poll_until(RECOVERY, || self.is_right().map_err(|wrong| format!("{wrong}; the program: {:?}", program())));
    }

    /// Puts a fault in force for a while, proves that it is, and ends it. Gives nothing where liveconf is another process
    /// afterwards.
    #[expect(clippy::too_many_lines, reason = "each fault is a few lines, and the list of them is best read as one")]
    fn strike(&mut self, fault: Fault, random: &mut StdRng) -> ControlFlow<()> {
        let longest = pace::either(2500, 60_000);
        let so_long = Duration::from_millis(random.random_range(500..longest));
        // What is written while one of the two is away goes to the other one.
        let (only_etcd, only_consul) = ([true, false], [false, true]);
        match fault {
            Fault::EtcdKilled | Fault::EtcdStopped => {
                if fault == Fault::EtcdKilled {
                    self.etcd.kill(0);
                } else {
                    self.etcd.stop(0);
                }
                assert_refuses(self.etcd.port_of(0));
                self.write_to(only_consul);
                thread::sleep(so_long);
                self.etcd.restart(0);
            }
            Fault::EtcdPaused => {
                self.etcd.pause(0);
                assert_stopped(self.etcd.process_of(0));
                self.write_to(only_consul);
                thread::sleep(so_long);
                self.etcd.resume(0);
            }
            Fault::EtcdCompacted => {
                self.proxies[0].set(Link { door: Door::Closed, ..Link::default() });
                self.proxies[0].cut(End::Reset);
                (0..20).for_each(|_| self.write_to(only_etcd));
                let client = self.etcd.client();
                client.compact(client.put("unrelated", "x"));
                thread::sleep(so_long);
                self.proxies[0].set(Link::default());
            }
            Fault::EtcdRestored => {
                let (backup, held) = (self.etcd.snapshot(), self.held[0]);
                (0..10).for_each(|_| self.write_to(only_etcd));
                self.settle();
                self.etcd.restore(&backup);
                self.held[0] = held;
                self.settle();
            }
            Fault::EtcdCut | Fault::ConsulCut => {
                let proxy = usize::from(fault == Fault::ConsulCut);
                let before = self.proxies[proxy].counts().cuts;
                for _ in 0..10 {
                    self.proxies[proxy].cut(End::Reset);
                    self.write();
                    thread::sleep(so_long / 10);
                }
                assert!(self.proxies[proxy].counts().cuts > before);
            }
            Fault::EtcdSilent | Fault::ConsulSilent => {
                let proxy = &self.proxies[usize::from(fault == Fault::ConsulSilent)];
                let before = proxy.counts().lost;
                proxy.set(Link { loses_responses: true, door: Door::Silent, ..Link::default() });
                self.write();
                thread::sleep(so_long);
                let proxy = &self.proxies[usize::from(fault == Fault::ConsulSilent)];
                poll_until(SOON, || if proxy.counts().lost > before { Ok(()) } else { Err("nothing was lost".into()) });
                proxy.set(Link::default());
                proxy.cut(End::Reset);
            }
            Fault::ConsulKilled | Fault::ConsulStopped => {
                if fault == Fault::ConsulKilled {
                    self.consul.kill(0);
                } else {
                    self.consul.stop(0);
                }
                assert_refuses(self.consul.port());
                self.write_to(only_etcd);
                thread::sleep(so_long);
                self.consul.restart(0);
            }
            Fault::ConsulPaused => {
                self.consul.pause(0);
                assert_stopped(self.consul.id(0));
                self.write_to(only_etcd);
                thread::sleep(so_long);
                self.consul.resume(0);
            }
            Fault::ConsulRestored => {
                let (snapshot, held) = (self.consul.snapshot(), self.held[1]);
                (0..10).for_each(|_| self.write_to(only_consul));
                self.settle();
                self.consul.restore(&snapshot);
                self.held[1] = held;
                self.settle();
            }
            Fault::DiskFull => {
                let out = self.out().join("out");
                let before = self.daemon().logged("not applied").len();
                fill(&out);
                self.write();
                // Of more than some in a minute the log does not tell.
                thread::sleep(so_long.max(Duration::from_secs(1)));
                assert!(self.is_right().is_err(), "there was no room");
                println!("told of the full disk: {}", self.daemon().logged("not applied").len() > before);
                make_room(&out);
            }
            Fault::ReloadFails => {
                self.job.write("broken", "");
                self.write();
                thread::sleep(so_long);
                assert!(self.is_right().is_err(), "the reload fails");
                fs::remove_file(self.job.folder().path("broken")).unwrap();
            }
            Fault::ProgramDown => {
                self.program = None;
                self.write();
                thread::sleep(so_long);
                assert!(self.is_right().is_err(), "nobody read the file");
                self.start_program();
            }
            Fault::LiveconfPaused => {
                self.daemon().signal(Signal::SIGSTOP);
                assert_stopped(self.daemon().id());
                self.write();
                thread::sleep(so_long);
                self.daemon().signal(Signal::SIGCONT);
            }
            Fault::LiveconfReloaded => {
                self.daemon().signal(Signal::SIGHUP);
                self.write();
            }
            Fault::ManyChanges => {
                let until = Instant::now() + so_long;
                while Instant::now() < until {
                    self.write();
                    thread::sleep(Duration::from_millis(20));
                }
            }
            Fault::LiveconfKilled | Fault::LiveconfStopped => {
                self.write();
                thread::sleep(Duration::from_millis(random.random_range(0..60)));
                self.assert_tells_no_secret();
                let mut daemon = self.daemon.take().unwrap();
                if fault == Fault::LiveconfKilled {
                    daemon.kill();
                } else {
                    daemon.signal(Signal::SIGTERM);
                    daemon.wait(Duration::from_secs(10));
                }
                self.write();
                self.daemon = Some(self.job.start(&["run"]));
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    /// INV-E, as far as it shows outside.
    fn assert_tells_no_secret(&mut self) {
        let arguments = fs::read(format!("/proc/{}/cmdline", self.daemon().id())).unwrap_or_default();
        assert!(!arguments.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()));
        assert_eq!(self.daemon().logged(CANARY), [""; 0]);
        assert!(self.proxies[1].counts().to_server > 0, "it went to Consul");
    }
}

fn assert_refuses(port: u16) {
    std::net::TcpStream::connect(("127.0.0.1", port)).unwrap_err();
}

fn assert_stopped(process: u32) {
    poll_until(SOON, || match state(process) {
        'T' => Ok(()),
        state => Err(format!("process {process} is in state {state}")),
    });
}

/// The memory of a process now, in KiB.
fn memory(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn open_files(process: u32) -> usize {
    fs::read_dir(format!("/proc/{process}/fd")).unwrap().count()
}

/// How long: `LIVECONF_SOAK=30m`.
fn duration() -> Duration {
    match std::env::var("LIVECONF_SOAK") {
        Ok(text) => humantime::parse_duration(&text).expect("LIVECONF_SOAK must be a duration such as `30m`"),
        Err(_) => pace::either(Duration::from_secs(60), Duration::from_secs(30 * 60)),
    }
}

/// For a minute, or as long as `LIVECONF_SOAK` says, etcd, Consul, the ways to them, the disk, the reload, the program and liveconf
/// itself fail in random order: readers see whole files all the while, each fault ends with the newest generation served, and
/// memory, file descriptors, processor and log stay where they were.
#[test]
fn row_54_soak() {
    if !is_alone(&[Namespace::Mount]) {
        return;
    }
    let mut random = seed::random("row_54_soak");
    let mut soak = Soak::new();
    let readers = Soak::FILES.map(|(file, _)| {
        let is_whole = |content: &[u8]| std::str::from_utf8(content).ok().and_then(Scene::generation_of).is_some();
        Reader::start(soak.job.folder().path(file), is_whole)
    });
    let (began, lasts) = (Instant::now(), duration());
    let mut struck: BTreeMap<Fault, (u32, Duration)> = BTreeMap::new();
    // From the second half on: the memory after each fault, and the file descriptors at its beginning.
    let (mut samples, mut files) = (Vec::new(), 0);
    let mut bag = Vec::new();
    while began.elapsed() < lasts {
        let is_late = began.elapsed() > lasts / 2;
        if is_late && files == 0 {
            files = open_files(soak.daemon().id());
        }
        // Each once, in an order of its own, and then again; late ones leave the process as it is.
        if bag.is_empty() {
            bag = FAULTS[..if is_late { FAULTS.len() - 2 } else { FAULTS.len() }].to_vec();
            bag.shuffle(&mut random);
        }
        let Some(fault) = bag.pop() else { break };
        if is_late && FAULTS[FAULTS.len() - 2..].contains(&fault) {
            continue;
        }
        let strain = Strain::begin(soak.daemon());
        let same = soak.strike(fault, &mut random).is_continue();
        let over = Instant::now();
        soak.write();
        soak.settle();
        let recovery = over.elapsed();
        if same {
            strain.assert_few_complaints(soak.daemon());
            // Hundreds of applies are work, and no harm.
            if fault != Fault::ManyChanges {
                strain.assert_few_resources();
            }
        }
        assert!(soak.daemon().is_running(), "{fault:?}");
        let (times, slowest) = struck.entry(fault).or_default();
        (*times, *slowest) = (*times + 1, (*slowest).max(recovery));
        if is_late {
            samples.push((began.elapsed(), memory(soak.daemon().id())));
        }
    }
    let (took, process) = (began.elapsed(), soak.daemon().id());
    println!("{took:?}, {} generations; times and slowest recovery of each: {struck:#?}", soak.written);
    for seen in readers.map(Reader::stop) {
        println!("{seen:?}");
        assert_eq!((seen.partial, seen.empty, seen.missing), (0, 0, 0), "{seen:?}");
        assert!(seen.versions > 2 && seen.reads > 100 * seen.elapsed.as_secs(), "{seen:?}");
    }
    assert!(struck.len() >= pace::either(5, FAULTS.len()), "{struck:?}");
    soak.assert_tells_no_secret();
    let left: Vec<_> = soak.job.folder().names("out").into_iter().filter(|name| name.starts_with('.')).collect();
    assert_eq!(left, [""; 0], "left behind");

    // Connections and watches are where they were, and memory is: the first quarter of the samples is for warming up.
    let now = open_files(process);
    assert!(now.abs_diff(files) <= 5, "{now} file descriptors, {files} before");
    let (warm, last) = (&samples[samples.len() / 4], &samples[samples.len() - 1]);
    let passed = last.0.checked_sub(warm.0).unwrap();
    println!("memory from {} to {} KiB in {passed:?}; {now} file descriptors, {files} before", warm.1, last.1);
    // The allocator takes and gives back some at a time.
    let most = warm.1 + 4096 + 1024 * passed.as_secs() / 3600;
    assert!(last.1 <= most.min(64 << 10), "{samples:?}");
    soak.daemon.take().unwrap().stop();
}
