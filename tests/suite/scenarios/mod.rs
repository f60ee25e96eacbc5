//! The examples, each with the programs that it is about, on its files as they stand: only addresses are given, through
//! the variables that the example reads.

pub(crate) mod backend;
mod container;
mod entrypoint;
mod haproxy_consul;
mod nginx_consul;
mod nginx_etcd;
mod swap;
mod systemd;
pub(crate) mod traffic;
mod two_registries;

use std::process::Command;

use crate::support::folder::Folder;
use crate::support::liveconf::{Daemon, Job, Output, example, run_to_end, start};
use crate::support::{SOON, http, poll_until};

/// A copy of an example, and the variables that it is run with.
struct Scene {
    job: Job,
    variables: Vec<(&'static str, String)>,
}

impl Scene {
    /// Of the example in this folder.
    fn of(name: &str, variables: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        Self { job: Job::of(Folder::copy_of(example(name))), variables: variables.into_iter().collect() }
    }

    /// Any command, with the variables of the scene.
    fn with_variables(&self, mut command: Command) -> Command {
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs liveconf to its end.
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Output {
        run_to_end(self.with_variables(self.job.command(arguments)))
    }

    /// Starts liveconf and lets it run.
    #[track_caller]
    fn start(&self) -> Daemon {
        start(self.with_variables(self.job.command(&["run"])))
    }

    /// Waits until the lines of a file that begin with `server `, without indentation, are these in any order.
    #[track_caller]
    fn wait_for_servers(&self, file: &str, servers: &[String]) {
        let mut servers = servers.to_vec();
        servers.sort();
        poll_until(SOON, || {
            let text = self.job.read(file).unwrap_or_default();
            let lines = text.lines().map(str::trim).filter(|line| line.starts_with("server ") && *line != "server {");
            let mut lines: Vec<_> = lines.map(str::to_owned).collect();
            lines.sort();
            if lines == servers { Ok(()) } else { Err(format!("should list {servers:?}, but is {text}")) }
        });
    }

    /// Waits until a file holds this text.
    #[track_caller]
    fn wait_for_text(&self, file: &str, text: &str) {
        poll_until(SOON, || match self.job.read(file) {
            Some(found) if found.contains(text) => Ok(()),
            found => Err(format!("`{file}` should hold {text:?}: {}", found.unwrap_or_default())),
        });
    }
}

/// Waits until what listens on a port of the loopback answers so.
#[track_caller]
fn wait_for_answer(port: u16, path: &str, status: u16, body: &str) {
    poll_until(SOON, || match http::get(port, path) {
        Ok((found, text)) if found == status && text.contains(body) => Ok(()),
        other => Err(format!("{path} should give {status} and {body:?}, but gave {other:?}")),
    });
}
