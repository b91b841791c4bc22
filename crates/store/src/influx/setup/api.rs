//! A request to InfluxDB's HTTP API, and its response.

use std::sync::Arc;
use std::time::Duration;

use common::secret::Secret;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE};
use reqwest::{Method, Response};
use serde_json::Value;

use super::SetupError;
use crate::influx::answer::{chain, server_message};
use crate::influx::clients::Clients;

/// Limit of a response's body, in bytes. Some responses list all objects of the server.
const MAX_RESPONSE: usize = 4 << 20;

/// A client of one server's API.
#[derive(Debug, Clone)]
pub(super) struct ApiClient {
    pub(super) clients: Arc<Clients>,
    pub(super) url: String,
    pub(super) timeout: Duration,
}

/// A request, before it is sent.
#[derive(Debug)]
pub(super) struct ApiRequest {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    token: Option<Secret>,
    /// Secrets that must not appear in error messages, besides the token.
    secrets: Vec<Secret>,
    accept: &'static str,
    body: Option<(&'static str, Vec<u8>)>,
}

impl ApiRequest {
    pub(super) fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            query: Vec::new(),
            token: None,
            secrets: Vec::new(),
            accept: "application/json",
            body: None,
        }
    }

    pub(super) fn get(path: &str) -> Self {
        Self::new(Method::GET, path)
    }

    pub(super) fn with_token(mut self, token: &Secret) -> Self {
        self.token = Some(token.clone());
        self
    }

    pub(super) fn redacting<'a>(mut self, secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        self.secrets.extend(secrets.into_iter().cloned());
        self
    }

    pub(super) fn query<const N: usize>(mut self, pairs: [(&'static str, &str); N]) -> Self {
        let pairs = pairs.map(|(name, value)| (name, value.to_owned()));
        self.query.extend(pairs);
        self
    }

    pub(super) fn accept(mut self, kind: &'static str) -> Self {
        self.accept = kind;
        self
    }

    pub(super) fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string().into_bytes())
    }

    pub(super) fn body(mut self, kind: &'static str, body: Vec<u8>) -> Self {
        self.body = Some((kind, body));
        self
    }
}

/// A response with any status.
#[derive(Debug)]
pub(super) struct ApiResponse {
    pub(super) status: u16,
    /// The method and path of the request, for error messages.
    request: String,
    secrets: Vec<Secret>,
    date: Option<String>,
    body: Vec<u8>,
}

impl ApiClient {
    /// Sends the request once.
    pub(super) async fn send(&self, api_request: ApiRequest) -> Result<ApiResponse, SetupError> {
        let current = self.clients.current();
        let mut request = current
            .http
            .request(
                api_request.method.clone(),
                format!("{}{}", current.url, api_request.path),
            )
            .query(&api_request.query)
            .header(ACCEPT, api_request.accept);
        if let Some(token) = &api_request.token {
            request = request.header(AUTHORIZATION, format!("Token {}", token.expose()));
        }
        if let Some((kind, body)) = api_request.body {
            request = request.header(CONTENT_TYPE, kind).body(body);
        }
        let mut response = request
            .send()
            .await
            .map_err(|error| self.send_error(error))?;
        let body = self.body(&mut response).await?;
        let date = response.headers().get(DATE);
        let date = date.and_then(|date| date.to_str().ok()).map(str::to_owned);
        Ok(ApiResponse {
            status: response.status().as_u16(),
            request: format!("{} {}", api_request.method, api_request.path),
            secrets: api_request
                .secrets
                .into_iter()
                .chain(api_request.token)
                .collect(),
            date,
            body,
        })
    }

    async fn body(&self, response: &mut Response) -> Result<Vec<u8>, SetupError> {
        let mut body = Vec::new();
        while let Some(piece) = response
            .chunk()
            .await
            .map_err(|error| self.send_error(error))?
        {
            if body.len() + piece.len() > MAX_RESPONSE {
                return Err(SetupError::Unexpected {
                    detail: format!("a response of more than {MAX_RESPONSE} bytes"),
                });
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    fn send_error(&self, error: reqwest::Error) -> SetupError {
        // The request can't be built, for instance because of characters in a stored token.
        if error.is_builder() {
            let detail = format!(
                "cannot send a request to {}: {}",
                self.url,
                chain(&error.without_url())
            );
            return SetupError::Unexpected { detail };
        }
        let detail = if error.is_timeout() {
            format!("{} didn't respond within {:?}", self.url, self.timeout)
        } else {
            format!("{}: {}", self.url, self.clients.failure(error))
        };
        SetupError::Away { detail }
    }
}

impl ApiResponse {
    /// The response if it has one of these statuses, otherwise the error for its status.
    pub(super) fn expect(self, statuses: &[u16]) -> Result<Self, SetupError> {
        if statuses.contains(&self.status) {
            return Ok(self);
        }
        let (status, message) = (self.status, self.message());
        let detail = format!("{}: status {status}: {message}", self.request);
        Err(match status {
            401 => SetupError::Unauthorized { detail },
            // 408 and 499: the server lost the connection first. 429: a proxy limits requests.
            408 | 429 | 499 | 500.. => SetupError::Away { detail },
            400..500 => SetupError::Refused { status, message },
            _ => SetupError::Unexpected { detail },
        })
    }

    pub(super) fn json(&self) -> Result<Value, SetupError> {
        serde_json::from_slice(&self.body).map_err(|_| self.unexpected("not JSON"))
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(super) fn unexpected(&self, what: &str) -> SetupError {
        SetupError::Unexpected {
            detail: format!(
                "{}: status {} with {what}: {}",
                self.request,
                self.status,
                self.message()
            ),
        }
    }

    /// The header `Date`.
    pub(super) fn date(&self) -> Option<&str> {
        self.date.as_deref()
    }

    /// The server's error message, without secrets.
    pub(super) fn message(&self) -> String {
        server_message(&self.text(), &self.secrets)
    }
}
