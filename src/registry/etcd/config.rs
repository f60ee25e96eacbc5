//! What the configuration of an etcd registry says, and how it is read.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::answers::Answers;
use super::connection::Endpoint;
use super::keys::Layout;
use super::{Etcd, Registry};
use crate::config::Section;
use crate::registry::Path;
use crate::secret::Secret;

/// An etcd registry as it is configured. Files are read when connecting, so that renewed ones are picked up.
#[derive(Debug, Clone)]
pub struct Config {
    /// The members to talk to: `http://host:port`, `https://host:port` or `host:port`, which is `https` when a
    /// certificate is configured. One at a time is used.
    pub endpoints: Vec<String>,
    /// What stands before every path: `/` makes `app/x` the key `/app/x`; empty for bare keys.
    pub prefix: String,
    /// The user, where etcd asks for one.
    pub username: Option<String>,
    /// The file that holds the password, read at every authentication.
    pub password_file: Option<PathBuf>,
    /// The password itself.
    pub password: Option<Secret>,
    /// The certificates that may sign the server's, as PEM; without it those of the system.
    pub ca_file: Option<PathBuf>,
    /// Our certificate, as PEM, for a server that asks for one.
    pub cert_file: Option<PathBuf>,
    /// The key of our certificate, as PEM.
    pub key_file: Option<PathBuf>,
    /// Where services stand, and how.
    pub services: Services,
    /// The times of the protocol.
    pub clocks: Clocks,
}

/// Where services stand, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Services {
    /// The folder of all services.
    pub folder: Path,
    /// How an instance is written.
    pub format: Format,
    /// Whether an entry that cannot be read is an error of the query, instead of being left out.
    pub strict: bool,
}

/// How an instance is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `SERVICE/ID` holds a JSON object or `host:port`.
    Auto,
    /// `SERVICE/ID` holds a JSON object.
    Json,
    /// `SERVICE/ID` holds `host:port`.
    HostPort,
    /// A reversed domain holds a JSON object: `local/skydns/web/1` is an instance of `web.skydns.local`.
    SkyDns,
}

