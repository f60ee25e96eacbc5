//! What a running liveconf is asked and told over its control socket.

#[cfg(feature = "etcd")]
mod asking;
#[cfg(feature = "consul")]
mod holds;
mod orders;
mod peers;
mod refusals;
mod secrets;
mod sockets;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::liveconf::{Daemon, Job, Output};
use crate::support::{SOON, poll_until};

/// A target `web` on a file registry whose key `x` becomes `out.conf`, with more of its settings.
fn config(settings: &str) -> String {
    format!(
        "registries: {{local: {{file: {{path: registry.yaml}}}}}}
targets:
  web:
    templates: [{{content: '{{{{ key(path=\"x\") }}}}', dest: out.conf}}]
    wait: 0
    reload_interval: 0
{settings}
"
    )
}

fn job(settings: &str) -> Job {
    Job::new(&config(settings)).with("registry.yaml", "x: A\n")
}

/// What the command writes with `--json`, and its exit code.
#[track_caller]
fn asked(job: &Job, arguments: &[&str]) -> (Value, i32) {
    let Output { code, stdout, stderr } = job.run(&[arguments, &["--json"]].concat());
    let document = serde_json::from_str(&stdout);
    (document.unwrap_or_else(|_| panic!("{arguments:?} ended with {code}: {stdout}{stderr}")), code)
}

/// Asks for the status until its first target is as wanted; that target.
#[track_caller]
fn wait_for_target(job: &Job, is_wanted: impl Fn(&Value) -> bool) -> Value {
    poll_until(SOON, || {
        let output = job.run(&["status", "--json"]);
        let status: Value = serde_json::from_str(&output.stdout).map_err(|_| output.stderr.clone())?;
        let target = status["targets"][0].clone();
        if is_wanted(&target) { Ok(target) } else { Err(format!("{target:#}")) }
    })
}

/// The same until it is in this state.
#[track_caller]
fn wait_for_state(job: &Job, state: &str) -> Value {
    wait_for_target(job, |target| target["state"] == state && target["applying"].is_null())
}

/// Has the configuration read anew, and waits until it is loaded.
#[track_caller]
fn hang_up(daemon: &mut Daemon) {
    let loaded = |daemon: &Daemon| daemon.logged("loaded the new configuration").len();
    let before = loaded(daemon);
    daemon.signal(Signal::SIGHUP);
    poll_until(SOON, || if loaded(daemon) > before { Ok(()) } else { Err(format!("not loaded: {:#?}", daemon.log())) });
}
