//! Several registries at once: templates that read from all of them, one that is away, and ones that come, go and change
//! under a running daemon.

mod away;
mod hangup;
mod naming;
mod reading;
mod trap;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::consul_client::Client;
use crate::support::liveconf::Daemon;
use crate::support::{SOON, poll_until};

/// A target whose only template is `NAME.tera`, for `NAME.conf`, without any wait; each reload adds a line to
/// `NAME.reloads`.
fn target(name: &str) -> String {
    format!(
        "  {name}:
    templates: [{{src: {name}.tera, dest: {name}.conf}}]
    wait: 0
    reload_interval: 0
    reload: {{shell: 'cat {name}.conf >> {name}.reloads'}}
"
    )
}

/// A configuration of registries, `NAME: {KIND: {...}}`, and such targets.
fn config(registries: &[String], targets: &[&str]) -> String {
    let targets: String = targets.iter().map(|name| target(name)).collect();
    format!("registries:\n  {}\ntargets:\n{targets}", registries.join("\n  "))
}

/// Registers an instance of a service that has no check, and so is well.
fn register(consul: &Client, service: &str, port: u16) {
    consul.register(&json!({"ID": format!("{service}-{port}"), "Name": service, "Address": "10.0.0.1", "Port": port}));
}

/// Has the configuration read anew, and waits until the daemon has loaded it.
#[track_caller]
fn hang_up(daemon: &mut Daemon) {
    let loaded = |daemon: &Daemon| daemon.logged("loaded the new configuration").len();
    let before = loaded(daemon);
    daemon.signal(Signal::SIGHUP);
    poll_until(SOON, || if loaded(daemon) > before { Ok(()) } else { Err(format!("not loaded: {:#?}", daemon.log())) });
}
