//! Certificates of an authority of our own.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use tempfile::TempDir;

/// A certificate authority and the files of its certificates, in PEM.
///
/// It has `ca.pem`; each [`issue`](Self::issue) adds `NAME.pem` and `NAME.key`.
#[derive(Debug)]
pub struct Certificates {
    authority: CertifiedIssuer<'static, KeyPair>,
    dir: TempDir,
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}

impl Certificates {
    /// Creates an authority.
    #[must_use]
    pub fn new() -> Self {
        let mut params = parameters("a test authority", &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let dir = TempDir::with_prefix("certificates-").expect("a temporary directory");
        let made = Self { authority, dir };
        fs::write(made.ca(), made.authority.pem()).expect("a file for a certificate");
        made
    }

    /// Creates the certificate `NAME.pem`, whose CN is `name`, for these host names and addresses; with none,
    /// for a client. An earlier one of that name is replaced.
    pub fn issue(&self, name: &str, hosts: &[&str]) {
        self.sign(name, &parameters(name, hosts));
    }

    /// As [`issue`](Self::issue), with a certificate that has expired.
    pub fn issue_expired(&self, name: &str, hosts: &[&str]) {
        let mut params = parameters(name, hosts);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        self.sign(name, &params);
    }

    /// The directory of the files.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The file with the authority's certificate.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.dir().join("ca.pem")
    }

    /// The file with the certificate of this name.
    #[must_use]
    pub fn certificate(&self, name: &str) -> PathBuf {
        self.dir().join(format!("{name}.pem"))
    }

    /// The file with the key of this name.
    #[must_use]
    pub fn key(&self, name: &str) -> PathBuf {
        self.dir().join(format!("{name}.key"))
    }

    /// The authority's key, in PEM.
    #[must_use]
    pub fn authority_key(&self) -> String {
        self.authority.key().serialize_pem()
    }

    fn sign(&self, name: &str, params: &CertificateParams) {
        let key = KeyPair::generate().expect("a key");
        let signed = params.signed_by(&key, &self.authority);
        let signed = signed.expect("a certificate");
        fs::write(self.certificate(name), signed.pem()).expect("a file for a certificate");
        fs::write(self.key(name), key.serialize_pem()).expect("a file for a key");
    }
}

fn parameters(name: &str, hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<_> = hosts.iter().map(|&host| host.to_owned()).collect();
    let mut params = CertificateParams::new(hosts).expect("names that a certificate can have");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
