//! What each request does and is answered with.

use serde_json::{Value, json};

use super::answers::{Answered, body, conflict, not_found, text, unauthorized};
use super::rows::{admit, query, write};
use super::state::{Bucket, Organisation, Permission, State, Token, User};
use super::{is_success, json as answer_json, templates};
use crate::influx::http::Request;
use crate::influx::reply::Reply;

/// What `GET /health` says, which has blanks where other answers have none.
const HEALTH: &str = r#"{"name":"influxdb", "message":"ready for queries and writes", "status":"pass", "checks":[], "version": "v2.9.1", "commit": "d4fa1941fd"}"#;

pub(super) fn answer(state: &mut State, request: &Request) -> Reply {
    route(state, request).unwrap_or_else(|refusal| refusal)
}

fn route(state: &mut State, request: &Request) -> Answered {
    let parts: Vec<&str> = request.path.trim_matches('/').split('/').collect();
    match (request.method.as_str(), parts.as_slice()) {
        ("GET", ["health"]) => return Ok(Reply::status(200, HEALTH).own()),
        ("GET" | "HEAD", ["ping"]) => return Ok(Reply::status(204, "").own()),
        ("GET", ["api", "v2", "setup"]) => {
            return Ok(answer_json(200, &json!({ "allowed": is_untouched(state) })));
        }
        ("POST", ["api", "v2", "setup"]) => return set_up(state, &body(request)?),
        _ => {}
    }
    let token = admit(state, request)?;
    match (request.method.as_str(), parts.as_slice()) {
        ("POST", ["api", "v2", "write"]) => write(state, request, &token),
        ("POST", ["api", "v2", "query"]) => query(state, request, &token),
        ("GET", ["api", "v2", "orgs"]) => organisations(state, request, &token),
        ("GET", ["api", "v2", "buckets"]) => buckets(state, request, &token),
        _ if !token.is_operator() => Err(unauthorized("none of it is authorized")),
        ("POST", ["api", "v2", "orgs"]) => make_organisation(state, &body(request)?),
        ("POST", ["api", "v2", "buckets"]) => make_bucket(state, &body(request)?),
        ("GET", ["api", "v2", "users"]) => users(state, request),
        ("POST", ["api", "v2", "users", id, "password"]) => {
            set_password(state, id, &body(request)?)
        }
        ("GET", ["api", "v2", "authorizations"]) => Ok(authorizations(state, request)),
        ("POST", ["api", "v2", "authorizations"]) => make_token(state, &body(request)?),
        ("DELETE", ["api", "v2", "authorizations", id]) => revoke(state, id),
        ("GET", ["api", "v2", "dashboards"]) => Ok(dashboards(state, request)),
        ("POST", ["api", "v2", "templates", "apply"]) => templates::apply(state, &body(request)?),
        _ => Err(not_found("path not found")),
    }
}

/// As a server that is killed in the middle of its first set-up.
pub(super) fn half_set_up(state: &mut State, request: &Request) {
    let mut whole = state.clone();
    let body = body(request);
    if body.is_ok_and(|body| set_up(&mut whole, &body).is_ok_and(|reply| is_success(&reply))) {
        whole.tokens.clear();
        whole.buckets.clear();
        *state = whole;
    }
}

fn is_untouched(state: &State) -> bool {
    state.users.is_empty() && state.organisations.is_empty()
}

fn set_up(state: &mut State, body: &Value) -> Answered {
    if !is_untouched(state) {
        return Err(conflict("onboarding has already been completed"));
    }
    let (user, org, bucket) = (
        text(body, "username"),
        text(body, "org"),
        text(body, "bucket"),
    );
    if user.is_empty() || org.is_empty() || bucket.is_empty() {
        let message = "onboarding failed: missing required fields";
        return Err(Reply::error(422, "unprocessable entity", message));
    }
    let password = checked_password(body)?;
    let user = User {
        id: state.next_id(),
        name: user,
        password,
    };
    state.users.push(user.clone());
    let org = add_organisation(state, org);
    let seconds = body["retentionPeriodSeconds"].as_u64().unwrap_or_default();
    let bucket = add_bucket(state, &org.id, bucket, seconds);
    let token = Token {
        id: state.next_id(),
        org: org.id.clone(),
        value: text(body, "token"),
        description: format!("{}'s Token", user.name),
        is_active: true,
        permissions: None,
    };
    state.tokens.push(token.clone());
    let made = json!({
        "user": { "id": user.id, "name": user.name, "status": "active" },
        "org": organisation_json(&org),
        "bucket": bucket_json(&bucket),
        "auth": token_json(&token, &token.value),
    });
    Ok(answer_json(201, &made))
}

