//! What the configuration of a Consul registry says, and how it is read.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Address, Consul};
use crate::config::Section;
use crate::registry::{Path, Registry};
use crate::secret::Secret;

/// A Consul registry as it is configured. Files are read when connecting, the token's also whenever it changes.
#[derive(Debug, Clone)]
pub struct Config {
    /// The agent or server.
    pub address: Address,
    /// The folder that all paths start from.
    pub prefix: Path,
    /// The token itself.
    pub token: Option<Secret>,
    /// The file that holds the token; goes before `token`.
    pub token_file: Option<PathBuf>,
    /// The datacenter that is asked; without it the agent's own.
    pub datacenter: Option<String>,
    /// The namespace (Consul Enterprise).
    pub namespace: Option<String>,
    /// The certificates that may sign the server's, as PEM; without it those of the system.
    pub ca_file: Option<PathBuf>,
    /// Our certificate, as PEM, for a server that asks for one.
    pub cert_file: Option<PathBuf>,
    /// The key of our certificate, as PEM.
    pub key_file: Option<PathBuf>,
    /// The name that the server's certificate has to hold; without it the host of the address.
    pub tls_server_name: Option<String>,
    /// The most connections at a time. Consul closes those beyond 200 from one address, without a word.
    pub max_connections: usize,
    /// Whether an entry that cannot be read is an error of the query, instead of being left out.
    pub strict: bool,
    /// Whether a token may be sent to another machine without TLS.
    pub allow_plaintext_token: bool,
    /// Whether an answer from which Consul left out what the token may not read is taken as whole.
    pub allow_filtered: bool,
    /// The times of the protocol.
    pub clocks: Clocks,
}

/// The times of the protocol. The defaults are right for production; tests shorten them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clocks {
    /// How long Consul may hold a long poll when nothing changes. It bounds how long a poll can be blind after a
    /// snapshot was restored.
    pub wait: Duration,
    /// The pause before a poll. Not configured.
    pub before_poll: Duration,
    /// How long one read, and the silence within an answer, may last.
    pub request_timeout: Duration,
    /// How long a connection may take to be there.
    pub dial_timeout: Duration,
    /// The longest pause between tries to reach Consul. The first is 0.1 s, or this if it is shorter.
    pub retry_interval: Duration,
    /// The silence after which Consul is asked whether it is there.
    pub probe_interval: Duration,
    /// The least time between two answers to one long poll, after two that may follow at once.
    pub poll_interval: Duration,
    /// The pause before what was refused is asked again with the same token.
    pub denied_interval: Duration,
    /// The least time from the start of one sweep to the next. One that took longer is followed by as long a pause as
    /// it took.
    pub sweep_interval: Duration,
    /// The pause before it is looked again whether there is a node that was not there. Not configured.
    pub absent_interval: Duration,
    /// The time after which everything is swept though nothing seems to have changed.
    pub resweep_interval: Duration,
}

/// The least number of connections: three that look out for changes of services, one for those of keys, one that
/// reads, one that asks whether Consul is there.
pub(super) const LEAST_CONNECTIONS: usize = 6;

impl Default for Clocks {
    fn default() -> Self {
        Self {
            wait: Duration::from_secs(55),
            before_poll: Duration::ZERO,
            request_timeout: Duration::from_secs(10),
            dial_timeout: Duration::from_secs(3),
            retry_interval: Duration::from_secs(10),
            probe_interval: Duration::from_secs(10),
            poll_interval: Duration::from_millis(100),
            denied_interval: Duration::from_secs(10),
            sweep_interval: Duration::from_millis(100),
            absent_interval: Duration::from_secs(2),
            resweep_interval: Duration::from_secs(60),
        }
    }
}

impl Clocks {
    /// How long a long poll may last. Consul adds up to a sixteenth to the time that it was told to wait.
    pub(super) fn poll_patience(&self) -> Duration {
        self.wait + self.wait / 16 + self.request_timeout
    }
}

/// What is wrong with a [`Config`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{key}`: {message}")]
pub struct ConfigError {
    /// The key that it is about.
    pub key: &'static str,
    /// What is wrong with it.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Config {
    /// The agent or server at `address`, with defaults for all else.
    pub fn new(address: Address) -> Self {
        Self {
            address,
            prefix: Path::root(),
            token: None,
            token_file: None,
            datacenter: None,
            namespace: None,
            ca_file: None,
            cert_file: None,
            key_file: None,
            tls_server_name: None,
            max_connections: 128,
            strict: false,
            allow_plaintext_token: false,
            allow_filtered: false,
            clocks: Clocks::default(),
        }
    }

