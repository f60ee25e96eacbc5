//! Where Consul is: `http://host:8500`, `https://host/prefix`, `host:8500` or `unix:///path`.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use http::uri::{Authority, PathAndQuery};

/// The address of an agent, a server or a proxy before them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// How to get there.
    pub(super) transport: Transport,
    /// What the `Host` header says.
    pub(super) authority: String,
    /// What stands before `/v1`: empty, or `/` and more, without a `/` at its end.
    pub(super) path: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Transport {
    /// `host` is a name or an address, an IPv6 address without brackets.
    Tcp {
        host: String,
        port: u16,
        tls: bool,
    },
    Unix(PathBuf),
}

impl Address {
    /// Reads an address. Without a scheme it is `https` if `tls` says so, else `http`. The error reads after the
    /// address in backticks.
    pub fn parse(text: &str, tls: bool) -> Result<Self, &'static str> {
        let (scheme, rest) = text.split_once("://").unwrap_or((if tls { "https" } else { "http" }, text));
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            "unix" if rest.starts_with('/') => {
                let transport = Transport::Unix(PathBuf::from(rest));
                return Ok(Self { transport, authority: "localhost".to_owned(), path: String::new() });
            }
            "unix" => return Err("holds no absolute path after `unix://`"),
            _ => return Err("is neither `http`, `https` nor `unix`"),
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let path = path.trim_end_matches('/');
        if authority.contains('@') {
            return Err("holds a user or a password, which Consul does not know: use `token_file`");
        }
        if path.contains(['?', '#'])
            || path.contains("//")
            || (!path.is_empty() && PathAndQuery::try_from(path).is_err())
        {
            return Err("holds a path that cannot stand before `/v1`");
        }
        let authority: Authority = authority.parse().map_err(|_| "holds no host")?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let port = match authority.as_str()[authority.host().len()..].strip_prefix(':') {
            Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or("holds no valid port")?,
            None if tls => 443,
            None => 80,
        };
        if host.is_empty() {
            return Err("holds no host");
        }
        Ok(Self {
            transport: Transport::Tcp { host: host.to_owned(), port, tls },
            authority: authority.as_str().to_owned(),
            path: path.to_owned(),
        })
    }

    /// Whether what is sent there crosses a network for everybody to read.
    pub(super) fn is_open(&self) -> bool {
        match &self.transport {
            Transport::Unix(_) | Transport::Tcp { tls: true, .. } => false,
            Transport::Tcp { host, .. } => {
                let local = host.eq_ignore_ascii_case("localhost")
                    || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
                !local
            }
        }
    }

    pub(super) fn is_tls(&self) -> bool {
        matches!(self.transport, Transport::Tcp { tls: true, .. })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.transport {
            Transport::Unix(path) => write!(f, "unix://{}", path.display()),
            Transport::Tcp { tls, .. } => {
                write!(f, "{}://{}{}", if *tls { "https" } else { "http" }, self.authority, self.path)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_an_address() {
        for (text, tls, shown, host, port) in [
            ("127.0.0.1:8500", false, "http://127.0.0.1:8500", "127.0.0.1", 8500),
            ("consul.example:8501", true, "https://consul.example:8501", "consul.example", 8501),
            ("http://consul:8500/", true, "http://consul:8500", "consul", 8500),
            ("HTTPS://consul/a/b/", false, "https://consul/a/b", "consul", 443),
            ("http://[::1]:8500/x", false, "http://[::1]:8500/x", "::1", 8500),
            ("localhost", false, "http://localhost", "localhost", 80),
        ] {
            let address = Address::parse(text, tls).unwrap();
            assert_eq!(address.to_string(), shown);
            let Transport::Tcp { host: read, port: at, .. } = address.transport else { panic!("{text}") };
            assert_eq!((read.as_str(), at), (host, port), "{text}");
        }
        let socket = Address::parse("unix:///run/consul.sock", true).unwrap();
        assert_eq!(socket.transport, Transport::Unix("/run/consul.sock".into()));
        assert_eq!(socket.to_string(), "unix:///run/consul.sock");
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
