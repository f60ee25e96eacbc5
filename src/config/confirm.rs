//! `confirm: {KIND: ..., within}`: how it is seen that a process runs the new files.

use std::path::PathBuf;
use std::time::Duration;

use hyper::Method;
use nix::sys::signal::Signal;

use super::command;
use super::field::Field;
use super::http::{self, HttpRequest, Statuses};
use super::model::{Command, Haproxy, ProcessReload, Reload, Template};
use super::placeholder::Scope;
use super::problem::Complaint;
use super::section::Section;

/// How it is seen that a process runs the files that it was told to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirm {
    /// What is looked at. One kind, one file in `apply::confirm`.
    pub kind: Kind,
    /// How long the process may take, from the end of the reload. Default 10 s.
    pub within: Duration,
    /// The pause between two looks. Default 50 ms.
    pub interval: Duration,
    /// The file that names the process, absolute; none when neither the reload nor the kind has one. A process that is
    /// gone is not one that refuses.
    pub pid_file: Option<PathBuf>,
    /// The process has been told when its reload returns. A command may leave that for later.
    pub told_at_once: bool,
    /// The destinations of the target, for the placeholders of a command.
    pub destinations: Vec<PathBuf>,
    /// One of the files is secret, so nothing is shown that a program says about them.
    pub secret: bool,
}

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// The workers of an nginx master.
    Nginx {
        /// Where nginx writes why it refused, absolute, when that is known.
        error_log: Option<PathBuf>,
        /// How many of its old workers may be left; none where that is not looked at.
        old_workers: Option<OldWorkers>,
    },
    /// The workers of a HAProxy master.
    Haproxy {
        /// The socket of the master's command line (`haproxy -S`), absolute; without it the children are looked at.
        socket: Option<PathBuf>,
    },
    /// The answer to an HTTP request.
    Http(Http),
    /// A connection that is taken.
    Tcp {
        /// `host:port`.
        address: String,
        /// How long one try may take.
        timeout: Duration,
    },
    /// A program that exits with 0.
    Command(Command),
}

/// How many old workers of nginx may still serve connections that they have when its files are changed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OldWorkers {
    /// A reload that may leave more of them than this is delayed.
    pub most: u64,
    /// How long it is delayed at most; none for as long as it takes. Default 10 min.
    pub max_hold: Option<Duration>,
}

/// How long a reload of nginx is delayed at most where nothing else is said.
const MAX_HOLD: Duration = Duration::from_secs(600);

/// A request and what has to come back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// The request, each time that it is tried. Default 2 s.
    pub request: HttpRequest,
    /// The status codes that confirm. Default 200 to 299.
    pub status: Statuses,
    /// A text that the body has to hold.
    pub body: Option<String>,
}

/// How long a process may take to run its new files where nothing else is said.
const WITHIN: Duration = Duration::from_secs(10);

/// The pause between two looks where nothing else is said.
const INTERVAL: Duration = Duration::from_millis(50);

/// How long one try of a probe may take where nothing else is said.
const TRY: Duration = Duration::from_secs(2);

/// What a target knows that its `confirm` needs.
pub(super) struct Of<'a> {
    /// For the placeholders of a command.
    pub(super) scope: Scope<'a>,
    /// Its reload; none where something is wrong with it.
    pub(super) reload: Option<&'a Reload>,
    /// Whether we run its process, which then needs no file that names it.
    pub(super) has_process: bool,
}

impl Confirm {
    /// The same with what it needs to know of the files of its target.
    pub(super) fn of(self, templates: &[Template]) -> Self {
        let destinations = templates.iter().map(|template| template.dest.clone()).collect();
        Self { destinations, secret: templates.iter().any(|template| template.secret), ..self }
    }
}

/// Whether the process has been told when its reload returns.
fn is_told_at_once(reload: Option<&Reload>) -> bool {
    let ours = matches!(reload, Some(Reload::Process(ProcessReload::Signal(_))));
    ours || matches!(reload, Some(Reload::Signal { .. } | Reload::Haproxy(_) | Reload::Http(_)))
}

