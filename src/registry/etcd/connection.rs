//! One member of the cluster: two connections, a token, and what its errors mean.

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::uri::PathAndQuery;
use prost::Message;
use tokio::time::Instant;
use tonic::client::Grpc;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::config::Config;
use super::messages::{
    AuthenticateRequest, AuthenticateResponse, RangeRequest, RangeResponse, StatusRequest, StatusResponse,
    WatchRequest, WatchResponse,
};
use crate::config::Limits;
use crate::secret::{Secret, read_failure};

/// The largest message that is taken at least: tonic's default of 4 MiB.
const LEAST_MESSAGE: usize = 4 << 20;

/// HTTP/2 pings on the watch's connection: a peer that is gone is found within twice this.
const PING: Duration = Duration::from_secs(10);

/// The least time between two authentications.
const AUTHENTICATION_PAUSE: Duration = Duration::from_secs(1);

/// Where a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// `http://host:port` or `https://host:port`.
    uri: String,
    tls: bool,
}

impl Endpoint {
    /// Reads `http://host:port`, `https://host:port` or `host:port`, which is `https` if `tls` says so. The error
    /// reads after the endpoint's name.
    pub(super) fn parse(text: &str, tls: bool) -> Result<Self, String> {
        let uri = match text.split_once("://") {
            Some(("http" | "https", _)) => text.to_owned(),
            Some((scheme, _)) => return Err(format!("begins with `{scheme}://`, which etcd does not speak")),
            None => {
                let scheme = if tls { "https" } else { "http" };
                let port = if text.rsplit(']').next().is_some_and(|rest| rest.contains(':')) { "" } else { ":2379" };
                format!("{scheme}://{text}{port}")
            }
        };
        let parsed: http::Uri = uri.parse().map_err(|error: http::uri::InvalidUri| format!("is wrong: {error}"))?;
        if parsed.host().is_none_or(str::is_empty) {
            return Err("has no host".to_owned());
        }
        if !matches!(parsed.path(), "" | "/") || parsed.query().is_some() {
            return Err("has a path, which etcd does not".to_owned());
        }
        if parsed.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("holds a user; give `username` and `password_file` instead".to_owned());
        }
        Ok(Self { tls: uri.starts_with("https://"), uri })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri)
    }
}

/// Why a request failed, by what follows from it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// This range may not be read; others may.
    #[error("permission denied")]
    Denied,
    /// The token is not taken any more.
    #[error("{0}")]
    Unauthenticated(String),
    /// The revision that was asked for is compacted.
    #[error("required revision has been compacted")]
    Compacted,
    /// The response is larger than `limits.response`.
    #[error("{0}")]
    TooLarge(String),
    /// The member is of no use now.
    #[error("{0}")]
    Lost(String),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let message = status.message();
        match status.code() {
            Code::PermissionDenied => Self::Denied,
            Code::OutOfRange if message.contains("has been compacted") => Self::Compacted,
            Code::OutOfRange if message.contains("length too large") => Self::TooLarge(message.to_owned()),
            Code::Unauthenticated => Self::Unauthenticated(message.to_owned()),
            // Its code is that of an invalid argument.
            _ if message.contains("invalid auth token") || message.contains("is old") => {
                Self::Unauthenticated(message.to_owned())
            }
            code if message.is_empty() => Self::Lost(explain(&status, code.description())),
            _ => Self::Lost(explain(&status, message)),
        }
    }
}

