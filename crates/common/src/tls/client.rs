//! TLS of the connections that we open.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{
    Setting, add_authorities, certificates, private_key, problem, provider, trusting_nobody,
};
use crate::settings::BadSetting;

/// What a client trusts and shows. Errors name its settings: with the prefix `MQTT`, `MQTT_CA_FILE`,
/// `MQTT_CERT_FILE`, `MQTT_KEY_FILE` and `MQTT_SERVER_NAME`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// The prefix of the settings.
    pub prefix: &'static str,
    /// Certificates of authorities that are trusted besides those of the machine.
    pub ca_file: Option<PathBuf>,
    /// The client's certificate, followed by those between it and its authority.
    pub cert_file: Option<PathBuf>,
    /// The key of that certificate.
    pub key_file: Option<PathBuf>,
    /// The name that the server's certificate has to be for, instead of the host that is connected to.
    pub server_name: Option<String>,
    /// Whether users can set nothing but the authorities, so that errors name no other setting.
    pub has_only_ca: bool,
}

/// Why there is no TLS connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A file can't be used.
    #[error(transparent)]
    Setting(#[from] BadSetting),
    /// The server can't be trusted, or refuses us; with the remedy if it is known.
    #[error("{0}")]
    Handshake(String),
}

impl ClientTls {
    /// Only what the machine trusts, for settings with this prefix.
    #[must_use]
    pub fn new(prefix: &'static str) -> Self {
        Self {
            prefix,
            ..Self::default()
        }
    }

    /// As [`new`](Self::new), with these authorities besides those of the machine. There are no settings for the
    /// rest.
    #[must_use]
    pub fn with_only_ca(prefix: &'static str, ca_file: Option<PathBuf>) -> Self {
        Self {
            ca_file: ca_file.filter(|path| !path.as_os_str().is_empty()),
            has_only_ca: true,
            ..Self::new(prefix)
        }
    }

    /// Reads the files, and makes a configuration of them.
    pub fn config(&self) -> Result<Arc<ClientConfig>, BadSetting> {
        self.checked_name()?;
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| self.bad("CA_FILE", "", &error.to_string()))?
            .with_root_certificates(self.roots()?);
        let config = match (&self.cert_file, &self.key_file) {
            (None, None) => builder.with_no_client_auth(),
            (Some(cert), Some(key)) => {
                let (of_cert, of_key) = (self.setting("CERT_FILE"), self.setting("KEY_FILE"));
                let chain = certificates(of_cert, cert)?;
                builder
                    .with_client_auth_cert(chain, private_key(of_key, key)?)
                    .map_err(|error| {
                        let accepted = format!("the key of {}_CERT_FILE ({error})", self.prefix);
                        of_key.bad(key, &accepted)
                    })?
            }
            (Some(_), None) => return Err(self.bad("KEY_FILE", "", "the key of the certificate")),
            (None, Some(_)) => return Err(self.bad("CERT_FILE", "", "the certificate of the key")),
        };
        Ok(Arc::new(config))
    }

    /// The configuration of an HTTP client, which needs one also where it uses no TLS. Files are read only for https.
    pub fn config_if(&self, is_https: bool) -> Result<Arc<ClientConfig>, BadSetting> {
        if is_https {
            self.config()
        } else {
            trusting_nobody()
        }
    }

    /// The name that the certificate of the server at `host` has to be for.
    #[must_use]
    pub fn name_of<'a>(&'a self, host: &'a str) -> &'a str {
        self.server_name.as_deref().unwrap_or(host)
    }

    /// Makes a TLS connection to `host` of one without. Reads the files.
    pub async fn connect<S>(&self, host: &str, stream: S) -> Result<TlsStream<S>, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let config = self.config()?;
        let name = self.name_of(host);
        let server = ServerName::try_from(name.to_owned()).map_err(|_| {
            ConnectError::Handshake(format!(
                "a certificate can't be for {name:?}: set {}_SERVER_NAME to the name in the server's",
                self.prefix
            ))
        })?;
        let connected = TlsConnector::from(config).connect(server, stream).await;
        connected.map_err(|error| {
            let explained = self.explain(&error, host);
            let text = explained.unwrap_or_else(|| match error.kind() {
                ErrorKind::ConnectionReset => problem::CLOSED.to_owned(),
                _ => format!("TLS: {error}"),
            });
            ConnectError::Handshake(text)
        })
    }

    /// What an error of a connection to `host` means and what to do, if it is one of TLS that has a remedy. A
    /// server of version 1.3 refuses a client only after the handshake, so errors of reading may have one, too.
    #[must_use]
    pub fn explain(&self, error: &(dyn std::error::Error + 'static), host: &str) -> Option<String> {
        problem::explain(error, self, self.name_of(host))
    }

    fn roots(&self) -> Result<RootCertStore, BadSetting> {
        let mut roots = RootCertStore::empty();
        let machine = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(machine.certs);
        match &self.ca_file {
            Some(path) => add_authorities(&mut roots, self.setting("CA_FILE"), path)?,
            None if roots.is_empty() => {
                return Err(self.bad(
                    "CA_FILE",
                    "",
                    "a PEM file with the certificate of the server's authority, since this machine has \
                     no list of authorities (install ca-certificates, or set SSL_CERT_FILE to one)",
                ));
            }
            None => {}
        }
        Ok(roots)
    }

    fn checked_name(&self) -> Result<(), BadSetting> {
        let Some(name) = &self.server_name else {
            return Ok(());
        };
        let accepted = "the host name or IP address in the server's certificate";
        match ServerName::try_from(name.as_str()) {
            Ok(_) => Ok(()),
            Err(_) => Err(self.bad("SERVER_NAME", name, accepted)),
        }
    }

    const fn setting(&self, name: &'static str) -> Setting<'_> {
        let prefix = self.prefix;
        Setting { prefix, name }
    }

    fn bad(&self, name: &str, given: &str, accepted: &str) -> BadSetting {
        BadSetting::new(&format!("{}_{name}", self.prefix), given, accepted)
    }
}
