//! What a connection is made of: where to, with which certificates, and that it stays the only one of its client.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use reqwest::{redirect, retry};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::Mutex;
use tower::{BoxError, Layer, Service, ServiceExt};

use super::address::Address;
use super::config::{Clocks, Config};
use super::failure::with_causes;
use crate::secret::read_failure;

/// Makes clients that open one connection each.
pub(super) struct Connector {
    address: Address,
    /// Whether the name in the URL is that of the certificate, and not that of the host.
    other_name: bool,
    tls: ClientConfig,
    clocks: Clocks,
}

impl Connector {
    /// Reads the certificates, so that renewed ones are picked up after an outage.
    pub(super) fn new(config: &Config) -> Result<Self, String> {
        Ok(Self {
            address: config.address.clone(),
            other_name: config.tls_server_name.is_some(),
            tls: client_config(config)?,
            clocks: config.clocks,
        })
    }

    /// A client without a connection, which opens one in its life.
    pub(super) fn client(&self) -> reqwest::Result<reqwest::Client> {
        let accept = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]);
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("liveconf/", env!("CARGO_PKG_VERSION")))
            .default_headers(accept)
            .tls_backend_preconfigured(self.tls.clone())
            .connector_layer(OnlyOne::default())
            .pool_max_idle_per_host(1)
            .pool_idle_timeout(None)
            .connect_timeout(self.clocks.dial_timeout)
            .no_proxy()
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            // Finds a peer that is gone without a word within half a minute, also while nothing is sent.
            .tcp_keepalive(Duration::from_secs(15))
            .tcp_keepalive_interval(Duration::from_secs(5))
            .tcp_keepalive_retries(3)
            .http2_adaptive_window(true)
            .http2_keep_alive_interval(self.clocks.probe_interval)
            .http2_keep_alive_timeout(self.clocks.request_timeout);
        if let Some(socket) = self.address.socket() {
            builder = builder.unix_socket(socket);
        } else if self.other_name {
            builder = builder.dns_resolver(OneHost(self.address.host().into()));
        }
        builder.build()
    }
}

/// Finds one host, whatever name it is asked for.
struct OneHost(Arc<str>);

impl Resolve for OneHost {
    fn resolve(&self, _name: Name) -> Resolving {
        let host = self.0.clone();
        let resolving = async move {
            // The port is that of the URL.
            let found: Vec<SocketAddr> = tokio::net::lookup_host((&*host, 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        };
        resolving.boxed()
    }
}

/// Why a client opens no connection: it has had its one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection is gone")]
pub(super) struct Spent;

/// Lets a client open one connection in its life. (To a name with addresses of both families it may try one of each at
/// a time, which Consul does not count together.)
///
/// A client's pool asks for another whenever none is free, which is also so for a moment after an answer was read, until
/// its connection is back. That moment is waited for; if the connection comes back, the pool takes it and forgets that
/// it asked.
#[derive(Clone, Default)]
struct OnlyOne {
    /// Whether a connection was opened or tried to be; locked while that lasts.
    opened: Arc<Mutex<bool>>,
}

impl OnlyOne {
    /// How long the pool may take to get a connection back. Whoever waits longer is given another client, so it costs
    /// a connection and no answer if this is too short.
    const RETURN: Duration = Duration::from_millis(100);
}

impl<S> Layer<S> for OnlyOne {
    type Service = OneConnection<S>;

    fn layer(&self, inner: S) -> Self::Service {
        OneConnection { only_one: self.clone(), inner }
    }
}

/// What opens connections, but once.
#[derive(Clone)]
struct OneConnection<S> {
    only_one: OnlyOne,
    inner: S,
}

impl<S, R> Service<R> for OneConnection<S>
where
    S: Service<R, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send,
    R: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<S::Response, BoxError>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: R) -> Self::Future {
        let Self { only_one, inner } = self.clone();
        let connecting = async move {
            let mut opened = only_one.opened.lock().await;
            if !std::mem::replace(&mut *opened, true) {
                return inner.oneshot(target).await;
            }
            drop(opened);
            tokio::time::sleep(OnlyOne::RETURN).await;
            Err(Spent.into())
        };
        connecting.boxed()
    }
}

fn client_config(config: &Config) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = &config.ca_file {
        for certificate in certificates("ca_file", file)? {
            roots.add(certificate).map_err(|error| unusable("ca_file", file, &error))?;
        }
    } else if config.address.is_tls() {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err("this machine has no CA certificates: install them, or set `ca_file`".to_owned());
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| with_causes(&error))?
        .with_root_certificates(roots);
    let mut tls = match (&config.cert_file, &config.key_file) {
        (Some(cert_file), Some(key_file)) => {
            let key = PrivateKeyDer::from_pem_file(key_file).map_err(|error| unusable("key_file", key_file, &error))?;
            builder
                .with_client_auth_cert(certificates("cert_file", cert_file)?, key)
                .map_err(|error| unusable("cert_file", cert_file, &error))?
        }
        _ => builder.with_no_client_auth(),
    };
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(tls)
}

fn certificates(key: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    let certificates = read.map_err(|error| unusable(key, file, &error))?;
    if certificates.is_empty() {
        return Err(format!("`{key}` `{}` holds no certificate", file.display()));
    }
    Ok(certificates)
}

fn unusable(key: &str, file: &Path, error: &dyn std::error::Error) -> String {
    let absent = std::fs::metadata(file).err().map(|error| read_failure(file, &error));
    format!("`{key}` `{}` cannot be used: {}", file.display(), absent.unwrap_or_else(|| with_causes(error)))
}
