//! Requests to the server of a stream.

use std::time::Duration;

use common::settings::BadSetting;
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use tokio::time::timeout;

use super::HttpStreamSettings;
use super::line::LineError;

/// Time to connect in.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// The most bytes that are read of the body of an error.
const MAX_PROBLEM: usize = 8 << 10;

/// Why a stream can't be read on.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamError {
    #[error(transparent)]
    Setting(#[from] BadSetting),
    #[error("{0}")]
    Broken(String),
    #[error("the server answers {status}: {detail}")]
    Refused { status: u16, detail: String },
    /// The position is of another file than the one that is there.
    #[error("the file behind it has been replaced")]
    Replaced,
    #[error("nothing has come for {0:?}")]
    Silent(Duration),
    #[error(transparent)]
    Line(#[from] LineError),
}

/// An answer with the lines of a stream.
#[derive(Debug)]
pub(super) struct Body<'a> {
    settings: &'a HttpStreamSettings,
    response: Response,
}

impl<'a> Body<'a> {
    /// Asks for the lines after a position; an empty one is the beginning. Files of TLS are read each time.
    pub(super) async fn open(
        settings: &'a HttpStreamSettings,
        after: &str,
    ) -> Result<Self, StreamError> {
        let mut url = settings.url.clone();
        url.query_pairs_mut().append_pair("follow", "true");
        if !after.is_empty() {
            url.query_pairs_mut().append_pair("after", after);
        }
        let config = settings.tls.config_if(url.scheme() == "https")?;
        let client = Client::builder()
            .tls_backend_preconfigured((*config).clone())
            .user_agent(concat!("rigline/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_LIMIT)
            // The token goes to the address in the pipeline file, and to no other.
            .redirect(Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| settings.broken(error))?;
        let mut request = client.get(url);
        if let Some(token) = &settings.token {
            request = request.bearer_auth(token.expose());
        } else if let Some((user, password)) = &settings.login {
            request = request.basic_auth(user, Some(password.expose()));
        }
        let response = timeout(settings.silence, request.send()).await;
        let response = response
            .map_err(|_| StreamError::Silent(settings.silence))?
            .map_err(|error| settings.broken(error))?;
        let mut body = Self { settings, response };
        match body.response.status() {
            StatusCode::OK => Ok(body),
            StatusCode::GONE if !after.is_empty() => Err(StreamError::Replaced),
            status => Err(StreamError::Refused {
                status: status.as_u16(),
                detail: body.problem().await,
            }),
        }
    }

    /// The next bytes; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<bytes::Bytes>, StreamError> {
        let next = timeout(self.settings.silence, self.response.chunk()).await;
        next.map_err(|_| StreamError::Silent(self.settings.silence))?
            .map_err(|error| self.settings.broken(error))
    }

    /// What an answer with another status says.
    async fn problem(&mut self) -> String {
        #[derive(Deserialize)]
        struct Problem {
            detail: String,
        }
        let mut text = Vec::new();
        while text.len() < MAX_PROBLEM
            && let Ok(Some(piece)) = self.next().await
        {
            text.extend_from_slice(&piece);
        }
        let problem = serde_json::from_slice(&text);
        problem.map_or_else(
            |_| "it says nothing that can be shown".to_owned(),
            |problem: Problem| problem.detail,
        )
    }
}

impl HttpStreamSettings {
    /// An error with its innermost cause, which says most, or with its remedy if it is one of TLS.
    fn broken(&self, error: reqwest::Error) -> StreamError {
        let error = error.without_url();
        let host = self.url.host_str().unwrap_or_default();
        let explained = self.tls.explain(&error, host);
        StreamError::Broken(explained.unwrap_or_else(|| {
            let mut cause: &dyn std::error::Error = &error;
            while let Some(source) = cause.source() {
                cause = source;
            }
            cause.to_string()
        }))
    }
}
