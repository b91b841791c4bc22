//! TLS of every connection: what clients trust and show, and the certificates of our own listeners.
//!
//! Versions 1.2 and 1.3. The cryptography is that of `ring`, which is named wherever a configuration is
//! made: nothing is installed for the whole process. Files are read each time a configuration is made, so a
//! connection that is opened after a file was replaced uses the new one.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::settings::BadSetting;

mod client;
mod problem;
mod server;
mod stream;
#[cfg(test)]
mod tests;

pub use client::{ClientTls, ConnectError};
pub use problem::is_not_tls;
pub use server::{ClientCertificates, ServerTls};
pub use stream::{Stream, StreamError, open};

/// A setting whose value is the path of a file, for error messages.
#[derive(Debug, Clone, Copy)]
struct Setting<'a> {
    prefix: &'a str,
    name: &'a str,
}

impl Setting<'_> {
    fn bad(self, path: &Path, accepted: &str) -> BadSetting {
        let variable = format!("{}_{}", self.prefix, self.name);
        BadSetting::new(&variable, &path.display().to_string(), accepted)
    }
}

/// A configuration with which no server is trusted, for clients that need one and use no TLS.
fn trusting_nobody() -> Result<Arc<ClientConfig>, BadSetting> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| BadSetting::new("TLS", "", &error.to_string()))?;
    let config = builder.with_root_certificates(RootCertStore::empty());
    Ok(Arc::new(config.with_no_client_auth()))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Reads the certificates of a file; at least one.
fn certificates(
    setting: Setting<'_>,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, BadSetting> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let found: Vec<_> =
        read.map_err(|error| setting.bad(path, &pem_accepted("certificates", &error)))?;
    if found.is_empty() {
        return Err(setting.bad(path, &pem_accepted("certificates", &PemError::NoItemsFound)));
    }
    Ok(found)
}

/// Reads the private key of a file.
fn private_key(setting: Setting<'_>, path: &Path) -> Result<PrivateKeyDer<'static>, BadSetting> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| {
        setting.bad(
            path,
            &pem_accepted("a private key without a password", &error),
        )
    })
}

fn pem_accepted(what: &str, error: &PemError) -> String {
    let problem = match error {
        PemError::Io(error) => error.to_string(),
        PemError::NoItemsFound => "there is none in it".to_owned(),
        other => other.to_string(),
    };
    format!("the path of a readable PEM file with {what} ({problem})")
}

/// Adds the authorities of a file.
fn add_authorities(
    roots: &mut RootCertStore,
    setting: Setting<'_>,
    path: &Path,
) -> Result<(), BadSetting> {
    for certificate in certificates(setting, path)? {
        roots.add(certificate).map_err(|error| {
            let accepted = format!("a PEM file with certificates of authorities ({error})");
            setting.bad(path, &accepted)
        })?;
    }
    Ok(())
}
