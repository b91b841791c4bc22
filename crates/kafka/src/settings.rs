//! Where the brokers are, and who we are to them.

use std::path::PathBuf;
use std::time::Duration;

use common::secret::Secret;
use common::settings::{BadSetting, KafkaTls};
use common::tls::ClientTls;
use krafka::Kafka;
use krafka::auth::{AuthConfig, TlsConfig};
use model::pipeline::{At, KafkaUrl, KafkaUrlError, SaslMechanism, given};

use crate::error::KafkaError;

/// How long a request may take, and a connection attempt.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// The brokers of a cluster, and the login.
#[derive(Debug, Clone)]
pub struct KafkaSettings {
    /// The first brokers to ask: `host:port`, separated by commas.
    pub servers: String,
    /// User and password, where the brokers want a login.
    pub login: Option<(String, Secret)>,
    /// How the login proves the password.
    pub mechanism: SaslMechanism,
    /// TLS, if it is used.
    pub tls: Option<ClientTls>,
}

/// What a table of a pipeline file says about brokers.
#[derive(Debug, Clone, Copy)]
pub struct KafkaTable<'a> {
    /// Their URL.
    pub url: Option<&'a At<String>>,
    /// The user, if they want a login.
    pub user: Option<&'a At<String>>,
    /// The user's password.
    pub password: Option<&'a At<String>>,
    /// How the login proves it.
    pub mechanism: Option<&'a At<SaslMechanism>>,
}

impl KafkaSettings {
    /// The brokers of a table of a pipeline file; with TLS, they use the files of `tls`.
    pub fn of_table(table: KafkaTable<'_>, tls: &KafkaTls) -> Result<Self, BadSetting> {
        let url = given(table.url).unwrap_or_default();
        let brokers: KafkaUrl = url
            .parse()
            .map_err(|error: KafkaUrlError| BadSetting::new("url", url, &error.to_string()))?;
        let password = given(table.password).unwrap_or_default();
        Ok(Self {
            servers: brokers.servers.join(","),
            login: given(table.user).map(|user| (user.to_owned(), password.into())),
            mechanism: table.mechanism.map(|it| **it).unwrap_or_default(),
            tls: brokers.is_tls.then(|| tls.client()),
        })
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
                SaslMechanism::Plain => AuthConfig::sasl_plain(user, password),
                SaslMechanism::ScramSha256 => AuthConfig::sasl_scram_sha256(user, password),
                SaslMechanism::ScramSha512 => AuthConfig::sasl_scram_sha512(user, password),
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