    /// A registry that is not connected. No I/O.
    pub fn build(self) -> Result<Consul, ConfigError> {
        let wrong = |key, message: &str, hint: Option<&str>| {
            Err(ConfigError { key, message: message.to_owned(), hint: hint.map(str::to_owned) })
        };
        match (&self.cert_file, &self.key_file) {
            (Some(_), None) => return wrong("cert_file", "there is no `key_file` for it", None),
            (None, Some(_)) => return wrong("key_file", "there is no `cert_file` for it", None),
            _ => {}
        }
        let needing = [
            ("ca_file", self.ca_file.is_some()),
            ("cert_file", self.cert_file.is_some()),
            ("tls_server_name", self.tls_server_name.is_some()),
        ];
        if let Some((key, _)) = needing.iter().find(|(_, given)| *given && !self.address.is_tls()) {
            return wrong(key, "the address is not `https`", Some("write it as `https://host:8501`"));
        }
        if let Some(name) = &self.tls_server_name
            && (name.parse::<IpAddr>().is_ok() || self.address.base(Some(name)).is_none())
        {
            return wrong("tls_server_name", &format!("`{name}` is no host name"), None);
        }
        let token = if self.token_file.is_some() { "token_file" } else { "token" };
        if (self.token.is_some() || self.token_file.is_some()) && self.address.is_open() && !self.allow_plaintext_token
        {
            let message = format!("the token would go to `{}` for everybody on the way to read", self.address);
            return wrong(token, &message, Some("use `https`, or set `allow_plaintext_token: true`"));
        }
        if self.max_connections < LEAST_CONNECTIONS {
            return wrong("max_connections", &format!("it must be at least {LEAST_CONNECTIONS}"), None);
        }
        Ok(Consul { config: Arc::new(self) })
    }
}

/// Reads the section of one registry. What the file leaves out comes from the variables that Consul's own commands
/// know.
pub(super) fn decode(section: &mut Section<'_>) -> Option<Arc<dyn Registry>> {
    let address = decode_address(section);
    // Without an address the rest is still read, so that all that is wrong is told at once.
    let usable = address.is_some();
    let mut config = Config::new(address.or_else(default_address)?);
    if let Some(prefix) = section.text("prefix") {
        match Path::parse(&prefix) {
            Ok(prefix) => config.prefix = prefix,
            Err(error) => section.problem("prefix", error.to_string(), None),
        }
    }
    decode_token(section, &mut config);
    config.datacenter = section.text("datacenter");
    config.namespace = section.text("namespace").or_else(|| section.ecosystem("CONSUL_NAMESPACE"));
    decode_tls(section, &mut config);
    if let Some(max) = section.integer("max_connections") {
        config.max_connections = usize::try_from(max).unwrap_or(usize::MAX);
    }
    for (key, flag) in [
        ("strict", &mut config.strict),
        ("allow_plaintext_token", &mut config.allow_plaintext_token),
        ("allow_filtered", &mut config.allow_filtered),
    ] {
        *flag = section.flag(key).unwrap_or(false);
    }
    decode_clocks(section, &mut config.clocks);
    section.ignores("CONSUL_HTTP_AUTH", &[], "no user and password are sent: use a token");
    let unverified = ["0", "f", "F", "false", "FALSE", "False"];
    section.ignores("CONSUL_HTTP_SSL_VERIFY", &unverified, "certificates are always verified: give `ca_file`");
    if !usable {
        return None;
    }
    match config.build() {
        Ok(registry) => Some(Arc::new(registry)),
        Err(error) => {
            section.problem(error.key, error.message, error.hint);
            None
        }
    }
}

fn default_address() -> Option<Address> {
    Address::parse(Address::DEFAULT, false).ok()
}

fn decode_address(section: &mut Section<'_>) -> Option<Address> {
    let tls = section.ecosystem("CONSUL_HTTP_SSL").is_some_and(|on| matches!(on.as_str(), "1" | "true" | "TRUE" | "t"));
    let written = section.text("address");
    if written.is_none() && section.has("address") {
        return None;
    }
    let Some(text) = written.or_else(|| section.ecosystem("CONSUL_HTTP_ADDR")) else { return default_address() };
    match Address::parse(&text, tls) {
        Ok(address) => Some(address),
        Err(reason) => {
            // What stands before an `@` may be a password.
            let shown = text.rsplit('@').next().unwrap_or_default();
            let hint = "write it as `http://host:8500`, `https://host:8501` or `unix:///path`".to_owned();
            section.problem("address", format!("`{shown}` {reason}"), Some(hint));
            None
        }
    }
}

fn decode_token(section: &mut Section<'_>, config: &mut Config) {
    config.token = section.secret("token");
    config.token_file = section.path("token_file");
    if config.token.is_some() && config.token_file.is_some() {
        section.problem("token", "`token_file` is given too", Some("keep one of them".to_owned()));
    }
    if config.token.is_none() && config.token_file.is_none() {
        // Consul's own commands take the token before the file.
        config.token = section.ecosystem("CONSUL_HTTP_TOKEN").map(Secret::new);
        if config.token.is_none() {
            config.token_file = section.ecosystem("CONSUL_HTTP_TOKEN_FILE").map(PathBuf::from);
        }
    }
}