/// What went wrong, with all its causes, and what to do: tonic itself says "transport error" only.
fn explain(error: &(dyn Error + 'static), message: &str) -> String {
    let mut parts = vec![message.to_owned()];
    let mut cause = error.source();
    while let Some(error) = cause {
        parts.push(error.to_string());
        cause = error.source();
    }
    let mut text = String::new();
    for part in parts.iter().filter(|part| !part.is_empty() && *part != "transport error") {
        if !text.contains(part.as_str()) {
            text.push_str(if text.is_empty() { "" } else { ": " });
            text.push_str(part);
        }
    }
    with_hint(text)
}

/// Adds what to do about an error that says it in other words.
pub(super) fn with_hint(text: String) -> String {
    const HINTS: [(&str, &str); 10] = [
        ("BadSignature", "the server's certificate is not signed by a CA of `ca_file`"),
        ("UnknownIssuer", "the server's certificate is not signed by a CA of `ca_file`"),
        ("not valid for name", "the server's certificate is for other names than this endpoint"),
        ("certificate expired", "the server's certificate has expired"),
        ("CertificateRequired", "the server asks for a client certificate: set `cert_file` and `key_file`"),
        ("BadCertificate", "the server does not take our client certificate, or asks for one: see `cert_file`"),
        ("UnknownCA", "the server does not know the CA of our `cert_file`"),
        ("InvalidContentType", "the server does not speak TLS here: write `http://`"),
        ("user name is empty", "etcd asks for a user: set `username` and `password_file`"),
        ("authentication failed", "see `username` and `password_file`"),
    ];
    match HINTS.iter().find(|(pattern, _)| text.contains(pattern)) {
        Some((_, hint)) => format!("{text} ({hint})"),
        None => text,
    }
}

/// One member: one connection for reads, and one for the watch stream, which reads would starve on a shared one.
pub(super) struct Connection {
    reads: Channel,
    watches: Channel,
    login: Option<Login>,
    token: Mutex<Token>,
    dial_timeout: Duration,
    request_timeout: Duration,
    /// How large answers may be; the largest message that is taken is no larger.
    pub(super) limits: Limits,
    /// The version of the member's program.
    pub(super) version: String,
}

/// What the member gave us for our password.
#[derive(Default)]
struct Token {
    value: Option<MetadataValue<Ascii>>,
    /// When we last asked for one.
    asked: Option<Instant>,
}

/// Who we are, and where the password is.
struct Login {
    username: String,
    password: Password,
}

enum Password {
    File(std::path::PathBuf),
    Text(Secret),
}

impl Connection {
    /// Connects to a member that answers and has a leader, and authenticates.
    pub(super) async fn open(config: &Config, endpoint: &Endpoint, limits: Limits) -> Result<Self, Failure> {
        let tls = if endpoint.tls { Some(tls(config).await?) } else { None };
        let channel = |pings: bool| -> Result<Channel, Failure> {
            let lost = |error: tonic::transport::Error| Failure::Lost(explain(&error, &error.to_string()));
            let mut builder = tonic::transport::Endpoint::from_shared(endpoint.uri.clone())
                .map_err(lost)?
                .user_agent(concat!("liveconf/", env!("CARGO_PKG_VERSION")))
                .map_err(lost)?
                .connect_timeout(config.clocks.dial_timeout)
                .http2_keep_alive_interval(PING)
                .keep_alive_timeout(PING)
                // etcd ends a connection that pings without a stream; that of reads mostly has none.
                .keep_alive_while_idle(pings);
            if let Some(tls) = &tls {
                builder = builder.tls_config(tls.clone()).map_err(lost)?;
            }
            Ok(builder.connect_lazy())
        };
        let login = config.username.clone().map(|username| Login {
            username,
            password: match (&config.password_file, &config.password) {
                (Some(file), _) => Password::File(file.clone()),
                (None, Some(password)) => Password::Text(password.clone()),
                (None, None) => Password::Text(Secret::new("")),
            },
        });
        let mut connection = Self {
            reads: channel(false)?,
            watches: channel(true)?,
            login,
            token: Mutex::default(),
            dial_timeout: config.clocks.dial_timeout,
            request_timeout: config.clocks.request_timeout,
            limits,
            version: String::new(),
        };
        connection.greet().await.map_err(|failure| match failure {
            Failure::Lost(why) if !endpoint.tls && why.contains("connection error") => {
                Failure::Lost(format!("{why} (if it speaks TLS, write `https://`)"))
            }
            Failure::Lost(why) if endpoint.tls && (why.contains("handshake eof") || why.contains("reset by peer")) => {
                Failure::Lost(format!("{why} (if it does not speak TLS, write `http://`)"))
            }
            failure => failure,
        })?;
        connection.authenticate().await?;
        Ok(connection)
    }

    /// Proves that the member answers and knows a leader.
    async fn greet(&mut self) -> Result<(), Failure> {
        let status: Result<StatusResponse, _> =
            self.call("/etcdserverpb.Maintenance/Status", StatusRequest {}, self.dial_timeout).await;
        match status {
            Ok(StatusResponse { leader: 0, .. }) => Err(Failure::Lost("it has no leader".to_owned())),
            Ok(status) => {
                self.version = status.version;
                Ok(())
            }
            // It answers, which is what we wanted to know; the token comes next.
            Err(Failure::Denied | Failure::Unauthenticated(_)) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// Gets a new token, if there is a user; not sooner than a second after the one before, since a password costs
    /// the server a good part of a second. The password file is read again.
    pub(super) async fn authenticate(&self) -> Result<(), Failure> {
        let Some(login) = &self.login else { return Ok(()) };
        let asked = self.token().asked;
        if let Some(asked) = asked {
            tokio::time::sleep_until(asked + AUTHENTICATION_PAUSE).await;
        }
        self.token().asked = Some(Instant::now());
        let password = match &login.password {
            Password::Text(password) => password.clone(),
            Password::File(path) => {
                let bytes = read_file("password_file", path).await?;
                let text = String::from_utf8(bytes)
                    .map_err(|_| Failure::Lost(format!("`password_file` `{}` is not UTF-8", path.display())))?;
                Secret::new(text.trim_end_matches(['\r', '\n']))
            }
        };
        let request = AuthenticateRequest { name: login.username.clone(), password: password.reveal().to_owned() };
        let path = "/etcdserverpb.Auth/Authenticate";
        let response: AuthenticateResponse = match self.call(path, request, self.request_timeout).await {
            // A cluster without authentication needs no token.
            Err(Failure::Lost(why)) if why.contains("authentication is not enabled") => return Ok(()),
            response => response?,
        };
        let token = response.token.parse().map_err(|_| Failure::Lost("the token is no header value".to_owned()))?;
        self.token().value = Some(token);
        Ok(())
    }

    /// Whether a progress response stands in the stream behind everything that it speaks of: from 3.4.25 and 3.5.8
    /// on (etcd issue 15220). Before, it may overtake what is queued, and speaks for watches that are still catching up.
    pub(super) fn orders_progress(&self) -> bool {
        orders_progress(&self.version)
    }

    /// Whether a server of this version answers how far the stream is: from 3.4 on.
    pub(super) fn answers_progress(&self) -> bool {
        version(&self.version) >= (3, 4, 0)
    }

    /// Whether a new token may help.
    pub(super) fn has_login(&self) -> bool {
        self.login.is_some()
    }

    /// One read.
    pub(super) async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Failure> {
        self.call("/etcdserverpb.KV/Range", request, self.request_timeout).await
    }

    /// Opens the watch stream. The server answers only once `requests` gave something that it replies to.
    pub(super) async fn watch<S>(&self, requests: S) -> Result<Streaming<WatchResponse>, Failure>
    where
        S: futures_util::Stream<Item = WatchRequest> + Send + 'static,
    {
        let open = async {
            let mut grpc = grpc(&self.watches, self.limits).await?;
            let request = self.request(requests);
            let path = PathAndQuery::from_static("/etcdserverpb.Watch/Watch");
            Ok(grpc.streaming(request, path, ProstCodec::default()).await?.into_inner())
        };
        within(self.dial_timeout, open).await
    }

    /// One request and its answer.
    pub(super) async fn call<Q, A>(&self, path: &'static str, message: Q, limit: Duration) -> Result<A, Failure>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let call = async {
            let mut grpc = grpc(&self.reads, self.limits).await?;
            let path = PathAndQuery::from_static(path);
            Ok(grpc.unary(self.request(message), path, ProstCodec::default()).await?.into_inner())
        };
        within(limit, call).await
    }

    fn token(&self) -> MutexGuard<'_, Token> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request that fails on a member without a leader, instead of showing old data, and that says who asks.
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert("hasleader", MetadataValue::from_static("true"));
        if let Some(token) = self.token().value.clone() {
            metadata.insert("token", token);
        }
        request
    }
}

/// A version that cannot be read is taken for an old one.
fn version(text: &str) -> (u32, u32, u32) {
    let mut parts = text.split(['.', '-', '+']).map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next())
}

