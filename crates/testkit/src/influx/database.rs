//! What is stored, and what a write does to it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::mem::discriminant;

use super::http::Request;
use super::line::{Key, Point, Value, parse_line};
use super::reply::{Reply, Stores};
use super::{BUCKET, ORG, READ_TOKEN, TOKEN};

/// How lines are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// With 400, as lines that can't be read: nothing of the request is stored, and the message
    /// repeats each refused line.
    Unreadable,
    /// With 422, as points outside of the retention: all others are stored.
    OutsideRetention,
}

/// A write, for the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The size of the body.
    pub bytes: usize,
    /// How many lines it had; an empty write has none.
    pub lines: usize,
    /// The status that it was answered with; 0 if it wasn't.
    pub status: u16,
}

pub(super) type IsBad = Box<dyn Fn(&str) -> bool + Send>;

#[derive(Default)]
pub(super) struct Database {
    pub(super) points: BTreeMap<Key, BTreeMap<String, Value>>,
    types: HashMap<(String, String), Value>,
    pub(super) changed: usize,
    pub(super) received: Vec<Received>,
    pub(super) next: VecDeque<Reply>,
    pub(super) always: Option<Reply>,
    pub(super) refusal: Option<(Refusal, IsBad)>,
    pub(super) max_body: Option<usize>,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Database({} points)", self.points.len())
    }
}

impl Database {
    /// Answers a request, after having done what it asks for.
    pub(super) fn reply(&mut self, request: &Request) -> Reply {
        match (request.method.as_str(), request.path.as_str()) {
            ("POST", "/api/v2/write") => {}
            ("POST", "/api/v2/write/") => {
                return Reply::status(308, "").header("Location", "/api/v2/write");
            }
            ("GET", "/health") => {
                let body = r#"{"name":"influxdb", "message":"ready for queries and writes", "status":"pass", "checks":[], "version": "v2.9.1", "commit": "d4fa1941fd"}"#;
                return Reply::status(200, body).own();
            }
            ("GET" | "HEAD", "/ping") => return Reply::status(204, "").own(),
            _ => return Reply::error(404, "not found", "path not found"),
        }
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let lines: Vec<&str> = body.split('\n').filter(|line| is_point(line)).collect();
        let scripted = self.next.pop_front().or_else(|| self.always.clone());
        let reply = match scripted {
            Some(reply) => {
                self.store_scripted(reply.stores, &lines, request);
                reply
            }
            None => self
                .write(request, &lines)
                .unwrap_or_else(|refusal| refusal),
        };
        self.received.push(Received {
            bytes: request.body.len(),
            lines: lines.len(),
            status: reply.sent(),
        });
        reply
    }

    /// Stores a point, unless one of its fields has been stored with another type.
    pub(super) fn merge(&mut self, point: Point) -> Result<(), String> {
        let Point { key, fields } = point;
        for (name, value) in &fields {
            let field = (key.measurement.clone(), name.clone());
            match self.types.get(&field) {
                Some(known) if discriminant(known) != discriminant(value) => {
                    return Err(format!(
                        "field type conflict: input field \"{name}\" on measurement \"{}\" is \
                         type {}, already exists as type {}",
                        key.measurement,
                        type_name(*value),
                        type_name(*known)
                    ));
                }
                _ => {}
            }
        }
        for (name, value) in &fields {
            let field = (key.measurement.clone(), name.clone());
            self.types.entry(field).or_insert(*value);
        }
        let stored = self.points.entry(key).or_default();
        for (name, value) in fields {
            let old = stored.insert(name, value);
            self.changed += usize::from(old.is_some_and(|old| old != value));
        }
        Ok(())
    }

