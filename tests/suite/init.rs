//! `liveconf init`: what it writes works, by exactly the commands that it says.

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};

use crate::support::liveconf::{BINARY, Daemon, Job, run_to_end, start};
use crate::support::process::{find, search_path};
use crate::support::{SOON, http, poll_until, port};

/// What is run, with what it needs of the machine.
struct Scene {
    job: Job,
    variables: Vec<(&'static str, String)>,
    /// What runs the shell, with its arguments: nothing, or what makes an ordinary user of it.
    through: Vec<String>,
}

impl Scene {
    fn new(variables: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        Self { job: Job::empty(), variables: variables.into_iter().collect(), through: Vec::new() }
    }

    /// The same for somebody who may write nowhere but in the folder, on a machine on which nginx never ran as root; as far
    /// as whoever runs the test may become that.
    fn of_ordinary_user(mut self) -> Self {
        let program = self.job.folder().path("bin/liveconf");
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        fs::hard_link(BINARY, &program).or_else(|_| fs::copy(BINARY, &program).map(drop)).unwrap();
        if Uid::effective().is_root() {
            let nobody = 65534;
            chown(self.job.folder().root(), Some(nobody), Some(nobody)).unwrap();
            let becomes = "[ ! -d /var/lib/nginx ] || mount -t tmpfs -o mode=755 none /var/lib/nginx || true\n\
                           exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"";
            let own_mounts = ["unshare", "--mount"];
            let may = Command::new(own_mounts[0]).args([own_mounts[1], "true"]).env("PATH", search_path()).status();
            let before = if may.is_ok_and(|status| status.success()) { &own_mounts[..] } else { &[] };
            self.through = before.iter().chain(&["sh", "-c", becomes, "sh"]).map(|&word| word.to_owned()).collect();
        }
        self
    }

    fn shell(&self, line: &str) -> Command {
        let words: Vec<&str> = self.through.iter().map(String::as_str).chain(["bash", "-euc", line]).collect();
        let mut shell = self.job.prepare(Command::new(words[0]), &words[1..]);
        let own = self.job.folder().path("bin/liveconf").display().to_string();
        let binary = if self.job.folder().path("bin").exists() { &own } else { BINARY };
        let folders = [binary, &*consul()].map(|program| program.rsplit_once('/').unwrap().0.to_owned());
        shell.env("PATH", format!("{}:{}", folders.join(":"), search_path()));
        shell.envs(self.variables.iter().map(|(name, value)| (name, value)));
        shell
    }

