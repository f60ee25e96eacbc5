//! Certificates for servers and clients that speak TLS.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, IsCa, KeyPair};

/// The files that one side of a connection needs.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The authority that it trusts.
    pub ca: PathBuf,
    /// Its own certificate.
    pub cert: PathBuf,
    /// The key of that.
    pub key: PathBuf,
}

impl TlsFiles {
    /// The settings of a registry that connects with these, as they stand in a flow mapping.
    pub fn settings(&self) -> String {
        let [ca, cert, key] = [&self.ca, &self.cert, &self.key].map(|file| file.display());
        format!("ca_file: {ca}, cert_file: {cert}, key_file: {key}")
    }
}

/// One that signs, in a folder where all files go.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
    file: PathBuf,
}

impl Authority {
    /// A new one; its own certificate is `NAME.pem`.
    pub fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = folder.join(format!("{name}.pem"));
        fs::write(&file, issuer.pem()).unwrap();
        Self { issuer, folder: folder.to_owned(), file }
    }

    /// A certificate for a server on the loopback.
    pub fn server(&self, name: &str) -> TlsFiles {
        self.sign(name, &["localhost", "127.0.0.1"])
    }

    /// A certificate for a client.
    pub fn client(&self, name: &str) -> TlsFiles {
        self.sign(name, &[])
    }

    /// A certificate for a server with these names.
    pub fn sign(&self, name: &str, hosts: &[&str]) -> TlsFiles {
        self.sign_until(name, hosts, 2100)
    }

    /// A certificate for a server on the loopback that was good long ago.
    pub fn expired(&self, name: &str) -> TlsFiles {
        self.sign_until(name, &["localhost", "127.0.0.1"], 2002)
    }

    /// A certificate for a server with these names, good until the beginning of a year.
    pub fn sign_until(&self, name: &str, hosts: &[&str], year: i32) -> TlsFiles {
        let key = KeyPair::generate().unwrap();
        let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        // A client's certificate with a name in it would be a user's of etcd.
        params.distinguished_name = DistinguishedName::new();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let [cert_file, key_file] = ["pem", "key"].map(|kind| self.folder.join(format!("{name}.{kind}")));
        fs::write(&cert_file, certificate.pem()).unwrap();
        fs::write(&key_file, key.serialize_pem()).unwrap();
        TlsFiles { ca: self.file.clone(), cert: cert_file, key: key_file }
    }
}