    fn store_scripted(&mut self, stores: Stores, lines: &[&str], request: &Request) {
        let step = match stores {
            Stores::Nothing => return,
            Stores::All => 1,
            Stores::EveryOther => 2,
        };
        let is_good = |line: &&&str| match &self.refusal {
            Some((_, is_bad)) => !is_bad(line),
            None => true,
        };
        let points: Vec<Point> = lines
            .iter()
            .filter(is_good)
            .filter_map(|line| parse_line(line, unit(request)).ok())
            .step_by(step)
            .collect();
        for point in points {
            let _ = self.merge(point);
        }
    }

    fn write(&mut self, request: &Request, lines: &[&str]) -> Result<Reply, Reply> {
        admit(request)?;
        if self.max_body.is_some_and(|max| request.body.len() > max) {
            let body = "<html><head><title>413 Request Entity Too Large</title></head></html>";
            return Err(Reply::status(413, body));
        }
        let refusal = self.refusal.as_ref();
        let is_bad = |kind: Refusal, line: &str| {
            refusal.is_some_and(|(configured, is_bad)| *configured == kind && is_bad(line))
        };
        let (mut points, mut unreadable) = (Vec::new(), Vec::new());
        for line in lines {
            let parsed = match parse_line(line, unit(request)) {
                Ok(_) if is_bad(Refusal::Unreadable, line) => Err("invalid number".to_owned()),
                parsed => parsed,
            };
            match parsed {
                Ok(point) => points.push((point, is_bad(Refusal::OutsideRetention, line))),
                Err(why) => unreadable.push(format!("unable to parse '{line}': {why}")),
            }
        }
        if !unreadable.is_empty() {
            return Err(Reply::error(400, "invalid", &unreadable.join("\n")));
        }
        let mut dropped = Vec::new();
        for (point, outside) in points {
            if outside {
                let nanos = point.key.nanos;
                dropped.push(format!(
                    "dropped 1 points outside retention policy of duration 1h0m0s - oldest point \
                     at {nanos} dropped because it violates a Retention Policy Lower Bound"
                ));
            } else if let Err(conflict) = self.merge(point) {
                dropped.push(conflict);
            }
        }
        match dropped.first() {
            None => Ok(Reply::status(204, "").own()),
            Some(first) => Err(Reply::error(
                422,
                "unprocessable entity",
                &format!(
                    "failure writing points to database: partial write: {first} dropped={}",
                    dropped.len()
                ),
            )),
        }
    }
}

/// Whether the token may write to the bucket of the organisation.
fn admit(request: &Request) -> Result<(), Reply> {
    let token = request
        .header("authorization")
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| matches!(*scheme, "Token" | "Bearer"))
        .map(|(_, token)| token);
    if !matches!(token, Some(TOKEN | READ_TOKEN)) {
        return Err(Reply::error(401, "unauthorized", "unauthorized access"));
    }
    let not_found = |message: &str| Err(Reply::error(404, "not found", message));
    match request.parameter("org") {
        Some(org) if org == ORG => {}
        Some(org) => return not_found(&format!("organization name \"{org}\" not found")),
        None => {
            let message = "Please provide either orgID or org";
            return Err(Reply::error(400, "invalid", message));
        }
    }
    match request.parameter("bucket") {
        Some(bucket) if bucket == BUCKET => {}
        Some(bucket) => return not_found(&format!("bucket \"{bucket}\" not found")),
        None => return not_found("bucket not found"),
    }
    if token == Some(READ_TOKEN) {
        let message = "insufficient permissions for write";
        return Err(Reply::error(403, "forbidden", message));
    }
    Ok(())
}

fn is_point(line: &str) -> bool {
    let line = line.trim_start_matches([' ', '\t', '\0']);
    !line.is_empty() && !line.starts_with('#')
}

fn unit(request: &Request) -> i64 {
    match request.parameter("precision").as_deref() {
        Some("s") => 1_000_000_000,
        Some("ms") => 1_000_000,
        Some("us") => 1_000,
        _ => 1,
    }
}

fn type_name(value: Value) -> &'static str {
    match value {
        Value::Float(_) => "float",
        Value::Integer(_) => "integer",
    }
}
