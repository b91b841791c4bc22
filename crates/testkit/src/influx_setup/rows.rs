//! Who is let in to write and to read.

use super::answers::{Answered, body, not_found, text, unauthorized};
use super::state::{Bucket, State, Token};
use crate::influx::http::Request;
use crate::influx::reply::Reply;

/// The token that a request comes with.
pub(super) fn admit(state: &State, request: &Request) -> Result<Token, Reply> {
    let given = request
        .header("authorization")
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| matches!(*scheme, "Token" | "Bearer"));
    let token = given.and_then(|(_, token)| state.token(token));
    token
        .cloned()
        .ok_or_else(|| unauthorized("unauthorized access"))
}

pub(super) fn write(state: &mut State, request: &Request, token: &Token) -> Answered {
    let bucket = may_write(state, request, token)?;
    let text = String::from_utf8_lossy(&request.body);
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    state
        .lines
        .extend(lines.map(|line| format!("{bucket}: {line}")));
    Ok(Reply::status(204, "").own())
}

/// The name of the bucket that a write is let in to.
pub(super) fn may_write(state: &State, request: &Request, token: &Token) -> Result<String, Reply> {
    let org = organisation_of(state, request)?;
    let name = request.parameter("bucket");
    let Some(name) = name else {
        return Err(not_found("bucket not found"));
    };
    let is_it = |bucket: &&Bucket| bucket.org == org && (bucket.name == name || bucket.id == name);
    let Some(bucket) = state.buckets.iter().find(is_it) else {
        return Err(not_found(&format!("bucket \"{name}\" not found")));
    };
    if token.is_active && token.may("write", &bucket.id) {
        return Ok(bucket.name.clone());
    }
    Err(Reply::error(
        403,
        "forbidden",
        "insufficient permissions for write",
    ))
}

pub(super) fn query(state: &State, request: &Request, token: &Token) -> Answered {
    let org = organisation_of(state, request)?;
    let flux = match request.header("content-type") {
        Some("application/vnd.flux") => String::from_utf8_lossy(&request.body).into_owned(),
        _ => text(&body(request)?, "query"),
    };
    let named = flux
        .split("bucket: \"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let name = named.unwrap_or_default();
    let is_it = |bucket: &&Bucket| bucket.org == org && bucket.name == name;
    let readable = |bucket: &&Bucket| token.is_active && token.may("read", &bucket.id);
    match state.buckets.iter().find(is_it).filter(readable) {
        Some(_) => Ok(Reply::status(200, "\r\n")
            .own()
            .header("Content-Type", "text/csv; charset=utf-8")),
        None => Err(not_found(&format!(
            "failed to initialize execute state: could not find bucket \"{name}\""
        ))),
    }
}

/// The id of the organisation that a request is about.
fn organisation_of(state: &State, request: &Request) -> Result<String, Reply> {
    let Some(given) = request
        .parameter("org")
        .or_else(|| request.parameter("orgID"))
    else {
        return Err(Reply::error(
            400,
            "invalid",
            "Please provide either orgID or org",
        ));
    };
    let mut all = state.organisations.iter();
    match all.find(|org| org.name == given || org.id == given) {
        Some(org) => Ok(org.id.clone()),
        None => Err(not_found(&format!(
            "organization name \"{given}\" not found"
        ))),
    }
}