fn organisations(state: &State, request: &Request, token: &Token) -> Answered {
    let name = request.parameter("org");
    let is_named = |org: &&Organisation| name.as_ref().is_none_or(|name| org.name == *name);
    let found: Vec<_> = state.organisations.iter().filter(is_named).collect();
    if let (Some(name), []) = (&name, found.as_slice()) {
        return Err(not_found(&format!(
            "organization name \"{name}\" not found"
        )));
    }
    let readable = found.into_iter().filter(|_| token.is_operator());
    let list: Vec<_> = readable.map(organisation_json).collect();
    Ok(answer_json(
        200,
        &json!({ "links": { "self": "/api/v2/orgs" }, "orgs": list }),
    ))
}

fn make_organisation(state: &mut State, body: &Value) -> Answered {
    let name = text(body, "name");
    if state.organisations.iter().any(|org| org.name == name) {
        return Err(conflict(&format!(
            "organization with name {name} already exists"
        )));
    }
    let made = add_organisation(state, name);
    Ok(answer_json(201, &organisation_json(&made)))
}

fn buckets(state: &State, request: &Request, token: &Token) -> Answered {
    let (org, name) = (request.parameter("orgID"), request.parameter("name"));
    let is_it = |bucket: &&Bucket| {
        org.as_ref().is_none_or(|org| bucket.org == *org)
            && name.as_ref().is_none_or(|name| bucket.name == *name)
    };
    let found: Vec<_> = state.buckets.iter().filter(is_it).collect();
    if let (Some(name), []) = (&name, found.as_slice()) {
        return Err(not_found(&format!("bucket \"{name}\" not found")));
    }
    let readable = found
        .into_iter()
        .filter(|bucket| token.may("read", &bucket.id));
    let list: Vec<_> = readable.map(bucket_json).collect();
    Ok(answer_json(
        200,
        &json!({ "links": { "self": "/api/v2/buckets" }, "buckets": list }),
    ))
}

fn make_bucket(state: &mut State, body: &Value) -> Answered {
    let (org, name) = (text(body, "orgID"), text(body, "name"));
    if !state.organisations.iter().any(|other| other.id == org) {
        return Err(not_found("organization not found"));
    }
    if name.starts_with('_') {
        let message =
            format!("bucket name {name} is invalid. Buckets may not start with underscore");
        return Err(Reply::error(400, "invalid", &message));
    }
    let is_taken = |other: &Bucket| other.org == org && other.name == name;
    if state.buckets.iter().any(is_taken) {
        return Err(conflict(&format!("bucket with name {name} already exists")));
    }
    let seconds = body["retentionRules"][0]["everySeconds"].as_u64();
    let made = add_bucket(state, &org, name, seconds.unwrap_or_default());
    Ok(answer_json(201, &bucket_json(&made)))
}

fn users(state: &State, request: &Request) -> Answered {
    let name = request.parameter("name");
    let is_named = |user: &&User| name.as_ref().is_none_or(|name| user.name == *name);
    let found = state.users.iter().filter(is_named);
    let list: Vec<_> = found
        .map(|user| json!({ "id": user.id, "name": user.name, "status": "active" }))
        .collect();
    if name.is_some() && list.is_empty() {
        return Err(not_found("user not found"));
    }
    Ok(answer_json(
        200,
        &json!({ "links": { "self": "/api/v2/users" }, "users": list }),
    ))
}

