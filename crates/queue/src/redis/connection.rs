//! A multiplexed connection that reconnects, and the meaning of its errors.

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
/// A reply that takes longer counts as lost. An fsync on a busy disk takes less.
const REPLY_LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Connection {
    client: Client,
    /// For error messages.
    address: String,
    config: AsyncConnectionConfig,
    current: Mutex<Current>,
}

/// The current connection. The count tells a caller whose connection failed whether there is a new one
/// since.
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
            .set_response_timeout(Some(REPLY_LIMIT));
        let address = format!("{}:{}", settings.redis_host, settings.redis_port);
        Ok(Self {
            client,
            address,
            config,
            current: Mutex::default(),
        })
    }

    /// Sends a command that may be repeated.
    pub(super) async fn read(&self, command: &Cmd) -> Result<Value, QueueError> {
        let (mut connection, count) = self.get().await?;
        match connection
            .req_packed_command(command)
            .await
            .and_then(Value::extract_error)
        {
            Ok(value) => Ok(value),
            Err(error) => Err(self.failed(count, &error, Repeatable::Yes).await),
        }
    }

    /// Sends read-only commands in one pipeline.
    pub(super) async fn read_all<const N: usize>(
        &self,
        commands: &Pipeline,
    ) -> Result<[Value; N], QueueError> {
        let (mut connection, count) = self.get().await?;
        match commands.query_async::<Value>(&mut connection).await {
            Ok(value) => reply::exactly(value),
            Err(error) => Err(self.failed(count, &error, Repeatable::Yes).await),
        }
    }

    /// Sends a script call. `None` if Redis hasn't loaded the script, and so hasn't run it.
    pub(super) async fn write(&self, call: &Cmd) -> Result<Option<Value>, QueueError> {
        let (mut connection, count) = self.get().await?;
        match connection
            .req_packed_command(call)
            .await
            .and_then(Value::extract_error)
        {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => Ok(None),
            Err(error) => Err(self.failed(count, &error, Repeatable::No).await),
        }
    }

    async fn get(&self) -> Result<(MultiplexedConnection, u64), QueueError> {
        let mut current = self.current.lock().await;
        if let Some(connection) = &current.connection {
            return Ok((connection.clone(), current.count));
        }
        // Each attempt resolves the host name again: the address may change with a restart.
        let connected = self
            .client
            .get_multiplexed_async_connection_with_config(&self.config);
        match connected.await {
            Ok(connection) => {
                current.connection = Some(connection.clone());
                current.count += 1;
                Ok((connection, current.count))
            }
            Err(error) => Err(match classify(&error, Repeatable::Yes) {
                QueueError::Unavailable { cause, detail } => {
                    let detail = format!("{detail} ({}, REDIS_HOST and REDIS_PORT)", self.address);
                    QueueError::Unavailable { cause, detail }
                }
                other => other,
            }),
        }
    }

    /// Drops a broken connection, so that the next call reconnects.
    async fn failed(&self, count: u64, error: &RedisError, repeatable: Repeatable) -> QueueError {
        if is_broken(error) {
            let mut current = self.current.lock().await;
            if current.count == count {
                current.connection = None;
            }
        }
        classify(error, repeatable)
    }
}

/// Whether a request without a reply may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeatable {
    Yes,
    No,
}

fn is_broken(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_timeout()
        || error.is_connection_dropped()
        || error.is_unrecoverable_error()
        || matches!(error.kind(), ErrorKind::Parse)
}

/// Maps an error. The library's own classification knows too few of the codes.
fn classify(error: &RedisError, repeatable: Repeatable) -> QueueError {
    let message = error.to_string();
    let unavailable = |cause| QueueError::unavailable(cause, &message);
    if error.kind() == ErrorKind::AuthenticationFailed {
        return QueueError::Denied(message);
    }
    // Each command of a pipeline has its own error; the first one decides.
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
        "NOAUTH" | "WRONGPASS" | "NOPERM" => return QueueError::Denied(message),
        "WRONGTYPE" => return QueueError::WrongType(message),
        "MOVED" | "ASK" | "CROSSSLOT" => {
            return QueueError::Incompatible(format!(
                "{message}; Redis Cluster isn't supported yet"
            ));
        }
        _ => {}
    }
    // The errors of a server with a password for a command with many arguments, and of a script whose
    // user lacks a permission.
    if message.contains("unauthenticated") || message.contains("can't run this command") {
        return QueueError::Denied(message);
    }
    if message.contains("Error compiling script") {
        return QueueError::Incompatible(format!("{message}; Redis 7.0 or newer is needed"));
    }
    if repeatable == Repeatable::No {
        return QueueError::Unknown(message);
    }
    if is_broken(error) {
        unavailable(Cause::Unreachable)
    } else {
        unavailable(Cause::Other)
    }
}
