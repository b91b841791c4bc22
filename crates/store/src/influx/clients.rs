//! The clients of a server, and the token.
//!
//! Rows go to `http://` through the `influxdb2` client. Its HTTP stack has no TLS that is maintained, so that
//! `https://` has another client, as queries and the set-up do (docs/adr/0017).

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use common::secret::Secret;
use common::tls::ClientTls;
use reqwest::Client;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use tokio::net::lookup_host;

use super::answer::chain;
use super::settings::checked_url;
use super::{BuildError, CONNECT_TIMEOUT, InfluxSettings, TCP_KEEPALIVE};

const USER_AGENT: &str = concat!("rigline/", env!("CARGO_PKG_VERSION"));

/// How a server is reached. The clients and the token are made again from their files when the server refused
/// them.
#[derive(Debug)]
pub(super) struct Clients {
    settings: InfluxSettings,
    tls: ClientTls,
    host: String,
    current: RwLock<Arc<Current>>,
}

/// The clients and the token that are in use.
#[derive(Debug)]
pub(super) struct Current {
    /// The client for everything but writes to `http://`.
    pub(super) http: Client,
    /// The server as `http` reaches it, without a slash at the end.
    pub(super) url: String,
    pub(super) token: Option<Secret>,
    /// The client for writes to `http://`.
    pub(super) writer: Option<influxdb2::Client>,
}

impl Clients {
    /// Makes the clients. They connect at the first request.
    pub(super) fn new(settings: &InfluxSettings) -> Result<Self, BuildError> {
        let host = checked_url(&settings.url)?.host_str().map(str::to_owned);
        let tls = settings.tls.client();
        let current = Current::new(settings, &tls)?;
        Ok(Self {
            settings: settings.clone(),
            tls,
            host: host.unwrap_or_default(),
            current: RwLock::new(Arc::new(current)),
        })
    }

    pub(super) fn current(&self) -> Arc<Current> {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Reads the files of the token and of TLS again, after the server refused what was read from them before.
    pub(super) fn renew(&self) {
        match Current::new(&self.settings, &self.tls) {
            Ok(current) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(current);
            }
            Err(error) => {
                tracing::warn!(%error, "cannot read the files of InfluxDB's settings again");
            }
        }
    }

    /// The message of an error without a response. The files of TLS are read again for the next connection.
    pub(super) fn failure(&self, error: reqwest::Error) -> String {
        let error = error.without_url();
        if error.is_connect() && self.settings.is_https() {
            self.renew();
        }
        self.tls
            .explain(&error, &self.host)
            .unwrap_or_else(|| chain(&error))
    }
}

impl Current {
    fn new(settings: &InfluxSettings, tls: &ClientTls) -> Result<Self, BuildError> {
        let mut url = checked_url(&settings.url)?;
        let token = settings.token.as_ref().map(Secret::current);
        let config = tls.config_if(settings.is_https())?;
        let mut builder = Client::builder()
            .tls_backend_preconfigured((*config).clone())
            .user_agent(USER_AGENT)
            .timeout(settings.timeout)
            .connect_timeout(settings.timeout.min(CONNECT_TIMEOUT))
            .tcp_keepalive(TCP_KEEPALIVE)
            // A token must not be sent to an address from a response or from the environment.
            .redirect(Policy::none())
            .no_proxy();
        let client_error = |error: String| BuildError::Client(error);
        let mut writer = None;
        if settings.is_https() {
            if let Some(name) = &tls.server_name {
                // The name of the URL is the one that the certificate has to be for.
                let host = url.host_str().unwrap_or_default().to_owned();
                builder = builder.dns_resolver(At(host));
                url.set_host(Some(name))
                    .map_err(|error| client_error(error.to_string()))?;
            }
        } else {
            // The client's builder panics at an invalid URL.
            writer = Some(writer_to(url.as_str(), settings, token.as_ref())?);
        }
        let http = builder
            .build()
            .map_err(|error| client_error(chain(&error)))?;
        Ok(Self {
            http,
            url: url.as_str().trim_end_matches('/').to_owned(),
            token,
            writer,
        })
    }
}

/// The client for writes to a URL without TLS.
fn writer_to(
    url: &str,
    settings: &InfluxSettings,
    token: Option<&Secret>,
) -> Result<influxdb2::Client, BuildError> {
    use reqwest_of_influxdb2::{ClientBuilder, redirect};
    let http = ClientBuilder::new()
        .user_agent(USER_AGENT)
        .timeout(settings.timeout)
        .connect_timeout(settings.timeout.min(CONNECT_TIMEOUT))
        .tcp_keepalive(TCP_KEEPALIVE)
        .redirect(redirect::Policy::none())
        .no_proxy()
        // Nothing of the HTTP/2 in this stack is used.
        .http1_only();
    let url = url.trim_end_matches('/');
    let token = token.map_or("", |token| token.expose());
    influxdb2::ClientBuilder::with_builder(http, url, settings.org.as_str(), token)
        .build()
        .map_err(|error| BuildError::Client(error.to_string()))
}

/// Resolves every name to the addresses of this host.
struct At(String);

impl Resolve for At {
    fn resolve(&self, _: Name) -> Resolving {
        let host = self.0.clone();
        Box::pin(async move {
            let host = host.trim_matches(['[', ']']);
            let found: Vec<SocketAddr> = lookup_host((host, 0)).await?.collect();
            let found: Addrs = Box::new(found.into_iter());
            Ok(found)
        })
    }
}
