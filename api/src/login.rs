//! Logs browsers in: they keep the token in a cookie, since an event stream can't send headers.

use axum::extract::{FromRequest, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_server::Access;
use http_server::access::{self, COOKIE};
use serde::Deserialize;

use crate::extract::Body;
use crate::problem::Problem;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    token: String,
}

/// Checks a token and answers with a cookie that holds it. The cookie ends with the browser's session.
pub(crate) async fn log_in(
    State(access): State<Access>,
    request: Request,
) -> Result<Response, Problem> {
    refuse_other_sites(&request)?;
    let from = access::address_of(&request);
    let Body(Login { token }) = Body::from_request(request, &()).await?;
    if access.needs_token() {
        access.check_token(&token, from)?;
    }
    let value = URL_SAFE_NO_PAD.encode(token.trim());
    Ok(cookie(&access, &format!("{COOKIE}={value}")))
}

/// Removes the cookie.
pub(crate) async fn log_out(
    State(access): State<Access>,
    request: Request,
) -> Result<Response, Problem> {
    refuse_other_sites(&request)?;
    Ok(cookie(&access, &format!("{COOKIE}=; Max-Age=0")))
}

fn cookie(access: &Access, pair: &str) -> Response {
    let secure = if access.is_https() { "; Secure" } else { "" };
    let value = format!("{pair}; Path=/; HttpOnly; SameSite=Strict{secure}");
    (StatusCode::NO_CONTENT, [(header::SET_COOKIE, value)]).into_response()
}

/// A page of another site could otherwise log a browser in with a token of its own.
fn refuse_other_sites(request: &Request) -> Result<(), Problem> {
    if access::is_from_another_site(request.headers()) {
        let detail = "a page of another site can't log in here";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    Ok(())
}
