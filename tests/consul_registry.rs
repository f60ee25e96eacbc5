//! The Consul registry against real agents.
#![allow(clippy::unwrap_used, clippy::needless_pass_by_value, clippy::format_collect, missing_docs)]
#![allow(clippy::disallowed_methods, reason = "files of tests")]
#![allow(clippy::print_stdout, reason = "figures")]

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path as FilePath, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use liveconf::config::Section;
use liveconf::registry::{
    Answer, Data, Feed, Instance, KINDS, Path, Publication, Query, QueryError, Registry, ServiceQuery, Sink, Status,
    StatusFilter, Wanted,
};
use serde_json::{Value, json};
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(10);

// ---- A Consul agent ----

struct Agent {
    folder: TempDir,
    config: PathBuf,
    http: u16,
    child: Option<Child>,
}

/// A port below those that the system hands out for outgoing connections.
fn free_port() -> u16 {
    static NEXT: Mutex<Option<u16>> = Mutex::new(None);
    let mut next = NEXT.lock().unwrap();
    let mut port = next.unwrap_or_else(|| 12_000 + u16::try_from(std::process::id() % 18_000).unwrap());
    loop {
        port = if port >= 32_000 { 12_000 } else { port + 1 };
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            *next = Some(port);
            return port;
        }
    }
}

fn consul() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache"));
    let path = std::env::var("PATH").unwrap_or_default();
    std::iter::once(cache.join("liveconf/bin/consul"))
        .chain(path.split(':').map(|folder| FilePath::new(folder).join("consul")))
        .find(|candidate| candidate.is_file())
        .expect("`consul` is not installed: run .ci/setup consul")
}

impl Agent {
    /// A server of its own, with its leader elected. `extra` is added to its configuration.
    fn start(extra: Value) -> Self {
        let mut agent = Self::new(extra);
        agent.run();
        agent
    }

    /// One that is not started.
    fn new(extra: Value) -> Self {
        let base = if FilePath::new("/dev/shm").is_dir() { "/dev/shm" } else { "/tmp" };
        let folder = tempfile::Builder::new().prefix("liveconf-consul-").tempdir_in(base).unwrap();
        let http = free_port();
        let mut config = json!({
            "server": true, "bootstrap_expect": 1, "node_name": "n1", "datacenter": "dc1",
            "data_dir": folder.path().join("data"), "bind_addr": "127.0.0.1", "client_addr": "127.0.0.1",
            "performance": {"raft_multiplier": 1}, "log_level": "WARN", "disable_update_check": true,
            "ports": {"http": http, "https": -1, "dns": -1, "grpc": -1, "server": free_port(),
                "serf_lan": free_port(), "serf_wan": free_port()},
        });
        for (key, value) in extra.as_object().unwrap() {
            if let (Some(ports), "ports") = (value.as_object(), key.as_str()) {
                for (name, port) in ports {
                    config["ports"][name] = port.clone();
                }
            } else {
                config[key] = value.clone();
            }
        }
        let file = folder.path().join("config.json");
        std::fs::write(&file, config.to_string()).unwrap();
        Self { folder, config: file, http, child: None }
    }

    fn plain() -> Self {
        Self::start(json!({}))
    }

    fn run(&mut self) {
        self.spawn();
        self.lead();
    }

