//! The DNS registry: what name servers say of a name. Nobody is asked for a name unless a configuration has such a
//! registry.
//!
//! ```yaml
//! registries:
//!   names:
//!     dns: {servers: [10.0.0.53]}    # without `servers` those of /etc/resolv.conf
//! ```
//!
//! DNS does not tell of changes: a question is asked again when the time of its answer is over, within bounds. That a name
//! is not there, or has no such records, is an answer; that nobody answers, or that a server cannot tell, is none, and
//! keeps the last one. Questions are asked by `hickory-resolver`, over UDP, and over TCP where that does not do.

mod names;
mod questions;
mod records;
mod resolver;
#[cfg(test)]
pub(crate) mod stub;
mod watch;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Kind, Query, Registry, Watch};
use crate::config::Section;

/// This kind.
pub const KIND: Kind = Kind {
    name: "dns",
    decode,
    from_address: |address| {
        let servers: Vec<&str> = address.split(',').map(str::trim).filter(|server| !server.is_empty()).collect();
        if servers.is_empty() { "{}".to_owned() } else { format!("{{servers: {}}}", serde_json::Value::from(servers)) }
    },
};

/// The port of name servers.
const PORT: u16 = 53;

/// Which servers are asked, and how often.
#[derive(Debug, Clone)]
pub struct Config {
    /// The servers; without any those that `resolv_conf` names.
    pub servers: Vec<SocketAddr>,
    /// The file that names the servers of this machine, and what stands behind a short name: resolv.conf(5).
    pub resolv_conf: PathBuf,
    /// How long a server may take.
    pub request_timeout: Duration,
    /// The least time from one answer to the next question for the same.
    pub min_interval: Duration,
    /// The most.
    pub max_interval: Duration,
    /// The longest pause between tries to reach a server. The first is 0.1 s, or this if it is shorter.
    pub retry_interval: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            resolv_conf: "/etc/resolv.conf".into(),
            request_timeout: Duration::from_secs(2),
            min_interval: Duration::from_secs(5),
            max_interval: Duration::from_secs(300),
            retry_interval: Duration::from_secs(10),
        }
    }
}

fn decode(section: &mut Section<'_>) -> Option<Arc<dyn Registry>> {
    let mut config = Config::default();
    let mut is_right = true;
    for text in section.texts("servers").unwrap_or_default() {
        if let Some(server) = server(&text) {
            config.servers.push(server);
        } else {
            let hint = "write it as `10.0.0.53`, `10.0.0.53:5353` or `[fd00::53]:5353`".to_owned();
            section.problem("servers", format!("`{text}` is no address of a server"), Some(hint));
            is_right = false;
        }
    }
    if let Some(path) = section.path("resolv_conf") {
        config.resolv_conf = path;
        if !config.servers.is_empty() {
            section.problem("resolv_conf", "`servers` are given too", Some("keep one of them".to_owned()));
            is_right = false;
        }
    }
    for (key, clock) in [
        ("request_timeout", &mut config.request_timeout),
        ("min_interval", &mut config.min_interval),
        ("max_interval", &mut config.max_interval),
        ("retry_interval", &mut config.retry_interval),
    ] {
        match section.duration(key) {
            Some(Duration::ZERO) => {
                section.problem(key, "it must be longer than nothing", None);
                is_right = false;
            }
            Some(duration) => *clock = duration,
            None => {}
        }
    }
    if config.min_interval > config.max_interval {
        section.problem("min_interval", "it is longer than `max_interval`", None);
        is_right = false;
    }
    is_right.then(|| Arc::new(Dns { config: Arc::new(config) }) as Arc<dyn Registry>)
}

/// An address with a port or without, IPv6 with brackets or, without a port, without.
fn server(text: &str) -> Option<SocketAddr> {
    if let Ok(server) = text.parse::<SocketAddr>() {
        return (server.port() != 0).then_some(server);
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, PORT))
}

/// A DNS registry as it is configured.
#[derive(Debug)]
pub struct Dns {
    config: Arc<Config>,
}

impl Registry for Dns {
    fn supports(&self, query: &Query) -> Result<(), String> {
        match query {
            Query::Lookup(query) if names::is_name(&query.name) || query.name.parse::<IpAddr>().is_ok() => Ok(()),
            Query::Lookup(query) => Err(format!("cannot ask for `{}`: it is no name of a host", query.shown_name())),
            _ => Err("knows names only, for `lookup()`".to_owned()),
        }
    }

    fn watch(&self) -> Box<dyn Watch> {
        Box::new(watch::DnsWatch::new(self.config.clone()))
    }

    fn answers_lookups(&self) -> bool {
        true
    }

    fn probe(&self) -> Option<Query> {
        // There is no name that every server can be asked for.
        None
    }

    fn longest_pause(&self) -> Duration {
        self.config.retry_interval
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::registry::{LookupQuery, Path};

    fn problems(text: &str) -> Vec<String> {
        let (registry, problems) = Section::of_text(text, &BTreeMap::new(), std::path::Path::new("/etc/lc"), decode);
        assert_eq!(registry.unwrap().is_none(), !problems.is_empty(), "{problems:?}");
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_section_is_read_and_its_problems_are_told() {
        for right in [
            "{}",
            "{servers: 10.0.0.53}",
            "{servers: ['10.0.0.53:5353', '[fd00::53]:5353', '[fd00::53]', 'fd00::53']}",
            "{resolv_conf: resolv.conf, request_timeout: 1s, min_interval: 1s, max_interval: 1h, retry_interval: 1m}",
        ] {
            assert_eq!(problems(right), [""; 0], "{right}");
        }
        for (wrong, expected) in [
            ("{servers: [dns.example]}", "`dns.example` is no address of a server"),
            ("{servers: ['10.0.0.53:0']}", "is no address"),
            ("{servers: ['10.0.0.53:99999']}", "is no address"),
            ("{servers: 10.0.0.53, resolv_conf: r}", "`servers` are given too"),
            ("{min_interval: 0}", "longer than nothing"),
            ("{min_interval: 10m}", "longer than `max_interval`"),
            ("{server: 10.0.0.53}", "server"),
        ] {
            let said = problems_of_unknown(wrong);
            assert!(said.iter().any(|said| said.contains(expected)), "{wrong}: {said:?}");
        }
    }

    /// Also those of keys that nobody asked for, which leave the registry as it is.
    fn problems_of_unknown(text: &str) -> Vec<String> {
        let (_, problems) = Section::of_text(text, &BTreeMap::new(), std::path::Path::new("/etc/lc"), decode);
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_address_is_a_list_of_servers() {
        for (address, expected) in [
            ("", "{}"),
            ("10.0.0.53", r#"{servers: ["10.0.0.53"]}"#),
            ("10.0.0.53, [::1]:53", r#"{servers: ["10.0.0.53","[::1]:53"]}"#),
        ] {
            let section = (KIND.from_address)(address);
            assert_eq!(section, expected);
            assert_eq!(problems(&section), [""; 0]);
        }
    }

    #[test]
    fn only_names_are_asked_for() {
        let dns = Dns { config: Arc::default() };
        for name in ["db", "db.example.", "_web._tcp.example", "10.0.0.1", "fd00::1"] {
            assert_eq!(dns.supports(&Query::Lookup(LookupQuery::addresses(name))), Ok(()), "{name}");
        }
        for query in [
            Query::Lookup(LookupQuery::addresses("a b")),
            Query::Lookup(LookupQuery::addresses("a;\n")),
            Query::Key(Path::root()),
            Query::Services { tag: None },
        ] {
            dns.supports(&query).unwrap_err();
        }
    }
}