    /// Writes the files, and runs all that is said to be next but for the last, which goes on.
    #[track_caller]
    fn follow(&self, program: &str, registry: &str) -> Daemon {
        let output = run_to_end(self.shell(&format!("liveconf init {program} --registry {registry} 'my demo'")));
        output.assert_code(0);
        // What it refers to is there, for an editor.
        let config = self.job.read("my demo/liveconf.yaml").unwrap();
        let schema = config.lines().next().unwrap().strip_prefix("# yaml-language-server: $schema=").unwrap();
        assert_eq!(self.job.read(&format!("my demo/{schema}")).unwrap(), self.job.run(&["schema"]).stdout);
        let (written, next) = output.stdout.split_once("\nnext:\n\n").unwrap();
        assert!(written.lines().all(|line| line.starts_with("wrote my demo/")), "{written}");
        let commands: Vec<&str> = next.lines().map(str::trim).collect();
        assert_eq!((commands[0], commands.last()), ("cd 'my demo'", Some(&"liveconf run")));
        let before = commands[..commands.len() - 1].join("\n");
        run_to_end(self.shell(&format!("{before}\n"))).assert_code(0);
        let mut daemon = start(self.shell("cd 'my demo'\nexec liveconf run"));
        daemon.wait_for_log(", state in ");
        daemon
    }
}

impl Drop for Scene {
    /// Ends the programs that the commands put into the background, by the pids in their files.
    fn drop(&mut self) {
        for pid_file in ["nginx.pid", "haproxy.pid"] {
            let text = self.job.read(&format!("my demo/{pid_file}")).unwrap_or_default();
            if let Ok(pid) = text.trim().parse() {
                let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            }
        }
    }
}

/// Where Consul is, or this program where a build knows none.
#[cfg(feature = "consul")]
fn consul() -> String {
    crate::support::consul::find_consul().display().to_string()
}

#[cfg(not(feature = "consul"))]
fn consul() -> String {
    BINARY.to_owned()
}

/// nginx answers for a backend that is not there, and for one that is as soon as it stands in the registry.
fn nginx(registry: &str, variables: impl IntoIterator<Item = (&'static str, String)>) {
    nginx_in(Scene::new(variables), registry);
}

fn nginx_in(mut scene: Scene, registry: &str) {
    let front = port::free();
    scene.variables.push(("NGINX_LISTEN", format!("127.0.0.1:{front}")));
    let daemon = scene.follow("nginx", registry);
    poll_until(SOON, || http::get(front, "/").map(|(status, _)| assert_eq!(status, 502)).map_err(|e| e.to_string()));
    let file = scene.job.read("my demo/web.conf").unwrap();
    assert!(file.contains("server 127.0.0.1:8081 weight=1;"), "{file}");
    daemon.stop();
}

fn haproxy(registry: &str, variables: impl IntoIterator<Item = (&'static str, String)>) {
    haproxy_in(Scene::new(variables), registry);
}

fn haproxy_in(mut scene: Scene, registry: &str) {
    let front = port::free();
    scene.variables.push(("HAPROXY_BIND", format!("127.0.0.1:{front}")));
    let daemon = scene.follow("haproxy", registry);
    poll_until(SOON, || http::get(front, "/").map(|(status, _)| assert_eq!(status, 503)).map_err(|e| e.to_string()));
    let file = scene.job.read("my demo/haproxy.cfg").unwrap();
    assert!(file.contains("server 127.0.0.1:8081 127.0.0.1:8081 weight 1\n"), "{file}");
    daemon.stop();
}

fn files(registry: &str, variables: &[(&'static str, String)]) {
    let scene = Scene::new(variables.to_vec());
    let daemon = scene.follow("prometheus", registry);
    let targets: serde_json::Value = serde_json::from_str(&scene.job.read("my demo/targets.json").unwrap()).unwrap();
    assert_eq!(targets[0]["targets"][0], "127.0.0.1:8081");
    daemon.stop();
    let scene = Scene::new(variables.to_vec());
    let daemon = scene.follow("env", registry);
    assert!(scene.job.read("my demo/app.env").unwrap().contains("APP_DB_HOST=\"db.internal\"\n"));
    daemon.stop();
}

#[test]
fn a_file_is_followed() {
    find("nginx");
    nginx("file", []);
    haproxy("file", []);
    files("file", &[]);
}

#[test]
fn an_ordinary_user_may_run_all_of_it() {
    find("nginx");
    nginx_in(Scene::new([]).of_ordinary_user(), "file");
    haproxy_in(Scene::new([]).of_ordinary_user(), "file");
}

#[cfg(feature = "consul")]
#[test]
fn consul_is_followed() {
    let consul = crate::support::consul::Consul::start();
    let address = [("CONSUL_HTTP_ADDR", consul.address())];
    nginx("consul", address.clone());
    haproxy("consul", address.clone());
    files("consul", &address);
}

#[cfg(feature = "etcd")]
#[test]
fn etcd_is_followed() {
    let etcd = crate::support::etcd::Etcd::start();
    let endpoints = [("ETCDCTL_ENDPOINTS", etcd.endpoints().join(",")), ("ETCDCTL_API", "3".to_owned())];
    nginx("etcd", endpoints.clone());
    haproxy("etcd", endpoints.clone());
    files("etcd", &endpoints);
}

#[test]
fn nothing_is_overwritten() {
    let job = Job::empty().with("nginx.conf", "mine\n").with("registry.yaml", "mine: 1\n");
    let output = job.run(&["init", "nginx", "--registry", "file"]);
    output.assert_code(1).assert_says(&["in the way:\n  ./nginx.conf\n  ./registry.yaml\n"]);
    assert_eq!(job.folder().names("."), ["nginx.conf", "registry.yaml"]);
    assert_eq!(job.read("nginx.conf").as_deref(), Some("mine\n"));
    // What is made of nothing but the program may be there.
    let job = Job::empty().with("liveconf.schema.json", "{}\n");
    let output = job.run(&["init", "env", "--registry", "file"]);
    output.assert_code(0);
    assert!(!output.stdout.contains("schema"), "{}", output.stdout);
    assert_eq!(job.read("liveconf.schema.json").as_deref(), Some("{}\n"));
    job.run(&["schema", "-o", "liveconf.schema.json"]).assert_code(0).assert_says(&["wrote `liveconf.schema.json`"]);
    assert_eq!(job.read("liveconf.schema.json").unwrap(), job.run(&["schema"]).stdout);
    job.run(&["schema", "-o", "no/such/folder/x.json"]).assert_code(1).assert_says(&["failed to write"]);
    job.run(&["init", "apache", "--registry", "file"]).assert_code(2);
}

#[test]
fn what_is_given_and_not_taken_is_said() {
    let job = Job::empty().with("f", "mine\n");
    let kinds = "`--registry` takes the kind alone, one of file, consul, etcd";
    let refused = |given: &[&str], says: &[&str]| {
        let registries = given.iter().flat_map(|given| ["--registry", given]);
        let output = job.run(&["init", "nginx", "folder"].into_iter().chain(registries).collect::<Vec<_>>());
        output.assert_code(2).assert_says(says);
        assert!(!output.stderr.contains("hunter2"), "{}", output.stderr);
    };
    refused(&[], &["say which registry it follows", kinds]);
    refused(&["file", "consul"], &["it follows one registry, not several", kinds]);
    refused(&["redis"], &["`--registry redis` is no kind of registry that `init` begins with", kinds]);
    refused(&["dns"], &["`--registry dns` is no kind", kinds]);
    let more = ["`--registry consul:...` says more than the kind of registry", "`--registry consul` is all"];
    refused(&["consul:http://me:hunter2@127.0.0.1:1"], &more);
    refused(&["main=file:reg.yaml"], &["`--registry main=file:...` says more", "`--registry file` is all"]);

    symlink("nothing", job.folder().path("link")).unwrap();
    for (folder, says) in [("f", "`f` is no folder"), ("link", "`link` is no folder, but a symbolic link")] {
        let output = job.run(&["init", "nginx", "--registry", "file", folder]);
        output.assert_code(1).assert_says(&["nothing was written: ", says]);
    }
    assert_eq!(job.folder().names("."), ["f", "link"]);
}
