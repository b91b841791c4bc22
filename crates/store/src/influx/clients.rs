//! The clients of a server, and the token.
//!
//! Rows go to `http://` through the `influxdb2` client, if the program is built with it. Its HTTP stack has no TLS that
//! is maintained, so that `https://` has another client, as queries and the set-up do (docs/adr/0017).

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use common::secret::Secret;
use common::tls::ClientTls;
use reqwest::Client;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use tokio::net::lookup_host;

use super::answer::chain;
#[cfg(feature = "influxdb2")]
use super::plain;
use super::settings::checked_url;
use super::{BuildError, CONNECT_TIMEOUT, InfluxSettings, TCP_KEEPALIVE};

pub(super) const USER_AGENT: &str = concat!("rigline/", env!("CARGO_PKG_VERSION"));

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
    /// The client for everything that `writer` isn't for.
    pub(super) http: Client,
    /// The server as `http` reaches it, without a slash at the end.
    pub(super) url: String,
    pub(super) token: Option<Secret>,
    /// The client for writes to `http://`.
    #[cfg(feature = "influxdb2")]
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
        if settings.is_https()
            && let Some(name) = &tls.server_name
        {
            // The name of the URL is the one that the certificate has to be for.
            let host = url.host_str().unwrap_or_default().to_owned();
            builder = builder.dns_resolver(At(host));
            url.set_host(Some(name))
                .map_err(|error| client_error(error.to_string()))?;
        }
        let http = builder
            .build()
            .map_err(|error| client_error(chain(&error)))?;
        Ok(Self {
            http,
            url: url.as_str().trim_end_matches('/').to_owned(),
            #[cfg(feature = "influxdb2")]
            writer: if settings.is_https() {
                None
            } else {
                Some(plain::client(url.as_str(), settings, token.as_ref())?)
            },
            token,
        })
    }
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
