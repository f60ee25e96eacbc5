//! Where it is measured: one etcd, where a part asks for it, one folder on the disk, and the two programs.

use std::cell::LazyCell;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::floor;
use crate::race::Change;
use crate::support::etcd::Etcd;
use crate::support::etcd_client::Client;
use crate::support::liveconf::{BINARY, Daemon, start};
use crate::support::process::{bound, search_path};

/// The server and the folder that all parts share. etcd keeps its data in memory, so that its own fsync is in no
/// number; destinations lie on the disk of the target folder.
pub(crate) struct Stage {
    etcd: LazyCell<(Etcd, Client)>,
    folder: TempDir,
}

/// A program with a folder of its own; dropped, it is killed.
pub(crate) struct Running {
    /// The process and its log.
    pub(crate) daemon: Daemon,
    /// Where its destinations lie.
    pub(crate) out: PathBuf,
}

impl Stage {
    /// The server starts when it is first asked for.
    pub(crate) fn new() -> Self {
        let start: fn() -> (Etcd, Client) = || {
            let etcd = Etcd::start();
            let client = etcd.client();
            (etcd, client)
        };
        let folder =
            tempfile::Builder::new().prefix("change_to_file-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        Self { etcd: LazyCell::new(start), folder }
    }

    /// Where the raw samples are kept unless somebody says otherwise.
    pub(crate) fn default_raw() -> PathBuf {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("change_to_file-{seconds}.csv"))
    }

    /// The folder of everything that is written.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Who changes keys.
    pub(crate) fn client(&self) -> &Client {
        &self.etcd.1
    }

    /// A change of a key.
    pub(crate) fn put(&self, key: String, value: String, marker: String, file: PathBuf) -> Change<'_> {
        let send = Box::new(move || {
            self.client().put(&key, value);
        });
        Change { send, file, marker, present: true }
    }

    /// What the server counts under this name.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        self.etcd.0.metric(0, name)
    }

    /// A folder for `name`, with an empty `out/`.
    pub(crate) fn room(&self, name: &str) -> PathBuf {
        let room = self.folder().join(name);
        fs::create_dir_all(room.join("out")).unwrap();
        room
    }

    /// The program in its room, with these arguments.
    pub(crate) fn command(room: &Path, arguments: &[&str]) -> Command {
        let mut command = bound(Signal::SIGKILL, BINARY);
        command.args(arguments).current_dir(room).env_clear();
        command.env("PATH", search_path()).env("LIVECONF_STATE_DIR", room.join("state"));
        command
    }

    /// `liveconf run` on these targets. Defaults everywhere: nobody waits or reloads otherwise than a user would.
    pub(crate) fn liveconf(&self, name: &str, targets: &str) -> Running {
        self.liveconf_on(&format!("etcd: {{endpoints: {}}}", self.etcd.0.endpoints_yaml()), name, targets)
    }

    /// The same on this registry.
    pub(crate) fn liveconf_on(&self, registry: &str, name: &str, targets: &str) -> Running {
        let room = self.room(name);
        fs::write(room.join("liveconf.yaml"), format!("registries: {{main: {{{registry}}}}}\n{targets}")).unwrap();
        let mut command = Self::command(&room, &["run"]);
        command.stderr(Stdio::piped());
        Running { daemon: start(command), out: room.join("out") }
    }

    /// The floor on all keys below `prefix`; each file ends in `body`.
    pub(crate) fn floor(&self, name: &str, prefix: &str, body: &[u8]) -> Running {
        self.floor_on(&["floor", &self.etcd.0.endpoints()[0], prefix], name, body)
    }

    /// The floor that these arguments of ours name.
    pub(crate) fn floor_on(&self, arguments: &[&str], name: &str, body: &[u8]) -> Running {
        let room = self.room(name);
        let (out, file) = (room.join("out"), room.join("body"));
        fs::write(&file, body).unwrap();
        let mut command = bound(Signal::SIGKILL, env::current_exe().unwrap());
        command.args(arguments).arg(&out).arg(file).stderr(Stdio::piped());
        let mut daemon = start(command);
        daemon.wait_for_log(floor::READY);
        Running { daemon, out }
    }
}
