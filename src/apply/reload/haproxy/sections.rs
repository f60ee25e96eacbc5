//! Reads a HAProxy configuration as far as its servers go (configuration manual, 2.1 and 4).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

use super::options::Options;

/// What begins a section.
const SECTIONS: &[&str] = &[
    "acme",
    "backend",
    "cache",
    "crt-store",
    "defaults",
    "fcgi-app",
    "frontend",
    "global",
    "http-errors",
    "listen",
    "log-forward",
    "log-profile",
    "mailers",
    "peers",
    "program",
    "resolvers",
    "ring",
    "traces",
    "userlist",
];

/// Lines by which the servers of a section are more than a set that requests are shared among, or others than those that
/// are listed.
const OBSTACLES: &[&str] = &[
    "disabled",
    "dispatch",
    "external-check",
    "persist",
    "server-template",
    "stick",
    "transparent",
    "use-fcgi-app",
    "use-server",
];

/// The algorithms that take other servers and weights while they run. What no line says is `roundrobin`, or `random` in
/// later versions.
const DYNAMIC: &[&str] = &["roundrobin", "leastconn", "random"];

/// A `backend` or `listen` section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    /// Its name.
    pub(super) name: String,
    /// Why its servers cannot be changed while it runs; with the line, from 1.
    pub(super) obstacle: Option<(usize, &'static str)>,
    /// The cookies of its servers are made of their addresses.
    pub(super) has_dynamic_cookies: bool,
    /// Its servers, by name.
    pub(super) servers: BTreeMap<String, Server>,
}

/// A `server` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    /// Where it stands, from 1.
    pub(super) line: usize,
    /// Its address as it is written.
    pub(super) written: String,
    /// The same where it is an IP address with a port.
    pub(super) address: Option<(IpAddr, u16)>,
    /// What follows.
    pub(super) options: Options,
}

impl Server {
    /// Whether HAProxy runs both alike, wherever they stand.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.has_address_of(other) && self.options == other.options
    }

    /// Whether both have one address.
    pub(super) fn has_address_of(&self, other: &Self) -> bool {
        self.written == other.written || self.address.is_some() && self.address == other.address
    }
}

/// A file as far as it is understood.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct File<'a> {
    /// The sections with servers, in their order.
    pub(super) sections: Vec<Section>,
    /// All other lines, each with its number, from 1, and its end.
    pub(super) others: Vec<(usize, &'a str)>,
    /// Where the state of servers is read from at a start, as `global` says.
    pub(super) server_states: Option<PathBuf>,
}

/// Why a file cannot be understood, and in which line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unreadable(pub(super) usize, pub(super) &'static str);

/// What the lines of a section, or of the `defaults` before it, say.
#[derive(Debug, Clone, Default)]
struct Settings {
    balance: Option<(usize, String)>,
    obstacle: Option<(usize, &'static str)>,
    has_dynamic_cookies: bool,
    /// The words of the `default-server` lines.
    default_server: Vec<String>,
    /// One of those lines is not understood.
    is_unclear: bool,
}

/// Where a line stands.
enum Place {
    /// Before the first section, or in one without servers.
    Elsewhere,
    Global,
    /// With its name.
    Defaults(Option<String>, Settings),
    Servers(Settings, Section),
}

#[derive(Default)]
struct Reader<'a> {
    file: File<'a>,
    /// The `defaults` sections, with their names.
    defaults: Vec<(Option<String>, Settings)>,
    state_base: Option<PathBuf>,
    state_file: Option<PathBuf>,
    loads_state: bool,
}

/// Reads a file.
pub(super) fn read(text: &[u8]) -> Result<File<'_>, Unreadable> {
    let Ok(text) = std::str::from_utf8(text) else { return Err(Unreadable(1, "it is not UTF-8")) };
    let mut reader = Reader::default();
    let mut place = Place::Elsewhere;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let number = index + 1;
        let content = line.trim();
        let first = content.split_whitespace().next().unwrap_or_default();
        if first.starts_with('.') {
            return Err(Unreadable(number, "conditional blocks are not followed"));
        }
        if !first.starts_with('#') && first.contains(['"', '\'', '\\', '$']) || content.ends_with('\\') {
            return Err(Unreadable(number, "quotes are not followed here"));
        }
        if SECTIONS.contains(&first) {
            reader.end(std::mem::replace(&mut place, Place::Elsewhere));
            place = reader.begin(number, content);
            reader.file.others.push((number, line));
            continue;
        }
        let is_server = matches!(place, Place::Servers(..)) && first == "server";
        match &mut place {
            Place::Elsewhere => {}
            Place::Global => reader.global(content),
            Place::Servers(settings, section) if is_server => section.add(number, content, settings),
            Place::Defaults(_, settings) | Place::Servers(settings, _) => {
                settings.take(number, content);
                let mut words = content.split_whitespace();
                reader.loads_state |=
                    words.next() == Some("load-server-state-from-file") && words.next() == Some("global");
            }
        }
        if !is_server {
            reader.file.others.push((number, line));
        }
    }
    reader.end(place);
    let Reader { mut file, state_base, state_file, loads_state, .. } = reader;
    let state_file = state_file.map(|path| state_base.unwrap_or_default().join(path));
    file.server_states = state_file.filter(|path| loads_state && path.is_absolute());
    let mut names: Vec<&str> = file.sections.iter().map(|section| section.name.as_str()).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Unreadable(1, "two sections have one name"));
    }
    Ok(file)
}