impl Format {
    const NAMES: [(&'static str, Self); 4] =
        [("auto", Self::Auto), ("json", Self::Json), ("host_port", Self::HostPort), ("skydns", Self::SkyDns)];
}

/// The times of the protocol. The defaults are right for production; tests shorten them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clocks {
    /// How often a cheap read looks for events that were lost.
    pub audit_interval: Duration,
    /// How often a read of all keys does, give or take a tenth.
    pub relist_interval: Duration,
    /// The silence after which the watch stream is asked for a sign of life; three of them without one end it.
    pub progress_interval: Duration,
    /// How long a member may take to say that it is there.
    pub dial_timeout: Duration,
    /// How long one read may take.
    pub request_timeout: Duration,
    /// How often a range that may not be read is tried again.
    pub denied_interval: Duration,
    /// The age at which the stream is opened anew: etcd checks permissions only when a watch is created.
    pub max_stream_age: Duration,
}

impl Default for Clocks {
    fn default() -> Self {
        Self {
            audit_interval: Duration::from_secs(60),
            relist_interval: Duration::from_secs(600),
            progress_interval: Duration::from_secs(10),
            dial_timeout: Duration::from_secs(3),
            request_timeout: Duration::from_secs(30),
            denied_interval: Duration::from_secs(10),
            max_stream_age: Duration::from_secs(3600),
        }
    }
}

/// `http://127.0.0.1:2379`, keys below `/`, services below `services`, no user and no certificates.
impl Default for Config {
    fn default() -> Self {
        Self {
            endpoints: vec!["http://127.0.0.1:2379".to_owned()],
            prefix: "/".to_owned(),
            username: None,
            password_file: None,
            password: None,
            ca_file: None,
            cert_file: None,
            key_file: None,
            services: Services { folder: services_folder(), format: Format::Auto, strict: false },
            clocks: Clocks::default(),
        }
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
    /// A registry that is not connected. No I/O.
    pub fn build(self) -> Result<Etcd, ConfigError> {
        let wrong = |key, message: &str, hint: Option<&str>| ConfigError {
            key,
            message: message.to_owned(),
            hint: hint.map(str::to_owned),
        };
        let tls = self.ca_file.is_some() || self.cert_file.is_some() || self.key_file.is_some();
        let endpoints: Vec<_> = self
            .endpoints
            .iter()
            .map(|endpoint| {
                Endpoint::parse(endpoint, tls).map_err(|message| ConfigError {
                    key: "endpoints",
                    // What stands before an `@` may be a password.
                    message: format!("`{}` {message}", endpoint.rsplit('@').next().unwrap_or_default()),
                    hint: Some("write it as `http://host:2379` or `https://host:2379`".to_owned()),
                })
            })
            .collect::<Result<_, _>>()?;
        if endpoints.is_empty() {
            return Err(wrong(
                "endpoints",
                "there is none",
                Some("name at least one, such as `http://127.0.0.1:2379`"),
            ));
        }
        if self.prefix.contains("//") || self.prefix.chars().any(char::is_control) {
            return Err(wrong("prefix", "it holds `//` or a control character", None));
        }
        match (&self.username, &self.password_file, &self.password) {
            (_, Some(_), Some(_)) => {
                return Err(wrong("password", "`password_file` is given too", Some("keep one of them")));
            }
            (Some(_), None, None) => {
                return Err(wrong("username", "there is no password for it", Some("add `password_file`")));
            }
            (None, Some(_), None) => return Err(wrong("password_file", "there is no `username` for it", None)),
            (None, None, Some(_)) => return Err(wrong("password", "there is no `username` for it", None)),
            _ => {}
        }
        match (&self.cert_file, &self.key_file) {
            (Some(_), None) => return Err(wrong("cert_file", "there is no `key_file` for it", None)),
            (None, Some(_)) => return Err(wrong("key_file", "there is no `cert_file` for it", None)),
            _ => {}
        }
        let answers = Answers { layout: Layout::new(&self.prefix), services: self.services.clone() };
        Ok(Etcd { config: Arc::new(self), endpoints: endpoints.into(), answers: Arc::new(answers) })
    }
}

/// Reads the section of one registry.
pub(super) fn decode(section: &mut Section<'_>) -> Option<Arc<dyn Registry>> {
    let config = decode_config(section);
    build(section, config).map(|registry| Arc::new(registry) as Arc<dyn Registry>)
}

fn build(section: &mut Section<'_>, config: Config) -> Option<Etcd> {
    config.build().map_err(|error| section.problem(error.key, error.message, error.hint)).ok()
}

/// What the file leaves out comes from the variables of `etcdctl`.
fn decode_config(section: &mut Section<'_>) -> Config {
    let mut config = Config::default();
    if let Some(endpoints) = section.texts("endpoints").or_else(|| {
        let listed = section.ecosystem("ETCDCTL_ENDPOINTS")?;
        Some(listed.split(',').map(|one| one.trim().to_owned()).filter(|one| !one.is_empty()).collect())
    }) {
        config.endpoints = endpoints;
    }
    if let Some(prefix) = section.text("prefix") {
        config.prefix = prefix;
    }
    config.ca_file = section.path("ca_file").or_else(|| section.ecosystem("ETCDCTL_CACERT").map(PathBuf::from));
    config.cert_file = section.path("cert_file").or_else(|| section.ecosystem("ETCDCTL_CERT").map(PathBuf::from));
    config.key_file = section.path("key_file").or_else(|| section.ecosystem("ETCDCTL_KEY").map(PathBuf::from));
    decode_user(section, &mut config);
    if let Some(mut services) = section.section("services") {
        decode_services(&mut services, &mut config.services);
    }
    if let Some(strict) = section.flag("strict") {
        config.services.strict = strict;
    }
    let clocks = &mut config.clocks;
    for (key, clock) in [
        ("audit_interval", &mut clocks.audit_interval),
        ("relist_interval", &mut clocks.relist_interval),
        ("progress_interval", &mut clocks.progress_interval),
        ("dial_timeout", &mut clocks.dial_timeout),
        ("request_timeout", &mut clocks.request_timeout),
        ("denied_interval", &mut clocks.denied_interval),
        ("max_stream_age", &mut clocks.max_stream_age),
    ] {
        match section.duration(key) {
            Some(Duration::ZERO) => section.problem(key, "it must be longer than nothing", None),
            Some(duration) => *clock = duration,
            None => {}
        }
    }
    config
}

fn decode_user(section: &mut Section<'_>, config: &mut Config) {
    config.username = section.text("username");
    config.password_file = section.path("password_file");
    config.password = section.secret("password");
    if config.username.is_none() {
        // `user:password`, or the user alone beside ETCDCTL_PASSWORD.
        if let Some(user) = section.ecosystem("ETCDCTL_USER").filter(|user| !user.is_empty()) {
            let (name, password) = user.split_once(':').map_or((user.as_str(), None), |(n, p)| (n, Some(p)));
            config.username = Some(name.to_owned());
            if config.password.is_none() && config.password_file.is_none() {
                config.password = password.map(Secret::new);
            }
        }
    }
    if config.username.is_some() && config.password.is_none() && config.password_file.is_none() {
        config.password = section.ecosystem("ETCDCTL_PASSWORD").map(Secret::new);
    }
}

fn decode_services(section: &mut Section<'_>, services: &mut Services) {
    if let Some(folder) = section.text("prefix") {
        match Path::parse(&folder) {
            Ok(folder) => services.folder = folder,
            Err(error) => section.problem("prefix", error.to_string(), None),
        }
    }
    if let Some(format) = section.choice("format", &Format::NAMES) {
        services.format = format;
    }
}

fn services_folder() -> Path {
    Path::parse("services").unwrap_or_else(|_| Path::root())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named_by_its_key() {
        let cases: [(&str, Config); 8] = [
            ("endpoints", Config { endpoints: Vec::new(), ..Config::default() }),
            ("endpoints", Config { endpoints: vec!["ftp://a:1".into()], ..Config::default() }),
            ("endpoints", Config { endpoints: vec!["http://a:2379/path".into()], ..Config::default() }),
            ("prefix", Config { prefix: "/a//b".into(), ..Config::default() }),
            ("username", Config { username: Some("u".into()), ..Config::default() }),
            ("password", Config { password: Some(Secret::new("p")), ..Config::default() }),
            ("cert_file", Config { cert_file: Some("c".into()), ..Config::default() }),
            (
                "password",
                Config {
                    username: Some("u".into()),
                    password: Some(Secret::new("p")),
                    password_file: Some("f".into()),
                    ..Config::default()
                },
            ),
        ];
        for (key, config) in cases {
            assert_eq!(config.build().map(drop).unwrap_err().key, key);
        }
        assert!(Config::default().build().is_ok());
    }

    fn read(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (config, problems) = Section::of_text(text, &environment, "/base".as_ref(), |section| {
            let config = decode_config(section);
            // The rest of the program builds it here, which is what names the place of what is wrong.
            build(section, config.clone()).map(|_| config)
        });
        let problem = |problem: &crate::config::Problem| format!("{}: {}", problem.line, problem.message);
        match config.flatten() {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(problems.iter().map(problem).collect::<Vec<_>>().join("; ")),
        }
    }

    #[test]
    fn a_section_is_read_whole() {
        let text = "endpoints: [http://a:1, b:2]\nprefix: ''\nusername: app\npassword_file: secret\nca_file: ca.pem\n\
                    services: {prefix: skydns, format: skydns}\nstrict: true\naudit_interval: 5s\nmax_stream_age: 10m\n";
        let config = read(text, &[("ETCDCTL_ENDPOINTS", "c:3"), ("ETCDCTL_USER", "other:pw")]).unwrap();
        assert_eq!(config.endpoints, ["http://a:1", "b:2"]);
        assert_eq!((config.prefix.as_str(), config.username.as_deref()), ("", Some("app")));
        assert_eq!(config.password_file, Some("/base/secret".into()));
        assert_eq!(config.ca_file, Some("/base/ca.pem".into()));
        assert_eq!(config.services.folder.as_str(), "skydns");
        assert_eq!((config.services.format, config.services.strict), (Format::SkyDns, true));
        let clocks = Clocks {
            audit_interval: Duration::from_secs(5),
            max_stream_age: Duration::from_secs(600),
            ..Clocks::default()
        };
        assert_eq!(config.clocks, clocks);
        assert!(config.password.is_none());
    }

    #[test]
    fn the_environment_fills_what_is_left_out() {
        let config = read(
            "{}",
            &[
                ("ETCDCTL_ENDPOINTS", "a:1, https://b:2,"),
                ("ETCDCTL_CACERT", "/ca"),
                ("ETCDCTL_CERT", "/cert"),
                ("ETCDCTL_KEY", "/key"),
                ("ETCDCTL_USER", "app:p:w"),
            ],
        )
        .unwrap();
        assert_eq!(config.endpoints, ["a:1", "https://b:2"]);
        assert_eq!((config.ca_file, config.cert_file), (Some("/ca".into()), Some("/cert".into())));
        assert_eq!(config.key_file, Some("/key".into()));
        assert_eq!(config.username.as_deref(), Some("app"));
        assert_eq!(config.password.unwrap().reveal(), "p:w");
        let config = read("{}", &[("ETCDCTL_USER", "app"), ("ETCDCTL_PASSWORD", "pw")]).unwrap();
        assert_eq!(config.password.unwrap().reveal(), "pw");
        assert_eq!(read("{}", &[]).unwrap().endpoints, Config::default().endpoints);
    }

    #[test]
    fn problems_stand_at_their_place() {
        for (text, expected) in [
            ("prefix: /\nendpoints: 'ftp://a'\n", "2: `ftp://a` begins with"),
            ("endpoints: ['http://u:hunter2@a:1']\n", "1: `a:1` holds a user"),
            ("username: app\n", "1: there is no password"),
            ("services:\n  format: xml\n", "2: "),
            ("services:\n  prefix: a/../b\n", "2: a path has no"),
            ("dial_timeout: 0\n", "1: it must be longer"),
            ("unknown: 1\n", "1: "),
        ] {
            let problems = read(text, &[]).unwrap_err();
            assert!(problems.contains(expected) && !problems.contains("hunter2"), "{text}: {problems}");
        }
    }
}
