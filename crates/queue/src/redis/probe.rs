//! What can be seen of a Redis server over the network, for `rigline check`.

use std::collections::HashMap;

use redis::Value;
use redis_client::{RequestError, reply};

use super::RedisQueue;
use crate::error::QueueError;

/// A server's settings; `None` for what its access rules hide.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerFacts {
    /// The version.
    pub version: Option<String>,
    /// Whether it has an append-only file.
    pub appendonly: Option<bool>,
    /// When it writes the append-only file to disk: `always`, `everysec` or `no`.
    pub appendfsync: Option<String>,
    /// What it does at its memory limit.
    pub maxmemory_policy: Option<String>,
    /// Its memory limit, in bytes; 0 is none.
    pub maxmemory: Option<u64>,
    /// The memory that it uses, in bytes.
    pub used_memory: Option<u64>,
}

impl RedisQueue {
    /// Reads the server's settings. An access rule that forbids `CONFIG` or `INFO` isn't an error: what they
    /// would tell is absent.
    pub async fn server_facts(&self) -> Result<ServerFacts, QueueError> {
        let connection = &self.inner.connection;
        let info = visible(connection.read(&redis::cmd("INFO")).await)?;
        let info = info.map(|text| reply::text(&text)).transpose()?;
        let info = info.as_deref().map(fields).unwrap_or_default();
        let mut get = redis::cmd("CONFIG");
        get.arg("GET").arg("appendfsync");
        let config = visible(connection.read(&get).await)?;
        let config = config.map(reply::pairs).transpose()?.unwrap_or_default();
        let appendfsync = config.into_iter().find(|(name, _)| name == b"appendfsync");
        let said = |name: &str| info.get(name).map(|value| (*value).to_owned());
        let number = |name: &str| info.get(name).and_then(|value| value.parse().ok());
        Ok(ServerFacts {
            version: said("redis_version"),
            appendonly: info.get("aof_enabled").map(|value| *value == "1"),
            appendfsync: appendfsync.map(|(_, value)| String::from_utf8_lossy(&value).into_owned()),
            maxmemory_policy: said("maxmemory_policy"),
            maxmemory: number("maxmemory"),
            used_memory: number("used_memory"),
        })
    }
}

/// `None` if access rules forbid the command, or if the provider of the server has removed it.
fn visible(answer: Result<Value, RequestError>) -> Result<Option<Value>, RequestError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(RequestError::Denied(_)) => Ok(None),
        Err(RequestError::Unavailable { detail, .. }) if detail.contains("unknown command") => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The lines `name:value` of INFO.
fn fields(info: &str) -> HashMap<&str, &str> {
    info.lines()
        .filter_map(|line| line.split_once(':'))
        .collect()
}
