//! A HAProxy that runs, and has lost a socket: somebody removed its file. Workers hand the socket on to those that follow them
//! at a reload, so only a restart puts the file there again.

use std::io;
use std::path::Path;

use super::socket::{ask, is_closed, why};
use crate::apply::reload::Outcome;
use crate::config::Haproxy;
use crate::process::signal;

/// Why HAProxy was not told at its runtime socket, and what to do about it.
pub(super) async fn without_runtime(haproxy: &Haproxy, error: &io::Error) -> String {
    let master_answers = match &haproxy.master {
        Some(master) => ask(master, "show proc").await.is_ok(),
        None => false,
    };
    if error.kind() == io::ErrorKind::NotFound && (master_answers || has_process(haproxy)) {
        return lost("runtime socket", &haproxy.socket, "`stats socket` names another path");
    }
    why(&haproxy.socket, error)
}

/// What came of a reload where the master could not be asked for it.
pub(super) async fn without_master(haproxy: &Haproxy, master: &Path, error: &io::Error) -> Outcome {
    if !is_closed(error) {
        return Outcome::Failed(why(master, error));
    }
    let runs = error.kind() == io::ErrorKind::NotFound
        && (has_process(haproxy) || ask(&haproxy.socket, "show info").await.is_ok());
    if runs {
        Outcome::Failed(lost("socket of its master", master, "`haproxy -S` names another path"))
    } else {
        Outcome::NotRunning(format!("no master of haproxy listens on `{}`", master.display()))
    }
}

fn has_process(haproxy: &Haproxy) -> bool {
    haproxy.pid_file.as_deref().is_some_and(|pid_file| signal::find(pid_file).is_ok())
}

fn lost(what: &str, socket: &Path, otherwise: &str) -> String {
    let socket = socket.display();
    format!(
        "haproxy runs, and the {what} `{socket}` is not there: {otherwise}, or the file was removed, and only a restart of \
         haproxy brings it back"
    )
}
