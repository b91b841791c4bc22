//! Sends queries and reads the responses as they arrive.

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use reqwest::{RequestBuilder, Response, StatusCode};

use super::query::{Parameters, Script, request};
use super::tables::{Collect, TableError, Tables};
use crate::ReadError;
use crate::influx::answer::Target;
use crate::influx::clients::Clients;

/// How many times longer than the time limit for a piece of it a whole response may take.
const PIECES: u32 = 10;
/// Limit of an error's body, in bytes.
const MAX_ERROR: usize = 64 << 10;

/// A client for queries.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) clients: Clients,
    pub(super) target: Target,
}

impl Server {
    /// Runs a script and hands over the points of its response. The time limit is for the server's silence, since
    /// all series of a large store take longer. The server stops the query if this call is dropped.
    pub(super) async fn run(
        &self,
        script: Script,
        parameters: Parameters,
        collect: &mut impl Collect,
    ) -> Result<(), ReadError> {
        let body = request(script, &parameters.string("p_bucket", &self.target.bucket));
        let current = self.clients.current();
        let mut query = current
            .http
            .post(format!("{}/api/v2/query", current.url))
            .query(&[("org", &self.target.org)])
            .header(ACCEPT, "application/csv")
            .header(CONTENT_TYPE, "application/json")
            .body(body.to_string())
            .timeout(self.target.timeout.saturating_mul(PIECES));
        if let Some(token) = &current.token {
            query = query.header(AUTHORIZATION, format!("Token {}", token.expose()));
        }
        let mut response = self.send(query).await?;
        let status = response.status();
        if status != StatusCode::OK {
            let body = self.error_body(&mut response).await;
            let refused = self.refusal(status, &body);
            if matches!(refused, ReadError::Denied { .. }) {
                self.clients.renew();
            }
            return Err(refused);
        }
        let mut tables = Tables::default();
        while let Some(piece) = self.piece(&mut response).await? {
            tables
                .push(piece.as_ref(), collect)
                .map_err(|error| self.table_error(error))?;
        }
        tables.finish().map_err(|error| self.table_error(error))
    }

    async fn send(&self, query: RequestBuilder) -> Result<Response, ReadError> {
        let sent = tokio::time::timeout(self.target.timeout, query.send()).await;
        sent.map_err(|_| self.silent())?
            .map_err(|error| self.broken(error))
    }

    async fn piece(&self, response: &mut Response) -> Result<Option<impl AsRef<[u8]>>, ReadError> {
        let piece = tokio::time::timeout(self.target.timeout, response.chunk()).await;
        piece
            .map_err(|_| self.silent())?
            .map_err(|error| self.broken(error))
    }

    /// The body of an error, as far as it comes within the time limit.
    async fn error_body(&self, response: &mut Response) -> String {
        let mut body = Vec::new();
        let read = async {
            while let Ok(Some(piece)) = response.chunk().await
                && body.len() < MAX_ERROR
            {
                body.extend_from_slice(&piece);
            }
        };
        // The status says enough.
        let _ = tokio::time::timeout(self.target.timeout, read).await;
        String::from_utf8_lossy(&body).into_owned()
    }

    fn silent(&self) -> ReadError {
        ReadError::Unavailable {
            detail: self.target.silent(),
        }
    }

    fn broken(&self, error: reqwest::Error) -> ReadError {
        if error.is_timeout() {
            return self.silent();
        }
        ReadError::Unavailable {
            detail: format!("{}: {}", self.target.url, self.clients.failure(error)),
        }
    }

    fn table_error(&self, error: TableError) -> ReadError {
        let detail = match error {
            TableError::Collect(error) => return error,
            TableError::Server(message) => {
                let message = self.target.message(&message);
                format!("{} ended a query: {message}", self.target.url)
            }
            TableError::Malformed(what) => {
                format!(
                    "{} sent a response that can't be read: {what}",
                    self.target.url
                )
            }
        };
        ReadError::Unavailable { detail }
    }

    /// The error of a response with this status.
    fn refusal(&self, status: StatusCode, body: &str) -> ReadError {
        let mut detail = format!("{} answered {status}", self.target.url);
        let message = self.target.message(body);
        if !message.is_empty() {
            detail = format!("{detail}: {message}");
        }
        // The organisation of a request is looked up before its query is read.
        let is_unknown_org =
            message.contains("organization name") && message.ends_with("not found");
        match status.as_u16() {
            code @ (401 | 403 | 404) => self.denied(code, &detail),
            400 if is_unknown_org => self.denied(404, &detail),
            300..=399 => ReadError::Unavailable {
                detail: format!(
                    "{detail}; redirects aren't followed, set INFLUX_URL to the server itself"
                ),
            },
            // 408 and 499: the server lost the connection first. 429: a proxy or the server limits requests.
            408 | 429 | 499 | 200..=299 | 500.. => ReadError::Unavailable { detail },
            _ => ReadError::BadRequest { detail },
        }
    }

    fn denied(&self, code: u16, detail: &str) -> ReadError {
        ReadError::Denied {
            detail: format!("{}; {detail}", self.remedy(code)),
        }
    }

    fn remedy(&self, code: u16) -> String {
        let Target {
            org, bucket, token, ..
        } = &self.target;
        match code {
            401 if token.is_none() => {
                format!("set INFLUX_TOKEN to a token that may read bucket {bucket:?}")
            }
            401 => format!("check INFLUX_TOKEN: it has to be a token of organisation {org:?}"),
            403 => format!("check INFLUX_TOKEN: it must be active and may read {bucket:?}"),
            _ => format!(
                "check INFLUX_BUCKET ({bucket:?}) and INFLUX_ORG ({org:?}): they have to exist, and \
                 INFLUX_TOKEN has to be one that may read the bucket"
            ),
        }
    }
}
