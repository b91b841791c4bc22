//! A request and its answer.

use std::time::Duration;

use common::secret::Secret;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Client, Method, Response};
use serde_json::Value;

use super::SetupError;
use crate::influx::answer::{chain, words};

/// No answer that is waited for is larger; some list everything that there is.
const MAX_ANSWER: usize = 4 << 20;

/// Who is asked.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) http: Client,
    pub(super) url: String,
    pub(super) timeout: Duration,
}

/// What is asked for.
#[derive(Debug)]
pub(super) struct Ask {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    token: Option<Secret>,
    /// What must not be in the words of an error, beside the token.
    secrets: Vec<Secret>,
    accept: &'static str,
    body: Option<(&'static str, Vec<u8>)>,
}

impl Ask {
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

    pub(super) fn by(mut self, token: &Secret) -> Self {
        self.token = Some(token.clone());
        self
    }

    pub(super) fn hiding<'a>(mut self, secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
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

/// What was answered, whatever the status.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// For the words of errors: what was asked for.
    asked: String,
    secrets: Vec<Secret>,
    body: Vec<u8>,
}

impl Caller {
    /// Asks once.
    pub(super) async fn call(&self, ask: Ask) -> Result<Answer, SetupError> {
        let mut request = self
            .http
            .request(ask.method.clone(), format!("{}{}", self.url, ask.path))
            .query(&ask.query)
            .header(ACCEPT, ask.accept);
        if let Some(token) = &ask.token {
            request = request.header(AUTHORIZATION, format!("Token {}", token.expose()));
        }
        if let Some((kind, body)) = ask.body {
            request = request.header(CONTENT_TYPE, kind).body(body);
        }
        let mut response = request.send().await.map_err(|error| self.away(error))?;
        let body = self.body(&mut response).await?;
        Ok(Answer {
            status: response.status().as_u16(),
            asked: format!("{} {}", ask.method, ask.path),
            secrets: ask.secrets.into_iter().chain(ask.token).collect(),
            body,
        })
    }

    async fn body(&self, response: &mut Response) -> Result<Vec<u8>, SetupError> {
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| self.away(error))? {
            if body.len() + piece.len() > MAX_ANSWER {
                return Err(SetupError::Unexpected {
                    detail: format!("an answer of more than {MAX_ANSWER} bytes"),
                });
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    fn away(&self, error: reqwest::Error) -> SetupError {
        // Never sent, and never will be: a kept token that no header takes, for instance.
        if error.is_builder() {
            let detail = format!("cannot ask {}: {}", self.url, chain(&error.without_url()));
            return SetupError::Unexpected { detail };
        }
        let detail = if error.is_timeout() {
            format!("{} gave no answer within {:?}", self.url, self.timeout)
        } else {
            format!("{}: {}", self.url, chain(&error.without_url()))
        };
        SetupError::Away { detail }
    }
}

impl Answer {
    /// This answer if its status is one of these, else the error that it stands for.
    pub(super) fn expect(self, statuses: &[u16]) -> Result<Self, SetupError> {
        if statuses.contains(&self.status) {
            return Ok(self);
        }
        let (status, message) = (self.status, self.words());
        let detail = format!("{} was answered {status}: {message}", self.asked);
        Err(match status {
            401 => SetupError::Unauthorized { detail },
            // 408 and 499: the server lost the connection first. 429: a proxy's wish for less.
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
                "{} was answered {} with {what}: {}",
                self.asked,
                self.status,
                self.words()
            ),
        }
    }

    fn words(&self) -> String {
        words(&self.text(), &self.secrets)
    }
}
