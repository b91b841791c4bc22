//! Who may send requests.

mod failures;
mod token;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::clock::Clock;
use common::secret::Secret;

use self::failures::Failures;
use self::token::Tokens;

pub use self::token::Scope;
use crate::problem::Problem;

/// The cookie that holds the token of a browser, in base64 since tokens may hold any characters.
pub const COOKIE: &str = "rigline_token";

/// Least bytes of a secret: a key of HS256 has at least the length of its hash (RFC 7518).
pub const MIN_JWT_SECRET: usize = 32;

/// The secrets of a server.
#[derive(Debug, Clone)]
pub struct AccessSettings {
    /// What the names of the settings begin with, for instance `API`.
    pub prefix: &'static str,
    /// How a client proves that it may send requests, for one that doesn't.
    pub how: &'static str,
    /// A token that allows everything.
    pub token: Option<Secret>,
    /// What signs JSON Web Tokens.
    pub jwt_secret: Option<Secret>,
    /// Whether clients connect with TLS.
    pub is_https: bool,
}

/// What requests need. Without token and secret, everyone may send them, but pages of other sites.
#[derive(Clone)]
pub struct Access {
    accepted: Arc<RwLock<Accepted>>,
    failures: Failures,
    clock: Clock,
    prefix: &'static str,
    how: &'static str,
    is_https: bool,
}

/// The secrets as they were last read, and the tokens that they make valid.
struct Accepted {
    token: Option<Secret>,
    jwt_secret: Option<Secret>,
    tokens: Tokens,
}

impl Accepted {
    fn new(token: Option<Secret>, jwt_secret: Option<Secret>) -> Self {
        Self {
            tokens: Tokens::new(token.as_ref(), jwt_secret.as_ref()),
            token,
            jwt_secret,
        }
    }
}

impl Access {
    /// Accepts what these secrets make valid.
    #[must_use]
    pub fn new(settings: AccessSettings, clock: Clock) -> Self {
        let accepted = Accepted::new(settings.token, settings.jwt_secret);
        Self {
            accepted: Arc::new(RwLock::new(accepted)),
            failures: Failures::default(),
            clock,
            prefix: settings.prefix,
            how: settings.how,
            is_https: settings.is_https,
        }
    }

    /// Reads the files of the secrets again. Those before are no longer accepted.
    pub fn reload(&self) {
        let before = self.accepted();
        let token = before.token.as_ref().map(Secret::current);
        let mut jwt_secret = before.jwt_secret.as_ref().map(Secret::current);
        if jwt_secret
            .as_ref()
            .is_some_and(|secret| secret.expose().len() < MIN_JWT_SECRET)
        {
            tracing::error!(
                "{}_JWT_SECRET_FILE holds a secret that is too short, the tokens are as before",
                self.prefix
            );
            jwt_secret.clone_from(&before.jwt_secret);
        }
        drop(before);
        let accepted = Accepted::new(token, jwt_secret);
        *self
            .accepted
            .write()
            .unwrap_or_else(PoisonError::into_inner) = accepted;
    }

    fn accepted(&self) -> RwLockReadGuard<'_, Accepted> {
        self.accepted.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether browsers may send the cookie over TLS only.
    #[must_use]
    pub const fn is_https(&self) -> bool {
        self.is_https
    }

    /// Checks a token from an address. Wrong tokens count towards the limit of the address.
    pub fn check_token(&self, token: &str, from: Option<IpAddr>) -> Result<Scope, Problem> {
        if let Some(wait) = from.and_then(|from| self.failures.wait(from)) {
            return Err(Problem::too_many_failures(wait));
        }
        let scope = self.accepted().tokens.scope_of(token, self.clock.now());
        scope.ok_or_else(|| {
            if let Some(from) = from {
                self.failures.add(from);
            }
            self.unauthorized()
        })
    }

    fn unauthorized(&self) -> Problem {
        Problem::new(StatusCode::UNAUTHORIZED, self.how)
    }

    /// Whether requests need a token.
    #[must_use]
    pub fn needs_token(&self) -> bool {
        !self.accepted().tokens.is_empty()
    }

    /// Whether the request may be carried out.
    fn allow(&self, request: &Request) -> Result<(), Problem> {
        let headers = request.headers();
        if !self.needs_token() && may_be_rebound(headers) {
            let detail = format!(
                "without a token, requests are answered only for localhost, an IP address or a name without a dot: \
                 use one of these, or set {}_TOKEN",
                self.prefix
            );
            return Err(Problem::new(StatusCode::FORBIDDEN, detail));
        }
        let changes = !matches!(
            *request.method(),
            Method::GET | Method::HEAD | Method::OPTIONS
        );
        if changes && is_from_another_site(headers) {
            let detail =
                "a page of another site can't change anything here: Origin has to be this server's";
            return Err(Problem::new(StatusCode::FORBIDDEN, detail));
        }
        if !self.needs_token() {
            return Ok(());
        }
        let token = bearer(headers).or_else(|| cookie(headers));
        let token = token.ok_or_else(|| self.unauthorized())?;
        let scope = self.check_token(&token, address_of(request))?;
        if changes && scope < Scope::Operate {
            let detail =
                "this token has the scope read; changing something needs the scope operate";
            return Err(Problem::new(StatusCode::FORBIDDEN, detail));
        }
        Ok(())
    }
}

/// Whether the request may be that of a page of another site whose name was made to lead here (DNS rebinding). Such a
/// name is a public one, so it has a dot.
fn may_be_rebound(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else {
        return false;
    };
    authority(host).is_none_or(|authority| {
        let host = authority.host().trim_matches(['[', ']']);
        host.contains('.') && host.parse::<IpAddr>().is_err()
    })
}

fn authority(value: &HeaderValue) -> Option<Authority> {
    value.to_str().ok()?.parse().ok()
}

/// Whether a browser sends the request for a page of another site. Programs don't send these headers.
#[must_use]
pub fn is_from_another_site(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        let site = headers.get("sec-fetch-site");
        return site.is_some_and(|site| site != "same-origin" && site != "none");
    };
    let origin = origin.to_str().ok().and_then(|origin| {
        let (_, authority) = origin.split_once("://")?;
        authority.parse::<Authority>().ok()
    });
    let host = headers.get(header::HOST).and_then(authority);
    origin.is_none() || origin != host
}

/// The address that a request comes from.
#[must_use]
pub fn address_of(request: &Request) -> Option<IpAddr> {
    let from = request.extensions().get::<ConnectInfo<SocketAddr>>();
    from.map(|ConnectInfo(address)| address.ip())
}

fn bearer(headers: &HeaderMap) -> Option<String> {
    let given = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = given.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim().to_owned())
}

fn cookie(headers: &HeaderMap) -> Option<String> {
    let cookies = headers.get_all(header::COOKIE).into_iter();
    let mut pairs = cookies
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'));
    let value = pairs.find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == COOKIE).then_some(value)
    })?;
    String::from_utf8(URL_SAFE_NO_PAD.decode(value).ok()?).ok()
}

/// Answers requests that aren't allowed with a problem document.
pub async fn check(State(access): State<Access>, request: Request, next: Next) -> Response {
    match access.allow(&request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}
