//! What all answers are made of.

use serde_json::Value;

use crate::influx::http::Request;
use crate::influx::reply::Reply;

/// Either way it is what is answered.
pub(super) type Answered = Result<Reply, Reply>;

pub(super) fn body(request: &Request) -> Result<Value, Reply> {
    let unreadable = |_| Reply::error(400, "invalid", "invalid json structure");
    serde_json::from_slice(&request.body).map_err(unreadable)
}

pub(super) fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

pub(super) fn not_found(message: &str) -> Reply {
    Reply::error(404, "not found", message)
}

pub(super) fn conflict(message: &str) -> Reply {
    Reply::error(422, "conflict", message)
}

pub(super) fn unauthorized(message: &str) -> Reply {
    Reply::error(401, "unauthorized", message)
}
