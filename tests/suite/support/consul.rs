//! Real Consul: one server or several, agents beside them, with or without TLS and ACLs.

use std::env;
use std::fs::{self, File};
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::certificates::{Authority, TlsFiles};
use super::consul_client::Client;
use super::folder::Folder;
use super::process::{Process, bound, find_in};
use super::{SOON, connections, poll_until, port};

/// What may do everything where there are ACLs.
pub const MANAGEMENT_TOKEN: &str = "1f8c3a52-6a0e-4c37-9d0b-5b0c4ce2a111";

/// A cluster; dropped, it ends.
pub struct Consul {
    folder: Folder,
    members: Vec<Member>,
    servers: usize,
    /// What is added to the configuration of every member.
    extra: Value,
    tls: Option<TlsFiles>,
    token: Option<String>,
}

struct Member {
    name: String,
    is_server: bool,
    ports: Ports,
    process: Option<Process>,
}

struct Ports {
    http: u16,
    https: u16,
    rpc: u16,
    serf: u16,
}

impl Consul {
    /// One server.
    pub fn start() -> Self {
        Self::with(json!({}))
    }

    /// One server with more in its configuration.
    pub fn with(extra: Value) -> Self {
        Self::begin(1, extra, false, false)
    }

    /// Several servers, all well.
    pub fn cluster(servers: usize) -> Self {
        Self::begin(servers, json!({}), false, false)
    }

    /// One server that demands a client certificate of who comes over TLS. Tests themselves change it over plain HTTP.
    pub fn with_tls() -> Self {
        Self::begin(1, json!({}), true, false)
    }

    /// One server that denies whatever is not allowed; its clients here may do everything.
    pub fn with_acl() -> Self {
        Self::begin(1, json!({}), false, true)
    }

    fn begin(servers: usize, extra: Value, tls: bool, acl: bool) -> Self {
        let folder = Folder::in_memory();
        let tls = tls.then(|| {
            let authority = Authority::new(folder.root(), "ca");
            authority.server("server");
            authority.client("client")
        });
        let token = acl.then(|| MANAGEMENT_TOKEN.to_owned());
        let members = (0..servers).map(|index| Member::new(format!("n{}", index + 1), true)).collect();
        let mut consul = Self { folder, members, servers, extra, tls, token };
        consul.restart_all();
        consul
    }

    /// Starts an agent that is no server, as there is one on every machine; its index.
    pub fn add_agent(&mut self) -> usize {
        let index = self.members.len();
        self.members.push(Member::new(format!("n{}", index + 1), false));
        self.restart(index);
        index
    }

    // ---- How it is reached ----

    /// `HOST:PORT` of the first server, as liveconf is to reach it.
    pub fn address(&self) -> String {
        self.address_of(0)
    }

    /// The same of any member.
    pub fn address_of(&self, index: usize) -> String {
        format!("127.0.0.1:{}", self.port_of(index))
    }

    /// The address of the first server with its scheme.
    pub fn url(&self) -> String {
        self.url_of(0)
    }

