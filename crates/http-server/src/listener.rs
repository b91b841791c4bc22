//! The listener of a server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use common::harness::Process;
use common::settings::BadSetting;
use common::tls::{ClientCertificates, ServerTls};
use common::{http, listen};
use tokio::net::TcpListener;

use crate::tls::TlsListener;

/// How long a stop waits for responses that have begun.
const LAST_RESPONSES: Duration = Duration::from_millis(500);

/// An opened listener.
#[derive(Debug)]
pub struct HttpListener {
    listener: TcpListener,
    addr: SocketAddr,
    tls: Option<ServerTls>,
}

impl HttpListener {
    /// Opens the listener. If `is_default` and the port is in use, it opens any free port instead. `name` is what the
    /// log calls it, `setting` the variable of its address.
    pub async fn bind(
        name: &'static str,
        setting: &str,
        addr: SocketAddr,
        is_default: bool,
        tls: Option<ServerTls>,
    ) -> anyhow::Result<Self> {
        let listener = listen::bind(name, setting, addr, is_default).await?;
        let addr = listener.local_addr()?;
        Ok(Self {
            listener,
            addr,
            tls,
        })
    }

    /// The address that clients connect to.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The address as clients write it, with the scheme.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.addr)
    }

    /// Answers requests until the process stops. `at_stop` is called then, to end responses that have no end of their
    /// own. The certificate is read again at SIGHUP.
    pub async fn serve(self, app: Router, process: &Process, at_stop: impl FnOnce() + Send) {
        let stop = process.stop.clone();
        let serve = async {
            match self.tls {
                None => http::serve(self.listener, app, stop.clone()).await,
                Some(tls) => {
                    let reload = process.reload.clone();
                    let listener = TlsListener::start(self.listener, self.addr, tls, reload);
                    http::serve(listener, app, stop.clone()).await;
                }
            }
        };
        // A client that reads slowly doesn't hold up the process.
        let limit = async {
            stop.cancelled().await;
            at_stop();
            tokio::time::sleep(LAST_RESPONSES).await;
        };
        tokio::select! {
            () = serve => {}
            () = limit => {}
        }
    }
}

/// The certificate of a listener, if there is one. `settings` are the prefix of its settings, and those of the
/// certificate and of its key: `API_TLS`, `API_TLS_CERT_FILE`, `API_TLS_KEY_FILE`.
pub fn certificate(
    [prefix, cert_setting, key_setting]: [&'static str; 3],
    cert: Option<&PathBuf>,
    key: Option<&PathBuf>,
) -> Result<Option<ServerTls>, BadSetting> {
    match (given(cert), given(key)) {
        (None, None) => Ok(None),
        (Some(cert), Some(key)) => {
            ServerTls::load(prefix, cert, key, ClientCertificates::Off).map(Some)
        }
        (Some(_), None) => {
            let accepted = format!("the key of {cert_setting}");
            Err(BadSetting::new(key_setting, "", &accepted))
        }
        (None, Some(_)) => {
            let accepted = format!("the certificate of {key_setting}");
            Err(BadSetting::new(cert_setting, "", &accepted))
        }
    }
}

/// A path that isn't empty.
fn given(path: Option<&PathBuf>) -> Option<PathBuf> {
    path.cloned().filter(|path| !path.as_os_str().is_empty())
}
