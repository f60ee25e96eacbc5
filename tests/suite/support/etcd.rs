//! Real etcd: one member or several, with or without TLS and users.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::certificates::{Authority, TlsFiles};
use super::etcd_client::Client;
use super::folder::Folder;
use super::process::{Process, bound, find};
use super::{SOON, http, poll_until, port};

/// A cluster; dropped, it ends.
pub struct Etcd {
    folder: Folder,
    members: Vec<Member>,
    /// More flags for every member.
    flags: Vec<String>,
    tls: Option<TlsFiles>,
    /// Who signed the certificate of the server.
    authority: Option<Authority>,
    /// `USER:PASSWORD` of who may do everything, once users are required.
    root: OnceLock<String>,
}

struct Member {
    name: String,
    client_port: u16,
    peer_port: u16,
    metrics_port: u16,
    process: Option<Process>,
}

impl Etcd {
    /// One member.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// One member with more flags.
    pub fn with(flags: &[&str]) -> Self {
        Self::begin(1, false, flags)
    }

    /// Several members, all well.
    pub fn cluster(members: usize) -> Self {
        Self::begin(members, false, &[])
    }

    /// One member that speaks TLS only and demands a client certificate.
    pub fn with_tls() -> Self {
        Self::begin(1, true, &[])
    }

    fn begin(members: usize, tls: bool, flags: &[&str]) -> Self {
        let folder = Folder::in_memory();
        let authority = tls.then(|| Authority::new(folder.root(), "ca"));
        let tls = authority.as_ref().map(|authority| {
            authority.server("server");
            authority.client("client")
        });
        let members = (0..members)
            .map(|index| Member {
                name: format!("m{index}"),
                client_port: port::free(),
                peer_port: port::free(),
                metrics_port: port::free(),
                process: None,
            })
            .collect();
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let mut etcd = Self { folder, members, flags, tls, authority, root: OnceLock::new() };
        etcd.restart_all(&(0..etcd.members.len()).collect::<Vec<_>>());
        etcd
    }

