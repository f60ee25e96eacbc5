//! HAProxy, told of its servers while it runs (`reload: {haproxy: ...}`): no reload where none is needed, and a reload, the
//! old servers or the right ones wherever something goes wrong.

mod for_each;
mod many;
mod recovery;
mod sessions;
mod wrong_socket;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use crate::support::haproxy::{Haproxy, ask, servers, worker};
use crate::support::liveconf::{Daemon, Job};
use crate::support::{SOON, poll_until, port};

/// What a target says but for `check` and the socket.
const TARGET: &str = "\
registries: {local: {file: {path: registry.yaml}}}
log: {level: debug}
targets:
  haproxy:
    templates: [{src: haproxy.tera, dest: haproxy.cfg}]
    wait: 0
    reload_interval: 0
    retry: 50ms..200ms
";

/// How HAProxy is told, with a master that takes `reload`.
const MASTER: &str = "    reload: {haproxy: {socket: admin.sock, master: master.sock}}\n";
/// With a signal instead.
const SIGNAL: &str = "    reload: {haproxy: {socket: admin.sock, pid_file: haproxy.pid}}\n";
const CHECK: &str = "    check: [haproxy, -c, -q, -f, \"{staged}\"]\n";

/// A server of the registry: its name, address, port, weight, and whether it is critical.
type Server = (String, String, u16, u16, bool);

fn server(name: &str, address: &str, port: u16) -> Server {
    (name.to_owned(), address.to_owned(), port, 1, false)
}

/// HAProxy, whose servers are those of a registry.
struct Web {
    job: Job,
    port: u16,
    haproxy: Option<Haproxy>,
}

impl Web {
    /// HAProxy runs with these servers, and nobody has told it anything yet. `target` are the lines of the target after
    /// [`TARGET`].
    fn start(target: &str, servers: &[Server]) -> Self {
        let port = port::free();
        let job = Job::new(&format!("{TARGET}{target}"));
        let folder = job.folder().root().display().to_string();
        let template = format!(
            "global\n  stats socket {folder}/admin.sock mode 600 level admin\n  stats socket {folder}/operator.sock mode 600 \
             level operator\n  server-state-file {folder}/state-of-servers\ndefaults\n  mode http\n  timeout client \
             30s\n  timeout server 30s\n  timeout connect 2s\n  option http-server-close\n  \
             load-server-state-from-file global\n  default-server check inter 10s\nfrontend web\n  bind \
             127.0.0.1:{port}\n  monitor-uri /health\n  default_backend app\n  {{{{ key(path=\"more\", default=\"\") \
             }}}}\nbackend app\n  balance roundrobin\n  {{% for server in service(name=\"app\", status=\"any\") %}}\n  server \
             {{{{ server.id }}}} {{{{ server.address }}}}:{{{{ server.port }}}} weight {{{{ server.weight }}}}{{% if \
             server.status == \"critical\" %}} disabled{{% endif %}}\n  {{% endfor %}}\n"
        );
        let job = job.with("haproxy.tera", template);
        let web = Self { job, port, haproxy: None };
        web.set(servers, "");
        // Nobody knows of that afterwards, so the files are found as they should be.
        web.job.run(&["once", "--no-reload", "--no-check", "--state-dir", "elsewhere"]).assert_code(0);
        web.with_haproxy()
    }

    fn with_haproxy(mut self) -> Self {
        self.haproxy = Some(Haproxy::start(self.job.folder().root(), self.port));
        self
    }

    /// liveconf, once HAProxy is true to the registry.
    fn follow(&self) -> Daemon {
        let daemon = self.job.start(&["run"]);
        poll_until(SOON, || {
            let status = self.job.run(&["status", "--json"]).stdout;
            if status.contains("\"state\": \"settled\"") || status.contains("\"state\":\"settled\"") {
                Ok(())
            } else {
                Err(format!("it is not settled: {status}"))
            }
        });
        daemon
    }

    /// What `explain` says of the target.
    fn explained(&self) -> serde_json::Value {
        serde_json::from_str(&self.job.run(&["explain", "haproxy", "--json"]).stdout).unwrap()
    }

    /// Makes these the servers of the registry, and `more` a line of the frontend.
    fn set(&self, servers: &[Server], more: &str) {
        let mut text = format!("more: {more:?}\nservices:\n  app:\n");
        for (id, address, port, weight, critical) in servers {
            let status = if *critical { "critical" } else { "passing" };
            let _ = writeln!(
                text,
                "    - {{id: {id}, address: {address}, port: {port}, weight: {weight}, status: {status}}}"
            );
        }
        if servers.is_empty() {
            text = text.replace("  app:\n", "  app: []\n");
        }
        self.job.write("registry.yaml", text);
    }

    fn socket(&self) -> PathBuf {
        self.job.folder().path("admin.sock")
    }

    fn tell(&self, line: &str) -> String {
        ask(&self.socket(), line).unwrap()
    }

    fn worker(&self) -> u32 {
        worker(&self.socket()).0
    }

    fn servers(&self) -> BTreeMap<String, String> {
        servers(&self.socket(), "app")
    }