fn set_password(state: &mut State, id: &str, body: &Value) -> Answered {
    let password = checked_password(body)?;
    let user = state.users.iter_mut().find(|user| user.id == id);
    let user = user.ok_or_else(|| Reply::error(403, "forbidden", "your userID is incorrect"))?;
    user.password = password;
    Ok(Reply::status(204, "").own())
}

fn checked_password(body: &Value) -> Result<String, Reply> {
    let password = text(body, "password");
    if (8..=72).contains(&password.len()) {
        return Ok(password);
    }
    let message = "passwords must be between 8 and 72 characters long";
    Err(Reply::error(400, "invalid", message))
}

fn authorizations(state: &State, request: &Request) -> Reply {
    let org = request.parameter("orgID");
    let is_it = |token: &&Token| org.as_ref().is_none_or(|org| token.org == *org);
    // Stored hashed, so their values can't be told.
    let list: Vec<_> = state
        .tokens
        .iter()
        .filter(is_it)
        .map(|token| token_json(token, ""))
        .collect();
    let links = json!({ "self": "/api/v2/authorizations" });
    answer_json(200, &json!({ "links": links, "authorizations": list }))
}

fn make_token(state: &mut State, body: &Value) -> Answered {
    let org = text(body, "orgID");
    if !state.organisations.iter().any(|other| other.id == org) {
        return Err(Reply::error(400, "invalid", "unable to create token"));
    }
    let listed = body["permissions"].as_array();
    let permissions: Vec<Permission> = listed
        .into_iter()
        .flatten()
        .filter(|permission| permission["resource"]["type"] == "buckets")
        .map(|permission| Permission {
            action: text(permission, "action"),
            bucket: text(&permission["resource"], "id"),
        })
        .collect();
    if permissions.is_empty() {
        let message = "authorization must include permissions";
        return Err(Reply::error(400, "invalid", message));
    }
    let id = state.next_id();
    let token = Token {
        value: format!(
            "made-{id}-as-{}-{}==",
            permissions[0].action, permissions[0].bucket
        ),
        id,
        org,
        description: text(body, "description"),
        is_active: body["status"] != "inactive",
        permissions: Some(permissions),
    };
    state.tokens.push(token.clone());
    Ok(answer_json(201, &token_json(&token, &token.value)))
}

fn revoke(state: &mut State, id: &str) -> Answered {
    let before = state.tokens.len();
    state.tokens.retain(|token| token.id != id);
    if state.tokens.len() == before {
        return Err(not_found("authorization not found"));
    }
    Ok(Reply::status(204, "").own())
}

fn dashboards(state: &State, request: &Request) -> Reply {
    let org = request.parameter("orgID");
    let found = state.dashboards.iter();
    let list: Vec<_> = found
        .filter(|dashboard| org.as_ref().is_none_or(|org| dashboard.org == *org))
        .map(|dashboard| json!({ "id": dashboard.id, "orgID": dashboard.org, "name": dashboard.name, "cells": [] }))
        .collect();
    let links = json!({ "self": "/api/v2/dashboards" });
    answer_json(200, &json!({ "links": links, "dashboards": list }))
}

fn add_organisation(state: &mut State, name: String) -> Organisation {
    let id = state.next_id();
    let org = Organisation { id, name };
    state.organisations.push(org.clone());
    org
}

fn add_bucket(state: &mut State, org: &str, name: String, seconds: u64) -> Bucket {
    let id = state.next_id();
    let org = org.to_owned();
    let bucket = Bucket {
        id,
        org,
        name,
        seconds,
    };
    state.buckets.push(bucket.clone());
    bucket
}

fn organisation_json(org: &Organisation) -> Value {
    json!({ "id": org.id, "name": org.name, "description": "" })
}

fn bucket_json(bucket: &Bucket) -> Value {
    let rule = json!({ "type": "expire", "everySeconds": bucket.seconds });
    json!({ "id": bucket.id, "orgID": bucket.org, "type": "user", "name": bucket.name, "retentionRules": [rule] })
}

fn token_json(token: &Token, value: &str) -> Value {
    let status = if token.is_active {
        "active"
    } else {
        "inactive"
    };
    json!({ "id": token.id, "token": value, "status": status, "description": token.description, "orgID": token.org })
}