    /// Where clients reach each member.
    pub fn endpoints(&self) -> Vec<String> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        self.members.iter().map(|member| format!("{scheme}://127.0.0.1:{}", member.client_port)).collect()
    }

    /// The same as a list in YAML.
    pub fn endpoints_yaml(&self) -> String {
        format!("[{}]", self.endpoints().join(", "))
    }

    /// What stands under `etcd:` to reach all members: a flow mapping.
    pub fn section(&self) -> String {
        self.section_with("")
    }

    /// The same with more settings, such as `prefix: /team`.
    pub fn section_with(&self, more: &str) -> String {
        let mut settings = vec![format!("endpoints: {}", self.endpoints_yaml())];
        settings.extend(self.tls.as_ref().map(TlsFiles::settings));
        settings.extend((!more.is_empty()).then(|| more.to_owned()));
        format!("{{{}}}", settings.join(", "))
    }

    /// The port where clients reach a member.
    pub fn port_of(&self, index: usize) -> u16 {
        self.members[index].client_port
    }

    /// The files that a client of a cluster with TLS needs.
    pub fn tls(&self) -> &TlsFiles {
        self.tls.as_ref().expect("started with TLS")
    }

    /// Who signs certificates for the server; a new one is shown to those who connect from then on.
    pub fn authority(&self) -> &Authority {
        self.authority.as_ref().expect("started with TLS")
    }

    /// A connection to all members.
    pub fn client(&self) -> Client {
        Client::new(&self.endpoints(), self.tls.as_ref())
    }

    /// A connection to one member.
    pub fn client_of(&self, index: usize) -> Client {
        Client::new(&self.endpoints()[index..=index], self.tls.as_ref())
    }

    /// Makes a root user, and a user `reader` who may read what begins with `prefix`; then turns users on.
    pub fn require_users(&self, root_password: &str, reader_password: &str, prefix: &str) {
        self.ctl(["user", "add", &format!("root:{root_password}")]);
        self.ctl(["user", "grant-role", "root", "root"]);
        self.ctl(["role", "add", "reads"]);
        self.ctl(["role", "grant-permission", "reads", "read", "--prefix", prefix]);
        self.ctl(["user", "add", &format!("reader:{reader_password}")]);
        self.ctl(["user", "grant-role", "reader", "reads"]);
        self.ctl(["auth", "enable"]);
        self.root.set(format!("root:{root_password}")).expect("users are required once");
    }

    /// Runs `etcdctl`, as root once users are required.
    #[track_caller]
    pub fn ctl<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) {
        let mut command = Command::new(find("etcdctl"));
        command.env("ETCDCTL_API", "3").env("ETCDCTL_ENDPOINTS", &self.endpoints()[0]).args(arguments);
        if let Some(root) = self.root.get() {
            command.env("ETCDCTL_USER", root);
        }
        if let Some(tls) = &self.tls {
            command.env("ETCDCTL_CACERT", &tls.ca).env("ETCDCTL_CERT", &tls.cert).env("ETCDCTL_KEY", &tls.key);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Ends a member at once.
    pub fn kill(&mut self, index: usize) {
        self.members[index].process.take().expect("a member that runs").kill();
    }

    /// Ends a member as an operator would.
    pub fn stop(&mut self, index: usize) {
        let mut process = self.members[index].process.take().expect("a member that runs");
        process.signal(Signal::SIGTERM);
        process.wait(SOON);
    }

    /// Makes a member deaf and dumb without closing anything.
    pub fn pause(&mut self, index: usize) {
        self.members[index].process.as_mut().unwrap().signal(Signal::SIGSTOP);
    }

    /// Lets a paused member go on.
    pub fn resume(&mut self, index: usize) {
        self.members[index].process.as_mut().unwrap().signal(Signal::SIGCONT);
    }

    /// Starts a member that was ended, with the same flags and data.
    pub fn restart(&mut self, index: usize) {
        self.launch(index);
        self.wait_until_healthy(index);
    }

    /// Starts members that only together have a quorum.
    pub fn restart_all(&mut self, members: &[usize]) {
        for index in members {
            self.launch(*index);
        }
        for index in members {
            self.wait_until_healthy(*index);
        }
    }

    /// The process id of a member that runs.
    pub fn process_of(&self, index: usize) -> u32 {
        self.members[index].process.as_ref().expect("a member that runs").id()
    }

    /// A backup, taken from the first member.
    pub fn snapshot(&self) -> PathBuf {
        let file = self.folder.path("snapshot.db");
        fs::remove_file(&file).ok();
        self.ctl(["snapshot", "save", file.to_str().unwrap()]);
        file
    }

    /// What tells clusters apart that are made from one backup.
    pub const TOKEN: &str = "liveconf-test";

    /// Puts a backup in the place of the data of the only member, and starts it with the same flags.
    pub fn restore(&mut self, snapshot: &Path) {
        self.restore_as(snapshot, Self::TOKEN);
    }

    /// The same as a cluster of this token.
    pub fn restore_as(&mut self, snapshot: &Path, token: &str) {
        assert_eq!(self.members.len(), 1, "restores are of one member");
        if self.members[0].process.is_some() {
            self.stop(0);
        }
        let data = self.data(0);
        fs::remove_dir_all(&data).unwrap();
        let mut command = Command::new(find("etcdctl"));
        command.env("ETCDCTL_API", "3").args(["snapshot", "restore", snapshot.to_str().unwrap()]);
        command.arg("--data-dir").arg(data).args(self.identity(0, token));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        self.restart(0);
    }

    /// The number that a member counts under this name in its metrics, over all its labels; 0 if it has none yet.
    pub fn metric(&self, index: usize, name: &str) -> u64 {
        self.sum(index, |line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])))
    }

    /// The calls of a gRPC method, such as `Range`, that a member has counted since it started.
    pub fn calls(&self, index: usize, method: &str) -> u64 {
        let label = format!("grpc_method=\"{method}\"");
        self.sum(index, |line| line.starts_with("grpc_server_started_total{") && line.contains(&label))
    }

    fn sum(&self, index: usize, is_counted: impl Fn(&str) -> bool) -> u64 {
        let (status, body) = http::get(self.members[index].metrics_port, "/metrics").unwrap();
        assert_eq!(status, 200);
        let value = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counters are whole and positive")]
        let count = body.lines().filter(|line| is_counted(line)).filter_map(value).sum::<f64>() as u64;
        count
    }

    fn data(&self, index: usize) -> PathBuf {
        self.folder.path(&self.members[index].name)
    }

    /// The flags that both a member and a restore of its data need.
    fn identity(&self, index: usize, token: &str) -> Vec<String> {
        let peer = |member: &Member| format!("http://127.0.0.1:{}", member.peer_port);
        let member = &self.members[index];
        let all: Vec<_> = self.members.iter().map(|member| format!("{}={}", member.name, peer(member))).collect();
        [
            ("--name", member.name.clone()),
            ("--initial-advertise-peer-urls", peer(member)),
            ("--initial-cluster", all.join(",")),
            ("--initial-cluster-token", token.into()),
        ]
        .map(|(flag, value)| format!("{flag}={value}"))
        .into()
    }

    fn launch(&mut self, index: usize) {
        let member = &self.members[index];
        let client = &self.endpoints()[index];
        let mut command = bound(Signal::SIGKILL, find("etcd"));
        command.args(self.identity(index, Self::TOKEN)).arg("--data-dir").arg(self.data(index)).args([
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls=http://127.0.0.1:{}", member.peer_port),
            format!("--listen-metrics-urls=http://127.0.0.1:{}", member.metrics_port),
            "--logger=zap".into(),
        ]);
        command.args(&self.flags);
        if let Some(tls) = &self.tls {
            command.arg("--client-cert-auth").arg("--trusted-ca-file").arg(&tls.ca);
            command.arg("--cert-file").arg(tls.ca.with_file_name("server.pem"));
            command.arg("--key-file").arg(tls.ca.with_file_name("server.key"));
        }
        // What a server of a test makes of variables of the environment must not depend on the machine.
        command.env_clear();
        let log = File::options().create(true).append(true).open(self.log(index)).unwrap();
        command.stderr(log);
        self.members[index].process = Some(Process::start(command));
    }

    fn log(&self, index: usize) -> PathBuf {
        self.folder.path(format!("{}.log", self.members[index].name))
    }

    fn wait_until_healthy(&mut self, index: usize) {
        let log = self.log(index);
        let member = &mut self.members[index];
        let process = member.process.as_mut().unwrap();
        let port = member.metrics_port;
        poll_until(Duration::from_secs(60), || {
            if let Some(status) = process.ended() {
                panic!("etcd ended with {status}: {}", fs::read_to_string(&log).unwrap_or_default());
            }
            match http::get(port, "/health") {
                Ok((200, body)) if body.contains("true") => Ok(()),
                other => Err(format!("etcd is not healthy: {other:?}")),
            }
        });
    }
}