/// Variables for TLS do not make an address wrong that has none: a shell sets them for all that runs in it.
fn decode_tls(section: &mut Section<'_>, config: &mut Config) {
    config.ca_file = section.path("ca_file");
    config.cert_file = section.path("cert_file");
    config.key_file = section.path("key_file");
    config.tls_server_name = section.text("tls_server_name");
    if config.address.is_tls() {
        for (variable, file) in [
            ("CONSUL_CACERT", &mut config.ca_file),
            ("CONSUL_CLIENT_CERT", &mut config.cert_file),
            ("CONSUL_CLIENT_KEY", &mut config.key_file),
        ] {
            if file.is_none() {
                *file = section.ecosystem(variable).map(PathBuf::from);
            }
        }
        if config.tls_server_name.is_none() {
            config.tls_server_name = section.ecosystem("CONSUL_TLS_SERVER_NAME");
        }
    }
}

fn decode_clocks(section: &mut Section<'_>, clocks: &mut Clocks) {
    for (key, clock) in [
        ("wait", &mut clocks.wait),
        ("request_timeout", &mut clocks.request_timeout),
        ("dial_timeout", &mut clocks.dial_timeout),
        ("retry_interval", &mut clocks.retry_interval),
        ("probe_interval", &mut clocks.probe_interval),
        ("poll_interval", &mut clocks.poll_interval),
        ("denied_interval", &mut clocks.denied_interval),
        ("sweep_interval", &mut clocks.sweep_interval),
        ("resweep_interval", &mut clocks.resweep_interval),
    ] {
        match section.duration(key) {
            Some(Duration::ZERO) => section.problem(key, "it must be longer than nothing", None),
            Some(duration) => *clock = duration,
            None => {}
        }
    }
    // Consul takes no longer wait (https://developer.hashicorp.com/consul/api-docs/features/blocking).
    if clocks.wait > Duration::from_secs(600) {
        section.problem("wait", "Consul holds a poll for 10 minutes at most", None);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn problems(text: &str, environment: &[(&str, &str)]) -> Vec<String> {
        let environment: BTreeMap<_, _> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (registry, problems) = Section::of_text(text, &environment, std::path::Path::new("/etc/lc"), decode);
        assert_eq!(registry.unwrap().is_none(), !problems.is_empty(), "{problems:?}");
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_right_is_taken() {
        for (text, environment) in [
            ("{}", &[][..]),
            (
                "{address: 'https://a:8501', ca_file: ca.pem, cert_file: c.pem, key_file: k.pem, token_file: t, tls_server_name: s}",
                &[],
            ),
            ("{address: 'unix:///run/c.sock', token: t, prefix: app, datacenter: dc1, namespace: n}", &[]),
            ("{max_connections: 6, strict: true, wait: 5m, request_timeout: 1s, sweep_interval: 100ms}", &[]),
            ("{address: 'http://a:8500', token: t, allow_plaintext_token: true}", &[]),
            ("{}", &[("CONSUL_HTTP_ADDR", "a:8501"), ("CONSUL_HTTP_SSL", "true"), ("CONSUL_HTTP_TOKEN", "t")]),
            ("{}", &[("CONSUL_CACERT", "/ca"), ("CONSUL_CLIENT_CERT", "/c")]),
        ] {
            assert_eq!(problems(text, environment), [""; 0], "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_without_a_secret() {
        for (text, environment, expected) in [
            ("{address: 'http://a:8500', token: hunter2}", &[][..], "would go to `http://a:8500`"),
            ("{}", &[("CONSUL_HTTP_ADDR", "a:8500"), ("CONSUL_HTTP_TOKEN_FILE", "/t")], "would go to `http://a:8500`"),
            ("{address: 'http://me:hunter2@a'}", &[], "`a` holds a user"),
            ("{token: hunter2, token_file: t}", &[], "`token_file` is given too"),
            ("{ca_file: a}", &[], "is not `https`"),
            ("{tls_server_name: a}", &[], "is not `https`"),
            ("{address: 'https://a', tls_server_name: 10.0.0.1}", &[], "`10.0.0.1` is no host name"),
            ("{address: 'https://a', tls_server_name: a b}", &[], "`a b` is no host name"),
            ("{address: 'https://a', cert_file: a}", &[], "no `key_file`"),
            ("{max_connections: 5}", &[], "at least 6"),
            ("{wait: 11m}", &[], "10 minutes"),
            ("{poll_interval: 0}", &[], "longer than nothing"),
            ("{prefix: a/../b}", &[], "`.` or `..`"),
        ] {
            let environment: BTreeMap<_, _> =
                environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let (_, problems) = Section::of_text(text, &environment, std::path::Path::new("/etc/lc"), decode);
            let problems = problems.iter().map(ToString::to_string).collect::<String>();
            assert!(problems.contains(expected), "{text}: {problems}");
            assert!(!problems.contains("hunter2"), "{text}: {problems}");
        }
    }
}
