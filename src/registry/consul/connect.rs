//! Opens one connection: TCP or a unix socket, with TLS where the address says so.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::address::Transport;
use super::config::Config;
use super::failure::{Failure, with_causes};

/// Opens connections to one address.
pub(super) struct Connector {
    transport: Transport,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    timeout: Duration,
}

/// Bytes both ways.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection, and what it was agreed to speak.
pub(super) struct Opened {
    pub(super) stream: Box<dyn Stream>,
    pub(super) http2: bool,
}

impl Connector {
    /// Reads the certificates, so that renewed ones are picked up after an outage.
    pub(super) fn new(config: &Config) -> Result<Self, String> {
        let tls = match &config.address.transport {
            Transport::Tcp { host, tls: true, .. } => {
                let name = config.tls_server_name.as_ref().unwrap_or(host);
                let name = ServerName::try_from(name.clone()).map_err(|_| format!("`{name}` is no name for TLS"))?;
                Some((TlsConnector::from(Arc::new(client_config(config)?)), name))
            }
            Transport::Tcp { .. } | Transport::Unix(_) => None,
        };
        Ok(Self { transport: config.address.transport.clone(), tls, timeout: config.clocks.dial_timeout })
    }

    /// Opens a connection, all of it within the time to dial.
    pub(super) async fn open(&self) -> Result<Opened, Failure> {
        match tokio::time::timeout(self.timeout, self.dial()).await {
            Ok(opened) => opened.map_err(Failure::Away),
            Err(_) => Err(Failure::Away(format!("no connection within {}", humantime::format_duration(self.timeout)))),
        }
    }

    async fn dial(&self) -> Result<Opened, String> {
        let (host, port) = match &self.transport {
            Transport::Tcp { host, port, .. } => (host.as_str(), *port),
            Transport::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(|error| with_causes(&error))?;
                return Ok(Opened { stream: Box::new(stream), http2: false });
            }
        };
        let stream = TcpStream::connect((host, port)).await.map_err(|error| with_causes(&error))?;
        prepare(&stream).map_err(|error| with_causes(&error))?;
        let Some((connector, name)) = &self.tls else { return Ok(Opened { stream: Box::new(stream), http2: false }) };
        let stream = connector
            .connect(name.clone(), stream)
            .await
            .map_err(|error| format!("no TLS connection: {}", with_causes(&error)))?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok(Opened { stream: Box::new(stream), http2 })
    }
}

/// Finds a peer that is gone without a word within half a minute, also while nothing is sent.
fn prepare(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(15))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(5))?;
    sockopt::set_tcp_keepcnt(stream, 3)?;
    Ok(())
}

fn client_config(config: &Config) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = &config.ca_file {
        for certificate in certificates("ca_file", file)? {
            roots.add(certificate).map_err(|error| unusable("ca_file", file, &error))?;
        }
    } else {
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
    format!("`{key}` `{}` cannot be used: {}", file.display(), with_causes(error))
}
