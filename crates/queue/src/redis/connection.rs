//! One multiplexed connection, made again when it is lost, and what its errors mean.

use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ErrorKind, IntoConnectionInfo, Pipeline,
    RedisConnectionInfo, RedisError, ServerErrorKind, Value,
};
use tokio::sync::Mutex;

use super::reply;
use crate::error::{Cause, QueueError};
use crate::settings::RedisSettings;

const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// An answer that takes longer counts as lost. Above what an fsync on a busy disk takes.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Connection {
    client: Client,
    /// For messages.
    address: String,
    config: AsyncConnectionConfig,
    current: Mutex<Current>,
}

/// The connection in use. The count tells a caller whose connection failed whether somebody else
/// has made a new one since.
#[derive(Default)]
struct Current {
    connection: Option<MultiplexedConnection>,
    count: u64,
}

impl std::fmt::Debug for Current {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Current")
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

impl Connection {
    pub(super) fn new(settings: &RedisSettings) -> Result<Self, QueueError> {
        let mut login = RedisConnectionInfo::default();
        if let Some(username) = &settings.redis_username {
            login = login.set_username(username);
        }
        if let Some(password) = &settings.redis_password {
            login = login.set_password(password.expose());
        }
        let client = ConnectionAddr::Tcp(settings.redis_host.clone(), settings.redis_port)
            .into_connection_info()
            .and_then(|info| Client::open(info.set_redis_settings(login)))
            .map_err(|error| QueueError::Incompatible(error.to_string()))?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_LIMIT))
            .set_response_timeout(Some(ANSWER_LIMIT));
        let address = format!("{}:{}", settings.redis_host, settings.redis_port);
        Ok(Self {
            client,
            address,
            config,
            current: Mutex::default(),
        })
    }

    /// Sends a command that changes nothing, or nothing that matters.
    pub(super) async fn read(&self, command: &Cmd) -> Result<Value, QueueError> {
        let (mut connection, count) = self.get().await?;
        match connection
            .req_packed_command(command)
            .await
            .and_then(Value::extract_error)
        {
            Ok(value) => Ok(value),
            Err(error) => Err(self.failed(count, &error, Outcome::Unimportant).await),
        }
    }

    /// Sends commands that only read, in one go.
    pub(super) async fn read_all<const N: usize>(
        &self,
        commands: &Pipeline,
    ) -> Result<[Value; N], QueueError> {
        let (mut connection, count) = self.get().await?;
        match commands.query_async::<Value>(&mut connection).await {
            Ok(value) => reply::exactly(value),
            Err(error) => Err(self.failed(count, &error, Outcome::Unimportant).await),
        }
    }

    /// Sends a script call; `None` means that Redis doesn't know the script and ran nothing.
    pub(super) async fn write(&self, call: &Cmd) -> Result<Option<Value>, QueueError> {
        let (mut connection, count) = self.get().await?;
        match connection
            .req_packed_command(call)
            .await
            .and_then(Value::extract_error)
        {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => Ok(None),
            Err(error) => Err(self.failed(count, &error, Outcome::Matters).await),
        }
    }

    async fn get(&self) -> Result<(MultiplexedConnection, u64), QueueError> {
        let mut current = self.current.lock().await;
        if let Some(connection) = &current.connection {
            return Ok((connection.clone(), current.count));
        }
        // The name is looked up at each attempt: an address may change with a restart.
        let connected = self
            .client
            .get_multiplexed_async_connection_with_config(&self.config);
        match connected.await {
            Ok(connection) => {
                current.connection = Some(connection.clone());
                current.count += 1;
                Ok((connection, current.count))
            }
            Err(error) => Err(match classify(&error, Outcome::Unimportant) {
                QueueError::Unavailable { cause, detail } => {
                    let detail = format!("{detail} ({}, REDIS_HOST and REDIS_PORT)", self.address);
                    QueueError::Unavailable { cause, detail }
                }
                other => other,
            }),
        }
    }

    /// Drops a broken connection, so that the next call makes a new one.
    async fn failed(&self, count: u64, error: &RedisError, outcome: Outcome) -> QueueError {
        if is_broken(error) {
            let mut current = self.current.lock().await;
            if current.count == count {
                current.connection = None;
            }
        }
        classify(error, outcome)
    }
}

/// Whether it matters if a request without an answer was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Matters,
    Unimportant,
}

fn is_broken(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_timeout()
        || error.is_connection_dropped()
        || error.is_unrecoverable_error()
        || matches!(error.kind(), ErrorKind::Parse)
}

/// What an error means. The library's own advice knows too few of the codes.
fn classify(error: &RedisError, outcome: Outcome) -> QueueError {
    let said = error.to_string();
    let unavailable = |cause| QueueError::unavailable(cause, &said);
    if error.kind() == ErrorKind::AuthenticationFailed {
        return QueueError::Denied(said);
    }
    // Of several commands each has its own error; the first one decides.
    let of_several = error.clone().into_server_errors();
    let first = of_several.as_deref().and_then(|errors| errors.first());
    match error
        .code()
        .or_else(|| first.map(|(_, error)| error.code()))
        .unwrap_or_default()
    {
        "LOADING" | "MASTERDOWN" => return unavailable(Cause::Loading),
        "READONLY" => return unavailable(Cause::ReadOnly),
        "MISCONF" | "NOREPLICAS" => return unavailable(Cause::CannotPersist),
        "OOM" => return unavailable(Cause::OutOfMemory),
        "BUSY" | "TRYAGAIN" | "CLUSTERDOWN" => return unavailable(Cause::Busy),
        "NOAUTH" | "WRONGPASS" | "NOPERM" => return QueueError::Denied(said),
        "WRONGTYPE" => return QueueError::WrongType(said),
        "MOVED" | "ASK" | "CROSSSLOT" => {
            return QueueError::Incompatible(format!("{said}; Redis Cluster isn't supported yet"));
        }
        _ => {}
    }
    // What a server that wants a password says to a command with many arguments, and what a script
    // says whose user may not do all that it does.
    if said.contains("unauthenticated") || said.contains("can't run this command") {
        return QueueError::Denied(said);
    }
    if said.contains("Error compiling script") {
        return QueueError::Incompatible(format!("{said}; Redis 7.0 or newer is needed"));
    }
    if outcome == Outcome::Matters {
        return QueueError::Unknown(said);
    }
    if is_broken(error) {
        unavailable(Cause::Unreachable)
    } else {
        unavailable(Cause::Other)
    }
}