/// How a reload is confirmed that says by itself which process it is about; none for the others, which are believed.
pub(super) fn implied(reload: &Reload) -> Option<Confirm> {
    let Reload::Haproxy(Haproxy { master, pid_file, .. }) = reload else { return None };
    Some(Confirm {
        kind: Kind::Haproxy { socket: master.clone() },
        within: WITHIN,
        interval: INTERVAL,
        pid_file: pid_file.clone(),
        told_at_once: is_told_at_once(Some(reload)),
        destinations: Vec::new(),
        secret: false,
    })
}

/// Reads `confirm`. What it needs to know of the files is filled in by [`Confirm::of`].
pub(super) fn read(field: Field<'_>, of: &Of<'_>) -> Option<Confirm> {
    const KINDS: &[&str] = &["nginx", "haproxy", "http", "tcp", "command"];
    if !field.is_map() {
        let hint = "write `{nginx: {}}`, `{haproxy: {socket: ...}}`, `{http: {url: ...}}`, `{tcp: {address: ...}}`, \
                    `{command: [...]}` or `{shell: \"...\"}`";
        return field.misfit("a mapping", Some(hint.into()));
    }
    let mut section = field.section()?;
    let within = section.or("within", WITHIN, Field::nonzero_duration);
    let interval = section.or("interval", INTERVAL, Field::nonzero_duration);
    // What runs a program may be written in two ways.
    let shell = section.has("shell");
    let given: Vec<&str> =
        KINDS.iter().copied().filter(|kind| section.has(kind) || (*kind == "command" && shell)).collect();
    // All are read before any is refused, so that no key of theirs is unknown.
    let mut kinds: Vec<_> = given.iter().map(|name| kind(name, &mut section, of)).collect();
    if of.reload == Some(&Reload::None) {
        let message = "`confirm` without a reload: no process is told of the files";
        return field.complain(Complaint::new(message).hint("add a `reload`"));
    }
    if let [first, second, ..] = given[..] {
        return field.complain(Complaint::new(format!("`{first}` and `{second}` exclude each other")));
    }
    let Some(kind) = kinds.pop() else {
        let hint = "one of `nginx`, `haproxy`, `http`, `tcp`, `command` and `shell`";
        return field.complain(Complaint::new("it does not say what confirms").hint(hint));
    };
    let (kind, pid_file) = kind?;
    let told_at_once = is_told_at_once(of.reload);
    let (destinations, secret) = (Vec::new(), false);
    Some(Confirm { kind, within: within?, interval: interval?, pid_file, told_at_once, destinations, secret })
}

