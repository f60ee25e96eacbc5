//! Real etcd servers in temporary folders, ended by their own pid.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// One member of a cluster.
pub(crate) struct Server {
    name: String,
    pub(crate) client_port: u16,
    peer_port: u16,
    scheme: &'static str,
    arguments: Vec<String>,
    data: PathBuf,
    child: Option<Child>,
    folder: TempDir,
}

impl Server {
    /// A cluster of one that answers.
    pub(crate) fn start() -> Self {
        Self::start_with("http", &[])
    }

    /// A cluster of one with more arguments, which answers if it speaks plain HTTP.
    pub(crate) fn start_with(scheme: &'static str, arguments: &[&str]) -> Self {
        let mut server = Self::new("s1", scheme);
        server.arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let cluster = server.cluster_member();
        server.run(&cluster);
        server.await_answer();
        server
    }

    /// A cluster of three that answers.
    pub(crate) fn cluster() -> [Self; 3] {
        let mut servers = ["s1", "s2", "s3"].map(|name| Self::new(name, "http"));
        let cluster: Vec<String> = servers.iter().map(Self::cluster_member).collect();
        for server in &mut servers {
            server.run(&cluster.join(","));
        }
        for server in &servers {
            server.await_answer();
        }
        servers
    }

    fn new(name: &str, scheme: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        Self {
            name: name.to_owned(),
            client_port: free_port(),
            peer_port: free_port(),
            scheme,
            arguments: Vec::new(),
            data,
            child: None,
            folder,
        }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.client_port)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn cluster_member(&self) -> String {
        format!("{}=http://127.0.0.1:{}", self.name, self.peer_port)
    }

    fn run(&mut self, cluster: &str) {
        let log = File::options().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        let peer = format!("http://127.0.0.1:{}", self.peer_port);
        let child = Command::new("etcd")
            .args(["--name", &self.name, "--data-dir"])
            .arg(&self.data)
            .args(["--listen-client-urls", &self.endpoint(), "--advertise-client-urls", &self.endpoint()])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", cluster, "--heartbeat-interval", "50", "--election-timeout", "500"])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("etcd must be installed");
        self.child = Some(child);
    }

    /// Starts a member again that was killed; its data is what it was.
    pub(crate) fn restart(&mut self) {
        let cluster = self.cluster_member();
        self.run(&cluster);
        self.await_answer();
    }

    fn await_answer(&self) {
        if self.scheme == "https" {
            return;
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.ctl(&["--command-timeout=1s", "get", "none"]).is_ok_and(|_| true) {
            assert!(Instant::now() < deadline, "etcd does not answer; see {}", self.folder.path().display());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.as_ref().unwrap().id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    /// Runs `etcdctl`; its output, or its error.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.endpoint()])
            .args(arguments)
            .output();
        let output = output.expect("etcdctl must be installed");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Saves a snapshot.
    pub(crate) fn save(&self) -> PathBuf {
        let path = self.folder.path().join("snapshot");
        self.ctl(&["snapshot", "save", path.to_str().unwrap()]).unwrap();
        path
    }

    /// Puts a snapshot in the place of the data of a member that was killed, with the flags of the first start.
    pub(crate) fn restore(&mut self, snapshot: &Path) {
        self.data = self.folder.path().join("restored");
        let peer = format!("http://127.0.0.1:{}", self.peer_port);
        let cluster = self.cluster_member();
        let data = self.data.clone();
        self.ctl(&[
            "snapshot",
            "restore",
            snapshot.to_str().unwrap(),
            "--name",
            &self.name,
            "--data-dir",
            data.to_str().unwrap(),
            "--initial-cluster",
            &cluster,
            "--initial-advertise-peer-urls",
            &peer,
        ])
        .unwrap();
    }

    /// What etcd itself counts: calls of this kind since it started.
    pub(crate) fn calls(&self, method: &str) -> u64 {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.client_port)).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let wanted = format!("grpc_method=\"{method}\"");
        let line = text.lines().find(|line| line.starts_with("grpc_server_started_total{") && line.contains(&wanted));
        line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    }
}

/// A port that nobody listens on. Below those that the system gives to connections, and a process of its own begins
/// elsewhere, so that it is still free when etcd takes it.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(97);
    loop {
        let offset = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        let port = u16::try_from(10_000 + offset).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