/// See [`Connection::orders_progress`].
fn orders_progress(text: &str) -> bool {
    match version(text) {
        (3, 4, patch) => patch >= 25,
        (3, 5, patch) => patch >= 8,
        (major, minor, _) => (major, minor) > (3, 5),
    }
}

async fn grpc(channel: &Channel, limits: Limits) -> Result<Grpc<Channel>, Failure> {
    // Room for what says that there is something, however low the limit.
    let largest = usize::try_from(limits.response).unwrap_or(usize::MAX).max(LEAST_MESSAGE);
    let mut grpc = Grpc::new(channel.clone()).max_decoding_message_size(largest);
    grpc.ready().await.map_err(|error| Failure::Lost(explain(&error, &error.to_string())))?;
    Ok(grpc)
}

async fn within<T>(limit: Duration, call: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    match tokio::time::timeout(limit, call).await {
        Ok(result) => result,
        Err(_) => Err(Failure::Lost(format!("no answer within {}", humantime::format_duration(limit)))),
    }
}

async fn tls(config: &Config) -> Result<ClientTlsConfig, Failure> {
    let mut tls = ClientTlsConfig::new().timeout(config.clocks.dial_timeout);
    tls = match &config.ca_file {
        Some(path) => tls.ca_certificate(Certificate::from_pem(read_file("ca_file", path).await?)),
        None => tls.with_native_roots(),
    };
    if let (Some(cert), Some(key)) = (&config.cert_file, &config.key_file) {
        tls = tls.identity(Identity::from_pem(read_file("cert_file", cert).await?, read_file("key_file", key).await?));
    }
    Ok(tls)
}

