//! Reads the newest rows.

use model::Layout;
use model::name::Name;
use model::row::Row;
use model::sample::Value;
use model::time::Timestamp;
use redis::Value as Reply;
use redis_client::{RequestError, reply};

use super::{LAYOUT, LatestStore};
use crate::ReadError;

impl LatestStore {
    /// The newest rows of a group, or of all, the newest first, with their fields ordered by name. The key of a group is
    /// that of a series which has only the group's tags. An unknown group has no rows.
    pub async fn newest(&self, group: Option<&str>) -> Result<Vec<Row<'static>>, ReadError> {
        let shared = &*self.shared;
        let set = group.map_or_else(
            || shared.key.clone(),
            |group| format!("{}:of:{group}", shared.key),
        );
        let run = shared.connection.run(&shared.read, |call| {
            call.arg(2).arg(&set).arg(&shared.key).arg(shared.keep);
        });
        let rows = run.await.and_then(rows);
        rows.map_err(|error| shared.read_error(&error))
    }
}

fn rows(found: Reply) -> Result<Vec<Row<'static>>, RequestError> {
    let Reply::Array(found) = found else {
        return Err(reply::unexpected(found));
    };
    found.into_iter().map(row).collect()
}

fn row(found: Reply) -> Result<Row<'static>, RequestError> {
    let [member, fields] = reply::exactly(found)?;
    let member = reply::text(&member)?;
    let bad = || reply::unexpected(&member);
    let (time, series) = member.split_once(' ').ok_or_else(bad)?;
    let tags = Layout::tags(LAYOUT, series).map_err(|_| bad())?;
    let mut row = Row {
        tags: tags
            .into_iter()
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect(),
        timestamp: Timestamp::parse(time).map_err(|_| bad())?,
        fields: Vec::new(),
    };
    for (name, json) in reply::pairs(fields)? {
        let name = String::from_utf8(name)
            .ok()
            .and_then(|name| Name::new(name).ok());
        let value = value(&json);
        row.fields.push(name.zip(value).ok_or_else(bad)?);
    }
    row.fields.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(row)
}

/// A value of JSON: an integer has no point and no exponent.
fn value(json: &[u8]) -> Option<Value> {
    match serde_json::from_slice(json).ok()? {
        serde_json::Value::Bool(value) => Some(Value::Bool(value)),
        serde_json::Value::String(value) => Some(Value::String(value)),
        serde_json::Value::Number(value) if json.iter().any(|byte| b".eE".contains(byte)) => {
            value.as_f64().map(Value::Float)
        }
        serde_json::Value::Number(value) => value.as_i64().map(Value::Integer),
        _ => None,
    }
}
