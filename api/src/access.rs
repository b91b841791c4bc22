//! Who may use the API.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::problem::Problem;
use crate::settings::ApiSettings;

/// What requests need.
#[derive(Clone)]
pub(crate) struct Access {
    /// Of equal length for all tokens, so that comparing tells nothing about them. `None` if none is needed.
    digest: Option<[u8; 32]>,
    /// Only programs of this machine may ask. A page of another site may make a browser send requests here under
    /// its own host name (DNS rebinding), so the name has to be one of this machine.
    is_local: bool,
}

impl Access {
    pub(crate) fn new(settings: &ApiSettings) -> Self {
        let token = settings.api_token.as_ref();
        let is_open = token.is_some() || settings.api_allow_open;
        Self {
            digest: token.map(|token| Sha256::digest(token.expose()).into()),
            is_local: !is_open && settings.api_addr.ip().is_loopback(),
        }
    }

    /// Whether the request is for a name of this machine, where that matters.
    fn is_for_this_machine(&self, request: &Request) -> bool {
        let host = request.headers().get(header::HOST);
        let Some(host) = host.filter(|_| self.is_local) else {
            return true;
        };
        let authority = host
            .to_str()
            .ok()
            .and_then(|host| host.parse::<Authority>().ok());
        authority.is_some_and(|authority| {
            let host = authority.host().trim_matches(['[', ']']);
            host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
        })
    }

    fn allows(&self, request: &Request) -> bool {
        let Some(expected) = self.digest else {
            return true;
        };
        let given = request.headers().get(header::AUTHORIZATION);
        let given = given.and_then(|value| value.to_str().ok());
        let token = given.and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token)
        });
        token.is_some_and(|token| {
            let given: [u8; 32] = Sha256::digest(token.trim()).into();
            given.ct_eq(&expected).into()
        })
    }
}

/// Answers 401 to requests without the token, and 403 to those for the name of another machine.
pub(crate) async fn check(State(access): State<Access>, request: Request, next: Next) -> Response {
    if !access.is_for_this_machine(&request) {
        let detail = "the API is open to this machine only: ask for localhost or 127.0.0.1, or set API_TOKEN or \
                      API_ALLOW_OPEN";
        return Problem::new(StatusCode::FORBIDDEN, detail).into_response();
    }
    if access.allows(&request) {
        next.run(request).await
    } else {
        Problem::unauthorized().into_response()
    }
}