async fn read_file(key: &str, path: &Path) -> Result<Vec<u8>, Failure> {
    tokio::fs::read(path).await.map_err(|error| {
        Failure::Lost(format!("cannot read `{key}` `{}`: {}", path.display(), read_failure(path, &error)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        for (text, tls, uri) in [
            ("http://a:1", true, "http://a:1"),
            ("https://a", false, "https://a"),
            ("a:1", false, "http://a:1"),
            ("a", true, "https://a:2379"),
            ("10.0.0.1", false, "http://10.0.0.1:2379"),
            ("[::1]:5", false, "http://[::1]:5"),
            ("[::1]", false, "http://[::1]:2379"),
        ] {
            assert_eq!(Endpoint::parse(text, tls).unwrap().to_string(), uri, "{text}");
        }
        for text in ["", "unix:///x", "http://", "http://u:p@a:1", "http://a/v3", "a b"] {
            assert!(Endpoint::parse(text, false).is_err(), "{text}");
        }
    }

    #[test]
    fn versions_that_order_progress() {
        for (version, expected) in [
            ("3.4.23", false),
            ("3.4.25", true),
            ("3.5.7", false),
            ("3.5.8", true),
            ("3.5.21-custom", true),
            ("3.6.0-rc.1", true),
            ("4.0.0", true),
            ("3.3.27", false),
            ("", false),
        ] {
            assert_eq!(orders_progress(version), expected, "{version}");
        }
    }

    #[test]
    fn errors_by_what_follows_from_them() {
        for (code, message, expected) in [
            (Code::PermissionDenied, "etcdserver: permission denied", Failure::Denied),
            (Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted", Failure::Compacted),
            (
                Code::InvalidArgument,
                "etcdserver: revision of auth store is old",
                Failure::Unauthenticated("etcdserver: revision of auth store is old".into()),
            ),
            (Code::Unavailable, "etcdserver: no leader", Failure::Lost("etcdserver: no leader".into())),
        ] {
            assert_eq!(Failure::from(Status::new(code, message)), expected);
        }
    }
}