    /// Waits until HAProxy runs just these servers, each taking what comes or in maintenance.
    #[track_caller]
    fn wait_for(&self, wanted: &[Server]) {
        let row = |(name, address, port, weight, critical): &Server| {
            (name.clone(), format!("{address}:{port} {weight} {}", u8::from(*critical)))
        };
        let wanted: BTreeMap<_, _> = wanted.iter().map(row).collect();
        // What was `disabled` in the file when HAProxy began says so besides.
        let plain = |row: String| row.strip_suffix(" 5").map(|start| format!("{start} 1")).unwrap_or(row);
        poll_until(SOON, || {
            let found: BTreeMap<_, _> = self.servers().into_iter().map(|(name, row)| (name, plain(row))).collect();
            let wrong = |one: &BTreeMap<String, String>, other: &BTreeMap<String, String>| {
                let wrong = one.iter().filter(|(name, row)| other.get(*name) != Some(row)).take(5);
                wrong.map(|(name, row)| format!("{name} {row}")).collect::<Vec<_>>()
            };
            match (wrong(&wanted, &found), wrong(&found, &wanted)) {
                (wanted, found) if wanted.is_empty() && found.is_empty() => Ok(()),
                (wanted, found) => Err(format!("haproxy should run {wanted:?} ..., but runs {found:?} ...")),
            }
        });
    }
}

/// Waits until this many lines of the log hold this text.
#[track_caller]
fn wait_for_logged(daemon: &Daemon, text: &str, count: usize) {
    poll_until(SOON, || {
        let found = daemon.logged(text).len();
        if found >= count { Ok(()) } else { Err(format!("`{text}` stands {found} of {count} times in the log")) }
    });
}

const WITHOUT: &str = "changed without a reload";
const RELOADED: &str = "INFO reloaded";

#[test]
fn servers_that_come_go_move_and_rest_cause_no_reload() {
    for reload in [MASTER, SIGNAL] {
        let (a, b) = (server("a", "127.0.0.1", 1001), server("b", "127.0.0.2", 1002));
        let web = Web::start(&format!("{reload}{CHECK}"), std::slice::from_ref(&a));
        let daemon = web.follow();
        let worker = web.worker();
        let moved = ("a".to_owned(), "127.0.0.9".to_owned(), 1009, 7, false);
        let resting = ("a".to_owned(), "127.0.0.9".to_owned(), 1009, 7, true);
        let steps = [
            vec![a.clone(), b.clone()],
            vec![moved.clone(), b.clone()],
            vec![resting.clone()],
            vec![moved.clone(), server("v6", "\"::1\"", 1003)],
            vec![server("c", "127.0.0.3", 1003)],
            Vec::new(),
            vec![a],
        ];
        for (round, step) in steps.iter().enumerate() {
            web.set(step, "");
            wait_for_logged(&daemon, WITHOUT, round + 1);
            let quoted = |server: &Server| (server.0.clone(), server.1.replace('"', ""), server.2, server.3, server.4);
            web.wait_for(&step.iter().map(quoted).collect::<Vec<_>>());
        }
        assert_eq!(web.worker(), worker, "a new worker is a reload");
        assert_eq!(daemon.logged("haproxy needs a reload").len(), 0);
        let way = &web.explained()["way"];
        assert_eq!((way["by"].as_str(), way["servers"].as_u64()), (Some("runtime"), Some(1)), "{way}");
        daemon.stop();
    }
}

#[test]
fn any_other_difference_is_a_reload_that_says_why_and_a_drained_server_stays_drained() {
    for reload in [MASTER, SIGNAL] {
        let (a, b) = (server("a", "127.0.0.1", 1001), server("b", "127.0.0.2", 1002));
        let web = Web::start(&format!("{reload}{CHECK}"), &[a, b]);
        let mut daemon = web.follow();
        let before = web.worker();
        // What was changed while it ran is what the file says now, not what the old process began with.
        let changed = [("a".to_owned(), "127.0.0.1".to_owned(), 1077, 9, false), server("b", "127.0.0.2", 1002)];
        web.set(&changed, "");
        daemon.wait_for_log(WITHOUT);
        web.tell("set server app/b state drain");
        web.set(&changed, "http-request set-header x y");
        let reason = daemon.wait_for_log("haproxy needs a reload");
        assert!(reason.contains("haproxy.cfg") && reason.contains("is no `server` line"), "{reason}");
        daemon.wait_for_log(RELOADED);
        poll_until(SOON, || if web.worker() == before { Err("the old worker serves".to_owned()) } else { Ok(()) });
        let servers = web.servers();
        assert_eq!((&*servers["a"], &*servers["b"]), ("127.0.0.1:1077 9 0", "127.0.0.2:1002 1 8"));
        let way = &web.explained()["way"];
        assert!(way["by"] == "reload" && way["reason"].as_str().unwrap().contains("is no `server` line"), "{way}");
        // And back, on the port of the first file, with the state file of the reload before.
        web.set(&[server("a", "127.0.0.1", 1001), server("b", "127.0.0.2", 1002)], "");
        wait_for_logged(&daemon, RELOADED, 2);
        poll_until(SOON, || match &*web.servers()["a"] {
            "127.0.0.1:1001 1 0" => Ok(()),
            other => Err(other.to_owned()),
        });
        daemon.stop();
    }
}