/// The words of a line, where it has neither quotes nor escapes. A comment is none.
fn words(line: &str) -> Option<Vec<String>> {
    let line = line.split('#').next().unwrap_or_default();
    (!line.contains(['"', '\'', '\\'])).then(|| line.split_whitespace().map(str::to_owned).collect())
}

impl Reader<'_> {
    fn begin(&self, number: usize, line: &str) -> Place {
        let words = words(line).unwrap_or_default();
        let name = words.get(1).cloned();
        let kind = words.first().map_or("", String::as_str);
        if kind == "global" {
            return Place::Global;
        }
        if !matches!(kind, "defaults" | "backend" | "listen") {
            return Place::Elsewhere;
        }
        let from = words.iter().skip_while(|word| *word != "from").nth(1);
        let inherited = match from {
            Some(from) => self.defaults.iter().find(|(name, _)| name.as_ref() == Some(from)),
            None if kind == "defaults" => None,
            None => self.defaults.last(),
        };
        let mut settings = inherited.map(|(_, settings)| settings.clone()).unwrap_or_default();
        if kind == "defaults" {
            if inherited.is_none() && from.is_some() {
                settings.obstacle = Some((number, "its `defaults` are not in this file"));
            }
            return Place::Defaults(name.filter(|name| name != "from"), settings);
        }
        if inherited.is_none() {
            settings.obstacle = Some((number, "its `defaults` are not in this file"));
        }
        let name = name.unwrap_or_default();
        Place::Servers(settings, Section { name, obstacle: None, has_dynamic_cookies: false, servers: BTreeMap::new() })
    }

    fn end(&mut self, place: Place) {
        match place {
            Place::Elsewhere | Place::Global => {}
            Place::Defaults(name, settings) => self.defaults.push((name, settings)),
            Place::Servers(settings, mut section) => {
                let is_dynamic = |(_, algorithm): &(usize, String)| {
                    DYNAMIC.contains(&algorithm.split('(').next().unwrap_or_default())
                };
                let fixed = settings.balance.filter(|balance| !is_dynamic(balance));
                let fixed = fixed.map(|(line, _)| (line, "this `balance` takes no other servers while it runs"));
                section.obstacle = section.obstacle.or(settings.obstacle).or(fixed);
                section.has_dynamic_cookies = settings.has_dynamic_cookies;
                self.file.sections.push(section);
            }
        }
    }

    fn global(&mut self, line: &str) {
        let Some(words) = words(line) else { return };
        match (words.first().map(String::as_str), words.get(1)) {
            (Some("server-state-file"), Some(path)) => self.state_file = Some(path.into()),
            (Some("server-state-base"), Some(path)) => self.state_base = Some(path.into()),
            _ => {}
        }
    }
}

impl Settings {
    fn take(&mut self, number: usize, line: &str) {
        let words = words(line);
        let mut split = line.split_whitespace();
        let (first, second) = (split.next().unwrap_or_default(), split.next().unwrap_or_default());
        let is_obstacle = OBSTACLES.contains(&first)
            || first == "option" && OBSTACLES.contains(&second)
            || first == "mode" && !matches!(second, "http" | "tcp");
        match first {
            _ if is_obstacle => {
                self.obstacle = Some((number, "with this line its servers cannot be changed while it runs"));
            }
            "balance" => self.balance = Some((number, second.to_owned())),
            "cookie" => self.has_dynamic_cookies = split.any(|word| word == "dynamic"),
            "default-server" => match words {
                Some(words) => self.default_server.extend(words.into_iter().skip(1)),
                None => self.is_unclear = true,
            },
            _ => {}
        }
    }
}

impl Section {
    fn add(&mut self, number: usize, line: &str, settings: &Settings) {
        let read = words(line);
        let word = |index: usize| line.split_whitespace().nth(index).unwrap_or_default().to_owned();
        let own = read.as_ref().and_then(|words| words.get(3..)).filter(|_| !settings.is_unclear);
        let options = Options::read(&settings.default_server, own, line);
        let (name, written) = (word(1), word(2));
        let server = Server { line: number, address: address(&written), written, options };
        if self.servers.insert(name, server).is_some() {
            self.obstacle.get_or_insert((number, "two of its servers have one name"));
        }
    }
}