    /// The same of any member.
    pub fn url_of(&self, index: usize) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address_of(index))
    }

    /// The port of the first server, as liveconf is to reach it.
    pub fn port(&self) -> u16 {
        self.port_of(0)
    }

    /// The same of any member.
    pub fn port_of(&self, index: usize) -> u16 {
        let ports = &self.members[index].ports;
        if self.tls.is_some() { ports.https } else { ports.http }
    }

    /// What stands under `consul:` to reach the first server: a flow mapping.
    pub fn section(&self) -> String {
        self.section_with("")
    }

    /// The same with more settings, such as `prefix: team`.
    pub fn section_with(&self, more: &str) -> String {
        let mut settings = vec![format!("address: '{}'", self.url())];
        settings.extend(self.tls.as_ref().map(TlsFiles::settings));
        settings.extend((!more.is_empty()).then(|| more.to_owned()));
        format!("{{{}}}", settings.join(", "))
    }

    /// The files that a client of a server with TLS needs.
    pub fn tls(&self) -> &TlsFiles {
        self.tls.as_ref().expect("started with TLS")
    }

    /// Calls to the first server.
    pub fn client(&self) -> Client {
        self.client_of(0)
    }

    /// Calls to any member.
    pub fn client_of(&self, index: usize) -> Client {
        Client::new(self.members[index].ports.http, self.token.clone())
    }

    /// Connections that the first server has open where liveconf reaches it, counted at its side.
    pub fn connections(&self) -> usize {
        connections::open_to(self.port())
    }

    /// The process id of a member that runs.
    pub fn id(&self, index: usize) -> u32 {
        self.members[index].process.as_ref().expect("a member that runs").id()
    }

    // ---- What happens to it ----

    /// Ends a member at once.
    pub fn kill(&mut self, index: usize) {
        self.members[index].process.take().expect("a member that runs").kill();
    }

    /// Ends every member that runs at once.
    pub fn kill_all(&mut self) {
        self.members.iter_mut().filter_map(|member| member.process.take()).for_each(|mut process| process.kill());
    }

    /// Ends a member as an operator would: by SIGTERM.
    pub fn stop(&mut self, index: usize) {
        let mut process = self.members[index].process.take().expect("a member that runs");
        process.signal(Signal::SIGTERM);
        process.wait(SOON);
    }

    /// Lets a member leave the cluster for good, which ends it. That takes some seconds. What an agent registered goes
    /// with it, unless it is so young that it writes its services to the catalog once more on its way out.
    pub fn leave(&mut self, index: usize) {
        self.client_of(index).call("PUT", "/v1/agent/leave", "");
        self.members[index].process.take().expect("a member that runs").wait(SOON);
    }

    /// Makes a member deaf and dumb without closing anything.
    pub fn pause(&mut self, index: usize) {
        self.members[index].process.as_mut().expect("a member that runs").signal(Signal::SIGSTOP);
    }

    /// Lets a paused member go on.
    pub fn resume(&mut self, index: usize) {
        self.members[index].process.as_mut().expect("a member that runs").signal(Signal::SIGCONT);
    }

    /// Starts a member that was ended, with the same configuration and data.
    pub fn restart(&mut self, index: usize) {
        self.launch(index);
        self.wait_until_well(index);
    }

    /// Starts every member that was ended, and waits until all are well.
    pub fn restart_all(&mut self) {
        let ended: Vec<_> = (0..self.members.len()).filter(|index| self.members[*index].process.is_none()).collect();
        for index in &ended {
            self.launch(*index);
        }
        for index in ended {
            self.wait_until_well(index);
        }
    }

    /// Adds this to the configuration of a member that runs, as far as Consul takes it without a restart.
    pub fn reconfigure(&mut self, index: usize, extra: &Value) {
        let mut configuration = self.configuration(index);
        merge(&mut configuration, extra);
        self.folder.write(format!("{}.json", self.members[index].name), configuration.to_string());
        self.members[index].process.as_mut().expect("a member that runs").signal(Signal::SIGHUP);
    }

    /// A backup of the whole state.
    pub fn snapshot(&self) -> Vec<u8> {
        self.client().call("GET", "/v1/snapshot", "")
    }

    /// Puts a backup in the place of the state.
    pub fn restore(&self, snapshot: &[u8]) {
        self.client().call("PUT", "/v1/snapshot", snapshot);
    }

    fn configuration(&self, index: usize) -> Value {
        let member = &self.members[index];
        let Ports { http, https, rpc, serf } = member.ports;
        let join: Vec<_> = self.members.iter().map(|member| format!("127.0.0.1:{}", member.ports.serf)).collect();
        let mut configuration = json!({
            "server": member.is_server, "node_name": member.name, "datacenter": "dc1",
            "data_dir": self.folder.path(&member.name),
            "bind_addr": "127.0.0.1", "client_addr": "127.0.0.1",
            "retry_join": join, "retry_interval": "1s",
            "performance": {"raft_multiplier": 1, "leave_drain_time": "1s"},
            "log_level": "WARN", "disable_update_check": true,
            "ports": {"http": http, "https": -1, "dns": -1, "grpc": -1, "server": rpc, "serf_lan": serf, "serf_wan": -1},
        });
        if member.is_server {
            merge(&mut configuration, &json!({"bootstrap_expect": self.servers}));
        }
        if self.tls.is_some() {
            let [ca, cert, key] = ["ca.pem", "server.pem", "server.key"].map(|name| self.folder.path(name));
            let tls = json!({"ports": {"https": https}, "verify_incoming": true, "ca_file": ca, "cert_file": cert,
                "key_file": key});
            merge(&mut configuration, &tls);
        }
        if let Some(token) = &self.token {
            let tokens = json!({"master": token, "agent": token});
            merge(
                &mut configuration,
                &json!({"acl": {"enabled": true, "default_policy": "deny", "down_policy": "extend-cache", "tokens": tokens}}),
            );
        }
        merge(&mut configuration, &self.extra);
        configuration
    }

    fn launch(&mut self, index: usize) {
        let name = self.members[index].name.clone();
        let file = format!("{name}.json");
        self.folder.write(&file, self.configuration(index).to_string());
        let mut command = bound(Signal::SIGKILL, find_consul());
        command.args(["agent", "-config-file"]).arg(self.folder.path(file));
        // What a server of a test makes of variables of the environment must not depend on the machine.
        command.env_clear();
        let log = File::options().create(true).append(true).open(self.log(index)).unwrap();
        command.stderr(log.try_clone().unwrap()).stdout(log);
        self.members[index].process = Some(Process::start(command));
    }

    /// Waits until the first member has written what it knows of itself to the catalog, which an agent does a second or two
    /// after it has a leader: a list of nodes that was read before changes then.
    pub fn wait_until_synced(&self) {
        let client = self.client();
        let node = format!("/v1/catalog/node/{}?consistent", self.members[0].name);
        poll_until(Duration::from_secs(60), || {
            let answer: Value =
                serde_json::from_slice(&client.try_call("GET", &node, "")?).map_err(|e| e.to_string())?;
            if answer["Node"]["Meta"].is_object() { Ok(()) } else { Err(format!("the node is not in sync: {answer}")) }
        });
    }

    fn log(&self, index: usize) -> PathBuf {
        self.folder.path(format!("{}.log", self.members[index].name))
    }

    /// Waits until a member knows a leader that has the member itself in its catalog: only then it leads for good.
    fn wait_until_well(&mut self, index: usize) {
        let log = self.log(index);
        let client = self.client_of(index);
        let member = &mut self.members[index];
        let node = format!("/v1/catalog/node/{}?consistent", member.name);
        let process = member.process.as_mut().unwrap();
        let log = || fs::read_to_string(&log).unwrap_or_default();
        poll_until(Duration::from_secs(60), || {
            if let Some(status) = process.ended() {
                panic!("consul ended with {status}: {}", log());
            }
            if client.try_call("GET", &node, "")?.starts_with(b"{") {
                return Ok(());
            }
            Err(format!("the node is not in the catalog: {}", log()))
        });
    }
}

impl Member {
    fn new(name: String, is_server: bool) -> Self {
        let ports = Ports { http: port::free(), https: port::free(), rpc: port::free(), serf: port::free() };
        Self { name, is_server, ports, process: None }
    }
}

/// On the path, or where `.ci/setup` puts it.
#[track_caller]
pub fn find_consul() -> PathBuf {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|folder| folder.is_absolute());
    let cache = cache.or_else(|| env::home_dir().map(|home| home.join(".cache")));
    find_in(cache.map(|cache| cache.join("liveconf/bin")), "consul")
}

/// Adds what is in `extra`, deeper objects too.
fn merge(into: &mut Value, extra: &Value) {
    match (into, extra) {
        (Value::Object(into), Value::Object(extra)) => {
            for (key, value) in extra {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, extra) => *into = extra.clone(),
    }
}
