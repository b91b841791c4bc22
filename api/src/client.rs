//! Reads from the HTTP API of another process.

use std::time::Duration;

use common::secret::Secret;
use common::settings::BadSetting;
use common::tls::ClientTls;
use reqwest::{Client, Response, StatusCode, Url};
use serde::Deserialize;

use crate::routes::watch::WatchLine;

/// Time to connect in.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// The longest line: the largest payload that is shown, with all its characters escaped.
const MAX_LINE: usize = 1 << 20;

/// Why an API can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A file of TLS can't be used.
    #[error(transparent)]
    Setting(#[from] BadSetting),
    /// The URL isn't one.
    #[error("{url} is no address of an HTTP API, such as http://127.0.0.1:8050")]
    Url {
        /// What was given.
        url: String,
    },
    /// It doesn't answer, isn't trusted, or the connection broke; with the remedy if it is one of TLS.
    #[error("the HTTP API at {url} can't be read: {error}")]
    Broken {
        /// Its address.
        url: String,
        /// The cause.
        error: String,
    },
    /// It answers with an error.
    #[error("the HTTP API at {url} answers {status}: {detail}")]
    Refused {
        /// Its address.
        url: String,
        /// The status.
        status: u16,
        /// What it says.
        detail: String,
    },
}

/// The messages that an ingester receives, as they come.
#[derive(Debug)]
pub struct MessageLines {
    url: String,
    response: Response,
    /// What was read and isn't returned yet.
    buffer: Vec<u8>,
}

impl MessageLines {
    /// Starts to watch the messages of a pipeline of the process whose API has this URL. `tls` says what is trusted
    /// at an https one.
    pub async fn open(
        url: &str,
        pipeline: &str,
        token: Option<&Secret>,
        tls: &ClientTls,
    ) -> Result<Self, ClientError> {
        let wrong = || ClientError::Url {
            url: url.to_owned(),
        };
        let mut address = Url::parse(url).map_err(|_| wrong())?;
        address
            .path_segments_mut()
            .map_err(|()| wrong())?
            .pop_if_empty()
            .extend(["api", "v1", "pipelines", pipeline, "messages"]);
        let host = address.host_str().unwrap_or_default().to_owned();
        let broken = |error: reqwest::Error| ClientError::Broken {
            url: url.to_owned(),
            error: tls.explain(&error, &host).unwrap_or_else(|| cause(&error)),
        };
        let config = tls.config_if(address.scheme() == "https")?;
        let client = Client::builder()
            .tls_backend_preconfigured((*config).clone())
            .connect_timeout(CONNECT_LIMIT)
            .no_proxy()
            .build()
            .map_err(broken)?;
        let mut request = client.get(address);
        if let Some(token) = token {
            request = request.bearer_auth(token.expose());
        }
        let response = request.send().await.map_err(broken)?;
        if response.status() != StatusCode::OK {
            return Err(refused(url, response).await);
        }
        Ok(Self {
            url: url.to_owned(),
            response,
            buffer: Vec::new(),
        })
    }

    /// Waits for the next line; `None` once the process has ended.
    pub async fn next(&mut self) -> Result<Option<WatchLine>, ClientError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let line = serde_json::from_slice(&line).map_err(|error| self.broken(&error))?;
                return Ok(Some(line));
            }
            if self.buffer.len() > MAX_LINE {
                return Err(self.broken(&"a line is too long"));
            }
            match self.response.chunk().await {
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk),
                Ok(None) => return Ok(None),
                Err(error) => return Err(self.broken(&cause(&error))),
            }
        }
    }

    fn broken(&self, error: &dyn std::fmt::Display) -> ClientError {
        ClientError::Broken {
            url: self.url.clone(),
            error: error.to_string(),
        }
    }
}

/// What an answer with another status means.
async fn refused(url: &str, response: Response) -> ClientError {
    #[derive(Deserialize)]
    struct Problem {
        detail: String,
    }
    let status = response.status().as_u16();
    let body = response.bytes().await.unwrap_or_default();
    let detail = serde_json::from_slice(&body).map_or_else(
        |_| "it isn't the API of Rigline".to_owned(),
        |problem: Problem| problem.detail,
    );
    ClientError::Refused {
        url: url.to_owned(),
        status,
        detail,
    }
}

/// The innermost cause, which says more than the error itself.
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
