//! TLS of the connections that we accept.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use super::{Setting, add_authorities, certificates, private_key, provider};
use crate::settings::BadSetting;

/// Which certificates clients may show or have to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ClientCertificates {
    /// None are asked for.
    #[default]
    Off,
    /// One of the authorities in this file, or none at all.
    Optional(PathBuf),
    /// One of the authorities in this file.
    Required(PathBuf),
}

/// The certificate of a listener, which can be read again. Clones share it. Errors name the settings: with the
/// prefix `API_TLS`, `API_TLS_CERT_FILE`, `API_TLS_KEY_FILE` and `API_TLS_CLIENT_CA_FILE`.
#[derive(Debug, Clone)]
pub struct ServerTls {
    files: Arc<Files>,
    current: Arc<RwLock<Arc<ServerConfig>>>,
}

#[derive(Debug)]
struct Files {
    prefix: &'static str,
    cert_file: PathBuf,
    key_file: PathBuf,
    clients: ClientCertificates,
}

impl ServerTls {
    /// Reads the certificate, followed by those between it and its authority, and its key.
    pub fn load(
        prefix: &'static str,
        cert_file: PathBuf,
        key_file: PathBuf,
        clients: ClientCertificates,
    ) -> Result<Self, BadSetting> {
        let files = Files {
            prefix,
            cert_file,
            key_file,
            clients,
        };
        let config = files.config()?;
        Ok(Self {
            files: Arc::new(files),
            current: Arc::new(RwLock::new(config)),
        })
    }

    /// Reads the files again, for the connections from now on. If they can't be used, the certificate that was
    /// read last stays in use, and an ERROR is logged.
    pub fn reload(&self) {
        let cert_file = self.files.cert_file.display();
        match self.files.config() {
            Ok(config) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = config;
                tracing::info!(%cert_file, "read the certificate again");
            }
            Err(error) => tracing::error!(
                %error,
                "cannot read the certificate again; the one that was read before stays in use"
            ),
        }
    }

    /// Makes TLS connections of accepted ones, with the certificate that was read last.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(current.clone())
    }
}

impl Files {
    fn config(&self) -> Result<Arc<ServerConfig>, BadSetting> {
        let [of_cert, of_key, of_ca] = ["CERT_FILE", "KEY_FILE", "CLIENT_CA_FILE"].map(|name| {
            let prefix = self.prefix;
            Setting { prefix, name }
        });
        let bad = |error: rustls::Error| {
            let accepted = format!("the key of {}_CERT_FILE ({error})", self.prefix);
            of_key.bad(&self.key_file, &accepted)
        };
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(bad)?;
        let builder = match &self.clients {
            ClientCertificates::Off => builder.with_no_client_auth(),
            ClientCertificates::Optional(path) | ClientCertificates::Required(path) => {
                let mut roots = RootCertStore::empty();
                add_authorities(&mut roots, of_ca, path)?;
                let mut verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
                if matches!(self.clients, ClientCertificates::Optional(_)) {
                    verifier = verifier.allow_unauthenticated();
                }
                let verifier = verifier.build().map_err(|error| {
                    of_ca.bad(path, &format!("certificates of authorities ({error})"))
                })?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let chain = certificates(of_cert, &self.cert_file)?;
        let config = builder
            .with_single_cert(chain, private_key(of_key, &self.key_file)?)
            .map_err(bad)?;
        Ok(Arc::new(config))
    }
}
