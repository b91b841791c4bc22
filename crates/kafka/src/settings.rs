//! Where the brokers are, and who we are to them.

use std::path::PathBuf;
use std::time::Duration;

use common::secret::Secret;
use common::settings::{BadSetting, KafkaTls};
use common::tls::ClientTls;
use krafka::Kafka;
use krafka::auth::{AuthConfig, TlsConfig};
use model::pipeline::KafkaUrl;

use crate::error::KafkaError;

/// How long a request may take, and a connection attempt.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// How a user proves who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mechanism {
    /// The password is sent; only with TLS is it safe from listeners.
    #[default]
    Plain,
    /// A proof of the password, by SHA-256.
    ScramSha256,
    /// A proof of the password, by SHA-512.
    ScramSha512,
}

/// The brokers of a cluster, and the login.
#[derive(Debug, Clone)]
pub struct KafkaSettings {
    /// The first brokers to ask: `host:port`, separated by commas.
    pub servers: String,
    /// User and password, where the brokers want a login.
    pub login: Option<(String, Secret)>,
    /// How the login proves the password.
    pub mechanism: Mechanism,
    /// TLS, if it is used.
    pub tls: Option<ClientTls>,
}

impl KafkaSettings {
    /// The brokers of a URL, without a login; with TLS, they use the files of `tls`.
    #[must_use]
    pub fn at(url: &KafkaUrl, tls: &KafkaTls) -> Self {
        Self {
            servers: url.servers.join(","),
            login: None,
            mechanism: Mechanism::default(),
            tls: url.is_tls.then(|| tls.client()),
        }
    }

    /// Checks the files of TLS.
    pub fn check(&self) -> Result<(), BadSetting> {
        self.tls
            .as_ref()
            .map_or(Ok(()), |tls| tls.config().map(|_| ()))
    }

    /// Connects to the first broker that answers. Reads the files of TLS, and that of the password.
    pub(crate) async fn connect(&self, client_id: &str) -> Result<Kafka, KafkaError> {
        let mut builder = Kafka::builder(&*self.servers)
            .client_id(client_id)
            .request_timeout(REQUEST_LIMIT)
            .connect_timeout(CONNECT_LIMIT)
            .allow_auto_create_topics(false);
        if let Some(security) = self.security()? {
            builder = builder.security(security);
        }
        builder.connect().await.map_err(|error| self.error(&error))
    }

    /// An error of these brokers, with its remedy if it is one of TLS.
    pub(crate) fn error(&self, error: &krafka::KrafkaError) -> KafkaError {
        let host = self.servers.split(':').next().unwrap_or_default();
        let explained = self.tls.as_ref().and_then(|tls| tls.explain(error, host));
        match explained {
            Some(text) => KafkaError::Denied(format!("Kafka at {}: {text}", self.servers)),
            None => KafkaError::of(&self.servers, error),
        }
    }

    fn security(&self) -> Result<Option<AuthConfig>, KafkaError> {
        let login = self.login.as_ref().map(|(user, password)| {
            let password = password.current();
            let password = password.expose();
            match self.mechanism {
                Mechanism::Plain => AuthConfig::sasl_plain(user, password),
                Mechanism::ScramSha256 => AuthConfig::sasl_scram_sha256(user, password),
                Mechanism::ScramSha512 => AuthConfig::sasl_scram_sha512(user, password),
            }
        });
        let Some(tls) = &self.tls else {
            return Ok(login);
        };
        let tls = tls_of(tls).map_err(|error| KafkaError::Denied(error.to_string()))?;
        Ok(Some(match login {
            Some(login) => login.with_tls(tls),
            None => AuthConfig::ssl(tls),
        }))
    }
}

/// The same files for the client library.
fn tls_of(tls: &ClientTls) -> Result<TlsConfig, BadSetting> {
    // Errors of the files are found here, in the words of all clients.
    tls.config()?;
    let text = |path: &PathBuf| path.to_string_lossy().into_owned();
    let mut config = TlsConfig::new().with_native_roots();
    if let Some(file) = &tls.ca_file {
        config = config.with_ca_cert(text(file));
    }
    if let (Some(cert), Some(key)) = (&tls.cert_file, &tls.key_file) {
        config = config.with_client_cert(text(cert), text(key));
    }
    if let Some(name) = &tls.server_name {
        config = config.with_sni_hostname(name);
    }
    Ok(config)
}
