//! `reload` of a target.

use std::borrow::Cow;
use std::str::FromStr;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::command::{self, TIMEOUT};
use super::field::Field;
use super::http;
use super::model::{Action, Haproxy, Reload, Unit};
use super::placeholder::Scope;
use super::problem::Complaint;

/// Reads `reload`.
pub(super) fn read(field: Field<'_>, scope: Scope<'_>) -> Option<Reload> {
    let scope = Scope { staged: false, wrapper: false, ..scope };
    if !field.is_map() {
        return match field.node.text() {
            Some("none") => Some(Reload::None),
            _ => field.misfit(
                "`none` or a mapping",
                Some(
                    "write `{signal: HUP, pid_file: ...}`, `{systemd: {unit: ...}}`, `{http: {url: ...}}` or \
                     `{command: [...]}`"
                        .into(),
                ),
            ),
        };
    }
    let mut section = field.section()?;
    if let Some(unit) = section.field("systemd") {
        for other in ["haproxy", "http", "signal", "pid_file", "command", "shell", "timeout"] {
            if section.has(other) {
                section.problem(other, format!("`systemd` and `{other}` exclude each other"), None);
            }
        }
        return systemd(unit).map(Reload::Systemd);
    }
    if let Some(own) = section.field("haproxy") {
        for other in ["http", "signal", "pid_file", "command", "shell", "timeout"] {
            if section.has(other) {
                section.problem(other, format!("`haproxy` and `{other}` exclude each other"), None);
            }
        }
        return haproxy(own).map(Reload::Haproxy);
    }
    if let Some(request) = section.field("http") {
        for other in ["signal", "pid_file", "command", "shell", "timeout"] {
            if section.has(other) {
                section.problem(other, format!("`http` and `{other}` exclude each other"), None);
            }
        }
        return http::reload(request, scope).map(Reload::Http);
    }
    let signal = section.field("signal");
    let pid_file = section.field("pid_file");
    if let Some(signal) = signal {
        for other in ["command", "shell", "timeout"] {
            if section.has(other) {
                section.problem(other, format!("`signal` and `{other}` exclude each other"), None);
            }
        }
        let signal = parse_signal(signal);
        let pid_file = section.required("pid_file").and_then(Field::path);
        return Some(Reload::Signal { signal: signal?, pid_file: pid_file? });
    }
    if pid_file.is_some() {
        section.problem("pid_file", "`pid_file` goes with `signal`", Some("write `signal: HUP`".into()));
    }
    let command = command::command(&mut section, scope);
    if pid_file.is_none() && !section.has("command") && !section.has("shell") {
        section.problem("signal", "`signal`, `systemd`, `haproxy`, `http`, `command` or `shell` is missing", None);
    }
    command.map(Reload::Command)
}

/// Reads `haproxy`.
fn haproxy(field: Field<'_>) -> Option<Haproxy> {
    let mut section = field.section()?;
    let socket = section.required("socket").and_then(Field::path);
    let master = section.optional("master", Field::path);
    let pid_file = section.optional("pid_file", Field::path);
    let timeout = section.or("timeout", Duration::from_secs(5), Field::nonzero_duration);
    if !section.has("master") && !section.has("pid_file") {
        let hint = "give it `master`, the socket of `haproxy -S`, or the `pid_file` of its master";
        section.problem("master", "nothing says how haproxy is reloaded where that is needed", Some(hint.into()));
        return None;
    }
    Some(Haproxy { socket: socket?, master: master?, pid_file: pid_file?, timeout: timeout? })
}

/// Reads `systemd`.
fn systemd(field: Field<'_>) -> Option<Unit> {
    let mut section = field.section()?;
    let name = section.required("unit").and_then(unit);
    let action = section.or("action", Action::ReloadOrRestart, |field| field.choice(&Action::NAMES));
    let systemctl = section
        .or("systemctl", "systemctl".to_owned(), |field| field.expanded("the path of a program").map(Cow::into_owned));
    let user = section.flag("user").unwrap_or(false);
    let timeout = section.or("timeout", TIMEOUT, Field::nonzero_duration);
    Some(Unit { name: name?, action: action?, systemctl: systemctl?, user, timeout: timeout? })
}

/// The name of a unit, with its suffix, of the characters that systemd.unit(5) allows; nothing that `systemctl` takes
/// for an option or a pattern.
fn unit(field: Field<'_>) -> Option<String> {
    let name = field.expanded("the name of a unit")?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    if name.is_empty() || name.starts_with('-') || !name.chars().all(allowed) {
        return field.complain(Complaint::new("this is no name of a unit").hint("such as `nginx.service`"));
    }
    Some(if name.contains('.') { name.into_owned() } else { format!("{name}.service") })
}

/// The name of a signal, with or without `SIG`.
pub(super) fn parse_signal(field: Field<'_>) -> Option<Signal> {
    let text = field.expanded("the name of a signal")?.to_ascii_uppercase();
    let name = if text.starts_with("SIG") { text } else { format!("SIG{text}") };
    match Signal::from_str(&name) {
        Ok(signal) => Some(signal),
        Err(_) => field.misfit("the name of a signal", Some("such as `HUP`, `USR1` or `USR2`".into())),
    }
}
