//! How long the steps of an apply may take that wait for something outside, by the limits that each has itself. Whatever
//! takes longer is stuck, such as the end of a program that waits for a disk.

use std::time::Duration;

use crate::config::{Check, Command, Haproxy, Reload, Target};

/// What comes to the limit of a command: that it is asked to end, killed, and read to its end.
const ENDING: Duration = Duration::from_secs(15);

/// What a busy machine may make of steps that take no time.
const SPARE: Duration = Duration::from_secs(10);

/// A render, beside the turns of others.
pub(super) fn render(target: &Target) -> Duration {
    target.render_timeout.saturating_add(SPARE)
}

/// The checks of all templates and of the target.
pub(super) fn check(target: &Target) -> Duration {
    let checks = target.templates.iter().filter_map(|template| template.check.as_ref()).chain(&target.check);
    checks.fold(SPARE, |sum, check| sum.saturating_add(of(&check.command)))
}

/// `verify`.
pub(super) fn verify(target: &Target) -> Duration {
    target.verify.iter().fold(SPARE, |sum, Check { command, .. }| sum.saturating_add(of(command)))
}

/// The reload and its confirmation, which looks at the process before it as well.
pub(super) fn tell(target: &Target) -> Duration {
    let reload = match &target.reload {
        Reload::None | Reload::Signal { .. } | Reload::Process(_) => Duration::ZERO,
        // What is asked of the master has limits of its own, of some seconds together.
        Reload::Haproxy(haproxy) => runtime(haproxy).saturating_mul(3),
        // It is asked how the unit is, and then told.
        Reload::Systemd(unit) => unit.timeout.saturating_add(ENDING).saturating_mul(2),
        // The file that it sends is read first, and what is said of it after.
        Reload::Http(http) => http.request.timeout.saturating_mul(2),
        Reload::Command(command) => of(command),
    };
    // It is stopped and started, may be so once more, and what it leaves is ended each time.
    let process = target.process.iter().map(|process| {
        let run = process.kill_timeout.saturating_mul(2).saturating_add(process.settle);
        run.saturating_add(process.restart_delay.0).saturating_add(ENDING).saturating_mul(2)
    });
    let reload = process.fold(reload, Duration::saturating_add);
    let confirm = target.confirm.iter().map(|confirm| confirm.within.saturating_mul(2).saturating_add(ENDING));
    confirm.fold(SPARE.saturating_add(reload), Duration::saturating_add)
}

/// One step with a HAProxy that runs.
pub(super) fn runtime(haproxy: &Haproxy) -> Duration {
    haproxy.timeout.saturating_add(SPARE)
}

fn of(command: &Command) -> Duration {
    command.timeout.saturating_add(ENDING)
}
