//! Where Consul is: `http://host:8500`, `https://host/prefix`, `host:8500` or `unix:///path`.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use reqwest::Url;

/// The address of an agent, a server or a proxy before them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// What stands before `/v1`; of a socket `http://localhost/`.
    url: Url,
    socket: Option<PathBuf>,
}

impl Address {
    /// Where an agent listens unless it is told otherwise.
    pub(super) const DEFAULT: &str = "127.0.0.1:8500";

    /// Reads an address. Without a scheme it is `https` if `tls` says so, else `http`. The error reads after the
    /// address in backticks.
    pub fn parse(text: &str, tls: bool) -> Result<Self, &'static str> {
        let (scheme, rest) = text.split_once("://").unwrap_or((if tls { "https" } else { "http" }, text));
        let scheme = scheme.to_ascii_lowercase();
        let (rest, socket) = match scheme.as_str() {
            "http" | "https" => (rest, None),
            "unix" if rest.starts_with('/') => ("localhost", Some(PathBuf::from(rest))),
            "unix" => return Err("holds no absolute path after `unix://`"),
            _ => return Err("is neither `http`, `https` nor `unix`"),
        };
        let scheme = if socket.is_some() { "http" } else { &scheme };
        let (host, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let path = path.trim_end_matches('/');
        if host.contains('@') {
            return Err("holds a user or a password, which Consul does not know: use `token_file`");
        }
        if path.contains("//") {
            return Err("holds a path that cannot stand before `/v1`");
        }
        let port = host.rsplit(']').next().and_then(|rest| rest.split_once(':')).map(|(_, port)| port.parse::<u16>());
        if port.is_some_and(|port| !port.is_ok_and(|port| port > 0)) {
            return Err("holds no valid port");
        }
        let url = Url::parse(&format!("{scheme}://{host}{path}")).map_err(|_| "holds no host")?;
        if url.path().trim_end_matches('/') != path || url.query().is_some() || url.fragment().is_some() {
            return Err("holds a path that cannot stand before `/v1`");
        }
        Ok(Self { url, socket })
    }

    /// The host, an IPv6 address without brackets.
    pub(super) fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
    }

    /// The socket, if it is one.
    pub(super) fn socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }

    /// Whether what is sent there crosses a network for everybody to read.
    pub(super) fn is_open(&self) -> bool {
        // The URL of a socket is that of this machine, and names are in small letters.
        let is_local = self.host() == "localhost"
            || self.host().parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
        !self.is_tls() && !is_local
    }

    pub(super) fn is_tls(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// What stands before the names of the API. With `name` that stands there instead of the host; none if it cannot.
    pub(super) fn base(&self, name: Option<&str>) -> Option<String> {
        let mut url = self.url.clone();
        if let Some(name) = name {
            url.set_host(Some(name)).ok()?;
        }
        Some(format!("{}/v1/", url.as_str().trim_end_matches('/')))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.socket {
            Some(socket) => write!(f, "unix://{}", socket.display()),
            None => f.write_str(self.url.as_str().trim_end_matches('/')),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_an_address() {
        for (text, tls, shown, host) in [
            ("127.0.0.1:8500", false, "http://127.0.0.1:8500", "127.0.0.1"),
            ("consul.example:8501", true, "https://consul.example:8501", "consul.example"),
            ("http://consul:8500/", true, "http://consul:8500", "consul"),
            ("HTTPS://consul/a/b/", false, "https://consul/a/b", "consul"),
            ("http://[::1]:8500/x", false, "http://[::1]:8500/x", "::1"),
            ("localhost", false, "http://localhost", "localhost"),
            ("consul_1:80", false, "http://consul_1", "consul_1"),
        ] {
            let address = Address::parse(text, tls).unwrap();
            assert_eq!((address.to_string().as_str(), address.host()), (shown, host), "{text}");
            assert_eq!(address.base(None).unwrap(), format!("{shown}/v1/"));
        }
        let socket = Address::parse("unix:///run/consul.sock", true).unwrap();
        assert_eq!(socket.socket(), Some(Path::new("/run/consul.sock")));
        assert_eq!(socket.to_string(), "unix:///run/consul.sock");
        assert_eq!(socket.base(None).unwrap(), "http://localhost/v1/");
        let elsewhere = Address::parse("https://10.0.0.1:8501/x", false).unwrap();
        assert_eq!(elsewhere.base(Some("server.dc1.consul")).unwrap(), "https://server.dc1.consul:8501/x/v1/");
        assert_eq!(elsewhere.base(Some("a b")), None);
    }

    #[test]
    fn what_is_no_address() {
        for (text, reason) in [
            ("", "no host"),
            ("http://", "no host"),
            ("http://:8500", "no host"),
            ("http://a:0", "port"),
            ("http://a:", "port"),
            ("http://a:99999", "port"),
            ("ftp://a", "neither"),
            ("unix://a", "absolute"),
            ("http://me:secret@a", "user"),
            ("http://a/b?c", "path"),
            ("http://a//b", "path"),
            ("http://a/b/../c", "path"),
            ("http://[::1]:x", "port"),
            ("http://a?b", "path"),
            ("http://a b", "no host"),
        ] {
            let error = Address::parse(text, false).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn what_others_can_read() {
        for (text, open) in [
            ("http://10.0.0.1", true),
            ("http://consul", true),
            ("http://127.9.9.9", false),
            ("http://[::1]", false),
            ("http://LocalHost", false),
            ("https://consul", false),
            ("unix:///a", false),
        ] {
            assert_eq!(Address::parse(text, false).unwrap().is_open(), open, "{text}");
        }
    }
}
