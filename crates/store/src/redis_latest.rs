//! The store of the newest rows in Redis: of each group, and of all. A group is a series, unless the settings name the
//! tags that make one.
//!
//! Keys of a pipeline `NAME`:
//! - `rigline:NAME:latest`: the newest rows of all, a sorted set: the score is the row's time in microseconds, the
//!   member is `TIME SERIES`, where the time has nine digits behind the point and the series is the tags as a JSON
//!   object, so that rows of one score are in the order of their times;
//! - `rigline:NAME:latest:of:GROUP`: the same of one group, whose name is its tags as a JSON object;
//! - `rigline:NAME:latest:row:TIME SERIES`: the row, a hash of its fields with their values as JSON.

mod newest;
mod read;
mod settings;

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat};
use common::settings::BadSetting;
use model::Layout;
use model::row::Row;
use model::time::Timestamp;
use redis_client::{Connection, RequestError, Script};

use crate::{ReadError, Store, WriteError};
use newest::{Grouped, newest_of_each};
pub use settings::LatestSettings;

/// Most rows of a call. Redis serves nobody else meanwhile.
const MAX_ROWS: usize = 500;
/// Most bytes of a call, unless one row is larger.
const MAX_BYTES: usize = 1 << 20;
/// The layout of the series' names.
const LAYOUT: Layout = Layout::Tagged;

/// The newest rows of a pipeline. Clones share a connection.
///
/// Unlike other stores it forgets: rows older than the newest ones are dropped when they come, so a field has no type
/// that later values need to have.
#[derive(Debug, Clone)]
pub struct LatestStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    connection: Connection,
    /// The key of the newest rows of all, with which the other keys begin.
    key: String,
    keep: usize,
    by: Option<Vec<String>>,
    server: String,
    write: Script,
    read: Script,
}

impl LatestStore {
    /// Fails if the settings can't be used. Connects at the first write.
    pub fn new(settings: &LatestSettings) -> Result<Self, BadSetting> {
        let server = &settings.server;
        let connection =
            Connection::new(server).map_err(|error| settings.bad(&error.to_string()))?;
        let shared = Shared {
            connection,
            key: format!("rigline:{}:latest", settings.pipeline),
            keep: settings.keep,
            by: settings.by.clone(),
            server: format!("{}:{}", server.redis_host, server.redis_port),
            write: Script::new(include_str!("redis_latest/write.lua").to_owned()),
            read: Script::new(include_str!("redis_latest/read.lua").to_owned()),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Runs the script that writes rows.
    async fn send(&self, arguments: &[Vec<u8>]) -> Result<(), WriteError> {
        let Shared {
            connection,
            key,
            keep,
            write,
            ..
        } = &*self.shared;
        let run = connection.run(write, |call| {
            call.arg(1).arg(key).arg(*keep).arg(arguments);
        });
        run.await.map_err(|error| self.shared.write_error(&error))?;
        Ok(())
    }
}

impl Store for LatestStore {
    async fn write(&self, rows: &[Row<'_>]) -> Result<(), WriteError> {
        let (mut arguments, mut count, mut bytes) = (Vec::new(), 0, 0);
        let Shared { keep, by, .. } = &*self.shared;
        for Grouped { group, row } in newest_of_each(rows, by.as_deref(), *keep) {
            let encoded = encode(&group, row);
            let size: usize = encoded.iter().map(Vec::len).sum();
            if count == MAX_ROWS || (count > 0 && bytes + size > MAX_BYTES) {
                self.send(&arguments).await?;
                arguments.clear();
                (count, bytes) = (0, 0);
            }
            arguments.extend(encoded);
            count += 1;
            bytes += size;
        }
        if arguments.is_empty() {
            return Ok(());
        }
        self.send(&arguments).await
    }

    /// Runs the script without rows: that needs a server that takes writes, and the permission to change the set.
    async fn preflight(&self) -> Result<(), WriteError> {
        self.send(&[]).await
    }
}

/// The arguments of a row: group, score, member, the number of fields, and the fields with their values.
fn encode(group: &str, row: &Row<'_>) -> Vec<Vec<u8>> {
    let series = LAYOUT.series_key(&row.tags);
    let member = format!("{} {series}", time_of_member(row.timestamp));
    let micros = row.timestamp.nanos().div_euclid(1_000);
    let mut arguments = vec![
        group.as_bytes().to_vec(),
        micros.to_string().into_bytes(),
        member.into_bytes(),
        row.fields.len().to_string().into_bytes(),
    ];
    for (name, value) in &row.fields {
        let mut json = Vec::new();
        model::element::write_value(value, &mut json);
        arguments.extend([name.as_bytes().to_vec(), json]);
    }
    arguments
}

/// The time with nine digits behind the point, so that later times are later in the order of their bytes.
fn time_of_member(time: Timestamp) -> String {
    let time = DateTime::from_timestamp_nanos(time.nanos());
    time.to_rfc3339_opts(SecondsFormat::Nanos, true)
}

impl Shared {
    /// The error with what an operator needs to find the server and the keys.
    fn describe(&self, error: &RequestError) -> String {
        let Self { key, server, .. } = self;
        match error {
            RequestError::WrongType(detail) => format!(
                "a key of Redis at {server} that begins with {key} has another type: {detail}; move it out of the way"
            ),
            RequestError::Denied(detail) => format!(
                "Redis at {server}: access denied: {detail}; check user, password and the user's rights (the url, or \
                 REDIS_USERNAME and REDIS_PASSWORD)"
            ),
            // The connection's own error names the server.
            RequestError::Unavailable { .. } => format!("Redis: {error}"),
            error => format!("Redis at {server}: {error}"),
        }
    }

    fn write_error(&self, error: &RequestError) -> WriteError {
        let detail = self.describe(error);
        match error {
            // Writing the same rows again changes nothing.
            RequestError::Unavailable { .. } | RequestError::Unknown(_) => WriteError::Retry {
                detail,
                after: None,
            },
            RequestError::WrongType(_)
            | RequestError::Denied(_)
            | RequestError::Incompatible(_) => WriteError::Denied { detail },
        }
    }

    fn read_error(&self, error: &RequestError) -> ReadError {
        let detail = self.describe(error);
        match error {
            RequestError::Unavailable { .. } | RequestError::Unknown(_) => {
                ReadError::Unavailable { detail }
            }
            RequestError::WrongType(_)
            | RequestError::Denied(_)
            | RequestError::Incompatible(_) => ReadError::Denied { detail },
        }
    }
}
