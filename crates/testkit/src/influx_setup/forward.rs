//! Handing rows on to a VictoriaMetrics.

use std::io;
use std::net::ToSocketAddrs;

use super::rows::{admit, may_write};
use super::state::State;
use crate::http::{Answer, exchange};
use crate::influx::http::Request;
use crate::influx::reply::Reply;

/// What of a request is handed on beside its body.
const HEADERS: [&str; 2] = ["content-encoding", "content-type"];

/// A VictoriaMetrics that gets the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    /// Host and port.
    address: String,
}

impl Forward {
    /// By its URL: `http://`, a host and a port.
    #[must_use]
    pub fn to(url: &str) -> Option<Self> {
        let address = url.strip_prefix("http://")?.trim_end_matches('/');
        let (host, port) = address.rsplit_once(':')?;
        let is_usable = !host.is_empty() && port.parse::<u16>().is_ok();
        is_usable.then(|| Self {
            address: address.to_owned(),
        })
    }

    /// The answer to what isn't answered here: writes that are let in, queries of VictoriaMetrics' own,
    /// and an illness of its.
    pub(super) fn answer(&self, request: &Request, state: impl FnOnce() -> State) -> Option<Reply> {
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/health") => self.ill(),
            ("POST", "/api/v2/write") if !request.body.is_empty() => {
                let state = state();
                let let_in =
                    admit(&state, request).and_then(|token| may_write(&state, request, &token));
                Some(match let_in {
                    Ok(_) => self.hand_on(request),
                    Err(refusal) => refusal,
                })
            }
            ("GET", path) if path.starts_with("/api/v1/") => Some(self.hand_on(request)),
            _ => None,
        }
    }

    fn ill(&self) -> Option<Reply> {
        if self
            .ask("GET", "/health", &[], b"")
            .is_ok_and(|answer| answer.status == 200)
        {
            return None;
        }
        let body =
            r#"{"name":"influxdb", "message":"the store is away", "status":"fail", "checks":[]}"#;
        Some(Reply::status(503, body).own())
    }

    fn hand_on(&self, request: &Request) -> Reply {
        let target = if request.query.is_empty() {
            request.path.clone()
        } else {
            format!("{}?{}", request.path, request.query)
        };
        let headers: Vec<_> = HEADERS
            .iter()
            .filter_map(|name| Some((*name, request.header(name)?)))
            .collect();
        match self.ask(&request.method, &target, &headers, &request.body) {
            Ok(answer) => {
                let reply = Reply::status(answer.status, answer.body).own();
                match answer.kind {
                    Some(kind) => reply.header("Content-Type", &kind),
                    None => reply,
                }
            }
            Err(error) => Reply::error(503, "unavailable", &error.to_string()),
        }
    }

    fn ask(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Answer> {
        let nowhere = || io::Error::other(format!("{} has no address", self.address));
        let address = self.address.to_socket_addrs()?.next().ok_or_else(nowhere)?;
        exchange(address, method, target, headers, body)
    }
}