/// The kind of this name, and the file that names the process.
fn kind(name: &str, section: &mut Section<'_>, of: &Of<'_>) -> Option<(Kind, Option<PathBuf>)> {
    let (signal, pid_file) = match of.reload {
        Some(Reload::Signal { signal, pid_file }) => (Some(*signal), Some(pid_file.clone())),
        Some(Reload::Process(ProcessReload::Signal(signal))) => (Some(*signal), None),
        Some(Reload::Haproxy(Haproxy { pid_file: Some(pid_file), .. })) => {
            (Some(Signal::SIGUSR2), Some(pid_file.clone()))
        }
        _ => (None, None),
    };
    let master = match of.reload {
        Some(Reload::Haproxy(haproxy)) => haproxy.master.clone(),
        _ => None,
    };
    if name == "command" {
        let scope = Scope { staged: false, wrapper: false, ..of.scope };
        return Some((Kind::Command(command::command(section, scope)?), pid_file));
    }
    let field = section.field(name)?;
    let mut own = field.section()?;
    match name {
        "nginx" => {
            let error_log = own.optional("error_log", Field::path);
            let pid_file = own.or("pid_file", pid_file, |field| field.path().map(Some));
            let old_workers = old_workers(&mut own);
            takes(field, signal, &[Signal::SIGHUP])?;
            let (old_workers, pid_file) = (old_workers?, named(field, pid_file?, of)?);
            if old_workers.is_some() && pid_file.is_none() {
                let message = "`max_old_workers` needs the `pid_file` that nginx writes";
                return field.complain(Complaint::new(message).hint("such as `pid_file: /run/nginx.pid`"));
            }
            let kind = Kind::Nginx { error_log: error_log?, old_workers };
            Some((kind, pid_file))
        }
        "haproxy" => {
            let socket = own.or("socket", master, |field| field.path().map(Some));
            let pid_file = own.or("pid_file", pid_file, |field| field.path().map(Some));
            takes(field, signal, &[Signal::SIGUSR2, Signal::SIGHUP])?;
            let (socket, pid_file) = (socket?, pid_file?);
            let pid_file = if socket.is_some() { pid_file } else { named(field, pid_file, of)? };
            Some((Kind::Haproxy { socket }, pid_file))
        }
        "http" => Some((Kind::Http(http(&mut own)?), pid_file)),
        _ => {
            let timeout = own.or("timeout", TRY, Field::nonzero_duration);
            let address = own.required("address").and_then(address);
            Some((Kind::Tcp { address: address?, timeout: timeout? }, pid_file))
        }
    }
}

#[expect(clippy::option_option, reason = "nothing comes back for a wrong value, and none where it is not given")]
fn old_workers(section: &mut Section<'_>) -> Option<Option<OldWorkers>> {
    let most = section.optional("max_old_workers", Field::integer);
    let max_hold = section.or("max_hold", Some(MAX_HOLD), Field::duration_or_never);
    if most == Some(None) && section.has("max_hold") {
        let hint = "say how many old workers may be left, such as `max_old_workers: 16`";
        section.problem("max_hold", "`max_hold` goes with `max_old_workers`", Some(hint.into()));
    }
    let (most, max_hold) = (most?, max_hold?);
    Some(most.map(|most| OldWorkers { most, max_hold }))
}

/// A program that is told by another signal than those that it takes as a reload is never seen to reload.
fn takes(field: Field<'_>, signal: Option<Signal>, signals: &[Signal]) -> Option<()> {
    match signal {
        Some(signal) if !signals.contains(&signal) => {
            let names: Vec<_> = signals.iter().map(|signal| format!("`{}`", &signal.as_str()[3..])).collect();
            let message = format!("{} does not reload on `{}`", field.key, &signal.as_str()[3..]);
            field.complain(Complaint::new(message).hint(format!("`reload` takes {}", names.join(" or "))))
        }
        _ => Some(()),
    }
}

/// The pid file, which has to be there unless we run the process.
#[expect(clippy::option_option, reason = "one that is missing and one that is not needed differ here")]
fn named(field: Field<'_>, pid_file: Option<PathBuf>, of: &Of<'_>) -> Option<Option<PathBuf>> {
    if pid_file.is_none() && !of.has_process {
        let message = format!("nothing names the process of {}", field.key);
        return field.complain(Complaint::new(message).hint("give it the `pid_file` that it writes"));
    }
    Some(pid_file)
}

fn http(section: &mut Section<'_>) -> Option<Http> {
    let request = http::request(section, Some(Method::GET), TRY);
    let status = section.or("status", vec![200..=299], http::statuses);
    let body = section.optional("body", Field::text);
    Some(Http { request: request?, status: status?, body: body? })
}

fn address(field: Field<'_>) -> Option<String> {
    let expected = "`host:port`";
    let text = field.expanded(expected)?;
    let is_address = text.rsplit_once(':').is_some_and(|(host, port)| {
        let is_v6 = host.starts_with('[') && host.ends_with(']');
        !host.is_empty() && (is_v6 || !host.contains(':')) && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    if is_address { Some(text.into_owned()) } else { field.misfit(expected, None) }
}
