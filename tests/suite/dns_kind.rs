//! The DNS registry against a real server, dnsmasq.

use std::process::Command;

use nix::sys::signal::Signal;

use crate::support::folder::Folder;
use crate::support::liveconf::Job;
use crate::support::process::{Process, bound, find};
use crate::support::{SOON, poll_until, port};

/// A server of the names below `example`.
struct Dnsmasq {
    folder: Folder,
    port: u16,
    process: Option<Process>,
}

impl Dnsmasq {
    /// With these lines as its hosts, and these as more of its configuration.
    fn start(hosts: &str, more: &str) -> Self {
        let (folder, port) = (Folder::new(), port::free());
        let mut server = Self { folder, port, process: None };
        server.hosts(hosts);
        server.restart(more);
        server
    }

    /// Other hosts, which it knows once it is told.
    fn hosts(&self, hosts: &str) {
        self.folder.write("hosts", hosts);
        if let Some(process) = &self.process {
            let pid = nix::unistd::Pid::from_raw(process.id().cast_signed());
            nix::sys::signal::kill(pid, Signal::SIGHUP).unwrap();
        }
    }

    /// Starts it, anew if it runs, with these lines as more of its configuration.
    fn restart(&mut self, more: &str) {
        self.kill();
        let hosts = self.folder.path("hosts").display().to_string();
        let port = self.port;
        self.folder.write(
            "dnsmasq.conf",
            format!(
                "port={port}\nlisten-address=127.0.0.1\nbind-interfaces\nno-resolv\nno-hosts\nuser=\n\
                 local=/example/\naddn-hosts={hosts}\n{more}\n"
            ),
        );
        let mut program: Command = bound(Signal::SIGKILL, find("dnsmasq"));
        program.args(["--keep-in-foreground", "--pid-file=", "-C"]).arg(self.folder.path("dnsmasq.conf"));
        let mut process = Process::start(program);
        poll_until(SOON, || match process.ended() {
            Some(status) => panic!("dnsmasq ended with {status}"),
            // It listens for TCP as well.
            None => std::net::TcpStream::connect(("127.0.0.1", port)).map(drop).map_err(|error| error.to_string()),
        });
        self.process = Some(process);
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// What stands under the name of the registry.
    fn section(&self) -> String {
        format!(
            "dns: {{servers: \"127.0.0.1:{}\", min_interval: 50ms, retry_interval: 200ms, request_timeout: 1s}}",
            self.port
        )
    }
}

const TEMPLATE: &str = r#"
{% for ip in lookup(name="db.example", type="IP") %}
{{ ip }}
{% endfor %}
{% for i in lookup(name="_web._tcp.example", type="SRV") %}
{{ i.endpoint }} {{ i.weight }} {{ i.meta.priority }}
{% endfor %}
{{ lookup(name="note.example", type="TXT") | join(sep="; ") }}
{{ lookup(name="none.example", default=["none"]) | join(sep=" ") }} {{ key(path="app/name") }}
"#;

const RECORDS: &str = "srv-host=_web._tcp.example,b.example,8080,20,0\nsrv-host=_web._tcp.example,a.example,8080,10,5\n\
                       txt-record=note.example,\"v=1\",\"rest\"\n";

fn rendered(addresses: &str, web: &str) -> String {
    format!("\n{addresses}{web}v=1rest\nnone shop\n")
}

const WEB: &str = "a.example:8080 5 10\nb.example:8080 1 20\n";

#[test]
fn names_are_followed_over_everything_that_happens_to_a_server() {
    let mut server = Dnsmasq::start("10.0.0.2 db.example\n10.0.0.10 db.example\nfd00::1 db.example\n", RECORDS);
    let config = format!(
        "registries: {{main: {{file: {{path: registry.yaml}}}}, names: {{{}}}}}\ntargets:\n  web:\n    \
         templates: [{{src: in.tera, dest: out}}]\n    wait: 0\n    reload_interval: 0\n    guard: {{empty_after: 0s}}\n",
        server.section()
    );
    let job = Job::new(&config).with("registry.yaml", "app: {name: shop}\n").with("in.tera", TEMPLATE);
    let mut daemon = job.start(&["run"]);
    job.wait_for("out", &rendered("10.0.0.2\n10.0.0.10\nfd00::1\n", WEB));
    job.run(&["check", "--connect"]).assert_code(0);

    // A record that changes, and a service that does.
    server.hosts("10.0.0.3 db.example\n");
    job.wait_for("out", &rendered("10.0.0.3\n", WEB));
    server.restart("srv-host=_web._tcp.example,c.example,81,1,1\ntxt-record=note.example,v=1rest\n");
    job.wait_for("out", &rendered("10.0.0.3\n", "c.example:81 1 1\n"));

    // The same bytes without the server.
    let live = job.run(&["render"]);
    live.assert_code(0);
    for fixture in ["fixture.yaml", "fixture.json"] {
        job.run(&["capture", "-o", fixture]).assert_code(0);
        let again = job.run(&["render", "--fixture", fixture]);
        again.assert_code(0);
        assert_eq!(again.stdout, live.stdout, "{fixture}: {:?}", job.read(fixture));
    }

    // A name that is gone is no empty list, and the file stays.
    server.hosts("10.0.0.4 other.example\n");
    daemon.wait_for_log("not there: IP records of `db.example` from registry `names`");
    assert_eq!(job.read("out"), Some(rendered("10.0.0.3\n", "c.example:81 1 1\n")));
    server.hosts("10.0.0.4 db.example\n");
    job.wait_for("out", &rendered("10.0.0.4\n", "c.example:81 1 1\n"));

    // A server that is away keeps the last answers, and the other registry goes on.
    server.kill();
    daemon.wait_for_log("registry does not answer");
    let status = job.run(&["status"]).stdout;
    assert!(status.contains("registry names (dns): away") && status.contains("no server "), "{status}");
    job.write("registry.yaml", "app: {name: store}\n");
    job.wait_for("out", &rendered("10.0.0.4\n", "c.example:81 1 1\n").replace("shop", "store"));
    server.hosts("10.0.0.5 db.example\n");
    server.restart(RECORDS);
    job.wait_for("out", &rendered("10.0.0.5\n", WEB).replace("shop", "store"));
    daemon.stop();
}

#[test]
fn a_name_that_loses_all_its_records_is_held_and_remembered() {
    let mut server = Dnsmasq::start("10.0.0.1 db.example\n", "");
    let config = format!(
        "registries: {{names: {{{}}}}}\nlast_known_good: {{after: 100ms}}\ntargets:\n  web:\n    \
         templates: [{{src: in.tera, dest: out}}]\n    wait: 0\n    reload_interval: 0\n",
        server.section()
    );
    let template = "{% for ip in lookup(name=\"db.example\", default=[]) %}{{ ip }}{% else %}nobody{% endfor %}\n";
    let job = Job::new(&config).with("in.tera", template);
    let mut daemon = job.start(&["run"]);
    job.wait_for("out", "10.0.0.1\n");
    server.hosts("");
    let held = daemon.wait_for_log("the last accepted answer stays");
    assert!(held.contains("A records of `db.example`"), "{held}");
    assert_eq!(job.read("out").as_deref(), Some("10.0.0.1\n"));
    job.run(&["release", "web"]).assert_code(0);
    job.wait_for("out", "nobody\n");
    server.hosts("10.0.0.2 db.example\n");
    job.wait_for("out", "10.0.0.2\n");
    daemon.stop();

    // A start while the server is away, with the file gone.
    server.kill();
    std::fs::remove_file(job.folder().path("out")).unwrap();
    let daemon = job.start(&["run"]);
    job.wait_for("out", "10.0.0.2\n");
    daemon.stop();
}
