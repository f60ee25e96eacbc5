//! HAProxy, told by its runtime socket where that is enough, and reloaded where it is not.
//!
//! A reload costs a process and, with thousands of servers, seconds. What it takes for servers that come, go, move, drain or
//! rest is some commands on the socket. So the difference between the files in place and the new ones is looked at:
//!
//! ```text
//! sections   what a file says of its servers
//! difference whether the socket can express what is between two versions; the reason where it cannot
//! table      what HAProxy says of its servers (`show servers state`)
//! plan       the commands between table and sections: nothing where both agree
//! runtime    says them, looks whether they were taken, and deletes servers once their last session has ended
//! ```
//!
//! The commands are made of what HAProxy says, not of what was said to it before. So the same plan carries a change out,
//! takes it back, and puts right what became otherwise: by somebody else, or by a restart of HAProxy from an older file.

mod difference;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod options;
mod plan;
pub(in crate::apply) mod presence;
mod runtime;
mod sections;
pub(in crate::apply) mod socket;
mod state;
mod table;
mod word;

use nix::sys::signal::Signal;

pub use self::runtime::{Change, Prepared, Running, Runtime};
use super::{Outcome, signal};
use crate::config::{Haproxy, Target};
use crate::process::{BootTime, Context};

/// Reloads a HAProxy, over the socket of its master where there is one. What its servers have come to is saved before, where
/// its files load that.
pub(super) async fn reload(
    target: &Target,
    haproxy: &Haproxy,
    committed: Option<BootTime>,
    context: &Context,
) -> Outcome {
    state::save(target, haproxy).await;
    let Some(master) = &haproxy.master else {
        return match &haproxy.pid_file {
            Some(pid_file) => signal::reload(Signal::SIGUSR2, pid_file, committed),
            None => Outcome::Failed("neither `master` nor `pid_file` says how to reload haproxy".to_owned()),
        };
    };
    match socket::ask(master, "reload").await {
        // From 2.7 it says so when it is done; before, it ends the connection.
        Ok(answer) if answer.contains("Success=0") => Outcome::Rejected(
            "haproxy could not load the files and kept its old worker; its own log says why".to_owned(),
        ),
        Ok(answer) if answer.contains("Permission denied") => Outcome::Failed(format!(
            "the master of haproxy takes no `reload` on `{}`: start it with `-S {},level,admin`",
            master.display(),
            master.display()
        )),
        Ok(_) => Outcome::Taken,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Outcome::Taken,
        Err(error) => {
            let is_ours = context.process.as_ref().is_some_and(|process| process.current().is_some());
            presence::without_master(haproxy, master, &error, is_ours).await
        }
    }
}