/// An IP address with a port. Others (names, paths, addresses without a port or with one that is relative) are none.
fn address(text: &str) -> Option<(IpAddr, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|number| *number > 0 && !port.starts_with('+'))?;
    let address = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(host) => host.parse::<Ipv6Addr>().ok()?.into(),
        None => host.parse::<IpAddr>().ok()?,
    };
    (!address.is_unspecified()).then_some((address, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
global
  server-state-base /var/lib/haproxy
  server-state-file state
defaults base
  mode http
  balance leastconn
  default-server check inter 2s
  load-server-state-from-file global
defaults
  balance source
peers p
  server local 127.0.0.1:1
backend a from base
  cookie SRV insert dynamic
  default-server fall 2
  server one 10.0.0.1:80 weight 5 # the first
  server two [::1]:81 disabled
  server three name.example:80
listen b
  bind :80
  server one 10.0.0.1:80
backend c from base
  use-server one if { path / }
  server one 10.0.0.1:80
";

    #[test]
    fn servers_have_what_their_defaults_and_sections_say() {
        let file = read(FILE.as_bytes()).unwrap();
        assert_eq!(file.server_states, Some("/var/lib/haproxy/state".into()));
        let names: Vec<_> = file.sections.iter().map(|section| (&*section.name, section.servers.len())).collect();
        assert_eq!(names, [("a", 3), ("b", 1), ("c", 1)]);
        let [a, b, c] = &file.sections[..] else { panic!() };
        assert_eq!((a.obstacle, a.has_dynamic_cookies), (None, true));
        assert_eq!(b.obstacle.map(|(line, _)| line), Some(10), "`source` is not dynamic");
        assert_eq!(c.obstacle.map(|(line, _)| line), Some(23));
        let one = &a.servers["one"];
        assert_eq!(one.address, Some(("10.0.0.1".parse().unwrap(), 80)));
        let known = one.options.known().unwrap();
        assert_eq!((known.weight, known.disabled, known.others.len()), (5, false, 3));
        let two = &a.servers["two"];
        assert_eq!((two.address, two.options.known().unwrap().disabled), (Some(("::1".parse().unwrap(), 81)), true));
        assert_eq!(a.servers["three"].address, None);
        let rest: String = file.others.iter().map(|(_, line)| *line).collect();
        assert!(rest.contains("server local") && !rest.contains("10.0.0.1"), "{rest}");
    }

    #[test]
    fn what_is_not_followed_is_refused() {
        for (text, line) in [
            (&b"global\n.if defined(X)\n.endif\n"[..], 2),
            (b"\"backend\" a\n", 1),
            (b"defaults\nbackend a\n\\server a\n", 3),
            (b"global\nlog \\\n", 2),
            (b"\xff", 1),
            (b"backend a\nbackend a\n", 1),
        ] {
            assert_eq!(read(text).unwrap_err().0, line, "{}", String::from_utf8_lossy(text));
        }
        assert!(read(b"# it's a \"comment\"\nbackend a\n").is_ok());
    }

    #[test]
    fn a_section_without_its_defaults_is_not_changed() {
        let obstacle = |text: &str| read(text.as_bytes()).unwrap().sections[0].obstacle;
        assert!(obstacle("backend a\nserver x 10.0.0.1:80\n").is_some());
        assert!(obstacle("defaults\nbackend a from other\n").is_some());
        assert!(obstacle("defaults x from y\nbackend a\n").is_some());
        assert!(obstacle("defaults\nbackend a\n").is_none());
        assert!(obstacle("defaults\nbackend a\nserver x 10.0.0.1:80\nserver x 10.0.0.2:80\n").is_some());
        assert!(obstacle("defaults\noption transparent\nbackend a\n").is_some());
        assert!(obstacle("defaults\nbalance random(2)\nbackend a\nmode log\n").is_some());
    }

    #[test]
    fn only_addresses_with_a_port_are_addresses() {
        let is = |text: &str| address(text).map(|(host, port)| format!("{host} {port}"));
        assert_eq!(is("10.0.0.1:80").as_deref(), Some("10.0.0.1 80"));
        assert_eq!(is("::1:80").as_deref(), Some("::1 80"));
        assert_eq!(is("[fe80::1]:80").as_deref(), Some("fe80::1 80"));
        for text in
            ["10.0.0.1", "a:80", "/run/x.sock", "10.0.0.1:+80", "10.0.0.1:0", "0.0.0.0:80", "*:80", "[10.0.0.1]:80", ""]
        {
            assert_eq!(is(text), None, "{text}");
        }
    }
}