    fn spawn(&mut self) {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        let child = Command::new(consul())
            .args(["agent", "-config-file"])
            .arg(&self.config)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    /// Waits for a leader.
    fn lead(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        let ready = |agent: &Self| {
            let (status, leader) = agent.try_request("GET", "/v1/status/leader", "", &[]).ok()?;
            // Its own node is in the catalog once it leads for good.
            let (_, nodes) = agent.try_request("GET", "/v1/catalog/nodes?consistent", "", &[]).ok()?;
            (status == 200 && leader.len() > 4 && nodes.contains("\"Node\"") || nodes == "[]" && leader.len() > 4)
                .then_some(())
        };
        while ready(self).is_none() {
            assert!(Instant::now() < deadline, "{}", std::fs::read_to_string(self.folder.path().join("log")).unwrap());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(self.child.as_ref().unwrap().id().cast_signed());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    fn try_request(
        &self,
        method: &str,
        path: &str,
        body: impl AsRef<[u8]>,
        headers: &[(&str, &str)],
    ) -> std::io::Result<(u16, String)> {
        let (status, body) = self.raw(method, path, body.as_ref(), headers)?;
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    fn raw(&self, method: &str, path: &str, body: &[u8], headers: &[(&str, &str)]) -> std::io::Result<(u16, Vec<u8>)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http))?;
        stream.set_read_timeout(Some(SOON))?;
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head =
            format!("{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply)?;
        let end = reply.windows(4).position(|window| window == b"\r\n\r\n").ok_or(std::io::ErrorKind::InvalidData)?;
        let status = std::str::from_utf8(&reply[9..12]).ok().and_then(|status| status.parse().ok());
        Ok((status.ok_or(std::io::ErrorKind::InvalidData)?, reply[end + 4..].to_vec()))
    }

    #[track_caller]
    fn request_with(&self, method: &str, path: &str, body: impl AsRef<[u8]>, headers: &[(&str, &str)]) -> String {
        let (status, reply) = self.try_request(method, path, body, headers).unwrap();
        assert_eq!(status, 200, "{method} {path}: {reply}");
        reply
    }

    #[track_caller]
    fn put(&self, path: &str, body: impl ToString) {
        self.request_with("PUT", path, body.to_string(), &[]);
    }

    #[track_caller]
    fn put_key(&self, key: &str, value: &str) {
        self.request_with("PUT", &format!("/v1/kv/{key}"), value, &[]);
    }

    #[track_caller]
    fn delete_key(&self, key: &str) {
        self.request_with("DELETE", &format!("/v1/kv/{key}"), "", &[]);
    }

    /// Puts an instance straight into the catalog, with one check in this state.
    #[track_caller]
    fn register(&self, node: &str, service: &str, port: usize, status: &str) {
        self.put("/v1/catalog/register", registration(node, service, port, status));
    }

    fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    /// Connections that the server has open, as the kernel counts them.
    fn connections(&self) -> usize {
        connections_of(self.http)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill();
    }
}

fn registration(node: &str, service: &str, port: usize, status: &str) -> Value {
    json!({
        "Node": node, "Address": "10.0.0.1", "SkipNodeUpdate": true,
        "Service": {"ID": format!("{service}-1"), "Service": service, "Port": port},
        "Check": {"Node": node, "CheckID": format!("{service}-check"), "Name": "c", "Status": status,
            "ServiceID": format!("{service}-1")},
    })
}

// ---- The registry under test ----

#[derive(Default)]
struct Seen {
    answers: HashMap<Query, Answer>,
    errors: HashMap<Query, QueryError>,
    /// Publications, outages and recoveries, in order.
    published: usize,
    outages: Vec<String>,
    recovered: usize,
    /// Of any answer with entries.
    fewest_entries: Option<usize>,
}

struct Recorder {
    seen: Mutex<Seen>,
    changed: tokio::sync::watch::Sender<u64>,
}

impl Sink for Recorder {
    fn publish(&self, _registry: &str, publication: Publication) {
        let mut seen = self.seen.lock().unwrap();
        for reply in publication {
            seen.published += 1;
            match reply.result {
                Ok(answer) => {
                    seen.errors.remove(&reply.query);
                    if let Data::Prefix(entries) = &answer.data {
                        let fewest = seen.fewest_entries.map_or(entries.len(), |fewest| fewest.min(entries.len()));
                        seen.fewest_entries = Some(fewest);
                    }
                    seen.answers.insert(reply.query, answer);
                }
                Err(error) => drop(seen.errors.insert(reply.query, error)),
            }
        }
        drop(seen);
        self.changed.send_modify(|version| *version += 1);
    }

    fn recovered(&self, _registry: &str) {
        self.seen.lock().unwrap().recovered += 1;
        self.changed.send_modify(|version| *version += 1);
    }
}

struct Follower {
    recorder: Arc<Recorder>,
    wanted: tokio::sync::watch::Sender<Wanted>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn registry(section: &str) -> Arc<dyn Registry> {
    let kind = KINDS.iter().find(|kind| kind.name == "consul").unwrap();
    let (registry, problems) =
        Section::of_text(section, &BTreeMap::new(), FilePath::new("/"), |section| (kind.decode)(section));
    assert!(problems.is_empty(), "{problems:?}");
    registry.unwrap().unwrap()
}

impl Follower {
    fn start(section: &str, queries: impl IntoIterator<Item = Query>) -> Self {
        let recorder = Arc::new(Recorder { seen: Mutex::default(), changed: tokio::sync::watch::Sender::new(0) });
        let (wanted, receiver) = tokio::sync::watch::channel(numbered(queries, 0));
        let mut watch = registry(section).watch();
        let mut feed = Feed::new("main".into(), receiver, recorder.clone());
        let outages = recorder.clone();
        let task = tokio::spawn(async move {
            let mut pause = Duration::from_millis(100);
            loop {
                let before = outages.seen.lock().unwrap().recovered;
                let outage = watch.run(&mut feed).await;
                {
                    let mut seen = outages.seen.lock().unwrap();
                    if seen.recovered > before {
                        pause = Duration::from_millis(100);
                    }
                    seen.outages.push(outage.0);
                }
                outages.changed.send_modify(|version| *version += 1);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(2));
            }
        });
        Self { recorder, wanted, task }
    }

    fn of(agent: &Agent, queries: impl IntoIterator<Item = Query>) -> Self {
        Self::start(&format!("{{address: '{}'}}", agent.address()), queries)
    }

    /// Waits until what was seen is as it should be.
    #[track_caller]
    fn until<T>(&self, within: Duration, what: &str, found: impl Fn(&Seen) -> Option<T>) -> impl Future<Output = T> {
        let caller = std::panic::Location::caller();
        async move {
            let mut changed = self.recorder.changed.subscribe();
            let deadline = tokio::time::Instant::now() + within;
            loop {
                changed.borrow_and_update();
                if let Some(found) = found(&self.recorder.seen.lock().unwrap()) {
                    return found;
                }
                if tokio::time::timeout_at(deadline, changed.changed()).await.is_err() {
                    let seen = self.recorder.seen.lock().unwrap();
                    let answers: Vec<_> = seen.answers.values().take(5).map(|answer| &answer.data).collect();
                    let errors: Vec<_> = seen.errors.values().take(5).collect();
                    panic!("{caller}: not {what}: {answers:?} {errors:?} {:?}", seen.outages);
                }
            }
        }
    }

    #[track_caller]
    fn answer(&self, query: &Query) -> impl Future<Output = Data> {
        self.until(SOON, "answered", |seen| seen.answers.get(query).map(|answer| answer.data.clone()))
    }

    #[track_caller]
    fn becomes(&self, query: &Query, expected: Data) -> impl Future<Output = ()> {
        self.becomes_within(SOON, query, expected)
    }

    #[track_caller]
    fn becomes_within(&self, within: Duration, query: &Query, expected: Data) -> impl Future<Output = ()> {
        let what = format!("{query}: {expected:?}");
        let query = query.clone();
        let wait = self.until(within, "", move |seen| (seen.answers.get(&query)?.data == expected).then_some(()));
        async move {
            let _ = &what;
            wait.await;
        }
    }

    #[track_caller]
    fn fails(&self, query: &Query) -> impl Future<Output = String> {
        self.until(SOON, "failed", |seen| seen.errors.get(query).map(|error| error.reason.clone()))
    }

    fn published(&self) -> usize {
        self.recorder.seen.lock().unwrap().published
    }

    fn outages(&self) -> Vec<String> {
        self.recorder.seen.lock().unwrap().outages.clone()
    }
}

/// All with one number.
fn numbered(queries: impl IntoIterator<Item = Query>, number: u64) -> Wanted {
    Arc::new(queries.into_iter().map(|query| (query, number)).collect())
}

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

fn key(text: &str) -> Query {
    Query::Key(path(text))
}

fn text(value: &str) -> Data {
    Data::Key(Some(liveconf::registry::Text(value.to_owned().into())))
}

fn service(name: &str) -> Query {
    Query::Service(ServiceQuery::passing(name))
}

fn any(name: &str) -> Query {
    Query::Service(ServiceQuery { status: StatusFilter::All, ..ServiceQuery::passing(name) })
}

/// `id:port:status:weight` of each instance.
fn shown(data: &Data) -> Vec<String> {
    let Data::Service(instances) = data else { panic!("{data:?}") };
    let show = |i: &Arc<Instance>| format!("{}:{}:{}:{}", i.id, i.port, i.status.as_str(), i.weight);
    instances.iter().map(show).collect()
}

fn entries(data: &Data) -> Vec<String> {
    let Data::Prefix(entries) = data else { panic!("{data:?}") };
    entries.iter().map(|entry| format!("{}={}", entry.key, String::from_utf8_lossy(&entry.value.0))).collect()
}

macro_rules! becomes {
    ($follower:expr, $query:expr, $show:expr, $expected:expr) => {{
        let (query, expected) = (&$query, $expected);
        $follower
            .until(SOON, "as expected", |seen| {
                let answer = seen.answers.get(query)?;
                ($show(&answer.data) == expected).then_some(())
            })
            .await
    }};
}

// ---- Keys ----

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_followed() {
    let agent = Agent::plain();
    for (key, value) in [("app/a", "1"), ("app/b/c", ""), ("apple", "x"), ("app/empty/", ""), ("other/x", "y")] {
        agent.put_key(key, value);
    }
    let prefix = Query::Prefix(path("app"));
    let listing = Query::Listing(path("app"));
    let exists = |name: &str| Query::Exists(path(name));
    let queries = [
        key("app/a"),
        key("app/none"),
        prefix.clone(),
        listing.clone(),
        exists("app"),
        exists("ap"),
        exists("apple"),
        exists("new"),
    ];
    let follower = Follower::of(&agent, queries.clone());
    follower.becomes(&key("app/a"), text("1")).await;
    follower.becomes(&key("app/none"), Data::Key(None)).await;
    assert_eq!(entries(&follower.answer(&prefix).await), ["a=1", "b/c="]);
    let Data::Listing(names) = follower.answer(&listing).await else { panic!() };
    assert_eq!((names.keys, names.folders), (vec!["a".to_owned()], vec!["b".to_owned(), "empty".to_owned()]));
    for (name, there) in [("app", true), ("ap", false), ("apple", true), ("new", false)] {
        follower.becomes(&exists(name), Data::Exists(there)).await;
    }

    agent.put_key("app/a", "2");
    follower.becomes(&key("app/a"), text("2")).await;
    becomes!(follower, prefix, entries, ["a=2", "b/c="]);
    agent.put_key("app/none", "now");
    follower.becomes(&key("app/none"), text("now")).await;
    agent.delete_key("app/a");
    follower.becomes(&key("app/a"), Data::Key(None)).await;
    becomes!(follower, prefix, entries, ["b/c=", "none=now"]);
    agent.put_key("new/sub", "1");
    follower.becomes(&exists("new"), Data::Exists(true)).await;
    agent.delete_key("new/sub");
    follower.becomes(&exists("new"), Data::Exists(false)).await;

    // Another query is answered while the others go on.
    let more = key("other/x");
    follower.wanted.send_replace(numbered(queries.clone().into_iter().chain([more.clone()]), 0));
    follower.becomes(&more, text("y")).await;

    // One that was dropped and is wanted again is answered again, though nothing changed.
    follower.recorder.seen.lock().unwrap().answers.clear();
    follower.wanted.send_replace(numbered(queries, 1));
    follower.becomes(&key("app/none"), text("now")).await;
    follower.becomes(&exists("apple"), Data::Exists(true)).await;
    assert_eq!(follower.outages(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prefix_stands_before_all_paths() {
    let agent = Agent::plain();
    agent.put_key("team/app/a", "1");
    agent.put_key("app/a", "wrong");
    let queries = [key("app/a"), Query::Prefix(Path::root()), Query::Listing(Path::root())];
    let follower = Follower::start(&format!("{{address: '{}', prefix: /team/}}", agent.address()), queries.clone());
    follower.becomes(&queries[0], text("1")).await;
    assert_eq!(entries(&follower.answer(&queries[1]).await), ["app/a=1"]);
    let Data::Listing(names) = follower.answer(&queries[2]).await else { panic!() };
    assert_eq!((names.keys.len(), names.folders), (0, vec!["app".to_owned()]));
}

// ---- Services ----

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_are_followed() {
    let agent = Agent::plain();
    let web = |id: &str, more: Value| {
        let mut service = json!({"ID": id, "Name": "web", "Address": "10.1.0.1", "Port": 80, "Tags": ["b", "a"],
            "Check": {"CheckID": format!("check-{id}"), "TTL": "60s", "Status": "passing"}});
        for (key, value) in more.as_object().unwrap() {
            service[key] = value.clone();
        }
        agent.put("/v1/agent/service/register", service);
    };
    let check = |id: &str, state: &str| agent.put(&format!("/v1/agent/check/{state}/check-{id}"), "");
    web("web-1", json!({"Weights": {"Passing": 5, "Warning": 2}, "Meta": {"zone": "z1"}}));
    web("web-2", json!({"Port": 81, "Tags": ["a"], "Address": ""}));
    let tagged = |tags: &[&str]| {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        Query::Service(ServiceQuery { tags, ..ServiceQuery::passing("web") })
    };
    let filtered = Query::Service(ServiceQuery {
        filter: Some("Service.Port == 81".to_owned()),
        near: Some("_agent".to_owned()),
        datacenter: Some("dc1".to_owned()),
        ..ServiceQuery::passing("web")
    });
    let services = Query::Services { tag: None };
    let with_b = Query::Services { tag: Some("b".to_owned()) };
    let nodes = Query::Nodes { datacenter: None };
    let follower = Follower::of(
        &agent,
        [
            service("web"),
            any("web"),
            tagged(&["b"]),
            tagged(&["a", "b"]),
            filtered.clone(),
            services.clone(),
            with_b.clone(),
            nodes.clone(),
            any("none"),
        ],
    );
    becomes!(follower, service("web"), shown, ["web-1:80:passing:5", "web-2:81:passing:1"]);
    becomes!(follower, tagged(&["b"]), shown, ["web-1:80:passing:5"]);
    becomes!(follower, tagged(&["a", "b"]), shown, ["web-1:80:passing:5"]);
    becomes!(follower, filtered, shown, ["web-2:81:passing:1"]);
    becomes!(follower, any("none"), shown, [""; 0]);
    let Data::Service(instances) = follower.answer(&any("web")).await else { panic!() };
    let first = &instances[0];
    assert_eq!((first.address.as_str(), first.node.as_str(), first.zone.as_str()), ("10.1.0.1", "n1", "z1"));
    assert_eq!(
        (first.tags.concat(), &*first.registry, instances[1].address.as_str()),
        ("ab".to_owned(), "main", "127.0.0.1")
    );
    let names = |data: &Data| {
        let Data::Services(services) = data else { panic!() };
        services.iter().map(|service| format!("{}:{}", service.name, service.tags.concat())).collect::<Vec<_>>()
    };
    becomes!(follower, services, names, ["consul:", "web:ab"]);
    becomes!(follower, with_b, names, ["web:ab"]);
    let Data::Nodes(found) = follower.answer(&nodes).await else { panic!() };
    assert_eq!(
        (found[0].name.as_str(), found[0].address.as_str(), found[0].datacenter.as_str()),
        ("n1", "127.0.0.1", "dc1")
    );

    check("web-1", "warn");
    becomes!(follower, any("web"), shown, ["web-1:80:warning:2", "web-2:81:passing:1"]);
    becomes!(follower, service("web"), shown, ["web-2:81:passing:1"]);
    check("web-1", "fail");
    becomes!(follower, any("web"), shown, ["web-1:80:critical:5", "web-2:81:passing:1"]);
    agent.put("/v1/agent/service/maintenance/web-2?enable=true", "");
    becomes!(follower, any("web"), shown, ["web-1:80:critical:5", "web-2:81:maintenance:1"]);
    becomes!(follower, service("web"), shown, [""; 0]);
    agent.put("/v1/agent/maintenance?enable=true", "");
    becomes!(follower, any("web"), shown, ["web-1:80:maintenance:5", "web-2:81:maintenance:1"]);
    agent.put("/v1/agent/maintenance?enable=false", "");
    agent.put("/v1/agent/service/maintenance/web-2?enable=false", "");
    check("web-1", "pass");
    becomes!(follower, service("web"), shown, ["web-1:80:passing:5", "web-2:81:passing:1"]);
    agent.put("/v1/agent/service/deregister/web-1", "");
    becomes!(follower, service("web"), shown, ["web-2:81:passing:1"]);
    becomes!(follower, with_b, names, [""; 0]);

    // A check that nobody keeps alive.
    agent.put(
        "/v1/agent/service/register",
        json!({"ID": "web-3", "Name": "web", "Port": 83, "Check": {"TTL": "1s", "Status": "passing"}}),
    );
    becomes!(follower, any("web"), shown, ["web-2:81:passing:1", "web-3:83:critical:1"]);
    assert_eq!(follower.outages(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_of_checks_wakes_nobody() {
    let agent = Agent::start(json!({"check_update_interval": "0s"}));
    agent.put(
        "/v1/agent/service/register",
        json!({"ID": "web-1", "Name": "web", "Port": 80, "Check": {"CheckID": "c", "TTL": "60s", "Status": "passing"}}),
    );
    let follower = Follower::of(&agent, [service("web"), key("end")]);
    becomes!(follower, service("web"), shown, ["web-1:80:passing:1"]);
    let Data::Service(before) = follower.answer(&service("web")).await else { panic!() };
    for round in 0..3 {
        agent.request_with(
            "PUT",
            "/v1/agent/check/update/c",
            json!({"Status": "passing", "Output": format!("took {round} ms")}).to_string(),
            &[],
        );
        let told = |agent: &Agent| {
            agent.request_with("GET", "/v1/health/checks/web", "", &[]).contains(&format!("took {round} ms"))
        };
        while !told(&agent) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    agent.put_key("end", "1");
    follower.becomes(&key("end"), text("1")).await;
    let Data::Service(after) = follower.answer(&service("web")).await else { panic!() };
    assert!(
        before == after && Arc::ptr_eq(&before[0], &after[0]),
        "an instance that stays is shared with the answer before"
    );
}

// ---- What goes wrong ----

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_keeps_answers_and_ends_by_itself() {
    let mut agent = Agent::plain();
    agent.put_key("a", "1");
    agent.register("n2", "web", 80, "passing");
    let follower = Follower::of(&agent, [key("a"), service("web")]);
    follower.becomes(&key("a"), text("1")).await;
    becomes!(follower, service("web"), shown, ["web-1:80:passing:1"]);
    agent.kill();
    let outage = follower.until(SOON, "away", |seen| seen.outages.first().cloned()).await;
    assert!(outage.contains(&agent.address()) && outage.contains("refused"), "{outage}");
    assert!(follower.recorder.seen.lock().unwrap().errors.is_empty());
    follower.becomes(&key("a"), text("1")).await;
    agent.run();
    agent.put_key("a", "2");
    let start = Instant::now();
    follower.becomes_within(Duration::from_secs(15), &key("a"), text("2")).await;
    println!("after a restart of the agent: {:?}", start.elapsed());
    agent.register("n2", "web", 81, "passing");
    becomes!(follower, service("web"), shown, ["web-1:81:passing:1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_snapshot_is_seen_at_once() {
    let agent = Agent::plain();
    agent.put_key("a", "old");
    let (status, snapshot) = agent.raw("GET", "/v1/snapshot", b"", &[]).unwrap();
    assert_eq!(status, 200);
    for round in 0..20 {
        agent.put_key("a", &round.to_string());
    }
    let follower = Follower::of(&agent, [key("a"), Query::Prefix(Path::root())]);
    follower.becomes(&key("a"), text("19")).await;
    let start = Instant::now();
    let (status, reply) = agent.raw("PUT", "/v1/snapshot", &snapshot, &[]).unwrap();
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&reply));
    follower.becomes_within(Duration::from_secs(65), &key("a"), text("old")).await;
    println!("after a restored snapshot: {:?}", start.elapsed());
    becomes!(follower, Query::Prefix(Path::root()), entries, ["a=old"]);
    agent.put_key("a", "new");
    follower.becomes(&key("a"), text("new")).await;
    assert_eq!(follower.outages(), [""; 0]);
}

/// All servers of a cluster die and come back: nobody may see part of the keys. Beside it a client that reads in the
/// default mode and starts again without an index does; if it never did, the run would prove nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes"]
async fn a_cluster_that_starts_again_never_shows_part_of_its_keys() {
    const KEYS: usize = 1000;
    let rounds: usize = std::env::var("LIVECONF_ROUNDS").map_or(20, |rounds| rounds.parse().unwrap());
    let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
    let join: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    let mut servers: Vec<Agent> = (0..3)
        .map(|number| {
            Agent::new(json!({"bootstrap_expect": 3, "node_name": format!("n{number}"), "retry_join": join,
                "retry_interval": "1s", "ports": {"serf_lan": ports[number]}}))
        })
        .collect();
    servers.iter_mut().for_each(Agent::spawn);
    servers.iter().for_each(Agent::lead);
    let mut filler = Filler::new(&servers[0]);
    for number in 0..KEYS {
        filler.put(&format!("/v1/kv/app/key-{number}"), &json!(number));
    }
    drop(filler);
    let prefix = Query::Prefix(path("app"));
    let followers: Vec<Follower> =
        servers.iter().map(|server| Follower::of(server, [prefix.clone(), key("round")])).collect();
    for follower in &followers {
        follower.answer(&prefix).await;
    }

    // The control: as many servers, asked all the time.
    let partial = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let controls: Vec<_> = servers
        .iter()
        .map(|server| {
            let (port, partial, over) = (server.http, partial.clone(), over.clone());
            std::thread::spawn(move || {
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    match get(port, "/v1/kv/app/?keys") {
                        Ok((200, body)) if body.matches("key-").count() < KEYS => {
                            partial.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        }
                        Ok((404, _)) => drop(partial.fetch_add(1, std::sync::atomic::Ordering::Relaxed)),
                        _ => std::thread::sleep(Duration::from_millis(2)),
                    }
                }
            })
        })
        .collect();
    for round in 0..rounds {
        servers.iter_mut().for_each(Agent::kill);
        servers.iter_mut().for_each(Agent::spawn);
        servers.iter().for_each(Agent::lead);
        let deadline = Instant::now() + Duration::from_secs(30);
        while servers[0]
            .try_request("PUT", "/v1/kv/round", round.to_string(), &[])
            .ok()
            .is_none_or(|(status, _)| status != 200)
        {
            assert!(Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for follower in &followers {
            follower.becomes_within(Duration::from_secs(20), &key("round"), text(&round.to_string())).await;
        }
    }
    over.store(true, std::sync::atomic::Ordering::Relaxed);
    for control in controls {
        control.join().unwrap();
    }
    let partial = partial.load(std::sync::atomic::Ordering::Relaxed);
    println!("{rounds} restarts of a cluster: the control saw part of the keys {partial} times");
    for follower in &followers {
        let fewest = follower.recorder.seen.lock().unwrap().fewest_entries.unwrap();
        assert_eq!(fewest, KEYS);
        assert_eq!(entries(&follower.answer(&prefix).await).len(), KEYS);
    }
    assert!(partial > 0, "the control never saw part of the keys: this proves nothing");
}

fn get(port: u16, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    let status = reply.get(9..12).and_then(|status| status.parse().ok()).ok_or(std::io::ErrorKind::InvalidData)?;
    Ok((status, reply))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_server_is_found_and_followed_again() {
    let agent = Agent::plain();
    agent.put_key("a", "1");
    let section = format!("{{address: '{}', probe_interval: 1s, request_timeout: 1s}}", agent.address());
    let follower = Follower::start(&section, [key("a")]);
    follower.becomes(&key("a"), text("1")).await;
    agent.signal(nix::sys::signal::Signal::SIGSTOP);
    let start = Instant::now();
    let outage = follower.until(SOON, "away", |seen| seen.outages.first().cloned()).await;
    println!("a stopped server was found after {:?}: {outage}", start.elapsed());
    assert!(outage.contains("no answer within 1s"), "{outage}");
    agent.signal(nix::sys::signal::Signal::SIGCONT);
    agent.put_key("a", "2");
    follower.becomes(&key("a"), text("2")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_questions_fail_alone() {
    let agent = Agent::plain();
    agent.put_key("a", "1");
    agent.register("n2", "web", 80, "passing");
    let nowhere = Query::Service(ServiceQuery { datacenter: Some("nowhere".into()), ..ServiceQuery::passing("web") });
    let syntax = Query::Service(ServiceQuery { filter: Some("foo bar".into()), ..ServiceQuery::passing("web") });
    let follower = Follower::of(&agent, [key("a"), service("web"), nowhere.clone(), syntax.clone()]);
    let error = follower.fails(&nowhere).await;
    assert!(error.contains("datacenter `nowhere` is unknown"), "{error}");
    let error = follower.fails(&syntax).await;
    assert!(error.contains("filter `foo bar`") && error.contains("1:5"), "{error}");
    becomes!(follower, service("web"), shown, ["web-1:80:passing:1"]);
    agent.put_key("a", "2");
    follower.becomes(&key("a"), text("2")).await;
    assert_eq!(follower.outages(), [""; 0]);

    let namespaced = Follower::start(&format!("{{address: '{}', namespace: team}}", agent.address()), [key("a")]);
    let error = namespaced.fails(&key("a")).await;
    assert!(error.contains("Enterprise"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_consul_is_said_to_be_none() {
    for (reply, reason) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "otherwise than Consul"),
        (
            "HTTP/1.1 301 Moved\r\nLocation: https://elsewhere/v1\r\nContent-Length: 0\r\n\r\n",
            "redirects to `https://elsewhere`",
        ),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "no Consul API"),
        (
            "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
            "speaks TLS",
        ),
        ("SSH-2.0-OpenSSH\r\n", "invalid HTTP"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            // A few tries, and then nobody listens.
            for stream in listener.incoming().take(3) {
                let mut stream = stream.unwrap();
                stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(reply.as_bytes());
            }
        });
        let follower = Follower::start(&format!("{{address: '{address}'}}"), [key("a")]);
        let outage = follower.until(SOON, "away", |seen| seen.outages.first().cloned()).await;
        assert!(outage.contains(reason), "{outage}");
        assert!(outage.contains(&address.to_string()), "{outage}");
        drop(follower);
        drop((TcpStream::connect(address), TcpStream::connect(address), TcpStream::connect(address)));
        server.join().unwrap();
    }
}

// ---- What newer servers and proxies say, from a server that says what it is told ----

type Script = dyn Fn(&str, usize) -> String + Send + Sync;

/// A server that answers by a script: the target of a request and how often its path was asked for before give the
/// reply.
struct Fake {
    address: String,
    /// Heads of requests, each with its peer, and when they came.
    heads: Arc<Mutex<Vec<(Instant, String)>>>,
}

impl Fake {
    fn start(script: impl Fn(&str, usize) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let script: Arc<Script> = Arc::new(script);
        let seen = heads.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, script, seen) = (stream.unwrap(), script.clone(), seen.clone());
                std::thread::spawn(move || Self::serve(stream, &*script, &seen));
            }
        });
        Self { address, heads }
    }

    fn serve(mut stream: TcpStream, script: &Script, seen: &Mutex<Vec<(Instant, String)>>) -> Option<()> {
        stream.set_nodelay(true).ok()?;
        let peer = stream.peer_addr().ok()?;
        loop {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                (stream.read(&mut byte).ok()? > 0).then_some(())?;
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap();
            let target = head.split(' ').nth(1)?.to_owned();
            let path = target.split('?').next()?.to_owned();
            let before = {
                let mut seen = seen.lock().unwrap();
                let same = |head: &str| head.split([' ', '?']).nth(1) == Some(path.as_str());
                let before = seen.iter().filter(|(_, head)| same(head)).count();
                seen.push((Instant::now(), format!("{head}peer: {peer}")));
                before
            };
            let reply = if path.ends_with("/v1/status/leader") {
                reply(200, "", "\"127.0.0.1:8300\"")
            } else {
                script(&target, before)
            };
            stream.write_all(reply.as_bytes()).ok()?;
        }
    }

    fn times(&self, path: &str) -> Vec<Instant> {
        let seen = self.heads.lock().unwrap();
        seen.iter().filter(|(_, head)| head.contains(path)).map(|(at, _)| *at).collect()
    }
}

fn reply(status: u16, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// As a long poll during which nothing happens.
fn silence() -> String {
    std::thread::sleep(Duration::from_secs(60));
    String::new()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_was_filtered_is_no_answer() {
    let script = |target: &str, _| match target {
        target if target.contains("index=") => silence(),
        _ => reply(200, "X-Consul-Index: 5\r\nX-Consul-Results-Filtered-By-ACLs: true\r\n", "[]"),
    };
    let fake = Fake::start(script);
    let follower = Follower::start(&format!("{{address: '{}'}}", fake.address), [any("web")]);
    let error = follower.fails(&any("web")).await;
    assert!(error.contains("may not read all"), "{error}");
    assert!(follower.recorder.seen.lock().unwrap().answers.is_empty());
    let follower = Follower::start(&format!("{{address: '{}', allow_filtered: true}}", fake.address), [any("web")]);
    becomes!(follower, any("web"), shown, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_filtered_tells_a_scout_and_is_no_answer() {
    let script = |target: &str, _| match target {
        target if target.contains("index=") => silence(),
        target if target.contains("catalog/services") => {
            reply(200, "X-Consul-Index: 5\r\nX-Consul-Results-Filtered-By-ACLs: true\r\n", r#"{"s1": []}"#)
        }
        _ => reply(200, "X-Consul-Index: 5\r\n", "[]"),
    };
    let fake = Fake::start(script);
    let list = Query::Services { tag: None };
    let queries: Vec<Query> = (0..10).map(|number| any(&name_of(number))).chain([list.clone()]).collect();
    let follower = Follower::start(&format!("{{address: '{}', max_connections: 6}}", fake.address), queries.clone());
    let error = follower.fails(&list).await;
    assert!(error.contains("may not read all"), "{error}");
    for query in &queries[..10] {
        becomes!(follower, query.clone(), shown, [""; 0]);
    }
    assert!(!follower.recorder.seen.lock().unwrap().answers.contains_key(&list));
    // It goes on to scout.
    let deadline = Instant::now() + SOON;
    while fake.times("/v1/catalog/services?index=5").is_empty() {
        assert!(Instant::now() < deadline, "{:?}", fake.heads.lock().unwrap());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_that_consul_asks_for_is_kept() {
    for (status, outages) in [(429, 0), (503, 1)] {
        let fake = Fake::start(move |target, before| match before {
            0 => reply(status, "Retry-After: 1\r\n", ""),
            _ if target.contains("index=") => silence(),
            _ => reply(200, "X-Consul-Index: 5\r\n", r#"[{"Key": "a", "Value": "MQ=="}]"#),
        });
        let follower = Follower::start(&format!("{{address: '{}'}}", fake.address), [key("a")]);
        follower.becomes(&key("a"), text("1")).await;
        let times = fake.times("/v1/kv/a");
        let pause = times[1] - times[0];
        assert!(pause >= Duration::from_secs(1) && pause < Duration::from_secs(2), "{status}: {pause:?}");
        assert_eq!(follower.outages().len(), outages, "{status}");
        assert!(!follower.recorder.seen.lock().unwrap().errors.contains_key(&key("a")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_server_is_asked_at_once_what_one_may_not_serve() {
    let fake = Fake::start(move |target, before| match before {
        0 => reply(429, "", ""),
        _ if target.contains("index=") => silence(),
        _ => reply(200, "X-Consul-Index: 5\r\n", r#"[{"Key": "a", "Value": "MQ=="}]"#),
    });
    let follower = Follower::start(&format!("{{address: '{}'}}", fake.address), [key("a")]);
    follower.becomes(&key("a"), text("1")).await;
    let times = fake.times("/v1/kv/a");
    assert!(times[1] - times[0] < Duration::from_millis(500), "{:?}", times[1] - times[0]);
    let heads = fake.heads.lock().unwrap();
    let reads: Vec<&String> = heads.iter().map(|(_, head)| head).filter(|head| head.contains("/v1/kv/a")).collect();
    let peers: Vec<_> = reads.iter().map(|head| head.rsplit(' ').next()).collect();
    assert_ne!(peers[0], peers[1], "another connection may lead to another server");
    assert_eq!(follower.outages(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_rest_is_asked_in_measure() {
    // Every answer is new, or every one is as old as the one before.
    let rising: fn(usize) -> usize = |before| before + 2;
    let standing: fn(usize) -> usize = |_| 7;
    for (index, most) in [(rising, 13), (standing, 13)] {
        let fake = Fake::start(move |_, before| {
            let pair = format!(r#"[{{"Key": "a", "Value": "MQ==", "Flags": {before}}}]"#);
            reply(200, &format!("X-Consul-Index: {}\r\n", index(before)), &pair)
        });
        let follower = Follower::start(&format!("{{address: '{}'}}", fake.address), [key("a")]);
        follower.becomes(&key("a"), text("1")).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let asked = fake.times("/v1/kv/a").len();
        assert!((3..=most).contains(&asked), "{asked}");
        assert_eq!(follower.outages(), [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_goes_into_a_header_only() {
    let fake = Fake::start(|target, _| match target {
        target if target.contains("index=") => silence(),
        _ => reply(404, "X-Consul-Index: 5\r\n", ""),
    });
    let section = format!("{{address: '{}/consul/', token: hunter2, datacenter: dc2, namespace: team}}", fake.address);
    let follower = Follower::start(&section, [key("a")]);
    follower.becomes(&key("a"), Data::Key(None)).await;
    let heads = fake.heads.lock().unwrap();
    let targets: Vec<&str> = heads.iter().map(|(_, head)| head.split(' ').nth(1).unwrap()).collect();
    assert!(heads.iter().all(|(_, head)| head.contains("\r\nx-consul-token: hunter2\r\n")), "{heads:?}");
    assert!(targets.iter().all(|target| !target.contains("hunter2")), "{targets:?}");
    assert!(targets.contains(&"/consul/v1/kv/a?dc=dc2&ns=team&consistent"), "{targets:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn few_connections_are_used_where_few_are_allowed() {
    let agent = Agent::start(json!({"limits": {"http_max_conns_per_client": 5}}));
    let section = format!("{{address: '{}', probe_interval: 50ms}}", agent.address());
    let follower = Follower::start(&section, [key("a"), key("b")]);
    for round in 0..20 {
        agent.put_key("a", &round.to_string());
        follower.becomes(&key("a"), text(&round.to_string())).await;
    }
    assert!(agent.connections() <= 3, "{}", agent.connections());
    assert_eq!(follower.outages(), [""; 0]);
}

/// Consul holds the polls of a program that has ended until their wait is over, and counts their connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polls_that_were_left_behind_shut_nobody_out() {
    const COUNT: usize = 20;
    let agent = Agent::start(json!({"limits": {"http_max_conns_per_client": 32}}));
    let mut filler = Filler::new(&agent);
    for number in 0..COUNT {
        filler.register(&node_of(number), &name_of(number), 1000, "passing");
    }
    let section = format!("{{address: '{}', wait: 3s, request_timeout: 2s}}", agent.address());
    let mut left_behind = Vec::new();
    for round in 1..=3 {
        let follower = Follower::start(&section, (0..COUNT).map(|number| any(&name_of(number))));
        follower.until(SOON, "all answered", |seen| (seen.answers.len() == COUNT).then_some(())).await;
        filler.register(&node_of(7), &name_of(7), 1000 + round, "passing");
        becomes!(follower, any(&name_of(7)), shown, [format!("service-7-1:{}:passing:1", 1000 + round)]);
        assert_eq!(follower.outages(), [""; 0], "round {round}");
        assert_eq!(agent.connections() >= COUNT, round == 1, "{} in round {round}", agent.connections());
        left_behind.push(follower);
        if round < 3 {
            left_behind.clear();
        }
    }
    // Once they are over, there are connections for a poll each.
    let deadline = Instant::now() + SOON;
    while agent.connections() < COUNT {
        assert!(Instant::now() < deadline, "{}", agent.connections());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(left_behind[0].outages(), [""; 0]);
}

// ---- Tokens ----

const ROOT: &[(&str, &str)] = &[("X-Consul-Token", "root-token")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_may_lose_its_rights_and_get_them_back() {
    let agent =
        Agent::start(json!({"acl": {"enabled": true, "default_policy": "deny", "tokens": {"master": "root-token"}}}));
    let put = |path: &str, body: &str| -> Value {
        // The system of ACLs comes up after the leader.
        let deadline = Instant::now() + SOON;
        loop {
            match agent.try_request("PUT", path, body, ROOT).unwrap() {
                (200, reply) => return serde_json::from_str(&reply).unwrap(),
                (status, reply) => assert!(Instant::now() < deadline, "{path}: {status} {reply}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let rules = r#"key_prefix "app" { policy = "read" } service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }"#;
    put("/v1/acl/policy", &json!({"Name": "reader", "Rules": rules}).to_string());
    let token = || put("/v1/acl/token", r#"{"Policies": [{"Name": "reader"}]}"#);
    let (first, second) = (token(), token());
    let secret = |token: &Value| token["SecretID"].as_str().unwrap().to_owned();
    put("/v1/kv/app/a", "1");
    put("/v1/kv/other", "1");
    put("/v1/catalog/register", &registration("n2", "web", 80, "passing").to_string());

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, format!("{}\n", secret(&first))).unwrap();
    let section =
        format!("{{address: '{}', token_file: '{}', denied_interval: 300ms}}", agent.address(), file.display());
    let follower = Follower::start(&section, [key("app/a"), key("other"), service("web")]);
    follower.becomes(&key("app/a"), text("1")).await;
    becomes!(follower, service("web"), shown, ["web-1:80:passing:1"]);
    let error = follower.fails(&key("other")).await;
    assert!(error.contains("not allowed"), "{error}");
    assert!(follower.recorder.seen.lock().unwrap().errors[&key("other")].denied);

    // Taken away: the answers stay, and what is asked fails.
    agent.request_with("DELETE", &format!("/v1/acl/token/{}", first["AccessorID"].as_str().unwrap()), "", ROOT);
    put("/v1/kv/app/a", "2");
    put("/v1/catalog/register", &registration("n2", "web", 81, "passing").to_string());
    let error = follower.fails(&key("app/a")).await;
    assert!(error.contains("ACL not found"), "{error}");
    follower.fails(&service("web")).await;
    assert!(!shown(&follower.answer(&service("web")).await).is_empty());

    // Another token in the file is taken up at once.
    std::fs::write(folder.path().join("new"), secret(&second)).unwrap();
    put("/v1/kv/app/a", "3");
    std::fs::rename(folder.path().join("new"), &file).unwrap();
    follower.becomes(&key("app/a"), text("3")).await;
    becomes!(follower, service("web"), shown, ["web-1:81:passing:1"]);
    assert!(!follower.recorder.seen.lock().unwrap().errors.contains_key(&key("app/a")));
    put("/v1/kv/app/a", "4");
    follower.becomes(&key("app/a"), text("4")).await;
    assert_eq!(follower.outages(), [""; 0]);
}

// ---- Ways to get there ----

struct Certificates {
    folder: TempDir,
}

impl Certificates {
    fn new() -> Self {
        use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_key = KeyPair::generate().unwrap();
        let ca = params.self_signed(&ca_key).unwrap();
        std::fs::write(folder.path().join("ca.pem"), ca.pem()).unwrap();
        let issuer = Issuer::new(params, ca_key);
        for (name, usage) in
            [("server", ExtendedKeyUsagePurpose::ServerAuth), ("client", ExtendedKeyUsagePurpose::ClientAuth)]
        {
            let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
            params.extended_key_usages = vec![usage];
            let key = KeyPair::generate().unwrap();
            let certificate = params.signed_by(&key, &issuer).unwrap();
            std::fs::write(folder.path().join(format!("{name}.pem")), certificate.pem()).unwrap();
            std::fs::write(folder.path().join(format!("{name}.key")), key.serialize_pem()).unwrap();
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// For a client that has all it needs.
    fn section(&self, https: u16) -> String {
        let [ca, certificate, key] = ["ca.pem", "client.pem", "client.key"].map(|name| self.path(name));
        let address = format!("https://localhost:{https}");
        format!("{{address: '{address}', ca_file: '{ca}', cert_file: '{certificate}', key_file: '{key}'}}")
    }

    fn agent(&self) -> (Agent, u16) {
        let https = free_port();
        let agent = Agent::start(
            json!({"ports": {"https": https}, "ca_file": self.path("ca.pem"), "verify_incoming_https": true,
            "cert_file": self.path("server.pem"), "key_file": self.path("server.key")}),
        );
        (agent, https)
    }
}

fn connections_of(port: u16) -> usize {
    let local = format!(":{port:04X}");
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let established = |line: &&str| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next().unwrap().ends_with(&local) && fields.nth(1) == Some("01")
    };
    table.lines().skip(1).filter(established).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_one_connection_carries_all_polls() {
    let certificates = Certificates::new();
    let (agent, https) = certificates.agent();
    let with_certificate = certificates.section(https);
    let without_certificate =
        format!("{{address: 'https://localhost:{https}', ca_file: '{}'}}", certificates.path("ca.pem"));
    let keys: Vec<Query> = (0..80).map(|number| key(&format!("k{number}"))).collect();
    let follower = Follower::start(&with_certificate, keys.clone());
    for key in &keys {
        follower.becomes(key, Data::Key(None)).await;
    }
    agent.put_key("k7", "1");
    follower.becomes(&keys[7], text("1")).await;
    assert_eq!(connections_of(https), 1, "with a poll for each of the keys");

    let strangers = Follower::start(&without_certificate, [key("a")]);
    let outage = strangers.until(SOON, "away", |seen| seen.outages.first().cloned()).await;
    assert!(outage.contains("ertificate"), "{outage}");
    let unknown = Follower::start(&format!("{{address: 'https://localhost:{https}'}}"), [key("a")]);
    let outage = unknown.until(SOON, "away", |seen| seen.outages.first().cloned()).await;
    assert!(outage.contains("TLS") || outage.contains("CA certificates"), "{outage}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unix_socket_is_an_address() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("consul.sock");
    let agent = Agent::start(json!({"addresses": {"http": format!("127.0.0.1 unix://{}", socket.display())}}));
    agent.put_key("a", "1");
    let follower = Follower::start(&format!("{{address: 'unix://{}'}}", socket.display()), [key("a")]);
    follower.becomes(&key("a"), text("1")).await;
    agent.put_key("a", "2");
    follower.becomes(&key("a"), text("2")).await;
}

// ---- Many services ----

/// One connection that stays, to fill the catalog quickly.
struct Filler {
    stream: TcpStream,
    reply: Vec<u8>,
}

impl Filler {
    fn new(agent: &Agent) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", agent.http)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, reply: vec![0; 4096] }
    }

    fn put(&mut self, path: &str, body: &Value) {
        let body = body.to_string();
        let request = format!("PUT {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        self.stream.write_all(request.as_bytes()).unwrap();
        let read = self.stream.read(&mut self.reply).unwrap();
        let reply = String::from_utf8_lossy(&self.reply[..read]);
        assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    }

    fn register(&mut self, node: &str, service: &str, port: usize, status: &str) {
        self.put("/v1/catalog/register", &registration(node, service, port, status));
    }
}

fn node_of(number: usize) -> String {
    format!("node-{}", number % 50)
}

fn name_of(number: usize) -> String {
    format!("service-{number}")
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

/// `count` services, each changed in its health and in its port: what it costs, and that it arrives within 2 s.
async fn many_services(count: usize, changes: usize, most: usize) {
    let agent = Agent::plain();
    let section = format!("{{address: '{}'}}", agent.address());
    follow_many(&agent, agent.http, &section, count, changes, most).await;
}

async fn follow_many(agent: &Agent, port: u16, section: &str, count: usize, changes: usize, most: usize) {
    let mut filler = Filler::new(agent);
    for number in 0..count {
        filler.register(&node_of(number), &name_of(number), 1000, "passing");
    }
    let start = Instant::now();
    let follower = Follower::start(section, (0..count).map(|number| any(&name_of(number))));
    follower.until(Duration::from_secs(30), "all answered", |seen| (seen.answers.len() == count).then_some(())).await;
    println!("{count} services: all answered after {:?}", start.elapsed());
    assert!(follower.published() <= count * 2, "{}", follower.published());

    for (what, status, new_port) in [("health", "critical", 0), ("port", "critical", 2000)] {
        let mut latencies = Vec::new();
        for round in 0..changes {
            // Away from the change before, so that they do not help each other.
            tokio::time::sleep(Duration::from_millis(37 * (round as u64 % 7))).await;
            let number = (round * 7919) % count;
            let port = if new_port == 0 { 1000 } else { new_port + round };
            let start = Instant::now();
            filler.register(&node_of(number), &name_of(number), port, status);
            let expected = vec![format!("{}-1:{port}:{status}:1", name_of(number))];
            let query = any(&name_of(number));
            follower
                .until(SOON, "changed", |seen| (shown(&seen.answers.get(&query)?.data) == expected).then_some(()))
                .await;
            latencies.push(start.elapsed());
        }
        latencies.sort_unstable();
        let (p50, p95, worst) =
            (percentile(&latencies, 50), percentile(&latencies, 95), latencies[latencies.len() - 1]);
        println!("{count} services, {what}: p50 {p50:?}, p95 {p95:?}, worst {worst:?}");
        assert!(worst < Duration::from_secs(2), "{worst:?}");
    }
    // One of them fills the catalog.
    let connections = connections_of(port) - usize::from(port == agent.http);
    println!("{count} services: {connections} connections");
    assert!(connections <= most, "{connections}");
    assert_eq!(follower.outages(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_services_have_a_poll_each() {
    many_services(100, 20, 101).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hundred_services_are_within_the_limit_of_consul() {
    many_services(300, 20, 128).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_services_are_followed() {
    many_services(2000, 20, 128).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_two_thousand_services_have_a_poll_each() {
    let certificates = Certificates::new();
    let (agent, https) = certificates.agent();
    follow_many(&agent, https, &certificates.section(https), 2000, 20, 25).await;
}

/// Requests that the server counted since it was asked last: it counts in intervals of ten seconds.
#[derive(Default)]
struct Requests {
    intervals: BTreeMap<String, u64>,
}

impl Requests {
    fn look(&mut self, agent: &Agent) {
        let metrics: Value = serde_json::from_str(&agent.request_with("GET", "/v1/agent/metrics", "", &[])).unwrap();
        let gets = metrics["Samples"].as_array().unwrap().iter().filter(|sample| {
            let name = sample["Name"].as_str().unwrap();
            name.contains("http.GET.") && !name.contains("agent.metrics")
        });
        let count = gets.map(|sample| sample["Count"].as_u64().unwrap()).sum();
        self.intervals.insert(metrics["Timestamp"].as_str().unwrap().to_owned(), count);
    }

    fn each_second(&self) -> Vec<u64> {
        self.intervals.values().map(|count| count / 10).collect()
    }
}

/// 2,000 services, of which twenty change each second: health, port, registration and another instance.
async fn churn(seconds: u64, nodes: usize) {
    const SERVICES: usize = 2000;
    let node = |number: usize| format!("node-{}", number % nodes);
    let agent = Agent::plain();
    let mut filler = Filler::new(&agent);
    let mut expected: Vec<Vec<String>> = Vec::new();
    for number in 0..SERVICES {
        filler.register(&node(number), &name_of(number), 1000, "passing");
        expected.push(vec![format!("{}-1:1000:passing:1", name_of(number))]);
    }
    let follower = Follower::of(&agent, (0..SERVICES).map(|number| any(&name_of(number))));
    follower
        .until(Duration::from_secs(60), "all answered", |seen| (seen.answers.len() == SERVICES).then_some(()))
        .await;

    let (mut requests, mut most) = (Requests::default(), 0);
    let start = Instant::now();
    for round in 0..seconds * 20 {
        let number = usize::try_from(round * 7919).unwrap() % SERVICES;
        let (node, name, port) = (node(number), name_of(number), 2000 + usize::try_from(round % 20_000).unwrap());
        expected[number] = match round % 4 {
            0 => {
                filler.register(&node, &name, 1000, "critical");
                vec![format!("{name}-1:1000:critical:1")]
            }
            1 => {
                filler.register(&node, &name, port, "passing");
                vec![format!("{name}-1:{port}:passing:1")]
            }
            2 => {
                filler.put("/v1/catalog/deregister", &json!({"Node": node, "ServiceID": format!("{name}-1")}));
                Vec::new()
            }
            _ => {
                let mut registration = registration(&node, &name, port, "passing");
                registration["Service"]["ID"] = json!(format!("{name}-2"));
                registration.as_object_mut().unwrap().remove("Check");
                filler.put("/v1/catalog/register", &registration);
                let mut both: Vec<String> =
                    expected[number].iter().filter(|shown| !shown.starts_with(&format!("{name}-2"))).cloned().collect();
                both.push(format!("{name}-2:{port}:passing:1"));
                both
            }
        };
        if round % 20 == 0 {
            most = most.max(agent.connections() - 1);
            requests.look(&agent);
        }
        let next = start + Duration::from_millis((round + 1) * 50);
        tokio::time::sleep(next.saturating_duration_since(Instant::now())).await;
    }
    let end = Instant::now();
    let right = |seen: &Seen| {
        let is =
            |(number, expected): (usize, &Vec<String>)| shown(&seen.answers[&any(&name_of(number))].data) == *expected;
        expected.iter().enumerate().all(is).then_some(())
    };
    follower.until(Duration::from_secs(2), "right", right).await;
    println!(
        "2000 services on {nodes} nodes, 20 changes/s for {seconds} s: right {:?} after the end, at most {most} connections, \
         requests/s in tens of seconds {:?}",
        end.elapsed(),
        requests.each_second()
    );
    assert!(most <= 128, "{most}");
    assert_eq!(follower.outages(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn churn_is_followed() {
    churn(5, 50).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes two minutes"]
async fn churn_is_followed_for_two_minutes() {
    churn(120, 50).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes two minutes"]
async fn churn_is_followed_on_as_many_nodes_as_services() {
    churn(120, 2000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wanted_may_grow_beyond_the_connections_and_shrink_again() {
    let agent = Agent::plain();
    for number in 0..20 {
        agent.register(&node_of(number), &name_of(number), 1000, "passing");
    }
    let list = Query::Services { tag: None };
    let queries = |count: usize| {
        let services = (0..count).map(|number| any(&name_of(number)));
        numbered(services.chain([list.clone(), Query::Nodes { datacenter: None }]), 0)
    };
    let follower = Follower::start(&format!("{{address: '{}', max_connections: 6}}", agent.address()), []);
    let mut most = 0;
    for (round, count) in [2, 20, 3, 15, 1].into_iter().enumerate() {
        follower.wanted.send_replace(queries(count));
        let answered =
            |seen: &Seen| (0..count).all(|number| seen.answers.contains_key(&any(&name_of(number)))).then_some(());
        follower.until(Duration::from_secs(2), "all answered", answered).await;
        for (number, status) in [(0, "critical"), (count - 1, "warning"), (0, "passing")] {
            agent.register(&node_of(number), &name_of(number), 2000 + round, status);
            let expected = vec![format!("{}-1:{}:{status}:1", name_of(number), 2000 + round)];
            let query = any(&name_of(number));
            let shows = |seen: &Seen| (shown(&seen.answers.get(&query)?.data) == expected).then_some(());
            follower.until(Duration::from_secs(2), "changed", shows).await;
            most = most.max(agent.connections());
        }
        agent.register("n9", &format!("new-{round}"), 80, "passing");
        let name = format!("new-{round}");
        let listed = |seen: &Seen| {
            let Data::Services(services) = &seen.answers.get(&list)?.data else { return None };
            services.iter().any(|service| service.name == name).then_some(())
        };
        follower.until(Duration::from_secs(2), "listed", listed).await;
    }
    assert!(most <= 6, "{most}");
    assert_eq!(follower.outages(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_nodes_reach_swept_services() {
    let agent = Agent::plain();
    for number in 0..20 {
        agent.register(&node_of(number), &name_of(number), 1000, "passing");
    }
    let queries: Vec<Query> = (0..20).map(|number| any(&name_of(number))).chain([key("k1"), key("k2")]).collect();
    let follower = Follower::start(&format!("{{address: '{}', max_connections: 6}}", agent.address()), queries);
    let address = |name: &str, wanted: &str| {
        let (query, wanted) = (any(name), wanted.to_owned());
        follower.until(Duration::from_secs(2), "there", move |seen| {
            let Data::Service(instances) = &seen.answers.get(&query)?.data else { return None };
            (instances.first()?.address == wanted).then_some(())
        })
    };
    address("service-3", "10.0.0.1").await;
    agent.put("/v1/catalog/register", json!({"Node": "node-3", "Address": "10.9.9.9"}));
    address("service-3", "10.9.9.9").await;
    // Critical by a check of the node, and back.
    let node_check = |status: &str| {
        agent.put(
            "/v1/catalog/register",
            json!({"Node": "node-4", "Address": "10.0.0.1", "SkipNodeUpdate": true,
            "Check": {"Node": "node-4", "CheckID": "alive", "Name": "alive", "Status": status}}),
        );
    };
    node_check("critical");
    becomes!(follower, any("service-4"), shown, ["service-4-1:1000:critical:1"]);
    node_check("passing");
    becomes!(follower, any("service-4"), shown, ["service-4-1:1000:passing:1"]);
    agent.put("/v1/catalog/deregister", json!({"Node": "node-5"}));
    becomes!(follower, any("service-5"), shown, [""; 0]);
    agent.put_key("k2", "x");
    follower.becomes(&key("k2"), text("x")).await;
    assert!(agent.connections() <= 6, "{}", agent.connections());
    assert!(follower.outages().is_empty());
    let _ = Status::Passing;
}
